# SPDX-License-Identifier: Apache-2.0
"""A checkpoint without tokenizer.json: served by token ids, and refused with a sentence where words are needed."""
import json
import math
import unittest
import urllib.error
import urllib.request

from support import GOLDEN, TIMEOUT, CliTest, Server

MODEL = GOLDEN / "tiny" / "llama_tied"


class IdsOnly(CliTest):
    def post(self, server, path, body, model=MODEL):
        body = json.dumps({"model": model.name, **body}).encode()
        request = urllib.request.Request(server.url + path, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            return json.load(answer)

    def refusal(self, server, path, body):
        with self.assertRaises(urllib.error.HTTPError) as refused:
            self.post(server, path, body)
        self.assertEqual(refused.exception.code, 400)
        with refused.exception as answer:
            return json.load(answer)["error"]["message"]

    def test_serve(self):
        prompts = json.loads((MODEL / "golden.json").read_text())["prompts"]
        server = Server(self, MODEL, "--compute", "exact", "--port", "0")
        self.assertIn('"prompt":[1,2,3]', "".join(server.said))
        for prompt in prompts:
            choice = self.post(server, "/v1/completions", {"prompt": prompt["ids"], "max_tokens": len(prompt["greedy"]), "temperature": 0,
                                                           "return_token_ids": True, "logprobs": 1})["choices"][0]
            self.assertEqual(choice["token_ids"], prompt["greedy"])
            self.assertEqual(choice["prompt_token_ids"], prompt["ids"])
            self.assertEqual(choice["text"], "")
            self.assertEqual(choice["logprobs"]["tokens"], [f"token_id:{token}" for token in prompt["greedy"]])
            top, last = choice["logprobs"]["token_logprobs"][0], prompt["last_logits"]
            self.assertAlmostEqual(top, max(last) - math.log(sum(map(math.exp, last))), delta=1e-3)
        for path, body, words in (("/v1/completions", {"prompt": "Hello"}, "no tokenizer"),
                                  ("/tokenize", {"prompt": "Hello"}, "no tokenizer"),
                                  ("/detokenize", {"tokens": [1]}, "no tokenizer"),
                                  ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hello"}]}, "no chat template"),
                                  ("/v1/completions", {"prompt": [1], "stop": "x"}, "no tokenizer"),
                                  ("/v1/completions", {"prompt": [1], "response_format": {"type": "json_object"}}, "no tokenizer"),
                                  ("/v1/completions", {"prompt": [349]}, "ids 0 to 348")):
            self.assertIn(words, self.refusal(server, path, body))
        self.assertEqual(server.stop()[0], 0)

    def test_a_tokenizer_may_be_smaller_than_its_model(self):
        model = GOLDEN / "tiny" / "qwen2"
        server = Server(self, model, "--compute", "exact", "--port", "0")
        prompt = max(json.loads((model / "golden.json").read_text())["prompts"], key=lambda prompt: max(prompt["ids"]))
        self.assertGreaterEqual(max(prompt["ids"]), 447)  # which is where the tokenizer ends
        choice = self.post(server, "/v1/completions", {"prompt": prompt["ids"], "max_tokens": len(prompt["greedy"]), "temperature": 0,
                                                       "return_token_ids": True}, model)["choices"][0]
        self.assertEqual(choice["token_ids"], prompt["greedy"])

    def test_other_verbs(self):
        self.assertRegex(self.cli("inspect", MODEL).stdout, "tokenizer +none")
        bench = json.loads(self.cli("bench", "--model", MODEL, "--prefill", "8", "--decode", "2", "--batch", "1", "--rounds", "1", "--json").stdout)
        self.assertEqual([result["kind"] for result in bench["results"]], ["prefill", "decode"])
        for arguments in (("run", MODEL, "--prompt", "x"), ("serve", MODEL, "--port", "0", "--chat")):
            done = self.cli(*arguments, expect=2)
            self.assertIn("no tokenizer", done.stderr)
            self.assertEqual(done.stderr.strip().count("\n"), 0, done.stderr)
        text = self.folder / "text"
        text.write_text("Hello")
        for arguments in (("perplexity", "--model", MODEL, "--file", text), ("inspect", "tokens", "--model", MODEL)):
            self.assertIn("no tokenizer.json", self.cli(*arguments, expect=1).stderr)


if __name__ == "__main__":
    unittest.main()
