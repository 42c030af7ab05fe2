# SPDX-License-Identifier: Apache-2.0
"""`serve` with several models, and `openautoglm models` against it: scripted ones, a small GGUF and a small encoder."""
import http.client
import json
import socket
import threading
import unittest
import urllib.error
import urllib.request

from support import GOLDEN, TIMEOUT, CliTest, Server

ENCODER = GOLDEN / "encoders" / "bert_small"
GGUF = GOLDEN / "gguf" / "llama32-Q8_0.gguf"
KEY = "an-admin-key-of-the-tests"


def post(url, path, body):
    request = urllib.request.Request(url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        return json.load(answer)


def chat(url, model, text="x", **more):
    return post(url, "/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": text}], **more})


class Several(CliTest):
    def setUp(self):
        super().setUp()
        self.keys = self.folder / "admin"
        self.keys.write_text(KEY + "\n")
        self.keys.chmod(0o600)

    def models_of(self, *tables, head=""):
        """A settings file with a [[model]] for each; a script where a table says so."""
        text = head
        for number, table in enumerate(tables):
            if "script" in table:
                script = self.folder / f"{number}.script"
                script.write_text(table.pop("script"))
                table["model"] = f"scripted:{script}"
            text += "[[model]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
        settings = self.folder / "settings.toml"
        settings.write_text(text)
        return settings

    def serve(self, *tables, flags=(), head=""):
        return Server(self, "--config", self.models_of(*tables, head=head), "--port", "0", *flags)

    def models(self, server, *arguments, expect=0):
        return self.cli("models", *arguments, "--url", server.url, "--admin-key-file", self.keys, expect=expect)

    def refused(self, status, *arguments, **more):
        with self.assertRaises(urllib.error.HTTPError) as refused:
            chat(*arguments, **more)
        body = json.load(refused.exception)
        refused.exception.close()
        self.assertEqual(refused.exception.code, status, body)
        return body["error"]

    def test_by_position_each_answers_for_itself(self):
        server = Server(self, ENCODER, GGUF, "--port", "0", "--weight", "3,1", "--max-concurrency", "8,16")
        said = "".join(server.said)
        self.assertRegex(said, r"model +bert_small: encoder, .* weight 3, up to 8 requests at once")
        self.assertRegex(said, r"model +llama32-Q8_0: writes text, .* weight 1, up to 16 requests at once")
        self.assertIn("admin     off", said)
        vector = post(server.url, "/v1/embeddings", {"model": "bert_small", "input": "hello"})["data"][0]["embedding"]
        self.assertEqual(len(vector), 20)
        answer = post(server.url, "/v1/completions", {"model": "llama32-Q8_0", "prompt": "fox", "max_tokens": 4})
        self.assertEqual(answer["usage"]["completion_tokens"], 4)
        with urllib.request.urlopen(server.url + "/v1/models", timeout=TIMEOUT) as listed:
            self.assertEqual([model["id"] for model in json.load(listed)["data"]], ["bert_small", "llama32-Q8_0"])
        self.assertIn("encoder", self.refused(400, server.url, "bert_small")["message"])
        self.assertEqual(self.refused(404, server.url, "nobody")["code"], "model_not_found")
        with urllib.request.urlopen(server.url + "/metrics", timeout=TIMEOUT) as figures:
            text = figures.read().decode()
        self.assertIn('openautoglm_model_weight{model="bert_small"} 3', text)
        self.assertRegex(text, r'openautoglm_turn_seconds_total\{model="llama32-Q8_0"\} \d')
        self.assertEqual(server.stop()[0], 0)

    # What a model says does not depend on what else runs here.
    def test_the_same_words_as_alone(self):
        asked = {"model": "llama32-Q8_0", "prompt": "The quick brown", "max_tokens": 24, "seed": 3}
        alone = Server(self, GGUF, "--port", "0")
        words = post(alone.url, "/v1/completions", asked)["choices"]
        alone.stop()
        server = Server(self, ENCODER, GGUF, "--port", "0")
        busy = threading.Thread(target=lambda: [post(server.url, "/v1/embeddings", {"model": "bert_small", "input": ["a b c"] * 64})
                                                for _ in range(8)])
        busy.start()
        self.assertEqual(post(server.url, "/v1/completions", asked)["choices"], words)
        busy.join()

    def test_tables_name_and_set_each_model(self):
        server = self.serve({"name": "one", "script": "==\nI am one.\n", "max-batch-size": 2},
                            {"name": "two", "script": "==\nI am two.\n", "weight": 2.5, "load-at-start": False})
        said = "".join(server.said)
        self.assertRegex(said, r"model +one: writes text, .* in memory, weight 1, up to 2 requests at once")
        self.assertRegex(said, r"model +two: writes text, loaded when it is asked for, weight 2.5, up to 32")
        for name in ("one", "two"):
            self.assertEqual(chat(server.url, name)["choices"][0]["message"]["content"], f"I am {name}.")

    def test_what_tables_may_not_say(self):
        script = {"name": "one", "script": "==\nx\n"}
        for tables, words in (([{"name": "x"}], "needs a line `model"), ([{**script, "wieght": 2}], "'wieght'"),
                              ([{**script, "weight": 0}], "'weight'"), ([{**script, "port": 1}], "'port'"),
                              ([{**script}, {**script}], "two models are called one")):
            settings = self.models_of(*[dict(table) for table in tables])
            self.assertIn(words, self.cli("serve", "--config", settings, "--port", "0", expect=2).stderr)
        settings = self.models_of(dict(script))
        self.assertIn("not by both", self.cli("serve", self.script("==\nx\n"), "--config", settings, expect=2).stderr)
        two = ("serve", ENCODER, GGUF, "--port", "0")
        self.assertIn("3 values for 2 models", self.cli(*two, "--weight", "1,2,3", expect=2).stderr)
        self.assertIn("--chat", self.cli(*two, "--chat", expect=2).stderr)
        self.assertIn("'much' is not a size", self.cli(*two, "--memory-budget", "much", expect=2).stderr)
        self.assertIn("two models are called bert_small", self.cli("serve", ENCODER, ENCODER, "--port", "0", expect=2).stderr)

    def test_one_that_is_broken(self):
        (self.folder / "broken.gguf").write_bytes(b"GGUF and no more")
        tables = [{"name": "good", "script": "==\nYes.\n"}, {"name": "bad", "model": str(self.folder / "broken.gguf"), "load-at-start": False}]
        server = self.serve(*tables, flags=("--admin-key-file", self.keys))
        self.assertEqual(self.refused(503, server.url, "bad")["code"], "model_not_loaded")
        self.assertEqual(chat(server.url, "good")["choices"][0]["message"]["content"], "Yes.")
        self.assertIn("broken.gguf", self.models(server, "load", "bad", expect=1).stderr)
        self.assertIn("could not be loaded", self.models(server).stdout)
        self.assertIn("broken.gguf", server.stop()[1])
        # From the start it is the operator's mistake, told at once.
        tables[1]["load-at-start"] = True
        self.assertIn("the model bad", self.cli("serve", "--config", self.models_of(*tables), "--port", "0", expect=1).stderr)

    def test_the_verb(self):
        server = self.serve({"name": "one", "script": "==\nI am one.\n"}, {"name": "two/slash", "script": "==\nI am two.\n"},
                            flags=("--admin-key-file", self.keys, "--memory-budget", "1G"))
        self.assertRegex(self.models(server).stdout, r"two/slash +loaded")
        self.assertRegex(self.models(server, "list").stdout, r"memory: .* of 1.07 GB")
        self.assertEqual(self.models(server, "unload", "two/slash").stdout, "two/slash: unloaded\n")
        listed = json.loads(self.models(server, "list", "--json").stdout)
        self.assertEqual([model["state"] for model in listed["data"]], ["loaded", "unloaded"])
        self.assertEqual(listed["data"][1]["memory_bytes"], 0)
        self.assertEqual(self.models(server, "load", "two/slash").stdout, "two/slash: loaded\n")
        self.models(server, "unload", "two/slash")
        self.assertEqual(chat(server.url, "two/slash")["choices"][0]["message"]["content"], "I am two.", "it comes when it is asked for")
        self.assertIn("not served here", self.models(server, "load", "nobody", expect=1).stderr)
        self.assertIn("NAME", self.models(server, "load", expect=2).stderr)
        self.assertIn("takes no name", self.models(server, "list", "one", expect=2).stderr)
        self.cli("models", "explode", "one", expect=2)
        self.assertIn("--admin-key-file", self.cli("models", "--url", server.url, expect=2).stderr)
        self.keys.write_text("another-key\n")
        self.assertIn("not known here", self.models(server, expect=1).stderr)
        self.assertIn("in the open", self.cli("models", "--url", "http://192.0.2.1", "--admin-key-file", self.keys, expect=2).stderr)
        server.stop()
        self.models(server, expect=1)

    def test_without_an_admin_key_nobody_may(self):
        server = self.serve({"name": "one", "script": "==\nx\n"})
        self.assertIn("--admin-key-file", self.models(server, expect=1).stderr)

    # 2 MiB of KV memory each, and room for two.
    def test_memory(self):
        tables = [{"name": name, "script": f"== endless\n{name} <|repeat|>\n\n==\nI am {name}.\n", "kv-memory": "2M", "max-batch-size": 32}
                  for name in ("one", "two", "three")]
        server = self.serve(*tables, head=f'admin-key-file = "{self.keys}"\nmemory-budget = "5M"\n')
        said = "".join(server.said)
        self.assertRegex(said, "model +three: writes text, loaded when it is asked for")
        for name in ("one", "three", "two", "one"):
            self.assertEqual(chat(server.url, name)["choices"][0]["message"]["content"], f"I am {name}.")
        states = {model["id"]: model["state"] for model in json.loads(self.models(server, "list", "--json").stdout)["data"]}
        self.assertEqual(states, {"one": "loaded", "two": "loaded", "three": "unloaded"})
        connections = []
        for name in ("one", "two"):  # both are at work
            connection = http.client.HTTPConnection(server.url[len("http://"):], timeout=TIMEOUT)
            self.addCleanup(connection.close)
            connections.append(connection)
            connection.request("POST", "/v1/chat/completions", json.dumps({"model": name, "stream": True, "messages": [
                {"role": "user", "content": "endless"}]}), {"Content-Type": "application/json"})
            connection.getresponse().readline()
        error = self.refused(429, server.url, "three")
        self.assertRegex(error["message"], r"needs \d+ bytes of the 5242880 .* in use by one, two")
        connections[0].sock.shutdown(socket.SHUT_RDWR)  # its client leaves
        for _ in range(1000):
            try:
                answer = chat(server.url, "three")
                break
            except urllib.error.HTTPError as refused:
                refused.close()
        self.assertEqual(answer["choices"][0]["message"]["content"], "I am three.")

    def test_one_that_never_fits(self):
        settings = self.models_of({"name": "one", "script": "==\nx\n", "kv-memory": "2M"})
        refused = self.cli("serve", "--config", settings, "--port", "0", "--memory-budget", "1M", expect=1).stderr
        self.assertIn("of the 1048576 that all models may have together", refused)


if __name__ == "__main__":
    unittest.main()
