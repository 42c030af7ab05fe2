# SPDX-License-Identifier: Apache-2.0
"""The published everything-server behind POST /v1/responses, on a scripted model: responses_test.py NODE SERVER."""
import json
import pathlib
import sys
import unittest
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "cli"))
from support import TIMEOUT, CliTest, Server  # noqa: E402

NODE, SERVER = sys.argv[1:3]
FREE = {"type": "mcp", "server_label": "everything", "require_approval": "never"}


def call(name, arguments):
    return "<tool_call>\n" + json.dumps({"name": "everything_" + name, "arguments": arguments}) + "\n</tool_call>"


SCRIPT = ("== <|tool|>The sum of 2 and 3 is 5\nFive.\n\n== <|tool|>Echo: 2 + 3\n" + call("get-sum", {"a": 2, "b": 3})
          + "\n\n== \n" + call("echo", {"message": "2 + 3"}) + "\n\n")


class Everything(CliTest):
    def setUp(self):
        super().setUp()
        config = {"mcpServers": {"everything": {"command": NODE, "args": [SERVER, "stdio"], "connect_timeout_ms": 300000}}}
        (self.folder / "mcp.json").write_text(json.dumps(config))
        self.server = Server(self, self.script(SCRIPT), "--port", "0", "--mcp-config", "mcp.json")
        with urllib.request.urlopen(self.server.url + "/v1/models", timeout=TIMEOUT) as models:
            self.model = json.load(models)["data"][0]["id"]

    def post(self, **body):
        body = {"model": self.model, "input": "Add them.", **body}
        request = urllib.request.Request(self.server.url + "/v1/responses", json.dumps(body).encode(), {"Content-Type": "application/json"})
        return urllib.request.urlopen(request, timeout=TIMEOUT)

    def test_its_tools_are_called_until_the_answer(self):
        response = json.load(self.post(tools=[FREE]))
        self.assertEqual([item["type"] for item in response["output"]], ["mcp_list_tools", "mcp_call", "mcp_call", "message"])
        listed, echo, total, message = response["output"]
        self.assertIn("get-sum", [tool["name"] for tool in listed["tools"]])
        self.assertEqual((echo["name"], echo["output"]), ("echo", "Echo: 2 + 3"))
        self.assertEqual((total["name"], total["output"]), ("get-sum", "The sum of 2 and 3 is 5."))
        self.assertEqual(message["content"][0]["text"], "Five.")
        self.assertEqual(self.server.stop()[0], 0)

    def test_the_same_streamed(self):
        lines = self.post(tools=[FREE], stream=True).read().decode().splitlines()
        events = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
        self.assertEqual([event["type"] for event in events].count("response.mcp_call.completed"), 2)
        self.assertEqual(events[-1]["type"], "response.completed")
        self.assertEqual(events[-1]["response"]["output"][-1]["content"][0]["text"], "Five.")

    def test_what_asks_waits_for_leave(self):
        first = json.load(self.post(tools=[{**FREE, "require_approval": "always"}]))
        question = first["output"][-1]
        self.assertEqual((question["type"], question["name"]), ("mcp_approval_request", "echo"))
        leave = [{"type": "mcp_approval_response", "approval_request_id": question["id"], "approve": True}]
        second = json.load(self.post(input=leave, previous_response_id=first["id"], tools=[FREE]))
        self.assertEqual([item["type"] for item in second["output"]], ["mcp_call", "mcp_call", "message"])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
