# SPDX-License-Identifier: Apache-2.0
"""Our side: `openautoglm task --each --json`, one process for all tasks in one folder with the same tool servers."""
import json
import os
import shutil
import subprocess
import time

from agent_suite import tool_servers
from agent_suite.line_process import LineProcess

END_SECONDS = 30


class Ours:
    name = "ours"

    def __init__(self, options, modules):
        self.options, self.modules = options, modules
        self.processes = {}  # by the tasks' folder
        self.complaints = []

    def version(self):
        done = subprocess.run([self.options.ours, "--version"], stdout=subprocess.PIPE, text=True, timeout=30, check=True)
        return " ".join(done.stdout.split("\n", 1)[0].split())

    def run(self, record, folder, state):
        """Runs record.task in `folder`. `state` is a folder for what is not the task's: configuration, sessions, log."""
        deadline = time.monotonic() + self.options.timeout
        process = self._process_for(record.task, folder, state)
        is_usable = False
        try:
            process.give(record.task.prompt_in(folder))
            while not record.is_ended and (line := process.lines.read(deadline)) is not None:
                record.add_line(line)
            is_usable = record.is_ended
            process.failed += record.is_ended and record.summary.get("state") != "done"
            if not record.is_ended:
                record.trouble = record.trouble or f"exit status {process.lines.wait(deadline)}: {tail(state / 'log')}"
        except BrokenPipeError:
            record.trouble = f"it has ended: {tail(state / 'log')}"
        except TimeoutError:
            record.trouble = f"took longer than {self.options.timeout} s"
        finally:
            if not is_usable:
                self.processes.pop(folder).lines.stop()

    def _process_for(self, task, folder, state):
        servers = tool_servers.configuration(task, folder, self.modules)
        if folder in self.processes and self.processes[folder].servers != servers:
            self._end(folder)
        if folder not in self.processes:
            self.processes[folder] = Process(self.options, servers, folder, state)
        return self.processes[folder]

    def _end(self, folder):
        """No more tasks for the process of this folder."""
        process = self.processes.pop(folder)
        try:
            process.lines.process.stdin.close()
            status = process.lines.wait(time.monotonic() + END_SECONDS)
            wanted = 1 if process.failed else 0
            if status != wanted:
                self.complaints.append(f"a process ended with status {status} instead of {wanted}")
        except TimeoutError:
            self.complaints.append(f"a process did not end within {END_SECONDS} s of its last task")
        finally:
            process.lines.stop()

    def close(self):
        for folder in list(self.processes):
            self._end(folder)


class Process:
    def __init__(self, options, servers, folder, state):
        self.servers, self.failed = servers, 0
        shutil.rmtree(state, ignore_errors=True)
        state.mkdir(parents=True)
        # Tools by the names that their server gives them, as the peer has them.
        named = {name: {**settings, "prefix": ""} for name, settings in servers["mcpServers"].items()}
        configuration = state / "mcp.json"
        configuration.write_text(json.dumps({"mcpServers": named}, indent=1), encoding="utf-8")
        self.lines = LineProcess([options.ours, "task", "--each", "--model", options.model, "--mcp-config", configuration,
                                  "--approve", "all", "--json", *options.ours_argument], state / "log", folder,
                                 {**os.environ, "OPENAUTOGLM_HOME": str(state / "home")})

    def give(self, prompt):
        self.lines.write(json.dumps(prompt))


def tail(path, most=300):
    return path.read_text(encoding="utf-8", errors="replace").strip()[-most:]
