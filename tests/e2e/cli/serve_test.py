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

from support import GOLDEN, TIMEOUT, CliTest, Server

TREE = pathlib.Path(__file__).resolve().parents[3]
SCRIPT = """== endless
again <|repeat|>

==
Done.
"""


def post(url, body, path="/v1/chat/completions", **headers):
    request = urllib.request.Request(url + path, json.dumps(body).encode(), {"Content-Type": "application/json", **headers})
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

    def test_the_line_to_try_bears_any_name_of_a_model(self):
        named = self.folder / """it's "one" $HOME.gguf"""
        named.symlink_to(GOLDEN / "gguf" / "qwen2-F32.gguf")
        server = Server(self, named, "--port", "0")
        line = next(line for line in server.said if line.startswith("try"))
        shown = subprocess.run(["sh", "-c", line[len("try"):].replace("curl", "curl -s", 1)], capture_output=True, text=True)
        self.assertEqual(json.loads(shown.stdout).get("model"), named.stem, line + shown.stdout + shown.stderr)

    def test_responses_are_kept_where_the_flag_says(self):
        script, database = self.script(SCRIPT), self.folder / "responses.db"
        asked = {"model": "scripted", "input": "x"}
        for flags in (["--database", database], []):
            server = Server(self, script, "--port", "0", *flags)
            response = post(server.url, asked, path="/v1/responses")
            self.assertEqual(response["output"][0]["content"][0]["text"], "Done.")
            server.stop()
            server = Server(self, script, "--port", "0", *flags)
            found = subprocess.run(["curl", "-s", server.url + "/v1/responses/" + response["id"]], capture_output=True, text=True)
            self.assertEqual(json.loads(found.stdout).get("id") == response["id"], bool(flags), found.stdout)
            server.stop()
        self.assertEqual(database.stat().st_mode & 0o777, 0o600)
        self.assertEqual([path.name for path in self.home.iterdir()], [], "without the flag nothing is written")

    def test_tools_for_responses(self):
        (self.folder / "tools.toml").write_text('[tools.hour]\nkind = "process"\ndescription = "The hour."\nclass = "read"\n'
                                                'command = ["echo", "noon"]\n')
        script = self.script('== <|tool|>noon\nIt is noon.\n\n==\n<tool_call>\n{"name": "hour", "arguments": {}}\n</tool_call>\n')
        server = Server(self, script, "--port", "0", "--tools", "tools.toml", "--no-sandbox")
        self.assertIn("tools     tools (1)", "".join(server.said))
        response = post(server.url, {"model": "scripted", "input": "x", "tools": [{"type": "mcp", "server_label": "tools"}]},
                        path="/v1/responses")
        self.assertEqual(response["output"][1]["output"].strip(), "noon")
        self.assertEqual(response["output"][2]["content"][0]["text"], "It is noon.")

    def test_tools_that_cannot_be_had_are_told_at_the_start(self):
        script = self.script(SCRIPT)
        mcp = self.folder / "mcp.json"
        mcp.write_text('{"mcpServers": {"gone": {"command": "./there-is-no-such-program"}}}')
        self.assertIn("gone", self.cli("serve", script, "--port", "0", "--mcp-config", mcp, expect=1).stderr)
        self.assertIn("none.json", self.cli("serve", script, "--port", "0", "--mcp-config", "none.json", expect=2).stderr)
        (self.folder / "tools.toml").write_text('[tools.a]\nkind = "process"\ndescription = "a"\ncommand = ["true"]\n')
        mcp.write_text('{"mcpServers": {"tools": {"command": "true"}}}')
        refused = self.cli("serve", script, "--port", "0", "--mcp-config", mcp, "--tools", "tools.toml", "--no-sandbox", expect=2)
        self.assertIn("may not be called tools", refused.stderr)

    def test_a_signal_lets_a_response_end(self):
        server = Server(self, self.script(SCRIPT), "--port", "0", "--drain-seconds", "60")
        connection = http.client.HTTPConnection(server.url[len("http://"):], timeout=TIMEOUT)
        self.addCleanup(connection.close)
        connection.request("POST", "/v1/responses", json.dumps({"model": "scripted", "input": "endless", "stream": True,
                                                                "max_output_tokens": 3_000}), {"Content-Type": "application/json"})
        stream = connection.getresponse()
        stream.readline()  # the answer has begun
        server.process.send_signal(signal.SIGTERM)
        self.assertIn("event: response.incomplete", stream.read().decode())

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
        self.assertEqual(server.process.wait(TIMEOUT), 0)

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
        self.cli("serve", self.script(SCRIPT), "--host", "0.0.0.0", "--port", "0", expect=2)
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
        examples = TREE / "examples"
        for command in (["sh", "chat.sh"], [sys.executable, "chat.py"], ["node", "chat.mjs"]):
            done = subprocess.run([command[0], examples / command[1]], capture_output=True, text=True, timeout=TIMEOUT, env=environment)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("Done.", done.stdout)

    def test_the_calls_of_the_pages_run(self):
        server = Server(self, self.script(SCRIPT), "--port", "0")
        for page in ("README.md", "README.zh.md", "docs/guides/api.md"):
            calls = re.findall(r"^```sh\n(curl .*?)^```", (TREE / page).read_text(), re.MULTILINE | re.DOTALL)
            self.assertTrue(calls, page)
            for call in calls:
                call = call.replace("http://127.0.0.1:8080", server.url).replace("smollm2", "scripted")
                done = subprocess.run(["bash", "-c", call], capture_output=True, text=True, timeout=TIMEOUT, env=self.environment)
                self.assertIn("[DONE]", done.stdout, f"{page}: {call}: {done.stdout} {done.stderr}")
                self.assertNotIn('"error"', done.stdout)

    def test_an_encoder(self):
        encoder = GOLDEN / "encoders" / "bert_small"
        server = Server(self, encoder, "--port", "0")
        said = "".join(server.said)
        for word in ("20 dimensions", "up to 32 tokens", "up to 32 texts, which wait for company up to 50 ms"):
            self.assertIn(word, said)
        call = re.search(r"^try +(curl .*)$", said, re.MULTILINE)[1]
        done = subprocess.run(["bash", "-c", call], capture_output=True, text=True, timeout=TIMEOUT, env=self.environment)
        self.assertEqual(len(json.loads(done.stdout)["data"][0]["embedding"]), 20)
        self.assertEqual(server.stop()[0], 0)
        self.assertIn("--chat", self.cli("serve", encoder, "--port", "0", "--chat", expect=2).stderr)
        self.cli("serve", encoder, "--port", "0", "--context-length", "41", expect=2)
        longer = Server(self, encoder, "--port", "0", "--context-length", "40", "--batch-timeout-ms", "3")
        self.assertIn("up to 3 ms", "".join(longer.said))

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
        (self.folder / "mcp.json").write_text('{"mcpServers": {}}')
        (self.folder / "tools.toml").write_text('[tools.a]\nkind = "process"\ndescription = "a"\ncommand = ["true"]\n')
        values = {
            "tools": '"tools.toml"', "mcp-config": '"mcp.json"', "no-sandbox": "true", "database": '"responses.db"',
            "model": f'"{self.script(SCRIPT)}"', "yes": "true", "threads": "1", "compute": '"exact"', "isa": '"scalar"',
            "context-length": "512", "kv-memory": '"4M"', "kv-type": '"f16"', "max-batch-size": "3", "max-batch-tokens": "64",
            "batch-timeout-ms": "1", "queue-capacity": "7", "prefix-cache": "false", "jump-forward": "false",
            "log-level": '"warn"',
            "weight": "2", "max-concurrency": "3",
            "host": '"127.0.0.1"', "port": "0", "api-key-file": f'"{keys}"', "allow-origin": '["http://a"]',
            "allow-host": '["b"]', "drain-seconds": "5", "chat": "true", "system": '"be brief"', "temperature": "0.5",
            "top-p": "0.5", "top-k": "5", "min-p": "0.1", "repetition-penalty": "1.1", "seed": "7", "max-tokens": "9"}
        flags = set(re.findall(r"^ +(?:-\w,)?--([a-z-]+)", self.cli("serve", "--help").stdout, re.MULTILINE))
        of_several = {"memory-budget", "admin-key-file"}  # several_test.py has them in its settings
        self.assertEqual(flags - {"help", "config"} - of_several, set(values), "a flag without a setting here, or the other way round")
        settings = self.folder / "settings.toml"
        settings.write_text("".join(f"{flag} = {value}\n" for flag, value in values.items()))
        server = Server(self, "--config", settings, stdin=subprocess.PIPE)
        said = "".join(server.said)
        for word in ("512 tokens", "exact, 1 thread, scalar", "up to 3 sequences, 64 tokens", "required"):
            self.assertIn(word, said)
        with self.assertRaises(urllib.error.HTTPError) as refused:
            post(server.url, chat("x"))
        refused.exception.close()
        answer, complaints = server.process.communicate("x\n", timeout=TIMEOUT)  # the chat on this terminal
        self.assertIn("Done.", answer, complaints)
        self.assertEqual(server.process.returncode, 0)

    def test_flags_of_the_chat_need_the_chat(self):
        for flag, value in (("--temperature", "0.5"), ("--system", "be brief"), ("--seed", "1"), ("--min-p", "0.1")):
            complaint = self.cli("serve", self.script(SCRIPT), "--port", "0", flag, value, expect=2).stderr
            self.assertIn(flag, complaint)
            self.assertIn("--chat", complaint)
        settings = self.folder / "settings.toml"
        settings.write_text("top_p = 0.5\n")
        self.assertIn("--top-p", self.cli("serve", self.script(SCRIPT), "--config", settings, expect=2).stderr)
        listed = self.cli("serve", "--help").stdout
        self.assertLess(listed.index("with --chat only"), listed.index("--temperature"))

    def test_cheap_refusals_come_before_the_model(self):
        # A model that is not there is what would be told, had it been looked for.
        keys = self.folder / "keys"
        keys.write_text("good\n  two words\n")
        keys.chmod(0o600)
        missing = self.folder / "missing.gguf"
        self.assertIn(f"{keys}:2:", self.cli("serve", missing, "--api-key-file", keys, expect=2).stderr)
        self.assertIn("--api-key-file", self.cli("serve", missing, "--host", "0.0.0.0", expect=2).stderr)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            self.assertIn(str(port), self.cli("serve", missing, "--port", port, expect=1).stderr)
        self.assertIn("no file", self.cli("serve", missing, "--port", "0", expect=1).stderr)

    def test_a_context_beyond_the_models_own(self):
        model = GOLDEN / "tiny" / "qwen2"
        for verb, more in (("serve", ("--port", "0")), ("run", ("--prompt", "x"))):
            complaint = self.cli(verb, model, "--context-length", "1025", *more, expect=2).stderr
            self.assertIn("1025", complaint)
            self.assertIn("1024", complaint)

    def test_the_settings_file_of_the_examples(self):
        example = TREE / "examples" / "serve.toml"
        server = Server(self, self.script(SCRIPT), "--port", "0", "--config", example)
        self.assertIn("up to 8 sequences", "".join(server.said))
        self.assertIn("context   4096 tokens", "".join(server.said))


if __name__ == "__main__":
    unittest.main()
