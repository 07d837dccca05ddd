"""Messages as objects: making them, answering, acknowledging, metadata."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from parity.harness import ADDED, Context, scenario, settle

V1 = "$JS.ACK.stream.consumer.3.100.20.1700000000123456789.7"
V2 = "$JS.ACK.hub.hash.stream.consumer.3.100.20.1700000000123456789.7"


class Fake:
    """A client that says what would be sent."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx

    async def publish(self, *args: Any, **kwargs: Any) -> None:
        self.ctx.say("publish", args, kwargs)

    async def request(self, *args: Any, **kwargs: Any) -> str:
        self.ctx.say("request", args, kwargs)
        return "reply"

    def __repr__(self) -> str:
        return "<fake>"


async def respond_without_reply(ctx: Context, msg: Msg) -> None:
    # Here the error is of a class of its own, below the one that is promised.
    try:
        await msg.respond(b"")
    except nats.errors.Error as error:
        ctx.say("respond without reply raises", str(error))


@scenario(start=False)
async def made_by_hand(ctx: Context) -> None:
    fake: Any = Fake(ctx)
    msg = Msg(fake)
    ctx.say(msg.subject, msg.reply, msg.data, msg.headers, msg.header, msg.is_acked)
    ctx.say(repr(msg))
    msg = Msg(_client=fake, subject="a", reply="b", data=b"c", headers={"d": "e"})
    ctx.say(repr(msg), msg.header is msg.headers, msg._sid, msg._metadata)
    ctx.say(repr(Msg(fake, "s", "r", b"d", None, _sid=4)), Msg(fake, _sid=4).sid)
    await ctx.attempt("sid", lambda: Msg(fake).sid)
    await ctx.attempt("no client", lambda: Msg())  # type: ignore[call-arg]


@scenario(start=False)
async def compared_and_changed(ctx: Context) -> None:
    fake: Any = Fake(ctx)
    text: Any = "a"
    one, two = (Msg(fake, "a", data=b"x") for _ in range(2))
    ctx.say(one == two, one != two, one == text, one == Msg(fake, "b", data=b"x"))
    await ctx.attempt("hash", lambda: hash(one))
    two.data = b"y"
    two.subject, two.reply, two.headers, two._ackd = "s", "r", {"h": "v"}, True
    ctx.say(one == two, repr(two), two.is_acked)
    ctx.say(repr(dataclasses.replace(one, subject="new")), repr(copy.copy(one)))
    ctx.say([field.name for field in dataclasses.fields(Msg)])
    two.extra = 5  # type: ignore[attr-defined]
    ctx.say(vars(two)["extra"], sorted(dataclasses.asdict(Msg(None)))[:3])  # type: ignore[arg-type]


@scenario
async def received_ones_are_like_those_made_by_hand(ctx: Context) -> None:
    nc = await ctx.connect()
    sub = await nc.subscribe("foo")
    await nc.publish("foo", b"data", reply="bar", headers={"a": "b"})
    msg = await sub.next_msg()
    made = Msg(nc, "foo", "bar", b"data", {"a": "b"}, _sid=sub._id)
    ctx.say(msg == made, type(msg) is Msg, isinstance(msg.data, bytes), type(msg.headers).__name__)
    ctx.say(repr(msg).replace(repr(nc), "NC") == repr(made).replace(repr(nc), "NC"))
    ctx.say(msg.headers is msg.headers, msg.data is msg.data)
    msg.headers["c"] = "d"
    msg.data = b"changed"
    ctx.say(msg.headers, msg.data)
    ctx.say(dataclasses.replace(msg, subject="new").subject)


@scenario(start=False)
async def acknowledging(ctx: Context) -> None:
    fake: Any = Fake(ctx)
    calls: dict[str, tuple[Any, ...]] = {"ack": (), "nak": (), "term": (), "ack_sync": ()}
    for name, args in calls.items():
        msg = Msg(fake, "a", reply=V1)
        await ctx.attempt(name, getattr(msg, name)(*args))
        ctx.say("acked", msg.is_acked, msg._ackd)
        await ctx.attempt("ack again", msg.ack())
        await ctx.attempt("in_progress afterwards", msg.in_progress())
    for delay in (0, 2, 1.5, None):
        await Msg(fake, "a", reply=V1).nak(delay=delay)
    msg = Msg(fake, "a", reply=V1)
    for _ in range(2):
        await msg.in_progress()
    ctx.say("acked", msg.is_acked)
    await msg.ack_sync(timeout=3)


@scenario(start=False)
async def acknowledging_core_messages(ctx: Context) -> None:
    fake: Any = Fake(ctx)
    for name in ("ack", "nak", "term", "ack_sync", "in_progress"):
        await ctx.attempt(name, getattr(Msg(fake, "a"), name)())
    await ctx.attempt("metadata", lambda: Msg(fake, "a").metadata)
    await ctx.attempt("with an inbox", Msg(fake, "a", reply="_INBOX.x").ack())
    await respond_without_reply(ctx, Msg(fake, "a"))
    await ctx.attempt("respond without client", Msg(None, "a", "b").respond(b""))  # type: ignore[arg-type]
    await ctx.attempt("respond", Msg(fake, "a", "b", headers={"h": "v"}).respond(b"x"))


