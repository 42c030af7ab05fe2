# SPDX-License-Identifier: Apache-2.0
"""The engines that bench/compare holds against each other. Each side does one round of all the work on one model and gives
the figures by the name of their row; a figure that it cannot give is left out."""
import json
import os
import pathlib
import re
import subprocess
import sys

import server_load

# Rows of which less is better.
SMALL_IS_GOOD = ("longest", "first token", "at rest")


def plan_of(options):
    """What a round measures, for every side the same."""
    return {"threads": options.threads, "prefill": options.prefill, "decode": options.decode, "streams": options.streams,
            "stream_depth": options.client_prompt, "stream_steps": options.client_answer, "depth": options.depth,
            "depth_steps": options.depth_steps, "clients": options.clients, "client_prompt": options.client_prompt,
            "client_answer": options.client_answer}


def explain(plan):
    """Every row that a round may have, in order: its name and what it is, in words and units."""
    load = f"{plan['clients']} clients, {plan['client_prompt']} in, {plan['client_answer']} out"
    rows = {f"prefill {tokens}": f"prefill {tokens}, tokens/s" for tokens in plan["prefill"]}
    rows["decode"] = f"decode {plan['decode']}, tokens/s"
    rows |= {f"decode x{count}": f"decode {plan['stream_steps']}, {count} streams of {plan['stream_depth']}, tokens/s"
             for count in plan["streams"]}
    rows[f"decode after {plan['depth']}"] = f"decode {plan['depth_steps']} after {plan['depth']}, tokens/s"
    return rows | {"served": f"served, {load}, tokens/s", "longest": f"longest answer, {load}, s",
                   "first token": "start to first token, s", "at rest": "memory at rest, MB"}


def run(command, timeout, may_fail=False):
    """What it prints; None when it fails and may."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout, check=False)
    if done.returncode == 0:
        return done.stdout
    said = f"{' '.join(map(str, command))}\nfailed with {done.returncode}:\n{done.stderr[-2000:]}"
    if not may_fail:
        sys.exit(said)
    print(said, file=sys.stderr)
    return None


def served(command, plan, timeout):
    try:
        return server_load.measure(command, plan["clients"], plan["client_prompt"], plan["client_answer"], timeout)
    except RuntimeError as error:
        sys.exit(str(error))


class Ours:
    name = "ours"

    def __init__(self, program):
        self.program, self.facts, self.limits = program, {}, {}

    def round(self, model, plan, timeout):
        figures = {}

        def bench(prefill, decode, row, streams=(1,), depth=0):
            """`row` names the row of decoding with so many streams."""
            self.facts = json.loads(run(
                [self.program, "bench", "--model", model, "--prefill", str(prefill), "--decode", str(decode), "--batch",
                 ",".join(map(str, streams)), "--depth", str(depth), "--threads", str(plan["threads"]), "--rounds", "1", "--json"],
                timeout))
            for result in self.facts["results"]:
                name = f"prefill {prefill}" if result["kind"] == "prefill" else row(result["batch"])
                figures[name] = result["tokens_per_second"]
                self.limits[name] = result.get("limit_tokens_per_second", 0)

        bench(plan["prefill"][0], plan["decode"], lambda _: "decode")
        for tokens in plan["prefill"][1:]:
            bench(tokens, 0, lambda _: "decode")
        if plan["streams"]:
            bench(0, plan["stream_steps"], lambda count: f"decode x{count}", plan["streams"], plan["stream_depth"])
        if plan["depth"]:
            bench(0, plan["depth_steps"], lambda _: f"decode after {plan['depth']}", depth=plan["depth"])
        if plan["clients"]:
            figures |= served([self.program, "serve", "--model", model, "--port", "0", "--threads", str(plan["threads"]),
                               "--max-batch-size", str(plan["clients"])], plan, timeout)
        return figures


class LlamaCpp:
    """llama.cpp, or whatever has the same programs. llama-batched-bench and llama-server lie beside llama-bench."""

    def __init__(self, name, llama_bench, llama_server=None, arguments=()):
        folder = pathlib.Path(llama_bench).resolve().parent
        self.name, self.bench, self.arguments = name, llama_bench, list(arguments)
        self.server = llama_server or str(folder / "llama-server")
        self.batched = str(folder / "llama-batched-bench")
        self.facts = {}

    def round(self, model, plan, timeout):
        common = ["-m", model, "-t", str(plan["threads"]), "-r", "1", "-o", "json", *self.arguments]
        tests = json.loads(run([self.bench, *common, "-p", ",".join(map(str, plan["prefill"])), "-n", str(plan["decode"])], timeout))
        self.facts = tests[0]
        figures = {f"prefill {test['n_prompt']}" if test["n_prompt"] else "decode": test["avg_ts"] for test in tests}
        if plan["depth"]:
            deep = run([self.bench, *common, "-p", "0", "-n", str(plan["depth_steps"]), "-d", str(plan["depth"])], timeout, may_fail=True)
            if deep:
                figures[f"decode after {plan['depth']}"] = json.loads(deep)[0]["avg_ts"]
        if plan["streams"] and os.path.exists(self.batched):
            figures |= self._streams(model, plan, timeout)
        if plan["clients"]:
            context = plan["clients"] * (plan["client_prompt"] + plan["client_answer"] + 64)
            figures |= served([self.server, "--model", model, "--host", "127.0.0.1", "--port", "0", "--threads",
                               str(plan["threads"]), "--parallel", str(plan["clients"]), "--ctx-size", str(context), *self.arguments],
                              plan, timeout)
        return figures

    def _streams(self, model, plan, timeout):
        context = max(plan["streams"]) * (plan["stream_depth"] + plan["stream_steps"])
        out = run([self.batched, "-m", model, "-t", str(plan["threads"]), "-c", str(context), "-npp", str(plan["stream_depth"]),
                   "-ntg", str(plan["stream_steps"]), "-npl", ",".join(map(str, plan["streams"])), "--output-format", "jsonl",
                   *self.arguments], timeout, may_fail=True)
        lines = [json.loads(line) for line in (out or "").splitlines() if line.startswith("{")]
        return {f"decode x{line['pl']}": line["speed_tg"] for line in lines}

    def describe(self, plan):
        """The version and the system_info line, which it prints before it finds that there is no such model."""
        version = (f"build {self.facts.get('build_number')}, commit {self.facts.get('build_commit')}, "
                   f"{self.facts.get('backends', 'CPU')} backend")
        features = "not known (no llama-server)"
        if os.path.exists(self.server):
            try:
                done = subprocess.run([self.server, "-m", "/nonexistent.gguf", "-lv", "5", "-t", str(plan["threads"]), "--port", "0"],
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30, check=False)
                line = re.search(r"system_info:\s*(.*)", done.stdout)
                features = f"`{line.group(1).strip(' |')}`" if line else "not known (llama-server printed no system_info)"
            except subprocess.TimeoutExpired:
                features = "not known (llama-server did not stop)"
        return f"{version}; its features: {features}"


class InProcess:
    """A Python library, run by an interpreter that has it, on its own form of each model."""

    def __init__(self, name, python, models):
        self.name, self.python, self.models, self.version = name, python, models, "?"

    def round(self, model, plan, timeout):
        script = str(pathlib.Path(__file__).resolve().parent / "in_process_peer.py")
        out = run([self.python, script, self.name, self.models[model], json.dumps(plan)], timeout)
        found = json.loads(out.splitlines()[-1])
        self.version = found["version"]
        return found["figures"]

    def describe(self, plan):
        del plan
        return f"version {self.version}, in process and without HTTP; its models: {', '.join(pathlib.Path(m).name for m in self.models.values())}"
