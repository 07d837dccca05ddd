"""After a client has given up, all that waited and all that is called later says why."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from nats import errors
from nats.embedded import Server
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer
from support.handlers import ignore
from support.waiting import EAGER, Events, eventually, within

pytestmark = pytest.mark.usefixtures("driver")

LONG = 60
FINAL: dict[str, Any] = {"max_reconnect_attempts": 0, **EAGER}

Call = Callable[[Any], Awaitable[Any]]


async def next_msg(nc: Any) -> Any:
    return await (await nc.subscribe("a")).next_msg(timeout=None)


async def iterate(nc: Any) -> Any:
    return [msg async for msg in (await nc.subscribe("a")).messages]


async def future(nc: Any) -> Any:
    first = asyncio.get_running_loop().create_future()
    await nc.subscribe("a", future=first)
    return await first


async def request(nc: Any) -> Any:
    return await nc.request("silent", timeout=LONG)


async def old_style_request(nc: Any) -> Any:
    return await nc.request("silent", timeout=LONG, old_style=True)


async def js_publish(nc: Any) -> Any:
    return await nc.jetstream().publish("silent", timeout=LONG)


async def fetch(nc: Any) -> Any:
    sub = await nc.jetstream().pull_subscribe("none", "d", stream="S")
    return await sub.fetch(1, timeout=LONG)


async def fetch_several(nc: Any) -> Any:
    sub = await nc.jetstream().pull_subscribe("none", "d", stream="S")
    return await sub.fetch(10, timeout=LONG)


async def js_iterate(nc: Any) -> Any:
    sub = await nc.jetstream().subscribe("none", ordered_consumer=True)
    return [msg async for msg in sub.messages]


async def kv_watcher(nc: Any) -> Any:
    return await (await nc.jetstream().key_value("B")).watchall()


async def kv_updates(nc: Any) -> Any:
    watcher = await kv_watcher(nc)
    assert await watcher.updates() is None
    return await watcher.updates(LONG)


async def kv_iterate(nc: Any) -> Any:
    return [entry async for entry in await kv_watcher(nc)]


async def objects_watcher(nc: Any) -> Any:
    return await (await nc.jetstream().object_store("O")).watch()


async def objects_updates(nc: Any) -> Any:
    watcher = await objects_watcher(nc)
    assert await watcher.updates() is None
    return await watcher.updates(LONG)


async def objects_iterate(nc: Any) -> Any:
    return [info async for info in await objects_watcher(nc)]


WAITING: tuple[Call, ...] = (
    *(next_msg, iterate, future, request, old_style_request),
    *(js_publish, fetch, fetch_several, js_iterate),
    *(kv_updates, kv_iterate, objects_updates, objects_iterate),
)


def check(raised: BaseException | None, nc: Any) -> None:
    assert isinstance(raised, errors.ConnectionClosedError)
    assert raised.__cause__ is nc.last_error
    assert str(raised) == f"nats: connection closed: {str(nc.last_error).removeprefix('nats: ')}"


async def test_what_waits_is_told(js_server: Server, connect: Connect, quiet_loop: None) -> None:
    events = Events()
    nc = await connect(**events.callbacks, **FINAL)
    js = nc.jetstream()
    await js.add_stream(name="S", subjects=["none"])
    await js.create_key_value(bucket="B")
    await js.create_object_store("O")

    await nc.subscribe("silent", cb=ignore)
    waiting = [asyncio.ensure_future(call(nc)) for call in WAITING]
    # Each has got to where it waits.
    await eventually(lambda: nc._core.census()[0] >= 3, "3 requests")
    for _ in range(3):
        await asyncio.sleep(0.2)
        await nc.flush()
    assert not any(each.done() for each in waiting)
    await js_server.akill()
    await events.wait("closed")
    assert isinstance(nc.last_error, errors.NoServersError)
    assert nc.last_error is events.errors[-1]
    for call, each in zip(WAITING, waiting, strict=True):
        try:
            await within(asyncio.wait([each]))
            check(each.exception(), nc)
        except BaseException as error:
            raise AssertionError(call.__name__) from error


async def test_what_is_called_later_is_told(js_server: Server, connect: Connect) -> None:
    events = Events()
    nc = await connect(**events.callbacks, **FINAL)
    js = nc.jetstream()
    await js.add_stream(name="S", subjects=["none"])
    kv = await js.create_key_value(bucket="B")
    watcher = await kv.watchall()
    sub, read, ended = [await nc.subscribe("a") for _ in range(3)]
    stopped = await js.subscribe("none", ordered_consumer=True)
    await stopped.unsubscribe()
    pull = await js.pull_subscribe("none", "d", stream="S")
    await nc.publish("a", b"x")
    await nc.flush()
    assert (await ended.next_msg()).data == b"x"
    await ended.unsubscribe()
    await js_server.akill()
    await events.wait("closed")

    async def initial() -> Any:
        return [entry async for entry in watcher]

    messages = read.messages
    # What had come can still be read.
    assert (await within(anext(messages))).data == b"x"
    calls: tuple[Callable[[], Awaitable[Any]], ...] = (
        *(sub.next_msg, sub.drain, sub.unsubscribe, lambda: anext(messages)),
        *(
            lambda: nc.publish("a"),
            lambda: nc.request("a"),
            lambda: nc.request("a", old_style=True),
        ),
        *(nc.flush, nc.rtt, nc.drain, lambda: nc.subscribe("b")),
        *(lambda: js.publish("a"), lambda: js.publish_async("a"), lambda: js.stream_info("S")),
        *(lambda: pull.fetch(1), lambda: kv.put("a", b"x"), lambda: kv.get("a"), kv.keys, initial),
    )
    for number, call in enumerate(calls):
        with pytest.raises(errors.ConnectionClosedError) as raised:
            await within(call())
        check(raised.value, nc)
        assert raised.value.__cause__ is not None, number
    # It had ended before.
    for each in (ended, stopped):
        assert [msg async for msg in each.messages] == []


async def test_publishers_that_wait_for_room_are_told(connect: Connect) -> None:
    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        # Nothing is read any more.
        await hung_up.wait()

    hung_up, events = asyncio.Event(), Events()
    async with FakeServer(handler) as server:
        nc = await connect(server, pending_size=1 << 20, **events.callbacks, **FINAL)

        async def publish() -> None:
            while True:
                await nc.publish("a", bytes(1 << 19))

        # So many that the system can't take what they add to the limit.
        publishing = [asyncio.ensure_future(publish()) for _ in range(16)]
        await eventually(lambda: nc.pending_data_size > 1 << 20)
        assert not any(publisher.done() for publisher in publishing)
    hung_up.set()
    await events.wait("closed")
    for publisher in publishing:
        with pytest.raises(errors.ConnectionClosedError) as raised:
            await within(publisher)
        check(raised.value, nc)


async def test_without_reconnecting(server: Server, connect: Connect) -> None:
    events = Events()
    nc = await connect(allow_reconnect=False, **events.callbacks)
    waiting = asyncio.ensure_future(next_msg(nc))
    await nc.flush()
    await server.akill()
    await events.wait("closed")
    with pytest.raises(errors.ConnectionClosedError):
        await within(waiting)
    check(waiting.exception(), nc)


async def test_the_server_says_that_it_is_over(connect: Connect) -> None:
    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        await client.expect(b"SUB")
        await client.write(b"-ERR 'Something Else'\r\n")
        await client.serve()

    events = Events()
    async with FakeServer(handler) as server:
        nc = await connect(server, **events.callbacks)
        with pytest.raises(errors.ConnectionClosedError) as raised:
            await within(iterate(nc))
    check(raised.value, nc)
    assert str(raised.value) == "nats: connection closed: something else"


@pytest.mark.parametrize("how", ["close", "drain"])
async def test_closing_oneself_says_nothing(server: Server, connect: Connect, how: str) -> None:
    nc = await connect()
    iterating = asyncio.ensure_future(iterate(nc))
    await nc.flush()
    await getattr(nc, how)()
    assert await within(iterating) == []
    with pytest.raises(errors.ConnectionClosedError) as raised:
        await nc.publish("a")
    assert str(raised.value) == "nats: connection closed"
    assert raised.value.__cause__ is None


async def test_connecting_again_forgets_it(server: Server, connect: Connect) -> None:
    """A watchdog in `closed_cb` connects before what waited has had its turn."""
    async with Server() as other:
        events = Events()

        async def closed_cb() -> None:
            await nc.connect(other.url, **EAGER)
            events.names.append("closed")

        nc = await connect(**{**events.callbacks, "closed_cb": closed_cb}, **FINAL)
        waiting = [asyncio.ensure_future(each(nc)) for each in (next_msg, iterate)]
        await nc.flush()
        await server.akill()
        await events.wait("closed")
        for each in waiting:
            with pytest.raises(errors.ConnectionClosedError) as raised:
                await within(each)
            assert isinstance(raised.value.__cause__, errors.NoServersError)
        sub = await nc.subscribe("a")
        await nc.close()
        assert [msg async for msg in sub.messages] == []
        with pytest.raises(errors.ConnectionClosedError, match=r"^nats: connection closed$"):
            await nc.flush()
