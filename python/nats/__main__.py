"""`python -m nats`: tells which implementation of `nats` is installed, and its versions."""

from __future__ import annotations

import platform
import sys

from . import __version__, _core


def main() -> None:
    print("implementation: fastnats (Rust core)")
    print(f"version:        {__version__}")
    print(f"core:           {_core.__version__} ({_core.BUILD})")
    print(f"python:         {platform.python_implementation()} {platform.python_version()}")
    print(f"platform:       {sys.platform} {platform.machine()}")
    print(f"location:       {_core.__file__}")


if __name__ == "__main__":
    main()
