"""Messages as they are stored in a stream."""

from __future__ import annotations

from binascii import a2b_base64
from typing import Any, Optional

from nats.js import api

_CRLF = b"\r\n"


def raw_msg(resp: dict[str, Any]) -> api.RawStreamMsg:
    """Returns the message in the API's answer.

    :param resp: the answer to ``STREAM.MSG.GET``.
    """
    message = api.RawStreamMsg.from_response(resp["message"])
    if message.hdrs:
        message.headers = _parse_headers(a2b_base64(message.hdrs))
    message.data = a2b_base64(message.data) if message.data else None
    return message


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
