# SPDX-License-Identifier: Apache-2.0
"""The verbs that need no weights: what they print, what they refuse and with which exit code."""
import array
import json
import os
import re
import subprocess
import unittest
import urllib.request

from support import BINARY, GOLDEN, TIMEOUT, CliTest, Server

SCRIPT = """== capital
Paris.

== count
one two three

==
Nothing to say.
"""


class Usage(CliTest):
    def test_help_and_version(self):
        self.assertIn("serve", self.cli().stdout)
        for verb in ("serve", "run", "pull", "list", "rm", "models", "inspect", "quantize", "perplexity", "bench"):
            self.assertIn("--help", self.cli(verb, "--help").stdout)
        version = self.cli("--version").stdout
        for word in ("openautoglm", "build", "scalar, avx2, avx512", "processor"):
            self.assertIn(word, version)

    def test_what_stdout_does_not_take_is_an_error(self):
        model = GOLDEN / "gguf" / "llama256-Q2_K.gguf"
        (self.folder / "text").write_text("one two three four")
        for arguments in (("--version",), ("list",), ("inspect", model), ("run", self.script(SCRIPT), "--prompt", "capital"),
                          ("perplexity", "--model", model, "--file", "text")):
            with open("/dev/full", "w") as full:
                done = subprocess.run([BINARY, *map(str, arguments)], stdout=full, stderr=subprocess.PIPE, text=True, timeout=TIMEOUT,
                                      env=self.environment, cwd=self.folder)
            self.assertEqual(done.returncode, 1, (arguments, done.stderr))
            self.assertIn("not everything could be written to stdout", done.stderr, arguments)

    def test_wrong_use_is_exit_code_2(self):
        for arguments in (("frobnicate",), ("pull",), ("pull", "a", "b"), ("run", "--temperature", "9"), ("serve", "--port", "65536"),
                          ("serve", "--port", "x"), ("run", "x", "--compute", "sloppy"), ("inspect", "logits", "--model", "x"),
                          ("rm", "../x"), ("run",), ("serve", "--isa", "sse2", "scripted:x"), ("list", "--nonsense"),
                          ("serve", self.script(SCRIPT), "--allow-origin", "foo"), ("serve", self.script(SCRIPT), "--host", "0.0.0.0"), ("task", "")):
            done = self.cli(*arguments, expect=2)
            self.assertEqual(done.stdout, "", arguments)
            self.assertTrue(done.stderr.startswith("openautoglm: "), done.stderr)

    def test_what_is_wrong_is_named(self):
        model = GOLDEN / "gguf" / "llama256-Q2_K.gguf"
        script = self.script(SCRIPT)
        (self.folder / "junk.json").write_text("x")
        for arguments, words in ((("serv", "x"), "no verb 'serv'; did you mean serve?"), (("frobnicate",), "The verbs are serve, run, task, pull"),
                                 (("--nonsense",), "no option --nonsense"), (("pull", "-x"), "`openautoglm pull` has no option -x"),
                                 (("inspect", "tokens"), "Try `openautoglm inspect tokens --help`"), (("list", "extra"), "'extra' was not expected"),
                                 (("run", script, "--model", script), "two models were given"), (("run", "scripted:"), "needs a file"),
                                 (("pull", ".hidden"), "the first neither"), (("serve", script, "--port", "70000"), "70000 not in range 0 to 65535"),
                                 (("run", script, "--max-tokens", "-3"), "-3 not in range"), (("run", script, "--seed", "-1"), "from 0 was expected, not -1"),
                                 (("run", script, "--config", self.folder), "is a folder"),
                                 (("perplexity", "--model", model, "--file", self.folder), "is a folder"),
                                 (("perplexity", "--model", model, "--file", "none"), "none cannot be read: No such file"),
                                 (("perplexity", "--model", model, "--file", "junk.json", "--stride", "-1"), "-1 not in range"),
                                 (("inspect", "logits", "--model", model, "--output", "o", "--ids", "1,x"), "x not in range"),
                                 (("inspect", "logits", "--model", model, "--output", "o", "--ids", ""), "--ids"),
                                 (("inspect", "logits", "--model", model, "--output", "none/o", "--ids", "1"), "no folder"),
                                 (("bench", "--model", model, "--isa", "sse2"), "expected scalar, avx2 or avx512"),
                                 (("list", "--path", "x", "--all"), "--all")):
            self.assertIn(words, self.cli(*arguments, expect=2).stderr)
        for arguments, words in ((("inspect", "prompt", "--model", model, "--request", "junk.json"), "the request in junk.json"),
                                 (("run", f"scripted:{self.folder}"), "is a folder"),
                                 (("run", "scripted:junk.json", "--prompt", "x"), "the script junk.json")):
            self.assertIn(words, self.cli(*arguments, expect=1).stderr)

    def test_a_task_reads_its_configurations_before_the_model(self):
        missing = self.folder / "missing.gguf"
        (self.folder / "tools.toml").write_text("tools = 3")
        (self.folder / "mcp.json").write_text('{"mcpServers": 3}')
        for flag, file in (("--tools", "tools.toml"), ("--mcp-config", "mcp.json")):
            self.assertIn(file, self.cli("task", "x", "--model", missing, flag, self.folder / file, expect=1).stderr)
            self.assertIn("none.json", self.cli("task", "x", "--model", missing, flag, "none.json", expect=2).stderr)
        self.assertIn("no file", self.cli("task", "x", "--model", missing, expect=1).stderr)

    def test_failures_are_exit_code_1_and_one_sentence(self):
        for arguments, words in ((("run", "scripted:/no/such/file", "--prompt", "x"), "cannot be read"),
                                 (("run", "/no/such/model.gguf", "--prompt", "x"), "no file"),
                                 (("run", "smolm2", "--prompt", "x"), "did you mean smollm2"),
                                 (("run", "smollm2", "--prompt", "x"), "pull smollm2"),
                                 (("rm", "smollm2"), "not here"),
                                 (("list", "--path", "smollm2"), "pull smollm2")):
            done = self.cli(*arguments, expect=1)
            self.assertIn(words, done.stderr)
            self.assertEqual(done.stderr.strip().count("\n"), 0, done.stderr)


