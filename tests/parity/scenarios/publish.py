"""Publishing: subjects, payloads, headers, limits, and the states of the connection."""

from __future__ import annotations

import asyncio
from typing import Any

import nats
from nats.aio.client import Client
from parity.harness import Context, scenario, settle


def show(ctx: Context, msg: Any) -> None:
    ctx.say(msg.subject, msg.reply, msg.data, type(msg.data).__name__, msg.headers)


@scenario
async def payloads(ctx: Context) -> None:
    nc = await ctx.connect()
    sub = await nc.subscribe("foo")
    for payload in (b"", b"text", bytearray(b"array"), memoryview(b"view"), b"\r\nMSG \x00\xff"):
        await ctx.attempt(f"publish {type(payload).__name__}", nc.publish("foo", payload))
        show(ctx, await sub.next_msg())
    await ctx.attempt("publish nothing", nc.publish("foo"))
    show(ctx, await sub.next_msg())
    ctx.say(nc.stats)


@scenario
async def wrong_payloads(ctx: Context) -> None:
    nc = await ctx.connect()
    for payload in ("text", 5, None, ["a"], {"a": 1}, object()):
        await ctx.attempt(f"publish {type(payload).__name__}", nc.publish("foo", payload))
        headers = {"a": "b"}
        await ctx.attempt("with headers", nc.publish("foo", payload, headers=headers))
    await settle(nc)
    ctx.say("connected", nc.is_connected, nc.stats["out_msgs"])


@scenario
async def wrong_subjects(ctx: Context) -> None:
    nc = await ctx.connect()
    for subject in ("", " ", "a b", "a\tb", "a\rb", "a\nb", "a\r\nPUB b 0\r\n\r\n", "ends "):
        await ctx.attempt(f"publish to {subject!r}", nc.publish(subject, b""))
        await ctx.attempt(f"reply is {subject!r}", nc.publish("foo", b"", reply=subject))
        await ctx.attempt(f"request to {subject!r}", nc.request(subject, b"", timeout=0.2))
    for wrong in (None, 5, b"foo"):
        await ctx.attempt(f"publish to {wrong!r}", nc.publish(wrong, b""))
    await settle(nc)
    ctx.say("connected", nc.is_connected, nc.stats["out_msgs"])


@scenario
async def unusual_subjects(ctx: Context) -> None:
    nc = await ctx.connect()
    sub = await nc.subscribe(">")
    for subject in ("a", "a.b.c", "ünï.cødé", "$SYS.x", "a\u00a0b", "x" * 300):
        await ctx.attempt(f"publish to {subject[:20]!r}", nc.publish(subject, b""))
    await settle(nc)
    while sub.pending_msgs:
        ctx.say((await sub.next_msg()).subject[:20])


@scenario
async def validation_can_be_skipped(ctx: Context) -> None:
    nc = await ctx.connect(skip_subject_validation=True)
    await ctx.attempt("publish to nothing", nc.publish("", b""))
    await ctx.attempt("subscribe to nothing", nc.subscribe(""))
    sub = await nc.subscribe("foo")
    await ctx.attempt("publish", nc.publish("foo", b"x", reply="bar"))
    show(ctx, await sub.next_msg())
    ctx.say(nc.options["skip_subject_validation"])


@scenario
async def headers(ctx: Context) -> None:
    nc = await ctx.connect()
    sub = await nc.subscribe("foo")
    for given in (
        {"a": "b"},
        {"Key": "Value", "key": "other case"},
        {" spaced ": "  trimmed\t"},
        {"crlf": "one\r\ntwo\nthree\rfour"},
        {"edge": "\r\nvalue\r\n"},
        {"colon": "a: b:c"},
        {"empty": ""},
        {"": "no key"},
        {"  ": "blank key"},
        {"": "no key", "a": "b"},
        {"unicode": "grüße ☺"},
        {"!#$%&'*+-.^_`|~09Az": "all the token characters"},
        {},
    ):
        await ctx.attempt(f"publish {given}", nc.publish("foo", b"data", headers=given))
        show(ctx, await sub.next_msg())
    ctx.say(nc.stats)


@scenario
async def wrong_headers(ctx: Context) -> None:
    nc = await ctx.connect()
    for key in ("a b", "a:b", "a\r\nb", "ä", "a\x00", "(a)", "a/b", "a\tb"):
        error = await ctx.attempt(f"key {key!r}", nc.publish("foo", b"", headers={key: "v"}))
        ctx.say("key", repr(getattr(error, "key", None)))
    for wrong in ({"a": 1}, {"a": None}, {1: "a"}, {"a": ["b"]}, {"a": b"b"}, {b"a": "b"}, "text"):
        await ctx.attempt(f"headers {wrong!r}", nc.publish("foo", b"", headers=wrong))
    await settle(nc)
    ctx.say("connected", nc.is_connected, nc.stats["out_msgs"])


