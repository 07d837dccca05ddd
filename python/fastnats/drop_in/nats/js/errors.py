"""Exceptions of JetStream and the stores built on it.

What is a kind of what::

    nats.errors.Error
        Error
            APIError
                ServiceUnavailableError
                ServerError
                NotFoundError
                    ConsumerDeletedError
                    BucketNotFoundError
                    ObjectNotFoundError
                    ObjectDeletedError
                BadRequestError
                    ConsumerInvalidResetError
                BadBucketError
                KeyValueError
                    KeyDeletedError (also NotFoundError)
                    KeyNotFoundError (also NotFoundError)
                    KeyWrongLastSequenceError (also BadRequestError)
                        KeyExistsError
                    NoKeysError
                    KeyHistoryTooLargeError
            NoStreamResponseError
            TooManyStalledMsgsError
            ConsumerNotActiveError
            ConsumerSequenceMismatchError
            InvalidKeyError
            InvalidBucketNameError
            InvalidObjectNameError
            BadObjectMetaError
            LinkIsABucketError
            DigestMismatchError
            ObjectAlreadyExists
            KeyValueLimitMarkerTTLNotSupportedError
    nats.errors.TimeoutError
        FetchTimeoutError
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, Optional

import nats.errors
from nats._texts import with_details
from nats._units import (
    BAD_REQUEST,
    NO_RESPONDERS_STATUS,
    NOT_FOUND,
    SERVER_ERROR,
    SERVICE_UNAVAILABLE,
    STATUS_HEADER,
)

if TYPE_CHECKING:
    from nats.aio.msg import Msg

__all__ = [
    "APIError",
    "BadBucketError",
    "BadObjectMetaError",
    "BadRequestError",
    "BucketNotFoundError",
    "ConsumerDeletedError",
    "ConsumerInvalidResetError",
    "ConsumerNotActiveError",
    "ConsumerSequenceMismatchError",
    "DigestMismatchError",
    "Error",
    "FetchTimeoutError",
    "InvalidBucketNameError",
    "InvalidKeyError",
    "InvalidObjectNameError",
    "KeyDeletedError",
    "KeyExistsError",
    "KeyHistoryTooLargeError",
    "KeyNotFoundError",
    "KeyValueError",
    "KeyValueLimitMarkerTTLNotSupportedError",
    "KeyWrongLastSequenceError",
    "LinkIsABucketError",
    "NoKeysError",
    "NoStreamResponseError",
    "NotFoundError",
    "ObjectAlreadyExists",
    "ObjectDeletedError",
    "ObjectNotFoundError",
    "ServerError",
    "ServiceUnavailableError",
    "TooManyStalledMsgsError",
    "nats",
]


class Error(nats.errors.Error):
    """Base of the errors of JetStream, except for timeouts.

    ``details`` says what it is about, such as the stream or the key, and perhaps what to do; the
    text ends with it.
    """

    # Not in `vars()`, nor a parameter: an error made without arguments is like nats-py's.
    details = ""

    def __init__(self, description: Optional[str] = None) -> None:
        self.description = description

    def _text(self) -> str:
        return f"nats: JetStream.{type(self).__name__} {self.description or ''}"

    def __str__(self) -> str:
        text = self._text()
        return f"{text.rstrip()} ({self.details})" if self.details else text


@dataclass(repr=False, init=False)
class APIError(Error):
    """The server refused a request.

    ``code`` is like an HTTP status, ``err_code`` says exactly what is wrong (ADR-1, ADR-7).
    ``stream`` and ``seq`` come with errors of publishing.
    """

    code: Optional[int]
    err_code: Optional[int]
    description: Optional[str]
    stream: Optional[str]
    seq: Optional[int]

    def __init__(
        self,
        code: Optional[int] = None,
        description: Optional[str] = None,
        err_code: Optional[int] = None,
        stream: Optional[str] = None,
        seq: Optional[int] = None,
    ) -> None:
        self.code = code
        self.err_code = err_code
        self.description = description
        self.stream = stream
        self.seq = seq

    @classmethod
    def from_msg(cls, msg: Msg) -> NoReturn:
        """Raises the error that the status of a message stands for.

        :param msg: a message that the server has sent in the place of an answer.
        :raises ServiceUnavailableError: the status is 503.
        :raises APIError: for any other, and without a status.
        """
        if msg.header is None:
            raise with_details(APIError(), "the answer has no status")
        code = msg.header[STATUS_HEADER]
        if code == NO_RESPONDERS_STATUS:
            raise with_details(
                ServiceUnavailableError(
                    code=SERVICE_UNAVAILABLE, description=msg.header.get("Description")
                ),
                "nobody answers: is the stream or consumer there, and JetStream enabled?",
            )
        raise APIError(code=int(code), description=msg.header["Description"])

    @classmethod
    def from_error(cls, err: dict[str, Any]) -> NoReturn:
        """Raises the error that the ``error`` object of a response stands for, by its ``code``.

        :param err: the object; fields that this version doesn't know are ignored.
        """
        known = {name: err[name] for name in _ERROR_FIELDS if name in err}
        raise _BY_CODE.get(err["code"], APIError)(**known)

    def _text(self) -> str:
        name = type(self).__name__
        known = {"code": self.code, "err_code": self.err_code}
        if self.code is None and not self.details:
            # As nats-py shows errors that an application has made.
            parts = [f"{field}={value}" for field, value in known.items()]
            parts.append(f"description='{self.description}'")
        else:
            parts = [f"{field}={value}" for field, value in known.items() if value is not None]
            if self.description is not None:
                parts.append(f"description='{self.description}'")
        return f"nats: {name}: {' '.join(parts)}" if parts else f"nats: {name}"


# Class attributes, as subclasses that take other parameters don't set all of these.
for _field in ("code", "err_code", "description", "stream", "seq"):
    setattr(APIError, _field, None)
del _field


class ServiceUnavailableError(APIError):
    """503: JetStream isn't enabled, has no leader, or is out of resources."""


