# SPDX-License-Identifier: Apache-2.0
"""The official OpenAI client for Python, unmodified, against the real binary.

client_test.py BINARY MODEL   MODEL is a GGUF file or scripted:FILE (clients.script); what only the script can promise
is checked on the script alone.
"""

import asyncio
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import unittest
import urllib.request

import openai
from pydantic import BaseModel, ConfigDict

BINARY, MODEL = sys.argv[1], sys.argv[2]
IS_SCRIPTED = MODEL.startswith("scripted:")
TREE = pathlib.Path(__file__).resolve().parents[3]
KEY = "a-key-for-the-tests-of-clients"


class Server:
    """`openautoglm serve` on a free port, until close()."""

    def __init__(self, *flags):
        self.process = subprocess.Popen(
            [BINARY, "serve", MODEL, "--port", "0", "--context-length", "2048", *flags],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.url = None
        for line in self.process.stdout:
            if line.startswith("listening on "):
                self.url = line.split()[-1]
                break
        assert self.url, "the server did not start"
        # Whatever else it prints must not fill the pipe.
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def client(self, kind=openai.OpenAI, key="none"):
        return kind(base_url=self.url + "/v1", api_key=key, max_retries=0, timeout=120)

    def metric(self, name):
        with urllib.request.urlopen(self.url + "/metrics", timeout=60) as response:
            for line in response.read().decode().splitlines():
                if line.startswith(name + " "):
                    return float(line.split()[1])
        raise AssertionError(name + " is not among the metrics")

    def close(self):
        self.process.terminate()
        return self.process.wait(timeout=120)


class City(BaseModel):
    model_config = ConfigDict(extra="forbid")
    city: str
    degrees: int


def user(text):
    return [{"role": "user", "content": text}]


class ClientTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.client = cls.server.client()
        cls.model = cls.client.models.list().data[0].id

    @classmethod
    def tearDownClass(cls):
        assert cls.server.close() == 0, "SIGTERM must end the server in order"

    def chat(self, text, **more):
        more.setdefault("max_tokens", 64)
        return self.client.chat.completions.create(model=self.model, messages=user(text), **more)

    def test_models(self):
        models = list(self.client.models.list())
        self.assertEqual([m.object for m in models], ["model"])
        self.assertEqual(self.client.models.retrieve(self.model).id, self.model)
        with self.assertRaises(openai.NotFoundError):
            self.client.models.retrieve("no-such-model")

    def test_chat(self):
        answer = self.client.chat.completions.create(
            model=self.model, max_completion_tokens=48, user="me", metadata={"a": "b"}, store=False,
            messages=[{"role": "developer", "content": "Be brief."},
                      {"role": "user", "content": [{"type": "text", "text": "Say"}, {"type": "text", "text": "hello."}]}])
        self.assertEqual(answer.object, "chat.completion")
        self.assertEqual(answer.choices[0].message.role, "assistant")
        self.assertTrue(answer.choices[0].message.content)
        self.assertIn(answer.choices[0].finish_reason, ("stop", "length"))
        self.assertGreater(answer.usage.prompt_tokens, 0)
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)
        self.assertGreaterEqual(answer.usage.prompt_tokens_details.cached_tokens, 0)
        if IS_SCRIPTED:
            self.assertEqual(answer.choices[0].message.content, "Hello from the script.")
        # An answer can be sent back as history, as the client's own model of it.
        again = self.client.chat.completions.create(
            model=self.model, max_tokens=8, messages=[*user("hello"), answer.choices[0].message, *user("and?")])
        self.assertTrue(again.choices)

    def test_stream_equals_whole(self):
        prompt, settings = "Please greet me.", {"temperature": 0, "max_tokens": 40}
        whole = self.chat(prompt, **settings)
        text, reasons, usage = "", [], None
        for chunk in self.chat(prompt, stream=True, stream_options={"include_usage": True}, **settings):
            if chunk.usage:
                usage = chunk.usage
                self.assertEqual(chunk.choices, [])
                continue
            text += chunk.choices[0].delta.content or ""
            if chunk.choices[0].finish_reason:
                reasons.append(chunk.choices[0].finish_reason)
        self.assertEqual(text, whole.choices[0].message.content)
        self.assertEqual(reasons, [whole.choices[0].finish_reason])
        self.assertEqual(usage.completion_tokens, whole.usage.completion_tokens)
        if IS_SCRIPTED:
            self.assertEqual(text, "Grüße, 世界! 👋")

    def test_stream_helper(self):
        # The helper takes an answer that was cut by its length for an error, so the stop string ends it.
        with self.client.chat.completions.stream(model=self.model, messages=user("hello"), temperature=0,
                                                 stop=["e", "a", " "], max_tokens=200) as stream:
            kinds = [event.type for event in stream]
            final = stream.get_final_completion()
        self.assertEqual(kinds[-1], "content.done")
        self.assertEqual(final.choices[0].finish_reason, "stop")

    def test_stop(self):
        plain = self.chat("count", temperature=0, max_tokens=48).choices[0].message.content
        stop = "STOP" if IS_SCRIPTED else plain[len(plain) // 2:len(plain) // 2 + 3]
        for stops in (stop, ["never-said-by-anyone", stop]):
            answer = self.chat("count", temperature=0, max_tokens=48, stop=stops)
            self.assertEqual(answer.choices[0].message.content, plain[:plain.index(stop)])
            self.assertEqual(answer.choices[0].finish_reason, "stop")
        streamed = "".join(c.choices[0].delta.content or ""
                           for c in self.chat("count", temperature=0, max_tokens=48, stop=stop, stream=True))
        self.assertEqual(streamed, plain[:plain.index(stop)])

    def test_length(self):
        answer = self.chat("Roll the dice.", max_tokens=3)
        self.assertEqual(answer.choices[0].finish_reason, "length")
        self.assertEqual(answer.usage.completion_tokens, 3)

    TOOLS = [{"type": "function", "function": {
        "name": "temperature", "description": "The temperature in a city.", "strict": True,
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
                       "additionalProperties": False}}}]

    def test_tool_loop(self):
        # Required: what is called does not depend on the model; that it is called, and validly, is ours.
        messages = user("What is the temperature in Paris?")
        settings = {"model": self.model, "tools": self.TOOLS, "temperature": 0, "max_tokens": 128}
        first = self.client.chat.completions.create(messages=messages, tool_choice="required",
                                                    parallel_tool_calls=False, **settings)
        self.assertEqual(first.choices[0].finish_reason, "tool_calls")
        call, = first.choices[0].message.tool_calls
        self.assertEqual(call.function.name, "temperature")
        self.assertEqual(list(json.loads(call.function.arguments)), ["city"])
        messages += [first.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "22 degrees"}]
        second = self.client.chat.completions.create(messages=messages, **settings)
        self.assertTrue(second.choices[0].message.content or second.choices[0].message.tool_calls)
        if IS_SCRIPTED:
            self.assertEqual(second.choices[0].message.content, "It is 22 degrees in Paris.")

    def test_streamed_tool_call(self):
        settings = {"model": self.model, "messages": user("What is the temperature in Paris?"), "tools": self.TOOLS,
                    "tool_choice": {"type": "function", "function": {"name": "temperature"}}, "temperature": 0,
                    "max_tokens": 128}
        whole = self.client.chat.completions.create(**settings).choices[0].message.tool_calls[0].function
        with self.client.chat.completions.stream(**settings) as stream:
            done = [event for event in stream if event.type == "tool_calls.function.arguments.done"]
            final = stream.get_final_completion()
        self.assertEqual([(event.name, event.arguments) for event in done], [(whole.name, whole.arguments)])
        self.assertEqual(final.choices[0].message.tool_calls[0].function.arguments, whole.arguments)
        # What the stream came to can be sent back with the result, and the answer streams too.
        message = final.choices[0].message
        messages = [*settings["messages"], message, {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "22 degrees"}]
        answer = "".join(chunk.choices[0].delta.content or "" for chunk in self.client.chat.completions.create(
            **{**settings, "messages": messages, "tool_choice": "none"}, stream=True))
        self.assertTrue(answer)
        if IS_SCRIPTED:
            self.assertEqual(answer, "It is 22 degrees in Paris.")

    def test_tool_choice_none_and_bad_schemas(self):
        answer = self.client.chat.completions.create(model=self.model, messages=user("hello"), tools=self.TOOLS,
                                                     tool_choice="none", max_tokens=16)
        self.assertFalse(answer.choices[0].message.tool_calls)
        bad = [{"type": "function", "function": {"name": "f", "parameters": {
            "type": "object", "properties": {"x": {"type": "string", "pattern": "(?=a)"}}}}}]
        with self.assertRaises(openai.BadRequestError) as refused:
            self.client.chat.completions.create(model=self.model, messages=user("hello"), tools=bad)
        self.assertIn("/tools/0/function/parameters", str(refused.exception))

    def test_seed(self):
        def said(seed):
            return self.chat("Roll the dice.", seed=seed, temperature=1).choices[0].message.content
        self.assertEqual(said(7), said(7))
        self.assertGreater(len({said(seed) for seed in range(4)}), 1)

    def test_n(self):
        answer = self.chat("Roll the dice.", n=3, seed=20, temperature=1, max_tokens=32)
        self.assertEqual([choice.index for choice in answer.choices], [0, 1, 2])
        self.assertGreater(len({choice.message.content for choice in answer.choices}), 1)
        # Choice i is what seed + i says alone.
        alone = self.chat("Roll the dice.", seed=22, temperature=1, max_tokens=32)
        self.assertEqual(answer.choices[2].message.content, alone.choices[0].message.content)
        texts = ["", "", ""]
        for chunk in self.chat("Roll the dice.", n=3, seed=20, temperature=1, max_tokens=32, stream=True):
            texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
        self.assertEqual(texts, [choice.message.content for choice in answer.choices])

    def test_logprobs(self):
        answer = self.chat("hello", logprobs=True, top_logprobs=3, temperature=0, max_tokens=5)
        records = answer.choices[0].logprobs.content
        self.assertEqual(len(records), answer.usage.completion_tokens)
        for record in records:
            self.assertLessEqual(record.logprob, 0)
            self.assertEqual(len(record.top_logprobs), 3)
            self.assertEqual(record.top_logprobs[0].token, record.token)
            self.assertEqual(sorted((t.logprob for t in record.top_logprobs), reverse=True),
                             [t.logprob for t in record.top_logprobs])
        self.assertEqual(b"".join(bytes(r.bytes) for r in records).decode(errors="ignore")[:3],
                         answer.choices[0].message.content[:3])

    def test_json_schema(self):
        answer = self.client.chat.completions.parse(
            model=self.model, messages=user("The weather in Paris is 21 degrees, as json please."), temperature=0,
            max_tokens=100, response_format=City)
        self.assertIsInstance(answer.choices[0].message.parsed, City)
        if IS_SCRIPTED:
            self.assertEqual(answer.choices[0].message.parsed, City(city="Paris", degrees=21))
        plain = self.chat("The weather in Paris, as json please.", temperature=0, max_tokens=200,
                          response_format={"type": "json_object"})
        if plain.choices[0].finish_reason == "stop":
            self.assertIsInstance(json.loads(plain.choices[0].message.content), dict)

    def test_schema_that_cannot_be_honoured(self):
        schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": "(?=x)y"}}}
        with self.assertRaises(openai.BadRequestError) as refused:
            self.chat("x", response_format={"type": "json_schema", "json_schema": {"name": "s", "schema": schema}})
        self.assertTrue(refused.exception.param.startswith("/response_format/json_schema/schema"), refused.exception.body)

    def test_completions(self):
        answer = self.client.completions.create(model=self.model, prompt="hello", max_tokens=6, echo=True, logprobs=2,
                                                temperature=0)
        self.assertTrue(answer.choices[0].text.startswith("hello"))
        self.assertIsNone(answer.choices[0].logprobs.token_logprobs[0])
        self.assertEqual(len(answer.choices[0].logprobs.tokens), len(answer.choices[0].logprobs.text_offset))
        pair = self.client.completions.create(model=self.model, prompt=["hello", "count"], max_tokens=4)
        self.assertEqual([choice.index for choice in pair.choices], [0, 1])
        streamed = list(self.client.completions.create(model=self.model, prompt="hello", max_tokens=4, stream=True))
        self.assertEqual(streamed[-1].choices[0].finish_reason, "length")

    def test_abort(self):
        stream = self.chat("endless" if IS_SCRIPTED else "Write a very long story.", stream=True, max_tokens=1500,
                           extra_body={"ignore_eos": True})
        for _, chunk in zip(range(4), stream):
            self.assertTrue(chunk.choices)
        stream.close()
        for _ in range(10_000):
            if self.server.metric("openautoglm_requests_running") == 0:
                break
        else:
            self.fail("the engine still runs what the client has left")
        self.assertGreaterEqual(self.server.metric("openautoglm_disconnects_total"), 1)

    def test_errors(self):
        bad = [{"temperature": 3}, {"n": 0}, {"max_tokens": 0}, {"extra_body": {"frobnicate": 1}}, {"top_logprobs": 2},
               {"tool_choice": "required"}]
        for more in bad:
            with self.assertRaises(openai.BadRequestError) as refused:
                self.chat("x", **more)
            self.assertEqual(refused.exception.status_code, 400)
            self.assertEqual(refused.exception.type, "invalid_request_error")
            self.assertEqual(refused.exception.param, "frobnicate" if "extra_body" in more else next(iter(more)))
        with self.assertRaises(openai.BadRequestError) as refused:
            self.chat("word " * 5000)
        self.assertEqual(refused.exception.code, "context_length_exceeded")
        self.assertIn("2048", str(refused.exception))
        with self.assertRaises(openai.NotFoundError) as refused:
            self.client.chat.completions.create(model="no-such-model", messages=user("x"))
        self.assertEqual(refused.exception.code, "model_not_found")

    def test_the_example_runs(self):
        example = TREE / "examples" / "openai_client.py"
        done = subprocess.run([sys.executable, example], capture_output=True, text=True, timeout=120,
                              env={**os.environ, "BASE_URL": self.server.url + "/v1", "MODEL": self.model})
        self.assertEqual(done.returncode, 0, done.stderr)
        streamed, _, schema = done.stdout.rstrip("\n").rpartition("\n")
        self.assertTrue(streamed)
        if IS_SCRIPTED:
            self.assertEqual(streamed, "Because of Rayleigh scattering.")
            self.assertEqual(json.loads(schema), {"river": "Rhine", "country": "Germany"})

    def test_the_readme_runs(self):
        blocks = re.findall(r"^```python\n(.*?)^```", (TREE / "README.md").read_text(), re.MULTILINE | re.DOTALL)
        code, = (block for block in blocks if "openai import" in block)
        code = code.replace("http://127.0.0.1:8080", self.server.url).replace("smollm2", self.model)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(done.stdout.strip())

    def test_many_at_once(self):
        async def ask_all():
            async with self.server.client(openai.AsyncOpenAI) as client:
                async def ask(i):
                    stream = await client.chat.completions.create(
                        model=self.model, messages=user("hello"), max_tokens=8, stream=True, temperature=0)
                    return "".join([c.choices[0].delta.content or "" async for c in stream])
                return await asyncio.gather(*(ask(i) for i in range(24)))
        self.assertEqual(len(set(asyncio.run(ask_all()))), 1)  # batched as alone


class KeyTest(unittest.TestCase):
    def test_keys(self):
        with tempfile.NamedTemporaryFile("w", suffix=".keys") as keys:
            os.chmod(keys.name, 0o600)
            keys.write("# for the tests\n" + KEY + "\n")
            keys.flush()
            server = Server("--api-key-file", keys.name)
        try:
            with self.assertRaises(openai.AuthenticationError) as refused:
                server.client(key="wrong").models.list()
            self.assertEqual(refused.exception.code, "invalid_api_key")
            self.assertEqual(len(server.client(key=KEY).models.list().data), 1)
        finally:
            self.assertEqual(server.close(), 0)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
