"""Errors the server reports, errors of handlers, and what becomes of the connection."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

from parity.harness import Context, scenario, settle

PERMISSIONS = """
authorization {
  users: [{
    user: "a", password: "b"
    permissions: {publish: {deny: ["secret.*"]}, subscribe: {deny: ["hidden", "Q.>"]}}
  }]
}
"""
USER = {"user": "a", "password": "b"}


@scenario(
    config=PERMISSIONS,
    differs="subjects and groups lose their case; a request that is refused waits for its timeout",
    expected=[
        'error_cb nats.errors.Error: nats: permissions violation for publish to "secret.Thing"',
        'last_error nats.errors.Error: nats: permissions violation for publish to "secret.Thing"',
        'error_cb nats.errors.Error: nats: permissions violation for subscription to "hidden"',
        "error_cb nats.errors.Error: nats: permissions violation for "
        'subscription to "Q.a" using queue "Group"',
        "b'x' connected True {'in_msgs': 1, 'out_msgs': 2, 'in_bytes': 1, "
        "'out_bytes': 2, 'reconnects': 0, 'errors_received': 0}",
        "registered 3 False",
        'error_cb nats.errors.Error: nats: permissions violation for publish to "secret.x"',
        'request raises nats.errors.Error: nats: permissions violation for publish to "secret.x"',
    ],
)
async def permissions(ctx: Context) -> None:
    nc = await ctx.connect(**USER)
    sub = await nc.subscribe("open")
    await nc.publish("secret.Thing", b"x")
    await ctx.until_said("error_cb", 1)
    ctx.say("last_error", nc.last_error)
    hidden = await nc.subscribe("hidden")
    await ctx.until_said("error_cb", 2)
    await nc.subscribe("Q.a", "Group")
    await ctx.until_said("error_cb", 3)
    await nc.publish("open", b"x")
    ctx.say((await sub.next_msg()).data, "connected", nc.is_connected, nc.stats)
    ctx.say("registered", len(nc._subs), hidden._closed)
    await ctx.attempt("request", nc.request("secret.x", b"", timeout=0.1))


@scenario
async def handler_that_raises(ctx: Context) -> None:
    nc = await ctx.connect()

    async def handler(msg: Any) -> None:
        if msg.data == b"bad":
            raise LookupError("handler")
        ctx.say("got", msg.data)

    sub = await nc.subscribe("foo", cb=handler)
    for data in (b"1", b"bad", b"2", b"bad", b"3"):
        await nc.publish("foo", data)
    await ctx.until_said("got", 3)
    ctx.say(sub.delivered, sub.pending_msgs, "last_error", nc.last_error, nc.stats)
    await sub.drain()
    ctx.say("drained", len(nc._subs))


@scenario
async def handler_that_raises_errors_of_all_kinds(ctx: Context) -> None:
    nc = await ctx.connect()
    errors = [asyncio.TimeoutError(), StopAsyncIteration(), OSError(5, "text"), ValueError("x")]

    async def handler(msg: Any) -> None:
        ctx.say("handling", msg.data)
        raise errors[int(msg.data)]

    await nc.subscribe("foo", cb=handler)
    for number in range(len(errors)):
        await nc.publish("foo", b"%d" % number)
    await ctx.until_said("error_cb", len(errors))
    ctx.say("connected", nc.is_connected)


# Before Python 3.11 a task can't tell who was cancelled.
TELLS = hasattr(asyncio.Task, "cancelling")


@scenario(
    differs="what a handler waits for is cancelled, and nothing is handled from then on"
    if TELLS
    else "",
    expected=[
        "got b'1'",
        "got b'stop'",
        "error_cb nats.errors.Error: nats: what a handler waited for was cancelled",
        "got b'2'",
        "0 3 registered 1",
    ]
    if TELLS
    else [],
)
async def handler_cancelled(ctx: Context) -> None:
    nc = await ctx.connect()

    async def handler(msg: Any) -> None:
        ctx.say("got", msg.data)
        if msg.data == b"stop":
            raise asyncio.CancelledError

    sub = await nc.subscribe("foo", cb=handler)
    for data in (b"1", b"stop", b"2"):
        await nc.publish("foo", data)
    await settle(nc)
    await ctx.until_said("got", 2)
    await asyncio.sleep(0.1)
    ctx.say(sub.pending_msgs, sub.delivered, "registered", len(nc._subs))


@scenario
async def slow_error_callback(ctx: Context) -> None:
    async def error_cb(error: Exception) -> None:
        ctx.say("begin", error)
        await asyncio.sleep(0.02)
        ctx.say("end", error)

    nc = await ctx.connect(error_cb=error_cb)

    async def handler(msg: Any) -> None:
        ctx.say("got", msg.data)
        raise LookupError

    await nc.subscribe("foo", cb=handler)
    for number in range(2):
        await nc.publish("foo", b"%d" % number)
    await ctx.until_said("end", 2)


@scenario(
    start=False,
    differs="error_cb doesn't hear of errors that end the connection",
    expected=[
        "server says Stale Connection",
        "error_cb nats.errors.StaleConnectionError: nats: stale connection",
        "disconnected_cb",
        "reconnected_cb",
        "last_error None connected True False",
        "0 1",
        "disconnected_cb",
        "closed_cb",
        "server says Maximum Connections Exceeded",
        "error_cb nats.errors.Error: nats: maximum connections exceeded",
        "disconnected_cb",
        "closed_cb",
        "last_error nats.errors.Error: nats: maximum connections exceeded connected False True",
        "0 0",
        "server says Slow Consumer",
        "error_cb nats.errors.Error: nats: slow consumer",
        "disconnected_cb",
        "closed_cb",
        "last_error nats.errors.Error: nats: slow consumer connected False True",
        "0 0",
        "server says Unknown Protocol Operation",
        "error_cb nats.errors.Error: nats: unknown protocol operation",
        "disconnected_cb",
        "closed_cb",
        "last_error nats.errors.Error: nats: unknown protocol operation connected False True",
        "0 0",
        "server says Permissions Violation for Publish to FOO",
        "error_cb nats.errors.Error: nats: permissions violation for publish to foo",
        "last_error nats.errors.Error: nats: permissions violation for publish "
        "to foo connected True False",
        "0 0",
        "disconnected_cb",
        "closed_cb",
        "server says maximum payload violation",
        "error_cb nats.errors.Error: nats: maximum payload violation",
        "disconnected_cb",
        "closed_cb",
        "last_error nats.errors.Error: nats: maximum payload violation connected False True",
        "0 0",
    ],
)
async def errors_sent_by_the_server(ctx: Context) -> None:
    for text in (
        "Stale Connection",
        "Maximum Connections Exceeded",
        "Slow Consumer",
        "Unknown Protocol Operation",
        "Permissions Violation for Publish to FOO",
        "maximum payload violation",
    ):
        async with ctx.fake_server() as server:
            ctx.say("server says", text)
            nc = await ctx.connect(server.url, reconnect_time_wait=0.02)
            last = {"Stale": "reconnected_cb", "Permi": "error_cb"}.get(text[:5], "closed_cb")
            times = sum(line.startswith(last) for line in ctx.lines)
            await server.connections[0].write(f"-ERR '{text}'\r\n".encode())
            await ctx.until_said(last, times + 1)
            ctx.say("last_error", nc.last_error, "connected", nc.is_connected, nc.is_closed)
            ctx.say(nc.stats["errors_received"], nc.stats["reconnects"])
            await nc.close()


@scenario(
    start=False,
    differs="the client closes, although the server goes on",
    expected=[
        "server says Invalid Subject",
        "error_cb nats.errors.Error: nats: invalid subject",
        "last_error nats.errors.Error: nats: invalid subject connected True False",
        "server says Invalid Publish Subject",
        "error_cb nats.errors.Error: nats: invalid publish subject",
        "last_error nats.errors.Error: nats: invalid publish subject connected True False",
        "server says maximum subscriptions exceeded",
        "error_cb nats.errors.Error: nats: maximum subscriptions exceeded",
        "last_error nats.errors.Error: nats: maximum subscriptions exceeded connected True False",
    ],
)
async def errors_after_which_the_server_goes_on(ctx: Context) -> None:
    def heard(times: int) -> bool:
        return sum(line.startswith(("error_cb", "closed_cb")) for line in ctx.lines) >= times

    for number, text in enumerate(
        ("Invalid Subject", "Invalid Publish Subject", "maximum subscriptions exceeded"), 1
    ):
        async with ctx.fake_server() as server:
            ctx.say("server says", text)
            nc = await ctx.connect(server.url, reconnect_time_wait=0.02)
            await server.connections[0].write(f"-ERR '{text}'\r\n".encode())
            await ctx.until("the client has heard of it", functools.partial(heard, number))
            ctx.say("last_error", nc.last_error, "connected", nc.is_connected, nc.is_closed)


@scenario(start=False)
async def nonsense_from_the_server(ctx: Context) -> None:
    async with ctx.fake_server() as server:
        nc = await ctx.connect(server.url, reconnect_time_wait=0.02)
        await server.connections[0].write(b"NONSENSE\r\n")
        await ctx.until_said("reconnected_cb")
        ctx.say("connected", nc.is_connected, nc.stats["reconnects"], len(server.connections))


@scenario(start=False)
async def nonsense_without_reconnect(ctx: Context) -> None:
    async with ctx.fake_server() as server:
        nc = await ctx.connect(server.url, allow_reconnect=False)
        await server.connections[0].write(b"NONSENSE\r\n")
        await ctx.until_said("closed_cb")
        ctx.say("closed", nc.is_closed, "last_error", nc.last_error)


@scenario(start=False)
async def messages_for_nobody(ctx: Context) -> None:
    async with ctx.fake_server() as server:
        nc = await ctx.connect(server.url)
        sub = await nc.subscribe("foo")
        client = server.connections[0]
        await client.send_message("foo", 99, b"stray")
        await client.send_message("foo", 1, b"mine")
        await client.write(b"+OK\r\nPING\r\n")
        ctx.say((await sub.next_msg()).data, sub.delivered, nc.stats, nc.is_connected)
        await settle(nc)


@scenario(start=False)
async def messages_in_small_pieces(ctx: Context) -> None:
    async with ctx.fake_server() as server:
        nc = await ctx.connect(server.url)
        sub = await nc.subscribe("foo")
        await server.connections[0].write_slowly(
            b"MSG foo 1 5\r\nhello\r\nMSG foo 1 bar 2\r\n\r\n\r\n"
            b"HMSG foo 1 bar 18 23\r\nNATS/1.0\r\na: b\r\n\r\nworld\r\nPING\r\n",
            size=3,
        )
        for _ in range(3):
            msg = await sub.next_msg()
            ctx.say(msg.subject, msg.reply, msg.data, msg.headers)
        await settle(nc)
        ctx.say(nc.stats)


@scenario(start=False)
async def header_blocks(ctx: Context) -> None:
    blocks = [
        b"NATS/1.0\r\n\r\n",
        b"NATS/1.0\r\na:b\r\nc:  d \r\ne:\tf\r\n\r\n",
        b"NATS/1.0\r\na: 1\r\na: 2\r\nA: 3\r\n\r\n",
        b"NATS/1.0\r\nno colon\r\nb: ok\r\n\r\n",
        b"NATS/1.0\r\na b: space\r\nb: ok\r\n\r\n",
        b"NATS/1.0\r\nb: caf\xe9\r\n\r\n",
        b"NATS/1.0\r\nb\xc3\xa4d: x\r\nb: \xc3\xa4\r\n\r\n",
        b"NATS/1.0\r\nempty:\r\n\r\n",
        b"NATS/1.0\r\na: b: c:d\r\n\r\n",
        b"NATS/1.0 404 No Messages\r\n\r\n",
        b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 5\r\n\r\n",
        b"NATS/1.0 404\r\n\r\n",
        b"NATS/1.0 abc text\r\n\r\n",
    ]
    async with ctx.fake_server() as server:
        nc = await ctx.connect(server.url)
        sub = await nc.subscribe("foo")
        for block in blocks:
            head = f"HMSG foo 1 {len(block)} {len(block) + 1}\r\n".encode()
            await server.connections[0].write(head + block + b"x\r\n")
            msg = await sub.next_msg()
            headers = msg.headers
            shown = headers and {str(getattr(k, "value", k)): v for k, v in headers.items()}
            ctx.say(block, "gives", shown, msg.data)
        ctx.say("connected", nc.is_connected)
