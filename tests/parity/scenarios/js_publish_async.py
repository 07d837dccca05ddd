"""Publishing to streams and waiting for the acknowledgements later."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from parity.harness import Context, jetstream_scenario, settle
from parity.scenarios._jetstream import begin, spy, told


@jetstream_scenario
async def acknowledgements_in_order(ctx: Context) -> None:
    _, js = await begin(ctx)
    ctx.say(js.publish_async_pending())
    futures = [await js.publish_async("s.a", b"%d" % number) for number in range(100)]
    ctx.say(all(isinstance(future, asyncio.Future) for future in futures))
    await asyncio.wait_for(js.publish_async_completed(), 2)
    acks = [await future for future in futures]
    ctx.say(acks[0], [ack.seq for ack in acks] == list(range(1, 101)))
    ctx.say(js.publish_async_pending(), (await js.get_msg("S", 100)).data)


@jetstream_scenario
async def completed_without_any(ctx: Context) -> None:
    _, js = await begin(ctx)
    await asyncio.wait_for(js.publish_async_completed(), 1)
    ctx.say("completed", js.publish_async_pending())


@jetstream_scenario
async def pending_while_the_server_is_silent(ctx: Context) -> None:
    nc, js = await begin(ctx)
    await (await js.publish_async("s.a", b"0"))
    ctx.server.pause()
    futures = [await js.publish_async("s.a", b"%d" % number) for number in range(5)]
    ctx.say(js.publish_async_pending(), [future.done() for future in futures])
    await told(ctx, "completed", asyncio.wait_for(asyncio.shield(futures[4]), 0.05))
    waiting = asyncio.create_task(js.publish_async_completed())
    await asyncio.sleep(0.02)
    ctx.say("completed", waiting.done())
    ctx.server.resume()
    await waiting
    ctx.say([future.result().seq for future in futures], js.publish_async_pending())
    ctx.say("connected", nc.is_connected)


@jetstream_scenario
async def failures(ctx: Context) -> None:
    _, js = await begin(ctx)
    await told(ctx, "right", await js.publish_async("s.a", b"x"))
    await told(ctx, "no stream", await js.publish_async("none", b"x"))
    ctx.say(js.publish_async_pending())
    for subject in ("", "a b", None):
        await ctx.attempt(f"subject {subject!r}", js.publish_async(subject, b""))
    await ctx.attempt("too large", js.publish_async("s.a", b"x" * 1_100_000))
    await told(ctx, "afterwards", await js.publish_async("s.a", b"x"))


@jetstream_scenario(
    differs="the futures never get done, and the slots that they take are lost",
    expected=[
        "other stream nats.js.errors.BadRequestError: nats: BadRequestError: code=400 "
        "err_code=10060 description='expected stream does not match'",
        "sequence nats.js.errors.BadRequestError: nats: BadRequestError: code=400 "
        "err_code=10071 description='wrong last sequence: 0'",
        "time to live nats.js.errors.BadRequestError: nats: BadRequestError: code=400 "
        "err_code=10166 description='per-message TTL is disabled'",
        "0",
        "completed gives NoneType None",
        "right gives PubAck {'stream': 'S', 'seq': 1}",
    ],
)
async def refusals(ctx: Context) -> None:
    _, js = await begin(ctx)
    calls: dict[str, dict[str, Any]] = {
        "other stream": {"stream": "T"},
        "sequence": {"headers": {"Nats-Expected-Last-Sequence": "9"}},
        "time to live": {"msg_ttl": 5},
    }
    for what, params in calls.items():
        future = await js.publish_async("s.a", b"x", **params)
        await asyncio.wait([future], timeout=0.5)
        ctx.say(what, future.exception() if future.done() else "pending")
    ctx.say(js.publish_async_pending())
    await told(ctx, "completed", asyncio.wait_for(js.publish_async_completed(), 0.1))
    await told(ctx, "right", await js.publish_async("s.a", b"x"))


@jetstream_scenario
async def message_ids(ctx: Context) -> None:
    _, js = await begin(ctx)
    for stream in (None, "S"):
        future = await js.publish_async("s.a", stream=stream, headers={"Nats-Msg-Id": "1"})
        await told(ctx, "same id", future)


@jetstream_scenario
async def stalled(ctx: Context) -> None:
    nc, _ = await begin(ctx)
    js = nc.jetstream(publish_async_max_pending=2)
    await (await js.publish_async("s.a", b"0"))
    ctx.server.pause()
    futures = [await js.publish_async("s.a", b"%d" % number) for number in range(2)]
    for wait in (0.02, 0):
        await ctx.attempt(f"stalled for {wait}", js.publish_async("s.a", b"x", wait_stall=wait))
    waiting = asyncio.create_task(js.publish_async("s.a", b"waits"))
    await asyncio.sleep(0.05)
    ctx.say("waiting", not waiting.done(), js.publish_async_pending())
    ctx.server.resume()
    ctx.say((await (await waiting)).seq, [(await future).seq for future in futures])
    ctx.say(js.publish_async_pending(), (await js.stream_info("S")).state.messages)


@jetstream_scenario
async def limit_frees_itself(ctx: Context) -> None:
    nc, _ = await begin(ctx)
    js = nc.jetstream(publish_async_max_pending=10)
    futures = [await js.publish_async("s.a", b"x", wait_stall=2) for _ in range(100)]
    await js.publish_async_completed()
    ctx.say([(await future).seq for future in futures] == list(range(1, 101)))


@jetstream_scenario
async def cancelled_futures(ctx: Context) -> None:
    nc, _ = await begin(ctx)
    js = nc.jetstream(publish_async_max_pending=1)
    await (await js.publish_async("s.a", b"0"))
    ctx.server.pause()
    future = await js.publish_async("s.a", b"1")
    future.cancel()
    await asyncio.sleep(0.01)
    ctx.say("pending", js.publish_async_pending())
    future = await js.publish_async("s.a", b"2", wait_stall=0.1)
    ctx.server.resume()
    ctx.say((await future).seq, js.publish_async_pending())
    ctx.say("connected", nc.is_connected)


@jetstream_scenario
async def callbacks_of_futures(ctx: Context) -> None:
    _, js = await begin(ctx)
    done = asyncio.Event()

    def callback(future: asyncio.Future[Any]) -> None:
        ctx.say("done", future.exception() or future.result().seq, js.publish_async_pending())
        if js.publish_async_pending() == 0:
            done.set()

    for subject in ("s.a", "none", "s.b"):
        future = await js.publish_async(subject, b"x")
        future.add_done_callback(callback)
        await asyncio.wait([future])
    await asyncio.wait_for(done.wait(), 2)


@jetstream_scenario
async def together_with_publish(ctx: Context) -> None:
    _, js = await begin(ctx)
    first = await js.publish_async("s.a", b"1")
    second = await js.publish("s.a", b"2")
    third = await js.publish_async("s.a", b"3")
    ctx.say((await third).seq, second.seq, (await first).seq)


@jetstream_scenario
async def several_contexts(ctx: Context) -> None:
    nc, one = await begin(ctx)
    two = nc.jetstream()
    futures = [await js.publish_async("s.a", b"") for js in (one, two, one, two)]
    ctx.say([(await future).seq for future in futures])


@jetstream_scenario(
    differs="one inbox is enough for all replies",
    expected=["inboxes 1"],
)
async def inboxes_of_several_contexts(ctx: Context) -> None:
    nc, js = await begin(ctx)
    watcher = await ctx.connect()
    sub = await watcher.subscribe("s.>")
    await settle(watcher)
    await js.publish("s.a", b"")
    for context in (js, nc.jetstream()):
        await (await context.publish_async("s.a", b""))
    replies = [(await sub.next_msg()).reply for _ in range(3)]
    ctx.say("inboxes", len({reply.rpartition(".")[0] for reply in replies}))


@jetstream_scenario
async def what_is_sent(ctx: Context) -> None:
    nc, js = await begin(ctx)
    say = await spy(ctx, nc, "s.>")
    watcher = await ctx.connect()
    inboxes: list[str] = []

    async def note(msg: Any) -> None:
        inboxes.append(msg.reply)

    await watcher.subscribe("s.>", cb=note)
    await settle(watcher)
    headers = {"a": "b"}
    await (await js.publish_async("s.a", b"1", headers=headers, stream="S", msg_ttl=None))
    await (await js.publish_async("s.a", b"2"))
    ctx.say("the caller's headers", headers)
    await say()
    await settle(watcher)
    ctx.say([bool(re.fullmatch(r"_INBOX\.\w{22}\.\w+", inbox)) for inbox in inboxes])
    ctx.say("one subscription", len({inbox.rpartition(".")[0] for inbox in inboxes}))


@jetstream_scenario
async def another_inbox_prefix(ctx: Context) -> None:
    nc = await ctx.connect(inbox_prefix="_MINE.x")
    js = nc.jetstream()
    await js.add_stream(name="S", subjects=["s"], storage="memory")
    ctx.say((await (await js.publish_async("s", b"1"))).seq, (await js.publish("s", b"2")).seq)
    sub = await js.pull_subscribe("s", "d")
    ctx.say([msg.data for msg in await sub.fetch(2)], sub._deliver.startswith("_MINE.x."))
    push = await js.subscribe("s")
    ctx.say((await push.next_msg()).data, push.subject.startswith("_MINE.x."))


@jetstream_scenario
async def closed(ctx: Context) -> None:
    nc, js = await begin(ctx)
    await (await js.publish_async("s.a", b"0"))
    await nc.close()
    await ctx.attempt("publish_async", js.publish_async("s.a", b"2"))


@jetstream_scenario(
    differs="each takes a slot that is never returned",
    expected=[
        "too large raises nats.errors.MaxPayloadError: nats: maximum payload exceeded",
        *("pending 0", "disconnected_cb", "closed_cb"),
        "closed raises nats.errors.ConnectionClosedError: nats: connection closed",
        "pending 0",
    ],
)
async def slots_of_refused_publications(ctx: Context) -> None:
    nc, js = await begin(ctx)
    await ctx.attempt("too large", js.publish_async("s.a", b"x" * 1_100_000))
    ctx.say("pending", js.publish_async_pending())
    await nc.close()
    await ctx.attempt("closed", js.publish_async("s.a", b""))
    ctx.say("pending", js.publish_async_pending())


def outcome(future: asyncio.Future[Any]) -> Any:
    return future.exception() if future.done() else "pending"


@jetstream_scenario(
    differs="the futures never get done",
    expected=[
        "disconnected_cb",
        "closed_cb",
        "nats.errors.ConnectionClosedError: nats: connection closed",
        "pending 0",
    ],
)
async def closed_while_pending(ctx: Context) -> None:
    nc, js = await begin(ctx)
    await (await js.publish_async("s.a", b"0"))
    ctx.server.pause()
    future = await js.publish_async("s.a", b"1")
    await nc.close()
    ctx.server.resume()
    ctx.say(outcome(future))
    ctx.say("pending", js.publish_async_pending())


@jetstream_scenario(
    differs="the futures never get done, and the slots that they take are lost",
    expected=[
        "nats.errors.ConnectionReconnectingError: nats: connection reconnecting",
        "pending 0",
    ],
)
async def connection_lost_while_pending(ctx: Context) -> None:
    async def ignore(_: Exception) -> None:
        pass

    nc = await ctx.connect(error_cb=ignore, reconnect_time_wait=0.1)
    js = nc.jetstream()
    await js.add_stream(name="S", subjects=["s"], storage="file")
    await (await js.publish_async("s", b"0"))
    ctx.server.pause()
    future = await js.publish_async("s", b"1")
    ctx.server.kill()
    await ctx.until("the connection is lost", lambda: not nc.is_connected)
    await asyncio.wait([future], timeout=0.5)
    ctx.say(outcome(future))
    ctx.say("pending", js.publish_async_pending())
