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
given = dict(zip(sys.argv[2::2], sys.argv[3::2]))
assert sys.argv[1] == "bench" and sys.argv[-1] == "--json" and given["--threads"] == "2", sys.argv
results = []
if given["--prefill"] != "0":
    results.append({"kind": "prefill", "batch": 1, "tokens_per_second": 300.0, "limit_tokens_per_second": 900.0})
if given["--decode"] != "0":
    results += [{"kind": "decode", "batch": int(batch), "tokens_per_second": %s * int(batch) / (2 if int(given["--depth"]) > 1000 else 1),
                 "limit_tokens_per_second": 90.0} for batch in given["--batch"].split(",")]
print(json.dumps({"compute": "fast", "machine": {"isa": "avx2"}, "version": "0.1.0 (0123abc-dirty)", "results": results}))
"""
LLAMA_BENCH = """#!/usr/bin/env python3
import json, sys
if sys.argv[1] == "--help": sys.exit(print("  -d, --n-depth <n>"))
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
assert given["-t"] == "2", sys.argv
tests = [{"n_prompt": int(tokens), "n_gen": 0, "samples_ts": [100.0]} for tokens in given["-p"].split(",") if tokens != "0"]
tests.append({"n_prompt": 0, "n_gen": int(given["-n"]), "samples_ts": [25.0 if "-d" in given else 50.0]})
if "-rtr" in given: tests[-1]["samples_ts"] = [1.0, 2 * tests[-1]["samples_ts"][0]]
print(json.dumps([{"build_number": 7, "build_commit": "abc", "backends": "CPU", **test} for test in tests]))
"""
# A fork says that it is at another version of the same programs: no -d, a table to standard error, another log.
FORK_BENCH = """#!/usr/bin/env python3
import json, sys
if sys.argv[1] == "--help": sys.exit(print("  -gp <pp,tg>      (default: )"))
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
assert "-d" not in given and given["-rtr"] == "1", sys.argv
tests = [{"n_prompt": 0, "n_gen": 128, "samples_ts": [10.0]}]
if "-gp" in given:
    assert given["-gp"] == "8064,32" and given["-p"] == given["-n"] == "0", sys.argv
    tests = [{"n_prompt": 8064, "n_gen": 32, "samples_ts": [15.0]}]
print(json.dumps(tests))
"""
FORK_BATCHED_BENCH = """#!/usr/bin/env python3
import sys
assert sys.argv[-1] == "-rtr", sys.argv
open("fork.log", "w").close()
print("|    PP |     TG |    B |   N_KV |   T_PP s | S_PP t/s |   T_TG s | S_TG t/s |      T s |    S t/s |", file=sys.stderr)
print("|-------|--------|------|--------|----------|----------|----------|----------|----------|----------|", file=sys.stderr)
print("|   128 |     64 |    8 |   1536 |    0.500 |  2048.00 |    2.560 |   200.00 |    3.060 |   501.96 |", file=sys.stderr)
"""
FORK_SERVER = """#!/bin/sh
case "$*" in *-lv*) echo 'error: unknown argument: -lv'; exit 1;; esac
echo 'INFO [ main] system info | n_threads=2 system_info="AVX = 1 | AVX512_VNNI = 1 | " tid="1"'
exit 1
"""
BATCHED_BENCH = """#!/usr/bin/env python3
import json, sys
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
assert given["-npp"] == "128" and given["-ntg"] == "64" and int(given["-c"]) == 32 * 192, sys.argv
print("loading")
for streams in given["-npl"].split(","): print(json.dumps({"pl": int(streams), "speed_tg": 100.0}))
"""
VLLM = """
import time
now = [0.0]
time.monotonic = lambda: now[0]  # so that the figures do not depend on the machine
class SamplingParams:
    def __init__(self, max_tokens, ignore_eos, temperature, detokenize): self.max_tokens = max_tokens
class Times:
    def __init__(self, tokens): self.first_token_ts, self.last_token_ts = now[0] - (tokens - 1) * 1e-3, now[0]
class Answer:
    def __init__(self, tokens): self.metrics = Times(tokens)
class LLM:
    def __init__(self, model, **settings): assert settings["dtype"] == "bfloat16" and model.endswith("bf16"), (model, settings)
    met = set()
    def generate(self, prompts, sampling, use_tqdm):
        shape = (len(prompts), len(prompts[0]["prompt_token_ids"]))
        if shape not in self.met: now[0] += 1.0  # kernels of a new shape
        self.met.add(shape)
        now[0] += sum(len(prompt["prompt_token_ids"]) for prompt in prompts) * 1e-5 + sampling.max_tokens * 1e-3
        return [Answer(sampling.max_tokens if len(prompts) == 1 else 1)] * len(prompts)
