# SPDX-License-Identifier: Apache-2.0
"""What the command-line tests share: the binary, a home of their own, a hub and an index that live on loopback."""
import codecs
import fcntl
import hashlib
import http.server
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import unittest
import zipfile

BINARY = os.environ.get("OPENAUTOGLM_BINARY", "build/release/openautoglm")
GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "testdata" / "golden"
TIMEOUT = 120


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def content_of(length, seed=b"x"):
    """Bytes that look like nothing in particular, the same for the same arguments."""
    out = bytearray()
    block = seed
    while len(out) < length:
        block = hashlib.sha256(block).digest()
        out += block
    return bytes(out[:length])


class CliTest(unittest.TestCase):
    """A test with its own OPENAUTOGLM_HOME."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="openautoglm_e2e_"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.home = self.folder / "home"
        self.home.mkdir()
        keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS") if name in os.environ}
        self.environment = {**keep, "OPENAUTOGLM_HOME": str(self.home), "NO_COLOR": "1"}

    def cli(self, *arguments, stdin="", expect=0, **options):
        done = subprocess.run([BINARY, *map(str, arguments)], input=stdin, capture_output=True, text=True, timeout=TIMEOUT,
                              env=self.environment, cwd=self.folder, **options)
        self.assertEqual(done.returncode, expect, f"{arguments}\nstdout: {done.stdout}\nstderr: {done.stderr}")
        return done

    def script(self, text):
        path = self.folder / "model.script"
        path.write_text(text)
        return f"scripted:{path}"

    def catalogue(self, name, load, sources):
        """Writes a catalogue of one model into the home. Sources are dicts as in data/catalogue.toml."""
        lines = ["[[model]]", f'name = "{name}"', "aliases = []", 'summary = "A test"', 'licence = "MIT"', f'load = "{load}"']
        for source in sources:
            lines += ["[[model.source]]", f'kind = "{source["kind"]}"']
            if "repository" in source:
                lines.append(f'repository = "{source["repository"]}"')
            for file in source["files"]:
                lines += ["[[model.source.file]]", f'path = "{file["path"]}"', f'bytes = {file["bytes"]}', f'sha256 = "{file["sha256"]}"']
                if "parts" in file:
                    parts = ", ".join(f'{{ package = "{p["package"]}", member = "{p["member"]}", bytes = {p["bytes"]} }}' for p in file["parts"])
                    lines.append(f"parts = [{parts}]")
        (self.home / "catalogue.toml").write_text("\n".join(lines) + "\n")

    def stored(self, name, path):
        return (self.home / "models" / name / path).read_bytes()


class Server:
    """`openautoglm serve` in the background; known by the line that says where it listens."""

    def __init__(self, test, *arguments, **options):
        self.process = subprocess.Popen([BINARY, "serve", *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        env=test.environment, cwd=test.folder, **options)
        test.addCleanup(self.kill)
        self.said = []
        self.url = None
        for line in self.process.stdout:
            self.said.append(line)
            if line.startswith("listening on "):
                self.url = line.split()[-1]
                break
        if self.url is None:
            raise AssertionError(f"it did not start: {''.join(self.said)}{self.process.stderr.read()}")

    def stop(self, with_signal=signal.SIGTERM):
        self.process.send_signal(with_signal)
        output, complaints = self.process.communicate(timeout=TIMEOUT)
        return self.process.returncode, complaints

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


class Terminal:
    """A program on a pty; expect() reads until a pattern appears."""

    def __init__(self, test, *command, columns=80):
        self.test = test
        self.said = ""
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.pid, self.screen = pty.fork()
        if self.pid == 0:
            os.chdir(test.folder)
            os.execve(command[0], [*map(str, command)], {**test.environment, "TERM": "xterm"})
        self.resize(columns)
        test.addCleanup(self.close)

    def resize(self, columns):
        fcntl.ioctl(self.screen, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def hang_up(self):
        if self.screen is not None:
            os.close(self.screen)
        self.screen = None

    def close(self):
        self.hang_up()
        if self.pid:
            os.kill(self.pid, 9)
            os.waitpid(self.pid, 0)

    def read(self):
        ready, _, _ = select.select([self.screen], [], [], TIMEOUT)
        self.test.assertTrue(ready, f"nothing came after: {self.said[-500:]!r}")
        try:
            return self.decoder.decode(os.read(self.screen, 65536))
        except OSError:  # the program has closed its side
            return ""

    def expect(self, pattern):
        end = time.monotonic() + TIMEOUT
        while not (found := re.search(pattern, self.said)):
            more = self.read()
            self.test.assertTrue(more and time.monotonic() < end, f"{pattern!r} did not come: {self.said[-500:]!r}")
            self.said += more
        self.said = self.said[found.end():]
        return found

    def type(self, text):
        os.write(self.screen, text.encode())

    def end(self):
        while more := self.read():
            self.said += more
        return self.status()

    def status(self):
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)


class FakeHub(http.server.ThreadingHTTPServer):
    """Speaks the hub protocol for repositories held in memory, and misbehaves where told to."""

    daemon_threads = True

    def __init__(self, test):
        super().__init__(("127.0.0.1", 0), HubConversation)
        self.files = {}         # "ORG/NAME/FILE" -> bytes
        self.statuses = {}      # path prefix -> status
        self.token = None       # when set, Authorization must carry it
        self.cuts = []          # bytes after which the next transfers break, in order
        self.stall_at = None    # bytes after which the next transfer waits for `go_on`
        self.stalled = threading.Event()
        self.go_on = threading.Event()
        self.moved_to = None    # another FakeHub that files are redirected to
        self.circles = False    # redirects files to themselves
        self.etag_suffix = ""   # changes every ETag
        self.knows_sha = True
        self.commit = "c0ffee0000000000000000000000000000000000"
        self.requests = []      # (path, headers)
        test.addCleanup(self.close)
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def close(self):
        self.go_on.set()
        self.shutdown()
        self.server_close()

    def ranges(self):
        return [headers.get("Range") for path, headers in self.requests if "/resolve/" in path or path.startswith("/cdn/")]


class HubConversation(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def refuse(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self):
        hub = self.server
        hub.requests.append((self.path, {name.title(): value for name, value in self.headers.items()}))
        for prefix, status in hub.statuses.items():
            if self.path.startswith(prefix):
                return self.refuse(status)
        if hub.token is not None and self.headers.get("Authorization") != f"Bearer {hub.token}":
            return self.refuse(401)
        if self.path.startswith("/api/models/"):
            return self.send_listing(self.path[len("/api/models/"):].split("?")[0])
        if self.path.startswith("/cdn/"):
            return self.send_file(self.path[len("/cdn/"):])
        parts = self.path.lstrip("/").split("/")
        if len(parts) < 5 or parts[2] != "resolve":
            return self.refuse(404)
        name = "/".join(parts[:2] + parts[4:])
        if name not in hub.files:
            return self.refuse(404)
        if hub.moved_to is None and not hub.circles:
            return self.send_file(name)
        self.send_response(302)
        self.send_header("Location", self.path if hub.circles else f"{hub.moved_to.url}/cdn/{name}")
        if hub.knows_sha:
            self.send_header("X-Linked-Etag", f'"{sha256(hub.files[name])}"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send_listing(self, repository):
        found = {path[len(repository) + 1:]: content for path, content in self.server.files.items() if path.startswith(repository + "/")}
        if not found:
            return self.refuse(404)
        siblings = []
        for path, content in found.items():
            entry = {"rfilename": path, "size": len(content)}
            if self.server.knows_sha:
                entry["lfs"] = {"sha256": sha256(content), "size": len(content)}
            siblings.append(entry)
        body = json.dumps({"id": repository, "sha": self.server.commit, "siblings": siblings, "cardData": {"license": "mit"}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_file(self, name):
        hub = self.server
        content = hub.files.get(name)
        if content is None:
            return self.refuse(404)
        etag = f'"{sha256(content)[:16]}{hub.etag_suffix}"'
        start = 0
        asked = self.headers.get("Range", "")
        if asked.startswith("bytes=") and self.headers.get("If-Range", etag) == etag:
            start = int(asked[len("bytes="):].split("-")[0])
            if start >= len(content):
                return self.refuse(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("ETag", etag)
        self.end_headers()
        end = len(content)
        if hub.cuts:
            end = min(end, hub.cuts.pop(0))
            self.close_connection = True
        if hub.stall_at is not None:
            end = hub.stall_at
        self.wfile.write(content[start:max(start, end)])
        self.wfile.flush()
        if hub.stall_at is not None:
            hub.stall_at = None
            hub.stalled.set()
            hub.go_on.wait(TIMEOUT)
            self.close_connection = True


FAKE_PYTHON = """#!{python}
# Stands in for python3: `-m pip download` copies a wheel from a folder, all else is the real thing.
import os, pathlib, shutil, sys
arguments = sys.argv[1:]
if arguments[:3] != ["-m", "pip", "download"]:
    os.execv({python!r}, [{python!r}] + arguments)
