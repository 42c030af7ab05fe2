# SPDX-License-Identifier: Apache-2.0
"""A server of the OpenAI API: how soon it answers and what memory it has then; and several clients at once: generated
tokens a second and how long a request takes."""
import concurrent.futures
import http.client
import json
import pathlib
import re
import socket
import tempfile
import time
import urllib.parse

import machine
from agent_suite.line_process import LineProcess

START_SECONDS = 120
FIRST_TOKEN = 1000  # of the prompts: any id that every vocabulary has


def free_port():
    """One that nobody listened on a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """A program that serves the OpenAI API: where it listens, and what it calls its model."""

    def __init__(self, command, log, port=0, first=("/v1/completions", {"prompt": "warm", "max_tokens": 1})):
        """`port` of this machine, of a program that was told one; else the program says `listening on http://HOST:PORT`.
        `first` is the route and body of its first request, but for the model's name."""
        began = time.monotonic()
        self.address = urllib.parse.urlsplit(f"http://127.0.0.1:{port}") if port else None
        self.process = LineProcess(command, log)
        self.log, self.said, self.first = pathlib.Path(log), "", first
        try:
            self._find()
            self.first_token_seconds = time.monotonic() - began
        except BaseException:
            self.process.stop()
            raise

    def _find(self):
        """It may listen before its model is loaded: what counts is the first answer."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.process.poll() is None:
            while not self.process.lines.empty():
                self.said += (self.process.lines.get_nowait() or "") + "\n"
            if not self.address:
                found = re.search(r"listening on (http://[\w.:]+)", self.said + self.log.read_text("utf-8", errors="replace"))
                self.address = urllib.parse.urlsplit(found.group(1)) if found else None
            if self.address:
                status, models = self.ask("GET", "/v1/models")
                if status == 200:
                    self.model = json.loads(models)["data"][0]["id"]
                    if self.ask("POST", self.first[0], {"model": self.model, **self.first[1]})[0] == 200:
                        return
            time.sleep(0.01)
        raise RuntimeError("a server did not start:\n" + (self.said + self.log.read_text("utf-8", errors="replace"))[-2000:])

    def ask(self, method, path, body=None, timeout=60):
        """Status and text of the answer; status 0 when there is none."""
        connection = http.client.HTTPConnection(self.address.hostname, self.address.port, timeout=timeout)
        try:
            connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8", errors="replace")
        except (OSError, http.client.HTTPException) as error:
            return 0, str(error)
        finally:
            connection.close()


def complete(server, prompt, answer_tokens, timeout):
    """One completion of exactly `answer_tokens`; the seconds that it took."""
    began = time.monotonic()
    status, text = server.ask("POST", "/v1/completions", {
        "model": server.model, "prompt": prompt, "max_tokens": answer_tokens, "ignore_eos": True, "temperature": 0}, timeout)
    if status != 200 or json.loads(text)["usage"]["completion_tokens"] != answer_tokens:
        raise RuntimeError(f"a server answered {status}: {text[:500]}")
    return time.monotonic() - began


def prompts_of(count, tokens):
    """No two alike, from their first token on."""
    return [[FIRST_TOKEN + (one * 31 + i * 7) % 997 for i in range(tokens)] for one in range(count)]


def load(server, clients, prompt_tokens, answer_tokens, timeout):
    """`clients` requests at once. Returns tokens a second of all together and the longest time of a request."""
    prompts = prompts_of(clients, prompt_tokens)
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        seconds = list(pool.map(lambda prompt: complete(server, prompt, answer_tokens, timeout), prompts))
    return clients * answer_tokens / (time.monotonic() - began), max(seconds)


def measure(command, clients, prompt_tokens, answer_tokens, timeout, port=0):
    """Starts a server, waits for its first token, loads it, ends it. The four figures by name."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(command, pathlib.Path(folder) / "log", port)
        try:
            at_rest = machine.resident_bytes(server.process.process.pid)
            served, longest = load(server, clients, prompt_tokens, answer_tokens, timeout)
            return {"first token": server.first_token_seconds, "at rest": at_rest / 1e6, "served": served, "longest": longest}
        finally:
            server.process.stop()
