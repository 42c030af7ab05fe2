# SPDX-License-Identifier: Apache-2.0
"""`pull` against a hub on loopback: redirects, resume, wrong bytes, closed doors, full disks."""
import os
import resource
import signal
import subprocess
import unittest

from support import BINARY, TIMEOUT, CliTest, FakeHub, content_of, sha256

CONTENT = content_of(3_000_000)


class PullFromHub(CliTest):
    def setUp(self):
        super().setUp()
        self.hub = FakeHub(self)
        self.hub.files["org/tiny/tiny.gguf"] = CONTENT
        self.environment["HF_ENDPOINT"] = self.hub.url
        self.catalogue("tiny", "tiny.gguf", [self.source()])

    def source(self, content=CONTENT):
        return {"kind": "hub", "repository": "org/tiny", "files": [{"path": "tiny.gguf", "bytes": len(content), "sha256": sha256(content)}]}

    def test_a_name_of_the_catalogue(self):
        done = self.cli("pull", "tiny")
        self.assertIn("tiny is ready", done.stdout)
        self.assertEqual(self.stored("tiny", "tiny.gguf"), CONTENT)
        self.assertEqual(self.cli("list", "--path", "TINY").stdout.strip(), str(self.home / "models/tiny/tiny.gguf"))
        asked = len(self.hub.requests)
        self.cli("pull", "tiny")
        self.assertEqual(len(self.hub.requests), asked, "a model that is there is not asked for again")

    def test_redirects_keep_the_token_at_home(self):
        cdn = FakeHub(self)
        cdn.files = dict(self.hub.files)
        self.hub.moved_to = cdn
        self.hub.token = self.environment["HF_TOKEN"] = "hf_secret"
        self.cli("pull", "tiny")
        self.assertEqual(self.stored("tiny", "tiny.gguf"), CONTENT)
        self.assertEqual(self.hub.requests[0][1]["Authorization"], "Bearer hf_secret")
        self.assertNotIn("Authorization", cdn.requests[0][1])

    def test_a_broken_connection_is_taken_up_again(self):
        self.hub.cuts = [1_000_000, 2_000_000]
        self.cli("pull", "tiny")
        self.assertEqual(self.stored("tiny", "tiny.gguf"), CONTENT)
        self.assertEqual(self.hub.ranges(), [None, "bytes=1000000-", "bytes=2000000-"])

    def interrupted_pull(self, with_signal=signal.SIGINT):
        self.hub.stall_at = 1_500_000
        process = subprocess.Popen([BINARY, "pull", "tiny"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment)
        self.addCleanup(process.kill)
        self.assertTrue(self.hub.stalled.wait(TIMEOUT))
        # What was sent has to be on the disk before the interrupt, or there would be nothing to resume.
        part = self.home / "partial/tiny/hub/tiny.gguf.part"
        while not part.exists() or part.stat().st_size < 1_500_000:
            self.assertIsNone(process.poll())
        process.send_signal(with_signal)
        _, complaints = process.communicate(timeout=TIMEOUT)
        self.hub.go_on.set()
        return process.returncode, complaints

    def test_ctrl_c_leaves_a_beginning_that_is_resumed(self):
        code, complaints = self.interrupted_pull()
        self.assertEqual(code, 1)
        self.assertIn("goes on from here", complaints)
        self.assertEqual(self.cli("list").stdout.count("tiny"), 0)
        self.cli("pull", "tiny")
        self.assertEqual(self.hub.ranges(), [None, "bytes=1500000-"])
        self.assertEqual(self.stored("tiny", "tiny.gguf"), CONTENT)

    def test_a_file_that_changed_meanwhile_starts_anew(self):
        self.interrupted_pull()
        changed = content_of(3_000_000, b"changed")
        self.hub.files["org/tiny/tiny.gguf"] = changed
        self.catalogue("tiny", "tiny.gguf", [self.source(changed)])
        self.cli("pull", "tiny")
        self.assertEqual(self.stored("tiny", "tiny.gguf"), changed)

    def test_a_second_pull_waits_outside(self):
        self.hub.stall_at = 1_000
        process = subprocess.Popen([BINARY, "pull", "tiny"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=self.environment)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.assertTrue(self.hub.stalled.wait(TIMEOUT))
        self.assertIn("another process", self.cli("pull", "tiny", expect=1).stderr)
        self.assertIn("another process", self.cli("rm", "tiny", expect=1).stderr)

    def test_wrong_bytes_are_thrown_away(self):
        self.hub.files["org/tiny/tiny.gguf"] = content_of(3_000_000, b"evil")
        self.assertIn("checksum", self.cli("pull", "tiny", expect=1).stderr)
        self.assertFalse((self.home / "models/tiny").exists())
        self.assertFalse((self.home / "partial/tiny/hub/tiny.gguf.part").exists())
        self.hub.files["org/tiny/tiny.gguf"] = CONTENT + b"more"
        self.cli("pull", "tiny", expect=1)
        self.hub.files["org/tiny/tiny.gguf"] = CONTENT
        self.cli("pull", "tiny")

    def test_closed_doors(self):
        for status, words in ((401, "HF_TOKEN"), (403, "licence"), (404, "does not exist"), (429, "slow down"), (500, "500")):
            self.hub.statuses = {"/org/tiny/": status}
            self.assertIn(words, self.cli("pull", "tiny", expect=1).stderr, status)
        self.hub.statuses = {}
        self.hub.token = "hf_right"
        self.environment["HF_TOKEN"] = "hf_wrong"
        complaint = self.cli("pull", "tiny", expect=1).stderr
        self.assertIn("not accepted", complaint)
        self.assertNotIn("hf_wrong", complaint)

    def test_the_token_does_not_go_out_in_clear_text(self):
        self.hub.token = self.environment["HF_TOKEN"] = "hf_secret"
        self.environment["HF_ENDPOINT"] = self.hub.url.replace("127.0.0.1", "0.0.0.0")  # for all it knows another machine
        self.assertIn("only sent over https", self.cli("pull", "tiny", expect=1).stderr)
        self.assertNotIn("Authorization", self.hub.requests[0][1])

    def test_what_an_older_catalogue_brought_is_not_kept(self):
        both = self.source()["files"] + [{"path": "second", "bytes": 6, "sha256": sha256(b"second")}]
        self.catalogue("tiny", "tiny.gguf", [{**self.source(), "files": both}])
        self.assertIn("404", self.cli("pull", "tiny", expect=1).stderr)  # the first file is complete, and waits for the second
        changed = content_of(3_000_000, b"changed")
        self.hub.files.update({"org/tiny/tiny.gguf": changed, "org/tiny/second": b"second"})
        both[0]["sha256"] = sha256(changed)
        self.catalogue("tiny", "tiny.gguf", [{**self.source(), "files": both}])
        self.cli("pull", "tiny")
        self.assertEqual(self.stored("tiny", "tiny.gguf"), changed)

    def test_whatever_is_wrong_with_a_hub_the_next_source_is_tried(self):
        self.hub.files["org/other/tiny.gguf"] = CONTENT
        self.catalogue("tiny", "tiny.gguf", [self.source(), {**self.source(), "repository": "org/other"}])
        for status in (400, 401, 404, 410, 500):
            self.hub.statuses = {"/org/tiny/": status}
            self.assertIn("trying the next source", self.cli("pull", "tiny").stderr)
            self.cli("rm", "tiny")

    def test_redirects_without_end(self):
        self.hub.circles = True
        self.assertIn("redirects to more than", self.cli("pull", "tiny", expect=1).stderr)

    def test_a_full_disk_keeps_the_beginning(self):
        def small_disk():  # a file that may not grow past 1 MB stands in for a disk that has no more
            resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))

        self.assertIn("disk is full", self.cli("pull", "tiny", expect=1, preexec_fn=small_disk).stderr)
        self.cli("pull", "tiny")
        self.assertEqual(self.hub.ranges(), [None, "bytes=1000000-"])
        self.assertEqual(self.stored("tiny", "tiny.gguf"), CONTENT)

    def test_a_disk_that_is_too_small_is_said_before(self):
        source = self.source()
        source["files"][0]["bytes"] = 1 << 60
        self.catalogue("tiny", "tiny.gguf", [source])
        self.assertIn("disk is too small", self.cli("pull", "tiny", expect=1).stderr)
        self.assertEqual(self.hub.requests, [])

    def test_a_source_that_needs_less_is_tried_where_the_disk_is_too_small_for_another(self):
        large = self.source() | {"repository": "org/large"}
        large["files"][0]["bytes"] = 1 << 60
        self.catalogue("tiny", "tiny.gguf", [large, self.source()])
        self.assertIn("the disk is too small for hf:org/large", self.cli("pull", "tiny").stderr)
        self.assertEqual(self.stored("tiny", "tiny.gguf"), CONTENT)
        larger = large | {"repository": "org/larger"}
        self.catalogue("other", "tiny.gguf", [large, larger])
        refused = self.cli("pull", "other", expect=1).stderr
        for repository in ("org/large:", "org/larger:"):
            self.assertIn(f"the disk is too small for hf:{repository}", refused)

    def test_nobody_there(self):
        self.hub.close()
        self.assertIn("cannot connect", self.cli("pull", "tiny", expect=1).stderr)


