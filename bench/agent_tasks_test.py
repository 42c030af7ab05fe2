# SPDX-License-Identifier: Apache-2.0
"""bench/agent_tasks against programs that only print what a run prints."""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from agent_suite import expectation, task  # noqa: E402

TASKS = """
[[task]]
id = "read"
steps = 1
prompt = "MODE {folder}/a.txt"
answer = ["k-77"]
[task.files]
"a.txt" = "k-77"

[[task]]
id = "write"
steps = 1
prompt = "MODE write {folder}/b.txt"
after = { "b.txt" = "hello" }
"""

# Says what the tests want it to, by the first word of the prompt.
OURS = """#!/usr/bin/env python3
import json, os, sys
if sys.argv[1] == "--version":
    print("openautoglm 0.1.0 (0123abc)")
    sys.exit(0)
assert sys.argv[1:3] == ["task", "--each"] and "--json" in sys.argv and sys.argv[sys.argv.index("--approve") + 1] == "all", sys.argv
configuration = json.load(open(sys.argv[sys.argv.index("--mcp-config") + 1]))["mcpServers"]
folder = configuration["files"]["args"][-1]
assert os.getcwd() == os.path.realpath(folder)
with open(os.path.join(folder, "../starts"), "a") as starts:
    starts.write("started\\n")

def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)

def turn(number, prompt, cached, calls, text=""):
    say("turn", turn=number, text=text, calls=calls, prompt_tokens=prompt, cached_tokens=cached, completion_tokens=20,
        seconds=0.5)

call = {"id": "call_1", "tool": "read_text_file", "arguments": {"path": "a.txt"}}
failed = 0

def run(prompt):
    mode = prompt.split()[0]
    say("run", run=1, session="s")
    if mode == "fenced":
        turn(1, 100, 0, [], '```json\\n{"name": "read_text_file", "arguments": {"path": "a.txt"}}\\n```')
    elif mode != "silent":
        turn(1, 100, 0, [call])
        say("action", step=1, turn=1, tool="read_text_file", arguments={"path": "a.txt"}, seconds=0.1,
            state="failed" if mode == "refused" else "done", result="k-77")
    if mode == "cut":
        print('{"event":"turn","turn":2,"te', flush=True)
        sys.exit(0)
    if mode == "crash":
        print("no memory left", file=sys.stderr)
        sys.exit(134)
    if mode == "hang":
        sys.stdin.read()
    if mode == "stray":
        open("stray.txt", "w").write("x")
    if "write" in prompt:
        open("b.txt", "w").write("hullo" if mode == "wrong" else "hello")
    turn(2, 150, 96 if mode == "good" else 10, [])
    say("answer", text="It is k-78." if mode == "wrong" else "It is **K-77**.")
    say("summary", state="limit" if mode == "limit" else "done", turns=2, actions=1,
        invalid_calls=1 if mode == "invalid" else 0, prompt_tokens=250, cached_tokens=96, completion_tokens=40, seconds=1.5,
        model_seconds=1.0, tool_seconds=0.1)
    return mode

for line in sys.stdin:
    mode = run(json.loads(line))
    failed += mode == "limit"
    if mode == "deaf":
        sys.exit(0)
sys.exit(3 if mode == "status" else failed > 0)
"""
# A peer's server, and in place of its client something that answers without it.
LLAMA_SERVER = """#!/bin/sh
[ "$1" = --version ] && echo 'version: 9 (abc)' && exit 0
echo 'srv  load_model: model loaded' >&2
echo 'main: listening on http://127.0.0.1:1' >&2
cat >/dev/null
"""
PEER_CLIENT = """#!/usr/bin/env python3
import json, sys
print("ready", flush=True)
for line in sys.stdin:
    wish = json.loads(line)
    assert wish["servers"]["files"]["args"][-1] == wish["folder"]
    if "write" in wish["prompt"]:
        sys.exit(1)
    print(json.dumps({"event": "answer", "text": "I cannot read files."}))
    print(json.dumps({"event": "summary", "state": "done", "turns": 1, "actions": 0, "invalid_calls": 0, "prompt_tokens": 9,
                      "cached_tokens": 0, "completion_tokens": 5, "seconds": 1, "model_seconds": 1, "tool_seconds": 0}))
    print("end", flush=True)
"""