wheels = pathlib.Path({wheels!r})
package = arguments[-1]
with open(wheels / "calls", "a") as calls:
    calls.write(" ".join(arguments) + "\\n")
failure = wheels / (package + ".fails")
if failure.exists():
    sys.stderr.write(failure.read_text())
    sys.exit(1)
destination = pathlib.Path(arguments[arguments.index("--dest") + 1])
name, version = package.split("==")
wheel = f"{{name.replace('-', '_')}}-{{version}}-py3-none-any.whl"
shutil.copy(wheels / wheel, destination / wheel)
"""


class FakeIndex:
    """A folder of wheels behind a `python3` that comes first in PATH."""

    def __init__(self, test):
        self.folder = test.folder / "wheels"
        self.folder.mkdir()
        (self.folder / "calls").write_text("")
        binaries = test.folder / "bin"
        binaries.mkdir()
        fake = binaries / "python3"
        fake.write_text(FAKE_PYTHON.format(python=sys.executable, wheels=str(self.folder)))
        fake.chmod(0o755)
        test.environment["PATH"] = f"{binaries}:{test.environment['PATH']}"

    def add(self, package, version, members):
        name = package.replace("-", "_")
        with zipfile.ZipFile(self.folder / f"{name}-{version}-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
            for member, content in members.items():
                wheel.writestr(member, content)

    def fail(self, package, complaint):
        (self.folder / f"{package}.fails").write_text(complaint)

    def mend(self, package):
        (self.folder / f"{package}.fails").unlink()

    def downloads(self):
        return [line.split()[-1] for line in (self.folder / "calls").read_text().splitlines()]