class PullReferences(CliTest):
    def setUp(self):
        super().setUp()
        self.hub = FakeHub(self)
        self.environment["HF_ENDPOINT"] = self.hub.url

    def test_all_files_are_of_one_commit(self):
        self.hub.files = {"o/n/a.gguf": b"a" * 1000}
        self.cli("pull", "hf:o/n")
        self.assertIn(f"/o/n/resolve/{self.hub.commit}/a.gguf", [path for path, _ in self.hub.requests])

    def test_weights_in_a_folder_below_are_not_the_model(self):
        self.hub.files = {"o/n/unet/model.safetensors": b"x", "o/n/config.json": b"{}", "o/n/a.gguf": b"a"}
        self.cli("pull", "hf:o/n")
        self.assertEqual(sorted(os.listdir(self.home / "models/hf--o--n")), ["a.gguf", "manifest.json"])

    def test_one_file(self):
        self.hub.files = {"o/n/sub/a.gguf": b"a" * 1000, "o/n/b.gguf": b"b" * 1000}
        self.cli("pull", "hf:o/n:sub/a.gguf")
        self.assertEqual(self.stored("hf--o--n--sub--a.gguf", "sub/a.gguf"), b"a" * 1000)
        self.assertIn("hf--o--n--sub--a.gguf", self.cli("list").stdout)
        self.assertTrue(self.cli("list", "--path", "hf:o/n:sub/a.gguf").stdout.strip().endswith("sub/a.gguf"))
        self.cli("rm", "hf:o/n:sub/a.gguf")
        self.assertEqual(os.listdir(self.home / "models"), [])
        self.assertIn("holds no file", self.cli("pull", "hf:o/n:c.gguf", expect=1).stderr)

    def test_safetensors_come_with_what_loading_needs(self):
        wanted = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json", "config.json",
                  "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]
        others = ["README.md", "pytorch_model.bin", "onnx/model.onnx", "run.py", "original/config.json"]
        self.hub.files = {f"o/n/{name}": name.encode() for name in wanted + others}
        self.cli("pull", "hf:o/n")
        self.assertEqual(sorted(os.listdir(self.home / "models/hf--o--n")), sorted(wanted + ["manifest.json"]))

    def test_several_gguf_files_ask_which(self):
        self.hub.files = {"o/n/a-q8_0.gguf": b"8", "o/n/a-q2_k.gguf": b"2"}
        complaint = self.cli("pull", "hf:o/n", expect=1).stderr
        self.assertIn("a-q8_0.gguf", complaint)
        self.assertIn("a-q2_k.gguf", complaint)
        self.hub.files["o/n/a-Q4_K_M.gguf"] = b"4"
        self.cli("pull", "hf:o/n")
        self.assertEqual(self.stored("hf--o--n", "a-Q4_K_M.gguf"), b"4")

    def test_hostile_listings_do_not_leave_the_folder(self):
        self.hub.files = {"o/n/../../../../escaped.gguf": b"x", "o/n/ok.gguf": b"ok"}
        self.cli("pull", "hf:o/n")
        self.assertEqual(sorted(os.listdir(self.home / "models/hf--o--n")), ["manifest.json", "ok.gguf"])
        self.assertEqual(list(self.folder.rglob("escaped.gguf")), [])

    def test_the_hubs_own_checksum_counts(self):
        cdn = FakeHub(self)
        self.hub.files = {"o/n/a.gguf": b"a" * 1000}
        cdn.files = {"o/n/a.gguf": b"b" * 1000}
        self.hub.moved_to = cdn
        self.assertIn("checksum", self.cli("pull", "hf:o/n:a.gguf", expect=1).stderr)

    def test_unknown_repositories_and_bad_references(self):
        self.assertIn("404", self.cli("pull", "hf:o/missing", expect=1).stderr)
        for reference in ("hf:", "hf:o", "hf:o/a--b", "hf:../n", "hf:o/n:../x", "hf:o/n:/etc/passwd"):
            self.cli("pull", reference, expect=2)
        self.assertEqual(len(self.hub.requests), 1)


if __name__ == "__main__":
    unittest.main()
