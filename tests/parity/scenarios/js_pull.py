"""Pull consumers."""

from __future__ import annotations

import asyncio
from typing import Any

import nats
from parity.harness import Context, jetstream_scenario
from parity.scenarios._jetstream import begin, fill, mask, payloads, shown, spy, told


async def fetched(ctx: Context, what: str, action: Any) -> None:
    """Say what messages were fetched, or the error."""
    try:
        ctx.say(what, payloads(await action))
    except Exception as error:
        text = str(error) if type(error) is ValueError else ""
        ctx.say(what, "raises", error, text)


@jetstream_scenario
async def full_and_partial(ctx: Context) -> None:
    _, js = await begin(ctx)
    await fill(js, 7)
    sub = await js.pull_subscribe("s.a", "d")
    ctx.say(type(sub).__qualname__, sub.pending_msgs, sub.pending_bytes, sub.delivered)
    await fetched(ctx, "default", sub.fetch())
    await fetched(ctx, "three", sub.fetch(3))
    ctx.say(sub.pending_msgs, sub.pending_bytes)
    await fetched(ctx, "five", sub.fetch(5, timeout=0.3))
    await fetched(ctx, "none left", sub.fetch(5, timeout=0.1))
    await fetched(ctx, "one of none", sub.fetch(1, timeout=0.1))
    ctx.say((await sub.consumer_info()).num_ack_pending)


@jetstream_scenario
async def contents(ctx: Context) -> None:
    _, js = await begin(ctx)
    await js.publish("s.a", b"1", headers={"a": "b"})
    await js.publish("s.a", b"")
    sub = await js.pull_subscribe("s.>", "d")
    for msg in await sub.fetch(2):
        ctx.say(msg.subject, msg.data, msg.headers, msg.reply, shown(msg.metadata))
        ctx.say(msg.is_acked, msg.sid == sub._sub._id, msg._client is js._nc)


@jetstream_scenario
async def wrong_arguments(ctx: Context) -> None:
    _, js = await begin(ctx)
    sub = await js.pull_subscribe("s.a", "d")
    for batch in (0, -1):
        await fetched(ctx, f"batch {batch}", sub.fetch(batch))
    for timeout in (0, -1, 0.0):
        await fetched(ctx, f"timeout {timeout}", sub.fetch(1, timeout=timeout))
    await fetched(ctx, "text", sub.fetch("1"))
    await told(ctx, "no stream", js.pull_subscribe("none", "d"))
    await told(ctx, "wrong stream", js.pull_subscribe("s.a", "d", stream="T"))
    await told(ctx, "wrong durable", js.pull_subscribe("s.a", "a.b"))
    await told(ctx, "other subject", js.pull_subscribe("t", "other", stream="S"))
    await told(ctx, "bind to no stream", js.pull_subscribe_bind("d"))
    await told(ctx, "bind to empty", js.pull_subscribe_bind("d", stream=""))


async def rest(sub: Any, waiting: asyncio.Task[Any], count: int) -> list[bytes]:
    """Return so many messages; how many of them one fetch gives depends on the server's speed."""
    msgs = await waiting
    while len(msgs) < count:
        msgs += await sub.fetch(count - len(msgs), timeout=1)
    return payloads(msgs)


@jetstream_scenario
async def waiting_for_messages(ctx: Context) -> None:
    _, js = await begin(ctx)
    sub = await js.pull_subscribe("s.a", "d")
    start = 1
    for batch, count, timeout in ((1, 1, 2), (3, 3, 2), (3, 2, 2), (1, 1, None), (2, 2, None)):
        waiting = asyncio.create_task(sub.fetch(batch, timeout=timeout))
        await asyncio.sleep(0.1)
        await fill(js, count, start=start)
        ctx.say(batch, timeout, await rest(sub, waiting, count))
        start += count


@jetstream_scenario
async def timeouts(ctx: Context) -> None:
    _, js = await begin(ctx)
    sub = await js.pull_subscribe("s.a", "d")
    loop = asyncio.get_running_loop()
    for batch in (1, 5):
        begin_time = loop.time()
        error = await told(ctx, f"{batch}", sub.fetch(batch, timeout=0.3))
        ctx.say("waited", 0.25 < loop.time() - begin_time < 1.5, type(error).__mro__[1].__name__)
        ctx.say(isinstance(error, asyncio.TimeoutError), isinstance(error, nats.errors.Error))
    await fill(js, 1)
    await fetched(ctx, "afterwards", sub.fetch(1, timeout=1))


