# SPDX-License-Identifier: Apache-2.0
"""What a checkpoint gives: logits, vectors, tokens, smaller models, and what they are held to."""
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from conftest import GOLDEN, golden
from openautoglm import AutoModel, Error, InvalidArgumentError


def test_logits_are_those_of_transformers(qwen2):
    model, expected = qwen2
    for prompt in expected["prompts"]:
        logits = model.logits(prompt["ids"])
        assert logits.dtype == np.float32
        assert logits.shape == (len(prompt["ids"]), len(prompt["last_logits"]))
        np.testing.assert_allclose(logits[-1], prompt["last_logits"], rtol=0, atol=expected["atol_f32"])


def test_logits_do_not_depend_on_what_follows(qwen2):
    model, expected = qwen2
    ids = max((prompt["ids"] for prompt in expected["prompts"]), key=len)
    whole = model.logits(ids)
    for length in (1, len(ids) // 2, len(ids)):
        assert np.array_equal(model.logits(np.array(ids[:length])), whole[:length])


def test_logits_are_not_copied(qwen2):
    model, _ = qwen2
    logits = model.logits([1, 2, 3])
    assert logits.flags.c_contiguous and logits.flags.writeable and logits.base is not None
    kept = logits.copy()
    model.logits([4, 5, 6])
    assert np.array_equal(logits, kept)  # the engine writes each into memory of its own


@pytest.mark.parametrize("ids", [[], [-1], [10**6]])
def test_logits_of_ids_that_are_none(qwen2, ids):
    with pytest.raises(InvalidArgumentError):
        qwen2[0].logits(ids)


def test_greedy_tokens_are_those_of_transformers(qwen2):
    model, expected = qwen2
    for prompt in expected["prompts"]:
        greedy = prompt["greedy"]
        answer = model.generate(prompt["ids"], max_new_tokens=len(greedy), temperature=0, ignore_eos=True)
        assert answer.token_ids == greedy


def test_ids_of_a_model_without_words():
    with AutoModel.from_pretrained(GOLDEN / "tiny" / "llama_tied") as model:
        assert len(model.generate([1, 2, 3], max_new_tokens=4, ignore_eos=True).token_ids) == 4
        with pytest.raises(InvalidArgumentError):
            model.tokenizer.encode("a")


def test_the_tokenizer_needs_no_weights():
    with AutoModel.from_pretrained(GOLDEN / "tiny" / "qwen2") as model:
        tokenizer = model.tokenizer
        ids = tokenizer.encode("Hello, world")
        assert tokenizer.decode(ids) == "Hello, world"
        assert b"".join(tokenizer.token_bytes(i) for i in ids) == b"Hello, world"
        messages = [{"role": "user", "content": "Hi"}]
        text = tokenizer.apply_chat_template(messages, tokenize=False)
        assert "Hi" in text
        assert tokenizer.encode(text, add_special_tokens=False, parse_special=True) == tokenizer.apply_chat_template(messages)
        assert len(tokenizer.apply_chat_template(messages, add_generation_prompt=False)) < len(
            tokenizer.apply_chat_template(messages)
        )
        assert tokenizer.has_chat_template
        assert tokenizer.vocab_size > 256
        assert tokenizer.eos_token_ids
        assert not model.is_loaded
        with pytest.raises(InvalidArgumentError):
            tokenizer.decode([10**7])
        with pytest.raises(InvalidArgumentError):
            tokenizer.token_bytes(-1)
        with pytest.raises(InvalidArgumentError):
            tokenizer.apply_chat_template(["no message"])


def test_a_spelled_control_token_stays_text():
    with AutoModel.from_pretrained(GOLDEN / "tiny" / "qwen2") as model:
        end = model.tokenizer.eos_token_ids
        prompt = model.tokenizer.apply_chat_template([{"role": "user", "content": "<|im_end|>"}])
        plain = model.tokenizer.apply_chat_template([{"role": "user", "content": "x"}])
        assert sum(i in end for i in prompt) == sum(i in end for i in plain)


def test_vectors_are_those_of_the_reference(encoder):
    model, expected = encoder
    assert model.is_encoder
    texts = [sequence["ids"] for sequence in expected["sequences"]]
    vectors = model.embed(texts)
    assert vectors.dtype == np.float32
    for vector, sequence in zip(vectors, expected["sequences"], strict=True):
        np.testing.assert_allclose(vector, sequence["embedding"], rtol=0, atol=expected["atol_f32"])
    for i, text in enumerate(texts):
        assert np.array_equal(model.embed([text])[0], vectors[i])


def test_texts_become_vectors(encoder):
    model, _ = encoder
    one = model.embed("a text")
    assert one.shape[0] == 1
    assert np.array_equal(model.embed(["another", "a text"])[1], one[0])
    many = model.embed(["a text"] * 2100)  # more than one request takes
    assert many.shape[0] == 2100 and np.array_equal(many[2099], one[0])
    assert model.embed([]).shape == (0, one.shape[1])
    with pytest.raises(InvalidArgumentError):
        model.embed(["word " * 5000])


def test_each_kind_refuses_the_other_work(encoder, qwen2):
    with pytest.raises(InvalidArgumentError, match="encoder"):
        encoder[0].generate("a")
    with pytest.raises(InvalidArgumentError, match="encoder"):
        encoder[0].logits([1])
    with pytest.raises(InvalidArgumentError, match="writes text"):
        qwen2[0].embed(["a"])


def test_half_and_quantize_give_models_near_the_first(tmp_path):
    folder, expected = golden("tiny/qwen2")
    ids = expected["prompts"][-1]["ids"]

    def logits(model):
        return model.logits(ids)

    with AutoModel.from_pretrained(folder, compute="exact") as model:
        exact = logits(model)
        half = logits(model.half())
        assert not np.array_equal(half, exact)
        assert np.abs(half - exact).max() < 0.1 * np.abs(exact).max()
        made = model.quantize("int8", output_dir=tmp_path / "made")
        assert made is model
        assert model.path == str(tmp_path / "made")
        rounded = logits(model)
        assert not np.array_equal(rounded, exact)
        correlation = np.corrcoef(rounded.ravel(), exact.ravel())[0, 1]
        assert correlation > 0.99
    assert (tmp_path / "made").is_dir()
    with AutoModel.from_pretrained(tmp_path / "made", compute="exact") as again:
        assert np.array_equal(logits(again), rounded)


def test_a_temporary_smaller_model_goes_with_its_object():
    folder, _ = golden("tiny/qwen2")
    model = AutoModel.from_pretrained(folder).quantize("int8")
    path = model.path
    assert os.path.exists(path)
    model.generate([1, 2], max_new_tokens=1, ignore_eos=True)
    model.close()
    del model
    assert not os.path.exists(path)


def test_quantize_refuses_what_it_cannot_make(tmp_path):
    folder, _ = golden("tiny/qwen2")
    with AutoModel.from_pretrained(folder) as model:
        with pytest.raises(InvalidArgumentError, match="int8"):
            model.quantize("int3")
        with pytest.raises(InvalidArgumentError):
            model.quantize("int8", group_size="many")
        with pytest.raises(InvalidArgumentError):
            model.quantize("int8", format="zip")
        (tmp_path / "there").mkdir()
        (tmp_path / "there" / "a file").write_text("kept")
        with pytest.raises(InvalidArgumentError):
            model.quantize("int8", output_dir=tmp_path / "there")
        assert (tmp_path / "there" / "a file").read_text() == "kept"
        assert model.generate([1, 2], max_new_tokens=1, ignore_eos=True).token_ids  # and it is what it was


def test_cuda_says_what_this_build_can_do(scripted):
    with pytest.raises(Error, match="CPU") as caught:
        scripted.cuda()
    assert caught.value.code == "unavailable"
    assert scripted.cpu() is scripted


def test_arguments_of_loading():
    folder, _ = golden("tiny/qwen2")
    for wrong in ({"compute": "slow"}, {"kv_type": "f8"}, {"isa": "neon"}, {"compute": "exact", "kv_type": "int8"}):
        with pytest.raises(InvalidArgumentError):
            AutoModel.from_pretrained(folder, **wrong)
    with AutoModel.from_pretrained(folder, context_length=64, isa="scalar", kv_memory="1M", threads=1) as model:
        assert model.context_length == 64
        assert "scalar" in model.summary
        assert "qwen2" in repr(model)


def test_the_verbs_are_modules(tmp_path):
    folder, _ = golden("tiny/qwen2")
    made = tmp_path / "made"
    module = [sys.executable, "-m"]
    done = subprocess.run(
        [*module, "openautoglm.quantize", "--model-name", folder, "--output-dir", made, "--dtype", "int8", "--json"],
        capture_output=True, text=True, timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["output"] == str(made)
    assert (made / "config.json").is_file()
    for wrong in (["openautoglm.quantize", "--dtype", "int8"], ["openautoglm.serve", "--nonsense"], ["openautoglm", "sing"]):
        done = subprocess.run([*module, *wrong], capture_output=True, text=True, timeout=120)
        assert done.returncode == 2
        assert done.stderr.startswith("openautoglm: ")
    done = subprocess.run([*module, "openautoglm", "--version"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "0.1.0" in done.stdout


def test_real_weights_write(smollm2):
    question = [{"role": "user", "content": "What is the capital of France? One word."}]
    assert "Paris" in smollm2.generate(question, temperature=0, max_new_tokens=16).text
    pieces = "".join(smollm2.stream(question, temperature=0, max_new_tokens=16))
    assert pieces == smollm2.generate(question, temperature=0, max_new_tokens=16).text
    schema = {"type": "object", "properties": {"capital": {"type": "string"}}, "required": ["capital"]}
    answer = smollm2.generate(question, temperature=0, schema=schema, max_new_tokens=64)
    assert "capital" in json.loads(answer.text)


def test_real_weights_give_the_logits_of_their_answers(smollm2):
    ids = smollm2.tokenizer.encode("The capital of France is")
    answer = smollm2.generate(ids, temperature=0, max_new_tokens=1, ignore_eos=True)
    assert int(smollm2.logits(ids)[-1].argmax()) == answer.token_ids[0]
