"""Messages as they are stored in a stream."""

from __future__ import annotations

from binascii import a2b_base64
from typing import Any, Optional

from nats._units import NO_MESSAGES_STATUS, NOT_FOUND, status_of
from nats.js import api
from nats.js.errors import APIError, NotFoundError

_CRLF = b"\r\n"

# Headers of the answer to a direct get.
_SEQUENCE = "Nats-Sequence"
_SUBJECT = "Nats-Subject"
_TIME_STAMP = "Nats-Time-Stamp"


def raw_msg(resp: dict[str, Any]) -> api.RawStreamMsg:
    """Returns the message in the API's answer.

    :param resp: the answer to ``STREAM.MSG.GET``.
    """
    message = api.RawStreamMsg.from_response(resp["message"])
    if message.hdrs:
        message.headers = _parse_headers(a2b_base64(message.hdrs))
    message.data = a2b_base64(message.data) if message.data else None
    return message


def direct_msg(msg: Any) -> api.RawStreamMsg:
    """Returns the message in the answer to a direct get (ADR-31).

    :param msg: the answer; empty data become ``None`` in it.
    :raises nats.js.errors.NotFoundError: there is no such message.
    :raises nats.js.errors.APIError: the server refuses the request.
    """
    if not msg.data:
        msg.data = None
        status = status_of(msg.headers)
        if status == NO_MESSAGES_STATUS:
            raise NotFoundError(code=NOT_FOUND)
        if status:
            APIError.from_msg(msg)
    seq = msg.headers.get(_SEQUENCE)
    time = msg.headers.get(_TIME_STAMP)
    return api.RawStreamMsg(
        subject=msg.headers[_SUBJECT],
        seq=int(seq) if seq else None,
        data=msg.data,
        headers=msg.headers,
        time=api.Base._parse_utc_iso(time) if time else None,
    )


def _parse_headers(block: bytes) -> Optional[dict[str, str]]:
    """Reads the headers of a stored message (ADR-4) by the same rules as those of a delivered one.

    Lines that can't be understood are skipped; of a repeated name the last value counts.
    """
    headers: dict[str, str] = {}
    for line in block.split(_CRLF)[1:]:
        name, colon, value = line.partition(b":")
        key = name.strip().decode("ascii", "replace")
        if colon and key.isascii() and not any(character.isspace() for character in key):
            headers[key] = value.strip().decode(errors="replace")
    return headers or None
