"""Requests to the JetStream API, and the answers: subjects, JSON, errors."""

from __future__ import annotations

import json
from json.encoder import encode_basestring_ascii
from typing import Any, Optional

from nats._texts import with_details
from nats._units import SERVICE_UNAVAILABLE

from ._api.enums import DEFAULT_PREFIX
from ._names import check_consumer_name, check_stream_name, consumer_text
from .errors import APIError, ServiceUnavailableError


def stream_operation(operation: str, stream: Optional[str]) -> str:
    """Returns the subject of an operation on a stream, without the API's prefix.

    :param operation: such as ``STREAM.INFO``.
    :raises ValueError: no stream can have that name.
    """
    check_stream_name(stream)
    return f"{operation}.{stream}"


def consumer_operation(operation: str, stream: Optional[str], consumer: Optional[str]) -> str:
    """Returns the subject of an operation on a consumer, without the API's prefix.

    :param operation: such as ``CONSUMER.INFO``.
    :raises ValueError: no stream, or no consumer, can have that name.
    """
    check_stream_name(stream)
    check_consumer_name(consumer)
    return f"{operation}.{stream}.{consumer}"


def put_prefix(api_prefix: str, pre: str) -> str:
    """Returns what comes before the key in the subjects that values are put to.

    For a bucket in another domain it begins with the API's prefix, as `$KV` subjects don't pass
    from one domain to another.

    :param pre: what comes before the key in the bucket's own subjects.
    """
    is_domain = api_prefix.startswith("$JS.") and api_prefix.endswith(".API")
    return f"{api_prefix}.{pre}" if is_domain and api_prefix != DEFAULT_PREFIX else pre


def encode(request: Optional[dict[str, Any]]) -> bytes:
    """Returns the payload of a request: its JSON, or nothing for ``None``."""
    return b"" if request is None else json.dumps(request).encode()


def last_message_request(stream: str, subject: str, direct: bool) -> tuple[str, bytes]:
    """Returns subject, without the API's prefix, and payload of the request for the last message
    with a subject. The names aren't checked.

    :param direct: ask any replica (ADR-31).
    """
    if direct:
        # In the subject, so that permissions can depend on it.
        return f"DIRECT.GET.{stream}.{subject}", b""
    payload = b'{"last_by_subj": %b}' % encode_basestring_ascii(subject).encode()
    return f"STREAM.MSG.GET.{stream}", payload


def decode(payload: bytes) -> dict[str, Any]:
    """Returns the JSON object in an answer.

    :raises nats.js.errors.APIError: the answer is an error.
    """
    answer: dict[str, Any] = json.loads(payload)
    if "error" in answer:
        APIError.from_error(answer["error"])
    return answer


def no_jetstream(subject: str = "") -> ServiceUnavailableError:
    """Returns the error for a request that nobody answers.

    :param subject: that of the request, if it is known.
    """
    asked = f"nobody answers {subject}: " if subject else ""
    return with_details(
        ServiceUnavailableError(code=SERVICE_UNAVAILABLE),
        f"{asked}is JetStream enabled on the server and for this account?",
    )


def request_text(subject: str) -> str:
    """Returns what the texts of errors say about the stream and the consumer of a request.

    :param subject: without the API's prefix, such as ``.CONSUMER.INFO.ORDERS.worker``.
    """
    kind, *names = subject.removeprefix(".").split(".")
    # The verb is two tokens in `MSG.GET` and `DURABLE.CREATE`.
    names = names[2 if names[:1] in (["MSG"], ["DURABLE"]) else 1 :]
    if not names:
        return ""
    if kind == "CONSUMER" and len(names) > 1:
        return consumer_text(names[0], names[1])
    return f"stream {names[0]!r}"
