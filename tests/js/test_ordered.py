"""Ordered consumers with a real server: every message once and in order, whatever happens."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest
from nats.embedded import Server
from nats.js import api
from nats.js import errors as js_errors
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer
from support.proxy import Proxy
from support.streams import begin
from support.streams import fill as fill_stream
from support.waiting import EAGER, Events, eventually, within

pytestmark = pytest.mark.usefixtures("driver")


# All of one size: a proxy finds them in what passes.
fill = partial(fill_stream, digits=7)


class Reader:
    """An ordered consumer with a handler that notes the numbers."""

    def __init__(self) -> None:
        self.got: list[int] = []
        self.sub: Any = None

    async def start(self, js: Any, **options: Any) -> Reader:
        async def handler(msg: Any) -> None:
            self.got.append(int(msg.data))

        self.sub = await js.subscribe("s.a", cb=handler, ordered_consumer=True, **options)
        return self

    async def reach(self, count: int, seconds: float = 10) -> None:
        await eventually(lambda: len(self.got) >= count, f"{len(self.got)} of {count}", seconds)


class LossyProxy(Proxy):
    """Leaves out the message with a payload, once."""

    def __init__(self, target: str, payload: bytes) -> None:
        super().__init__(target)
        self.payload = payload
        self.lost: list[bytes] = []

    async def _pump(self, number: int, reader: Any, writer: Any, *, to_client: bool) -> None:
        if not to_client:
            await super()._pump(number, reader, writer, to_client=to_client)
            return
        while True:
            line = await reader.readline()
            if not line:
                return
            if line.startswith((b"MSG ", b"HMSG ")):
                size = int(line.split()[-1])
                body = await reader.readexactly(size + 2)
                if body[:-2].endswith(self.payload) and not self.lost:
                    self.lost.append(line)
                    continue
                line += body
            writer.write(line)
            await writer.drain()


# Without trouble


async def test_thousands_in_order(js_server: Server, connect: Connect) -> None:
    _, js = await begin(connect)
    await fill(js, 5000)
    reader = await Reader().start(js)
    sub = await js.subscribe("s.a", ordered_consumer=True)
    await fill(js, 5000, 5000)
    got = [int((await sub.next_msg(5)).data) for _ in range(10_000)]
    assert got == list(range(10_000))
    await reader.reach(10_000, 20)
    assert reader.got == list(range(10_000))
    info = await sub.consumer_info()
    config = info.config
    assert (config.ack_policy, config.max_deliver) == ("none", 1)
    assert (config.flow_control, config.mem_storage, config.num_replicas) == (True, True, 1)
    assert (config.idle_heartbeat, config.ack_wait) == (5, 22 * 3600)
    assert len(await js.consumers_info("S")) == 2


async def test_deliver_policies(js_server: Server, connect: Connect) -> None:
    _, js = await begin(connect)
    await fill(js, 5)
    last = await js.subscribe(
        "s.a", ordered_consumer=True, deliver_policy=api.DeliverPolicy.LAST, headers_only=True
    )
    config = api.ConsumerConfig(deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=4)
    third = await js.subscribe("s.a", ordered_consumer=True, config=config)
    assert [(await third.next_msg(5)).data for _ in range(2)] == [b"0000003", b"0000004"]
    msg = await last.next_msg(5)
    assert (msg.data, msg.headers["Nats-Msg-Size"]) == (b"", "7")
    assert last.pending_msgs == third.pending_msgs == 0


# Gaps


@pytest.mark.parametrize("lost", [0, 1, 500, 998])
async def test_lost_message(js_server: Server, connect: Connect, lost: int) -> None:
    _, manager = await begin(connect)
    await fill(manager, 1000)
    events = Events()
    async with LossyProxy(js_server.url, b"%07d" % lost) as proxy:
        nc = await connect(proxy, **events.callbacks)
        js = nc.jetstream()
        subs = set(nc._subs)
        reader = await Reader().start(js)
        await reader.reach(1000)
        assert proxy.lost
        assert reader.got == list(range(1000))
        await fill(manager, 100, 1000)
        await reader.reach(1100)
        assert reader.got == list(range(1100))
        # One subscription goes on, under another id and subject.
        assert len(set(nc._subs) - subs) <= 2  # the request inbox is the other one
        assert nc._subs[reader.sub._id] is reader.sub._sub
        info = await reader.sub.consumer_info()
        assert info.config.deliver_subject == reader.sub.subject
        assert events.errors == []
        await nc.close()


async def test_last_message_lost(js_server: Server, connect: Connect) -> None:
    """Only the heartbeat tells."""
    _, manager = await begin(connect)
    await fill(manager, 10)
    async with LossyProxy(js_server.url, b"%07d" % 9) as proxy:
        nc = await connect(proxy)
        reader = await Reader().start(nc.jetstream(), idle_heartbeat=0.1)
        await reader.reach(10)
        assert proxy.lost
        assert reader.got == list(range(10))
        await nc.close()


async def test_all_messages_lost(js_server: Server, connect: Connect) -> None:
    _, manager = await begin(connect)
    await fill(manager, 1)
    async with LossyProxy(js_server.url, b"%07d" % 0) as proxy:
        nc = await connect(proxy)
        reader = await Reader().start(nc.jetstream(), idle_heartbeat=0.1)
        try:
            await reader.reach(1, 2)
        finally:
            assert proxy.lost
            await nc.close()
        assert reader.got == [0]


async def test_lost_before_the_first_keeps_the_policy(js_server: Server, connect: Connect) -> None:
    """What was stored before `NEW` isn't delivered because of a reset."""
    _, manager = await begin(connect)
    await fill(manager, 50)
    async with LossyProxy(js_server.url, b"%07d" % 50) as proxy:
        nc = await connect(proxy)
        js = nc.jetstream()
        reader = await Reader().start(js, deliver_policy=api.DeliverPolicy.NEW, idle_heartbeat=0.1)
        first = reader.sub._consumer
        await fill(manager, 2, 50)
        await eventually(lambda: reader.sub._consumer != first, "made anew")
        assert proxy.lost
        await fill(manager, 3, 52)
        await eventually(lambda: 54 in reader.got)
        assert reader.got == sorted(set(reader.got))
        assert min(reader.got) >= 50
        assert reader.got[-3:] == [52, 53, 54]
        await nc.close()


