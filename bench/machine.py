# SPDX-License-Identifier: Apache-2.0
"""What a result has to say about where it was measured, and where it is kept."""
import json
import os
import pathlib
import platform
import re
import resource
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"


def describe():
    info = open("/proc/cpuinfo", encoding="ascii", errors="replace").read()
    name = re.search(r"model name\s*:\s*(.*)", info)
    family = re.search(r"cpu family\s*:\s*(\d+)", info)
    number = re.search(r"model\s*:\s*(\d+)", info)
    return (f"{name.group(1) if name else platform.processor()} (family {family.group(1) if family else '?'}, model "
            f"{number.group(1) if number else '?'}), {os.cpu_count()} processors, Linux {platform.release()}")


def busy_seconds():
    """Processor seconds of the whole machine that were not idle, and those of our finished children."""
    fields = [int(x) for x in open("/proc/stat", encoding="ascii").readline().split()[1:9]]
    idle = fields[3] + fields[4]
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (sum(fields) - idle) / os.sysconf("SC_CLK_TCK"), children.ru_utime + children.ru_stime


def resident_bytes(pid):
    """Memory that a process and all that it started have in RAM; pages of files that they map count too."""
    total, parents = 0, {}
    for status in pathlib.Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":", 1) for line in status.read_text("ascii", errors="replace").splitlines() if ":" in line)
        except OSError:  # ended meanwhile
            continue
        parents[int(fields["Pid"])] = (int(fields["PPid"]), int(fields.get("VmRSS", "0").split()[0]) * 1024)
    for child, (parent, resident) in parents.items():
        seen = {child}
        while child != pid and parent in parents and parent not in seen:
            child, parent = parent, parents[parent][0]
            seen.add(child)
        total += resident if child == pid else 0
    return total


def commit(version):
    """The commit that our program was built from: its version says so, else that of the checkout."""
    built = re.search(r"\(([0-9a-f]{7,40}(?:-dirty)?)\)", version)
    if built:
        return built.group(1)
    done = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty"], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, check=False)
    return done.stdout.strip() or "unknown"


def command_line(program):
    """The command without this machine's folders."""
    def shown(word):
        name, equals, path = word.rpartition("=") if "/" in word.rpartition("=")[2] else ("", "", word)
        return name + equals + (pathlib.Path(path).name if "/" in path else path)
    return f"{program} " + " ".join(shlex.quote(shown(word)) for word in sys.argv[1:])


def save(report, subject, markdown, folder=RESULTS):
    """DATE-SUBJECT-COMMIT.md and .json."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{report['date'][:10]}-{subject}-{report['commit']}"
    (folder / f"{stem}.md").write_text(markdown, encoding="utf-8")
    (folder / f"{stem}.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"saved {folder / stem}.md and .json", file=sys.stderr)
