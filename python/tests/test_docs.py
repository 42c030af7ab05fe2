# SPDX-License-Identifier: Apache-2.0
"""The Python of the pages runs, on a script in place of weights."""
import contextlib
import io
import pathlib
import re
import subprocess
import sys
import xml.etree.ElementTree

import numpy as np
import pytest

from conftest import GOLDEN
from openautoglm import AutoModel

TREE = pathlib.Path(__file__).resolve().parents[2]


def blocks_of(page):
    return re.findall(r"^```python\n(.*?)^```", (TREE / page).read_text(), re.MULTILINE | re.DOTALL)


def run(code, **names):
    heard = io.StringIO()
    with contextlib.redirect_stdout(heard):
        exec(compile(code, "page", "exec"), names)
    return heard.getvalue()


@pytest.mark.parametrize("page", ["README.md", "README.zh.md", "docs/guides/python.md"])
def test_the_first_lines(page, script_file):
    code = next(block for block in blocks_of(page) if "from openautoglm import AutoModel" in block)
    code = re.sub(r'from_pretrained\("[^"]*"\)', f'from_pretrained("scripted:{script_file}")', code)
    assert run(code).strip()


def test_the_guide_writes(scripted):
    code = next(block for block in blocks_of("docs/guides/python.md") if "model.stream(" in block)
    written = run(code.split("async for")[0], model=scripted)
    assert written == "Hello from the script."


def test_the_example_measures_and_draws(script_file, tmp_path):
    picture = tmp_path / "batches.svg"
    done = subprocess.run(
        [sys.executable, TREE / "examples" / "python_batches.py", "--model", f"scripted:{script_file}", "--batches", "1,2",
         "--tokens", "4", "--output", picture],
        capture_output=True, text=True, timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert xml.etree.ElementTree.parse(picture).getroot().tag.endswith("svg")


def test_the_guide_counts():
    code = next(block for block in blocks_of("docs/guides/python.md") if "model.logits(" in block)
    code = code.replace("all-minilm-l6-v2", str(GOLDEN / "encoders" / "bert_small"))
    with AutoModel.from_pretrained(GOLDEN / "tiny" / "qwen2") as model:
        names = {"model": model, "AutoModel": AutoModel}
        exec(compile(code, "page", "exec"), names)
    assert names["logits"].dtype == np.float32 and names["logits"].shape[0] == 3
    assert names["vectors"].shape[0] == 2
