"""What the core leaves to Python of the acknowledgements of published messages."""

from __future__ import annotations

from typing import Optional

from nats._units import NO_RESPONDERS_STATUS, status_of
from nats.aio.msg import Msg
from nats.js import api
from nats.js.errors import NoStreamResponseError, concerning

from ._api_requests import decode


def parse_ack(data: bytes, status: Optional[str]) -> api.PubAck:
    """Makes a :class:`nats.js.api.PubAck` of a reply.

    Within an atomic batch (ADR-50), each message but the last is acknowledged by an empty reply:
    it is taken in, but not stored yet, and has no sequence.

    :param status: the inline status of the reply's headers, if it has one.
    :raises nats.js.errors.NoStreamResponseError: no stream listens to the subject.
    :raises nats.js.errors.APIError: the stream refuses the message.
    """
    if status == NO_RESPONDERS_STATUS:
        raise no_stream()
    if status is None and not data:
        return api.PubAck(stream="", seq=0)
    return api.PubAck.from_response(decode(data))


def no_stream(subject: str = "the subject") -> NoStreamResponseError:
    """Nobody has answered a message that was to be stored."""
    hint = f"does a stream store {subject}, and is JetStream enabled?"
    return concerning(NoStreamResponseError(), hint)


def parse_ack_message(msg: Msg) -> api.PubAck:
    """As :func:`parse_ack`, of a reply that an application's own code has passed on."""
    return parse_ack(msg.data, status_of(msg.headers))
