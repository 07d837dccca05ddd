"""Protocol commands as bytes.

The client encodes its own in the native core; these are for tools and tests.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = [
    "HPUB_OP",
    "PUB_OP",
    "SUB_OP",
    "UNSUB_OP",
    "Command",
    "hpub_cmd",
    "pub_cmd",
    "sub_cmd",
    "unsub_cmd",
]

PUB_OP = "PUB"
HPUB_OP = "HPUB"
SUB_OP = "SUB"
UNSUB_OP = "UNSUB"
_CRLF_ = "\r\n"

Command = Callable[..., bytes]


def pub_cmd(subject: str, reply: str, payload: bytes) -> bytes:
    """``PUB`` of ``payload`` to ``subject``; ``reply`` may be empty."""
    return f"{PUB_OP} {subject} {reply} {len(payload)}\r\n".encode() + payload + b"\r\n"


def hpub_cmd(subject: str, reply: str, hdr: bytes, payload: bytes) -> bytes:
    """``HPUB`` of ``payload`` with the header block ``hdr`` to ``subject``; ``reply`` may be
    empty."""
    sizes = f"{len(hdr)} {len(hdr) + len(payload)}"
    return f"{HPUB_OP} {subject} {reply} {sizes}\r\n".encode() + hdr + payload + b"\r\n"


def sub_cmd(subject: str, queue: str, sid: int) -> bytes:
    """``SUB`` to ``subject`` as ``sid``; ``queue`` may be empty."""
    return f"{SUB_OP} {subject} {queue} {sid}\r\n".encode()


def unsub_cmd(sid: int, limit: int) -> bytes:
    """``UNSUB`` of ``sid`` after ``limit`` messages, at once if that is 0."""
    return f"{UNSUB_OP} {sid} {limit or ''}\r\n".encode()
