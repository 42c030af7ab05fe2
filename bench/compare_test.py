#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench/compare against programs that only print figures."""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

COMPARE = pathlib.Path(__file__).resolve().parent / "compare"

OURS = """#!/usr/bin/env python3
import json, sys
assert sys.argv[1] == "bench" and "--json" in sys.argv, sys.argv
assert sys.argv[sys.argv.index("--threads") + 1] == "2", sys.argv
print(json.dumps({"compute": "fast", "machine": {"isa": "avx2"}, "version": "0.1.0 (0123abc-dirty)", "results": [
    {"kind": "prefill", "batch": 1, "tokens_per_second": 300.0, "limit_tokens_per_second": 900.0},
    {"kind": "decode", "batch": 1, "tokens_per_second": %s, "limit_tokens_per_second": 90.0}]}))
"""
LLAMA_BENCH = """#!/usr/bin/env python3
import json, sys
assert sys.argv[sys.argv.index("-t") + 1] == "2", sys.argv
common = {"build_number": 7, "build_commit": "abc", "backends": "CPU"}
print(json.dumps([{**common, "n_prompt": 512, "n_gen": 0, "avg_ts": 100.0},
                  {**common, "n_prompt": 0, "n_gen": 128, "avg_ts": 50.0}]))
"""
SERVER = """#!/usr/bin/env python3
import http.server, json, sys, time
if "-lv" in sys.argv: sys.exit(print("system_info: n_threads = 2 | CPU : AVX2 = 1 | "))
if sys.argv[1] == "bench":
    print(json.dumps({"results": [{"kind": kind, "batch": 1, "tokens_per_second": 100.0} for kind in ("prefill", "decode")]}))
    sys.exit()
class Handler(http.server.BaseHTTPRequestHandler):
    asked = 0
    def answer(self, status, body):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())
    def do_GET(self):
        self.answer(200, {"data": [{"id": "tiny"}]})
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Handler.asked += 1
        if Handler.asked == 1: return self.answer(503, {})  # its model is not loaded yet
        if type(body["prompt"]) is list:
            assert len(body["prompt"]) == 16 and body["ignore_eos"] is True, body
            time.sleep(SECONDS)
        self.answer(200, {"usage": {"completion_tokens": body["max_tokens"] - SHORT}})
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
"""
LLAMA_SERVER = "#!/bin/sh\necho '0.00 I system_info: n_threads = 2 | CPU : AVX2 = 1 | '\nexit 1\n"


class Compare(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def program(self, name, text):
        path = os.path.join(self.folder.name, name)
        pathlib.Path(path).write_text(text, encoding="utf-8")
        os.chmod(path, 0o755)
        return path

    def compare(self, *more, ours=OURS % "75.0", peer=LLAMA_BENCH, clients=0):
        model = self.program("tiny.gguf", "")
        return subprocess.run(
            [sys.executable, COMPARE, "--ours", self.program("ours", ours), "--llama-bench",
             self.program("llama-bench", peer), "--model", model, "--threads", "2", "--clients", str(clients),
             *more],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60, check=False)

    def test_prints_medians_ratios_and_the_peers_features(self):
        self.program("llama-server", LLAMA_SERVER)
        done = self.compare("--rounds", "3")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("| tiny.gguf | prefill 512 | 300.0 | 100.0 | **3.00** | 900 |", done.stdout)
        self.assertIn("| tiny.gguf | decode 128 | 75.0 | 50.0 | **1.50** | 90 |", done.stdout)
        self.assertIn("AVX2 = 1", done.stdout)
        self.assertIn("commit 0123abc-dirty", done.stdout)
        self.assertIn("build 7, commit abc", done.stdout)

    def test_fails_when_a_ratio_is_too_small(self):
        done = self.compare("--rounds", "1", ours=OURS % "49.0")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("**0.98**", done.stdout)
        self.assertEqual(self.compare("--rounds", "1", "--at-least", "0.9", ours=OURS % "49.0").returncode, 0)

    def server(self, seconds, short=0):
        return SERVER.replace("SECONDS", str(seconds)).replace("SHORT", str(short))

    def test_both_servers_are_loaded_with_clients(self):
        self.program("llama-server", self.server(0.6))
        done = self.compare("--rounds", "1", "--client-prompt", "16", "--client-answer", "8", ours=self.server(0.2), clients=3)
        self.assertEqual(done.returncode, 0, done.stderr)
        rows = {line.split("|")[2].split()[0]: line.split("|") for line in done.stdout.splitlines() if "| tiny.gguf |" in line}
        for kind in ("served", "longest"):  # 0.2 s beside 0.6 s
            self.assertIn(" 3 clients, 16 in, 8 out ", rows[kind][2])
            self.assertGreater(float(rows[kind][5].strip(" *")), 1.5)
        self.assertGreater(float(rows["longest"][4]), float(rows["longest"][3]))

    def test_a_server_that_answers_too_little_is_no_result(self):
        self.program("llama-server", self.server(0, short=1))
        done = self.compare("--rounds", "1", "--client-prompt", "16", ours=self.server(0), clients=1)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("a server answered 200", done.stderr)

    def test_a_program_that_fails_is_named(self):
        done = self.compare("--rounds", "1", peer="#!/bin/sh\necho no such model >&2\nexit 3\n")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("no such model", done.stderr)

    def test_refuses_what_makes_no_sense(self):
        self.assertEqual(self.compare("--rounds", "0").returncode, 2)
        self.assertEqual(self.compare("--llama-bench", "/nonexistent").returncode, 2)
        self.assertEqual(self.compare(clients=3).returncode, 2)  # no llama-server


if __name__ == "__main__":
    unittest.main()
