# SPDX-License-Identifier: Apache-2.0
"""Stands in for the programs that would change the machine or take minutes, under the name it is called by.

What there is lies in the folder STAGE: `installed/PACKAGE` holds dpkg's word for a package, `settings/NAME` a value, and
`orders/STEP` (used once) says what happens in the middle of a step: "hang", "hang politely" (a signal is an exit code then),
"fill the disk", or an exit code and what is printed.
"""
import os
import pathlib
import signal
import sys

STAGE = pathlib.Path(os.environ["STAGE"])
NAME = pathlib.Path(sys.argv[0]).name
ARGUMENTS = sys.argv[1:]


def setting(name, default):
    path = STAGE / "settings" / name
    return path.read_text() if path.exists() else default


def fail(code, text):
    print(text, file=sys.stderr)
    sys.exit(code)


def obey(step):
    path = STAGE / "orders" / step
    if not path.exists():
        return
    order = path.read_text()
    path.unlink()
    if order.startswith("hang"):
        # Ready before it is told: no moment between "reached" and the wait in which a signal would only leave a mark.
        politely = order == "hang politely"
        if politely:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        else:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        (STAGE / "reached").write_text(step)
        signal.sigwait({signal.SIGINT}) if politely else signal.pause()
        sys.exit(100)
    if order == "fill the disk":
        (STAGE / "settings" / "disk_mb").write_text("0")
        sys.exit(1)
    code, _, text = order.partition(" ")
    fail(int(code), text)


def cmake():
    folder = pathlib.Path("build/release")
    half, ninja = folder / "half", folder / "build.ninja"
    if ARGUMENTS[0] == "--build":
        if half.exists() or not ninja.exists():
            fail(1, "ninja: error: half a configuration")
        obey("build")
        binary = folder / "openautoglm"
        if not binary.exists():
            binary.symlink_to(setting("binary", ""))
        return
    folder.mkdir(parents=True, exist_ok=True)
    if half.exists() and "--fresh" not in ARGUMENTS:
        fail(1, "CMake Error: half a configuration")
    half.write_text("")
    (folder / "CMakeCache.txt").write_text(f"CMAKE_HOME_DIRECTORY:INTERNAL={os.getcwd()}\n")
    obey("configure")
    ninja.write_text("")
    half.unlink()


def package(name):
    return STAGE / "installed" / name


def need_root():
    if setting("uid", "0") != "0" and "AS_ROOT" not in os.environ:
        fail(100, "E: Could not open lock file - are you root?")


def apt_get():
    need_root()
    if "update" in ARGUMENTS:
        obey("update")
        return
    wanted = [argument for argument in ARGUMENTS[ARGUMENTS.index("install"):][1:] if not argument.startswith("-")]
    states = {path.name: path.read_text() for path in (STAGE / "installed").iterdir()}
    if "install ok half-configured" in states.values():
        fail(100, "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem.")
    if any("reinstreq" in state and not ("--reinstall" in ARGUMENTS and name in wanted) for name, state in states.items()):
        fail(100, "dpkg: error: package is in a very bad inconsistent state; you should reinstall it")
    for number, name in enumerate(wanted):
        package(name).write_text("install reinstreq half-installed")
        if number == len(wanted) // 2:
            obey("unpack")
        package(name).write_text("install ok half-configured")
        if number == len(wanted) // 2:
            obey("install")
        package(name).write_text("install ok installed")


def dpkg():
    need_root()
    for path in (STAGE / "installed").iterdir():
        if "half-configured" in path.read_text():
            path.write_text("install ok installed")


def dpkg_query():
    if "Eflag" in ARGUMENTS[1]:
        for path in (STAGE / "installed").iterdir():
            print(path.read_text().split()[1], path.name)
    for name in ARGUMENTS[2:]:
        if package(name).exists():
            print(name, package(name).read_text())


def sudo():
    if setting("sudo", "yes") != "yes":
        fail(1, "sudo: a password is required")
    arguments = [argument for argument in ARGUMENTS if argument != "-n"]
    os.environ["AS_ROOT"] = "1"
    os.execvp(arguments[0], arguments)


def python3():
    if ARGUMENTS[:2] == ["-m", "pip"] and ARGUMENTS[2] == "--version":
        return
    os.execv(sys.executable, [sys.executable, *ARGUMENTS])


def df():
    """One disk, unless the models' folder has one of its own (`models_disk_mb`)."""
    mb, mount = setting("disk_mb", "50000"), "/"
    if pathlib.Path(ARGUMENTS[-1]).is_relative_to(STAGE.parent / "home"):
        own = setting("models_disk_mb", "")
        mb, mount = (own, "/home") if own else (mb, mount)
    print(f"Filesystem 1024-blocks Used Available Capacity Mounted on\nfake 0 0 {int(mb) * 1024} 0% {mount}")


with open(STAGE / "calls", "a") as calls:
    calls.write(" ".join([NAME, *ARGUMENTS]) + "\n")
{
    "cmake": cmake,
    "apt-get": apt_get,
    "dpkg": dpkg,
    "dpkg-query": dpkg_query,
    "sudo": sudo,
    "python3": python3,
    "cargo": lambda: print(f"cargo {setting('cargo', '1.96.0')} (0 2026-01-01)"),
    "id": lambda: print(setting("uid", "0")),
    "df": df,
}[NAME]()
