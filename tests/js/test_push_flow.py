"""Push consumers with a real server: flow control, heartbeats, and deliveries that are lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from nats.embedded import Server
from nats.js import api
from nats.js.errors import ConsumerSequenceMismatchError
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer
from support.waiting import Events, eventually, within

pytestmark = pytest.mark.usefixtures("driver")

LARGE = 32 * 1024


async def begin(connect: Connect, count: int, size: int, **options: Any) -> tuple[Any, Any]:
    nc = await connect(**options)
    js = nc.jetstream(publish_async_max_pending=100)
    await js.add_stream(name="S", subjects=["s"], storage="memory")
    for number in range(count):
        await js.publish_async("s", (b"%08d" % number).ljust(size, b"."))
    await within(js.publish_async_completed(), 20)
    return nc, js


def number_of(msg: Any) -> int:
    return int(msg.data[:8])


class FlowRequests:
    """Counts the server's flow control requests of a consumer, and their answers."""

    def __init__(self) -> None:
        self.answers = 0

    async def watch(self, nc: Any) -> None:
        async def answered(msg: Any) -> None:
            self.answers += 1

        await nc.subscribe("$JS.FC.>", cb=answered)
        await nc.flush()


@pytest.mark.parametrize("how", ["handler", "next_msg", "async for"])
async def test_flow_control(js_server: Server, connect: Connect, how: str) -> None:
    """64 MB: more than the server sends without being asked to go on."""
    count = 2000
    nc, js = await begin(connect, count, LARGE)
    flow = FlowRequests()
    await flow.watch(await connect())
    got: list[int] = []

    async def handler(msg: Any) -> None:
        if len(got) % 50 == 0:
            await asyncio.sleep(0.001)
        got.append(number_of(msg))

    options: dict[str, Any] = {"flow_control": True, "idle_heartbeat": 0.5}
    config = api.ConsumerConfig(ack_policy=api.AckPolicy.NONE)
    if how == "handler":
        await js.subscribe("s", cb=handler, config=config, **options)
        await eventually(lambda: len(got) == count, f"{len(got)}", 30)
    else:
        sub = await js.subscribe("s", config=config, **options)
        if how == "next_msg":
            for _ in range(count):
                await handler(await sub.next_msg(5))
        else:
            async for msg in sub.messages:
                await handler(msg)
                if len(got) == count:
                    break
        assert sub.pending_msgs == 0
    assert got == list(range(count)), "no control message among them"
    await eventually(lambda: flow.answers > 3, f"{flow.answers} answers")
    assert nc.is_connected


async def test_the_server_waits_for_a_slow_reader(js_server: Server, connect: Connect) -> None:
    """What waits here is bounded by flow control, not by the stream's size."""
    count = 2000
    _, js = await begin(connect, count, LARGE)
    config = api.ConsumerConfig(ack_policy=api.AckPolicy.NONE)
    # The heartbeats of a consumer that waits would let it go on.
    sub = await js.subscribe("s", config=config, flow_control=True, idle_heartbeat=30)
    assert number_of(await sub.next_msg(5)) == 0
    waiting = [-1, 0]
    while waiting[-1] != waiting[-2]:
        await asyncio.sleep(0.3)
        waiting.append(sub.pending_msgs)
    assert waiting[-1] < count / 2
    got = [number_of(await sub.next_msg(5)) for _ in range(count - 1)]
    assert got == list(range(1, count))


@pytest.mark.parametrize("manual", [False, True], ids=["automatic", "manual"])
async def test_few_unacknowledged_messages(
    js_server: Server, connect: Connect, manual: bool
) -> None:
    count = 300
    _, js = await begin(connect, count, 100)
    got: list[int] = []
    running = highest = 0

    async def handler(msg: Any) -> None:
        nonlocal running, highest
        running += 1
        highest = max(highest, sub.pending_msgs + running)
        await asyncio.sleep(0)
        got.append(number_of(msg))
        if manual:
            await msg.ack()
        running -= 1

    config = api.ConsumerConfig(max_ack_pending=3)
    sub = await js.subscribe(
        "s",
        cb=handler,
        durable="d",
        config=config,
        manual_ack=manual,
        flow_control=True,
        idle_heartbeat=0.5,
    )
    await eventually(lambda: len(got) == count, "all", 20)
    assert got == list(range(count))
    assert 1 <= highest <= 3


async def test_heartbeats_are_swallowed(js_server: Server, connect: Connect) -> None:
    events = Events()
    _, js = await begin(connect, 2, 8, **events.callbacks)
    got: list[bytes] = []

    async def handler(msg: Any) -> None:
        got.append(msg.data)

    sub = await js.subscribe("s", cb=handler, idle_heartbeat=0.1)
    polled = await js.subscribe("s", idle_heartbeat=0.1)
    assert [(await polled.next_msg(5)).data for _ in range(2)] == [b"00000000", b"00000001"]
    # Heartbeats count as received, and that's all that is seen of them.
    await eventually(lambda: sub.delivered >= 5 and polled.delivered >= 5)
    assert got == [b"00000000", b"00000001"]
    assert polled.pending_msgs == 0
    await js.publish("s", b"2")
    assert (await polled.next_msg(5)).data == b"2"
    await eventually(lambda: got == [b"00000000", b"00000001", b"2"])
    assert events.errors == []


