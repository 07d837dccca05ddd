"""Publishing to streams and waiting for each acknowledgement."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import nats
from parity.harness import Context, jetstream_scenario
from parity.scenarios._jetstream import begin, fill, shown, spy, told


@jetstream_scenario
async def acknowledgements(ctx: Context) -> None:
    nc, js = await begin(ctx)
    ack = await told(ctx, "publish", js.publish("s.a", b"x"))
    ctx.say(ack, ack.as_dict(), type(ack).__module__)
    await told(ctx, "without payload", js.publish("s.a"))
    await told(ctx, "with headers", js.publish("s.b", b"x", headers={"a": "b"}))
    await told(ctx, "no stream", js.publish("none", b"x"))
    await nc.subscribe("silent")
    await told(ctx, "no answer", js.publish("silent", b"x", timeout=0.05))
    ctx.say(shown(await js.get_msg("S", 3)))


@jetstream_scenario
async def wrong_calls(ctx: Context) -> None:
    _, js = await begin(ctx, max_msg_size=10)
    for subject in ("", "a b", "s.*", "s.>", None):
        await told(ctx, f"subject {subject!r}", js.publish(subject, b"x", timeout=0.1))
    await told(ctx, "too large for the stream", js.publish("s.a", b"x" * 11))
    await told(ctx, "too large for the server", js.publish("s.a", b"x" * 1_100_000))
    await told(ctx, "text", js.publish("s.a", "text"))
    await told(ctx, "bytearray", js.publish("s.a", bytearray(b"x")))
    await told(ctx, "memoryview", js.publish("s.a", memoryview(b"x")))


@jetstream_scenario
async def expectations(ctx: Context) -> None:
    _, js = await begin(ctx)
    header = nats.js.api.Header
    await js.publish("s.a", b"1", headers={header.MSG_ID: "one"})
    await js.publish("s.b", b"2")
    right: list[dict[str, str]] = [
        {header.EXPECTED_LAST_SEQUENCE: "2"},
        {header.EXPECTED_LAST_SUBJECT_SEQUENCE: "3"},
        {"Nats-Expected-Stream": "S"},
        {header.EXPECTED_LAST_SEQUENCE: "5", header.MSG_ID: "two"},
        {header.EXPECTED_LAST_MSG_ID: "two"},
        {header.EXPECTED_LAST_SUBJECT_SEQUENCE: "0"},
    ]
    wrong: list[dict[str, str]] = [
        {"Nats-Expected-Last-Sequence": "1"},
        {header.EXPECTED_LAST_SUBJECT_SEQUENCE: "1"},
        {header.EXPECTED_STREAM: "T"},
        {header.EXPECTED_LAST_MSG_ID: "one"},
        {header.EXPECTED_LAST_SEQUENCE: "text"},
        {"Nats-TTL": "1"},
        {"Nats-Rollup": "sub"},
        {"Nats-Rollup": "wrong"},
    ]
    for headers in right + wrong:
        shape = {str(getattr(key, "value", key)): value for key, value in headers.items()}
        await told(ctx, f"{shape}", js.publish("s.a", b"", headers=headers))


@jetstream_scenario
async def expected_stream(ctx: Context) -> None:
    nc, js = await begin(ctx)
    say = await spy(ctx, nc, "s.>")
    headers = {"a": "b"}
    await told(ctx, "right", js.publish("s.a", b"", stream="S", headers=headers))
    ctx.say("the caller's headers", headers)
    await told(ctx, "wrong", js.publish("s.a", b"", stream="T"))
    await told(ctx, "empty", js.publish("s.a", b"", stream="", headers={}))
    headers = {"Nats-Expected-Stream": "T"}
    await told(ctx, "both", js.publish("s.a", b"", stream="S", headers=headers))
    await say()


@jetstream_scenario
async def duplicates(ctx: Context) -> None:
    _, js = await begin(ctx, duplicate_window=0.6)
    for data in (b"1", b"2"):
        await told(ctx, "same id", js.publish("s.a", data, headers={"Nats-Msg-Id": "x"}))
    await told(ctx, "other subject", js.publish("s.b", b"3", headers={"Nats-Msg-Id": "x"}))
    await told(ctx, "other id", js.publish("s.a", b"4", headers={"Nats-Msg-Id": "y"}))
    await told(ctx, "empty id", js.publish("s.a", b"5", headers={"Nats-Msg-Id": ""}))
    await told(ctx, "empty id", js.publish("s.a", b"6", headers={"Nats-Msg-Id": ""}))
    await asyncio.sleep(1.4)
    await told(ctx, "later", js.publish("s.a", b"7", headers={"Nats-Msg-Id": "x"}))
    ctx.say((await js.stream_info("S")).state.messages)


@jetstream_scenario
async def time_to_live(ctx: Context) -> None:
    nc, js = await begin(ctx, allow_msg_ttl=True)
    say = await spy(ctx, nc, "s.>")
    headers = {"a": "b"}
    await told(ctx, "one second", js.publish("s.a", b"1", msg_ttl=1, headers=headers))
    ctx.say("the caller's headers", headers)
    await told(ctx, "with a fraction", js.publish("s.a", b"2", msg_ttl=100.9))
    await told(ctx, "less than one", js.publish("s.a", b"3", msg_ttl=0.5))
    await told(ctx, "zero", js.publish("s.a", b"4", msg_ttl=0))
    await told(ctx, "negative", js.publish("s.a", b"5", msg_ttl=-1))
    await told(ctx, "minus two", js.publish("s.a", b"6", msg_ttl=-2))
    await told(ctx, "text", js.publish("s.a", b"7", msg_ttl="5"))
    await told(ctx, "header", js.publish("s.a", b"8", headers={"Nats-TTL": "1h"}))
    await say()
    for _ in range(100):
        if (await js.stream_info("S")).state.first_seq > 1:
            break
        await asyncio.sleep(0.05)
    await told(ctx, "expired", js.get_msg("S", 1))
    await told(ctx, "not expired", js.get_msg("S", 2))


@jetstream_scenario
async def full_streams(ctx: Context) -> None:
    _, js = await begin(ctx, max_msgs=2, discard="new")
    await fill(js, 2)
    await told(ctx, "too many", js.publish("s.a", b""))
    await js.add_stream(name="B", subjects=["b"], storage="memory", max_bytes=60, discard="new")
    await told(ctx, "fits", js.publish("b", b"x"))
    await told(ctx, "too many bytes", js.publish("b", b"x" * 50))
    params: dict[str, Any] = {"max_msgs_per_subject": 1, "discard_new_per_subject": True}
    await told(ctx, "config", js.add_stream(name="C", subjects=["c.*"], discard="new", **params))
    for subject in ("c.1", "c.2", "c.1"):
        await told(ctx, subject, js.publish(subject, b""))
    await js.add_stream(name="N", subjects=["n"], storage="memory", no_ack=True)
    await told(ctx, "without acknowledgement", js.publish("n", b"", timeout=0.05))


@jetstream_scenario
async def counters(ctx: Context) -> None:
    _, js = await begin(ctx, allow_msg_counter=True, allow_direct=True)
    for step in ("1", "5", "-2"):
        ack = await told(ctx, step, js.publish("s.a", headers={"Nats-Incr": step}))
        ctx.say(ack.val)
    await told(ctx, "no step", js.publish("s.a", b"x"))
    await told(ctx, "wrong step", js.publish("s.a", headers={"Nats-Incr": "x"}))
    ctx.say((await js.get_last_msg("S", "s.a")).data)


@jetstream_scenario
async def many_at_once(ctx: Context) -> None:
    _, js = await begin(ctx)
    acks = await asyncio.gather(*(js.publish("s.a", b"%d" % number) for number in range(200)))
    ctx.say([ack.seq for ack in acks] == list(range(1, 201)))
    ctx.say((await js.get_msg("S", 200)).data)


@jetstream_scenario
async def what_is_sent(ctx: Context) -> None:
    nc, js = await begin(ctx)
    say = await spy(ctx, nc, "s.>", "$JS.>")
    await js.publish("s.a", b"x")
    await js.publish("s.a", b"x", headers={"B": "2", "A": "1"}, stream="S", msg_ttl=None)
    await say()


@jetstream_scenario
async def answers_of_somebody_else(ctx: Context) -> None:
    nc = await ctx.connect()
    js = nc.jetstream()
    answers = {
        "list": b"[]",
        "other": b'{"stream": "X"}',
        "unknown": b'{"stream": "X", "seq": 5, "more": 1}',
        "error": b'{"error": {"code": 400, "err_code": 1, "description": "text"}}',
        "e503": b'{"error": {"code": 503, "description": "text"}}',
        "e404": b'{"error": {"code": 404, "err_code": 2, "description": "text"}}',
        "e418": b'{"error": {"code": 418, "err_code": 3, "description": "text"}}',
        "e_text": b'{"error": "text"}',
    }

    async def answer(msg: Any) -> None:
        await msg.respond(answers[msg.subject])

    for subject in answers:
        await nc.subscribe(subject, cb=answer)
        await told(ctx, subject, js.publish(subject, b""))
    answers["s"] = b"no JSON"
    await nc.subscribe("s", cb=answer)
    try:
        await js.publish("s", b"")
    except json.JSONDecodeError:
        ctx.say("no JSON")


@jetstream_scenario
async def answers_with_a_status(ctx: Context) -> None:
    """Of headers of that name, as of the server's own: only 503 counts."""
    nc = await ctx.connect()
    js = nc.jetstream()
    for status in ("404", "503"):

        async def answer(msg: Any, status: str = status) -> None:
            data = b'{"stream": "X", "seq": 5}'
            await nc.publish(msg.reply, data, headers={"Status": status})

        await nc.subscribe(status, cb=answer)
        await told(ctx, status, js.publish(status, b""))
        future = await js.publish_async(status, b"")
        await told(ctx, f"{status} asynchronously", future)
