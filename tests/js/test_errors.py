"""JetStream's exceptions: texts, bases, and which one a response becomes."""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

import nats.errors
import pytest
from nats.aio.msg import Msg
from nats.js import errors

ERROR = {"code": 404, "err_code": 10059, "description": "stream not found"}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (400, errors.BadRequestError),
        (404, errors.NotFoundError),
        (500, errors.ServerError),
        (503, errors.ServiceUnavailableError),
        (409, errors.APIError),
        (999, errors.APIError),
    ],
)
def test_from_error(code: int, expected: type[errors.APIError]) -> None:
    with pytest.raises(errors.APIError) as caught:
        errors.APIError.from_error({**ERROR, "code": code})
    assert type(caught.value) is expected
    assert (caught.value.code, caught.value.err_code) == (code, 10059)
    assert caught.value.description == "stream not found"
    assert (caught.value.stream, caught.value.seq) == (None, None)
    assert str(caught.value) == (
        f"nats: {expected.__name__}: code={code} err_code=10059 description='stream not found'"
    )


def test_from_error_keeps_stream_and_seq_and_ignores_the_unknown() -> None:
    with pytest.raises(errors.NotFoundError) as caught:
        errors.APIError.from_error({**ERROR, "stream": "S", "seq": 3, "hint": {"new": True}})
    assert (caught.value.stream, caught.value.seq) == ("S", 3)


def test_from_error_of_a_subclass_goes_by_the_code() -> None:
    with pytest.raises(errors.BadRequestError):
        errors.NotFoundError.from_error({"code": 400})


def message(headers: dict[str, str] | None) -> Any:
    return Msg(_client=None, headers=headers)  # type: ignore[arg-type]


def test_from_msg() -> None:
    with pytest.raises(errors.ServiceUnavailableError):
        errors.APIError.from_msg(message({"Status": "503"}))
    with pytest.raises(errors.APIError) as caught:
        errors.APIError.from_msg(message({"Status": "408", "Description": "Bad Request"}))
    assert type(caught.value) is errors.APIError
    assert (caught.value.code, caught.value.description) == (408, "Bad Request")
    with pytest.raises(errors.APIError) as caught:
        errors.APIError.from_msg(message(None))
    assert caught.value.code is None


NO_DETAILS = "code=None err_code=None description='None'"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (errors.Error(), "nats: JetStream.Error "),
        (errors.Error("why"), "nats: JetStream.Error why"),
        (errors.InvalidKeyError(), "nats: JetStream.InvalidKeyError "),
        (errors.ObjectAlreadyExists("x"), "nats: JetStream.ObjectAlreadyExists x"),
        (errors.APIError(), f"nats: APIError: {NO_DETAILS}"),
        (errors.NotFoundError(), f"nats: NotFoundError: {NO_DETAILS}"),
        (errors.BadBucketError(), f"nats: BadBucketError: {NO_DETAILS}"),
        (
            errors.APIError(503, "text", 10, "stream", 1),
            "nats: APIError: code=503 err_code=10 description='text'",
        ),
        (errors.NoStreamResponseError(), "nats: no response from stream"),
        (
            errors.TooManyStalledMsgsError(),
            "nats: stalled with too many outstanding async published messages",
        ),
        (errors.FetchTimeoutError(), "nats: fetch timeout"),
        (
            errors.ConsumerSequenceMismatchError(3, 2, 5),
            "nats: sequence mismatch for consumer at sequence 2 (3 sequences behind), "
            "should restart consumer from stream sequence 3",
        ),
        (errors.KeyDeletedError(), "nats: key was deleted"),
        (errors.KeyNotFoundError(), "nats: key not found"),
        (errors.KeyNotFoundError(message="in bucket B"), "nats: key not found: in bucket B"),
        (errors.KeyWrongLastSequenceError("wrong: 5"), "nats: wrong: 5"),
        (errors.NoKeysError(), "nats: no keys found"),
        (errors.KeyHistoryTooLargeError(), "nats: history limited to a max of 64"),
        (
            errors.KeyValueLimitMarkerTTLNotSupportedError(),
            "nats: limit marker TTLs not supported by server",
        ),
    ],
)
def test_text(error: Exception, text: str) -> None:
    assert str(error) == text


def test_repr_shows_the_positional_arguments_alone() -> None:
    assert repr(errors.Error("why")) == "Error('why')"
    assert repr(errors.APIError(404, "gone")) == "APIError(404, 'gone')"
    assert repr(errors.NotFoundError(code=404)) == "NotFoundError()"


@pytest.mark.parametrize(
    ("error", "base"),
    [
        (errors.Error, nats.errors.Error),
        (errors.APIError, errors.Error),
        (errors.ConsumerInvalidResetError, errors.BadRequestError),
        (errors.FetchTimeoutError, nats.errors.TimeoutError),
        (errors.FetchTimeoutError, asyncio.TimeoutError),
        (errors.BucketNotFoundError, errors.NotFoundError),
        (errors.KeyDeletedError, errors.KeyValueError),
        (errors.KeyDeletedError, errors.NotFoundError),
        (errors.KeyNotFoundError, errors.NotFoundError),
        (errors.KeyWrongLastSequenceError, errors.BadRequestError),
        (errors.ObjectNotFoundError, errors.NotFoundError),
        (errors.ObjectDeletedError, errors.NotFoundError),
    ],
)
def test_bases(error: type[Exception], base: type[Exception]) -> None:
    assert issubclass(error, base)
    assert not issubclass(errors.FetchTimeoutError, errors.Error)


def test_details_survive_pickling_and_count_for_equality() -> None:
    error = errors.NotFoundError(code=404, err_code=10037, description="no message found")
    copied = pickle.loads(pickle.dumps(error))
    assert copied == error
    assert str(copied) == str(error)
    assert error != errors.NotFoundError(code=404, err_code=10059)
    assert error != errors.APIError(404, "no message found", 10037)


def test_key_errors_keep_what_they_are_given() -> None:
    deleted = errors.KeyDeletedError(entry="entry", op="DEL")
    assert (deleted.entry, deleted.op) == ("entry", "DEL")
    missing = errors.KeyNotFoundError("entry", "PURGE", "text")
    assert (missing.entry, missing.op, missing.message) == ("entry", "PURGE", "text")
