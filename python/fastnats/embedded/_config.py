"""Telling a configuration file from configuration text."""

from __future__ import annotations

import os
from pathlib import Path


class Config:
    """A server's configuration: a file used where it is, or text to be written to a file."""

    def __init__(self, source: str | os.PathLike[str]) -> None:
        """Takes a path or text.

        A string is text when it has a line break or a brace, or when it names no file and reads
        like a setting (``max_payload: 100``).

        :raises FileNotFoundError: there is no such file.
        """
        self.text: str | None = None
        self.path: Path | None = None
        if isinstance(source, str) and any(mark in source for mark in "\n{}"):
            self.text = source
            return
        path = Path(source)
        if path.is_file():
            self.path = path.absolute()
        elif isinstance(source, str) and any(mark in source for mark in ":= "):
            self.text = source
        else:
            raise FileNotFoundError(f"no configuration file {os.fspath(source)!r}")

    def materialize(self, directory: Path) -> Path:
        """Returns the file to start the server with; writes it to ``directory`` if it is text."""
        if self.path is not None:
            return self.path
        path = directory / "nats-server.conf"
        path.write_text(self.text or "", encoding="utf-8")
        return path
