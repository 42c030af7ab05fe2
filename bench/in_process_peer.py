#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A peer that is a Python library, for bench/compare: run by an interpreter that has the library. Measures the same work
as the others without HTTP and prints one line of JSON.

  PYTHON in_process_peer.py openvino|vllm MODEL_FOLDER PLAN    (PLAN: the JSON that bench/compare gives)

Each library is a function that answers prompts, and returns the seconds from the first token to the last or None where it
does not know them."""
import json
import os
import sys
import time

import machine
import server_load


def openvino(model, plan):
    """Prompts are split into steps of 256 tokens unless told otherwise, which costs a long prompt a good part of its speed."""
    import numpy
    import openvino as runtime
    import openvino_genai
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.enable_prefix_caching = False
    scheduler.max_num_seqs = most_sequences(plan)
    scheduler.max_num_batched_tokens = 4096
    pipeline = openvino_genai.LLMPipeline(model, "CPU", scheduler_config=scheduler, INFERENCE_NUM_THREADS=plan["threads"])

    def generate(prompts, new_tokens):
        ids = numpy.array(prompts, dtype=numpy.int64)
        inputs = openvino_genai.TokenizedInputs(runtime.Tensor(ids), runtime.Tensor(numpy.ones_like(ids)))
        answer = pipeline.generate(inputs, openvino_genai.GenerationConfig(max_new_tokens=new_tokens, ignore_eos=True, do_sample=False))
        times = answer.perf_metrics
        return (times.get_generate_duration().mean - times.get_ttft().mean) / 1e3 if len(prompts) == 1 else None
    can = runtime.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return generate, {"version": getattr(openvino_genai, "__version__", "?"), "features": " ".join(can)}


def vllm(model, plan):
    """In one process: a second one would take time from the two or three cores that compute."""
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", f"0-{plan['threads'] - 1}")
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    import torch
    import vllm as library
    engine = library.LLM(model, dtype="bfloat16", enable_prefix_caching=False, skip_tokenizer_init=True,
                         max_num_seqs=most_sequences(plan), disable_log_stats=False)  # else no answer says when its tokens came

    def generate(prompts, new_tokens):
        sampling = library.SamplingParams(max_tokens=new_tokens, ignore_eos=True, temperature=0, detokenize=False)
        answers = engine.generate([{"prompt_token_ids": prompt} for prompt in prompts], sampling, use_tqdm=False)
        times = answers[0].metrics
        return times.last_token_ts - times.first_token_ts if times and len(prompts) == 1 else None
    return generate, {"version": getattr(library, "__version__", "?"), "features": torch.backends.cpu.get_cpu_capability()}


def most_sequences(plan):
    return max([1, plan["clients"], *plan["streams"]])


def seconds_of(generate, prompts, new_tokens):
    began = time.monotonic()
    generate(prompts, new_tokens)
    return time.monotonic() - began


def warm_seconds_of(generate, prompts, new_tokens):
    """Of the second time: libraries prepare kernels when they first meet a shape."""
    generate(prompts, new_tokens)
    return seconds_of(generate, prompts, new_tokens)


def decode_rate(generate, prompts, new_tokens):
    """Tokens a second of all together after the first token of each. Of one prompt a library says itself how long that took;
    of many it is what `new_tokens` take more than one token, because chunks of prompts and first tokens mix."""
    generate(prompts, 1)
    began = time.monotonic()
    seconds = generate(prompts, new_tokens + 1)
    if seconds is None:
        seconds = time.monotonic() - began - seconds_of(generate, prompts, 1)
    return len(prompts) * new_tokens / max(seconds, 1e-9)


def measure(generate, plan):
    prompts = server_load.prompts_of
    figures = {}
    for tokens in plan["prefill"]:
        figures[f"prefill {tokens}"] = tokens / warm_seconds_of(generate, prompts(1, tokens), 1)
    figures["decode"] = decode_rate(generate, prompts(1, 1), plan["decode"])
    for count in plan["streams"]:
        figures[f"decode x{count}"] = decode_rate(generate, prompts(count, plan["stream_depth"]), plan["stream_steps"])
    if plan["depth"]:
        figures[f"decode after {plan['depth']}"] = decode_rate(generate, prompts(1, plan["depth"]), plan["depth_steps"])
    if plan["clients"]:
        figures["longest"] = seconds_of(generate, prompts(plan["clients"], plan["client_prompt"]), plan["client_answer"])
        figures["served"] = plan["clients"] * plan["client_answer"] / figures["longest"]
    return figures


def main():
    engine, model, plan = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    generate, facts = {"openvino": openvino, "vllm": vllm}[engine](model, plan)
    generate(server_load.prompts_of(1, 4), 1)
    first = {"first token": time.monotonic() - plan["began"], "at rest": machine.resident_bytes(os.getpid()) / 1e6} if plan["clients"] else {}
    generate(server_load.prompts_of(1, 64), 8)  # once, not measured
    print(json.dumps({"facts": facts, "figures": {**measure(generate, plan), **first}}))


if __name__ == "__main__":
    main()
