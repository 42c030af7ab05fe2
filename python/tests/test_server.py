# SPDX-License-Identifier: Apache-2.0
"""The server in this process, and as a process of its own."""
import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import numpy as np
import pytest

from openautoglm import Error


def post(url, body, key=None):
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def chat(text):
    return {"model": "scripted", "messages": [{"role": "user", "content": text}]}


def test_the_server_and_this_process_share_an_engine(scripted):
    with scripted.serve() as server:
        assert server.port > 0
        answer = post(f"{server.base_url}/chat/completions", chat("Why is the sky blue?"))
        assert answer["choices"][0]["message"]["content"] == "Because of Rayleigh scattering."
        assert scripted.generate("greet").text == "Grüße, 世界! 👋"
        port = server.port
    with pytest.raises(urllib.error.URLError):
        post(f"http://127.0.0.1:{port}/v1/chat/completions", chat("a"))
    assert scripted.generate("greet").text == "Grüße, 世界! 👋"


def test_an_encoder_is_served(encoder):
    model, _ = encoder
    with model.serve() as server:
        answer = post(f"{server.base_url}/embeddings", {"model": model.name, "input": "a text"})
    assert np.allclose(answer["data"][0]["embedding"], model.embed("a text")[0], rtol=0, atol=1e-6)


def test_a_harness_scores_continuations(qwen2):
    """As lm-evaluation-harness asks (its adapter local-completions): echo, logprobs, and one token behind the text."""
    model, expected = qwen2
    end = model.tokenizer.eos_token_ids[0]
    ids = max((prompt["ids"] for prompt in expected["prompts"]), key=len)[:30]
    context = 20
    logits = model.logits(ids).astype(np.float64)
    logprobs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    score = sum(logprobs[i - 1, ids[i]] for i in range(context, len(ids)))
    asked = {"model": model.name, "prompt": [ids], "temperature": 0, "max_tokens": 1, "logprobs": 1, "seed": 1234, "echo": True}
    with model.serve() as server:
        for more in ({}, {"logit_bias": {str(end): 100}}):  # also where the answer ends at once
            (choice,) = post(f"{server.base_url}/completions", asked | more)["choices"]
            scored = choice["logprobs"]["token_logprobs"]
            assert len(scored) == len(ids) + 1
            assert abs(sum(scored[context:-1]) - score) < 1e-3
            assert len(choice["logprobs"]["top_logprobs"]) == len(scored)


def test_keys(scripted):
    with scripted.serve(api_keys=["secret-key-of-the-test"]) as server:
        url = f"{server.base_url}/chat/completions"
        with pytest.raises(urllib.error.HTTPError) as caught:
            post(url, chat("greet"))
        assert caught.value.code == 401
        assert post(url, chat("greet"), "secret-key-of-the-test")["choices"]


def test_what_cannot_be_served(scripted):
    with pytest.raises(Error) as caught:
        scripted.serve(host="0.0.0.0")
    assert caught.value.code == "permission_denied"
    with scripted.serve() as server, pytest.raises(Error) as caught:
        scripted.serve(port=server.port)
    assert caught.value.code == "unavailable"


def test_the_module_serves_until_a_signal(script_file):
    process = subprocess.Popen(
        [sys.executable, "-m", "openautoglm.serve", "--model", f"scripted:{script_file}", "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    try:
        url = next(line.split()[-1] for line in process.stdout if line.startswith("listening on "))
        assert post(f"{url}/v1/chat/completions", chat("greet"))["choices"][0]["message"]["content"] == "Grüße, 世界! 👋"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, errors
