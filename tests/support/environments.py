"""Virtual environments to install fastnats into, as its users do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

# Says which implementation was imported; nats-py has no `__version__`.
WHICH = "import nats; print('fastnats' if hasattr(nats, '__version__') else 'nats-py')"

TIMEOUT = 120


def wheel() -> Path:
    """The wheel that `make wheel` has built last."""
    built = sorted(ROOT.glob("dist/fastnats-*-abi3-*.whl"), key=lambda path: path.stat().st_mtime)
    if not built:
        raise FileNotFoundError("dist/ has no wheel: make wheel")
    return built[-1]


@dataclass(frozen=True)
class Done:
    """What a process has said."""

    status: int
    output: str
    complaints: str

    def __str__(self) -> str:
        return f"ended with {self.status}\n{self.output}{self.complaints}"


def run(
    command: Sequence[str | Path], directory: Path, environment: dict[str, str] | None = None
) -> Done:
    """Run a program with no environment but the given one, and where programs are."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=directory,
        env={"PATH": os.environ["PATH"], "HOME": str(directory), **(environment or {})},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def pip(*arguments: str | Path, python: Path | str = sys.executable) -> str:
    """Run this environment's pip for another one, and return what it has said."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
    done = subprocess.run(
        [str(part) for part in [*command, *arguments]],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, f"pip {arguments}:\n{done.stdout}{done.stderr}"
    return done.stdout


def nats_py(directory: Path) -> list[str | Path]:
    """pip's arguments for nats-py in the locked version."""
    locked = (ROOT / "requirements" / "reference.txt").read_text()
    line = re.search(r"^nats-py==.*?(?=^\S|\Z)", locked, re.MULTILINE | re.DOTALL)
    assert line, "requirements/reference.txt names no nats-py"
    path = directory / "nats-py.txt"
    path.write_text(line[0])
    return ["--no-deps", "-r", path]


class Environment:
    """A virtual environment of this interpreter's version, without pip."""

    def __init__(self, directory: Path, system_site_packages: bool = False) -> None:
        self.directory = directory
        self.scratch = directory.with_name(directory.name + "-scratch")
        self.scratch.mkdir(parents=True)
        venv.create(directory, system_site_packages=system_site_packages)
        self.python = directory / "bin" / "python"
        found = self.run("-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
        self.site_packages = Path(found.output.strip())

    def install_fastnats(self) -> None:
        pip("install", "-q", "--no-index", wheel(), python=self.python)

    def install_nats_py(self) -> None:
        pip("install", "-q", *nats_py(self.scratch), python=self.python)

    def uninstall(self, name: str) -> None:
        pip("uninstall", "-q", "-y", name, python=self.python)

    def run(self, *arguments: str | Path, **environment: str) -> Done:
        """Run the interpreter, outside of the checkout."""
        return run([self.python, *arguments], self.scratch, environment)

    def says(self, *arguments: str | Path, **environment: str) -> str:
        """What a run that must not complain prints."""
        done = self.run(*arguments, **environment)
        assert (done.status, done.complaints) == (0, ""), str(done)
        return done.output.strip()

    def which(self, *options: str, **environment: str) -> str:
        """The implementation that ``import nats`` gives."""
        return self.says(*options, "-c", WHICH, **environment)
