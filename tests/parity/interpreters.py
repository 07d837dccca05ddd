"""The two interpreters that are compared: this one, and one that has nats-py installed."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
OURS = sys.executable


def reference() -> str:
    """Return the interpreter of the environment with nats-py."""
    root = FOLDER.parent.parent
    scripts = "Scripts" if os.name == "nt" else "bin"
    default = root / ".venv-ref" / scripts / Path(OURS).name
    path = os.environ.get("NATS_PY_PYTHON", str(default))
    if not Path(path).exists():
        raise FileNotFoundError(
            f"{path}: make .venv-ref/.stamp, or name an interpreter in NATS_PY_PYTHON"
        )
    return path


def environment_of(python: str) -> dict[str, str]:
    """Return the environment for an interpreter: nats-py for one, fastnats for the other."""
    if python == OURS:
        return dict(os.environ)
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**kept, "FASTNATS": "0"}


def nats_server() -> str:
    """Return the nats-server of this environment, or else that of PATH."""
    search = os.pathsep.join([str(Path(OURS).parent), os.environ.get("PATH", "")])
    path = shutil.which("nats-server", path=search)
    if path is None:
        raise FileNotFoundError("nats-server: neither in this environment nor on PATH")
    return path
