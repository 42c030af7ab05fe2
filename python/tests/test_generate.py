# SPDX-License-Identifier: Apache-2.0
"""Writing: prompts of every kind, options, batches, streams, and how they end."""
import asyncio
import json
import os
import signal
import threading
import time

import pytest

from openautoglm import Answer, AutoModel, Error, InvalidArgumentError, NotFoundError


def user(text):
    return [{"role": "user", "content": text}]


def test_a_text_messages_and_ids_are_prompts(scripted):
    assert str(scripted.generate("Why is the sky blue?")) == "Because of Rayleigh scattering."
    assert str(scripted.generate(user("Why is the sky blue?"))) == "Because of Rayleigh scattering."
    ids = scripted.tokenizer.apply_chat_template(user("Why is the sky blue?"))
    answer = scripted.generate(ids)
    assert isinstance(answer, Answer)
    assert answer.text == "Because of Rayleigh scattering."
    assert answer.finish_reason == "stop"
    assert answer.usage.prompt_tokens == len(ids)
    assert answer.usage.completion_tokens >= len(answer.token_ids) > 0
    assert scripted.tokenizer.decode(answer.token_ids) == answer.text
    assert answer.decode_seconds >= 0


def test_text_outside_ascii_comes_whole(scripted):
    assert scripted.generate(user("greet")).text == "Grüße, 世界! 👋"
    assert "".join(scripted.stream(user("greet"))) == "Grüße, 世界! 👋"


def test_a_list_of_prompts_is_a_batch(scripted):
    answers = scripted.generate(["greet", user("sky blue"), "what?"])
    assert [str(answer) for answer in answers] == ["Grüße, 世界! 👋", "Because of Rayleigh scattering.", "Hello from the script."]


def test_more_prompts_than_the_engine_takes_at_once(script_file):
    with AutoModel.from_pretrained(f"scripted:{script_file}", max_batch_size=2) as model:
        answers = model.generate(["sky blue"] * 300)
    assert {answer.text for answer in answers} == {"Because of Rayleigh scattering."}
    assert len(answers) == 300


def test_options(scripted):
    assert scripted.generate("count", stop="STOP").text == "one two three "
    assert scripted.generate("count", stop=["three", "STOP"]).text == "one two "
    short = scripted.generate("endless", max_new_tokens=5)
    assert (short.finish_reason, len(short.token_ids)) == ("length", 5)
    rolled = [scripted.generate("dice", seed=seed).text for seed in (1, 1, 2)]
    assert rolled[0] == rolled[1] != rolled[2]
    scored = scripted.generate("greet", logprobs=3)
    assert [one.token_id for one in scored.logprobs] == scored.token_ids
    assert all(one.logprob <= 0 and len(one.top) == 3 for one in scored.logprobs)
    assert scripted.generate("greet").logprobs == []


def test_a_schema_holds_the_answer(scripted):
    schema = {
        "type": "object",
        "properties": {"river": {"type": "string"}, "country": {"type": "string"}},
        "required": ["river", "country"],
        "additionalProperties": False,
    }

    class Model:
        """As pydantic's classes."""

        @staticmethod
        def model_json_schema():
            return schema

    for given in (schema, json.dumps(schema), Model):
        answer = scripted.generate("A river as JSON", schema=given)
        assert json.loads(answer.text) == {"river": "Rhine", "country": "Germany"}
    with pytest.raises(InvalidArgumentError):
        scripted.generate("A river", schema={"type": "nonsense"})
    with pytest.raises(InvalidArgumentError):
        scripted.generate("A river", schema="{")


@pytest.mark.parametrize(
    "prompt, options",
    [
        ([], {}),
        ("a", {"temperature": 3}),
        ("a", {"top_p": 2}),
        ("a", {"logprobs": 21}),
        ("a", {"stop": ["x"] * 17}),
        ("a", {"max_new_tokens": 10_000_000}),
        ([1_000_000], {}),
        ([{"role": "user"}], {"schema": "[]"}),
    ],
)
def test_what_cannot_be_is_an_invalid_argument(scripted, prompt, options):
    with pytest.raises(InvalidArgumentError) as caught:
        scripted.generate(prompt, **options)
    assert caught.value.code == "invalid_argument"
    assert isinstance(caught.value, ValueError)