async def test_reset_before_the_first_message(js_server: Server, connect: Connect) -> None:
    _, js = await begin(connect)
    await fill(js, 20)
    kinds: list[tuple[dict[str, Any], list[int]]] = [
        ({"deliver_policy": "new"}, [20]),
        ({"deliver_policy": "by_start_sequence", "opt_start_seq": 19}, [18, 19, 20]),
    ]
    for config, expected in kinds:
        reader = await Reader().start(
            js, config=api.ConsumerConfig(**config), idle_heartbeat=0.1, pending_msgs_limit=-1
        )
        if expected == [20]:
            # Behind its back, before there was anything to deliver.
            name = reader.sub._consumer
            await js.delete_consumer("S", name)
            await eventually(lambda reader=reader, name=name: reader.sub._consumer != name)
            await fill(js, 1, 20)
        await reader.reach(len(expected))
        assert reader.got == expected
        await reader.sub.unsubscribe()


# Consumers that go away


@pytest.mark.parametrize("how", ["handler", "next_msg"])
async def test_consumer_deleted(js_server: Server, connect: Connect, how: str) -> None:
    _, js = await begin(connect)
    await fill(js, 100)
    reader = Reader()
    if how == "handler":
        await reader.start(js, idle_heartbeat=0.1)
        await reader.reach(100)
    else:
        reader.sub = await js.subscribe("s.a", ordered_consumer=True, idle_heartbeat=0.1)
        reader.got = [int((await reader.sub.next_msg(5)).data) for _ in range(100)]
    for round in range(3):
        name = (await reader.sub.consumer_info()).name
        await js.delete_consumer("S", name)
        await fill(js, 100, 100 * (round + 1))
        if how == "handler":
            await reader.reach(100 * (round + 2))
        else:
            reader.got += [int((await reader.sub.next_msg(5)).data) for _ in range(100)]
    assert reader.got == list(range(400))
    assert len(await js.consumers_info("S")) == 1