class Models(CliTest):
    def add(self, name, **changes):
        folder = self.home / "models" / name
        folder.mkdir(parents=True)
        manifest = {"name": name, "licence": "MIT", "source": "test", "load": ".", "files": [{"path": "x", "bytes": 1500, "sha256": ""}]}
        (folder / "manifest.json").write_text(json.dumps({**manifest, **changes}))
        return folder

    def test_list(self):
        self.assertIn("No models", self.cli("list").stdout)
        self.assertEqual(json.loads(self.cli("list", "--json").stdout), [])
        folder = self.add("mine")
        self.assertIn("1.5 kB", self.cli("list").stdout)
        self.assertEqual(json.loads(self.cli("list", "--json").stdout)[0]["path"], str(folder))
        self.assertRegex(self.cli("list", "--all").stdout, "mine +1.5 kB +MIT +yes +from test")
        every = self.cli("list", "--all").stdout
        for name in ("smollm2", "gemma3-270m", "qwen2.5-coder-0.5b", "open-autoglm-large", "all-minilm-l6-v2", "98.4 MB"):
            self.assertIn(name, every)

    def test_rm(self):
        self.add("mine")
        self.add("other")
        self.assertEqual(self.cli("rm", "mine", "other").stdout, "removed mine\nremoved other\n")
        self.assertEqual(os.listdir(self.home / "models"), [])
        self.cli("rm", "mine", expect=1)

    def test_a_broken_manifest_is_told(self):
        self.add("smollm2", load="../../etc")
        self.assertIn("broken", self.cli("run", "smollm2", "--prompt", "x", expect=1).stderr)
        self.assertEqual(json.loads(self.cli("list", "--json").stdout), [])
        self.assertIn("broken", self.cli("list").stderr)
        self.cli("rm", "smollm2")
        self.assertEqual(os.listdir(self.home / "models"), [])

    def test_a_model_that_is_in_no_catalogue_is_found_by_its_own_name(self):
        folder = self.add("hf--o--n")
        self.assertEqual(self.cli("list", "--path", "hf--o--n").stdout.strip(), str(folder))
        self.assertEqual(self.cli("list", "--path", "hf:o/n").stdout.strip(), str(folder))
        self.assertIn("pull hf:o/other", self.cli("list", "--path", "hf:o/other", expect=1).stderr)

    def test_a_broken_catalogue_is_told(self):
        (self.home / "catalogue.toml").write_text("model = 3")
        self.assertIn("catalogue.toml", self.cli("list", "--all", expect=1).stderr)


