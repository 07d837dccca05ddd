"""Requests: replies, nobody there, timeouts, both styles, states of the connection."""

from __future__ import annotations

import asyncio
from typing import Any

from nats.aio.client import Client
from parity.harness import Context, scenario, settle


async def echo(nc: Client, subject: str = "echo") -> Any:
    async def handler(msg: Any) -> None:
        await msg.respond(msg.data)

    return await nc.subscribe(subject, cb=handler)


@scenario
async def reply(ctx: Context) -> None:
    nc = await ctx.connect()

    async def handler(msg: Any) -> None:
        ctx.say("asked", msg.subject, msg.reply, msg.data, msg.headers)
        await msg.respond(b"answer")

    await nc.subscribe("ask", cb=handler)
    ways: list[dict[str, Any]] = [{}, {"old_style": True}, {"headers": {"a": "b"}}, {"headers": {}}]
    for options in ways:
        msg = await nc.request("ask", b"question", timeout=2, **options)
        ctx.say(msg.subject, msg.reply, msg.data, msg.headers, type(msg).__qualname__)
    msg = await nc.request("ask", timeout=2)
    ctx.say(msg.data, nc.stats, "subscriptions", len(nc._subs))


@scenario
async def one_subscription_for_all(ctx: Context) -> None:
    nc = await ctx.connect()
    await echo(nc)
    for _ in range(3):
        await nc.request("echo", b"x", timeout=2)
    ctx.say([sub.subject.count(".") for sub in nc._subs.values()])
    ctx.say([sub.subject.rpartition(".")[2] for sub in nc._subs.values()], nc._sid)
    for _ in range(2):
        await nc.request("echo", b"x", timeout=2, old_style=True)
    await settle(nc)
    ctx.say(len(nc._subs), nc._sid)


@scenario
async def nobody_there(ctx: Context) -> None:
    nc = await ctx.connect()
    for options in ({}, {"old_style": True}, {"headers": {"a": "b"}}):
        error = await ctx.attempt("request", nc.request("nobody", b"x", timeout=2, **options))
        ctx.say("a timeout", isinstance(error, asyncio.TimeoutError))
    sub = await nc.subscribe("replies")
    await nc.publish("nobody", b"x", reply="replies")
    msg = await sub.next_msg()
    # The description is not looked at: nats-py takes the next header line for it.
    ctx.say(msg.subject, msg.data, msg.headers["Status"], msg.headers["Nats-Subject"], msg.reply)


@scenario
async def timeouts(ctx: Context) -> None:
    nc = await ctx.connect()
    await nc.subscribe("silent")
    for timeout in (0.05, 0, -1):
        for old_style in (False, True):
            what = f"timeout={timeout}, old_style={old_style},"
            request = nc.request("silent", b"x", timeout=timeout, old_style=old_style)
            error = await ctx.attempt(what, request)
            ctx.say("a timeout", isinstance(error, asyncio.TimeoutError))
    await settle(nc)
    ctx.say("connected", nc.is_connected, "subscriptions", len(nc._subs))


@scenario
async def answer_after_the_timeout(ctx: Context) -> None:
    nc = await ctx.connect()
    asked: list[Any] = []

    async def handler(msg: Any) -> None:
        asked.append(msg)

    await nc.subscribe("slow", cb=handler)
    await ctx.attempt("request", nc.request("slow", b"1", timeout=0.05))
    await asked[0].respond(b"late")
    await settle(nc)
    request = asyncio.create_task(nc.request("slow", b"2", timeout=2))
    await ctx.until("asked again", lambda: len(asked) == 2)
    await asked[1].respond(b"in time")
    ctx.say((await request).data)


@scenario
async def two_answers(ctx: Context) -> None:
    nc = await ctx.connect()

    async def handler(msg: Any) -> None:
        await msg.respond(b"first")
        await msg.respond(b"second")

    await nc.subscribe("twice", cb=handler)
    for old_style in (False, True):
        ctx.say((await nc.request("twice", b"", timeout=2, old_style=old_style)).data)
        await settle(nc)