async def test_stream_deleted(js_server: Server, connect: Connect) -> None:
    """Failing attempts are reported, and go on until the stream is there again."""
    events = Events()
    _, js = await begin(connect, **events.callbacks)
    await fill(js, 3)
    reader = await Reader().start(js, idle_heartbeat=0.1)
    await reader.reach(3)
    await js.delete_stream("S")
    await events.wait_error(js_errors.NotFoundError)
    await eventually(lambda: len(events.errors) >= 3)
    await reader.sub.unsubscribe()
    tasks = asyncio.all_tasks()
    count = len(events.errors)
    await asyncio.sleep(0.5)
    assert len(events.errors) - count <= 1, "goes on after the end of the subscription"
    assert asyncio.all_tasks() <= tasks


@pytest.mark.parametrize("count", [2, 20])
async def test_stream_made_anew(js_server: Server, connect: Connect, count: int) -> None:
    """Its sequence begins again, and all in it is new; later consumers go on as usual."""
    _, js = await begin(connect, **Events().callbacks)
    await fill(js, 10)
    policy = api.DeliverPolicy.LAST
    reader = await Reader().start(js, idle_heartbeat=0.1, deliver_policy=policy)
    await reader.reach(1)
    await js.delete_stream("S")
    await js.add_stream(name="S", subjects=["s.>"], storage="memory")
    await fill(js, count, 100)
    await reader.reach(1 + count)
    await fill(js, 1, 200)
    await reader.reach(2 + count)
    await js.delete_consumer("S", (await reader.sub.consumer_info()).name)
    await fill(js, 1, 201)
    await reader.reach(3 + count)
    assert reader.got == [9, *range(100, 100 + count), 200, 201]


@pytest.mark.parametrize("how", ["arestart", "akill"])
async def test_server_restarted(js_server: Server, connect: Connect, how: str) -> None:
    events = Events()
    options: Any = {"max_reconnect_attempts": -1, **EAGER}
    _, js = await begin(connect, 0, "file", **events.callbacks, **options)
    await fill(js, 1000)
    reader = await Reader().start(js, idle_heartbeat=0.2)
    slow = await js.subscribe("s.a", ordered_consumer=True, idle_heartbeat=0.2)
    await reader.reach(1000)
    read = [int((await slow.next_msg(5)).data) for _ in range(10)]
    for round in range(2):
        await getattr(js_server, how)()
        await js_server.astart()
        await events.wait("reconnected", round + 1)
        await fill(js, 500, 1000 + 500 * round)
    await reader.reach(2000, 20)
    assert reader.got == list(range(2000))
    read += [int((await slow.next_msg(10)).data) for _ in range(1990)]
    assert read == list(range(2000))
    assert (reader.sub.pending_msgs, slow.pending_msgs) == (0, 0)

    async def two() -> bool:
        return len(await js.consumers_info("S")) == 2

    await eventually(two)


async def test_connection_cut_amid_delivery(js_server: Server, connect: Connect) -> None:
    _, manager = await begin(connect)
    await fill(manager, 20_000)
    events = Events()
    async with Proxy(js_server.url, cut_after=400_000) as proxy:
        nc = await connect(proxy, max_reconnect_attempts=-1, **events.callbacks, **EAGER)
        reader = await Reader().start(nc.jetstream(), idle_heartbeat=0.2)
        await events.wait("disconnected", 2, 15)
        proxy.cut_after = None
        await reader.reach(20_000, 20)
        assert reader.got == list(range(20_000))
        await nc.close()


