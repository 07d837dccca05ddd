"""Event loops that can't watch descriptors, as the default one of Windows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import nats
import pytest
from nats.embedded import Server
from support.event_loops import blind
from support.proxy import Proxy
from support.waiting import EAGER, Events, eventually, within

pytestmark = pytest.mark.usefixtures("driver")

LIMIT = 60.0
Scenario = Callable[[Server], Awaitable[None]]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest, server: Server) -> Callable[[Scenario], None]:
    """Run a scenario in a loop of this kind; nothing may be left for its exception handler."""
    if request.param == "uvloop":
        base: type = pytest.importorskip("uvloop").Loop
    else:
        base = asyncio.SelectorEventLoop

    def run(scenario: Scenario) -> None:
        loop = blind(base)()
        trouble: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: trouble.append(context))
        try:
            with pytest.raises(NotImplementedError):
                loop.add_reader(0, print)
            loop.run_until_complete(within(scenario(server), LIMIT))
            # What the scenario has closed ends in the next turns.
            loop.run_until_complete(asyncio.sleep(0.01))
            assert asyncio.all_tasks(loop) == set()
            assert trouble == []
        finally:
            loop.close()

    return run


def test_publish_and_subscribe(run: Callable[[Scenario], None]) -> None:
    async def scenario(server: Server) -> None:
        events = Events()
        nc = await nats.connect(server.url, **events.callbacks)
        got: list[bytes] = []

        async def callback(msg: Any) -> None:
            got.append(msg.data)

        handled = await nc.subscribe("a.*", cb=callback)
        polled = await nc.subscribe("a.>")
        for number in range(10):
            await nc.publish(f"a.{number}", b"%d" % number, headers={"N": str(number)})
        await nc.flush()
        msgs = [await polled.next_msg(5) for _ in range(10)]
        assert [msg.data for msg in msgs] == [b"%d" % number for number in range(10)]
        assert msgs[3].headers == {"N": "3"}
        await eventually(lambda: len(got) == 10)
        assert got == [msg.data for msg in msgs]
        with pytest.raises(nats.errors.TimeoutError):
            await polled.next_msg(0.05)
        assert await nc.rtt() < 5
        await handled.unsubscribe()
        await nc.close()
        assert events.names == ["disconnected", "closed"]
        assert events.errors == []

    run(scenario)


def test_one_publish_leaves_by_itself(run: Callable[[Scenario], None]) -> None:
    async def scenario(server: Server) -> None:
        sender, receiver = await nats.connect(server.url), await nats.connect(server.url)
        sub = await receiver.subscribe("a")
        await receiver.flush()
        for number in range(20):
            await sender.publish("a", b"%d" % number)
            assert (await sub.next_msg(5)).data == b"%d" % number
        await sender.close()
        await receiver.close()

    run(scenario)


def test_request(run: Callable[[Scenario], None]) -> None:
    async def scenario(server: Server) -> None:
        nc, client = await nats.connect(server.url), await nats.connect(server.url)

        async def serve(msg: Any) -> None:
            await msg.respond(b"re: " + msg.data)

        await nc.subscribe("service", cb=serve)
        await nc.flush()
        for old_style in (False, True):
            reply = await client.request("service", b"x", timeout=5, old_style=old_style)
            assert reply.data == b"re: x"
        replies = await asyncio.gather(
            *(client.request("service", b"%d" % number, timeout=5) for number in range(200))
        )
        assert [reply.data for reply in replies] == [b"re: %d" % n for n in range(200)]
        with pytest.raises(nats.errors.NoRespondersError):
            await client.request("nobody", timeout=5)
        await client.close()
        await nc.close()

    run(scenario)


def test_flood(run: Callable[[Scenario], None]) -> None:
    count = 20_000

    async def scenario(server: Server) -> None:
        nc = await nats.connect(server.url)
        numbers: list[int] = []

        async def callback(msg: Any) -> None:
            numbers.append(int(msg.data))

        await nc.subscribe("flood", cb=callback)
        for number in range(count):
            await nc.publish("flood", b"%d" % number)
        await nc.flush()
        await eventually(lambda: len(numbers) == count)
        assert numbers == list(range(count))
        # Light traffic again.
        await nc.publish("flood", b"-1")
        await eventually(lambda: numbers[-1] == -1)
        assert await nc.rtt() < 5
        await nc.close()

    run(scenario)


def test_drain(run: Callable[[Scenario], None]) -> None:
    async def scenario(server: Server) -> None:
        events = Events()
        nc = await nats.connect(server.url, **events.callbacks)
        got: dict[str, list[int]] = {"a": [], "b": []}

        async def callback(msg: Any) -> None:
            await asyncio.sleep(0)
            got[msg.subject].append(int(msg.data))

        first = await nc.subscribe("a", cb=callback)
        await nc.subscribe("b", cb=callback)
        for number in range(200):
            await nc.publish("a" if number < 100 else "b", b"%d" % number)
        await first.drain()
        assert got["a"] == list(range(100))
        await nc.drain()
        assert got["b"] == list(range(100, 200))
        assert nc.is_closed
        assert events.names == ["disconnected", "closed"]
        assert events.errors == []

    run(scenario)


def test_reconnect(run: Callable[[Scenario], None]) -> None:
    async def scenario(server: Server) -> None:
        async with Proxy(server.url) as proxy:
            events = Events()
            nc = await nats.connect(proxy.url, **events.callbacks, **EAGER)
            sub = await nc.subscribe("a")
            await nc.flush()
            proxy.cut()
            await events.wait("reconnected")
            await nc.publish("a", b"x")
            assert (await sub.next_msg(5)).data == b"x"
            assert events.names == ["disconnected", "reconnected"]
            await nc.close()

    run(scenario)


def test_connecting_in_vain(run: Callable[[Scenario], None], closed_port: int) -> None:
    async def scenario(server: Server) -> None:
        with pytest.raises(nats.errors.NoServersError):
            await nats.connect(
                f"nats://127.0.0.1:{closed_port}",
                max_reconnect_attempts=1,
                reconnect_time_wait=0.01,
                error_cb=Events().callbacks["error_cb"],
            )

    run(scenario)
