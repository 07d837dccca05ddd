"""Constants of the protocol, and a parser that feeds a client-like object."""

from __future__ import annotations

from typing import Any

from nats._core import WireParser
from nats.errors import ProtocolError

__all__ = [
    "AUTHORIZATION_VIOLATION",
    "AWAITING_CONTROL_LINE",
    "AWAITING_MSG_PAYLOAD",
    "CONNECT_OP",
    "CRLF_SIZE",
    "ERR_OP",
    "ERR_OP_SIZE",
    "HMSG_OP",
    "INFO_OP",
    "MAX_CONTROL_LINE_SIZE",
    "MSG_END",
    "MSG_OP",
    "MSG_OP_SIZE",
    "OK",
    "OK_OP",
    "OK_SIZE",
    "PERMISSIONS_ERR",
    "PING",
    "PING_OP",
    "PING_SIZE",
    "PONG",
    "PONG_OP",
    "PONG_SIZE",
    "PUB_OP",
    "STALE_CONNECTION",
    "SUB_OP",
    "UNSUB_OP",
    "ErrProtocol",
    "Parser",
    "ProtocolError",
]

INFO_OP = b"INFO"
CONNECT_OP = b"CONNECT"
PUB_OP = b"PUB"
MSG_OP = b"MSG"
HMSG_OP = b"HMSG"
SUB_OP = b"SUB"
UNSUB_OP = b"UNSUB"
PING_OP = b"PING"
PONG_OP = b"PONG"
OK_OP = b"+OK"
ERR_OP = b"-ERR"
MSG_END = b"\n"
_CRLF_ = b"\r\n"
_SPC_ = b" "

OK = OK_OP + _CRLF_
PING = PING_OP + _CRLF_
PONG = PONG_OP + _CRLF_
CRLF_SIZE = len(_CRLF_)
OK_SIZE = len(OK)
PING_SIZE = len(PING)
PONG_SIZE = len(PONG)
MSG_OP_SIZE = len(MSG_OP)
ERR_OP_SIZE = len(ERR_OP)

AWAITING_CONTROL_LINE = 1
AWAITING_MSG_PAYLOAD = 2
MAX_CONTROL_LINE_SIZE = 4096

# What the server's error texts contain, in lower case.
STALE_CONNECTION = "stale connection"
AUTHORIZATION_VIOLATION = "authorization violation"
PERMISSIONS_ERR = "permissions violation"


class Parser:
    """Passes the operations in a byte stream on to ``nc``, whose ``_process_*`` coroutines
    take them. The client's own data path doesn't come through here."""

    def __init__(self, nc: Any = None) -> None:
        self.nc = nc
        self.reset()

    def __repr__(self) -> str:
        return f"<nats protocol parser state={self.state}>"

    def reset(self) -> None:
        """Forgets what has been fed so far."""
        self._wire = WireParser()
        self.state = AWAITING_CONTROL_LINE

    async def parse(self, data: bytes = b"") -> None:
        """Takes ``data``, split anywhere.

        :raises nats.errors.ProtocolError: this isn't NATS protocol.
        """
        for op, value in self._wire.feed(data):
            if op == "MSG":
                await self.nc._process_msg(*value)
            elif op == "INFO":
                import json

                await self.nc._process_info(json.loads(value.decode()))
            elif op == "-ERR":
                await self.nc._process_err(value.decode(errors="replace").lower())
            elif op == "PING":
                await self.nc._process_ping()
            elif op == "PONG":
                await self.nc._process_pong()
        self.state = AWAITING_MSG_PAYLOAD if self._wire.in_message else AWAITING_CONTROL_LINE


class ErrProtocol(ProtocolError):
    """Use :class:`nats.errors.ProtocolError`."""

    def __str__(self) -> str:
        return "nats: Protocol Error"