@scenario(start=False)
async def acknowledged_twice(ctx: Context) -> None:
    fake: Any = Fake(ctx)
    for first in ("ack", "nak", "term", "ack_sync"):
        for second in ("ack", "nak", "term", "ack_sync"):
            msg = Msg(fake, "a", reply="r")
            await getattr(msg, first)()
            await ctx.attempt(f"{second} after {first}", getattr(msg, second)())


@scenario(start=False)
async def metadata(ctx: Context) -> None:
    replies = [V1, V2, V2.replace("hub", "_"), f"{V2}.token", V1.replace("$JS", "JS"), "a.b", ""]
    replies += [f"{V1}.extra", V1.replace(".7", ".x"), V1.replace("ACK", "NAK")]
    for reply in replies:
        msg = Msg(None, "a", reply=reply)  # type: ignore[arg-type]
        await ctx.attempt(f"metadata of {reply!r}", lambda msg=msg: msg.metadata)
        if msg._metadata is not None:
            found = msg.metadata
            ctx.say(repr(found), found is msg.metadata)
            ctx.say(found.sequence.stream, found.sequence.consumer, found.timestamp.isoformat())
    frozen = Msg(None, reply=V1).metadata  # type: ignore[arg-type]
    error = await ctx.attempt("assign", lambda: setattr(frozen, "stream", "x"))
    ctx.say(type(error).__name__, frozen == Msg(None, reply=V1).metadata)  # type: ignore[arg-type]


@scenario
async def responding(ctx: Context) -> None:
    nc = await ctx.connect()
    sub = await nc.subscribe("foo")
    answers = await nc.subscribe("answers")
    await nc.publish("foo", b"1")
    await respond_without_reply(ctx, await sub.next_msg())
    await nc.publish("foo", b"2", reply="answers", headers={"a": "b"})
    msg = await sub.next_msg()
    for data in (b"first", b"second", b""):
        await ctx.attempt("respond", msg.respond(data))
        answer = await answers.next_msg()
        ctx.say(answer.data, answer.headers, answer.reply)
    msg.headers = None
    await msg.respond(b"third")
    ctx.say((await answers.next_msg()).headers)
    await nc.close()
    await ctx.attempt("respond after close", msg.respond(b"x"))


@scenario
async def class_of_messages(ctx: Context) -> None:
    class Special(Msg):
        def shout(self) -> str:
            return self.data.decode().upper()

    class SpecialClient(Client):
        msg_class = Special

    nc = SpecialClient()
    ctx.clients.append(nc)
    await nc.connect(ctx.url)
    sub = await nc.subscribe("foo")
    await nc.publish("foo", b"hello", headers={"a": "b"})
    msg: Any = await sub.next_msg()
    ctx.say(type(msg).__qualname__.rpartition(".")[2], msg.shout(), msg.headers)

    async def handler(msg: Any) -> None:
        ctx.say(type(msg) is Special, msg.shout())
        await msg.respond(b"answer")

    await nc.subscribe("ask", cb=handler)
    answer: Any = await nc.request("ask", b"question", timeout=2)
    ctx.say(type(answer) is Special, answer.shout())


@scenario
async def class_of_messages_assigned_late(ctx: Context) -> None:
    class Special(Msg):
        pass

    class EarlyClient(Client):
        def __init__(self) -> None:
            self.msg_class = Special
            super().__init__()

    ctx.say(EarlyClient().msg_class is Special, Client.msg_class is Msg, Client().msg_class is Msg)
    nc = await ctx.connect()
    sub = await nc.subscribe("foo")

    async def handler(msg: Any) -> None:
        ctx.say("handler", type(msg) is Special)
        await msg.respond(b"answer")

    await nc.subscribe("ask", cb=handler)
    ctx.say("reply", type(await nc.request("ask", timeout=2)) is Special)
    nc.msg_class = Special
    await nc.publish("foo", b"hello")
    ctx.say(type(await sub.next_msg()) is Special)
    ctx.say("reply", type(await nc.request("ask", timeout=2)) is Special)


@scenario
async def patched_methods(ctx: Context) -> None:
    original = Msg.respond

    async def respond(self: Msg, data: bytes) -> None:
        ctx.say("respond", self.subject, data)
        await original(self, data)

    Msg.respond = respond  # type: ignore[method-assign]
    try:
        nc = await ctx.connect()

        async def handler(msg: Any) -> None:
            await msg.respond(b"answer")

        await nc.subscribe("ask", cb=handler)
        ctx.say((await nc.request("ask", timeout=2)).data)
        await settle(nc)
    finally:
        Msg.respond = original  # type: ignore[method-assign]


@scenario(start=False)
async def errors_as_objects(ctx: Context) -> None:
    ctx.say(str(nats.errors.BadHeaderError("k")), nats.errors.BadHeaderError().key)
    error = nats.errors.MsgAlreadyAckdError(Msg(None, "a"))  # type: ignore[arg-type]
    ctx.say(str(error))
    for name in sorted(vars(nats.errors)):
        cls = getattr(nats.errors, name)
        if name in ADDED:
            continue
        if isinstance(cls, type) and issubclass(cls, nats.errors.Error):
            ctx.say(name, [base.__name__ for base in cls.__mro__[1:-2]])
