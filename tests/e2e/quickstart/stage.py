# SPDX-License-Identifier: Apache-2.0
"""A stage for ./quickstart: a copy of it in a folder of its own, where only what Debian always has is the real thing.

Packages, configuration and build are played by fake.py (the build brings the binary that is being tested), the model comes
from a hub on loopback.
"""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests" / "e2e" / "cli"))

from support import BINARY, GOLDEN, TIMEOUT, CliTest, FakeHub, sha256  # noqa: E402

# All that quickstart itself may call: every Debian has these before the first package is installed.
ESSENTIAL = ("bash", "sh", "env", "awk", "sed", "grep", "tail", "tr", "cat", "tee", "mkdir", "dirname", "du", "uname", "rm", "mktemp", "sleep", "nproc", "true")
PLAYED = ("cmake", "apt-get", "dpkg", "dpkg-query", "cargo", "id", "df", "python3")
MODEL = (GOLDEN / "gguf" / "llama256-Q2_K.gguf").read_bytes()
SCRIPT = "== count\none two three\n\n==\nHello.\n"


class StageTest(CliTest):
    def setUp(self):
        super().setUp()
        self.tree = self.folder / "tree"
        self.stage = self.folder / "stage"
        for part in ("installed", "settings", "orders", "bin"):
            (self.stage / part).mkdir(parents=True)
        for part in ("quickstart", "tools/install_packages", "tools/packages.txt", "tools/disk.sh", "data/catalogue.toml"):
            (self.tree / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / part, self.tree / part)
        for name in ESSENTIAL:
            (self.stage / "bin" / name).symlink_to(shutil.which(name))
        fake = self.stage / "fake"
        fake.write_text(f"#!{sys.executable} -IS\n" + (pathlib.Path(__file__).parent / "fake.py").read_text())
        fake.chmod(0o755)
        for name in PLAYED:
            (self.stage / "bin" / name).symlink_to(fake)
        self.set("binary", os.path.abspath(BINARY))
        self.hub = FakeHub(self)
        self.hub.files["org/tiny/tiny.gguf"] = MODEL
        self.catalogue("smollm2", "tiny.gguf", [{"kind": "hub", "repository": "org/tiny", "files": [
            {"path": "tiny.gguf", "bytes": len(MODEL), "sha256": sha256(MODEL)}]}])
        self.environment.update(PATH=str(self.stage / "bin"), HOME=str(self.folder), STAGE=str(self.stage), HF_ENDPOINT=self.hub.url)
        self.command = [str(self.tree / "quickstart")]

    def set(self, name, value):
        (self.stage / "settings" / name).write_text(str(value))

    def order(self, step, what):
        (self.stage / "orders" / step).write_text(what)

    def add_sudo(self):
        (self.stage / "bin" / "sudo").symlink_to(self.stage / "fake")

    def calls(self, start=""):
        path = self.stage / "calls"
        return [line for line in path.read_text().splitlines() if line.startswith(start)] if path.exists() else []

    def quickstart(self, *arguments, expect=0, **options):
        done = subprocess.run([*self.command, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT,
                              env=self.environment, cwd=self.folder, **options)
        self.assertEqual(done.returncode, expect, f"{arguments}\nstdout: {done.stdout}\nstderr: {done.stderr}")
        # What bash says of its own accord is no sentence for people.
        self.assertFalse(re.search(r"quickstart: line \d|install_packages: line \d|Traceback", done.stderr), done.stderr)
        return done

    def refuses(self, *arguments, words, expect=1, **options):
        done = self.quickstart(*arguments, expect=expect, **options)
        self.assertEqual(done.stdout, "")
        self.assertRegex(done.stderr, words)
        return done

    def start(self, *arguments):
        """In a process group of its own, as a terminal starts it."""
        process = subprocess.Popen([*self.command, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   env=self.environment, cwd=self.folder, start_new_session=True,
                                   preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        self.addCleanup(self.end, process)
        return process

    def end(self, process):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()

    def tree_facts(self):
        """Every file of the tree and of the models' folder with its times, but for the build's log."""
        return {path: (path.lstat().st_mtime_ns, path.lstat().st_size) for top in (self.tree, self.home) for path in top.rglob("*")
                if path.name != "quickstart.log"}
