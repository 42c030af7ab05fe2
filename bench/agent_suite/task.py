# SPDX-License-Identifier: Apache-2.0
"""One written task: its folder before, its prompt, and what must hold afterwards. Tasks are data in agent_tasks.d/*.toml
(the file's name is their kind); what the fields mean stands in agent_tasks.d/README.md."""
import fnmatch
import pathlib
import re
import shutil
import tomllib

from agent_suite import expectation

FIELDS = {"id": str, "steps": int, "prompt": str, "servers": list, "environment": dict, "files": dict, "folders": list,
          "answer": list, "answer_lacks": list, "numbers": list, "after": dict}


class Task:
    def __init__(self, kind, fields):
        for name, value in fields.items():
            if not isinstance(value, FIELDS.get(name, ())):
                raise ValueError(f"{kind}: task {fields.get('id', '?')}: field {name} is unknown or of a wrong type")
        self.kind = kind
        self.id = fields["id"]
        self.steps = fields["steps"]  # the fewest calls that can do it
        self.prompt = fields["prompt"].strip()
        self.servers = fields.get("servers", ["files"])
        self.environment = fields.get("environment", {})
        self.files = {path: expand(content) for path, content in fields.get("files", {}).items()}
        self.folders = fields.get("folders", [])
        self.answer = fields.get("answer", [])
        self.answer_lacks = fields.get("answer_lacks", [])
        self.numbers = fields.get("numbers", [])
        self.after = fields.get("after", {})
        if not re.fullmatch(r"[a-z0-9-]+", self.id):
            raise ValueError(f"{kind}: {self.id!r} is no name for a task")
        if not (self.answer or self.numbers or self.after):
            raise ValueError(f"{self.id}: nothing is checked")

    def prepare(self, folder):
        """Fills `folder` anew as the task wants to find it. The folder itself stays: tool servers run in it."""
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for entry in folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        for name in self.folders:
            (folder / name).mkdir(parents=True)
        for name, content in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(content, encoding="utf-8")

    def prompt_in(self, folder):
        return self.prompt.replace("{folder}", str(folder))

    def misses_in_folder(self, folder):
        """What is not as it should be: the folder holds what it held before and what `after` says, nothing else."""
        folder = pathlib.Path(folder)
        wanted = {**{f"{name}/": True for name in self.folders}, **self.files, **self.after}
        found = {str(p.relative_to(folder)) + ("/" if p.is_dir() else "") for p in folder.rglob("*")}
        known = {parent for name in wanted for parent in parents(name)}
        misses = [f"{name} is not there" for name in sorted(set(wanted) - found) if wanted[name] is not False]
        for name in sorted(found):
            if name in wanted:
                misses += [f"{name}: {reason}" for reason in expectation.file_misses(folder / name, wanted[name])]
            elif name not in known:
                misses.append(f"{name} was not asked for")
        return misses

    def misses_in_answer(self, text, folder):
        words = [word.replace("{folder}", str(folder)) for word in self.answer]
        misses = [f"the answer lacks {word!r}" for word in words if not expectation.has_word(text, word)]
        misses += [f"the answer has {word!r}" for word in self.answer_lacks if expectation.has_word(text, word)]
        misses += [f"the answer lacks the number {number}" for number in self.numbers
                   if number not in expectation.numbers_in(text)]
        return misses


def expand(content):
    """A file's text, or {text, times}: one that would be too long to write down."""
    return content["text"] * content["times"] if isinstance(content, dict) else content


def parents(name):
    """The folders that a path implies, itself included if it is one: "a/", "a/b/"."""
    parts = name.rstrip("/").split("/")
    folders = {"/".join(parts[:i]) + "/" for i in range(1, len(parts))}
    return folders | {name.rstrip("/") + "/"}


def load(folder, only=(), limit=None):
    """The tasks of a folder, in the order of its files but grouped by tool servers: those whose name or kind fits one of the patterns in `only`."""
    tasks = []
    for path in sorted(pathlib.Path(folder).glob("*.toml")):
        with open(path, "rb") as file:
            tasks += [Task(path.stem, fields) for fields in tomllib.load(file)["task"]]
    names = [task.id for task in tasks]
    if len(names) != len(set(names)):
        raise ValueError("two tasks have one name: " + ", ".join(sorted({n for n in names if names.count(n) > 1})))
    chosen = [task for task in tasks
              if not only or any(fnmatch.fnmatch(task.id, p) or fnmatch.fnmatch(task.kind, p) for p in only)]
    return by_servers(chosen[:limit])


def by_servers(tasks):
    """In an order in which tool servers need not change between most tasks."""
    def wiring(task):
        return (task.servers, task.environment)
    wirings = [wiring(task) for task in tasks]
    return sorted(tasks, key=lambda task: wirings.index(wiring(task)))
