# SPDX-License-Identifier: Apache-2.0
"""The tool servers of the tasks, as published on npm, and the Python client of the peer: installed once, into a folder
that is kept between runs; and the `mcpServers` that a task's run is given."""
import fcntl
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
PACKAGES = {"files": "server-filesystem", "memory": "server-memory", "everything": "server-everything"}


def install(cache):
    """npm's packages at the versions of package-lock.json, and the Node that runs them."""
    folder = pathlib.Path(cache) / "tool_servers"

    def fill():
        shutil.rmtree(folder / "node_modules", ignore_errors=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, folder / name)
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=folder, check=True,
                       stdout=sys.stderr)
    once(folder, HERE / "package-lock.json", fill)
    return folder / "node_modules"


def install_peer_client(cache):
    """A Python with the packages of requirements.txt."""
    folder = pathlib.Path(cache) / "peer_client"

    def fill():
        shutil.rmtree(folder / "venv", ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        subprocess.run([folder / "venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", "-r",
                        HERE / "requirements.txt"], check=True, stdout=sys.stderr)
    once(folder, HERE / "requirements.txt", fill)
    return folder / "venv/bin/python"


def once(folder, wanted, fill):
    """Calls fill() unless the folder was filled for this very list of packages."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        installed = folder / "installed"
        if installed.exists() and installed.read_bytes() == wanted.read_bytes():
            return
        print(f"installing into {folder}", file=sys.stderr)
        fill()
        shutil.copy(wanted, installed)


def configuration(task, folder, modules):
    """The task's servers as the usual {"mcpServers": {...}}. `files` may use the task's folder and nothing else; `memory`
    keeps its graph there in memory.jsonl."""
    servers = {}
    for name in task.servers:
        package = modules / "@modelcontextprotocol" / PACKAGES[name]
        servers[name] = {"command": str(modules / "node/bin/node"), "args": [str(package / "dist/index.js")]}
        if name == "files":
            servers[name]["args"].append(str(folder))
        environment = {"MEMORY_FILE_PATH": f"{folder}/memory.jsonl"} if name == "memory" else dict(task.environment)
        if environment:
            servers[name]["env"] = environment
    return {"mcpServers": servers}
