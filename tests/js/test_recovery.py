"""What becomes of consumers whose server is started again: no heartbeat is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import nats.js.client
import pytest
from nats.embedded import Server
from nats.js import api
from nats.js import errors as js_errors
from support.connecting import Connect
from support.waiting import EAGER, Events, eventually, within

pytestmark = pytest.mark.usefixtures("driver")

OPTIONS: dict[str, Any] = {"max_reconnect_attempts": -1, **EAGER}


async def begin(connect: Connect) -> tuple[Any, Events]:
    events = Events()
    nc = await connect(**events.callbacks, **OPTIONS)
    js = nc.jetstream()
    await js.add_stream(name="S", subjects=["s.>"])
    return js, events


async def restart(js_server: Server, events: Events) -> None:
    await js_server.arestart()
    await events.wait("reconnected", seconds=30)


async def insist(act: Callable[..., Awaitable[Any]]) -> Any:
    """JetStream may not be there yet."""

    async def again() -> Any:
        while True:
            try:
                return await act()
            except nats.errors.Error:
                await asyncio.sleep(0.05)

    return await within(again(), 30)


@pytest.fixture
def no_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heartbeats are of no help."""
    monkeypatch.setattr(nats.js.client, "_ORDERED_HEARTBEAT", 300)


# Ordered consumers


async def test_ordered_consumers(js_server: Server, connect: Connect, no_heartbeats: None) -> None:
    """They go on at once, without a loss or a double."""
    js, events = await begin(connect)
    got: list[int] = []

    async def handler(msg: Any) -> None:
        got.append(int(msg.data))

    await js.subscribe("s.a", cb=handler, ordered_consumer=True)
    reader = await js.subscribe("s.a", ordered_consumer=True)
    for number in range(10):
        await js.publish("s.a", b"%d" % number)
    await eventually(lambda: len(got) == 10)
    await restart(js_server, events)
    for number in range(10, 20):
        await insist(lambda number=number: js.publish("s.a", b"%d" % number))
    await eventually(lambda: len(got) >= 20, "the rest", 30)
    # One whose acknowledgement was lost may have been stored twice.
    assert list(dict.fromkeys(got)) == list(range(20))
    assert [int((await reader.next_msg(10)).data) for _ in got] == got
    assert (await js.stream_info("S")).state.consumer_count == 2


async def test_watchers(js_server: Server, connect: Connect, no_heartbeats: None) -> None:
    js, events = await begin(connect)
    kv = await js.create_key_value(bucket="B")
    obs = await js.create_object_store("O")
    await kv.put("before", b"")
    keys, objects = await kv.watchall(), await obs.watch()
    assert [(await keys.updates()).key, await keys.updates()] == ["before", None]
    assert await objects.updates() is None
    await restart(js_server, events)
    await insist(lambda: kv.put("after", b""))
    await insist(lambda: obs.put("after", b"x"))
    assert (await keys.updates(30)).key == "after"
    assert (await objects.updates(30)).name == "after"


async def test_a_force_reconnect(js_server: Server, connect: Connect, no_heartbeats: None) -> None:
    js, events = await begin(connect)
    sub = await js.subscribe("s.a", ordered_consumer=True)
    for number in range(5):
        await js.publish("s.a", b"%d" % number)
        if number % 2:
            await js._nc.force_reconnect()
            await events.wait("reconnected", (number + 1) // 2)
    assert [int((await sub.next_msg(10)).data) for _ in range(5)] == list(range(5))
    await sub.consumer_info()
    assert (await js.stream_info("S")).state.consumer_count == 1


async def test_failures_are_told_and_tried_again(
    js_server: Server, connect: Connect, no_heartbeats: None
) -> None:
    js, events = await begin(connect)
    sub = await js.subscribe("s.a", ordered_consumer=True)
    config = (await js.stream_info("S")).config
    await js.delete_stream("S")
    await js._nc.force_reconnect()
    await events.wait_error(js_errors.NotFoundError)
    # Long enough for several attempts.
    await asyncio.sleep(1)
    assert len([e for e in events.errors if isinstance(e, js_errors.NotFoundError)]) == 1
    await js.add_stream(config)
    await js.publish("s.a", b"new")
    assert (await sub.next_msg(30)).data == b"new"


# Other push consumers


@pytest.mark.parametrize("heartbeat", [None, 60])
async def test_a_consumer_that_is_gone_after_a_restart(
    js_server: Server, connect: Connect, heartbeat: float | None
) -> None:
    js, events = await begin(connect)
    config = api.ConsumerConfig(mem_storage=True)
    gone = await js.subscribe("s.a", config=config, idle_heartbeat=heartbeat)
    durable = await js.subscribe("s.a", durable="d")
    await restart(js_server, events)
    error = await events.wait_error(js_errors.ConsumerDeletedError, repr(gone._consumer))
    assert isinstance(error, js_errors.NotFoundError)
    assert error.code == 404
    await insist(lambda: js.publish("s.a", b"x"))
    assert (await durable.next_msg(10)).data == b"x"
    assert len([e for e in events.errors if isinstance(e, js_errors.NotFoundError)]) == 1


async def test_a_consumer_that_is_deleted(js_server: Server, connect: Connect) -> None:
    js, events = await begin(connect)
    sub = await js.subscribe("s.a", idle_heartbeat=0.2)
    await js.delete_consumer("S", sub._consumer)
    await events.wait_error(js_errors.ConsumerDeletedError, repr(sub._consumer))
    await asyncio.sleep(1)
    assert len(events.errors) == 1


async def test_a_consumer_that_is_silent(js_server: Server, connect: Connect) -> None:
    js, events = await begin(connect)
    sub = await js.subscribe("s.a", idle_heartbeat=0.2)
    # What it sends gets lost.
    sub._sub._core.detach()
    await events.wait_error(js_errors.ConsumerNotActiveError, repr(sub._consumer))
    await asyncio.sleep(1)
    assert len(events.errors) == 1


async def test_nothing_is_told_of_what_has_ended(js_server: Server, connect: Connect) -> None:
    js, events = await begin(connect)
    for options in ({}, {"ordered_consumer": True}, {"idle_heartbeat": 0.1}):
        await (await js.subscribe("s.a", **options)).unsubscribe()
    limited = await js.subscribe("s.a", ordered_consumer=True, idle_heartbeat=0.1)
    await limited.unsubscribe(limit=1)
    await js.publish("s.a", b"x")
    assert (await limited.next_msg(10)).data == b"x"
    await restart(js_server, events)
    await asyncio.sleep(0.5)
    assert [e for e in events.errors if isinstance(e, js_errors.APIError | js_errors.Error)] == []
