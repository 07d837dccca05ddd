"""Acknowledgements of published messages, where the core leaves them to Python."""

from __future__ import annotations

from typing import Optional

from nats._texts import with_details
from nats._units import NO_RESPONDERS_STATUS, status_of
from nats.aio.msg import Msg
from nats.js import api
from nats.js.errors import NoStreamResponseError

from ._api_requests import decode


def parse_ack(data: bytes, status: Optional[str]) -> api.PubAck:
    """Returns the :class:`nats.js.api.PubAck` in a reply.

    Within an atomic batch (ADR-50), each message but the last is acknowledged by an empty reply:
    it has been received, but isn't stored yet and has no sequence.

    :param data: payload of the reply.
    :param status: status of the reply, if it has one.
    :raises nats.js.errors.NoStreamResponseError: no stream stores the subject.
    :raises nats.js.errors.APIError: the stream refuses the message.
    """
    if status == NO_RESPONDERS_STATUS:
        raise no_stream()
    if status is None and not data:
        return api.PubAck(stream="", seq=0)
    return api.PubAck.from_response(decode(data))


def no_stream(subject: str = "the subject") -> NoStreamResponseError:
    """Returns the error for a published message that nobody acknowledges.

    :param subject: what to call its subject.
    """
    hint = f"does a stream store {subject}, and is JetStream enabled?"
    return with_details(NoStreamResponseError(), hint)


def parse_ack_message(msg: Msg) -> api.PubAck:
    """As :func:`parse_ack`, for a reply that came through the client's `request`."""
    return parse_ack(msg.data, status_of(msg.headers))
