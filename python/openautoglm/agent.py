# SPDX-License-Identifier: Apache-2.0
"""An agent that calls Python functions: the run is that of `openautoglm task`."""
from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Union

from . import _core
from .model import AutoModel
from .tools import Tool

Approver = Callable[[str, dict[str, Any]], bool]  # (name of the tool, arguments) -> may it run?


@dataclass(frozen=True)
class Step:
    """One call of a tool."""

    step: int
    turn: int
    tool: str
    arguments: dict[str, Any]
    state: str  # "done", "failed", "denied", "timed_out", "cancelled" or "unknown"
    result: str
    seconds: float


@dataclass
class AgentRun:
    """What came of a task; `str(run)` is its answer."""

    answer: str = ""  # or why there is none
    state: str = "failed"  # "done", "failed", "limit" or "cancelled"
    session: str = ""
    turns: int = 0
    steps: list[Step] = field(default_factory=list)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    model_seconds: float = 0.0
    tool_seconds: float = 0.0

    @property
    def is_done(self) -> bool:
        """The agent came to an answer."""
        return self.state == "done"

    def __str__(self) -> str:
        return self.answer

    def _hear(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "run":
            self.session = event["session"]
        elif kind == "action":
            self.steps.append(Step(**{name: event[name] for name in Step.__dataclass_fields__}))
            self.steps.sort(key=lambda step: step.step)  # they come as they end
        elif kind == "answer":
            self.answer = event["text"]
        elif kind == "summary":
            for name in ("state", "turns", "prompt_tokens", "completion_tokens", "seconds", "model_seconds", "tool_seconds"):
                setattr(self, name, event[name])


class Agent:
    """A model, and functions that it may call: `Agent(model, tools=[weather]).run("Do I need an umbrella?")`.

    tools: functions with type hints, whose docstrings tell the model what they do; tool() says more of one. Those that
        only read run side by side, on threads of their own.
    database: a file in which sessions outlive the process; None = they end with this object.

    Raises InvalidArgumentError (a model without a chat template; a schema that no model can be held to), TypeError (a
    hint without a schema). One task at a time.
    """

    def __init__(
        self,
        model: AutoModel,
        tools: Iterable[Union[Callable[..., Any], Tool]] = (),
        *,
        database: str | os.PathLike[str] | None = None,
    ):
        self.tools = [each if isinstance(each, Tool) else Tool(each) for each in tools]
        self._core = _core.Agent(model._core, self.tools, ":memory:" if database is None else os.fspath(database))

    def run(
        self,
        task: str,
        *,
        session: str = "",
        memory: bool = False,
        approve: str | Approver = "none",
        aids: str = "all",
        temperature: float = 0.0,
        max_turns: int = 16,
        max_actions: int = 64,
        max_completion_tokens: int = 16384,
        max_seconds: int = 600,
        on_event: Callable[[dict[str, Any]], None] | None = None,
    ) -> AgentRun:
        """Gives the agent a task and waits for its end. Ctrl-C stops it.

        session: goes on in this one, or begins it; "" = one of its own. memory: the tools remember and recall.
        approve: what runs without being asked about: "none" (what reads only), "writes", "all"; or a function that is
            asked about each call that changes something, on another thread.
        aids: what helps small models, as `openautoglm task --aids`: "all", "none" or a list of names.
        max_*: a run that reaches one of them ends with the state "limit"; tokens are those that the model writes.
        on_event: hears what happens, on this thread: {"event": "run" | "turn" | "action" | "answer" | "summary", ...},
            the objects of `openautoglm task --json` (docs/guides/agent.md).

        A run that came to no answer is no exception: its state says so. Raises Error for one that could not begin
        ("exhausted": the task and the tools do not fit the context).
        """
        run = AgentRun()

        def hear(line: str) -> None:
            event = json.loads(line)
            run._hear(event)
            if on_event is not None:
                on_event(event)

        approver = None
        if callable(approve):
            person = approve

            def approver(name: str, arguments: str) -> bool:
                return bool(person(name, json.loads(arguments)))

        self._core.run(
            task,
            session=session,
            approve="none" if approver else approve,
            approver=approver,
            on_event=hear,
            memory=memory,
            aids=aids,
            temperature=temperature,
            max_turns=max_turns,
            max_actions=max_actions,
            max_completion_tokens=max_completion_tokens,
            max_seconds=max_seconds,
        )
        return run
