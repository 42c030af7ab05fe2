# SPDX-License-Identifier: Apache-2.0
"""The agent: Python functions as tools, their schemas, and what a run tells."""
import dataclasses
import enum
import json
import os
import signal
import threading
import time
from typing import Annotated, Any, Literal, Optional

import pytest

from openautoglm import Agent, AutoModel, Error, InvalidArgumentError, Tool, tool
from openautoglm.tools import schema_of


def call(name, **arguments):
    return "<tool_call>\n" + json.dumps({"name": name, "arguments": arguments}) + "\n</tool_call>\n"


def rule(pattern, *calls):
    return f"== {pattern}\n" + "".join(calls) + "\n"


# The first rule that matches answers: what comes later in a conversation stands first.
SCRIPT = (
    rule("<|tool|>*Paris: 22", call("answer", text="It is 22 degrees."))
    + rule("<|tool|>*both were there", call("answer", text="They met."))
    + rule("<|tool|>*ValueError: no such city", call("answer", text="There is no such city."))
    + rule("<|tool|>*did not allow", call("answer", text="They said no."))
    + rule("<|tool|>*not approved", call("answer", text="I may not."))
    + rule("<|tool|>*waited", call("answer", text="It was long."))
    + rule("<|tool|>*kept", call("answer", text="It is kept."))
    + rule("Let them meet", call("meet", who="a"), call("meet", who="b"))
    + rule("lost", call("temperature", city="Nowhere"))
    + rule("keep it", call("keep", text="a note"))
    + rule("wait for me", call("wait"))
    + rule("weather", call("temperature", city="Paris"))
    + rule("", call("answer", text="Nothing was to be done."))
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("agent") / "agent.script"
    path.write_text(SCRIPT)
    with AutoModel.from_pretrained(f"scripted:{path}") as model:
        yield model


def run(agent, task, **options):
    """A script answers what it was written for, not the questions of the aids."""
    return agent.run(task, aids="none", **options)


def temperature(city: str) -> str:
    """The temperature in a city, in degrees."""
    if city != "Paris":
        raise ValueError("no such city")
    return f"{city}: 22"


def test_a_function_is_called_and_answers(model):
    events = []
    done = run(Agent(model, tools=[temperature]), "How is the weather?", on_event=events.append)
    assert str(done) == "It is 22 degrees."
    assert done.is_done and done.turns == 2
    (step,) = done.steps
    assert (step.tool, step.arguments, step.state, step.result) == ("temperature", {"city": "Paris"}, "done", "Paris: 22")
    assert [event["event"] for event in events] == ["run", "turn", "action", "turn", "answer", "summary"]


def test_calls_of_one_turn_run_side_by_side(model):
    meeting = threading.Barrier(2, timeout=20)

    def meet(who: str) -> str:
        """Waits for the other one."""
        meeting.wait()
        return "both were there"

    done = run(Agent(model, tools=[meet]), "Let them meet.")
    assert str(done) == "They met."
    assert [step.arguments["who"] for step in done.steps] == ["a", "b"]


def test_an_exception_is_told_to_the_model(model):
    done = run(Agent(model, tools=[temperature]), "I am lost.")
    assert str(done) == "There is no such city."
    assert done.steps[0].state == "failed"


def test_what_changes_something_is_asked_about(model):
    notes, asked = [], []

    @tool(kind="write")
    def keep(text: str) -> str:
        """Keeps a note."""
        notes.append(text)
        return "kept"

    agent = Agent(model, tools=[keep])
    assert str(run(agent, "keep it")) == "I may not."
    assert str(run(agent, "keep it", approve=lambda name, arguments: asked.append((name, arguments)))) == "They said no."
    assert asked == [("keep", {"text": "a note"})] and notes == []
    assert str(run(agent, "keep it", approve=lambda name, arguments: True)) == "It is kept."
    assert str(run(agent, "keep it", approve="writes")) == "It is kept."
    assert notes == ["a note"] * 2


def test_an_asynchronous_function_is_a_tool(model):
    async def temperature(city: str) -> str:
        return f"{city}: 22"

    assert str(run(Agent(model, tools=[temperature]), "weather")) == "It is 22 degrees."


def test_sessions_outlive_the_object(model, tmp_path):
    database = tmp_path / "sessions.db"
    first = run(Agent(model, tools=[temperature], database=database), "weather", session="mine")
    assert first.session == "mine"
    again = run(Agent(model, tools=[temperature], database=database), "and now?", session="mine")
    assert again.session == "mine"
    assert database.is_file()


def test_ctrl_c_stops_a_run(model):
    began = threading.Event()

    def wait() -> str:
        """Waits for a while."""
        began.set()
        time.sleep(1)
        return "waited"

    def interrupt():
        began.wait(20)
        os.kill(os.getpid(), signal.SIGINT)

    agent = Agent(model, tools=[wait])
    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        run(agent, "wait for me")
    assert str(run(agent, "nothing")) == "Nothing was to be done."


def test_an_exception_of_the_listener_ends_the_run(model):
    def listen(event):
        raise RuntimeError("enough")

    agent = Agent(model, tools=[temperature])
    with pytest.raises(RuntimeError, match="enough"):
        run(agent, "weather", on_event=listen)
    assert run(agent, "weather").is_done


def test_limits_are_states(model):
    assert run(Agent(model, tools=[temperature]), "weather", max_turns=1).state == "limit"


def test_what_cannot_be_an_agent(model):
    from conftest import GOLDEN

    with AutoModel.from_pretrained(GOLDEN / "tiny" / "llama_tied") as base, pytest.raises(InvalidArgumentError):
        Agent(base)
    with pytest.raises(InvalidArgumentError):
        Agent(model, tools=[temperature, temperature])
    with pytest.raises(InvalidArgumentError):
        Agent(model, tools=[Tool(temperature, name="a name")])
    with pytest.raises(InvalidArgumentError):
        run(Agent(model), "a", approve="some")
    with pytest.raises(InvalidArgumentError):
        Agent(model).run("a", aids="luck")
    with pytest.raises(Error):
        Agent(model, database="/no/such/folder/file.db")


class Unit(enum.Enum):
    CELSIUS = "celsius"
    KELVIN = "kelvin"


@dataclasses.dataclass
class Place:
    city: str
    floor: int = 0


def test_schemas_come_from_hints():
    def look(
        place: Place,
        unit: Unit,
        names: list[str],
        kind: Literal["a", "b"],
        depth: Annotated[int, "How deep."] = 1,
        more: Optional[dict[str, float]] = None,
        anything: Any = None,
    ):
        """Looks."""
        return [place, unit, names, kind, depth, more, anything]

    made = Tool(look)
    assert made.description == "Looks."
    assert made.parameters == {
        "type": "object",
        "properties": {
            "place": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "floor": {"type": "integer"}},
                "required": ["city"],
                "additionalProperties": False,
            },
            "unit": {"enum": ["celsius", "kelvin"]},
            "names": {"type": "array", "items": {"type": "string"}},
            "kind": {"enum": ["a", "b"]},
            "depth": {"type": "integer", "description": "How deep."},
            "more": {"anyOf": [{"type": "object", "additionalProperties": {"type": "number"}}, {"type": "null"}]},
            "anything": {},
        },
        "required": ["place", "unit", "names", "kind"],
        "additionalProperties": False,
    }
    text, is_error = made.call(json.dumps({"place": {"city": "Rome"}, "unit": "kelvin", "names": ["x"], "kind": "a"}))
    assert not is_error
    assert json.loads(text) == [{"city": "Rome", "floor": 0}, "kelvin", ["x"], "a", 1, None, None]


@pytest.mark.parametrize("hint", [set[str], bytes, tuple[int, str], dict[int, str]])
def test_a_hint_without_a_schema_is_refused(hint):
    with pytest.raises(TypeError, match="no JSON schema"):
        schema_of(hint)


def test_a_function_without_names_is_no_tool():
    def anything(*values):
        return values

    with pytest.raises(TypeError, match="anything"):
        Tool(anything)
