# SPDX-License-Identifier: Apache-2.0
"""The official OpenAI client for Python, unmodified, on an encoder.

embeddings_test.py BINARY MODEL   MODEL is the folder of a sentence embedder: bert_small of the goldens, or all-MiniLM.
"""

import asyncio
import base64
import json
import math
import pathlib
import struct
import sys
import unittest

import openai

from client_test import Server

MODEL = pathlib.Path(sys.argv[2])
NAME = MODEL.name
GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "testdata" / "golden"
IS_REAL = NAME == "all-minilm-l6-v2"
WIDTH, LONGEST = (384, 256) if IS_REAL else (20, 32)


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


class EncoderServer(Server):
    FLAGS = ()


class Embeddings(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = EncoderServer()
        cls.client = cls.server.client()

    @classmethod
    def tearDownClass(cls):
        assert cls.server.close() == 0

    def embed(self, given, **more):
        return self.client.embeddings.create(model=NAME, input=given, **more)

    def test_one_text(self):
        answer = self.embed("a cat sits on a mat", encoding_format="float")
        self.assertEqual(answer.object, "list")
        self.assertEqual(answer.model, NAME)
        self.assertEqual(len(answer.data), 1)
        self.assertEqual(answer.data[0].object, "embedding")
        vector = answer.data[0].embedding
        self.assertEqual(len(vector), WIDTH)
        self.assertAlmostEqual(math.sqrt(sum(x * x for x in vector)), 1, places=5)
        self.assertGreater(answer.usage.prompt_tokens, 2)
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens)

    # The client asks for base64 unless it is told otherwise, and reads it itself.
    def test_base64_has_the_same_floats(self):
        self.assertEqual(self.embed("hello").data[0].embedding,
                         [struct.unpack("<f", struct.pack("<f", x))[0]
                          for x in self.embed("hello", encoding_format="float").data[0].embedding])
        raw = self.client.embeddings.with_raw_response.create(model=NAME, input="hello", encoding_format="base64")
        text = json.loads(raw.text)["data"][0]["embedding"]
        self.assertEqual(len(base64.b64decode(text)), 4 * WIDTH)

    def test_goldens(self):
        if IS_REAL:
            golden = json.loads((GOLDEN / "real" / "minilm" / "golden.json").read_text())["sentences"]
        else:
            golden = json.loads((MODEL / "golden.json").read_text())["sequences"]
        golden = [item for item in golden if len(item["ids"]) <= LONGEST]
        for item, got in zip(golden, self.embed([item["ids"] for item in golden]).data):
            self.assertGreaterEqual(cosine(item["embedding"], got.embedding), 0.9999)
        texts = [item for item in golden if item.get("text") and len(item["text"]) < 500]
        for item in texts:
            answer = self.embed(item["text"])
            self.assertEqual(answer.usage.prompt_tokens, len(item["ids"]))
            self.assertGreaterEqual(cosine(item["embedding"], answer.data[0].embedding), 0.9999)

    def test_what_is_alike_is_near(self):
        if not IS_REAL:
            return  # random weights know nothing
        cat, kitten, stocks = (item.embedding for item in self.embed(
            ["The cat sleeps on the sofa.", "A kitten naps on a couch.", "Stock markets fell sharply today."]).data)
        self.assertGreater(cosine(cat, kitten), cosine(cat, stocks) + 0.3)

    def test_many_inputs_keep_their_order(self):
        texts = [f"number {i} of many" for i in range(2048)]
        answer = self.embed(texts)
        self.assertEqual([item.index for item in answer.data], list(range(2048)))
        for i in (0, 1, 1000, 2047):
            self.assertEqual(answer.data[i].embedding, self.embed(texts[i]).data[0].embedding)
        with self.assertRaises(openai.BadRequestError) as refused:
            self.embed(texts + ["one too many"])
        self.assertEqual(refused.exception.param, "input")

    # A vector does not depend on what runs beside it.
    def test_many_clients_at_once(self):
        texts = ["a " * (1 + i % 20) for i in range(64)]
        alone = [self.embed(text).data[0].embedding for text in texts[:20]]

        async def all_at_once():
            client = self.server.client(openai.AsyncOpenAI)
            answers = await asyncio.gather(*(client.embeddings.create(model=NAME, input=text) for text in texts))
            await client.close()
            return [answer.data[0].embedding for answer in answers]

        together = asyncio.run(all_at_once())
        for i, vector in enumerate(together):
            self.assertEqual(vector, alone[i % 20])

    def test_errors(self):
        with self.assertRaises(openai.BadRequestError) as refused:
            self.embed("word " * 5000)
        self.assertEqual(refused.exception.code, "context_length_exceeded")
        self.assertIn(str(LONGEST), refused.exception.message)
        with self.assertRaises(openai.BadRequestError) as refused:
            self.embed("a", dimensions=WIDTH - 1)
        self.assertEqual(refused.exception.param, "dimensions")
        self.assertEqual(len(self.embed("a", dimensions=WIDTH).data[0].embedding), WIDTH)
        with self.assertRaises(openai.NotFoundError):
            self.client.embeddings.create(model="another", input="a")
        with self.assertRaises(openai.BadRequestError):
            self.embed([[10**9]])

    def test_a_chat_is_refused(self):
        with self.assertRaises(openai.BadRequestError) as refused:
            self.client.chat.completions.create(model=NAME, messages=[{"role": "user", "content": "hi"}])
        self.assertIn("encoder", refused.exception.message)
        with self.assertRaises(openai.BadRequestError):
            self.client.completions.create(model=NAME, prompt="hi")

    def test_models(self):
        self.assertEqual([model.id for model in self.client.models.list()], [NAME])


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]])