class AgentTasks(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)
        # What would be installed counts as installed.
        for name, wanted in (("tool_servers", "package-lock.json"), ("peer_client", "requirements.txt")):
            (self.folder / "cache" / name).mkdir(parents=True)
            shutil.copy(HERE / "agent_suite" / wanted, self.folder / "cache" / name / "installed")

    def program(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)
        return path

    def suite(self, mode, *more):
        self.program("tasks/simple.toml", TASKS.replace("MODE", mode))
        done = subprocess.run(
            [sys.executable, HERE / "agent_tasks", "--model", self.program("tiny.gguf", ""), "--ours",
             self.program("ours", OURS), "--tasks", self.folder / "tasks", "--work", self.folder / "work", "--cache",
             self.folder / "cache", "--transcripts", self.folder / "said", *more],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=100, check=False)
        return done

    def assert_fails(self, mode, failure, *more):
        """The task `read` fails for this reason, and so does the suite."""
        done = self.suite(mode, "--only", "read", *more)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn("| tasks passed | **0 of 1 (0%)** |", done.stdout)
        self.assertIn(f"| read | {failure}: ", done.stdout)
        return done

    def test_counts_what_passed(self):
        done = self.suite("good")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        for row in ("tasks passed | **2 of 2 (100%)**", "turns | 4", "actions | 2", "invalid calls | 0",
                    "generated tokens a second of model time | 40.0", "seconds in the model | 2.0", "seconds in tools | 0.2",
                    "from the second turn on: share of the prompt from the cache | 64.0%",
                    "... of what the turn before had as its prompt | 96.0%", "simple | 2 of 2", "read | passed"):
            self.assertIn(f"| {row} |", done.stdout)
        said = (self.folder / "said/ours-read.txt").read_text(encoding="utf-8")
        self.assertIn("PASSED", said)
        self.assertIn(f"{self.folder}/work/task-1/a.txt", said)
        self.assertEqual(len((self.folder / "said/ours-read.jsonl").read_text(encoding="utf-8").splitlines()), 6)

    def starts(self):
        return len((self.folder / "work/starts").read_text(encoding="utf-8").splitlines())

    def test_one_process_serves_all_tasks_with_the_same_servers(self):
        self.suite("good")
        self.assertEqual(self.starts(), 1)
        self.program("tasks/wired.toml", TASKS.replace("MODE", "good").replace('"read"', '"wired"').replace('"write"', '"read-again"')
                     .replace("steps = 1", 'steps = 1\nenvironment = { A = "b" }', 1))
        done = self.suite("good")
        self.assertIn("**4 of 4 (100%)**", done.stdout)
        self.assertEqual(self.starts(), 1 + 2)

    def test_another_process_takes_over_from_one_that_ended(self):
        for mode, figure in (("crash", "0 of 2"), ("deaf", "1 of 2"), ("hang", "0 of 2")):
            done = self.suite(mode, "--timeout", "1")
            self.assertEqual(done.returncode, 1, mode)
            self.assertIn(f"**{figure} (", done.stdout, mode)

    def test_several_at_a_time_and_limited(self):
        done = self.suite("good", "--jobs", "2")
        self.assertIn("**2 of 2 (100%)**", done.stdout)
        self.assertIn("**1 of 1 (100%)**", self.suite("good", "--limit", "1").stdout)

    def test_a_wrong_result_fails(self):
        self.assertIn("k-77", self.assert_fails("wrong", "wrong answer").stdout)
        self.assertIn("b.txt: holds 'hullo'", self.suite("wrong", "--only", "wri*").stdout)
        self.assertIn("stray.txt was not asked for", self.assert_fails("stray", "wrong folder").stdout)

    def test_a_task_without_a_call_fails_even_with_the_right_answer(self):
        self.assertIn("no call succeeded", self.assert_fails("silent", "no call").stdout)
        self.assertIn("no call succeeded", self.assert_fails("refused", "error ignored").stdout)
        self.assertIn("1 left as text", self.assert_fails("fenced", "call left as text").stderr)

    def test_a_run_that_does_not_end_well_fails(self):
        self.assertIn("no event", self.assert_fails("cut", "no end").stdout)
        self.assertIn("exit status 134: no memory left", self.assert_fails("crash", "no end").stdout)
        self.assertIn("a process ended with status 3 instead of 0", self.suite("status", "--only", "read").stderr)
        self.assertIn("longer than 1.0 s", self.assert_fails("hang", "no end", "--timeout", "1").stdout)
        self.assertIn("ended as limit", self.assert_fails("limit", "limit").stdout)

    def test_floors(self):
        self.assertIn("2 invalid calls", self.suite("invalid").stderr)
        self.assertEqual(self.suite("invalid").returncode, 1)
        done = self.suite("warmless")
        self.assertIn("only 10.0% of the earlier prompts", done.stderr)
        self.assertEqual(done.returncode, 1)

    def test_both_sides_and_a_client_that_ends(self):
        self.program("cache/peer_client/venv/bin/python", PEER_CLIENT)
        done = self.suite("good", "--peer-llama-server", self.program("llama-server", LLAMA_SERVER))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("| tasks passed | **2 of 2 (100%)** | **0 of 2 (0%)** |", done.stdout)
        self.assertIn("version: 9 (abc), openai-agents==", done.stdout)
        self.assertIn("| read | passed | no call: no call succeeded |", done.stdout)
        self.assertIn("| write | passed | no end: the peer's client ended |", done.stdout)

    def test_refuses_what_makes_no_sense(self):
        for more in (["--jobs", "0"], ["--only", "nothing-like-it"], ["--peer-llama-server", "/nonexistent"]):
            self.assertEqual(self.suite("good", *more).returncode, 2)