@scenario
async def replies(ctx: Context) -> None:
    nc = await ctx.connect()
    sub = await nc.subscribe("foo")
    await nc.publish("foo", b"1", "bar")
    await nc.publish("foo", b"2", reply="bar", headers={"a": "b"})
    await nc.publish("foo", b"3", reply=nc.new_inbox())
    await nc.publish("foo", b"4", "")
    for _ in range(4):
        show(ctx, await sub.next_msg())


@scenario(config="max_payload: 100")
async def max_payload(ctx: Context) -> None:
    nc = await ctx.connect()
    ctx.say("max_payload", nc.max_payload)
    sub = await nc.subscribe("foo")
    await ctx.attempt("at the limit", nc.publish("foo", b"x" * 100))
    await ctx.attempt("over it", nc.publish("foo", b"x" * 101))
    await ctx.attempt("request over it", nc.request("foo", b"x" * 101))
    ctx.say(len((await sub.next_msg()).data), nc.stats)


@scenario
async def before_connecting_and_after_close(ctx: Context) -> None:
    fresh = Client()
    await ctx.attempt("publish", fresh.publish("foo", b""))
    await ctx.attempt("request", fresh.request(""))
    nc = await ctx.connect()
    await nc.close()
    for subject in ("foo", "", "a b"):
        await ctx.attempt(f"publish to {subject!r} after close", nc.publish(subject, b""))
        await ctx.attempt("over the limit", nc.publish(subject, b"x" * 2_000_000))
    await ctx.attempt("request after close", nc.request("foo", b""))
    await ctx.attempt("old style request", nc.request("foo", b"", old_style=True))


@scenario
async def over_pending_size_while_disconnected(ctx: Context) -> None:
    nc = await ctx.connect(pending_size=100, reconnect_time_wait=0.1, **ctx.callbacks(once=True))
    ctx.server.kill()
    await ctx.until_said("disconnected_cb")
    for size in (101, 60, 60, 10):
        await ctx.attempt(f"publish {size}", nc.publish("foo", b"x" * size))
    ctx.say("buffered something", nc.pending_data_size > 0)


@scenario
async def buffering_switched_off(ctx: Context) -> None:
    # So long that no attempt to reconnect is told of meanwhile.
    nc = await ctx.connect(pending_size=0, reconnect_time_wait=60, **ctx.callbacks(once=True))
    sub = await nc.subscribe("foo")
    await ctx.attempt("publish", nc.publish("foo", b"connected"))
    ctx.say((await sub.next_msg()).data)
    ctx.server.kill()
    await ctx.until_said("disconnected_cb")
    await ctx.attempt("publish", nc.publish("foo", b"disconnected"))


@scenario
async def many_messages_over_pending_size(ctx: Context) -> None:
    nc = await ctx.connect(pending_size=4096)
    received = []

    async def handler(msg: Any) -> None:
        received.append(msg.data)

    await nc.subscribe("foo", cb=handler)
    for number in range(3000):
        await nc.publish("foo", b"%05d" % number)
    await settle(nc)
    await ctx.until("all came", lambda: len(received) == 3000)
    ctx.say("in order", received == [b"%05d" % number for number in range(3000)])
    ctx.say(nc.stats, "pending", nc.pending_data_size)


@scenario
async def from_several_tasks(ctx: Context) -> None:
    nc = await ctx.connect()
    sub = await nc.subscribe("foo.*")

    async def publisher(name: str) -> None:
        for number in range(50):
            await nc.publish(f"foo.{name}", b"%d" % number)

    await asyncio.gather(*(publisher(name) for name in "abc"))
    await settle(nc)
    seen: dict[str, list[bytes]] = {}
    while sub.pending_msgs:
        msg = await sub.next_msg()
        seen.setdefault(msg.subject, []).append(msg.data)
    expected = [b"%d" % number for number in range(50)]
    ctx.say([(subject, data == expected) for subject, data in sorted(seen.items())])


@scenario
async def replaced_on_the_class(ctx: Context) -> None:
    """Instrumentation replaces methods of the class; internal calls have to go through it."""
    original = nats.NATS.publish

    async def publish(self: Any, subject: str, *args: Any, **kwargs: Any) -> None:
        ctx.say("publish", subject)
        await original(self, subject, *args, **kwargs)

    nats.NATS.publish = publish  # type: ignore[method-assign]
    try:
        nc = await ctx.connect()

        async def handler(msg: Any) -> None:
            await msg.respond(b"yes")

        await nc.subscribe("t.ask", cb=handler)
        ctx.say((await nc.request("t.ask", b"?", timeout=2)).data)
        await nc.publish("t.none", b"")
    finally:
        nats.NATS.publish = original  # type: ignore[method-assign]