__version__ = "9.9"
"""
TORCH = """
class backends:
    class cpu:
        get_cpu_capability = staticmethod(lambda: "AVX512")
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
        else: assert body["max_tokens"] == 1, body
        self.answer(200, {"usage": {"completion_tokens": body["max_tokens"] - SHORT}})
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler)
if sys.argv[1] == "serve": print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)  # the peer is told where
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
        peers = ["--peer-llama-bench", self.program("llama-bench", peer)] if peer else []
        return subprocess.run(
            [sys.executable, COMPARE, "--ours", self.program("ours", ours), *peers, "--model", model, "--threads", "2", "--clients",
             str(clients), *more],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60, check=False, env={**os.environ, "PYTHONPATH": self.folder.name})

    def test_prints_medians_ratios_and_the_peers_features(self):
        self.program("llama-server", LLAMA_SERVER)
        done = self.compare("--rounds", "3")
        self.assertEqual(done.returncode, 0, done.stderr)
        for row in ("| tiny.gguf | prefill 512, tokens/s | 300.0 | 100.0 | **3.00** | 900 |",
                    "| tiny.gguf | prefill 4096, tokens/s | 300.0 | 100.0 | **3.00** | 900 |",
                    "| tiny.gguf | decode 128, tokens/s | 75.0 | 50.0 | **1.50** | 90 |",
                    "| tiny.gguf | decode 64, 8 streams of 128, tokens/s | 600.0 |  |  | 90 |",
                    "| tiny.gguf | decode 32 after 8064, tokens/s | 37.5 | 25.0 | **1.50** | 90 |"):
            self.assertIn(row, done.stdout)
        self.assertIn("AVX2 = 1", done.stdout)
        self.assertIn("commit 0123abc-dirty", done.stdout)
        self.assertIn("build 7, commit abc", done.stdout)

    def test_fails_when_a_ratio_is_too_small(self):
        done = self.compare("--rounds", "1", ours=OURS % "49.0")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("**0.98**", done.stdout)
        self.assertEqual(self.compare("--rounds", "1", "--at-least", "0.9", ours=OURS % "49.0").returncode, 0)

    def test_peers_have_names_and_arguments_of_their_own(self):
        self.program("llama-batched-bench", BATCHED_BENCH)
        other = self.program("other-bench", LLAMA_BENCH)
        done = self.compare("--rounds", "2", "--peer-llama-bench", f"other={other}", "--peer-argument=other=-rtr", "--peer-argument=other=1",
                            "--depth", "0")
        self.assertEqual(done.returncode, 1, done.stderr)  # 75 of its 100 tokens a second
        self.assertIn("| decode 128, tokens/s | 75.0 | 50.0 | **1.50** | 100.0 | **0.75** | **0.75** | 90 |", done.stdout)
        self.assertIn("| decode 64, 32 streams of 128, tokens/s | 2400.0 | 100.0 | **24.00** |", done.stdout)
        self.assertIn("--peer-llama-bench other=other-bench", done.stdout)
        self.assertNotIn(self.folder.name, done.stdout)

    def test_a_row_that_a_peer_cannot_measure_is_empty(self):
        fails = LLAMA_BENCH.replace("given = dict", "assert '-d' not in sys.argv\ngiven = dict")
        cannot = fails.replace("--n-depth", "")
        for shallow in (fails, cannot):
            done = self.compare("--rounds", "1", peer=shallow)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("| decode 32 after 8064, tokens/s | 37.5 |  |  | 90 |", done.stdout)

    def test_a_fork_is_asked_in_its_own_words(self):
        self.program("llama-batched-bench", FORK_BATCHED_BENCH)
        self.program("llama-server", FORK_SERVER)
        fork = self.program("fork-bench", FORK_BENCH)
        done = self.compare("--rounds", "1", "--peer-llama-bench", f"fork={fork}", "--peer-argument=fork:bench=-rtr 1", "--peer-argument",
                            "fork:batched=-rtr", peer=None)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("| decode 32 after 8064, tokens/s | 37.5 | 15.0 | **2.50** | 90 |", done.stdout)
        self.assertIn("| decode 64, 8 streams of 128, tokens/s | 600.0 | 200.0 | **3.00** |", done.stdout)
        self.assertIn("features: `AVX = 1 | AVX512_VNNI = 1`; bench: `-rtr 1`; batched: `-rtr`", done.stdout)
        self.assertIn("'--peer-argument=fork:bench=-rtr 1'", done.stdout)
        self.assertFalse(os.path.exists("fork.log"))

    def test_a_library_is_measured_in_process_on_its_own_model(self):
        self.program("vllm.py", VLLM)
        self.program("torch.py", TORCH)
        os.mkdir(os.path.join(self.folder.name, "tiny-bf16"))
        done = self.compare("--rounds", "1", "--peer-vllm", sys.executable, "--vllm-model", os.path.join(self.folder.name, "tiny-bf16"),
                            "--at-least", "0", peer=None)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("version 9.9, in process", done.stdout)
        self.assertIn("its models: tiny-bf16; its features: `AVX512`", done.stdout)
        rates = {line.split("|")[2].strip(): float(line.split("|")[4]) for line in done.stdout.splitlines() if "| tiny.gguf |" in line}
        # A token of a prompt takes 10 us here, and one of the answer a millisecond.
        self.assertAlmostEqual(rates["decode 128, tokens/s"], 1000, delta=0.1)
        self.assertAlmostEqual(rates["decode 64, 32 streams of 128, tokens/s"], 32_000, delta=0.1)
        self.assertAlmostEqual(rates["prefill 4096, tokens/s"], 4096 / 0.04196, delta=0.1)

    def test_a_library_may_have_no_form_of_a_model(self):
        done = self.compare("--rounds", "1", "--peer-vllm", sys.executable, "--vllm-model", "-")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("| decode 128, tokens/s | 75.0 | 50.0 | **1.50** |  |  | **1.50** | 90 |", done.stdout)

    def test_a_result_is_saved_where_asked(self):
        folder = os.path.join(self.folder.name, "results")
        self.assertEqual(self.compare("--rounds", "1", "--save", folder).returncode, 0)
        self.assertEqual(sorted(name.rpartition(".")[2] for name in os.listdir(folder)), ["json", "md"])

    def server(self, seconds, short=0):
        return SERVER.replace("SECONDS", str(seconds)).replace("SHORT", str(short))

    def test_both_servers_are_started_and_loaded_with_clients(self):
        self.program("llama-server", self.server(0.6))
        done = self.compare("--rounds", "1", "--client-prompt", "16", "--client-answer", "8", "--streams", "0", "--depth", "0", "--at-least",
                            "0", ours=self.server(0.2), clients=3)
        self.assertEqual(done.returncode, 0, done.stderr)
        rows = {line.split("|")[2].split(",")[0].strip(): line.split("|") for line in done.stdout.splitlines() if "| tiny.gguf |" in line}
        for kind in ("served", "longest answer"):  # 0.2 s beside 0.6 s
            self.assertIn(" 3 clients, 16 in, 8 out,", rows[kind][2])
            self.assertGreater(float(rows[kind][5].strip(" *")), 1.5)
        self.assertGreater(float(rows["longest answer"][4]), float(rows["longest answer"][3]))
        for kind in ("start to first token", "memory at rest"):  # the same program on both sides
            self.assertGreater(float(rows[kind][3]), 0)
            self.assertGreater(float(rows[kind][5].strip(" *")), 0)

    def test_a_server_that_answers_too_little_is_no_result(self):
        self.program("llama-server", self.server(0, short=1))
        done = self.compare("--rounds", "1", "--client-prompt", "16", "--streams", "0", "--depth", "0", ours=self.server(0), clients=1)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("a server answered 200", done.stderr)

    def test_a_program_that_fails_is_named(self):
        done = self.compare("--rounds", "1", peer="#!/bin/sh\necho no such model >&2\nexit 3\n")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("no such model", done.stderr)

    def test_refuses_what_makes_no_sense(self):
        self.assertEqual(self.compare("--rounds", "0").returncode, 2)
        self.assertEqual(self.compare("--peer-llama-bench", "x=/nonexistent").returncode, 2)
        self.assertEqual(self.compare(clients=3).returncode, 2)  # no llama-server
        self.assertEqual(self.compare(peer=None).returncode, 2)  # nobody to compare with
        self.assertEqual(self.compare("--prefill", "0").returncode, 2)
        self.assertEqual(self.compare("--streams", "-8").returncode, 2)
        self.assertEqual(self.compare("--peer-argument", "nobody=-x").returncode, 2)
        self.assertEqual(self.compare("--peer-argument", "llama.cpp:main=-x").returncode, 2)  # bench, batched or server
        self.assertEqual(self.compare("--peer-llama-server", "nobody=/bin/true").returncode, 2)
        self.assertEqual(self.compare("--peer-vllm", sys.executable).returncode, 2)  # which model?
        self.assertEqual(self.compare("--peer-llama-bench", os.path.join(self.folder.name, "llama-bench")).returncode, 2)  # the same name twice


if __name__ == "__main__":
    unittest.main()
