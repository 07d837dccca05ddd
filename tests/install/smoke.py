"""Runs the examples with the wheel on every other CPython that is on this machine.

Run by `make smoke`, part of `.ci/run`; what is looked at are `pythonX.Y` on PATH and pyenv's
versions. `make test-versions` runs the tests on them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from support.environments import ROOT, TIMEOUT, pip, run, wheel

OLDEST = (3, 10)
# Of an interpreter: its kind, its version, and whether it runs wheels of the limited API.
ABOUT = (
    "import json, sys, sysconfig;"
    "print(json.dumps([sys.implementation.name, sys.version_info[:2],"
    " not sysconfig.get_config_var('Py_GIL_DISABLED')]))"
)


def candidates() -> list[Path]:
    """The interpreters that may be on this machine."""
    found = [
        Path(directory) / name
        for directory in os.get_exec_path()
        if os.path.isdir(directory)
        for name in os.listdir(directory)
    ]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    found += pyenv.glob("versions/*/bin/*")
    return sorted(path for path in found if re.fullmatch(r"python3\.\d+", path.name))


def other_pythons() -> dict[tuple[int, int], Path]:
    """An interpreter for each version that fastnats supports, but for this one's."""
    found: dict[tuple[int, int], Path] = {}
    for path in candidates():
        # Also of those that are there in name only, as pyenv's shims.
        done = subprocess.run([path, "-c", ABOUT], capture_output=True, text=True, timeout=TIMEOUT)
        if done.returncode != 0:
            continue
        kind, (major, minor), is_usual = json.loads(done.stdout)
        version = (major, minor)
        if kind == "cpython" and is_usual and OLDEST <= version != sys.version_info[:2]:
            found.setdefault(version, path)
    return dict(sorted(found.items()))


def examine(python: Path, scratch: Path) -> None:
    """Install the wheel for an interpreter, and run the examples and the doctor."""
    environment = scratch / "venv"
    subprocess.run([python, "-m", "venv", "--without-pip", environment], check=True)
    installed = environment / "bin" / "python"
    pip("install", "-q", "--no-index", wheel(), python=installed)
    server = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which(
        "nats-server"
    )
    assert server, "there is no nats-server"
    search = os.pathsep.join([str(Path(server).parent), os.environ["PATH"]])
    commands: list[list[str | Path]] = [["-m", "fastnats"]]
    commands += [["-W", "error", path] for path in sorted((ROOT / "examples").glob("*.py"))]

    def attempt(command: list[str | Path]) -> None:
        done = run([installed, *command], scratch, {"PATH": search})
        assert (done.status, done.complaints) == (0, ""), f"{python} {command}: {done}"

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(attempt, commands))


def main() -> None:
    others = other_pythons()
    if not others:
        print(f"smoke: SKIPPED, there is no CPython here but {sys.version.split()[0]}")
    for (major, minor), python in others.items():
        begin = time.monotonic()
        with tempfile.TemporaryDirectory() as scratch:
            examine(python, Path(scratch))
        print(f"smoke: CPython {major}.{minor} ok in {time.monotonic() - begin:.0f} s")


if __name__ == "__main__":
    main()
