"""The error classes, and where they come from."""

from __future__ import annotations

import copy
import functools
import inspect
import pickle
from typing import Any

import nats
from nats.aio.msg import Msg
from parity.harness import ADDED, Context, jetstream_scenario, scenario, without_details
from parity.scenarios._jetstream import begin, fill, told


def classes() -> list[type[Exception]]:
    found = vars(nats.js.errors).values()
    return [
        value
        for value in found
        if inspect.isclass(value)
        and issubclass(value, Exception)
        and value.__module__ == "nats.js.errors"
        and value.__name__ not in ADDED
    ]


@scenario(start=False)
async def without_arguments(ctx: Context) -> None:
    for cls in sorted(classes(), key=lambda cls: cls.__name__):
        ctx.say(cls.__name__, [base.__qualname__ for base in cls.__mro__[1:-3]])
        try:
            error = cls()
            ctx.say(str(error), "|", repr(error), error.args)
        except Exception as failure:
            ctx.say("str raises", type(failure).__name__)


@scenario(start=False)
async def with_arguments(ctx: Context) -> None:
    errors: Any = nats.js.errors
    made = [
        errors.Error("text"),
        errors.Error(description="text"),
        errors.APIError(400, "text", 10071, "S", 5),
        errors.NotFoundError(code=404, description="text", err_code=10059),
        errors.BadRequestError(description="text"),
        errors.ServiceUnavailableError(code=503),
        errors.ConsumerInvalidResetError(code=400, err_code=10204, description="text"),
        errors.ConsumerSequenceMismatchError(5, 3, 9),
        errors.KeyDeletedError("entry", "DEL"),
        errors.KeyNotFoundError("entry", "DEL", "more"),
        errors.KeyNotFoundError(message="more"),
        errors.KeyWrongLastSequenceError("wrong last sequence: 3"),
        errors.InvalidKeyError("a b"),
        errors.InvalidBucketNameError("a.b"),
        errors.ObjectNotFoundError(),
        errors.DigestMismatchError("text"),
        errors.FetchTimeoutError("ignored"),
        errors.NoStreamResponseError("ignored"),
        errors.TooManyStalledMsgsError("ignored"),
    ]
    for error in made:
        ctx.say(without_details(error), "|", repr(error), error.args, vars(error))
    for wrong in ({"wrong": 1}, {"code": 1, "more": 2}):
        await ctx.attempt(f"{wrong}", lambda wrong=wrong: errors.APIError(**wrong))


@scenario(start=False)
async def compared_and_copied(ctx: Context) -> None:
    errors: Any = nats.js.errors
    one = errors.NotFoundError(code=404, description="text", err_code=1)
    ctx.say(one == errors.NotFoundError(code=404, description="text", err_code=1))
    ctx.say(one == errors.NotFoundError(code=404), one == errors.APIError(code=404), one == "x")
    await ctx.attempt("hash", lambda: hash(one))
    for error in (one, errors.Error("text"), errors.NoKeysError()):
        other = copy.copy(error)
        ctx.say(type(other).__name__, vars(other))
        other = pickle.loads(pickle.dumps(error))
        ctx.say(type(other).__name__, vars(other))


@scenario(start=False)
async def made_from_answers(ctx: Context) -> None:
    errors: Any = nats.js.errors
    for code in (400, 404, 408, 409, 500, 503, 0, "400", None):
        answer = {"code": code, "err_code": 5, "description": "text"}
        error = await ctx.attempt(f"{code}", functools.partial(errors.APIError.from_error, answer))
        ctx.say(type(error).__name__, vars(error))
    for part in ({}, {"description": "text"}, {"code": 400}):
        await ctx.attempt(f"{part}", functools.partial(errors.APIError.from_error, part))
    for cls in (errors.NotFoundError, errors.KeyValueError):
        await ctx.attempt("other class", lambda cls=cls: cls.from_error({"code": 400}))


@scenario(start=False)
async def made_from_messages(ctx: Context) -> None:
    client: Any = None
    kinds: list[Any] = [
        None,
        {"Status": "503"},
        {"Status": "409", "Description": "Consumer Deleted"},
        {"Status": "400", "Description": "Bad Request"},
        {"Status": "404", "Description": "No Messages"},
        {"Status": "409"},
        {"Description": "text"},
        {"Status": "text", "Description": "text"},
    ]
    for headers in kinds:
        msg = Msg(client, "s", headers=headers)
        await ctx.attempt(f"{headers}", lambda msg=msg: nats.js.errors.APIError.from_msg(msg))


@jetstream_scenario
async def fields_of_errors_from_the_server(ctx: Context) -> None:
    nc, js = await begin(ctx)
    await fill(js, 1)
    calls: dict[str, Any] = {
        "no stream": lambda: js.stream_info("T"),
        "no consumer": lambda: js.consumer_info("S", "x"),
        "no message": lambda: js.get_msg("S", 9),
        "no bucket": lambda: js.key_value("x"),
        "no store": lambda: js.object_store("x"),
        "exists": lambda: js.add_stream(name="S", subjects=["x"], storage="memory"),
        "unknown subject": lambda: js.subscribe("none"),
        "sequence": lambda: js.publish("s.a", headers={"Nats-Expected-Last-Sequence": "9"}),
        "other prefix": lambda: nc.jetstream(prefix="X").account_info(),
        "delete a bucket": lambda: js.delete_key_value("x"),
        "delete a store": lambda: js.delete_object_store("x"),
    }
    for what, call in calls.items():
        error = await told(ctx, what, call())
        bases = (nats.js.errors.APIError, nats.js.errors.Error, nats.errors.Error)
        # A code of the client's own, and details, are only here.
        fields = ("err_code", "description", "stream", "seq")
        ctx.say({name: getattr(error, name) for name in fields}, error.err_code and error.code)
        ctx.say(repr(error), [isinstance(error, base) for base in bases])


@jetstream_scenario
async def names_of_buckets(ctx: Context) -> None:
    _, js = await begin(ctx)
    calls = {
        "key_value": js.key_value,
        "create_key_value": lambda name: js.create_key_value(bucket=name, storage="memory"),
        "delete_key_value": js.delete_key_value,
        "object_store": js.object_store,
        "create_object_store": lambda name: js.create_object_store(name, storage="memory"),
        "delete_object_store": js.delete_object_store,
    }
    for label, call in calls.items():
        for name in ("", "a.b", "a b", "ä", "a/b", "a>", None):
            await ctx.attempt(f"{label} {name!r}", call(name))
