# SPDX-License-Identifier: Apache-2.0
"""The figures of a side from the records of its tasks, and the page that shows both sides."""


def figures(records, wall_seconds, others_busy):
    """Sums over the tasks that were run; a task that printed no summary counts with what its turns said."""
    def total(name):
        return sum(record.summary.get(name, 0) for record in records)
    turns = [turn for record in records for turn in record.turns]
    prompt, cached, held, held_cached = (sum(column) for column in zip(*(record.reuse() for record in records)))
    generated = sum(turn["completion_tokens"] for turn in turns)
    return {"tasks": len(records), "passed": sum(record.is_passed for record in records),
            "turns": len(turns), "actions": sum(len(record.actions) for record in records),
            "invalid_calls": int(total("invalid_calls")),
            "calls_left_as_text": sum(record.written_calls() for record in records),
            "prompt_tokens": int(sum(turn["prompt_tokens"] for turn in turns)), "completion_tokens": int(generated),
            "tokens_per_second": ratio(generated, sum(turn["seconds"] for turn in turns)),
            "model_seconds": total("model_seconds"), "tool_seconds": total("tool_seconds"),
            "wall_seconds": wall_seconds,
            "tasks_per_minute": ratio(60 * len(records), wall_seconds),
            "cached_of_prompt": ratio(cached, prompt), "cached_of_previous": ratio(held_cached, held),
            "others_busy": others_busy}


def ratio(part, whole):
    return part / whole if whole else 0.0


ROWS = (("tasks passed", lambda f: f"**{f['passed']} of {f['tasks']} ({ratio(f['passed'], f['tasks']):.0%})**"),
        ("tasks a minute", lambda f: f"{f['tasks_per_minute']:.1f}"),
        ("turns", lambda f: f"{f['turns']}"), ("actions", lambda f: f"{f['actions']}"),
        ("invalid calls", lambda f: f"{f['invalid_calls']}"), ("calls left as text", lambda f: f"{f['calls_left_as_text']}"),
        ("prompt tokens", lambda f: f"{f['prompt_tokens']}"), ("generated tokens", lambda f: f"{f['completion_tokens']}"),
        ("generated tokens a second of model time", lambda f: f"{f['tokens_per_second']:.1f}"),
        ("seconds in the model", lambda f: f"{f['model_seconds']:.1f}"),
        ("seconds in tools", lambda f: f"{f['tool_seconds']:.1f}"),
        ("from the second turn on: share of the prompt from the cache", lambda f: f"{f['cached_of_prompt']:.1%}"),
        ("... of what the turn before had as its prompt", lambda f: f"{f['cached_of_previous']:.1%}"),
        ("processors' time used by others", lambda f: f"{f['others_busy']:.0%}"))


def as_markdown(report):
    sides = list(report["sides"])
    lines = [f"# Agent tasks, {report['date']}", "", f"- machine: {report['machine']}; {report['threads']} threads",
             f"- model: {report['model']}; {report['jobs']} task(s) at a time"]
    lines += [f"- {side}: {report['sides'][side]['version']}" for side in sides]
    lines += [f"- command: `{report['command']}`", ""]
    lines += table(["", *sides], [[name, *(show(report["sides"][s]["figures"]) for s in sides)] for name, show in ROWS])
    lines += ["", "Passed, by kind:", ""]
    kinds = list(dict.fromkeys(t["kind"] for side in sides for t in report["sides"][side]["tasks"]))
    lines += table(["kind", *sides], [[kind, *(of_kind(report["sides"][s]["tasks"], kind) for s in sides)] for kind in kinds])
    lines += ["", "Why tasks failed:", ""]
    failures = sorted({t["failure"] for s in sides for t in report["sides"][s]["tasks"]} - {""})
    lines += table(["", *sides], [[failure, *(str(sum(t["failure"] == failure for t in report["sides"][s]["tasks"]))
                                              for s in sides)] for failure in failures])
    lines += ["", "By task:", ""]
    by_name = {s: {t["task"]: t for t in report["sides"][s]["tasks"]} for s in sides}
    names = list(dict.fromkeys(name for s in sides for name in by_name[s]))
    lines += table(["task", *sides], [[name, *(verdict(by_name[s].get(name)) for s in sides)] for name in names])
    return "\n".join(lines) + "\n"


def table(head, rows):
    return ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]]


def of_kind(tasks, kind):
    own = [task for task in tasks if task["kind"] == kind]
    return f"{sum(task['passed'] for task in own)} of {len(own)}"


def verdict(task):
    if task is None:
        return "not run"
    if task["passed"]:
        return "passed"
    reason = task["misses"][0].replace("|", "/").replace("\n", " ")
    return f"{task['failure']}: {reason[:100]}"
