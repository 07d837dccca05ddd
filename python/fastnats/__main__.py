"""``python -m fastnats``: commands for the terminal; without one, ``doctor``."""

from __future__ import annotations

import argparse
import sys

from . import _doctor


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fastnats", description=__doc__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser(
        "doctor",
        help="tell which implementation `import nats` gives, from where and why (the default)",
        description=_doctor.__doc__,
    )
    parser.parse_args()
    return _doctor.main()


if __name__ == "__main__":
    sys.exit(main())
