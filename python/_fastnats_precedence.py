"""Puts the package ``nats`` of fastnats on the path in front of this directory, and no more.

Called by ``fastnats_precedence.pth`` (``fastnats_precedence.start`` from CPython 3.15 on) at each
start of an interpreter, so nothing is imported here that isn't imported by then, and nothing is
done but handling the path. ``FASTNATS=0`` in the environment leaves fastnats out.
"""

import os
import sys


def apply() -> None:
    """Do so; once or several times, the outcome is the same."""
    home = os.path.dirname(os.path.abspath(__file__))
    drop_in = os.path.join(home, "fastnats", "drop_in")
    path = [entry for entry in sys.path if entry != drop_in]
    if os.environ.get("FASTNATS") != "0":
        path.insert(path.index(home) if home in path else len(path), drop_in)
    sys.path[:] = path