class Run(CliTest):
    def test_a_prompt(self):
        model = self.script(SCRIPT)
        self.assertEqual(self.cli("run", model, "--prompt", "the capital of France?").stdout, "Paris.\n")
        self.assertEqual(self.cli("run", "--model", model, stdin="count\n").stdout, "one two three\n")
        self.assertEqual(self.cli("run", model, "--system", "capital", "--prompt", "x").stdout, "Paris.\n")
        self.assertEqual(self.cli("run", model, "--max-tokens", "3", stdin="count").stdout, "one\n")
        self.assertEqual(self.cli("run", model, "--min-p", "0.1", "--repetition-penalty", "10", stdin="count").stdout, "one two three\n")
        bytes_in = subprocess.run([BINARY, "run", model], input=b"caf\xe9", capture_output=True, timeout=TIMEOUT, env=self.environment)
        self.assertEqual(bytes_in.returncode, 1)
        self.assertIn(b"not UTF-8", bytes_in.stderr)
        self.assertIn("stdin is empty", self.cli("run", model, stdin="\n", expect=2).stderr)

    def test_a_bad_script(self):
        self.assertNotEqual(self.cli("run", self.script("== a\n<|nonsense|>\n"), "--prompt", "a", expect=1).stderr, "")

    def test_a_profile_of_the_answer(self):
        model = GOLDEN / "gguf" / "llama32-Q8_0.gguf"
        said = self.cli("run", model, "--prompt", "fox", "--max-tokens", "4", "--profile")
        plain = self.cli("run", model, "--prompt", "fox", "--max-tokens", "4", "--seed", "1")
        self.assertNotIn("tokenise", plain.stderr)
        self.assertNotIn("tokenise", said.stdout)
        self.assertRegex(said.stderr, r"loaded in \d+ ms: tokenizer \d+, weights \d+")
        shares = {}
        for line in said.stderr.splitlines():
            if row := re.match(r"(\w[\w ]*?) +[\d.]+ +([\d.]+) %", line):
                shares[row[1]] = float(row[2])
        for stage in ("tokenise", "norm", "qkv", "attention", "ffn_gate_up", "head", "sample", "detokenise", "not attributed"):
            self.assertIn(stage, shares, said.stderr)
        self.assertAlmostEqual(sum(shares.values()), 100, delta=0.05 * len(shares) + 0.01)

    def test_settings_files(self):
        model = self.script(SCRIPT)
        settings = self.folder / "settings.toml"
        settings.write_text(f'model = "{model}"\nmax_tokens = 3\nprompt = "count"\n')
        self.assertEqual(self.cli("run", "--config", settings).stdout, "one\n")
        self.assertEqual(self.cli("run", "--config", settings, "--max-tokens", "7").stdout, "one two\n")
        for text, words in (("modle = 'x'", "'modle'"), ("[serve]\nport = 1", "'serve'"), ("temperature = 9", "'temperature'"),
                            ("max_tokens = ", "line 1"), ("config = 'x'", "'config'")):
            settings.write_text(text)
            self.assertIn(words, self.cli("run", model, "--config", settings, expect=2 if "=" != text[-2:].strip() else 1).stderr)
        self.cli("run", model, "--config", self.folder / "none.toml", expect=2)