class Tasks(unittest.TestCase):
    def setUp(self):
        self.tasks = task.load(HERE / "agent_tasks.d")

    def test_nothing_passes_by_doing_nothing_and_each_can_be_done(self):
        self.assertGreaterEqual(len(self.tasks), 40)
        with tempfile.TemporaryDirectory() as scratch:
            for one in self.tasks:
                folder = pathlib.Path(scratch) / one.id
                one.prepare(folder)
                self.assertTrue(one.misses_in_answer("", folder) + one.misses_in_folder(folder), one.id)
                self.assertEqual("{folder}" in one.prompt_in(folder), False)
                for name, wanted in one.after.items():
                    make(folder / name, wanted)
                answer = ", ".join([*one.answer, *(str(number) for number in one.numbers)])
                self.assertEqual(one.misses_in_answer(answer.replace("{folder}", str(folder)), folder) + one.misses_in_folder(folder), [], one.id)

    def test_prompts_do_not_tell_the_answer(self):
        for one in self.tasks:
            asked = one.prompt.replace("amber-5512", "")  # the echo is of the prompt's own word
            self.assertFalse([word for word in one.answer if expectation.has_word(asked, word)], one.id)

    def test_refuses_tasks_with_mistakes(self):
        good = {"id": "a", "steps": 1, "prompt": "p", "answer": ["x"]}
        for change in ({"anwser": ["x"]}, {"steps": "1"}, {"id": "A b"}, {"answer": []}):
            with self.assertRaises(ValueError):
                task.Task("kind", {**good, **change})


def make(path, wanted):
    """What a task wants to find afterwards, as a model would leave it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if wanted is False:
        path.unlink()
    elif wanted is True:
        path.mkdir(exist_ok=True)
    elif isinstance(wanted, str):
        path.write_text(wanted, encoding="utf-8")
    else:
        lines = wanted.get("records", [wanted.get("json")])
        path.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")


class Expectation(unittest.TestCase):
    def test_words_are_whole(self):
        self.assertTrue(expectation.has_word("Port: **48213**.", "48213"))
        self.assertTrue(expectation.has_word("the file `A.txt`", "a.txt"))
        for text in ("148213", "48213x", "4 8213"):
            self.assertFalse(expectation.has_word(text, "48213"), text)

    def test_numbers_by_value(self):
        self.assertEqual(expectation.numbers_in("1,250 EUR, 3.50; -4 and 12%"), {1250, 3.5, -4, 12})
        self.assertEqual(expectation.numbers_in("= 683.\n7th v2"), {683, 7})

    def test_records_hold_parts(self):
        self.assertTrue(expectation.holds({"name": "Ada", "notes": ["likes tea", "b"]}, {"name": "ada", "notes": ["tea"]}))
        self.assertFalse(expectation.holds({"name": "Ada", "notes": ["b"]}, {"notes": ["tea"]}))


if __name__ == "__main__":
    unittest.main()