@jetstream_scenario
async def heartbeats(ctx: Context) -> None:
    _, js = await begin(ctx)
    api: Any = nats.js.api

    async def another() -> Any:
        # Late answers to one fetch would be taken for answers to the next one.
        return await js.pull_subscribe("s.a", config=api.ConsumerConfig(deliver_policy="new"))

    for batch in (1, 5):
        sub = await another()
        await fetched(ctx, "no messages", sub.fetch(batch, timeout=0.5, heartbeat=0.1))
        sub = await another()
        await fetched(ctx, "too long", sub.fetch(batch, timeout=0.3, heartbeat=0.2))
        sub = await another()
        waiting = asyncio.create_task(sub.fetch(batch, timeout=0.8, heartbeat=0.1))
        await asyncio.sleep(0.25)
        await fill(js, 1)
        await fetched(ctx, "a message later", waiting)


@jetstream_scenario
async def requests_sent(ctx: Context) -> None:
    nc, js = await begin(ctx)
    await fill(js, 6)
    say = await spy(ctx, nc)
    sub = await js.pull_subscribe("s.a", "d")
    await sub.fetch(1, timeout=2)
    await sub.fetch(2, timeout=3.5)
    await say()
    await fill(js, 3, start=7)
    await sub.fetch(3, timeout=None)
    await say()
    waiting = asyncio.create_task(sub.fetch(3, timeout=2, heartbeat=0.5))
    await asyncio.sleep(0.1)
    await fill(js, 3)
    await waiting
    await say(ignore=("expires",))
    ephemeral = await js.pull_subscribe("s.a")
    again = await js.pull_subscribe("s.a", "d", config=nats.js.api.ConsumerConfig())
    ctx.say(len(ephemeral._consumer), again._consumer, again._nms)
    await say()


@jetstream_scenario(
    differs="a request that waits for ever may be lost, and nobody would ever know",
    expected=[
        f"-> $JS.API.CONSUMER.MSG.NEXT.S.d JSON {request} "
        for request in (
            '{"batch": 1, "expires": 30000000000, "idle_heartbeat": 5000000000}',
            '{"batch": 2, "no_wait": true}',
            '{"batch": 2, "expires": 30000000000, "idle_heartbeat": 5000000000}',
        )
    ],
)
async def requests_that_wait_for_ever(ctx: Context) -> None:
    nc, js = await begin(ctx)
    sub = await js.pull_subscribe("s.a", "d")
    say = await spy(ctx, nc, "$JS.API.CONSUMER.MSG.NEXT.>")
    for batch in (1, 2):
        waiting = asyncio.create_task(sub.fetch(batch, timeout=None))
        await asyncio.sleep(0.1)
        await fill(js, batch)
        await waiting
    await say()


@jetstream_scenario
async def creating_consumers(ctx: Context) -> None:
    nc, js = await begin(ctx)
    say = await spy(ctx, nc)
    api: Any = nats.js.api
    config = api.ConsumerConfig(ack_wait=5, max_ack_pending=10, description="text")
    await js.pull_subscribe("s.a", "d", config=config)
    filters = api.ConsumerConfig(filter_subjects=["s.x", "s.y"])
    kinds: dict[str, dict[str, Any]] = {
        "filters": {"subject": "s.>", "durable": "f", "config": filters},
        "existing": {"subject": "s.a", "durable": "d", "stream": "S"},
        "ephemeral": {"subject": "s.b"},
        "everything": {"subject": ">", "durable": "e", "stream": "S"},
        "empty": {"subject": "", "durable": "empty", "stream": "S"},
    }
    for what, params in kinds.items():
        sub = await ctx.attempt(what, js.pull_subscribe(**params))
        if not isinstance(sub, Exception):
            info = await sub.consumer_info()
            ctx.say(info.name, info.config.filter_subject, info.config.inactive_threshold)
    await say()