class InspectTokens(CliTest):
    def test_goldens(self):
        for folder in sorted((GOLDEN / "tokenizers").iterdir()):
            cases = json.loads((folder / "corpus.json").read_text())["cases"]
            lines = "".join(json.dumps(case["text"]) + "\n" for case in cases)
            done = self.cli("inspect", "tokens", "--model", folder, "--jsonl", "--no-special", "--parse-special", stdin=lines)
            answers = [json.loads(line) for line in done.stdout.splitlines()]
            self.assertEqual([answer["ids"] for answer in answers], [case["ids"] for case in cases])
            self.assertEqual([answer["decoded"] for answer in answers], [case["decoded"] for case in cases])
            done = self.cli("inspect", "tokens", "--model", folder, "--jsonl", "--parse-special", stdin=lines)
            self.assertEqual([json.loads(line)["ids"] for line in done.stdout.splitlines()], [case["ids_special"] for case in cases])

    def test_lines_that_are_no_strings(self):
        folder = GOLDEN / "tokenizers" / "bpe_llama3"
        for line in ("3", "[\"a\"]", "\"open", "\"a\" \"b\""):
            self.assertIn("line 2", self.cli("inspect", "tokens", "--model", folder, "--jsonl", stdin=f'"ok"\n{line}\n', expect=1).stderr)


class InspectTinyModels(CliTest):
    """For machines: what the verbs write is read back and compared with the goldens."""

    def test_logits(self):
        for model, golden in ((GOLDEN / "tiny" / "llama_tied", "llama_tied/golden.json"), (GOLDEN / "gguf" / "qwen3-F16.gguf", "../gguf/qwen3-F16.golden.json")):
            for prompt in json.loads((GOLDEN / "tiny" / golden).read_text())["prompts"]:
                output = self.folder / "logits.f32"
                ids = ",".join(map(str, prompt["ids"]))
                self.cli("inspect", "logits", "--model", model, "--compute", "exact", "--ids", ids, "--output", output)
                logits = array.array("f", output.read_bytes())
                vocab = len(prompt["last_logits"])
                self.assertEqual(len(logits), vocab * len(prompt["ids"]))
                for got, expected in zip(logits[-vocab:], prompt["last_logits"]):
                    self.assertAlmostEqual(got, expected, delta=1e-3)

    def test_logits_of_ids_that_are_none(self):
        model = GOLDEN / "tiny" / "llama_tied"
        for ids, expect in (("349", 1), ("-1", 2), ("1,2,999999", 1)):
            self.cli("inspect", "logits", "--model", model, "--ids", ids, "--output", self.folder / "x", expect=expect)

    def test_embeddings(self):
        for name in ("bert_small", "xlmr_cls"):
            folder = GOLDEN / "encoders" / name
            for sequence in json.loads((folder / "golden.json").read_text())["sequences"]:
                output = self.folder / "vector.f32"
                ids = ",".join(map(str, sequence["ids"]))
                for compute, delta in (("exact", 5e-5), ("fast", 2e-3)):
                    said = self.cli("inspect", "embedding", "--model", folder, "--compute", compute, "--ids", ids, "--output", output).stdout
                    self.assertIn(f"of {len(sequence['ids'])} tokens, normalised", said)
                    vector = array.array("f", output.read_bytes())
                    self.assertEqual(len(vector), len(sequence["embedding"]))
                    for got, expected in zip(vector, sequence["embedding"]):
                        self.assertAlmostEqual(got, expected, delta=delta)
            self.assertIn("embedding", self.cli("inspect", folder).stdout)

    def test_embeddings_that_cannot_be_made(self):
        folder = GOLDEN / "encoders" / "bert_small"
        for ids, expect in (("500", 1), ("-1", 2), (",".join(["7"] * 41), 1)):
            self.cli("inspect", "embedding", "--model", folder, "--ids", ids, "--output", self.folder / "x", expect=expect)
        no_encoder = self.cli("inspect", "embedding", "--model", GOLDEN / "tiny" / "llama_tied", "--ids", "1", "--output", self.folder / "x", expect=1)
        self.assertIn("makes no embeddings", no_encoder.stderr)
        for verb in ("run", "perplexity"):
            text = self.folder / "text.txt"
            text.write_text("some words")
            more = ("--file", text) if verb == "perplexity" else ()
            self.assertIn("encoder", self.cli(verb, "--model", folder, *more, expect=1).stderr)

    def test_prompts(self):
        for folder in sorted((GOLDEN / "tiny").iterdir()):
            if not (folder / "golden_text.json").exists():
                continue
            chats = [case for case in json.loads((folder / "golden_text.json").read_text())["cases"] if "messages" in case]
            self.assertTrue(chats)
            for chat in chats:
                request = self.folder / "request.json"
                request.write_text(json.dumps({"messages": chat["messages"], "add_generation_prompt": chat["add_generation_prompt"]}))
                self.assertEqual(self.cli("inspect", "prompt", "--model", folder, "--request", request).stdout, chat["text"])

    def test_prompts_as_they_are_served(self):
        model, request = GOLDEN / "tiny" / "qwen2", self.folder / "request.json"
        server = Server(self, model, "--port", "0")
        tools = [{"type": "function", "function": {"name": "add", "strict": True, "parameters": {"type": "object"}}}]
        for more in ({}, {"tools": tools}, {"tools": tools, "tool_choice": "none"}):
            chat = {"messages": [{"role": "user", "content": "2 + 2?"}], **more}
            request.write_text(json.dumps(chat))
            prompt = self.cli("inspect", "prompt", "--as-served", "--model", model, "--request", request).stdout
            self.assertEqual("add" in prompt, more == {"tools": tools}, prompt)
            line = self.cli("inspect", "tokens", "--jsonl", "--no-special", "--parse-special", "--model", model, stdin=json.dumps(prompt)).stdout
            asked = urllib.request.Request(server.url + "/tokenize", json.dumps(chat).encode(), {"Content-Type": "application/json"})
            with urllib.request.urlopen(asked, timeout=TIMEOUT) as answer:
                self.assertEqual(json.load(answer)["tokens"], json.loads(line)["ids"])
        for wrong, words in (({"messages": [], "odd": 1}, "messages"), ({"prompt": "x"}, "messages"), (dict(chat, odd=1), "odd")):
            request.write_text(json.dumps(wrong))
            self.assertIn(words, self.cli("inspect", "prompt", "--as-served", "--model", model, "--request", request, expect=1).stderr)

    def test_perplexity_says_how_it_measures(self):
        text = self.folder / "text"
        text.write_text("The quick brown fox jumps over the lazy dog. " * 20)
        model = GOLDEN / "tiny" / "qwen2"
        said = self.cli("perplexity", "--model", model, "--file", text, "--compute", "both", "--window", "64", "--stride", "16").stdout
        for words in ("fast", "exact", "perplexity", "window 64, stride 16", "tokens scored", "fast differs from exact by"):
            self.assertIn(words, said)
        facts = json.loads(self.cli("perplexity", "--model", model, "--file", text, "--json").stdout)
        self.assertEqual(facts["tokens_scored"], facts["tokens"] - 1)
        self.assertGreater(facts["window"], facts["stride"])
        for wrong, words in ((("--window", "1"), "window of 1 tokens"), (("--window", "1025"), "context length of 1024"),
                             (("--window", "64", "--stride", "64"), "stride of 64 must be smaller than the window of 64")):
            self.assertIn(words, self.cli("perplexity", "--model", model, "--file", text, *wrong, expect=2).stderr)


