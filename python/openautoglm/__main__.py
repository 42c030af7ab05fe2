# SPDX-License-Identifier: Apache-2.0
"""`python -m openautoglm VERB ...`: the program openautoglm, with all its verbs."""
import sys

from ._core import run_command_line


def main() -> int:
    """Runs the command line of this process."""
    return run_command_line(["openautoglm", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
