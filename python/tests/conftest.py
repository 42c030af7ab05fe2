# SPDX-License-Identifier: Apache-2.0
"""What the tests share: models of the repository's goldens, a script, and a real model where there is one."""
import json
import os
import pathlib

import pytest

import openautoglm
from openautoglm import AutoModel

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "tests" / "testdata" / "golden"
MODELS = os.environ.get("OPENAUTOGLM_TEST_MODELS")

SCRIPT = """
== endless
again and again <|repeat|>

== dice
You rolled <|random:12|>.

== river*JSON
{"river":"Rhine","country":"Germany"}

== sky blue
Because of Rayleigh scattering.

== count
one two three STOP four

== greet
Grüße, 世界! 👋

==
Hello from the script.
"""


def golden(name):
    """A checkpoint and what transformers made of it."""
    folder = GOLDEN / name
    return folder, json.loads((folder / "golden.json").read_text())


@pytest.fixture(scope="session")
def script_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("script") / "test.script"
    path.write_text(SCRIPT)
    return path


@pytest.fixture
def scripted(script_file):
    with AutoModel.from_pretrained(f"scripted:{script_file}") as model:
        yield model


@pytest.fixture(scope="module")
def qwen2():
    folder, expected = golden("tiny/qwen2")
    with AutoModel.from_pretrained(folder, compute="exact") as model:
        yield model, expected


@pytest.fixture(scope="module")
def encoder():
    folder, expected = golden("encoders/bert_small")
    with AutoModel.from_pretrained(folder, compute="exact", context_length=40) as model:
        yield model, expected


@pytest.fixture(scope="module")
def smollm2():
    if MODELS is None:
        pytest.fail("set OPENAUTOGLM_TEST_MODELS to a folder with smollm2.gguf, or leave these out: -k 'not real_weights'")
    with AutoModel.from_pretrained(os.path.join(MODELS, "smollm2.gguf")) as model:
        yield model


@pytest.fixture(scope="session", autouse=True)
def quiet():
    openautoglm.set_log_level("error")
