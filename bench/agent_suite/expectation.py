# SPDX-License-Identifier: Apache-2.0
"""Whether a text or a file is what a task asks for. Strict: a word counts as a whole, a file's text to the letter but for
the space at its very end, JSON by its value."""
import json
import pathlib
import re

NUMBER = re.compile(r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?(?!\d)")


def has_word(text, word):
    """Letter case does not count; the word must not go on to either side."""
    return re.search(rf"(?<![^\W_]){re.escape(word)}(?![^\W_])", text, re.IGNORECASE) is not None


def numbers_in(text):
    """48,213 and 48213.0 are one number."""
    return {float(found.replace(",", "")) for found in NUMBER.findall(text)}


def file_misses(path, wanted):
    """What a file or folder is not. `wanted`: text, False (must be gone), True (a folder), {"json": value},
    {"records": [...], "no_records": [...]} (JSON lines: for each object given, one line that holds it)."""
    path = pathlib.Path(path)
    if wanted is False:
        return ["is still there"]
    if path.is_dir() or wanted is True:
        return [] if path.is_dir() and wanted is True else ["is a folder" if path.is_dir() else "is no folder"]
    text = path.read_text(encoding="utf-8", errors="replace")
    if isinstance(wanted, str):
        return [] if text.rstrip() == wanted.rstrip() else [f"holds {short(text)}"]
    try:
        if "json" in wanted:
            return [] if json.loads(text) == wanted["json"] else [f"holds {short(text)}"]
        lines = [json.loads(line) for line in text.splitlines() if line.strip()]
    except json.JSONDecodeError as error:
        return [f"is not JSON: {error}"]
    misses = [f"has no line like {r}" for r in wanted.get("records", []) if not any(holds(line, r) for line in lines)]
    return misses + [f"has a line like {r}" for r in wanted.get("no_records", []) if any(holds(line, r) for line in lines)]


def holds(value, part):
    """Whether a JSON value has at least what `part` has. A list holds another if each of its items is held by one; a
    text holds another if that occurs in it."""
    if isinstance(part, dict):
        return isinstance(value, dict) and all(name in value and holds(value[name], part[name]) for name in part)
    if isinstance(part, list):
        return isinstance(value, list) and all(any(holds(item, wanted) for item in value) for wanted in part)
    if isinstance(part, str):
        return isinstance(value, str) and part.lower() in value.lower()
    return value == part


def short(text, most=120):
    return repr(text if len(text) <= most else text[:most] + "...")