@scenario
async def many_at_once(ctx: Context) -> None:
    nc = await ctx.connect()
    await echo(nc)
    requests = [nc.request("echo", b"%d" % number, timeout=3) for number in range(100)]
    answers = [msg.data for msg in await asyncio.gather(*requests)]
    ctx.say("each its own", answers == [b"%d" % number for number in range(100)])
    ctx.say("subscriptions", len(nc._subs))


@scenario
async def cancelled(ctx: Context) -> None:
    nc = await ctx.connect()
    await nc.subscribe("silent")
    await echo(nc)
    request = asyncio.create_task(nc.request("silent", b"", timeout=5))
    await asyncio.sleep(0.05)
    request.cancel()
    try:
        await request
    except asyncio.CancelledError:
        ctx.say("cancelled")
    await asyncio.sleep(0)
    ctx.say((await nc.request("echo", b"next", timeout=2)).data)


@scenario
async def headers_of_replies(ctx: Context) -> None:
    nc = await ctx.connect()
    answers = [{"a": "b"}, {"Status": "200"}, {"Status": "503"}, {"Nats-Msg-Id": "x"}, None]

    async def handler(msg: Any) -> None:
        await nc.publish(msg.reply, b"answer", headers=answers[int(msg.data)])

    await nc.subscribe("ask", cb=handler)
    for number in range(len(answers)):
        request = nc.request("ask", b"%d" % number, timeout=2)
        msg = await ctx.attempt(f"answered with {answers[number]}", request)
        ctx.say(getattr(msg, "headers", "no message"))


@scenario
async def respond_sends_the_headers_back(ctx: Context) -> None:
    nc = await ctx.connect()
    await echo(nc)
    msg = await nc.request("echo", b"x", timeout=2, headers={"trace": "1", "b": "2"})
    ctx.say(msg.data, msg.headers)
    msg = await nc.request("echo", b"x", timeout=2)
    ctx.say(msg.data, msg.headers)


@scenario
async def inbox_prefix(ctx: Context) -> None:
    for prefix in ("custom.in", b"bytes", "_INBOX"):
        nc = await ctx.connect(inbox_prefix=prefix)
        inbox = nc.new_inbox()
        shown = prefix if isinstance(prefix, str) else prefix.decode()
        ctx.say(prefix, inbox.startswith(f"{shown}."), len(inbox) - len(shown))

        async def handler(msg: Any, shown: str = shown) -> None:
            ctx.say("reply begins so", msg.reply.startswith(f"{shown}."))
            await msg.respond(b"answer")

        await nc.subscribe("ask", cb=handler)
        ctx.say((await nc.request("ask", timeout=2)).data)
        ctx.say((await nc.request("ask", timeout=2, old_style=True)).data)
        await nc.close()


@scenario(
    differs="an option of a wrong type is named, nats-py has a bare assertion",
    expected=["prefix 5 raises TypeError", "prefix None raises TypeError"],
)
async def inbox_prefix_of_a_wrong_type(ctx: Context) -> None:
    for prefix in (5, None):
        await ctx.attempt(f"prefix {prefix}", ctx.connect(inbox_prefix=prefix))


@scenario(
    differs="requests wait out their timeout",
    expected=[
        "disconnected_cb",
        "closed_cb",
        "request raises nats.errors.ConnectionClosedError: nats: connection closed",
    ],
)
async def waiting_while_the_client_closes(ctx: Context) -> None:
    nc = await ctx.connect()
    await nc.subscribe("silent")
    request = asyncio.create_task(nc.request("silent", b"", timeout=0.3))
    await asyncio.sleep(0.05)
    await nc.close()
    await ctx.attempt("request", request)


@scenario
async def from_a_handler(ctx: Context) -> None:
    nc = await ctx.connect()
    await echo(nc)
    done = asyncio.Event()

    async def handler(msg: Any) -> None:
        ctx.say("inner", (await nc.request("echo", msg.data, timeout=2)).data)
        done.set()

    await nc.subscribe("foo", cb=handler)
    await nc.publish("foo", b"x")
    await done.wait()