class ServerError(APIError):
    """500: the server failed."""


class NotFoundError(APIError):
    """404: there is no such stream, consumer or message."""


class ConsumerDeletedError(NotFoundError):
    """The consumer of a push subscription is gone; told to ``error_cb``."""


class BadRequestError(APIError):
    """400: the request makes no sense to the server."""


class ConsumerInvalidResetError(BadRequestError):
    """The consumer's ``DeliverPolicy`` doesn't allow the reset (``err_code`` 10204, ADR-60)."""


_ERROR_FIELDS = ("code", "description", "err_code", "stream", "seq")
_BY_CODE: dict[Any, type[APIError]] = {
    SERVICE_UNAVAILABLE: ServiceUnavailableError,
    SERVER_ERROR: ServerError,
    NOT_FOUND: NotFoundError,
    BAD_REQUEST: BadRequestError,
}


class NoStreamResponseError(Error):
    """No stream stores the subject of a published message."""

    def _text(self) -> str:
        return "nats: no response from stream"


class TooManyStalledMsgsError(Error):
    """Too many messages published without waiting are still unacknowledged."""

    def _text(self) -> str:
        return "nats: stalled with too many outstanding async published messages"


class FetchTimeoutError(nats.errors.TimeoutError):
    """No message came in time."""

    def _text(self) -> str:
        return "nats: fetch timeout"


class ConsumerNotActiveError(Error):
    """The consumer of a push subscription sends no heartbeats any more; told to ``error_cb``."""


class ConsumerSequenceMismatchError(Error):
    """A heartbeat shows that messages of a push consumer were lost; sent to ``error_cb``."""

    def __init__(
        self,
        stream_resume_sequence: Optional[int] = None,
        consumer_sequence: Optional[int] = None,
        last_consumer_sequence: Optional[int] = None,
    ) -> None:
        self.stream_resume_sequence: Any = stream_resume_sequence
        self.consumer_sequence: Any = consumer_sequence
        self.last_consumer_sequence: Any = last_consumer_sequence

    def _text(self) -> str:
        gap = self.last_consumer_sequence - self.consumer_sequence
        return (
            "nats: sequence mismatch for consumer at sequence "
            f"{self.consumer_sequence} ({gap} sequences behind), "
            f"should restart consumer from stream sequence {self.stream_resume_sequence}"
        )


class BucketNotFoundError(NotFoundError):
    """There is no such key-value bucket or object store."""


class BadBucketError(APIError):
    """The stream isn't configured as a bucket."""


class KeyValueError(APIError):
    """Base of the errors of key-value buckets; ``bucket`` and ``key`` tell what it is about, where
    that is known."""

    bucket: Optional[str] = None
    key: Optional[str] = None


class KeyDeletedError(KeyValueError, NotFoundError):
    """The key was deleted or purged: ``entry`` and ``op`` tell when and how."""

    code = NOT_FOUND

    def __init__(self, entry: Any = None, op: Optional[str] = None) -> None:
        self.entry = entry
        self.op = op

    def _text(self) -> str:
        return "nats: key was deleted"


class KeyNotFoundError(KeyValueError, NotFoundError):
    """The bucket doesn't have the key, or not in that revision."""

    code = NOT_FOUND

    def __init__(
        self, entry: Any = None, op: Optional[str] = None, message: Optional[str] = None
    ) -> None:
        self.entry = entry
        self.op = op
        self.message = message

    def _text(self) -> str:
        text = "nats: key not found"
        return f"{text}: {self.message}" if self.message else text


class KeyWrongLastSequenceError(KeyValueError, BadRequestError):
    """The key's revision isn't the one that the update expected."""

    code = BAD_REQUEST

    def __init__(self, description: Optional[str] = None) -> None:
        self.description = description

    def _text(self) -> str:
        return f"nats: {self.description}"


class KeyExistsError(KeyWrongLastSequenceError):
    """A key that was to be created has a value already: that of ``revision``."""

    revision: Optional[int] = None


class NoKeysError(KeyValueError):
    """The bucket has no keys, or none that match."""

    def _text(self) -> str:
        return "nats: no keys found"


class KeyHistoryTooLargeError(KeyValueError):
    """A bucket keeps at most 64 revisions of a key."""

    def _text(self) -> str:
        return "nats: history limited to a max of 64"


class InvalidKeyError(Error):
    """A key that isn't allowed (ADR-8)."""


class InvalidBucketNameError(Error):
    """A name of a bucket with other characters than letters, digits, ``_`` and ``-``."""


class InvalidObjectNameError(Error):
    """A name that no object can have."""


class BadObjectMetaError(Error):
    """The meta data of an object can't be read, or make no sense."""


class LinkIsABucketError(Error):
    """The object is a link to a whole store: there is no content to get."""


class DigestMismatchError(Error):
    """The content that was read isn't what had been stored, by its digest."""


class ObjectNotFoundError(NotFoundError):
    """The store has no such object."""


class ObjectDeletedError(NotFoundError):
    """The object has been deleted."""


class ObjectAlreadyExists(Error):
    """An object of this name exists."""


class KeyValueLimitMarkerTTLNotSupportedError(Error):
    """``limit_marker_ttl`` needs nats-server 2.11 or newer."""

    def _text(self) -> str:
        return "nats: limit marker TTLs not supported by server"