@jetstream_scenario(
    differs="what there is is taken for what is asked for; the configuration's name is lost",
    expected=[
        "another subject raises nats.js.errors.Error: nats: JetStream.Error subject 's.b' does "
        "not match consumer 'd' of stream 'S', which filters 's.a' ",
        "another configuration raises nats.js.errors.Error: nats: JetStream.Error configuration "
        "requests ack_wait to be 5, but it is 30.0 of consumer 'd' of stream 'S' ",
        "n",
    ],
)
async def what_is_asked_for(ctx: Context) -> None:
    _, js = await begin(ctx)
    config = nats.js.api.ConsumerConfig
    await js.pull_subscribe("s.a", "d")
    await told(ctx, "another subject", js.pull_subscribe("s.b", "d"))
    await told(
        ctx, "another configuration", js.pull_subscribe("s.a", "d", config=config(ack_wait=5))
    )
    sub = await js.pull_subscribe("s.b", config=config(name="n"))
    ctx.rename(r"\w{22}", "<nuid>")
    ctx.say((await sub.consumer_info()).name)


@jetstream_scenario
async def bound(ctx: Context) -> None:
    nc, js = await begin(ctx)
    await fill(js, 6)
    await js.add_consumer("S", durable_name="d", ack_policy="explicit")
    calls: list[dict[str, Any]] = [
        {"consumer": "d", "stream": "S"},
        {"durable": "d", "stream": "S"},
        {"name": "d", "stream": "S"},
        {"consumer": "x", "durable": "d", "stream": "S"},
        {"consumer": "d", "stream": "S", "inbox_prefix": b"my.inbox."},
    ]
    for params in calls:
        sub = await js.pull_subscribe_bind(**params)
        await fetched(ctx, f"{params}", sub.fetch(1, timeout=1))
        prefix = params.get("inbox_prefix", b"_INBOX.").decode()
        ctx.say(sub._consumer, sub._stream, sub._deliver.startswith(prefix))
    unknown = await js.pull_subscribe_bind("unknown", "S")
    await fetched(ctx, "one from an unknown consumer", unknown.fetch(1, timeout=0.2))
    await fetched(ctx, "two from an unknown consumer", unknown.fetch(2, timeout=0.2))
    await told(ctx, "info", unknown.consumer_info())
    ctx.say("connected", nc.is_connected)


@jetstream_scenario(
    differs="it will never be served, and the server has said so",
    expected=[
        f"from a push consumer {batch} raises nats.js.errors.APIError: nats: APIError: "
        "code=409 description='Consumer is push based' "
        for batch in (1, 2)
    ],
)
async def bound_to_a_push_consumer(ctx: Context) -> None:
    _, js = await begin(ctx)
    await js.add_consumer("S", durable_name="push", deliver_subject="to")
    push = await js.pull_subscribe_bind("push", "S")
    for batch in (1, 2):
        await fetched(ctx, f"from a push consumer {batch}", push.fetch(batch, timeout=0.2))


@jetstream_scenario(
    differs="they are messages like any others, and were lost",
    expected=[
        f"{batch} {status} [b'waited for', b'there']" for batch in (1, 2) for status in (100, 404)
    ],
)
async def headers_named_status(ctx: Context) -> None:
    _, js = await begin(ctx)
    sub = await js.pull_subscribe("s.a", "d")
    for batch in (1, 2):
        for status in (100, 404):
            waiting = asyncio.create_task(sub.fetch(batch, timeout=0.5))
            await asyncio.sleep(0.1)
            seen: list[bytes | None] = []
            for payload in (b"waited for", b"there"):
                await js.publish("s.a", payload, headers={"Status": str(status)})
                try:
                    seen += payloads(await waiting)
                except nats.errors.TimeoutError:
                    seen.append(None)
                waiting = asyncio.create_task(sub.fetch(batch, timeout=0.5))
            waiting.cancel()
            await asyncio.wait([waiting])
            ctx.say(batch, status, seen)


@jetstream_scenario
async def several_fetches_at_once(ctx: Context) -> None:
    _, js = await begin(ctx)
    sub = await js.pull_subscribe("s.a", "d")
    waiting = [asyncio.create_task(sub.fetch(1, timeout=2)) for _ in range(4)]
    await asyncio.sleep(0.1)
    ctx.say("waiting", (await sub.consumer_info()).num_waiting)
    await fill(js, 4)
    ctx.say(sorted(msg.data for msgs in await asyncio.gather(*waiting) for msg in msgs))
    subs = [await js.pull_subscribe_bind("d", "S") for _ in range(3)]
    await fill(js, 6)
    got = [payloads(await sub.fetch(2, timeout=1)) for sub in subs]
    ctx.say(got)


