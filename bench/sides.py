# SPDX-License-Identifier: Apache-2.0
"""The engines that bench/compare holds against each other. Each side does one round of all the work on one model and gives
the figures by the name of their row; a figure that it cannot give is left out."""
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import time

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


def said(command):
    """All that a program prints which ends at once, well or not; nothing when it does not end."""
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30, check=False).stdout
    except subprocess.TimeoutExpired:
        return ""


def run(command, timeout, may_fail=False, both=False, folder=None):
    """What it prints, with `both` also to standard error; None when it fails and may."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout, check=False, cwd=folder)
    if done.returncode == 0:
        return done.stdout + (done.stderr if both else "")
    said = f"{' '.join(map(str, command))}\nfailed with {done.returncode}:\n{done.stderr[-2000:]}"
    if not may_fail:
        sys.exit(said)
    print(said, file=sys.stderr)
    return None


def served(command, plan, timeout, port=0):
    """`port`: where it listens, of a program that does not say so itself."""
    try:
        return server_load.measure(command, plan["clients"], plan["client_prompt"], plan["client_answer"], timeout, port)
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
    """llama.cpp, or a fork of it. llama-batched-bench and llama-server lie beside llama-bench."""

    PROGRAMS = ("bench", "batched", "server")

    def __init__(self, name, llama_bench, llama_server=None):
        folder = pathlib.Path(llama_bench).resolve().parent
        self.name, self.bench = name, llama_bench
        self.server = llama_server or str(folder / "llama-server")
        self.batched = str(folder / "llama-batched-bench")
        self.facts, self.arguments = {}, {program: [] for program in self.PROGRAMS}

    def add(self, programs, words):
        """More words for these of its programs; a fork's programs spell one setting differently."""
        for program in programs:
            self.arguments[program] += shlex.split(words)

    def round(self, model, plan, timeout):
        common = ["-m", model, "-t", str(plan["threads"]), "-r", "1", "-o", "json", *self.arguments["bench"]]
        tests = json.loads(run([self.bench, *common, "-p", ",".join(map(str, plan["prefill"])), "-n", str(plan["decode"])], timeout))
        self.facts = tests[0]
        figures = {f"prefill {test['n_prompt']}" if test["n_prompt"] else "decode": last_sample(test) for test in tests}
        behind = self._behind(plan) if plan["depth"] else None
        if behind:
            deep = run([self.bench, *common, "-p", "0", *behind], timeout, may_fail=True)
            if deep:
                figures[f"decode after {plan['depth']}"] = last_sample(json.loads(deep)[0])
        if plan["streams"] and os.path.exists(self.batched):
            figures |= self._streams(model, plan, timeout)
        if plan["clients"]:
            context = plan["clients"] * (plan["client_prompt"] + plan["client_answer"] + 64)
            port = server_load.free_port()  # forks do not say which one they took
            figures |= served([self.server, "--model", model, "--host", "127.0.0.1", "--port", str(port), "--threads",
                               str(plan["threads"]), "--parallel", str(plan["clients"]), "--ctx-size", str(context),
                               *self.arguments["server"]], plan, timeout, port)
        return figures

    def _behind(self, plan):
        """How its llama-bench is asked to decode behind a context; None when it cannot."""
        known = said([self.bench, "--help"])
        if "--n-depth" in known:
            return ["-n", str(plan["depth_steps"]), "-d", str(plan["depth"])]
        if "-gp <pp,tg>" in known:
            return ["-n", "0", "-gp", f"{plan['depth']},{plan['depth_steps']}"]
        return None

    def _streams(self, model, plan, timeout):
        """Lines of JSON, or of a table where a fork knows no other output."""
        context = max(plan["streams"]) * (plan["stream_depth"] + plan["stream_steps"])
        with tempfile.TemporaryDirectory() as folder:  # a fork leaves a log where it stands
            out = run([self.batched, "-m", os.path.abspath(model), "-t", str(plan["threads"]), "-c", str(context), "-npp",
                       str(plan["stream_depth"]), "-ntg", str(plan["stream_steps"]), "-npl", ",".join(map(str, plan["streams"])),
                       "--output-format", "jsonl", *self.arguments["batched"]], timeout, may_fail=True, both=True, folder=folder)
        return {f"decode x{streams}": rate for streams, rate in batched_rates(out or "")}

    def describe(self, plan):
        """The version and the line of system info, which it prints before it finds that there is no such model."""
        version = (f"build {self.facts.get('build_number')}, commit {self.facts.get('build_commit')}, "
                   f"{self.facts.get('backends', 'CPU')} backend")
        features = "not known (no llama-server)"
        if os.path.exists(self.server):
            command = [self.server, "-m", "/nonexistent.gguf", "-t", str(plan["threads"]), "--port", str(server_load.free_port())]
            lines = (re.search(r'system_info(?:: *|=")([^"\n]*)', said(command + more)) for more in (["-lv", "5"], []))
            line = next(filter(None, lines), None)
            features = f"`{line.group(1).strip(' |')}`" if line else "not known (llama-server printed no system_info)"
        given = "".join(f"; {program}: `{shlex.join(words)}`" for program, words in self.arguments.items() if words)
        return f"{version}; its features: {features}{given}"


def last_sample(test):
    """Tokens a second of the last repetition. There is one but for a fork whose warm-up is a single token: it gets two."""
    return test["samples_ts"][-1]


def batched_rates(out):
    """Streams and tokens a second of all together, by line of llama-batched-bench."""
    for line in out.splitlines():
        cells = line.strip(" |").split("|")
        if line.startswith("{"):
            found = json.loads(line)
            yield found["pl"], found["speed_tg"]
        elif len(cells) == 10 and cells[2].strip().isdigit():  # PP TG B N_KV T_PP S_PP T_TG S_TG T S
            yield int(cells[2]), float(cells[7])


class InProcess:
    """A Python library, run by an interpreter that has it, on its own form of each model; of some it may have none."""

    def __init__(self, name, python, models):
        self.name, self.python, self.models, self.facts = name, python, models, {}

    def round(self, model, plan, timeout):
        if model not in self.models:
            return {}
        script = str(pathlib.Path(__file__).resolve().parent / "in_process_peer.py")
        out = run([self.python, script, self.name, self.models[model], json.dumps(plan | {"began": time.monotonic()})], timeout)
        found = json.loads(out.splitlines()[-1])
        self.facts = found["facts"]
        return found["figures"]

    def describe(self, plan):
        del plan
        names = ", ".join(pathlib.Path(model).name for model in self.models.values())
        return (f"version {self.facts.get('version', '?')}, in process and without HTTP; its models: {names}; "
                f"its features: `{self.facts.get('features', '?')}`")
