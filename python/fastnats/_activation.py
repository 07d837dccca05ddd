"""Which of the path's entries `import nats` finds first, decided by hand."""

from __future__ import annotations

import importlib
import os
import sys

HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DROP_IN = os.path.join(HOME, "fastnats", "drop_in")
NO_DIRECTORY = (
    f"{DROP_IN} is no directory: a native module can't be imported from an archive, which has to "
    "be unpacked, and what is missing in an installation has to be installed again"
)


def are_same(path: str, other: str) -> bool:
    """Whether two paths lead to the same place."""
    return os.path.realpath(path) == os.path.realpath(other)


def is_switched_off() -> bool:
    """Whether ``FASTNATS=0`` in the environment leaves fastnats out."""
    return os.environ.get("FASTNATS") == "0"


def activate() -> bool:
    """Makes ``import nats`` fastnats's, where the interpreter hasn't done so when it started.

    An installation does this by itself with a ``.pth`` file. Those aren't read in directories
    that are on the path for other reasons (``pip install --target`` with ``PYTHONPATH``, Lambda
    layers) and under ``python -S``: there a program calls this before its first
    ``import nats``. It holds for this process; others call it themselves.

    :return: whether ``import nats`` is fastnats's now: not with ``FASTNATS=0``, which changes
        nothing.
    :raises ImportError: ``nats`` has been imported already, from elsewhere; or fastnats lies in an
        archive, from which no native module can be imported.
    """
    if is_switched_off():
        return False
    if not os.path.isdir(DROP_IN):
        raise ImportError(NO_DIRECTORY, name="nats", path=DROP_IN)
    ours = os.path.join(DROP_IN, "nats", "__init__.py")
    if (loaded := sys.modules.get("nats")) is not None:
        origin = getattr(loaded, "__file__", None)
        if origin is not None and are_same(origin, ours):
            return True
        raise ImportError(
            f"nats has been imported already, from {origin or 'a namespace'}: "
            "call fastnats.activate() before the first `import nats`",
            name="nats",
            path=origin,
        )
    sys.path[:] = [DROP_IN, *(entry for entry in sys.path if entry != DROP_IN)]
    importlib.invalidate_caches()
    return True