@jetstream_scenario
async def cancelled_fetch(ctx: Context) -> None:
    _, js = await begin(ctx)
    sub = await js.pull_subscribe("s.a", "d")
    waiting = asyncio.create_task(sub.fetch(1, timeout=3))
    await asyncio.sleep(0.1)
    waiting.cancel()
    await asyncio.wait([waiting])
    ctx.say("cancelled", waiting.cancelled())
    await fill(js, 1)
    await ctx.until("the message came", lambda: sub.pending_msgs == 1)
    ctx.say(sub.pending_msgs, sub.pending_bytes, sub.delivered)
    await fetched(ctx, "afterwards", sub.fetch(1, timeout=0.5))
    ctx.say(sub.pending_msgs, sub.pending_bytes)


@jetstream_scenario
async def unsubscribed(ctx: Context) -> None:
    nc, js = await begin(ctx)
    await fill(js, 3)
    sub = await js.pull_subscribe("s.a", "d")
    await sub.fetch(1)
    count = len(nc._subs)
    await sub.unsubscribe()
    ctx.say("gone", count - len(nc._subs))
    await fetched(ctx, "one", sub.fetch(1, timeout=0.2))
    await fetched(ctx, "two", sub.fetch(2, timeout=0.2))
    await told(ctx, "again", sub.unsubscribe())
    ctx.say((await sub.consumer_info()).name)


@jetstream_scenario
async def connection_closed(ctx: Context) -> None:
    nc, js = await begin(ctx)
    sub = await js.pull_subscribe("s.a", "d")
    waiting = [asyncio.create_task(sub.fetch(batch, timeout=5)) for batch in (1, 2)]
    await asyncio.sleep(0.1)
    await nc.close()
    for task in waiting:
        await fetched(ctx, "waiting", asyncio.wait_for(task, 2))
    await fetched(ctx, "afterwards", sub.fetch(1, timeout=0.2))
    await fetched(ctx, "two afterwards", sub.fetch(2, timeout=0.2))
    await told(ctx, "unsubscribe", sub.unsubscribe())
    await told(ctx, "info", sub.consumer_info())


@jetstream_scenario
async def consumer_deleted_before(ctx: Context) -> None:
    _, js = await begin(ctx)
    sub = await js.pull_subscribe("s.a", "d")
    await js.delete_consumer("S", "d")
    await fetched(ctx, "one afterwards", sub.fetch(1, timeout=0.2))
    await fetched(ctx, "two afterwards", sub.fetch(2, timeout=0.2))


@jetstream_scenario(
    differs="the whole timeout, and an empty list or TimeoutError, don't tell what has happened",
    expected=[
        f"{batch} {deleted} raises nats.js.errors.APIError: nats: APIError: code=409 "
        "description='Consumer Deleted' "
        for batch in (1, 3)
        for deleted in ("consumer", "stream")
    ],
)
async def deleted_meanwhile(ctx: Context) -> None:
    _, js = await begin(ctx)
    for batch in (1, 3):
        for deleted in ("consumer", "stream"):
            sub = await js.pull_subscribe("s.a", "d")
            waiting = asyncio.create_task(sub.fetch(batch, timeout=1))
            await asyncio.sleep(0.1)
            await (js.delete_consumer("S", "d") if deleted == "consumer" else js.delete_stream("S"))
            await fetched(ctx, f"{batch} {deleted}", waiting)
        await js.add_stream(name="S", subjects=["s.>"], storage="memory")


@jetstream_scenario
async def too_many_waiting(ctx: Context) -> None:
    _, js = await begin(ctx)
    config = nats.js.api.ConsumerConfig(max_waiting=1)
    sub = await js.pull_subscribe("s.a", "d", config=config)
    other = await js.pull_subscribe_bind("d", "S")
    waiting = asyncio.create_task(sub.fetch(1, timeout=2))
    await asyncio.sleep(0.1)
    await fetched(ctx, "one too many", other.fetch(1, timeout=0.3))
    await fill(js, 1)
    await fetched(ctx, "the first", waiting)


