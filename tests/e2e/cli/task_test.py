# SPDX-License-Identifier: Apache-2.0
"""openautoglm task: an agent with a scripted model and programs as tools, as a user runs it."""
import json
import os
import pathlib
import re
import signal
import subprocess
import time
import unicodedata
import unittest

from support import BINARY, TIMEOUT, CliTest, Terminal

COUNT = """import json, sys
print("lines:", json.load(sys.stdin)["text"].count(chr(10)) + 1)
"""
# Writes that it has begun, and waits for ever.
HANG = """import json, os, signal, sys
open(sys.argv[1], "w").write(str(os.getpid()))
signal.pause()
"""
TOOLS = """[tools.count]
kind = "process"
description = "Counts lines."
class = "read"
command = ["python3", "count.py"]
readable = ["."]
parameters = {properties = {text = {type = "string"}}, required = ["text"]}

[tools.note]
kind = "process"
description = "Writes a note."
command = ["python3", "-c", "open('note.txt', 'w').write('kept'); print('written')"]
writable = ["."]

[tools.send]
kind = "process"
description = "Sends a text."
approval = "always"
command = ["python3", "-c", "print('sent')"]
parameters = {properties = {text = {type = "string"}}, required = ["text"]}

[tools.much]
kind = "process"
description = "Prints much."
class = "read"
command = ["python3", "-c", "print('x' * 3000 + 'END')"]

[tools.hang]
kind = "process"
description = "Waits."
approval = "never"
command = ["python3", "hang.py", "begun"]
writable = ["."]
"""


def call(name, **arguments):
    return "<tool_call>\n" + json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False) + "\n</tool_call>"


def rule(pattern, *calls):
    return f"== {pattern}\n" + "\n".join(calls) + "\n\n"


# The first rule that matches the prompt answers: what comes later in a conversation stands first.
SCRIPT = (rule("<|tool|>*lines: 3", call("answer", text="It has three lines."))
          + rule("wait and keep*<|tool|>Remembered.", call("answer", text="It is kept."))
          + rule("wait and keep*<|tool|>", call("remember", text="It was begun."))
          + rule("<|tool|>*not approved", call("answer", text="I may not write."))
          + rule("<|tool|>*sent", call("answer", text="It is sent."))
          + rule("<|tool|>*written", call("answer", text="The note is written."))
          + rule("<|tool|>*Whether it had its effect is not known", call("answer", text="I do not know whether it happened."))
          + rule("<|tool|>*Exit", call("answer", text="The tool failed."))
          + rule("count twice", call("count", text="a\nb\nc"), call("count", text="a"))
          + rule("count wide lines*<|tool|>", call("answer", text="They are wide."))
          + rule("count wide lines", call("count", text="word " * 20), call("count", text="\u4e16" * 30))
          + rule("send much", call("much"), call("send", text="$step_1"))
          + rule("note and send", call("note"), call("note"), call("send", text="it"))
          + rule("count these", call("count", text="a\nb\nc"))
          + rule("write a note", call("note"))
          + rule("count and wait", call("count", text="word " * 12), call("hang"))
          + rule("wait", call("hang"))
          + rule("for ever", call("count", text="x"), call("count", text="<|random:40|>"))
          + rule("", call("answer", text="Nothing to do.")))


class Screen:
    """What a terminal shows which breaks its lines anew when its width changes, as most do."""

    def __init__(self, columns):
        self.columns, self.row, self.column = columns, 0, 0
        self.lines, self.goes_on = [[]], [False]  # goes_on: the next line is of the same text
        self.wraps = True

    def write(self, said):
        for part in re.findall(r"\x1b\[\d*[A-Z]|\x1b\[\?7[hl]|[^\x1b]", said):
            width = 2 if unicodedata.east_asian_width(part[0]) in "WF" else 1
            if part.startswith("\x1b[?7"):
                self.wraps = part.endswith("h")
            elif part == "\r":
                self.column = 0
            elif part == "\x1b[J":
                del self.lines[self.row + 1:], self.goes_on[self.row + 1:]
                del self.lines[self.row][self.column:]
                self.goes_on[self.row] = False
            elif part.startswith("\x1b"):
                self.row -= int(part[2:-1])
            else:
                if part != "\n" and self.column + width > self.columns and not self.wraps:
                    self.column = self.columns - width  # the last column is written over
                if part == "\n" or self.column + width > self.columns:
                    self.goes_on[self.row] = part != "\n"
                    self.row, self.column = self.row + 1, 0
                    if self.row == len(self.lines):
                        self.lines.append([])
                        self.goes_on.append(False)
                if part != "\n":
                    self.lines[self.row][self.column:self.column + width] = [part] + [""] * (width - 1)
                    self.column += width
        return self

    def resize(self, columns):
        """With the cursor at the beginning of the last line."""
        said = "".join("".join(line) + ("" if goes_on else "\n") for line, goes_on in zip(self.lines, self.goes_on))
        self.__init__(columns)
        self.write(said[:-1])

    def cut(self, columns):
        """As resize(), of a terminal that does not break its lines anew."""
        self.columns = columns
        self.lines = [line[:columns] for line in self.lines]

    def actions(self):
        return [line for line in map("".join, self.lines) if re.match(r"  . +\d ", line)]


