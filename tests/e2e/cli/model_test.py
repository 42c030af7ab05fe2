# SPDX-License-Identifier: Apache-2.0
"""The verbs on a real model (SmolLM2 135M), smollm2.gguf in the folder that OPENAUTOGLM_TEST_MODELS names."""
import array
import json
import os
import pathlib
import re
import unittest
import urllib.request

from support import GOLDEN, TIMEOUT, CliTest, Server

MODEL = pathlib.Path(os.environ["OPENAUTOGLM_TEST_MODELS"]) / "smollm2.gguf"


class RealModel(CliTest):
    def golden(self):
        return json.loads((GOLDEN / "real" / "smollm2" / "golden.json").read_text())

    def test_inspect(self):
        facts = self.cli("inspect", MODEL).stdout
        for word in ("llama", "Q4_1", "GGUF"):
            self.assertIn(word, facts)

    def test_logits_and_greedy_tokens(self):
        prompt = self.golden()["prompts"][0]
        output = self.folder / "logits.f32"
        self.cli("inspect", "logits", "--model", MODEL, "--compute", "exact", "--ids", ",".join(map(str, prompt["ids"])), "--output", output)
        logits = array.array("f", output.read_bytes())
        vocab = len(logits) // len(prompt["ids"])
        last = logits[-vocab:]
        for token, expected in zip(prompt["top50_ids"], prompt["top50_logits"]):
            self.assertAlmostEqual(last[token], expected, delta=2e-3)

    def test_perplexity(self):
        text = self.folder / "text.txt"
        text.write_text("The quick brown fox jumps over the lazy dog. " * 30)
        fast, exact = [json.loads(line) for line in self.cli("perplexity", "--model", MODEL, "--file", text, "--compute", "both", "--json").stdout.splitlines()]
        self.assertEqual(exact["tokens_scored"], exact["tokens"] - 1)
        self.assertLess(abs(fast["mean_nll"] / exact["mean_nll"] - 1), 0.03)

    def test_eight_bits_are_small_and_near(self):
        text = GOLDEN.parents[2] / "docs" / "decisions" / "0002-bit-exact.md"
        made = self.cli("quantize", "--model-name", MODEL, "--output-dir", "made", "--dtype", "int8", "--eval", text, "--json").stdout
        facts = json.loads(made)
        self.assertLess(facts["bytes_after"], 4 * facts["parameters"] / 3)
        self.assertLess(abs(facts["perplexity_after"] / facts["perplexity_before"] - 1), 0.01)
        self.assertTrue(self.cli("run", "made", "--prompt", "Name a river.", "--max-tokens", "8").stdout)

    def test_run_answers_the_same_for_the_same_seed(self):
        answers = {self.cli("run", MODEL, "--seed", "7", "--max-tokens", "24", stdin="Name three rivers.").stdout for _ in range(2)}
        self.assertEqual(len(answers), 1)
        self.assertGreater(len(answers.pop()), 20)

    def test_prompt_is_the_rendered_template(self):
        request = self.folder / "request.json"
        request.write_text(json.dumps({"messages": [{"role": "user", "content": "Hi <|im_end|>"}]}))
        prompt = self.cli("inspect", "prompt", "--model", MODEL, "--request", request).stdout
        self.assertTrue(prompt.endswith("<|im_start|>user\nHi <|im_end|><|im_end|>\n<|im_start|>assistant\n"), prompt)

    def test_serve(self):
        server = Server(self, MODEL, "--port", "0", "--context-length", "512")
        body = {"model": "smollm2", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8, "temperature": 0}
        request = urllib.request.Request(server.url + "/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            self.assertGreater(json.load(answer)["usage"]["completion_tokens"], 0)
        # The weights were packed for this processor: of the file little more than the embedding's rows in use is left in memory.
        maps = pathlib.Path(f"/proc/{server.process.pid}/smaps").read_text()
        resident = re.search(re.escape(str(MODEL.resolve())) + r"\n(?:\w+:.*\n)*?Rss: +(\d+) kB", maps)
        self.assertLess(int(resident[1]) * 1024, MODEL.stat().st_size / 5)
        self.assertEqual(server.stop()[0], 0)


ENCODER = MODEL.parent / "all-minilm-l6-v2"


class RealEncoder(CliTest):
    def test_embeddings(self):
        for sentence in json.loads((GOLDEN / "real" / "minilm" / "golden.json").read_text())["sentences"]:
            output = self.folder / "vector.f32"
            self.cli("inspect", "embedding", "--model", ENCODER, "--ids", ",".join(map(str, sentence["ids"])), "--output", output)
            vector = array.array("f", output.read_bytes())
            self.assertGreaterEqual(sum(a * b for a, b in zip(vector, sentence["embedding"])), 0.9999)
            self.assertAlmostEqual(sum(a * a for a in vector), 1, places=5)


if __name__ == "__main__":
    unittest.main()
