# SPDX-License-Identifier: Apache-2.0
"""The chat, on a terminal of its own (a pty): history, commands, Ctrl-C, the offer to pull, quickstart's `serve --chat`."""
import os
import pty
import re
import select
import time
import unittest
import urllib.request

from support import BINARY, TIMEOUT, CliTest, FakeHub, content_of, sha256

SCRIPT = """== endless
on and on <|repeat|>

== first*second
I remember.

== escape
before\x1b[2Jafter

==
Hello.
"""


class Terminal:
    """A program on a pty; expect() reads until a pattern appears."""

    def __init__(self, test, *arguments):
        self.test = test
        self.said = ""
        self.pid, self.screen = pty.fork()
        if self.pid == 0:
            os.chdir(test.folder)
            os.execve(BINARY, [BINARY, *map(str, arguments)], {**test.environment, "TERM": "xterm"})
        test.addCleanup(self.close)

    def close(self):
        os.close(self.screen)
        if self.pid:
            os.kill(self.pid, 9)
            os.waitpid(self.pid, 0)

    def read(self):
        ready, _, _ = select.select([self.screen], [], [], TIMEOUT)
        self.test.assertTrue(ready, f"nothing came after: {self.said[-500:]!r}")
        try:
            return os.read(self.screen, 65536).decode(errors="replace")
        except OSError:  # the program has closed its side
            return ""

    def expect(self, pattern):
        end = time.monotonic() + TIMEOUT
        while not (found := re.search(pattern, self.said)):
            more = self.read()
            self.test.assertTrue(more and time.monotonic() < end, f"{pattern!r} did not come: {self.said[-500:]!r}")
            self.said += more
        self.said = self.said[found.end():]
        return found

    def type(self, text):
        os.write(self.screen, text.encode())

    def end(self):
        while self.read():
            pass
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)


class Chat(CliTest):
    def test_a_conversation(self):
        chat = Terminal(self, "run", self.script(SCRIPT))
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
        chat = Terminal(self, "run", self.script(SCRIPT))
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
        chat = Terminal(self, "run", self.script(SCRIPT))
        chat.expect("> ")
        chat.type("escape\n")
        self.assertEqual(chat.expect(r"before(.*)after").group(1), "[2J")

    def test_serve_with_a_chat(self):
        chat = Terminal(self, "serve", self.script(SCRIPT), "--port", "0", "--chat", "--log-level", "warn")
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
        asked = Terminal(self, "run", "tiny")
        asked.expect(r"tiny \(1\.0 kB\) is not here yet\. Pull it\? \[Y/n\]")
        asked.type("n\n")
        asked.expect("openautoglm pull tiny")
        self.assertEqual(asked.end(), 1)
        self.assertEqual(hub.requests, [])
        agreed = Terminal(self, "run", "tiny")
        agreed.expect("Pull it")
        agreed.type("\n")
        self.assertEqual(agreed.end(), 1)  # what came is no model, and is refused as one
        self.assertEqual(self.stored("tiny", "tiny.gguf"), content_of(1000))


if __name__ == "__main__":
    unittest.main()
