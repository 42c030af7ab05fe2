# SPDX-License-Identifier: Apache-2.0
"""The OpenAI Agents SDK as a user would wire it to a local server: peer_worker.py BASE_URL. Runs in a Python of its own that
has the SDK. Each line on standard input is a task as JSON; the events of its run are printed as `openautoglm task --json`
prints them, then "end"."""
import asyncio
import contextlib
import json
import sys
import time

import jsonschema
from agents import (Agent, MaxTurnsExceeded, ModelSettings, OpenAIChatCompletionsModel, Runner, set_tracing_disabled)
from agents.mcp import MCPServerStdio
from openai import AsyncOpenAI


def emit(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


class Run:
    """What is counted on the way: the answers of the server and the calls of the tools, as they come."""

    def __init__(self):
        self.turns, self.actions, self.invalid_calls = 0, 0, 0
        self.tokens = {"prompt_tokens": 0, "cached_tokens": 0, "completion_tokens": 0}
        self.began, self.model_seconds, self.tool_seconds = time.monotonic(), 0.0, 0.0
        self.schemas = {}

    def is_invalid(self, call, finish_reason):
        """No such tool, arguments that are no object or not of the tool's schema, or cut off by the limit of tokens."""
        if call.function.name not in self.schemas or finish_reason == "length":
            return True
        try:
            arguments = json.loads(call.function.arguments or "{}")
            jsonschema.validate(arguments, self.schemas[call.function.name])
            return not isinstance(arguments, dict)
        except (ValueError, jsonschema.ValidationError):
            return True

    def count_turn(self, completion, seconds):
        choice, usage = completion.choices[0], completion.usage
        cached = usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else 0
        tokens = {"prompt_tokens": usage.prompt_tokens, "cached_tokens": cached or 0,
                  "completion_tokens": usage.completion_tokens}
        calls = choice.message.tool_calls or []
        self.turns += 1
        self.model_seconds += seconds
        self.invalid_calls += sum(self.is_invalid(call, choice.finish_reason) for call in calls)
        for name, count in tokens.items():
            self.tokens[name] += count
        emit("turn", turn=self.turns, text=choice.message.content or "", **tokens, seconds=seconds,
             calls=[{"id": c.id, "tool": c.function.name, "arguments": c.function.arguments} for c in calls])

    def count_action(self, tool, arguments, state, seconds, result):
        self.actions += 1
        self.tool_seconds += seconds
        emit("action", step=self.actions, turn=self.turns, tool=tool, arguments=arguments, state=state, seconds=seconds,
             result=result)

    def summary(self, state):
        emit("summary", state=state, turns=self.turns, actions=self.actions, invalid_calls=self.invalid_calls, **self.tokens,
             seconds=time.monotonic() - self.began, model_seconds=self.model_seconds, tool_seconds=self.tool_seconds)


class CountedServer(MCPServerStdio):
    counted = None  # the run that its calls belong to

    async def call_tool(self, tool_name, arguments, meta=None):
        began = time.monotonic()
        try:
            result = await super().call_tool(tool_name, arguments, meta)
        except Exception as error:
            self.counted.count_action(tool_name, arguments, "failed", time.monotonic() - began, str(error))
            raise
        is_error = bool(getattr(result, "isError", getattr(result, "is_error", False)))
        self.counted.count_action(tool_name, arguments, "failed" if is_error else "done", time.monotonic() - began,
                              "\n".join(getattr(item, "text", str(item)) for item in result.content))
        return result


def counted_client(url, run):
    """The official client, with its answers counted."""
    client = AsyncOpenAI(base_url=url, api_key="none", max_retries=0, timeout=600)
    create = client.chat.completions.create

    async def counted(**request):
        began = time.monotonic()
        completion = await create(**request)
        run.count_turn(completion, time.monotonic() - began)
        return completion
    client.chat.completions.create = counted
    return client


class Servers:
    """The tool servers of the last task, which stay for a next one that wants the same."""

    def __init__(self):
        self.wiring, self.stack, self.running = None, contextlib.AsyncExitStack(), []

    async def take(self, task, run):
        wiring = (task["folder"], task["servers"])
        if self.wiring != wiring:
            await self.close()
            for name, settings in task["servers"].items():
                self.running.append(await self.stack.enter_async_context(CountedServer(
                    name=name, params={**settings, "cwd": task["folder"]}, cache_tools_list=True,
                    client_session_timeout_seconds=60)))
            self.wiring = wiring
        for server in self.running:
            server.counted = run
        return self.running

    async def close(self):
        self.wiring, self.running = None, []
        await self.stack.aclose()


async def run_task(url, task, servers):
    run = Run()
    emit("run", run=1, session="")
    state = "failed"
    try:
        running = await servers.take(task, run)
        for server in running:
            for tool in await server.list_tools():
                run.schemas[tool.name] = getattr(tool, "inputSchema", None) or tool.input_schema
        agent = Agent(name="Assistant", instructions=task["instructions"], mcp_servers=running,
                      model=OpenAIChatCompletionsModel(model="local", openai_client=counted_client(url, run)),
                      model_settings=ModelSettings(temperature=0, max_tokens=task["max_tokens"]))
        result = await Runner.run(agent, task["prompt"], max_turns=task["max_turns"])
        emit("answer", text=str(result.final_output))
        state = "done"
    except MaxTurnsExceeded:
        state = "limit"
    except Exception as error:  # whatever ends the SDK's run ends the task, not the suite
        emit("answer", text=f"{type(error).__name__}: {error}")
        await servers.close()
    run.summary(state)


async def main():
    set_tracing_disabled(True)
    servers = Servers()
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        await run_task(sys.argv[1], json.loads(line), servers)
        print("end", flush=True)
    await servers.close()


if __name__ == "__main__":
    asyncio.run(main())
