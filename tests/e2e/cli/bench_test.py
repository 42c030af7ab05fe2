# SPDX-License-Identifier: Apache-2.0
"""The sub-verbs of bench: what they print and what they refuse. No figure is judged."""
import json
import unittest

from support import GOLDEN, CliTest

MODEL = GOLDEN / "gguf" / "llama256-Q4_K_M.gguf"
ENCODER = GOLDEN / "encoders" / "bert_small"


class Bench(CliTest):
    def test_roof(self):
        roof = json.loads(self.cli("bench", "roof", "--threads", "1", "--json").stdout)
        self.assertEqual(roof["threads"], [1])
        self.assertTrue(all(rate > 0 for row in roof["read"] for rate in row["bytes_per_second"]))
        self.assertTrue(all(rate > 0 for row in roof["macs"] for rate in row["macs_per_second"]))
        sets = {row["isa"] for row in roof["macs"]} | {row["what"] for row in roof["skipped"]}
        self.assertLessEqual({"scalar", "avx2", "avx512"}, sets)

    def test_headline(self):
        load = ("--clients", "2", "--requests", "1", "--prompt", "8", "--answer", "4")
        table = json.loads(self.cli("bench", "headline", "--model", MODEL, *load, "--json").stdout)
        self.assertEqual([row["weights"] for row in table["rows"]], ["F32", "F16", "Q4_K as stored"])
        self.assertEqual([row["batching"] for row in table["rows"]], ["one at a time", "batched", "batched"])
        for row in table["rows"]:
            self.assertEqual(len(row["seconds"]), 2)
            self.assertGreater(row["requests_per_second"], 0)
        self.assertIn("first to last:", self.cli("bench", "headline", "--model", MODEL, *load).stdout)

    def test_embed(self):
        load = ("--clients", "3", "--requests", "2", "--tokens", "8")
        table = json.loads(self.cli("bench", "embed", "--model", ENCODER, *load, "--json").stdout)
        self.assertEqual([(row["clients"], row["max_batch_size"]) for row in table["rows"]], [(1, 1), (3, 1), (3, 32)])
        for row in table["rows"]:
            self.assertGreater(row["texts_per_second"], 0)
        self.assertIn("against one by one:", self.cli("bench", "embed", "--model", ENCODER, *load).stdout)

    def test_wrong_use_is_named(self):
        for arguments, words in ((("bench",), "bench needs a model"), (("bench", "--model", MODEL, "roof"), "roof excludes --model"),
                                 (("bench", "floor"), "'floor' was not expected"), (("bench", "headline"), "--model is required"),
                                 (("bench", "headline", "--model", MODEL, "--prompt", "100000"), "are 100064 tokens; the model's context is 512"),
                                 (("bench", "embed", "--model", MODEL), "this is no encoder"),
                                 (("bench", "embed", "--model", ENCODER, "--tokens", "33"), "texts of 33 tokens; the model takes 32"),
                                 (("bench", "headline", "--model", self.script("==\nhi\n")), "a scripted model computes nothing")):
            self.assertIn(words, self.cli(*arguments, expect=2).stderr)


if __name__ == "__main__":
    unittest.main()
