# SPDX-License-Identifier: Apache-2.0
"""The peer's side: llama-server with its tool parser, and the OpenAI Agents SDK with the same tool servers. One server for
all tasks and one client process for each folder, which keeps the tool servers of its tasks; all but these are started before
the first task."""
import json
import pathlib
import queue
import re
import subprocess
import time

from agent_suite import tool_servers
from agent_suite.line_process import LineProcess

WORKER = pathlib.Path(__file__).resolve().parent / "peer_worker.py"
START_SECONDS = 120


class Peer:
    name = "peer"

    def __init__(self, options, modules, state):
        self.options, self.modules = options, modules
        self.log = state / "llama-server.log"
        self.python = tool_servers.install_peer_client(options.cache)
        state.mkdir(parents=True, exist_ok=True)
        self.log.write_bytes(b"")
        self.idle, self.workers = queue.Queue(), {}  # clients without a folder; by folder
        self.complaints = []
        self.server = LineProcess(
            [options.peer_llama_server, "--model", options.model, "--jinja", "--threads", options.threads, "--parallel",
             options.jobs, "--ctx-size", options.context_length * options.jobs, "--host", "127.0.0.1", "--port", 0,
             *options.peer_argument], self.log)
        try:
            self.url = self._address()
            for _ in range(options.jobs):
                self.idle.put(self._worker())
        except BaseException:
            self.close()
            raise

    def version(self):
        done = subprocess.run([self.options.peer_llama_server, "--version"], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=30, check=False)
        line = re.search(r"version:.*", done.stdout)
        client = re.search(r"openai-agents==\S+", (tool_servers.HERE / "requirements.txt").read_text(encoding="utf-8"))
        return f"llama-server {line.group(0) if line else 'of an unknown version'}, {client.group(0)}"

    def _address(self):
        """Where the server listens. It says so before the model is loaded, and has loaded it when it says that it is idle."""
        deadline = time.monotonic() + START_SECONDS
        address = None
        while time.monotonic() < deadline and self.server.process.poll() is None:
            text = self.log.read_text(encoding="utf-8", errors="replace")
            address = re.search(r"listening on (http://\S+)", text)
            if address and re.search(r"all slots are idle|model loaded", text):
                return address.group(1)
            time.sleep(0.1)
        raise RuntimeError("llama-server did not start:\n" + self.log.read_text(encoding="utf-8", errors="replace")[-2000:])

    def _worker(self):
        worker = LineProcess([self.python, WORKER, self.url + "/v1"], self.log)
        line = worker.read(time.monotonic() + START_SECONDS)
        if line != "ready":
            worker.stop()
            raise RuntimeError(f"the peer's client did not start, see {self.log}")
        return worker

    def run(self, record, folder, state):
        state.mkdir(parents=True, exist_ok=True)
        if folder not in self.workers:
            self.workers[folder] = self.idle.get_nowait()
        worker = self.workers[folder]
        deadline = time.monotonic() + self.options.timeout
        is_usable = False
        try:
            worker.write(json.dumps({"prompt": record.task.prompt_in(folder), "folder": str(folder),
                                     "servers": tool_servers.configuration(record.task, folder, self.modules)["mcpServers"],
                                     "instructions": self.options.peer_instructions, "max_turns": 10, "max_tokens": 1024}))
            while (line := worker.read(deadline)) != "end":
                if line is None:
                    record.trouble = "the peer's client ended"
                    break
                record.add_line(line)
            else:
                is_usable = True
        except TimeoutError:
            record.trouble = f"took longer than {self.options.timeout} s"
        finally:
            if not is_usable:
                worker.stop()
                self.workers[folder] = self._worker()

    def close(self):
        while not self.idle.empty():
            self.idle.get().stop()
        for worker in self.workers.values():
            worker.stop()
        self.server.stop()
