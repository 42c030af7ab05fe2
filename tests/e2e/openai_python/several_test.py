# SPDX-License-Identifier: Apache-2.0
"""The official OpenAI client for Python, unmodified, on a server of several models.

several_test.py BINARY ENCODER   ENCODER is the folder of a sentence embedder; two scripts write.
"""

import asyncio
import pathlib
import subprocess
import sys
import tempfile
import threading
import unittest

import openai

BINARY, ENCODER = sys.argv[1], pathlib.Path(sys.argv[2])
NAMES = ["writer", "embedder", "sleeper"]


class Several(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="openautoglm_several_")
        folder = pathlib.Path(cls.folder.name)
        for name in ("writer", "sleeper"):
            (folder / f"{name}.script").write_text(f"==\nI am the {name}.\n")
        settings = folder / "settings.toml"
        settings.write_text(f"""
[[model]]
model = "scripted:{folder}/writer.script"
name = "writer"
[[model]]
model = "{ENCODER}"
name = "embedder"
weight = 3
max-concurrency = 8
[[model]]
model = "scripted:{folder}/sleeper.script"
name = "sleeper"
load-at-start = false
""")
        cls.process = subprocess.Popen([BINARY, "serve", "--config", settings, "--port", "0"], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        cls.url = None
        for line in cls.process.stdout:
            if line.startswith("listening on "):
                cls.url = line.split()[-1]
                break
        assert cls.url, "the server did not start"
        threading.Thread(target=cls.process.stdout.read, daemon=True).start()
        cls.client = cls.make_client()

    @classmethod
    def make_client(cls, kind=openai.OpenAI):
        return kind(base_url=cls.url + "/v1", api_key="none", max_retries=0, timeout=120)

    @classmethod
    def tearDownClass(cls):
        cls.process.terminate()
        assert cls.process.wait(timeout=120) == 0
        cls.folder.cleanup()

    @staticmethod
    def asked(model, **more):
        return {"model": model, "messages": [{"role": "user", "content": "who?"}], **more}

    def test_all_are_listed(self):
        self.assertEqual([model.id for model in self.client.models.list()], NAMES)
        self.assertEqual(self.client.models.retrieve("sleeper").id, "sleeper")

    def test_each_answers_by_its_name(self):
        for name in ("writer", "sleeper"):
            answer = self.client.chat.completions.create(**self.asked(name))
            self.assertEqual((answer.model, answer.choices[0].message.content), (name, f"I am the {name}."))
            words = "".join(chunk.choices[0].delta.content or "" for chunk in
                            self.client.chat.completions.create(**self.asked(name, stream=True)))
            self.assertEqual(words, f"I am the {name}.")
        self.assertEqual(self.client.responses.create(model="sleeper", input="who?").output_text, "I am the sleeper.")
        self.assertEqual(len(self.client.embeddings.create(model="embedder", input="a cat").data), 1)

    def test_errors(self):
        with self.assertRaises(openai.NotFoundError) as refused:
            self.client.chat.completions.create(**self.asked("nobody"))
        self.assertEqual(refused.exception.code, "model_not_found")
        with self.assertRaises(openai.BadRequestError):
            self.client.chat.completions.create(**self.asked("embedder"))
        with self.assertRaises(openai.BadRequestError):
            self.client.embeddings.create(model="writer", input="a cat")

    def test_all_at_once(self):
        async def all_at_once():
            client = self.make_client(openai.AsyncOpenAI)
            chats = [client.chat.completions.create(**self.asked(NAMES[2 * (i % 2)])) for i in range(20)]
            vectors = [client.embeddings.create(model="embedder", input=f"text {i}") for i in range(20)]
            answers = await asyncio.gather(*chats, *vectors)
            await client.close()
            return answers

        answers = asyncio.run(all_at_once())
        for i, answer in enumerate(answers[:20]):
            self.assertEqual(answer.choices[0].message.content, f"I am the {NAMES[2 * (i % 2)]}.")
        self.assertEqual({len(answer.data[0].embedding) for answer in answers[20:]}, {len(answers[20].data[0].embedding)})


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]])
