# SPDX-License-Identifier: Apache-2.0
"""Several clients at a server of the OpenAI API at once: generated tokens a second and how long a request takes."""
import concurrent.futures
import http.client
import json
import pathlib
import re
import tempfile
import time
import urllib.parse

from agent_suite.line_process import LineProcess

START_SECONDS = 120
FIRST_TOKEN = 1000  # of the prompts: any id that every vocabulary has


class Server:
    """A program that serves the OpenAI API: where it listens, and what it calls its model."""

    def __init__(self, command, log):
        self.process = LineProcess(command, log)
        self.log, self.said = pathlib.Path(log), ""
        try:
            self._find()
        except BaseException:
            self.process.stop()
            raise

    def _find(self):
        """Both sides say `listening on http://HOST:PORT`; the peer does so before its model is loaded."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.process.poll() is None:
            while not self.process.lines.empty():
                self.said += (self.process.lines.get_nowait() or "") + "\n"
            found = re.search(r"listening on (http://[\w.:]+)", self.said + self.log.read_text("utf-8", errors="replace"))
            if found:
                self.address = urllib.parse.urlsplit(found.group(1))
                status, models = self.ask("GET", "/v1/models")
                if status == 200:
                    self.model = json.loads(models)["data"][0]["id"]
                    if self.ask("POST", "/v1/completions", {"model": self.model, "prompt": "warm", "max_tokens": 4})[0] == 200:
                        return
            time.sleep(0.1)
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


def load(server, clients, prompt_tokens, answer_tokens, timeout):
    """`clients` requests at once, no two prompts alike from their first token on. Returns tokens a second of all together
    and the longest time of a request."""
    prompts = [[FIRST_TOKEN + (client * 31 + i * 7) % 997 for i in range(prompt_tokens)] for client in range(clients)]
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        seconds = list(pool.map(lambda prompt: complete(server, prompt, answer_tokens, timeout), prompts))
    return clients * answer_tokens / (time.monotonic() - began), max(seconds)


def measure(command, clients, prompt_tokens, answer_tokens, timeout):
    """Starts a server, loads it, ends it."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(command, pathlib.Path(folder) / "log")
        try:
            return load(server, clients, prompt_tokens, answer_tokens, timeout)
        finally:
            server.process.stop()