# Lost deliveries

REPLY = "$JS.ACK.S.d.1.{0}.{1}.1700000000000000000.0"


def control(text: str, **headers: object) -> bytes:
    """A control message of the consumer, with the subscription's id left out."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    block = "\r\n".join([f"NATS/1.0 100 {text}", *lines, "", ""]).encode()
    return b"%d %d\r\n%s\r\n" % (len(block), len(block), block)


def heartbeat(last_consumer: int, **more: object) -> bytes:
    headers = {"Nats_Last_Consumer": last_consumer, "Nats_Last_Stream": 99, **more}
    return b"HMSG to 1 " + control("Idle Heartbeat", **headers)


async def bind(nc: Any, **options: Any) -> Any:
    config = api.ConsumerConfig(deliver_subject="to", idle_heartbeat=5)
    return await nc.jetstream().subscribe_bind("S", config, "d", **options)


async def test_mismatch_is_reported(connect: Connect) -> None:
    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        await client.expect(b"SUB to ")
        # Nothing to compare with yet.
        await client.write(heartbeat(0))
        await client.send_message("to", 1, b"1", reply=REPLY.format(7, 1))
        await client.write(heartbeat(1))
        await client.send_message("to", 1, b"4", reply=REPLY.format(9, 4))
        # Gaps between messages aren't this consumer's business, only what is missing at the end.
        await client.write(heartbeat(4))
        await client.write(heartbeat(6))
        await client.send_message("to", 1, b"7", reply=REPLY.format(12, 7))
        await client.write(heartbeat(7))
        await client.send_message("to", 1, b"end", reply=REPLY.format(13, 8))
        await client.serve()

    events = Events()
    async with FakeServer(handler) as server:
        nc = await connect(server, **events.callbacks)
        sub = await bind(nc)
        assert [(await sub.next_msg(5)).data for _ in range(4)] == [b"1", b"4", b"7", b"end"]
        error = await events.wait_error(ConsumerSequenceMismatchError)
        assert isinstance(error, ConsumerSequenceMismatchError)
        assert error.stream_resume_sequence == 9
        assert (error.consumer_sequence, error.last_consumer_sequence) == (4, 6)
        assert "2 sequences behind" in str(error)
        assert len(events.errors) == 1
        await nc.close()


async def test_flow_control_is_answered_behind_its_messages(connect: Connect) -> None:
    answered = asyncio.Event()

    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        await client.expect(b"SUB to ")
        # Without anything waiting: at once.
        await client.write(b"HMSG to 1 fc.1 " + control("FlowControl Request"))
        assert await client.expect_publish() == ("fc.1", b"", b"")
        for number in (1, 2, 3):
            await client.send_message("to", 1, b"%d" % number, reply=REPLY.format(number, number))
        await client.write(b"HMSG to 1 fc.2 " + control("FlowControl Request"))
        await client.send_message("to", 1, b"4", reply=REPLY.format(4, 4))
        assert await client.expect_publish() == ("fc.2", b"", b"")
        answered.set()
        # The heartbeat of a consumer that waits for an answer: at once, whatever waits here.
        await client.send_message("to", 1, b"5", reply=REPLY.format(5, 5))
        await client.write(heartbeat(5, Nats_Consumer_Stalled="fc.3"))
        assert await client.expect_publish() == ("fc.3", b"", b"")
        await client.send_message("to", 1, b"end", reply=REPLY.format(6, 6))
        await client.serve()

    events = Events()
    async with FakeServer(handler) as server:
        nc = await connect(server, **events.callbacks)
        sub = await bind(nc)
        await eventually(lambda: sub.pending_msgs == 4)
        for number in (1, 2):
            assert number_of(await sub.next_msg(5)) == number
        assert not answered.is_set()
        assert (await sub.next_msg(5)).data == b"3"
        await within(answered.wait())
        assert [(await sub.next_msg(5)).data for _ in range(3)] == [b"4", b"5", b"end"]
        assert events.errors == []
        await nc.close()


async def test_flow_control_waits_for_the_handler(connect: Connect) -> None:
    release, answered = asyncio.Event(), asyncio.Event()

    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        await client.expect(b"SUB to ")
        for number in (1, 2):
            await client.send_message("to", 1, b"%d" % number, reply=REPLY.format(number, number))
        await client.write(b"HMSG to 1 fc.1 " + control("FlowControl Request"))
        assert await client.expect_publish() == ("fc.1", b"", b"")
        answered.set()
        await client.serve()

    handled: list[bytes] = []

    async def slow(msg: Any) -> None:
        await release.wait()
        handled.append(msg.data)

    async with FakeServer(handler) as server:
        nc = await connect(server)
        sub = await bind(nc, cb=slow, manual_ack=True)
        await eventually(lambda: sub.delivered == 3)
        assert not answered.is_set()
        release.set()
        await within(answered.wait())
        await eventually(lambda: handled == [b"1", b"2"])
        await nc.close()
