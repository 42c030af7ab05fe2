# SPDX-License-Identifier: Apache-2.0
"""The official OpenAI client for Python, unmodified, on /v1/responses: functions, an MCP server of the operator's,
approvals, what is stored.

responses_test.py BINARY MODEL   as client_test.py.
"""

import json
import pathlib
import sys
import tempfile
import unittest

import openai
from pydantic import BaseModel, ConfigDict

from client_test import IS_SCRIPTED, TREE, Server

FUNCTION = {"type": "function", "name": "temperature", "description": "The temperature in a city.", "strict": True,
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
                           "additionalProperties": False}}
WEATHER = {"type": "mcp", "server_label": "weather"}


class City(BaseModel):
    model_config = ConfigDict(extra="forbid")
    city: str
    degrees: int


class ResponsesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="openautoglm_responses_")
        folder = pathlib.Path(cls.folder.name)
        cls.notes = folder / "notes"
        cls.notes.touch()
        config = {"mcpServers": {"weather": {"command": sys.executable, "args": [
            str(TREE / "tests/e2e/weather_server.py"), str(cls.notes)]}}}
        (folder / "mcp.json").write_text(json.dumps(config))
        cls.server = Server("--mcp-config", folder / "mcp.json", "--database", folder / "responses.db")
        cls.client = cls.server.client()
        cls.model = cls.client.models.list().data[0].id

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()
        assert cls.server.close() == 0, "SIGTERM must end the server in order"

    def respond(self, text, **more):
        return self.client.responses.create(model=self.model, input=text, temperature=0,
                                            **{"max_output_tokens": 128, **more})

    def test_text(self):
        response = self.respond("hello", instructions="Be brief.", metadata={"a": "b"}, user="me", store=False)
        self.assertIn(response.status, ("completed", "incomplete"))
        self.assertTrue(response.output_text)
        self.assertEqual(response.usage.total_tokens, response.usage.input_tokens + response.usage.output_tokens)
        self.assertEqual(response.metadata, {"a": "b"})
        if IS_SCRIPTED:
            self.assertEqual(response.output_text, "Hello from the script.")

    def test_stream_equals_whole(self):
        whole = self.respond("Please greet me.", store=False)
        events = list(self.respond("Please greet me.", store=False, stream=True))
        self.assertEqual([event.sequence_number for event in events], list(range(len(events))))
        self.assertEqual([event.type for event in events[:4]], [
            "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"])
        self.assertEqual("".join(e.delta for e in events if e.type == "response.output_text.delta"), whole.output_text)
        self.assertEqual(events[-1].type, "response." + whole.status)
        self.assertEqual(events[-1].response.output_text, whole.output_text)

    def test_stream_helper(self):
        # The helper takes an answer that was cut by its length for none, so the grammar ends it.
        with self.client.responses.stream(model=self.model, input="The weather in Paris is 21 degrees, as json please.",
                                          temperature=0, max_output_tokens=200, text_format=City) as stream:
            kinds = {event.type for event in stream}
            final = stream.get_final_response()
        self.assertIn("response.output_text.done", kinds)
        self.assertIsInstance(final.output_parsed, City)
        parsed = self.client.responses.parse(
            model=self.model, input="The weather in Paris is 21 degrees, as json please.", temperature=0,
            max_output_tokens=200, text_format=City)
        self.assertEqual(parsed.output_parsed, final.output_parsed)

    def test_function_loop(self):
        settings = {"tools": [FUNCTION], "parallel_tool_calls": False}
        first = self.respond("What is the temperature in Paris?", tool_choice="required", **settings)
        call = first.output[-1]
        self.assertEqual((call.type, call.name), ("function_call", "temperature"))
        self.assertEqual(list(json.loads(call.arguments)), ["city"])
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "22 degrees"}
        second = self.respond([result], previous_response_id=first.id, **settings)
        # The same with the conversation sent back as the client holds it.
        items = [{"role": "user", "content": "What is the temperature in Paris?"}, *first.output, result]
        again = self.respond(items, store=False, **settings)
        self.assertEqual(second.output_text, again.output_text)
        self.assertEqual(second.usage.input_tokens, again.usage.input_tokens)
        if IS_SCRIPTED:
            self.assertEqual(second.output_text, "It is 22 degrees in Paris.")

    def test_streamed_function_call(self):
        settings = {"tools": [FUNCTION], "tool_choice": {"type": "function", "name": "temperature"}}
        whole = self.respond("What is the temperature in Paris?", store=False, **settings).output[-1]
        with self.client.responses.stream(model=self.model, input="What is the temperature in Paris?", temperature=0,
                                          max_output_tokens=128, store=False, **settings) as stream:
            deltas = [event.delta for event in stream if event.type == "response.function_call_arguments.delta"]
            final = stream.get_final_response()
        self.assertEqual("".join(deltas), whole.arguments)
        self.assertEqual(final.output[-1].arguments, whole.arguments)
        # The loop goes on as a stream: what came is sent back with the result.
        result = {"type": "function_call_output", "call_id": final.output[-1].call_id, "output": "22 degrees"}
        items = [{"role": "user", "content": "What is the temperature in Paris?"}, *final.output, result]
        last = list(self.respond(items, stream=True, store=False, tools=[FUNCTION], tool_choice="none"))[-1]
        self.assertTrue(last.response.output_text)
        if IS_SCRIPTED:
            self.assertEqual(last.response.output_text, "It is 22 degrees in Paris.")

    def test_mcp_loop(self):
        # That a tool is called is asked for; what comes of it does not depend on the model.
        settings = {"tools": [WEATHER], "tool_choice": WEATHER | {"name": "temperature"}, "max_tool_calls": 1,
                    "max_output_tokens": 300}
        whole = self.respond("Ask the server for the weather in Paris.", **settings)
        kinds = [item.type for item in whole.output]
        self.assertEqual(kinds[:2], ["mcp_list_tools", "mcp_call"])
        self.assertEqual({tool.name for tool in whole.output[0].tools}, {"temperature", "alarm", "wait"})
        call = whole.output[1]
        self.assertEqual((call.server_label, call.name, call.error), ("weather", "temperature", None))
        self.assertEqual(call.output, "22 degrees in " + json.loads(call.arguments)["city"])
        events = list(self.respond("Ask the server for the weather in Paris.", stream=True, **settings))
        of_call = [e.type for e in events if getattr(e, "output_index", None) == 1 and not e.type.endswith("delta")]
        self.assertEqual(of_call, ["response.output_item.added", "response.mcp_call.in_progress",
                                   "response.mcp_call_arguments.done", "response.mcp_call.completed",
                                   "response.output_item.done"])
        self.assertEqual(events[-1].response.output[1].output, call.output)
        self.assertEqual(events[-1].response.output_text, whole.output_text)
        if IS_SCRIPTED:
            self.assertEqual(whole.output_text, "It is 22 degrees in Paris.")
        follow = self.respond("hello again", previous_response_id=whole.id, max_output_tokens=16)
        self.assertTrue(follow.output)

    def test_approval(self):
        settings = {"tools": [WEATHER], "max_output_tokens": 300}
        before = self.notes.read_text()
        asked = self.respond("Set the alarm.", tool_choice=WEATHER | {"name": "alarm"}, **settings)
        question = asked.output[-1]
        self.assertEqual((question.type, question.name), ("mcp_approval_request", "alarm"))
        self.assertEqual(self.notes.read_text(), before)
        answer = {"type": "mcp_approval_response", "approval_request_id": question.id, "approve": True}
        done = self.respond([answer], previous_response_id=asked.id, **settings)
        self.assertEqual(done.output[0].output, "the alarm is set")
        self.assertEqual(done.output[0].approval_request_id, question.id)
        self.assertEqual(self.notes.read_text(), before + "alarm\n")
        if IS_SCRIPTED:
            self.assertEqual(done.output_text, "It will ring.")

    def test_stored(self):
        response = self.respond("hello")
        self.assertEqual(self.client.responses.retrieve(response.id).output_text, response.output_text)
        items = self.client.responses.input_items.list(response.id).data
        self.assertEqual(items[0].content[0].text, "hello")
        asked = self.respond([{"role": "user", "content": text} for text in ("one", "two", "three")], max_output_tokens=16)
        paged = self.client.responses.input_items.list(asked.id, limit=1, order="asc")  # the client asks for the next page itself
        self.assertEqual([item.content[0].text for item in paged], ["one", "two", "three"])
        self.client.responses.delete(response.id)
        with self.assertRaises(openai.NotFoundError):
            self.client.responses.retrieve(response.id)

    def test_cancel(self):
        stream = self.respond("Wait for it.", stream=True, tools=[WEATHER], tool_choice=WEATHER | {"name": "wait"})
        for event in stream:
            if event.type == "response.created":
                response = event.response.id
            if event.type == "response.mcp_call_arguments.done":
                for _ in range(10_000):
                    self.assertEqual(self.client.responses.retrieve(response).status, "in_progress")
                    if "waiting\n" in self.notes.read_text():
                        break
                self.assertEqual(self.client.responses.cancel(response).status, "cancelled")
        self.assertEqual(event.response.status, "cancelled")
        self.assertEqual(event.response.output[-1].status, "failed")
        self.assertIn("cancelled\n", self.notes.read_text(), "the MCP server was told")

    def test_refusals(self):
        for more, param in (({"background": True}, "background"), ({"include": ["message.output_text.logprobs"]}, "include"),
                            ({"tools": [{"type": "web_search"}]}, "tools[0].type"), ({"truncation": "auto"}, "truncation"),
                            ({"tools": [WEATHER | {"server_url": "http://127.0.0.1/"}]}, "tools[0].server_url"),
                            ({"tools": [WEATHER | {"server_label": "x"}]}, "tools[0].server_label"),
                            ({"reasoning": {"effort": "high"}}, "reasoning.effort")):
            with self.assertRaises(openai.BadRequestError) as refused:
                self.respond("x", **more)
            self.assertEqual(refused.exception.param, param)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