async def test_gap_seen_while_the_connection_is_lost(connect: Connect) -> None:
    """The consumer goes on after the reconnect, so that only the gap calls for a new one."""
    reply = "$JS.ACK.S.d.1.{0}.{0}.1700000000000000000.0"
    asked = asyncio.Event()
    heartbeat = b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 3\r\n\r\n"

    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        if client.index == 0:
            await client.expect(b"SUB to ")
            subject = reply.format(3).encode()
            await client.send_message("to", 1, b"0", reply=reply.format(1))
            # In one piece: the loss is dealt with before the gap is.
            await client.write(b"-ERR 'Stale Connection'\r\nMSG to 1 %s 1\r\n2\r\n" % subject)
            await client.wait_closed()
            return
        beating = asyncio.ensure_future(beat(client))
        try:
            while True:
                line = await client.read_line()
                if line.startswith(b"PUB $JS.API.CONSUMER.CREATE.S"):
                    assert b'"opt_start_seq": 2' in await client.read_payload(int(line.split()[-1]))
                    asked.set()
                    break
                if line == b"PING":
                    await client.write(b"PONG\r\n")
            await client.serve()
        finally:
            beating.cancel()

    async def beat(client: FakeConnection) -> None:
        size = len(heartbeat)
        while True:
            await client.write(b"HMSG to 1 %d %d\r\n%s\r\n" % (size, size, heartbeat))
            await asyncio.sleep(0.02)

    async with FakeServer(handler) as server:
        nc = await connect(server, max_reconnect_attempts=-1, **Events().callbacks, **EAGER)
        config = api.ConsumerConfig(deliver_subject="to", idle_heartbeat=0.1)
        js = nc.jetstream(timeout=0.5)
        sub = await js.subscribe_bind("S", config, "d", ordered_consumer=True)
        assert (await sub.next_msg(5)).data == b"0"
        await server.wait_connections(2)
        try:
            await within(asked.wait(), 2)
        finally:
            await nc.close()


# The end


@pytest.mark.parametrize("how", ["unsubscribe", "drain"])
async def test_the_end(js_server: Server, connect: Connect, how: str) -> None:
    nc, js = await begin(connect)
    await fill(js, 10)
    tasks, subs, census = asyncio.all_tasks(), set(nc._subs), nc._core.census()
    for _ in range(3):
        reader = await Reader().start(js, idle_heartbeat=0.2)
        await reader.reach(10)
        await js.delete_consumer("S", reader.sub._consumer)
        name = reader.sub._consumer
        await eventually(lambda reader=reader, name=name: reader.sub._consumer != name)
        await within(getattr(reader.sub, how)())
        await eventually(lambda: asyncio.all_tasks() <= tasks, f"{asyncio.all_tasks() - tasks}")
        assert set(nc._subs) == subs
        assert nc._core.census() == census
        assert reader.got == list(range(10))


async def test_ended_while_it_is_made_anew(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect)
    await fill(js, 10)
    tasks, subs, census = asyncio.all_tasks(), set(nc._subs), nc._core.census()
    for turns in range(8):
        reader = await Reader().start(js, idle_heartbeat=60)
        await reader.reach(10)
        await reader.sub._sub._jsi.reset_ordered_consumer(11)
        for _ in range(turns):
            await asyncio.sleep(0)
        await within(reader.sub.unsubscribe())
        await eventually(lambda: asyncio.all_tasks() <= tasks, f"{asyncio.all_tasks() - tasks}")
        assert set(nc._subs) == subs
        assert nc._core.census() == census


async def test_client_closed(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect)
    await fill(js, 10)
    tasks = asyncio.all_tasks()
    # The interval isn't what ends the watch.
    reader = await Reader().start(js, idle_heartbeat=0.5)
    await reader.reach(10)
    await within(nc.close())
    await eventually(lambda: asyncio.all_tasks() <= tasks, f"{asyncio.all_tasks() - tasks}")


async def test_closing_ends_the_watch_at_once(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect)
    tasks = asyncio.all_tasks()
    await Reader().start(js, idle_heartbeat=60)
    await within(nc.close())
    await eventually(lambda: asyncio.all_tasks() <= tasks, "ended", 1)