def test_types_are_checked(scripted):
    with pytest.raises(TypeError):
        scripted.generate(["a", 3])
    with pytest.raises(TypeError):
        scripted.generate("a", temperature="hot")
    with pytest.raises(TypeError):
        scripted.generate("a", unknown=1)


def test_a_stream_comes_in_pieces_and_ends(scripted):
    stream = scripted.stream("sky blue")
    assert "".join(stream) == "Because of Rayleigh scattering."
    with pytest.raises(StopIteration):
        next(stream)
    answer = stream.answer()
    assert (answer.text, answer.finish_reason) == ("Because of Rayleigh scattering.", "stop")


def test_a_stream_that_is_left_is_cancelled(scripted):
    with scripted.stream("endless", max_new_tokens=0) as stream:
        assert "again".startswith(next(stream)[:5])
    answer = stream.answer()
    assert answer.finish_reason == "cancelled"
    assert answer.text.startswith("again")


def test_an_asynchronous_stream(scripted):
    async def read(prompt):
        return "".join([piece async for piece in scripted.stream(prompt)])

    async def read_some():
        return await asyncio.gather(read("greet"), read("sky blue"), read("count"))

    assert asyncio.run(read_some()) == ["Grüße, 世界! 👋", "Because of Rayleigh scattering.", "one two three STOP four"]


def test_an_asynchronous_reader_that_is_cancelled_cancels(scripted):
    stream = scripted.stream("endless", max_new_tokens=0)

    async def read_for_ever():
        async for _ in stream:
            pass

    async def give_up():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(read_for_ever(), 0.02)

    asyncio.run(give_up())
    assert stream.answer().finish_reason == "cancelled"


def test_ctrl_c_stops_an_answer(scripted):
    scripted.load()
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        scripted.generate(["endless"] * 32, max_new_tokens=0)  # seconds of work
    assert str(scripted.generate("greet")) == "Grüße, 世界! 👋"  # and the model goes on


def test_other_threads_run_meanwhile(scripted):
    scripted.load()
    beats = []
    stream = scripted.stream("endless", max_new_tokens=0)
    threading.Timer(0.3, stream.close).start()
    beating = threading.Thread(target=lambda: [beats.append(time.sleep(0.01)) for _ in range(10)])
    beating.start()
    stream.answer()
    beating.join()
    assert len(beats) == 10


def test_threads_share_one_engine(scripted):
    answers = [None] * 8

    def ask(i):
        answers[i] = scripted.generate("sky blue").text

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["Because of Rayleigh scattering."] * 8


def test_a_closed_model_says_so(script_file):
    model = AutoModel.from_pretrained(f"scripted:{script_file}")
    stream = model.stream("endless", max_new_tokens=0)
    next(stream)
    model.close()
    assert stream.answer().finish_reason == "cancelled"
    with pytest.raises(Error) as caught:
        model.generate("a")
    assert caught.value.code == "unavailable"
    model.close()


def test_a_model_that_is_not_there(tmp_path):
    with pytest.raises(NotFoundError):
        AutoModel.from_pretrained(tmp_path / "nothing.gguf")
    with pytest.raises(NotFoundError):
        AutoModel.from_pretrained("no-such-model-of-the-catalogue")
    with pytest.raises(NotFoundError):
        AutoModel.from_pretrained(f"scripted:{tmp_path}/nothing")
    with pytest.raises(InvalidArgumentError):
        AutoModel.from_pretrained("")
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF\x03\x00\x00\x00" + b"\xff" * 40)
    with pytest.raises(Error) as caught:
        AutoModel.from_pretrained(broken)
    assert caught.value.code in ("corrupt", "exhausted")
