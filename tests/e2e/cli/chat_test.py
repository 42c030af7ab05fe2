# SPDX-License-Identifier: Apache-2.0
"""The chat, on a terminal of its own (a pty): history, commands, Ctrl-C, the offer to pull, quickstart's `serve --chat`."""
import unittest
import urllib.request

from support import BINARY, TIMEOUT, CliTest, FakeHub, Terminal, content_of, sha256

SCRIPT = """== endless
on and on <|repeat|>

== first*second
I remember.

== escape
before\x1b[2Jafter

==
Hello.
"""


class Chat(CliTest):
    def test_a_conversation(self):
        chat = Terminal(self, BINARY, "run", self.script(SCRIPT))
        chat.expect("> ")
        chat.type("first\n")
        chat.expect(r"Hello\.")
        chat.expect(r"\[\d+ tokens, [\d.]+ tokens/s")
        chat.expect("> ")
        chat.type("second\n")
        chat.expect(r"I remember\.")
        chat.expect("> ")
        chat.type("/reset\n")
        chat.expect("anew")
        chat.expect("> ")
        chat.type("sec\\\nond\n")  # a line that goes on in the next one
        chat.expect(r"Hello\.")
        chat.expect("> ")
        chat.type("/help\n")
        chat.expect("/reset +forget")
        chat.type("/nonsense\n")
        chat.expect("There is no /nonsense")
        chat.expect("> ")
        chat.type("/exit\n")
        self.assertEqual(chat.end(), 0)

    def test_ctrl_c_stops_the_answer_and_not_the_program(self):
        chat = Terminal(self, BINARY, "run", self.script(SCRIPT))
        chat.expect("> ")
        chat.type("endless\n")
        chat.expect("on and on on and on")
        chat.type("\x03")
        chat.expect(r", stopped\]")
        chat.expect("> ")
        chat.type("half a line\x03")
        chat.expect("/exit or Ctrl-D")
        chat.type("/reset\n")  # the endless question is part of the history, and would match again
        chat.expect("anew")
        chat.expect("> ")
        chat.type("x\n")
        chat.expect(r"Hello\.")
        chat.expect("> ")
        chat.type("\x04")
        self.assertEqual(chat.end(), 0)

    def test_a_model_cannot_command_the_terminal(self):
        chat = Terminal(self, BINARY, "run", self.script(SCRIPT))
        chat.expect("> ")
        chat.type("escape\n")
        self.assertEqual(chat.expect(r"before(.*)after").group(1), "[2J")

    def test_serve_with_a_chat(self):
        chat = Terminal(self, BINARY, "serve", self.script(SCRIPT), "--port", "0", "--chat", "--log-level", "warn")
        url = chat.expect(r"listening on (\S+)").group(1)
        chat.expect("> ")
        with urllib.request.urlopen(url + "/healthz", timeout=TIMEOUT) as answer:
            self.assertEqual(answer.status, 200)
        chat.type("x\n")
        chat.expect(r"Hello\.")
        chat.expect("> ")
        chat.type("/exit\n")
        chat.expect("stopped")
        self.assertEqual(chat.end(), 0)

    def test_the_offer_to_pull(self):
        hub = FakeHub(self)
        hub.files["org/tiny/tiny.gguf"] = content_of(1000)
        self.environment["HF_ENDPOINT"] = hub.url
        self.catalogue("tiny", "tiny.gguf", [{"kind": "hub", "repository": "org/tiny", "files": [
            {"path": "tiny.gguf", "bytes": 1000, "sha256": sha256(content_of(1000))}]}])
        asked = Terminal(self, BINARY, "run", "tiny")
        asked.expect(r"tiny \(1\.0 kB\) is not here yet\. Pull it\? \[Y/n\]")
        asked.type("n\n")
        asked.expect("openautoglm pull tiny")
        self.assertEqual(asked.end(), 1)
        self.assertEqual(hub.requests, [])
        agreed = Terminal(self, BINARY, "run", "tiny")
        agreed.expect("Pull it")
        agreed.type("\n")
        self.assertEqual(agreed.end(), 1)  # what came is no model, and is refused as one
        self.assertEqual(self.stored("tiny", "tiny.gguf"), content_of(1000))


if __name__ == "__main__":
    unittest.main()
