# SPDX-License-Identifier: Apache-2.0
"""`serve` on the scripted model: how it starts, what it refuses, how it ends."""
import http.client
import json
import pathlib
import re
import signal
import socket
import subprocess
import sys
import unittest
import urllib.error
import urllib.request

from support import TIMEOUT, CliTest, Server

SCRIPT = """== endless
again <|repeat|>

==
Done.
"""


def post(url, body, **headers):
    request = urllib.request.Request(url + "/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json", **headers})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        return json.load(answer)


def chat(text, **more):
    return {"model": "scripted", "messages": [{"role": "user", "content": text}], **more}


class Serve(CliTest):
    def test_says_where_it_listens_and_answers(self):
        server = Server(self, self.script(SCRIPT), "--port", "0")
        said = "".join(server.said)
        for word in ("model     scripted", "KV memory", "context", "thread", "curl http://127.0.0.1:", "/v1 (base URL"):
            self.assertIn(word, said)
        self.assertEqual(post(server.url, chat("x"))["choices"][0]["message"]["content"], "Done.")
        code, complaints = server.stop()
        self.assertEqual(code, 0)
        self.assertIn("stopped", complaints)

    def test_a_signal_drains(self):
        server = Server(self, self.script(SCRIPT), "--port", "0", "--drain-seconds", "60")
        connection = http.client.HTTPConnection(server.url[len("http://"):], timeout=TIMEOUT)
        self.addCleanup(connection.close)
        connection.request("POST", "/v1/chat/completions", json.dumps(chat("endless", stream=True, max_tokens=3_000)),
                           {"Content-Type": "application/json"})
        stream = connection.getresponse()
        stream.readline()  # the answer has begun
        server.process.send_signal(signal.SIGTERM)
        rest = stream.read().decode()
        self.assertIn("[DONE]", rest)
        code, _ = server.stop() if server.process.poll() is None else (server.process.wait(), "")
        self.assertIn(code, (0, 128 + 15))

    def test_a_second_signal_stops_at_once(self):
        server = Server(self, self.script(SCRIPT), "--port", "0", "--drain-seconds", "600")
        connection = http.client.HTTPConnection(server.url[len("http://"):], timeout=TIMEOUT)
        self.addCleanup(connection.close)
        connection.request("POST", "/v1/chat/completions", json.dumps(chat("endless", stream=True)), {"Content-Type": "application/json"})
        connection.getresponse().readline()
        server.process.send_signal(signal.SIGINT)
        for line in server.process.stderr:
            if line.startswith("draining"):
                break
        code, _ = server.stop(signal.SIGINT)
        self.assertEqual(code, 128 + 2)

    def test_a_taken_port(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            self.assertIn(str(port), self.cli("serve", self.script(SCRIPT), "--port", port, expect=1).stderr)

    def test_other_addresses_need_keys(self):
        self.cli("serve", self.script(SCRIPT), "--host", "0.0.0.0", "--port", "0", expect=1)
        keys = self.folder / "keys"
        keys.write_text("# ours\n\nsecret-one\n")
        keys.chmod(0o600)
        server = Server(self, self.script(SCRIPT), "--port", "0", "--api-key-file", keys)
        with self.assertRaises(urllib.error.HTTPError) as refused:
            post(server.url, chat("x"))
        self.assertEqual(refused.exception.code, 401)
        refused.exception.close()
        self.assertEqual(post(server.url, chat("x"), Authorization="Bearer secret-one")["choices"][0]["finish_reason"], "stop")
        keys.write_text("# none\n")
        self.cli("serve", self.script(SCRIPT), "--port", "0", "--api-key-file", keys, expect=2)
        self.cli("serve", self.script(SCRIPT), "--port", "0", "--api-key-file", self.folder / "missing", expect=2)

    def test_the_examples_run(self):
        server = Server(self, self.script(SCRIPT), "--port", "0")
        environment = {**self.environment, "BASE_URL": server.url + "/v1", "MODEL": "scripted"}
        examples = pathlib.Path(__file__).resolve().parents[3] / "examples"
        for command in (["sh", "chat.sh"], [sys.executable, "chat.py"], ["node", "chat.mjs"]):
            done = subprocess.run([command[0], examples / command[1]], capture_output=True, text=True, timeout=TIMEOUT, env=environment)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("Done.", done.stdout)

    def test_settings_of_the_server(self):
        settings = self.folder / "settings.toml"
        settings.write_text(f'model = "{self.script(SCRIPT)}"\nport = 0\nmax-batch-size = 3\nallow_origin = ["http://a", "http://b"]\nlog_level = "warn"\n')
        server = Server(self, "--config", settings)
        self.assertIn("up to 3 sequences", "".join(server.said))
        settings.write_text(f'model = "{self.script(SCRIPT)}"\nportt = 0\n')
        self.assertIn("'portt'", self.cli("serve", "--config", settings, expect=2).stderr)

    def test_every_flag_is_a_setting(self):
        keys = self.folder / "keys"
        keys.write_text("secret-one\n")
        keys.chmod(0o600)
        values = {
            "model": f'"{self.script(SCRIPT)}"', "yes": "true", "threads": "1", "compute": '"exact"', "isa": '"scalar"',
            "context-length": "512", "kv-memory": '"4M"', "max-batch-size": "3", "max-batch-tokens": "64",
            "batch-timeout-ms": "1", "queue-capacity": "7", "prefix-cache": "false", "log-level": '"warn"',
            "host": '"127.0.0.1"', "port": "0", "api-key-file": f'"{keys}"', "allow-origin": '["http://a"]',
            "allow-host": '["b"]', "drain-seconds": "5", "chat": "false", "system": '"be brief"', "temperature": "0.5",
            "top-p": "0.5", "top-k": "5", "repetition-penalty": "1.1", "seed": "7", "max-tokens": "9"}
        flags = set(re.findall(r"^ +(?:-\w,)?--([a-z-]+)", self.cli("serve", "--help").stdout, re.MULTILINE))
        self.assertEqual(flags - {"help", "config"}, set(values), "a flag without a setting here, or the other way round")
        settings = self.folder / "settings.toml"
        settings.write_text("".join(f"{flag} = {value}\n" for flag, value in values.items()))
        server = Server(self, "--config", settings)
        said = "".join(server.said)
        for word in ("512 tokens", "exact, 1 thread, scalar", "up to 3 sequences, 64 tokens", "required"):
            self.assertIn(word, said)
        with self.assertRaises(urllib.error.HTTPError) as refused:
            post(server.url, chat("x"))
        refused.exception.close()


if __name__ == "__main__":
    unittest.main()
