#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench/compare_embed against a program that only answers, and a library that only counts."""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

COMPARE = pathlib.Path(__file__).resolve().parent / "compare_embed"

# Answers in the order of `input`; the vector tells whether all texts were seen as text.
SERVER = """#!%s
import http.server, json, sys
if "--version" in sys.argv: sys.exit(print("fake 1.0 (0123abc)"))
given = dict(zip(sys.argv[1:], sys.argv[2:]))
assert given["--threads"] == "2", sys.argv
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def say(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status); self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def do_GET(self): self.say(200, {"data": [{"id": "mini"}]})
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        texts = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
        if self.path != "/v1/embeddings" or asked["model"] != "mini" or not all(len(text.split()) in (1, 6) for text in texts):
            return self.say(400, {})
        self.say(200, {"data": [{"index": i, "embedding": %s} for i in range(len(texts))]})
    def log_message(self, *words): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(given["--port"])), Handler)
print("listening on http://127.0.0.1:%%d" %% server.server_port, flush=True)
server.serve_forever()
"""
TORCH = "__version__ = '2.0'\ndef set_num_threads(count): assert count == 2\n"
SENTENCE_TRANSFORMERS = """
__version__ = "5.0"
class SentenceTransformer:
    def __init__(self, folder, device): assert device == "cpu"
    def encode(self, texts, **settings): return [1.0, 2.0] if isinstance(texts, str) else [[1.0, 2.0] for text in texts]
"""


class CompareEmbed(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        root = pathlib.Path(self.folder.name)
        for name, vector in (("ours", [1.0, 2.0]), ("llama-server", [2.0, 4.0]), ("other-server", [2.0, -1.0])):
            (root / name).write_text(SERVER % (sys.executable, vector), encoding="utf-8")
            (root / name).chmod(0o755)
        (root / "model").mkdir()
        (root / "model.gguf").touch()
        (root / "torch.py").write_text(TORCH, encoding="utf-8")
        (root / "sentence_transformers.py").write_text(SENTENCE_TRANSFORMERS, encoding="utf-8")
        self.root = root

    def tearDown(self):
        self.folder.cleanup()

    def compare(self, *words):
        return subprocess.run([str(COMPARE), "--ours", str(self.root / "ours"), "--model", str(self.root / "model"), "--threads", "2", "--rounds",
                               "2", "--texts", "8", "--clients", "3", "--batch", "4", "--words", "6", "--at-least", "0", *words],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120, check=False,
                              env={**os.environ, "PYTHONPATH": str(self.root)})

    def llama(self, name="llama-server"):
        return ("--llama-server", str(self.root / name), "--llama-model", str(self.root / "model.gguf"))

    def test_a_row_for_each_figure(self):
        done = self.compare(*self.llama(), "--sentence-transformers", sys.executable, "--save", str(self.root / "kept"))
        self.assertEqual(done.returncode, 0, done.stderr)
        rows = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]] for line in done.stdout.splitlines() if line.startswith("| ")}
        self.assertEqual(list(rows)[1:], ["1 client, texts/s", "1 client, mean latency, ms", "3 clients, texts/s", "3 clients, mean latency, ms",
                                          "1 client, 4 texts at once, texts/s"])
        self.assertTrue(all(len(cells) == 5 and cells[2] for cells in list(rows.values())[1:]), rows)
        self.assertEqual(rows["3 clients, texts/s"][3:], ["", ""])  # a library has no clients
        self.assertTrue(rows["1 client, texts/s"][4])
        self.assertIn("torch 2.0", done.stdout)
        self.assertEqual(len(list((self.root / "kept").glob("*-embed-0123abc.*"))), 2)

    def test_other_vectors_are_other_work(self):
        done = self.compare(*self.llama("other-server"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("do not compute the same", done.stderr)

    def test_a_ratio_below_the_floor_fails(self):
        self.assertEqual(self.compare(*self.llama(), "--at-least", "1000").returncode, 1)

    def test_wrong_words_are_refused(self):
        for words, error in (((), "no peer"), (("--llama-server", str(self.root / "llama-server")), "belong together"),
                             (("--sentence-transformers", "/nowhere"), "there is no /nowhere"), ((*self.llama(), "--batch", "0"), "at least 1")):
            done = self.compare(*words)
            self.assertEqual(done.returncode, 2)
            self.assertIn(error, done.stderr)


if __name__ == "__main__":
    unittest.main()
