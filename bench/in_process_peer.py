#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A peer that is a Python library, for bench/compare: run by an interpreter that has the library. Measures the same work
as the others without HTTP and prints one line of JSON.

  PYTHON in_process_peer.py openvino|vllm MODEL_FOLDER PLAN    (PLAN: the JSON that bench/compare gives)"""
import json
import os
import sys
import time

import machine
import server_load


def openvino(model, plan):
    import numpy
    import openvino as runtime
    import openvino_genai
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.enable_prefix_caching = False
    scheduler.max_num_seqs = max([1, plan["clients"], *plan["streams"]])
    pipeline = openvino_genai.LLMPipeline(model, "CPU", scheduler_config=scheduler, INFERENCE_NUM_THREADS=plan["threads"])

    def generate(prompts, new_tokens):
        ids = numpy.array(prompts, dtype=numpy.int64)
        inputs = openvino_genai.TokenizedInputs(runtime.Tensor(ids), runtime.Tensor(numpy.ones_like(ids)))
        pipeline.generate(inputs, openvino_genai.GenerationConfig(max_new_tokens=new_tokens, ignore_eos=True, do_sample=False))
    return generate, getattr(openvino_genai, "__version__", "?")


def vllm(model, plan):
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", f"0-{plan['threads'] - 1}")
    import vllm as library
    engine = library.LLM(model, dtype="bfloat16", enable_prefix_caching=False,
                         max_num_seqs=max([1, plan["clients"], *plan["streams"]]))

    def generate(prompts, new_tokens):
        sampling = library.SamplingParams(max_tokens=new_tokens, ignore_eos=True, temperature=0)
        engine.generate([{"prompt_token_ids": prompt} for prompt in prompts], sampling, use_tqdm=False)
    return generate, getattr(library, "__version__", "?")


def seconds_of(generate, prompts, new_tokens):
    began = time.monotonic()
    generate(prompts, new_tokens)
    return time.monotonic() - began


def decode_rate(generate, prompts, new_tokens):
    """Tokens a second of all together, without the prompt: what `new_tokens` take more than one token."""
    first = seconds_of(generate, prompts, 1)
    return len(prompts) * new_tokens / max(seconds_of(generate, prompts, new_tokens + 1) - first, 1e-9)


def measure(generate, plan):
    prompts = server_load.prompts_of
    figures = {}
    for tokens in plan["prefill"]:
        figures[f"prefill {tokens}"] = tokens / seconds_of(generate, prompts(1, tokens), 1)
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
    began = time.monotonic()
    engine, model, plan = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    generate, version = {"openvino": openvino, "vllm": vllm}[engine](model, plan)
    generate(server_load.prompts_of(1, 4), 1)
    first = {"first token": time.monotonic() - began, "at rest": machine.resident_bytes(os.getpid()) / 1e6} if plan["clients"] else {}
    generate(server_load.prompts_of(1, 64), 8)  # once, not measured
    print(json.dumps({"version": version, "figures": {**measure(generate, plan), **first}}))


if __name__ == "__main__":
    main()