class Task(CliTest):
    def setUp(self):
        super().setUp()
        (self.folder / "count.py").write_text(COUNT)
        (self.folder / "hang.py").write_text(HANG)
        (self.folder / "tools.toml").write_text(TOOLS)
        # A script answers what it was written for, not the questions of the aids.
        self.words = ("--model", self.script(SCRIPT), "--tools", "tools.toml", "--database", "sessions.db", "--aids", "none")

    def task(self, text, *more, **options):
        return self.cli("task", text, *self.words, *more, **options)

    def events(self, text, *more, **options):
        return [json.loads(line) for line in self.task(text, "--json", *more, **options).stdout.splitlines()]

    def start(self, text, *more):
        process = subprocess.Popen([BINARY, "task", text, *self.words, *more], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, env=self.environment, cwd=self.folder, start_new_session=True)
        self.addCleanup(self.end, process)
        self.wait_for_tool()
        return process

    def wait_for_tool(self):
        """The process id that the tool `hang` writes when it has begun."""
        begun = self.folder / "begun"
        for _ in range(TIMEOUT * 20):
            if begun.exists() and begun.read_text():
                return int(begun.read_text())
            time.sleep(0.05)
        self.fail("the tool did not begin")

    def end(self, process):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()

    def test_a_tool_runs_and_the_answer_is_on_stdout(self):
        done = self.task("count these lines")
        self.assertEqual(done.stdout, "It has three lines.\n")
        self.assertRegex(done.stderr, r"count .*done.*lines: 3")
        self.assertRegex(done.stderr, "done: 2 turns, 1 actions")

    def test_a_tool_that_no_grammar_holds_is_left_out_or_refused_by_name(self):
        server = pathlib.Path(__file__).resolve().parents[1] / "weather_server.py"
        config = {"mcpServers": {"weather": {"command": "python3", "args": [str(server), "log", "odd"]}}}
        (self.folder / "mcp.json").write_text(json.dumps(config))
        done = self.task("count these lines", "--mcp-config", "mcp.json")
        self.assertRegex(done.stderr, r"note: weather: its tool odd is left out: .*\(at /parameters/properties/a/pattern\)")
        self.assertEqual(done.stdout, "It has three lines.\n")
        (self.folder / "tools.toml").write_text(TOOLS + """
[tools.odd]
kind = "process"
description = "Odd."
command = ["true"]
parameters = {properties = {a = {type = "string", pattern = "^(?!x)y"}}}
""")
        self.assertRegex(self.task("count these lines", expect=1).stderr, r"tool odd: .*\(at /parameters/properties/a/pattern\)")

    def test_json_lines_tell_the_same(self):
        events = self.events("count twice")
        self.assertEqual([event["event"] for event in events], ["run", "turn", "action", "action", "turn", "answer", "summary"])
        results = sorted((event["step"], event["state"], event["result"].strip()) for event in events if event["event"] == "action")
        self.assertEqual(results, [(1, "done", "lines: 3"), (2, "done", "lines: 1")])
        summary = events[-1]
        self.assertEqual((summary["state"], summary["turns"], summary["actions"], summary["invalid_calls"]), ("done", 2, 2, 0))
        self.assertGreater(events[4]["cached_tokens"], 0.9 * events[1]["prompt_tokens"])

    def test_writes_are_denied_without_a_terminal(self):
        done = self.task("write a note")
        self.assertEqual(done.stdout, "I may not write.\n")
        self.assertFalse((self.folder / "note.txt").exists())
        self.assertEqual(self.task("write a note", "--approve", "writes").stdout, "The note is written.\n")
        self.assertEqual((self.folder / "note.txt").read_text(), "kept")

    def test_a_killed_run_shows_what_it_began_and_is_taken_up(self):
        process = self.start("wait for it", "--session", "work")
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        shown = self.cli("task", "--show", "work", "--database", "sessions.db").stdout
        self.assertRegex(shown, "step 1 .*hang")
        done = self.cli("task", "--resume", "1", *self.words)
        self.assertEqual(done.stdout, "I do not know whether it happened.\n")
        self.assertRegex(self.cli("task", "--show", "work", "--database", "sessions.db").stdout, "unknown")
        self.assertIn("work", self.cli("task", "--list", "--database", "sessions.db").stdout)

    def test_a_run_that_is_taken_up_has_the_memory_of_its_session(self):
        for run, (named, more, keeps) in enumerate(((("--session", "work"), (), True), ((), (), False), ((), ("--memory",), True)), start=1):
            with self.subTest(named=named, more=more):
                process = self.start("wait and keep", *named)
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                (self.folder / "begun").unlink()
                # What is not offered cannot be called.
                done = self.cli("task", "--resume", run, *self.words, *more, expect=0 if keeps else 1)
                self.assertEqual(done.stdout == "It is kept.\n", keeps, done.stdout)

    def test_a_signal_ends_the_run_and_its_tool(self):
        for run, by in enumerate((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), start=1):
            with self.subTest(by.name):
                process = self.start("wait for it", "--no-sandbox")
                tool = self.wait_for_tool()
                os.kill(process.pid, by)
                _, complaints = process.communicate(timeout=TIMEOUT)
                self.assertGreater(process.returncode, 0)
                self.assertIn(f"--resume {run}", complaints)
                self.assertFalse(os.path.exists(f"/proc/{tool}"), complaints)
                (self.folder / "begun").unlink()

    def test_a_terminal_that_is_closed_ends_the_run_and_its_tool(self):
        screen = Terminal(self, BINARY, "task", "wait for it", *self.words, "--no-sandbox", "--session", "closed")
        tool = self.wait_for_tool()
        screen.hang_up()
        self.assertGreater(screen.status(), 0)
        self.assertFalse(os.path.exists(f"/proc/{tool}"))
        self.assertIn("run 1  cancelled", self.cli("task", "--show", "closed", "--database", "sessions.db").stdout)

    def test_a_limit_ends_the_run_by_its_name(self):
        events = self.events("go on for ever", "--max-turns", "3", expect=1)
        self.assertEqual(events[-1]["state"], "limit")
        self.assertIn("3 turns", events[-2]["text"])

    def test_a_session_goes_on(self):
        self.task("count these lines", "--session", "mine")
        self.assertEqual(self.task("and now?", "--session", "mine").stdout, "It has three lines.\n")
        shown = self.cli("task", "--show", "mine", "--database", "sessions.db").stdout
        self.assertEqual(shown.count("run "), 2)

    def test_aids(self):
        script = self.script(rule("Is everything that the task asks for", "yes")
                             + rule("anything? Answer with yes or no", "no")
                             + rule("<|tool|>*lines: 3", call("answer", reasoning="a, b, c are 3", text="It has three lines."))
                             + rule("", call("count", text="a\nb\nc")))
        words = ("task", "count these", "--model", script, "--tools", "tools.toml", "--database", "sessions.db", "--json")
        events = [json.loads(line) for line in self.cli(*words).stdout.splitlines()]
        turns = [event for event in events if event["event"] == "turn"]
        self.assertEqual([turn["reasoning"] for turn in turns], ["", "a, b, c are 3"])
        self.assertEqual(events[-2]["text"], "It has three lines.")
        self.assertEqual((events[-1]["narrowed"], events[-1]["asked_anew"]), (True, 0))
        refused = self.cli(*words, "--aids", "narrow,voting", expect=2).stderr
        self.assertIn("'voting' is not an aid", refused)
        self.assertIn("--aids", refused)

    def test_each_line_of_stdin_is_a_task_of_its_own(self):
        lines = ["count these lines", "", json.dumps("count\nthese\nlines"), "write a note", '"count these" and no more']
        done = self.cli("task", "--each", *self.words, "--json", stdin="\n".join(lines) + "\n")
        events = [json.loads(line) for line in done.stdout.splitlines()]
        runs = [event for event in events if event["event"] == "run"]
        self.assertEqual([event["text"] for event in events if event["event"] == "answer"],
                         ["It has three lines.", "Nothing to do.", "I may not write.", "It has three lines."])
        self.assertEqual([run["run"] for run in runs], [1, 2, 3, 4])
        self.assertEqual(len({run["session"] for run in runs}), 4)
        self.assertEqual(events[-1]["event"], "summary")
        # What begins all prompts was computed once.
        firsts = [event for event in events if event["event"] == "turn" and event["turn"] == 1]
        self.assertEqual(firsts[0]["cached_tokens"], 0)
        self.assertGreater(firsts[1]["cached_tokens"], 0.8 * firsts[1]["prompt_tokens"])

    def test_a_task_of_many_is_answered_before_the_next_is_read(self):
        process = subprocess.Popen([BINARY, "task", "--each", "--json", *self.words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, env=self.environment, cwd=self.folder)
        self.addCleanup(self.end, process)
        for number in (1, 2):
            process.stdin.write("count these lines\n")
            process.stdin.flush()
            while (event := json.loads(process.stdout.readline()))["event"] != "summary":
                pass
            self.assertEqual((event["state"], event["actions"]), ("done", 1), number)
        process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, 0)

    def test_a_failed_task_of_many_ends_itself_only(self):
        lines = ["go on for ever", "count these lines", "x" * ((1 << 20) + 1)]
        done = self.cli("task", "--each", *self.words, "--json", "--max-turns", "3", stdin="\n".join(lines) + "\n", expect=1)
        events = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([event["state"] for event in events if event["event"] == "summary"], ["limit", "done", "failed"])
        self.assertIn("`openautoglm task --resume 1` goes on", done.stderr)
        self.assertIn("2 of 3 tasks were not finished", done.stderr)

    def test_many_tasks_on_a_terminal(self):
        screen = Terminal(self, BINARY, "task", "--each", *self.words)
        screen.type("write a note\n")
        screen.expect(r"Run note\?")
        screen.type("y\n")
        screen.expect("The note is written")
        screen.type("count these lines\n")
        screen.expect("It has three lines")
        screen.type("\x04")
        self.assertEqual(screen.end(), 0)

    def test_a_leave_for_all_is_of_one_run(self):
        screen = Terminal(self, BINARY, "task", "--each", *self.words)
        for _ in range(2):
            screen.type("write a note\n")
            screen.expect(r"Run note\? .*\[a\]ll of this run: ")
            screen.type("a\n")
            screen.expect("The note is written")
        screen.type("\x04")
        self.assertEqual(screen.end(), 0)

    def test_what_is_always_asked_for_is_covered_by_no_leave(self):
        screen = Terminal(self, BINARY, "task", "note and send", *self.words)
        screen.expect(r"Run note\? ")
        screen.type("a\n")
        self.assertEqual(screen.expect(r"Run (\w+)\? (.*): ").groups(), ("send", "[y]es, [n]o"))
        screen.type("a\n")
        screen.expect("I may not write")
        self.assertEqual(screen.end(), 0)

    def test_all_that_will_run_is_shown_before_it_is_asked_for(self):
        screen = Terminal(self, BINARY, "task", "send much", *self.words)
        screen.expect(r"send \(process\) \{\"text\":\"x{3000}END[^?]*Run send\?")
        screen.type("y\n")
        screen.expect("It is sent")
        self.assertEqual(screen.end(), 0)

    def test_the_graph_fits_its_terminal(self):
        for columns in (50, 80):
            screen = Terminal(self, BINARY, "task", "count wide lines", *self.words, columns=columns)
            self.assertEqual(screen.end(), 0, screen.said)
            lines = Screen(columns).write(screen.said).actions()
            self.assertEqual([re.sub(r" count .* done .*", " count", line) for line in lines], ["  +  1 count", "  +  2 count"], screen.said)

    def test_a_terminal_that_gets_narrower_shows_each_action_once(self):
        terminal = Terminal(self, BINARY, "task", "count and wait", *self.words, columns=100)
        shown = terminal.expect(r"hang \{\}  running\r?\n")
        self.wait_for_tool()
        screen = Screen(100).write(shown.string[:shown.end()])
        for columns in (40, 60):  # and wider again
            screen.resize(columns)
            terminal.resize(columns)
        os.kill(terminal.pid, signal.SIGINT)
        self.assertGreater(terminal.end(), 0)
        screen.write(terminal.said)
        self.assertEqual([line[:11].split() for line in screen.actions()], [["+", "1", "coun"], ["!", "2", "hang"]], screen.lines)

    def test_a_terminal_that_cuts_its_lines_shows_each_action_once(self):
        self.environment["XTERM_VERSION"] = "XTerm(379)"
        for written_at in (100, 40):  # before the terminal gets narrower, and while it does
            (self.folder / "begun").unlink(missing_ok=True)
            terminal = Terminal(self, BINARY, "task", "count and wait", *self.words, columns=100)
            shown = terminal.expect(r"hang \{\}  running\r?\n\x1b\[\?7h")
            self.wait_for_tool()
            screen = Screen(written_at).write("before\n" + shown.string[:shown.end()])
            screen.cut(40)
            terminal.resize(40)
            os.kill(terminal.pid, signal.SIGINT)
            self.assertGreater(terminal.end(), 0)
            screen.write(terminal.said)
            self.assertEqual([line[:11].split() for line in screen.actions()], [["+", "1", "coun"], ["!", "2", "hang"]], screen.lines)
            self.assertIn("before", ["".join(line) for line in screen.lines])

    def test_a_summary_names_what_had_no_sandbox(self):
        self.assertEqual(self.events("count these")[-1]["unsandboxed"], [])
        self.assertEqual(sorted(self.events("count these", "--no-sandbox")[-1]["unsandboxed"]), ["count", "hang", "much", "note", "send"])
        self.assertRegex(self.task("count these", "--no-sandbox").stderr, "without a sandbox: .*count")

    def test_a_task_comes_from_one_place(self):
        for more in (("--each", "x"), ("--each", "--session", "s"), ("--each", "--resume", "1"), ("--resume", "1", "x"),
                     ("--resume", "1", "--session", "s")):
            self.cli("task", *self.words, *more, expect=2)

    def test_a_server_that_does_not_start_is_named_once(self):
        (self.folder / "mcp.json").write_text(json.dumps({"mcpServers": {"files": {"command": "no-such-program"}}}))
        self.assertEqual(self.task("x", "--mcp-config", "mcp.json", expect=1).stderr.count("server files"), 1)

    def test_what_is_wrong_is_named(self):
        (self.folder / "bad.toml").write_text("[tools.x]\nkind = \"process\"\ndescription = \"x\"\ncommand = [\"true\"]\ncolour = 1\n")
        for more, words in ((("x", "--tools", "none.toml"), "none.toml"), (("x", "--tools", "bad.toml"), "colour"),
                            (("--resume", "7"), "there is no run 7"), (("x", "--mcp-config", "tools.toml"), "tools.toml")):
            done = subprocess.run([BINARY, "task", "--model", self.words[1], "--database", "sessions.db", *more], stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, timeout=TIMEOUT, env=self.environment, cwd=self.folder)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(words, done.stderr)
            self.assertLessEqual(done.stderr.count(more[-1]), 1, done.stderr)

    def test_a_run_or_session_that_cannot_go_on_is_refused_before_the_model_is_loaded(self):
        self.task("count these lines", "--session", "mine")
        for more, words in ((("--resume", "7"), "there is no run 7"), (("--resume", "1"), "run 1 is done"),
                            (("x", "--session", "no such"), "not 'no such'")):
            words_of_none = ("--model", "scripted:no-such-file", "--database", "sessions.db", *more)
            refused = self.cli("task", *words_of_none, expect=2)
            self.assertIn(words, refused.stderr)
            self.assertNotIn("no-such-file", refused.stderr)
            told = self.cli("task", *words_of_none, "--json", expect=refused.returncode).stdout
            self.assertEqual(json.loads(told.splitlines()[-1])["state"], "failed")
        self.assertIn("no-such-file", self.cli("task", "x", "--model", "scripted:no-such-file", expect=1).stderr)


if __name__ == "__main__":
    unittest.main()
