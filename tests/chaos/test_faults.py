"""Networks and servers that fail in ways other than ending."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from typing import Any

import nats
import pytest
from nats import errors
from nats.aio.client import Client
from nats.embedded import Server
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer
from support.handlers import echo, ignore
from support.proxy import Proxy
from support.waiting import Events, eventually, within

pytestmark = pytest.mark.usefixtures("driver")

# A client that notices a dead connection after 0.3 s.
WATCHFUL: dict[str, Any] = {
    "ping_interval": 0.1,
    "max_outstanding_pings": 2,
    "max_reconnect_attempts": -1,
    "connect_timeout": 0.5,
    "reconnect_time_wait": 0.02,
}
# Seconds that a call may end after its time-out.
GRACE = 5.0


async def numbers(nc: Any, subject: str) -> list[int]:
    """Collects the numbers that come under a subject from now on."""
    got: list[int] = []

    async def note(msg: Any) -> None:
        got.append(int(msg.data))

    await nc.subscribe(subject, cb=note)
    await nc.flush()
    return got


async def heard(nc: Any, got: list[int], number: int) -> None:
    await nc.publish("numbers", b"%d" % number)
    await eventually(lambda: got[-1:] == [number], f"{number} in {got}")


async def test_server_frozen_for_longer_than_pings_allow(
    js_server: Server, connect: Connect
) -> None:
    events = Events()
    nc = await connect(**events.callbacks, **WATCHFUL)
    got = await numbers(nc, "numbers")
    js = nc.jetstream(timeout=0.3)
    await js.add_stream(name="S", subjects=["s"])
    acked = [(await js.publish("s", b"0")).seq]
    js_server.pause()
    try:
        # Everything ends in time, though nobody answers.
        start = time.monotonic()
        with pytest.raises(errors.TimeoutError):
            await nc.request("nobody", b"", timeout=0.2)
        with pytest.raises((errors.TimeoutError, errors.ConnectionReconnectingError)):
            await js.publish("s", b"1", headers={"Nats-Msg-Id": "1"})
        assert time.monotonic() - start < 0.5 + 2 * GRACE
        await events.wait("disconnected")
        # Handshakes with the frozen server fail as well.
        await eventually(lambda: len(events.errors) > 1)
        for number in range(100):
            await nc.publish("numbers", b"%d" % number)
    finally:
        js_server.resume()
    await events.wait("reconnected")
    await eventually(lambda: len(got) == 100)
    assert got == list(range(100))
    await heard(nc, got, 100)
    # Whether the server took the first try or not, the message is stored once.
    acked.append((await js.publish("s", b"1", headers={"Nats-Msg-Id": "1"})).seq)
    assert (await js.stream_info("S")).state.messages == 2
    assert acked == [1, 2]


async def test_half_open_connection(server: Server, connect: Connect) -> None:
    async with Proxy(server.url) as proxy:
        events = Events()
        nc = await connect(proxy, **events.callbacks, **WATCHFUL)
        got = await numbers(nc, "numbers")
        await heard(nc, got, 1)
        proxy.forget()
        flush = asyncio.ensure_future(nc.flush(0.2))
        with pytest.raises(errors.FlushTimeoutError):
            await within(flush, 0.2 + GRACE)
        await events.wait("reconnected")
        await heard(nc, got, 2)
        assert got == [1, 2]
        await nc.close()


async def test_half_open_before_the_server_speaks(server: Server, connect: Connect) -> None:
    """A connection that is taken and then forgotten, before and after it was in use."""
    async with Proxy(server.url) as proxy:
        proxy.forget_next = 1
        events = Events()
        options = {**WATCHFUL, "connect_timeout": 0.2}
        nc = await connect(proxy, **events.callbacks, **options)
        got = await numbers(nc, "numbers")
        proxy.forget_next = 2
        proxy.cut()
        await events.wait("reconnected")
        await heard(nc, got, 1)
        assert proxy.accepted >= 5
        await nc.close()


@pytest.mark.parametrize("size", [1, 3])
async def test_trickle(js_server: Server, connect: Connect, size: int) -> None:
    """Nothing comes or goes in more than so many bytes at a time."""
    choose = random.Random(size)
    async with Proxy(js_server.url, chop=size) as proxy:
        nc = await connect(proxy)
        got = await numbers(nc, "numbers")

        await nc.subscribe("echo", cb=echo)
        for number in range(30):
            await nc.publish("numbers", b"%d" % number)
        for _ in range(5):
            payload = choose.randbytes(choose.randrange(300))
            assert (await nc.request("echo", payload, timeout=10)).data == payload
        assert got == list(range(30))
        js = nc.jetstream(timeout=10)
        await js.add_stream(name="S", subjects=["s"])
        acks = await asyncio.gather(*[await js.publish_async("s", b"x" * n) for n in range(10)])
        assert [ack.seq for ack in acks] == list(range(1, 11))
        sub = await js.pull_subscribe("s", durable="d")
        msgs = await sub.fetch(10, timeout=10)
        assert [len(msg.data) for msg in msgs] == list(range(10))
        # The end of the server in the middle of it all.
        await nc.publish("numbers", bytes(2000))
        await js_server.akill()
        await eventually(lambda: nc.is_reconnecting)
        await nc.close()


async def say_nothing(client: FakeConnection) -> None:
    await client.wait_closed(60)


async def test_silent_server(server: Server, connect: Connect) -> None:
    async with FakeServer(say_nothing) as silent:
        events = Events()
        start = time.monotonic()
        with pytest.raises(asyncio.TimeoutError):
            await nats.connect(
                silent.url, connect_timeout=0.2, allow_reconnect=False, **events.callbacks
            )
        assert 0.2 <= time.monotonic() - start < 0.2 + GRACE
        # It is passed by where there is another one, now and later.
        nc = await connect(
            [silent.url, server.url], dont_randomize=True, **events.callbacks, **WATCHFUL
        )
        assert nc.connected_url.port == server.port
        got = await numbers(nc, "numbers")
        await server.akill()
        await events.wait("disconnected")
        await eventually(lambda: len(silent.connections) > 2)
        await server.astart()
        await events.wait("reconnected")
        await heard(nc, got, 1)
        await nc.close()


async def test_name_that_cannot_be_resolved_for_a_while(
    server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    if not isinstance(loop, asyncio.SelectorEventLoop):
        # The other driver connects with uvloop's create_connection, which resolves in C.
        monkeypatch.setattr(Client, "_driver", "tokio")
    resolve = loop.getaddrinfo
    failing = 3
    asked = 0

    async def getaddrinfo(host: Any, port: Any, **options: Any) -> Any:
        nonlocal failing, asked
        if host != "nats.invalid":
            return await resolve(host, port, **options)
        asked += 1
        if failing > 0:
            failing -= 1
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return await resolve("127.0.0.1", port, **options)

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
    events = Events()
    nc = await connect(f"nats://nats.invalid:{server.port}", **events.callbacks, **WATCHFUL)
    assert asked == 4
    assert [type(error) for error in events.errors] == [socket.gaierror] * 3
    got = await numbers(nc, "numbers")
    failing = 5
    await server.arestart()
    await events.wait("reconnected")
    assert failing == 0
    await heard(nc, got, 1)
    await nc.close()


@pytest.mark.parametrize("jump", [-86400.0, 86400.0], ids=["back", "ahead"])
async def test_clock_jumps(
    js_server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    """Nothing that waits asks the clock on the wall."""
    events = Events()
    nc = await connect(**events.callbacks, **WATCHFUL)
    got = await numbers(nc, "numbers")

    await nc.subscribe("silence", cb=ignore)
    sub = await nc.subscribe("nothing")
    js = nc.jetstream(timeout=5)
    await js.add_stream(name="S", subjects=["s"])
    now = time.time
    waiting = asyncio.gather(
        nc.request("silence", b"", timeout=0.3),
        sub.next_msg(timeout=0.3),
        return_exceptions=True,
    )
    await asyncio.sleep(0.05)
    start = time.monotonic()
    monkeypatch.setattr(time, "time", lambda: now() + jump)
    for outcome in await within(waiting):
        assert isinstance(outcome, errors.TimeoutError)
    assert 0.2 < time.monotonic() - start < 0.25 + GRACE
    # Keep-alive goes on and doesn't leave a server that answers.
    await asyncio.sleep(0.35)
    assert events.names == []
    assert (await js.publish("s", b"x")).seq == 1
    await heard(nc, got, 1)
    await js_server.arestart()
    await events.wait("reconnected")
    await heard(nc, got, 2)
    assert (await js.publish("s", b"x")).seq == 2
