# SPDX-License-Identifier: Apache-2.0
"""A program that talks in lines, with a deadline: a thread reads what it prints, whoever waits can stop waiting."""
import contextlib
import os
import queue
import signal
import subprocess
import threading
import time


class LineProcess:
    def __init__(self, command, log, folder=None, environment=None):
        """What it prints to standard error is added to the file `log`. It leads a process group of its own."""
        with open(log, "ab") as errors:
            self.process = subprocess.Popen([str(part) for part in command], cwd=folder, env=environment, stderr=errors,
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.decode("utf-8", errors="replace").rstrip("\n"))
        self.lines.put(None)

    def write(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def read(self, deadline):
        """The next line; None at the end. Raises TimeoutError when the clock passes `deadline` (time.monotonic)."""
        try:
            return self.lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise TimeoutError from None

    def stop(self, patience=5):
        """Ends it, kindly first, and what it left in its group. Returns its exit status."""
        for wish in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                os.killpg(self.process.pid, wish)
            try:
                self.process.wait(patience)
                break
            except subprocess.TimeoutExpired:
                continue
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        return self.process.wait()

    def wait(self, deadline):
        """The exit status of a program that is expected to end. Raises TimeoutError."""
        try:
            return self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise TimeoutError from None
