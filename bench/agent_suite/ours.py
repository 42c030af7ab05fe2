# SPDX-License-Identifier: Apache-2.0
"""Our side: one `openautoglm task --json` for each task."""
import json
import os
import shutil
import subprocess
import time

from agent_suite import tool_servers
from agent_suite.line_process import LineProcess


class Ours:
    name = "ours"

    def __init__(self, options, modules):
        self.options, self.modules = options, modules

    def version(self):
        done = subprocess.run([self.options.ours, "--version"], stdout=subprocess.PIPE, text=True, timeout=30, check=True)
        return " ".join(done.stdout.split("\n", 1)[0].split())

    def run(self, record, folder, state):
        """Runs record.task in `folder`. `state` is a folder for what is not the task's: configuration, sessions, log."""
        shutil.rmtree(state, ignore_errors=True)
        state.mkdir(parents=True)
        servers = tool_servers.configuration(record.task, folder, self.modules)
        for settings in servers["mcpServers"].values():
            settings["prefix"] = ""  # tools by the names that their server gives them, as the peer has them
        configuration = state / "mcp.json"
        configuration.write_text(json.dumps(servers, indent=1), encoding="utf-8")
        command = [self.options.ours, "task", record.task.prompt_in(folder), "--model", self.options.model, "--mcp-config",
                   configuration, "--approve", "all", "--json", *self.options.ours_argument]
        environment = {**os.environ, "OPENAUTOGLM_HOME": str(state / "home")}
        deadline = time.monotonic() + self.options.timeout
        process = LineProcess(command, state / "log", folder, environment)
        try:
            while (line := process.read(deadline)) is not None:
                record.add_line(line)
            status = process.wait(deadline)
            if status != 0 and not record.summary:
                record.trouble = f"exit status {status}: {tail(state / 'log')}"
            elif status != 0 and record.summary["state"] == "done":
                record.trouble = f"exit status {status} after a run that was done"
        except TimeoutError:
            record.trouble = f"took longer than {self.options.timeout} s"
        finally:
            process.stop()

    def close(self):
        pass


def tail(path, most=300):
    return path.read_text(encoding="utf-8", errors="replace").strip()[-most:]