@jetstream_scenario
async def limits_of_the_consumer(ctx: Context) -> None:
    _, js = await begin(ctx)
    await fill(js, 5)
    config = nats.js.api.ConsumerConfig(max_ack_pending=2)
    sub = await js.pull_subscribe("s.a", "d", config=config)
    msgs = await sub.fetch(5, timeout=0.5)
    ctx.say(payloads(msgs))
    await fetched(ctx, "none before an ack", sub.fetch(1, timeout=0.2))
    await msgs[0].ack_sync()
    await fetched(ctx, "one after it", sub.fetch(5, timeout=0.5))


@jetstream_scenario
async def messages_left_from_earlier_requests(ctx: Context) -> None:
    nc, js = await begin(ctx)
    await fill(js, 6)
    sub = await js.pull_subscribe("s.a", "d")
    await nc.publish(sub._nms, b'{"batch": 3}', reply=sub._deliver)
    await ctx.until("three came", lambda: sub.pending_msgs == 3)
    ctx.say(sub.pending_msgs, sub.pending_bytes)
    await fetched(ctx, "one", sub.fetch(1, timeout=0.5))
    await fetched(ctx, "four", sub.fetch(4, timeout=0.5))
    await nc.publish(sub._nms, b'{"batch": 5, "no_wait": true}', reply=sub._deliver)
    await ctx.until("both came", lambda: sub.pending_msgs == 2)
    await fetched(ctx, "after a status", sub.fetch(5, timeout=0.3))
    ctx.say(sub.pending_msgs, sub.pending_bytes)


@jetstream_scenario
async def not_for_pull_subscriptions(ctx: Context) -> None:
    _, js = await begin(ctx)
    sub = await js.pull_subscribe("s.a", "d")
    for name in ("messages", "next_msg", "drain", "subject", "queue"):
        ctx.say(name, hasattr(sub, name))
    ctx.say(isinstance(sub, nats.aio.subscription.Subscription))


@jetstream_scenario
async def work_queues(ctx: Context) -> None:
    _, js = await begin(ctx, retention="workqueue")
    await fill(js, 3)
    sub = await js.pull_subscribe("s.a", "d")
    for msg in await sub.fetch(3):
        await msg.ack_sync()
    ctx.say((await js.stream_info("S")).state.messages)
    await told(ctx, "a second consumer", js.pull_subscribe("s.a", "e"))
    await js.pull_subscribe("s.b", "b")


@jetstream_scenario(
    differs="a request that was lost with its connection is asked again",
    expected=[
        "error_cb nats.errors.UnexpectedEOF: nats: unexpected EOF",
        "disconnected_cb",
        "error_cb ConnectionRefusedError: [Errno 111] Connect call failed ('127.0.0.1', <port1>)",
        "reconnected_cb",
        "waiting since before [b'1']",
        "afterwards [b'2']",
    ],
)
async def server_restarted_between_fetches(ctx: Context) -> None:
    mask(ctx)
    nc = await ctx.connect(**ctx.callbacks(once=True), reconnect_time_wait=0.1)
    js = nc.jetstream()
    await js.add_stream(name="S", subjects=["s"], storage="file")
    sub = await js.pull_subscribe("s", "d")
    waiting = asyncio.create_task(sub.fetch(1, timeout=5))
    await asyncio.sleep(0.1)
    ctx.server.stop()
    await ctx.until_said("error_cb ConnectionRefusedError")
    await ctx.server.start()
    await ctx.until_said("reconnected_cb")
    await js.publish("s", b"1")
    await fetched(ctx, "waiting since before", waiting)
    await js.publish("s", b"2")
    await fetched(ctx, "afterwards", sub.fetch(1, timeout=2))


@jetstream_scenario
async def many_messages(ctx: Context) -> None:
    _, js = await begin(ctx)
    for number in range(500):
        await js.publish_async("s.a", b"%d" % number)
    await js.publish_async_completed()
    sub = await js.pull_subscribe("s.a", "d")
    got: list[bytes] = []
    while len(got) < 500:
        msgs = await sub.fetch(150, timeout=1)
        for msg in msgs:
            await msg.ack()
        ctx.say(len(msgs))
        got += payloads(msgs)
    ctx.say("in order", got == [b"%d" % number for number in range(500)])
