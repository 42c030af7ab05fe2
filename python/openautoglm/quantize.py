# SPDX-License-Identifier: Apache-2.0
"""`python -m openautoglm.quantize ...`: the same as `openautoglm quantize ...`."""
import sys

from ._core import run_command_line


def main() -> int:
    """Runs the verb with the arguments of this process."""
    return run_command_line(["openautoglm", "quantize", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