class BenchStages(CliTest):
    MODEL = GOLDEN / "gguf" / "llama32-Q8_0.gguf"

    def test_tables_and_json(self):
        plan = ("bench", "stages", "--model", self.MODEL, "--prefill", "40", "--decode", "6", "--batch", "2", "--rounds", "2", "--threads", "1")
        said = self.cli(*plan).stdout
        for words in ("GMAC/s", "loaded in", "prefill, 40 tokens", "decode, 2 sequences", "ms a prompt", "ms a step", "of roof", "not attributed"):
            self.assertIn(words, said)
        facts = json.loads(self.cli(*plan, "--json").stdout)
        self.assertEqual([phase["phase"] for phase in facts["phases"]], ["prefill", "decode"])
        for phase in facts["phases"]:
            rows = {row["stage"]: row for row in phase["stages"]}
            self.assertLessEqual({"plan", "embed", "norm", "qkv", "rotate_store", "attention", "attention_output", "ffn_gate_up", "ffn_activation",
                                  "ffn_down", "head", "sample", "detokenise", "deliver"}, set(rows))
            self.assertAlmostEqual(sum(row["share"] for row in rows.values()) + phase["not_attributed"]["share"], 1, delta=1e-6)
            self.assertGreater(rows["qkv"]["share_of_roof"], 0)
        self.assertGreater(facts["load_seconds"]["weights"], 0)

    def test_what_it_cannot_measure(self):
        self.assertIn("scripted", self.cli("bench", "stages", "--model", self.script(SCRIPT), expect=2).stderr)
        self.assertIn("--model", self.cli("bench", "stages", expect=2).stderr)
        self.assertIn("context of", self.cli("bench", "stages", "--model", self.MODEL, "--prefill", "99999", expect=2).stderr)


