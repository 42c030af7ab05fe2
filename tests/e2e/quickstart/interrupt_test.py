# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C (SIGINT to the process group) in each step of ./quickstart: it says where it stopped, and the next run goes on."""
import os
import signal
import time
import unittest

from stage import SCRIPT, TIMEOUT, StageTest


class Stops(StageTest):
    def interrupt(self, *arguments, when, with_signal=signal.SIGINT):
        process = self.start(*(arguments or ("--once", "Hello")))
        while not when():
            self.assertIsNone(process.poll(), process.poll() is not None and process.stderr.read())
            time.sleep(0.005)
        os.killpg(process.pid, with_signal)
        output, complaints = process.communicate(timeout=TIMEOUT)
        return process.returncode, output, complaints

    def stops(self, step, order="hang", where="", with_signal=signal.SIGINT):
        self.order(step, order)
        reached = self.stage / "reached"
        code, output, complaints = self.interrupt(when=reached.exists, with_signal=with_signal)
        self.assertEqual((code, output), (128 + with_signal, ""), complaints)
        self.assertRegex(complaints, f"Stopped while {where}. Nothing is half done: run ./quickstart again")
        self.assertEqual(complaints.strip().splitlines()[-1].count("Stopped"), 1)
        reached.unlink()
        self.quickstart("--once", "Hello")

    def test_in_the_packages(self):
        self.stops("update", where="checking packages")

    def test_in_the_middle_of_an_install(self):
        self.stops("install", where="checking packages")
        self.assertEqual(len(self.calls("dpkg --configure -a")), 1)

    def test_while_a_package_is_unpacked(self):
        self.stops("unpack", where="checking packages")
        self.assertEqual(len([line for line in self.calls("apt-get") if "--reinstall" in line]), 1)

    def test_in_an_install_that_ends_by_itself(self):
        self.stops("install", order="hang politely", where="checking packages")

    def test_in_the_configuration(self):
        self.stops("configure", where="building")

    def test_in_the_build(self):
        self.stops("build", where="building")

    def test_in_a_build_that_ends_by_itself(self):
        self.stops("build", order="hang politely", where="building")

    def test_by_a_signal_to_end(self):
        self.stops("build", where="building", with_signal=signal.SIGTERM)

    def test_in_the_pull(self):
        self.hub.stall_at = 50_000
        part = self.home / "partial/smollm2/hub/tiny.gguf.part"
        code, output, complaints = self.interrupt(when=lambda: part.exists() and part.stat().st_size >= 50_000)
        self.hub.go_on.set()
        self.assertEqual((code, output), (130, ""))
        self.assertIn("Stopped while getting smollm2. Nothing is half done", complaints)
        self.quickstart("--once", "Hello")
        self.assertEqual(self.hub.ranges(), [None, "bytes=50000-"])

    def test_while_serving(self):
        process = self.start("--model", self.script(SCRIPT), "--port", "0")
        for line in process.stdout:
            if line.startswith("listening on "):
                break
        os.killpg(process.pid, signal.SIGINT)
        _, complaints = process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, 0)
        self.assertTrue(complaints.endswith("stopped\n"), complaints)


if __name__ == "__main__":
    unittest.main()
