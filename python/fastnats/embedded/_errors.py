"""Errors of the embedded server."""

from __future__ import annotations


class EmbeddedError(RuntimeError):
    """An embedded server could not do what was asked."""


class ServerNotFoundError(EmbeddedError, FileNotFoundError):
    """No nats-server program was found."""


class ServerStartError(EmbeddedError):
    """The server ended or stayed silent instead of becoming ready.

    ``log`` is what the server wrote until then; the message contains it as well.
    """

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(f"{message}\n{log}" if log else message)
        self.log = log