class Quantize(CliTest):
    SOURCE = GOLDEN / "gguf" / "llama32-F16.gguf"

    def quantize(self, *arguments, expect=0, output="made"):
        return self.cli("quantize", "--model-name", self.SOURCE, "--output-dir", output, *arguments, expect=expect)

    def test_what_it_makes_is_a_model(self):
        text = self.folder / "text"
        text.write_text("The quick brown fox jumps over the lazy dog. " * 20)
        said = self.quantize("--dtype", "int8", "--eval", text).stdout
        for words in ("Q8_0", "largest error", "% of F32", "perplexity", "KL divergence", "tokens scored", "wrote       made"):
            self.assertIn(words, said)
        self.assertEqual(sorted(entry.name for entry in self.folder.iterdir()), ["home", "made", "text"])
        self.assertIn("Q8_0", self.cli("inspect", "made").stdout)
        self.assertIn("perplexity", self.cli("perplexity", "--model", "made", "--file", text).stdout)
        self.assertTrue(self.cli("run", "made", "--prompt", "fox", "--max-tokens", "4").stdout)

    def test_every_tensor_is_told_as_json(self):
        facts = json.loads(self.quantize("--dtype", "int4", "--scheme", "asymmetric", "--json").stdout)
        self.assertLess(facts["bytes_after"], facts["bytes_before"])
        kinds = {tensor["to"]: tensor["relative_rmse"] for tensor in facts["tensors"]}
        self.assertEqual(set(kinds), {"Q4_1", "Q8_0", "F32"})
        self.assertEqual(kinds["F32"], 0)
        self.assertNotIn("perplexity_after", facts)

    def test_a_folder_becomes_a_folder(self):
        self.SOURCE = GOLDEN / "tiny" / "llama_tied"
        self.quantize("--dtype", "int4", "--group-size", "64")
        config = json.loads((self.folder / "made" / "config.json").read_text())["quantization_config"]
        self.assertEqual(config["format"], "pack-quantized")
        self.assertEqual(config["config_groups"]["group_0"]["weights"]["group_size"], 64)
        self.assertIn("compressed-tensors", self.cli("inspect", "made").stdout)

    def test_what_cannot_be_made_is_wrong_use_and_makes_nothing(self):
        (self.folder / "full").mkdir()
        (self.folder / "full" / "mine").write_text("keep")
        for arguments, words in ((("--dtype", "int8", "--scheme", "asymmetric"), "--format safetensors"),
                                 (("--dtype", "int4", "--group-size", "128"), "--format safetensors"),
                                 (("--dtype", "int8", "--format", "safetensors"), "--format gguf"),
                                 (("--dtype", "int8", "--group-size", "many"), "'channel'"), (("--dtype", "fp8"), "fp8"),
                                 (("--dtype", "int8", "--eval", "none"), "cannot be read")):
            self.assertIn(words, self.quantize(*arguments, expect=2).stderr)
        self.assertIn("not empty", self.quantize("--dtype", "int8", expect=2, output="full").stderr)
        self.assertIn("cannot create", self.quantize("--dtype", "int8", expect=1, output="no/such/parent").stderr)
        self.assertEqual((self.folder / "full" / "mine").read_text(), "keep")
        self.assertEqual(sorted(entry.name for entry in self.folder.iterdir()), ["full", "home"])


if __name__ == "__main__":
    unittest.main()
