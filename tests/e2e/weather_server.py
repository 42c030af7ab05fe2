# SPDX-License-Identifier: Apache-2.0
"""An MCP server over stdio: weather_server.py FILE [odd]. Of its tools one reads, one appends a line to FILE, and one never
ends: that it was called and cancelled are lines in FILE. With `odd` there is one more, whose schema no grammar can be made of."""
import json
import sys

TOOLS = [
    {"name": "temperature", "description": "The temperature in a city.",
     "inputSchema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
                     "additionalProperties": False},
     "annotations": {"readOnlyHint": True}},
    {"name": "alarm", "description": "Sets an alarm.", "inputSchema": {"type": "object", "additionalProperties": False},
     "annotations": {"readOnlyHint": False, "openWorldHint": False}},
    {"name": "wait", "description": "Waits for ever.", "inputSchema": {"type": "object", "additionalProperties": False},
     "annotations": {"readOnlyHint": True}},
]
if sys.argv[2:] == ["odd"]:
    TOOLS.insert(0, {"name": "odd", "description": "Odd.", "inputSchema": {
        "type": "object", "properties": {"a": {"type": "string", "pattern": "^(?!x)y"}}, "required": ["a"]}})


def note(text):
    with open(sys.argv[1], "a") as file:
        file.write(text + "\n")


def call(name, arguments):
    if name == "temperature":
        return "22 degrees in " + arguments["city"], False
    if name == "alarm":
        note("alarm")
        return "the alarm is set", False
    return "there is no tool " + name, True


for line in sys.stdin:
    message = json.loads(line)
    method = message.get("method")
    if method == "notifications/cancelled":
        note("cancelled")
    if method == "tools/call" and message["params"]["name"] == "wait":
        note("waiting")
        continue
    if "id" not in message:
        continue
    result = {}
    if method == "initialize":
        result = {"protocolVersion": message["params"]["protocolVersion"], "capabilities": {"tools": {}},
                  "serverInfo": {"name": "weather", "version": "1"}}
    elif method == "tools/list":
        result = {"tools": TOOLS}
    elif method == "tools/call":
        text, failed = call(message["params"]["name"], message["params"].get("arguments", {}))
        result = {"content": [{"type": "text", "text": text}], "isError": failed}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
