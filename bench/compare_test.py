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

    def compare(self, *more, ours=OURS % "75.0", peer=LLAMA_BENCH):
        model = self.program("tiny.gguf", "")
        return subprocess.run(
            [sys.executable, COMPARE, "--ours", self.program("ours", ours), "--llama-bench",
             self.program("llama-bench", peer), "--model", model, "--threads", "2", *more],
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

    def test_a_program_that_fails_is_named(self):
        done = self.compare("--rounds", "1", peer="#!/bin/sh\necho no such model >&2\nexit 3\n")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("no such model", done.stderr)

    def test_refuses_what_makes_no_sense(self):
        self.assertEqual(self.compare("--rounds", "0").returncode, 2)
        self.assertEqual(self.compare("--llama-bench", "/nonexistent").returncode, 2)


if __name__ == "__main__":
    unittest.main()
