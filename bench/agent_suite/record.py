# SPDX-License-Identifier: Apache-2.0
"""What became of one task on one side: read from the events that a run prints, one JSON object a line, judged by the
task's check. Both sides print the same events: `openautoglm task --json`, and peer_worker.py."""
import json
import re

# A call that nobody read as one: it stands in the text as JSON or in a template's tags.
WRITTEN_CALL = re.compile(r'<tool_call>|"name"\s*:\s*"[^"]*"\s*,\s*"(?:arguments|parameters)"\s*:')
SUMMARY_FIELDS = ("turns", "actions", "invalid_calls", "prompt_tokens", "cached_tokens", "completion_tokens", "seconds",
                  "model_seconds", "tool_seconds")


class Record:
    def __init__(self, task, side):
        self.task, self.side = task, side
        self.turns, self.actions, self.lines = [], [], []
        self.answer, self.summary = "", {}
        self.is_ended = False  # its last event has come
        self.trouble = None  # what kept the run from ending by itself
        self.wall_seconds = 0.0
        self.misses = []

    def add_line(self, line):
        """Takes in what the program printed. A line that is no event is trouble, not an exception."""
        self.lines.append(line)
        try:
            event = json.loads(line)
            kind = event["event"]
            if kind == "turn":
                self.turns.append({"reasoning": str(event.get("reasoning") or ""), "text": str(event.get("text") or ""),
                                   "calls": list(event.get("calls") or []), **{
                    name: float(event[name]) for name in ("prompt_tokens", "cached_tokens", "completion_tokens", "seconds")}})
            elif kind == "action":
                self.actions.append({name: event[name] for name in ("turn", "tool", "arguments", "state", "result")})
            elif kind == "answer":
                self.answer = str(event["text"])
            elif kind == "summary":
                self.is_ended = True
                self.summary = {"state": str(event["state"]), **{name: float(event[name]) for name in SUMMARY_FIELDS}}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.trouble = self.trouble or f"printed a line that is no event ({type(error).__name__}): {line[:200]!r}"

    def judge(self, folder):
        """Fills `misses`: why the task counts as failed, nothing when it passed."""
        if not self.trouble and not self.summary:
            self.trouble = "ended without a summary"
        misses = [self.trouble] if self.trouble else []
        if self.summary and self.summary["state"] != "done":
            misses.append(f"ended as {self.summary['state']}" + (f": {self.answer[:200]}" if self.answer else ""))
        if not self.done_actions():
            misses.append("no call succeeded")
        self.misses = misses + self.task.misses_in_answer(self.answer, folder) + self.task.misses_in_folder(folder)

    @property
    def is_passed(self):
        return not self.misses

    def done_actions(self):
        return sum(action["state"] == "done" for action in self.actions)

    def written_calls(self):
        """Texts of turns in which a call was left lying."""
        return sum(WRITTEN_CALL.search(turn["text"]) is not None for turn in self.turns)

    def failure(self):
        """One word for the kind of failure, the first that fits; nothing when the task passed."""
        if self.is_passed:
            return ""
        calls = sum(len(turn["calls"]) for turn in self.turns)
        invalid = self.summary.get("invalid_calls", 0) > 0
        rules = (("no end", bool(self.trouble)), ("limit", self.summary.get("state") == "limit"),
                 ("invalid call", invalid and self.summary.get("state") != "done"),
                 ("call left as text", self.written_calls() > 0), ("no call", calls == 0),
                 ("not done", self.summary.get("state") != "done"),
                 ("error ignored", self.actions and self.actions[-1]["state"] != "done"),
                 ("stopped early", self.done_actions() < self.task.steps),
                 ("wrong folder", bool(self.task.after) or not any("answer" in miss for miss in self.misses)))
        return next((name for name, fits in rules if fits), "wrong answer")

    def reuse(self):
        """From the second turn on, in tokens: (prompts, of these from the cache, prompts of the turns before, of these
        from the cache). A prompt may hold more of the cache than the turn before had as its prompt: what it answered."""
        later = list(zip(self.turns, self.turns[1:]))
        return (sum(turn["prompt_tokens"] for _, turn in later), sum(turn["cached_tokens"] for _, turn in later),
                sum(before["prompt_tokens"] for before, _ in later),
                sum(min(turn["cached_tokens"], before["prompt_tokens"]) for before, turn in later))

    def as_json(self):
        return {"task": self.task.id, "kind": self.task.kind, "steps": self.task.steps, "passed": self.is_passed,
                "failure": self.failure(), "misses": self.misses, "calls_left_as_text": self.written_calls(),
                "answer": self.answer, "wall_seconds": round(self.wall_seconds, 3), "summary": self.summary,
                "calls": [f"{action['tool']}: {action['state']}" for action in self.actions]}

    def as_text(self, prompt):
        """The transcript for people."""
        lines = [f"task    {self.task.id} ({self.task.kind}, {self.task.steps} steps), {self.side}", f"user    {prompt}", ""]
        for number, turn in enumerate(self.turns, 1):
            lines.append(f"-- turn {number}: {turn['prompt_tokens']:.0f} tokens in ({turn['cached_tokens']:.0f} cached), "
                         f"{turn['completion_tokens']:.0f} out, {turn['seconds']:.2f} s")
            lines += [f"{who:<8}{said}" for who, said in (("thinks", turn["reasoning"]), ("model", turn["text"])) if said]
            lines += [f"call    {json.dumps(call, ensure_ascii=False)}" for call in turn["calls"]]
            lines += [f"{action['state']:<8}{action['tool']} {json.dumps(action['arguments'], ensure_ascii=False)}\n"
                      f"        {str(action['result'])[:2000]}" for action in self.actions if action["turn"] == number]
        lines += ["-- answer", self.answer, "", "PASSED" if self.is_passed else f"FAILED ({self.failure()})", *self.misses]
        return "\n".join(lines) + "\n"
