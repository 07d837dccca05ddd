"""What scenarios about JetStream share: a stream to begin with, masks, and the requests seen."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from parity.harness import Context, settle

VOLATILE = {
    *("created", "last_active", "mtime", "started", "time", "timestamp", "Nats-Time-Stamp"),
    *("average_processing_time", "pause_remaining", "processing_time"),
    *("id", "leader", "nuid", "delta"),
}
# Hidden even if empty: the time of a deleted object, see object_store.time_of_deletion, and what
# is behind an update of a key, which depends on how far the server has got.
MAYBE_EMPTY = {"mtime", "delta"}


def mask(ctx: Context) -> None:
    """Hide what differs from run to run in the names that clients and servers make up."""
    # What comes last tells one reply from another; how is the client's affair.
    ctx.rename(r"_INBOX\.\w{22}\.\w+", "_INBOX.<nuid>.<token>")
    ctx.rename(r"\b(?![A-Za-z]+Error\b)[0-9A-Za-z]{22}(?:[0-9a-f]{4})?\b", "<nuid>")
    ctx.rename(r"\b1[0-9]{18}\b", "<ns>")
    ctx.rename(r"<nats client v[0-9.]+>", "<client>")


def is_volatile(name: str, value: Any) -> bool:
    return name in (VOLATILE if value else MAYBE_EMPTY)


def shown(value: Any) -> Any:
    """Return objects as dictionaries of what is set, volatile values as their types."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return shown({name: getattr(value, name) for name in names})
    if isinstance(value, dict):
        return {
            key: f"<{type(item).__name__}>" if is_volatile(key, item) else shown(item)
            for key, item in value.items()
            if item is not None
        }
    if isinstance(value, list):
        return [shown(item) for item in value]
    return f"<{type(value).__name__}>" if isinstance(value, datetime.datetime) else value


async def told(ctx: Context, what: str, action: Any) -> Any:
    """Like ``ctx.attempt``, but say what the result contains, and texts written for users."""
    try:
        result = await action
    except Exception as error:
        text = str(error) if type(error) is ValueError and "nats: " in str(error) else ""
        ctx.say(what, "raises", error, text)
        return error
    ctx.say(what, "gives", type(result).__name__, shown(result))
    return result


async def begin(ctx: Context, *subjects: str, **config: Any) -> tuple[Any, Any]:
    """Connect and add the stream S, in memory, of the subjects below ``s`` or of others."""
    mask(ctx)
    nc = await ctx.connect()
    js = nc.jetstream()
    config = {"storage": "memory", **config}
    await js.add_stream(name="S", subjects=list(subjects) or ["s.>"], **config)
    return nc, js


async def fill(js: Any, count: int, subject: str = "s.a", start: int = 1) -> None:
    """Publish numbers that follow one another."""
    for number in range(start, start + count):
        await js.publish(subject, b"%d" % number)


def payloads(msgs: Iterable[Any]) -> list[bytes]:
    return [msg.data for msg in msgs]


async def spy(ctx: Context, nc: Any, *subjects: str) -> Callable[..., Awaitable[None]]:
    """Watch what is published; the function returned says it.

    Args:
        ctx: The scenario.
        nc: The client whose publications matter.
        subjects: What to watch, ending in ``>``; all API requests unless given.
    """
    mask(ctx)
    watcher = await ctx.connect()
    subjects = subjects or ("$JS.API.>",)
    prefixes = tuple(subject.removesuffix(">") for subject in subjects)
    # One subscription, even to more than is wanted: only then do messages come in order.
    sub = await watcher.subscribe(subjects[0] if len(subjects) == 1 else ">")
    await settle(watcher)

    async def say(ignore: Iterable[str] = ()) -> None:
        """Say what has been published since, without the JSON members to ignore."""
        await settle(nc)
        await settle(watcher)
        # See "Consumers" in docs/differences.md.
        ignored = ("action", *ignore)
        while sub.pending_msgs:
            msg = await sub.next_msg()
            if msg.subject.startswith(prefixes) and not is_removal(msg):
                ctx.say("->", msg.subject, *contents(msg.data, ignored), msg.headers or "")

    return say


def is_removal(msg: Any) -> bool:
    """Whether a consumer is removed along with its subscription, which nats-py doesn't do."""
    return msg.subject.startswith("$JS.API.CONSUMER.DELETE.") and not msg.reply


def contents(data: bytes, ignore: Iterable[str] = ()) -> tuple[Any, ...]:
    """Return JSON with its members in order, other data as it is."""
    try:
        value = json.loads(data)
    except ValueError:
        return (data,)
    if isinstance(value, dict):
        value = {name: item for name, item in value.items() if name not in ignore}
        value = {
            name: f"<{type(item).__name__}>" if is_volatile(name, item) else item
            for name, item in value.items()
        }
    return ("JSON", json.dumps(value, sort_keys=True))
