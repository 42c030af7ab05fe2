#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench/plot on made-up results: what is drawn where."""
import importlib.machinery
import importlib.util
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest
import xml.dom.minidom

PLOT = pathlib.Path(__file__).resolve().parent / "plot"
loader = importlib.machinery.SourceFileLoader("plot", str(PLOT))
plot = importlib.util.module_from_spec(importlib.util.spec_from_loader("plot", loader))
loader.exec_module(plot)

FACTS = {"machine": "A <processor>, 2 processors", "isa": "avx2", "threads": 2, "commit": "abc", "rounds": 3}
OLD = {**FACTS, "date": "2026-01-01 10:00", "rows": [
    {"model": "m.gguf", "kind": "prefill", "tokens": 512, "ours": 300.0, "theirs": 100.0, "ratio": 3.0}]}
NEW = {**FACTS, "date": "2026-01-02 10:00", "rows": [
    {"model": "m.gguf", "work": "decode 8", "ours": 50.0, "peers": {"llama.cpp": {"median": 100.0, "ratio": 0.5}, "ik": {"median": 25.0, "ratio": 2.0}}},
    {"model": "m.gguf", "work": "decode 9", "ours": 50.0, "peers": {}}]}


class Plot(unittest.TestCase):
    def test_a_processors_name_may_have_commas(self):
        self.assertEqual(plot.processor({"machine": "A (family 25, model 17), 2 processors, Linux"}), "A (family 25, model 17)")
        self.assertEqual(plot.processor(FACTS), "A <processor>")

    def test_the_axis_is_logarithmic_and_holds_one(self):
        axis = plot.Axis([3.0, 0.6])
        self.assertEqual(axis.ticks(), [0.5, 1, 2, 4])
        self.assertAlmostEqual(axis.x(2) - axis.x(1), axis.x(4) - axis.x(2))
        self.assertEqual(axis.x(0.5), plot.LEFT)
        self.assertEqual(plot.Axis([5.0]).ticks(), [1, 2, 4, 8])

    def test_bars_begin_at_one_and_go_either_way(self):
        picture = xml.dom.minidom.parseString(plot.draw([OLD, NEW]))
        axis = plot.Axis([3.0, 0.5, 2.0])
        bars = [(float(bar.getAttribute("x")), float(bar.getAttribute("width"))) for bar in picture.getElementsByTagName("rect")
                if bar.getAttribute("height") == str(plot.BAR)]
        self.assertEqual(len(bars), 3)
        for (x, width), ratio in zip(bars, (3.0, 0.5, 2.0)):
            self.assertAlmostEqual(x, min(axis.x(1), axis.x(ratio)), delta=0.1)
            self.assertAlmostEqual(width, abs(axis.x(ratio) - axis.x(1)), delta=0.2)
        words = [node.firstChild.data for node in picture.getElementsByTagName("text")]
        for expected in ("3.00x", "0.50x", "300 : 100", "50 : 25", "prefill 512", "A <processor>, avx2, 2 threads", "beside ik"):
            self.assertIn(expected, words)
        self.assertNotIn("decode 9", words)  # nobody to hold it against

    def test_only_the_newest_of_a_processor_is_drawn(self):
        with tempfile.TemporaryDirectory() as folder:
            for name, report in (("1", OLD), ("2", NEW), ("3", {**OLD, "isa": "avx512", "date": "2025-01-01 10:00"}), ("4", {"rows": []})):
                (pathlib.Path(folder) / f"{name}.json").write_text(json.dumps(report))
            self.assertEqual([path.stem for path in plot.newest(pathlib.Path(folder))], ["2", "3"])

    def test_writes_the_picture_and_refuses_nothing_to_draw(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            (folder / "new.json").write_text(json.dumps(NEW))
            (folder / "none.json").write_text(json.dumps({**NEW, "rows": []}))
            for result, status in (("new.json", 0), ("none.json", 2)):
                done = subprocess.run([sys.executable, PLOT, folder / result, "--output", folder / "out.svg"], capture_output=True, check=False)
                self.assertEqual(done.returncode, status, done.stderr)
            xml.dom.minidom.parse(str(folder / "out.svg"))


if __name__ == "__main__":
    unittest.main()
