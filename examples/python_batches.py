#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Latency and throughput against the batch size, measured and drawn with the Python package: pip install ./python.

python_batches.py [--model smollm2] [--batches 1,2,4,8,16,32] [--tokens 64] [--output batches.svg]
"""
import argparse
import statistics
import time

from openautoglm import AutoModel, version_text

PROMPT = "Once upon a time there was a machine that"
WIDTH, HEIGHT, MARGIN = 640, 320, 60


def measure(model, batch, tokens, repeats=3):
    """Seconds until all of a batch are written, and tokens a second of all together: the median of the repeats."""
    prompts = [f"{PROMPT} {i}" for i in range(batch)]
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        model.generate(prompts, max_new_tokens=tokens, ignore_eos=True, temperature=0)
        seconds.append(time.perf_counter() - begin)
    latency = statistics.median(seconds)
    return latency, batch * tokens / latency


def curve(points, most, colour, unit, left):
    """One line through the points (x in 0..1, value), with the scale of its values at one side."""
    def place(x, value):
        return MARGIN + x * (WIDTH - 2 * MARGIN), HEIGHT - MARGIN - value / most * (HEIGHT - 2 * MARGIN)

    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
    parts = [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>']
    parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in (place(*point) for point in points)]
    side, anchor = (MARGIN - 8, "end") if left else (WIDTH - MARGIN + 8, "start")
    for value in (0, most / 2, most):
        parts.append(f'<text x="{side}" y="{place(0, value)[1] + 4:.1f}" fill="{colour}" text-anchor="{anchor}">{value:.3g}</text>')
    parts.append(f'<text x="{side}" y="{MARGIN - 24}" fill="{colour}" text-anchor="{"start" if left else "end"}">{unit}</text>')
    return parts


def draw(rows, title):
    """An SVG: latency on the left scale, throughput on the right, batch sizes below at equal distances."""
    places = [i / max(1, len(rows) - 1) for i in range(len(rows))]
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
             f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
             f'<text x="{WIDTH / 2}" y="18" text-anchor="middle">{title}</text>']
    for x, (batch, _, _) in zip(places, rows):
        parts.append(f'<text x="{MARGIN + x * (WIDTH - 2 * MARGIN):.1f}" y="{HEIGHT - MARGIN + 18}" text-anchor="middle">{batch}</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 16}" text-anchor="middle">batch size</text>')
    latencies, speeds = [row[1] for row in rows], [row[2] for row in rows]
    parts += curve(list(zip(places, latencies)), max(latencies), "#b3452c", "seconds for the batch", True)
    parts += curve(list(zip(places, speeds)), max(speeds), "#2c5fb3", "tokens a second, all together", False)
    return "\n".join([*parts, "</svg>\n"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--batches", default="1,2,4,8,16,32")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--output", default="batches.svg")
    options = parser.parse_args()
    sizes = [int(size) for size in options.batches.split(",")]
    print(version_text())
    print(f"{'batch':>6}{'seconds':>10}{'tokens/s':>10}")
    rows = []
    with AutoModel.from_pretrained(options.model, max_batch_size=max(sizes)) as model:
        measure(model, 1, options.tokens, repeats=1)  # the weights are loaded, the caches warm
        for size in sizes:
            latency, speed = measure(model, size, options.tokens)
            rows.append((size, latency, speed))
            print(f"{size:>6}{latency:>10.3f}{speed:>10.1f}", flush=True)
        title = f"{model.name}: {options.tokens} tokens an answer"
    with open(options.output, "w", encoding="utf-8") as file:
        file.write(draw(rows, title))
    print(f"drawn: {options.output}")


if __name__ == "__main__":
    main()
