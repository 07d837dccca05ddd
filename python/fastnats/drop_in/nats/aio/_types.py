"""Constants and type aliases of `nats.aio.client`."""

from __future__ import annotations

import os
from collections import UserString
from typing import Awaitable, Callable, Tuple, Union

from nats._units import CONTROL_STATUS, NO_RESPONDERS_STATUS

__all__ = [
    "CONNECT_OP",
    "CTRL_STATUS",
    "DEFAULT_BUFFER_SIZE",
    "DEFAULT_CONNECT_TIMEOUT",
    "DEFAULT_DRAIN_TIMEOUT",
    "DEFAULT_FLUSH_TIMEOUT",
    "DEFAULT_INBOX_PREFIX",
    "DEFAULT_MAX_FLUSHER_QUEUE_SIZE",
    "DEFAULT_MAX_OUTSTANDING_PINGS",
    "DEFAULT_MAX_PAYLOAD_SIZE",
    "DEFAULT_MAX_RECONNECT_ATTEMPTS",
    "DEFAULT_PENDING_SIZE",
    "DEFAULT_PING_INTERVAL",
    "DEFAULT_RECONNECT_TIME_WAIT",
    "EMPTY",
    "ERR_OP",
    "INFO_OP",
    "MAX_CONTROL_LINE_SIZE",
    "NATS_HDR_LINE",
    "NATS_HDR_LINE_SIZE",
    "NO_RESPONDERS_STATUS",
    "OK_OP",
    "PING_OP",
    "PING_PROTO",
    "PONG_OP",
    "PONG_PROTO",
    "PROTOCOL",
    "STATUS_MSG_LEN",
    "Callback",
    "CredentialCallback",
    "Credentials",
    "ErrorCallback",
    "JWTCallback",
    "RawCredentials",
    "SignatureCallback",
    "TokenCallback",
]

__lang__ = "python3"
PROTOCOL = 1

INFO_OP = b"INFO"
CONNECT_OP = b"CONNECT"
PING_OP = b"PING"
PONG_OP = b"PONG"
OK_OP = b"+OK"
ERR_OP = b"-ERR"
EMPTY = ""

PING_PROTO = PING_OP + b"\r\n"
PONG_PROTO = PONG_OP + b"\r\n"
DEFAULT_INBOX_PREFIX = b"_INBOX"

DEFAULT_PENDING_SIZE = 2 * 1024 * 1024  # bytes
DEFAULT_BUFFER_SIZE = 32768  # bytes
DEFAULT_RECONNECT_TIME_WAIT = 2  # seconds
DEFAULT_MAX_RECONNECT_ATTEMPTS = 60
DEFAULT_PING_INTERVAL = 120  # seconds
DEFAULT_MAX_OUTSTANDING_PINGS = 2
DEFAULT_MAX_PAYLOAD_SIZE = 1048576  # bytes
DEFAULT_MAX_FLUSHER_QUEUE_SIZE = 1024
DEFAULT_FLUSH_TIMEOUT = 10  # seconds
DEFAULT_CONNECT_TIMEOUT = 2  # seconds
DEFAULT_DRAIN_TIMEOUT = 30  # seconds
MAX_CONTROL_LINE_SIZE = 1024  # bytes

NATS_HDR_LINE = bytearray(b"NATS/1.0")
NATS_HDR_LINE_SIZE = len(NATS_HDR_LINE)
CTRL_STATUS = CONTROL_STATUS
STATUS_MSG_LEN = 3

Callback = Callable[[], Awaitable[None]]
ErrorCallback = Callable[[Exception], Awaitable[None]]
JWTCallback = Callable[[], Union[bytearray, bytes]]
SignatureCallback = Callable[[str], bytes]
TokenCallback = Callable[[], str]
# Called on the event loop at each connect and reconnect, so it must not block.
CredentialCallback = Callable[[], str]


class RawCredentials(UserString):
    """The text of a credentials file, where a path could stand as well."""


Credentials = Union[str, Tuple[str, str], RawCredentials, "os.PathLike[str]"]
