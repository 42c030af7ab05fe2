# SPDX-License-Identifier: Apache-2.0
"""./quickstart from nothing to an answer, and what it says when it cannot go on."""
import json
import resource
import shutil
import socket
import unittest
import urllib.request

from stage import MODEL, SCRIPT, TIMEOUT, StageTest
from support import Terminal, sha256


class Works(StageTest):
    def test_from_nothing_to_an_answer(self):
        done = self.quickstart("--once", "Hello")
        self.assertNotEqual(done.stdout, "")
        for words in (r"== checking packages \(up to \d+ minutes", r"== building \(about \d+ minutes? on \d+ core", r"== getting smollm2 \(",
                      r"== ready after \d+ s"):
            self.assertRegex(done.stderr, words)
        self.assertEqual(self.stored("smollm2", "tiny.gguf"), MODEL)
        self.assertIn("clang-19", self.calls("apt-get")[-1])

    def test_again_it_is_quick_and_changes_nothing(self):
        self.quickstart("--once", "Hello")
        before, asked, called = self.tree_facts(), len(self.hub.requests), len(self.calls())
        done = self.quickstart("--once", "Hello")
        self.assertEqual(self.tree_facts(), before)
        self.assertEqual(len(self.hub.requests), asked)
        self.assertEqual([line for line in self.calls()[called:] if line.startswith(("apt-get", "dpkg ", "cmake --fresh"))], [])
        self.assertNotIn("minutes", done.stderr)
        self.assertNotIn("== getting", done.stderr)

    def test_says_how_long_a_model_will_take(self):
        tiny = {"kind": "hub", "repository": "org/tiny", "files": [{"path": "tiny.gguf", "bytes": len(MODEL), "sha256": sha256(MODEL)}]}
        self.assertIn("== getting smollm2 (1 MB: about 1 s at 10 MB/s)\n", self.quickstart("--once", "Hello").stderr)
        self.catalogue("other", "tiny.gguf", [tiny])  # again, with a new model
        self.assertIn("== getting OTHER (1 MB: about 1 s at 10 MB/s)\n", self.quickstart("--model", "OTHER", "--once", "Hello").stderr)
        large = {**tiny, "files": [{**tiny["files"][0], "path": "large.gguf", "bytes": 1_117_320_768}]}
        self.catalogue("large", "large.gguf", [large, large])  # one source is as large as the other; only one is fetched
        self.refuses("--model", "large", "--once", "x", words=r"== getting large \(1117 MB: about 2 minutes at 10 MB/s\)\n")
        part = self.home / "partial/large/hub/large.gguf.part"
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(bytes(5 << 20))
        self.refuses("--model", "large", "--once", "x", words=r"== getting large \(111[12] MB: ")
        self.assertIn("== getting hf:org/tiny:tiny.gguf\n", self.quickstart("--model", "hf:org/tiny:tiny.gguf", "--once", "Hello").stderr)

    def test_only_the_answer_goes_to_stdout(self):
        self.assertEqual(self.quickstart("--model", self.script(SCRIPT), "--once", "count").stdout, "one two three\n")
        self.assertEqual(self.quickstart("--model", self.script(SCRIPT), "--once", "--count").stdout, "one two three\n")

    def test_an_answer_that_finds_no_end_is_cut(self):
        answer = self.quickstart("--model", self.script("==\nagain and <|repeat|>\n"), "--once", "x").stdout
        self.assertTrue(answer.startswith("again and"))
        self.assertIn(len(answer), range(500, 515))  # a scripted token is a byte

    def test_paths_are_the_callers(self):
        self.script(SCRIPT)  # model.script, where quickstart is called from
        self.assertEqual(self.quickstart("--model", "scripted:model.script", "--once", "count").stdout, "one two three\n")
        (self.folder / "mine.gguf").write_bytes(MODEL)
        (self.folder / "elsewhere").mkdir()
        self.environment["OPENAUTOGLM_HOME"] = "elsewhere"
        self.quickstart("--model", "mine.gguf", "--once", "Hello")
        self.assertEqual(self.hub.requests, [])
        shutil.copy(self.home / "catalogue.toml", self.folder / "elsewhere")
        self.quickstart("--once", "Hello")
        self.assertTrue((self.folder / "elsewhere/models/smollm2").is_dir())

    def test_a_tree_that_was_moved_is_configured_anew(self):
        self.quickstart("--once", "Hello")
        self.tree = self.tree.rename(self.folder / "moved")
        self.command = [str(self.tree / "quickstart")]
        self.quickstart("--once", "Hello")
        self.assertEqual(len(self.calls("cmake --fresh")), 2)

    def test_serves_where_there_is_no_terminal(self):
        process = self.start("--model", self.script(SCRIPT), "--port", "0")
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("listening on "):
                break
        self.assertIn("base URL for OpenAI clients", "".join(said))
        self.assertIn("curl http://127.0.0.1:", "".join(said))
        body = {"model": "scripted", "messages": [{"role": "user", "content": "count"}]}
        request = urllib.request.Request(said[-1].split()[-1] + "/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            self.assertEqual(json.load(answer)["choices"][0]["message"]["content"], "one two three")

    def test_opens_a_chat_on_a_terminal(self):
        chat = Terminal(self, *self.command, "--model", self.script(SCRIPT), "--port", "0")
        chat.expect("== building")
        chat.expect("curl http://127.0.0.1:")
        chat.expect("> ")
        chat.type("count\n")
        chat.expect("one two three")
        chat.expect("> ")
        chat.type("/exit\n")
        chat.expect("stopped")
        self.assertEqual(chat.end(), 0)


class Refuses(StageTest):
    def test_wrong_use(self):
        for arguments, words in ((["--nonsense"], "no option --nonsense"), (["x"], "no option x"), (["--port", "x"], "not 'x'"),
                                 (["--port", "65536"], "not '65536'"), (["--port", "-1"], "not '-1'"), (["--port"], "--port takes a value"),
                                 (["--once", ""], "--once takes a value"), (["--model"], "--model takes a value")):
            self.refuses(*arguments, words=words, expect=2)
        self.assertIn("usage:", self.quickstart("--help").stdout)
        self.assertEqual(self.calls(), [])

    def test_a_taken_port_is_said_before_anything_is_done(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            for spelling in (f"{port}", f"{port:05}"):
                done = self.refuses("--port", spelling, words=f"port {port} on 127.0.0.1 is taken")
                self.assertEqual(done.stderr.count("\n"), 1)
            self.assertEqual(self.calls(), [])
            self.quickstart("--port", str(port), "--once", "Hello")  # needs none

    def test_a_small_disk(self):
        self.set("disk_mb", 300)
        done = self.refuses("--once", "Hello", words=rf"disk is too small: about 971 MB are needed in {self.tree}, 300 MB are free")
        self.assertEqual(done.stderr.count("\n"), 1)
        self.set("disk_mb", 1500)  # enough to build, but not for the packages
        self.refuses("--once", "Hello", words=r"disk is too small: about \d+ MB are needed in /usr, 1500 MB are free")
        self.assertEqual(self.calls("apt-get"), [])
        self.set("disk_mb", 50_000)
        self.quickstart("--once", "Hello")
        self.set("disk_mb", 1)
        self.quickstart("--once", "Hello")  # where all is done, nothing is needed

    def test_a_disk_too_small_for_the_model(self):
        (self.folder / "mine.gguf").write_bytes(MODEL)
        self.set("disk_mb", 650)  # a file that is here needs no room
        self.refuses("--model", "mine.gguf", "--once", "x", words=f"about 700 MB are needed in {self.tree}, 650 MB are free")
        self.set("disk_mb", 2000)  # one disk for build and model
        self.refuses("--model", "open-autoglm-large", "--once", "x", words=f"about 2087 MB are needed in {self.tree}, 2000 MB are free")
        self.set("disk_mb", 50_000)
        self.set("models_disk_mb", 290)
        done = self.refuses("--model", "open-autoglm-large", "--once", "x", words=f"about 1387 MB are needed in {self.home}, 290 MB are free")
        self.assertEqual(done.stderr.count("\n"), 1)
        self.refuses("--model", "hf:org/x", "--once", "x", words=f"about 300 MB are needed in {self.home}, 290 MB are free")
        self.environment["OPENAUTOGLM_HOME"] = str(self.home / "not" / "yet")
        self.refuses("--once", "x", words=f"about 368 MB are needed in {self.home}/not/yet, 290 MB are free")
        self.assertEqual(self.calls("apt-get"), [])
        self.environment["OPENAUTOGLM_HOME"] = str(self.home)
        self.quickstart("--once", "Hello")  # the small one of this home's catalogue
        self.refuses("--model", "qwen2.5-coder-0.5b", "--once", "x", words=f"about 761 MB are needed in {self.home}, 290 MB are free")

    def test_unknown_models(self):
        done = self.refuses("--model", "smolm2", "--once", "x", words="no model is called 'smolm2'.*smollm2.*qwen2.5-coder-0.5b")
        self.assertEqual(done.stderr.count("\n"), 1)
        self.refuses("--model", "./none.gguf", "--once", "x", words="no file or folder .*none.gguf")
        self.assertEqual(self.calls("apt-get"), [])
        self.quickstart("--once", "Hello")
        self.refuses("--model", "smolm2", "--once", "x", words="did you mean smollm2")
        self.refuses("--model", "../no-such-model", "--once", "x", words="no file or folder")

    def test_without_root_and_sudo(self):
        self.set("uid", 1000)
        self.refuses("--once", "Hello", words=r"administrator.*\n  apt-get update && apt-get install .*clang-19", expect=3)
        self.add_sudo()
        self.set("sudo", "no")
        self.refuses("--once", "Hello", words="administrator", expect=3)
        self.assertEqual(self.calls("apt-get"), [])
        self.set("sudo", "yes")
        self.quickstart("--once", "Hello")
        (self.stage / "bin" / "sudo").unlink()
        self.quickstart("--once", "Hello")  # all is there: nobody is asked

    def test_an_old_cargo_is_not_enough(self):
        self.set("cargo", "1.63.0")
        self.quickstart("--once", "Hello")
        self.assertIn("cargo-web rustc-web", self.calls("apt-get")[-1])

    def test_nothing_but_apt(self):
        (self.stage / "bin" / "apt-get").unlink()
        self.refuses("--once", "Hello", words="no apt-get here")


class Breaks(StageTest):
    """What goes wrong on the way is one sentence, and the next run succeeds."""

    def goes_on(self):
        self.quickstart("--once", "Hello")

    def test_no_network_for_packages(self):
        self.order("update", "100 W: Failed to fetch http://deb/dists  Temporary failure resolving 'deb'")
        self.order("install", "100 E: Unable to locate package clang-19")
        self.refuses("--once", "Hello", words="package server cannot be reached")
        self.goes_on()

    def test_lists_that_are_being_read_are_waited_for(self):
        self.order("update", "100 E: Could not get lock /var/lib/apt/lists/lock\nE: Unable to lock directory /var/lib/apt/lists/")
        self.goes_on()
        self.assertEqual(len([line for line in self.calls("apt-get") if line.endswith("update")]), 2)

    def test_no_room_for_packages(self):
        self.order("install", "100 E: You don't have enough free space in /var/cache/apt/archives/.")
        self.refuses("--once", "Hello", words="disk is full")
        self.goes_on()
        self.assertEqual(len(self.calls("dpkg --configure -a")), 1)

    def test_packages_for_other_reasons(self):
        self.order("install", "100 E: Could not get lock /var/lib/dpkg/lock-frontend.")
        self.refuses("--once", "Hello", words="another program is installing")
        self.order("install", "100 E: It is Tuesday.")
        self.refuses("--once", "Hello", words="It is Tuesday")
        self.goes_on()

    def test_no_network_for_cargo(self):
        self.order("build", "1 error: failed to get `ahash` as a dependency\ndownload of config.json failed\n[6] Couldn't resolve host name")
        self.refuses("--once", "Hello", words="Rust packages could not be fetched")
        self.goes_on()

    def test_a_failing_configuration(self):
        self.order("configure", "1 CMake Error: no")
        self.refuses("--once", "Hello", words="(?s)CMake Error: no.*the build failed")
        self.goes_on()

    def test_a_disk_that_fills_while_building(self):
        self.order("build", "1 LLVM ERROR: IO failure on output stream: No space left on device")
        self.refuses("--once", "Hello", words="disk is full. Make room")
        self.goes_on()

    def test_no_network_for_the_model(self):
        url, self.environment["HF_ENDPOINT"] = self.environment["HF_ENDPOINT"], "http://127.0.0.1:1"
        self.refuses("--once", "Hello", words="cannot connect")
        self.environment["HF_ENDPOINT"] = url
        self.goes_on()

    def test_a_disk_that_fills_while_pulling(self):
        self.quickstart("--model", self.script(SCRIPT), "--once", "count")

        def small_disk():  # a file that may not grow past 50 kB stands in for a disk that has no more
            resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))

        self.refuses("--once", "Hello", words="disk is full", preexec_fn=small_disk)
        self.goes_on()
        self.assertEqual(self.hub.ranges(), [None, "bytes=50000-"])

    def test_a_full_disk_is_told_although_the_log_cannot(self):
        self.order("build", "fill the disk")
        self.refuses("--once", "Hello", words="disk is full. Make room")
        self.set("disk_mb", 50_000)
        self.goes_on()


if __name__ == "__main__":
    unittest.main()
