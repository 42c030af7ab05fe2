# SPDX-License-Identifier: Apache-2.0
"""The three agents of examples/, started as a reader starts them: Scripted shows that their tools work; WithWeights is for
qwen15.gguf (qwen2.5-coder-1.5b) in the folder that OPENAUTOGLM_TEST_MODELS names, and WithPublishedServer for npx besides."""
import json
import os
import pathlib
import subprocess
import sys
import unittest

from support import BINARY, CliTest

EXAMPLES = pathlib.Path(__file__).resolve().parents[3] / "examples"


class Example(CliTest):
    def run_example(self, name, model, *arguments):
        environment = {**self.environment, "OPENAUTOGLM": str(pathlib.Path(BINARY).resolve()), "MODEL": str(model)}
        done = subprocess.run([EXAMPLES / name / "run", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=600, env=environment)
        self.assertEqual(done.returncode, 0, f"stdout: {done.stdout}\nstderr: {done.stderr}")
        return done


class Scripted(Example):
    def answer(self, example, tool, parameters, result):
        def call(name, values):
            return "<tool_call>\n" + json.dumps({"name": name, "arguments": values}) + "\n</tool_call>"

        model = self.script(f"== <|tool|>*{result}\n{call('answer', {'text': 'It was as expected.'})}\n\n== \n{call(tool, parameters)}\n\n")
        return self.run_example(example, model, "Find out.", "--aids", "none").stdout

    def test_data(self):
        sql = "SELECT city, SUM(amount) FROM sales GROUP BY city ORDER BY 2 DESC LIMIT 1"
        self.assertEqual(self.answer("agent_data", "query", {"sql": sql}, "470"), "It was as expected.\n")

    def test_web(self):
        self.assertEqual(self.answer("agent_web", "get_item", {"name": "desk"}, '"price": 240'), "It was as expected.\n")

    def test_files_looks_for_what_it_asked_for_only(self):
        # Another MCP server stands in for the published one.
        (self.folder / "npx").write_text(f'#!/bin/sh\nexec "{sys.executable}" "{EXAMPLES.parent}/tests/e2e/weather_server.py" log\n')
        (self.folder / "npx").chmod(0o755)
        self.environment["PATH"] = f"{self.folder}:{self.environment['PATH']}"
        call = json.dumps({"name": "answer", "arguments": {"text": "Done."}})
        model = self.script(f"==\n<tool_call>\n{call}\n</tool_call>\n")
        for question, said in (("Another question?", "Done.\n"), ("", "Done.\n--- count.txt:\n(the model wrote none)\n")):
            self.assertEqual(self.run_example("agent_files", model, question, "--aids", "none").stdout, said)


class WithWeights(Example):
    def answer(self, example):
        return self.run_example(example, pathlib.Path(os.environ["OPENAUTOGLM_TEST_MODELS"]).resolve() / "qwen15.gguf").stdout

    def test_data(self):
        answer = self.answer("agent_data")
        self.assertIn("Porto", answer)
        self.assertIn("470", answer)

    def test_web(self):
        self.assertIn("240", self.answer("agent_web"))


# By hand: npx fetches the server from the registry as the reader's machine is set up for it, which a run's tools are not.
class WithPublishedServer(WithWeights):
    def test_files(self):
        self.assertRegex(self.answer("agent_files"), r"--- count.txt:\n\D*3\b")


if __name__ == "__main__":
    unittest.main()
