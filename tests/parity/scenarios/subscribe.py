"""Subscribing: callbacks, iterators, next_msg, futures, queue groups, wildcards."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

from parity.harness import Context, scenario, settle


@scenario
async def with_callback(ctx: Context) -> None:
    nc = await ctx.connect()
    done = asyncio.Event()

    async def handler(msg: Any) -> None:
        ctx.say(msg.subject, msg.reply, msg.data, msg.headers, msg.sid, msg._client is nc)
        if msg.data == b"3":
            done.set()

    sub = await nc.subscribe("foo", cb=handler)
    for number in range(4):
        await nc.publish("foo", b"%d" % number, reply="bar" if number % 2 else "")
    await done.wait()
    await asyncio.sleep(0)
    ctx.say(sub.subject, sub.queue, sub.pending_msgs, sub.pending_bytes, sub.delivered)
    ctx.say(sub._id, sub._closed, list(nc._subs) == [sub._id], nc._subs[sub._id] is sub)


@scenario
async def callbacks_run_one_after_the_other(ctx: Context) -> None:
    nc = await ctx.connect()
    done = asyncio.Event()

    async def handler(msg: Any) -> None:
        ctx.say("begin", msg.data)
        await asyncio.sleep(0.01)
        ctx.say("end", msg.data)
        if msg.data == b"last":
            done.set()

    await nc.subscribe("foo", cb=handler)
    for data in (b"1", b"2", b"3", b"last"):
        await nc.publish("foo", data)
    await done.wait()


@scenario
async def kinds_of_callbacks(ctx: Context) -> None:
    nc = await ctx.connect()

    async def handler(msg: Any, label: str = "plain") -> None:
        ctx.say(label, msg.data)

    def synchronous(msg: Any) -> None:
        ctx.say("synchronous", msg.data)

    class Handlers:
        async def method(self, msg: Any) -> None:
            ctx.say("method", msg.data)

        async def __call__(self, msg: Any) -> None:
            ctx.say("called", msg.data)

    callbacks = {
        "function": handler,
        "partial": functools.partial(handler, label="partial"),
        "method": Handlers().method,
        "partial of a method": functools.partial(Handlers().method),
        "callable object": Handlers(),
        "synchronous": synchronous,
        "partial of synchronous": functools.partial(synchronous),
        "lambda": lambda msg: handler(msg),
        "number": 5,
    }
    for name, callback in callbacks.items():
        subject = name.replace(" ", "_")
        await ctx.attempt(f"subscribe with {name}", nc.subscribe(subject, cb=callback))
        await nc.publish(subject, b"x")
        await settle(nc)
        await asyncio.sleep(0.01)
    ctx.say("subscriptions", len(nc._subs))


@scenario
async def with_iterator(ctx: Context) -> None:
    nc = await ctx.connect()
    sub = await nc.subscribe("foo")
    for number in range(3):
        await nc.publish("foo", b"%d" % number)
    await settle(nc)
    ctx.say("pending", sub.pending_msgs, sub.pending_bytes)
    async for msg in sub.messages:
        ctx.say(msg.data, "pending", sub.pending_msgs, sub.pending_bytes, sub.delivered)
        if msg.data == b"1":
            break
    ctx.say((await sub.next_msg()).data, "by next_msg")
    await nc.publish("foo", b"more")
    ctx.say((await sub.messages.__anext__()).data)
    ctx.say(aiter(sub.messages) is sub.messages)


@scenario
async def next_msg_timeouts(ctx: Context) -> None:
    nc = await ctx.connect()
    sub = await nc.subscribe("foo")
    await ctx.attempt("next_msg", sub.next_msg(timeout=0.05))
    await ctx.attempt("next_msg", sub.next_msg(0.01))
    for timeout in (0, -1):
        await ctx.attempt(f"next_msg {timeout}", sub.next_msg(timeout=timeout))
    error = await ctx.attempt("next_msg", sub.next_msg(timeout=0.01))
    ctx.say("is a timeout", isinstance(error, asyncio.TimeoutError), sub.pending_msgs)
    asyncio.get_running_loop().call_later(0.05, asyncio.ensure_future, nc.publish("foo", b"late"))
    ctx.say((await sub.next_msg(timeout=None)).data)


@scenario
async def next_msg_cancelled(ctx: Context) -> None:
    nc = await ctx.connect()
    sub = await nc.subscribe("foo")
    waiting = asyncio.create_task(sub.next_msg(timeout=5))
    await asyncio.sleep(0.02)
    waiting.cancel()
    try:
        await waiting
    except asyncio.CancelledError:
        ctx.say("cancelled")
    await nc.publish("foo", b"x")
    ctx.say((await sub.next_msg()).data, sub.pending_msgs)


@scenario
async def several_wait_for_the_next_message(ctx: Context) -> None:
    nc = await ctx.connect()
    sub = await nc.subscribe("foo")
    waiting = [asyncio.create_task(sub.next_msg(timeout=2)) for _ in range(3)]
    await asyncio.sleep(0.01)
    for number in range(3):
        await nc.publish("foo", b"%d" % number)
    ctx.say([msg.data for msg in await asyncio.gather(*waiting)])


@scenario
async def wrong_use_of_a_kind(ctx: Context) -> None:
    nc = await ctx.connect()

    async def handler(msg: Any) -> None:
        pass

    sub = await nc.subscribe("foo", cb=handler)
    await ctx.attempt("messages of a callback subscription", lambda: sub.messages)
    await ctx.attempt("next_msg of a callback subscription", sub.next_msg())
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    sub = await nc.subscribe("bar", future=future)
    await ctx.attempt("messages of a future subscription", lambda: sub.messages)


@scenario
async def with_future(ctx: Context) -> None:
    nc = await ctx.connect()
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    sub = await nc.subscribe("foo", future=future, max_msgs=1)
    await sub.unsubscribe(limit=1)
    ctx.say("registered", len(nc._subs))
    await nc.publish("foo", b"1", headers={"a": "b"})
    await nc.publish("foo", b"2")
    msg = await asyncio.wait_for(future, 2)
    await settle(nc)
    ctx.say(msg.subject, msg.data, msg.headers, "registered", len(nc._subs))
    ctx.say(sub.delivered, sub.pending_msgs, nc.stats["in_msgs"])


@scenario
async def future_cancelled_before_the_message(ctx: Context) -> None:
    nc = await ctx.connect()
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    sub = await nc.subscribe("foo", future=future, max_msgs=1)
    future.cancel()
    await nc.publish("foo", b"1")
    await settle(nc)
    ctx.say(sub.delivered, "registered", len(nc._subs), "connected", nc.is_connected)


@scenario
async def max_msgs_without_unsubscribe(ctx: Context) -> None:
    nc = await ctx.connect()
    sub = await nc.subscribe("foo", max_msgs=2)
    for number in range(4):
        await nc.publish("foo", b"%d" % number)
    await settle(nc)
    ctx.say("registered", len(nc._subs), sub.delivered, sub.pending_msgs)
    ctx.say([msg.data async for msg in sub.messages])


@scenario
async def wrong_subjects(ctx: Context) -> None:
    nc = await ctx.connect()
    wrong = ["", " ", "a b", "a\tb", "a\r\nb", ".", "a.", ".a", "a..b", "a.>.b", "a>", ">a"]
    wrong += ["a*", "*a", "a.b*.c", "**"]
    right = ["*", ">", "a.*", "a.>", "*.*", "a.*.b", "$SYS.>", "ä.ö"]
    for subject in wrong + right:
        await ctx.attempt(f"subscribe to {subject!r}", nc.subscribe(subject))
    for queue in ("a b", "a\tb", "a\r\nb", " ", "", "a.b", "*", ">"):
        await ctx.attempt(f"queue {queue!r}", nc.subscribe("foo", queue=queue))
    await settle(nc)
    ctx.say("connected", nc.is_connected, "subscriptions", len(nc._subs))


@scenario
async def wildcards(ctx: Context) -> None:
    nc = await ctx.connect()
    patterns = ["a.*", "a.>", "*.b", ">", "a.b", "*"]
    subs = [await nc.subscribe(pattern) for pattern in patterns]
    for subject in ("a.b", "a.c", "a.b.c", "x.b", "x"):
        await nc.publish(subject, b"")
    await settle(nc)
    for sub in subs:
        subjects = [(await sub.next_msg()).subject for _ in range(sub.pending_msgs)]
        ctx.say(sub.subject, subjects)


@scenario
async def queue_groups(ctx: Context) -> None:
    nc = await ctx.connect()
    members = [await nc.subscribe("foo", queue="workers") for _ in range(3)]
    positional = await nc.subscribe("foo", "others")
    everybody = await nc.subscribe("foo")
    for number in range(60):
        await nc.publish("foo", b"%d" % number)
    await settle(nc)
    got = [int((await sub.next_msg()).data) for sub in members for _ in range(sub.pending_msgs)]
    ctx.say("workers got each once", sorted(got) == list(range(60)))
    ctx.say("everybody", everybody.pending_msgs, "others", positional.pending_msgs)
    ctx.say([sub.queue for sub in (*members, positional, everybody)])


@scenario
async def same_subject_twice(ctx: Context) -> None:
    nc = await ctx.connect()
    first, second = await nc.subscribe("foo"), await nc.subscribe("foo")
    await nc.publish("foo", b"x")
    one, two = await first.next_msg(), await second.next_msg()
    ctx.say(one.data, two.data, one.sid, two.sid, one is two, nc.stats["in_msgs"])


@scenario
async def pending_counts(ctx: Context) -> None:
    nc = await ctx.connect()
    sub = await nc.subscribe("foo")
    for size in (10, 0, 5):
        await nc.publish("foo", b"x" * size, headers={"not": "counted"})
    await settle(nc)
    while sub.pending_msgs:
        ctx.say(sub.pending_msgs, sub.pending_bytes, sub.delivered)
        await sub.next_msg()
    ctx.say(sub.pending_msgs, sub.pending_bytes, sub.delivered, nc.stats)
    ctx.say(sub._pending_msgs_limit, sub._pending_bytes_limit, sub._max_msgs)


@scenario
async def states_in_which_subscribing_fails(ctx: Context) -> None:
    nc = await ctx.connect()
    sub = await nc.subscribe("foo")
    await nc.close()
    await ctx.attempt("subscribe", nc.subscribe("foo"))
    await ctx.attempt("subscribe to nothing", nc.subscribe(""))
    await ctx.attempt("next_msg", sub.next_msg())
    await ctx.attempt("unsubscribe", sub.unsubscribe())
    await ctx.attempt("drain", sub.drain())
    ctx.say([msg.data async for msg in sub.messages])


@scenario
async def large_messages_in_pieces(ctx: Context) -> None:
    nc = await ctx.connect()
    sub = await nc.subscribe("foo")
    payloads = [bytes([number]) * (number * 40_000 + 1) for number in range(8)]
    for payload in payloads:
        await nc.publish("foo", payload, headers={"size": str(len(payload))})
    got = [await sub.next_msg(timeout=3) for _ in payloads]
    ctx.say("equal", [msg.data for msg in got] == payloads)
    ctx.say([msg.headers for msg in got])


@scenario
async def private_names_that_programs_use(ctx: Context) -> None:
    nc: Any = ctx.client()
    ctx.say("before", nc._max_payload, nc._pending_data_size, nc._max_pending_size)
    await nc.connect(ctx.url, pending_size=4096, **ctx.callbacks())
    ctx.say("connected", nc._max_payload, nc._pending_data_size, nc._max_pending_size)
    nc._max_payload = nc._max_pending_size = 100
    ctx.say("assigned", nc.max_payload)
    await ctx.attempt("too large", nc.publish("foo", bytes(101)))
    sub: Any = await nc.subscribe("foo", pending_msgs_limit=3)
    queue = sub._pending_queue
    ctx.say(queue.maxsize, queue.qsize(), queue.empty(), queue.full())
    for number in range(3):
        await nc.publish("foo", b"%d" % number)
    await nc._flush_pending()
    await settle(nc)
    ctx.say(queue.qsize(), queue.empty(), queue.full(), sub.pending_msgs)
    ctx.say((await queue.get()).data, queue.get_nowait().data, queue.qsize())
    queue.task_done()
    ctx.say((await sub.next_msg()).data, queue.empty())
    await ctx.attempt("empty", queue.get_nowait)
    waiting = asyncio.ensure_future(queue.get())
    await nc.publish("foo", b"last")
    ctx.say((await asyncio.wait_for(waiting, 2)).data)
    waiting = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    await sub.unsubscribe()
    await ctx.attempt("unsubscribed", asyncio.wait_for(waiting, 0.05))
