"""Callbacks amid a connection's life that wait for something cancelled, fail in an unlucky way,
close the client or take their time: the client goes on, or ends, as it should."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest
from nats import errors
from nats.aio.client import Client
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer
from support.scripted import assert_nothing_runs, subscribed
from support.waiting import EAGER, Events, eventually, within

pytestmark = pytest.mark.usefixtures("driver")

DENIED = b"-ERR 'Permissions Violation for Publish to \"b\"'\r\n"


async def wait_for_something_cancelled(*args: Any) -> None:
    other = asyncio.ensure_future(asyncio.Event().wait())
    other.cancel()
    await other


@pytest.mark.skipif(sys.version_info < (3, 11), reason="a task can't tell who is cancelled")
@pytest.mark.parametrize(
    "name",
    ["error_cb", "disconnected_cb", "reconnected_cb", "discovered_server_cb", "lame_duck_mode_cb"],
)
async def test_a_callback_waits_for_something_that_is_cancelled(
    connect: Connect, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """It is nobody's wish that the client ends."""

    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        if client.index == 0:
            # A server that can't be reached: `error_cb` is called while reconnecting, too.
            await client.send_info(connect_urls=["127.0.0.1:1"], ldm=True)
            await client.write(DENIED)
        await client.serve()

    async with FakeServer(handler) as server:
        options = {**Events().callbacks, name: wait_for_something_cancelled}
        nc = await connect(server, **options, **EAGER)
        await within(nc.flush())
        server.connections[0].abort()
        await server.wait_connections(2)
        await within(asyncio.wait([nc._reconnection_task]))
        assert nc.is_connected
        await within(nc.flush())
        logged = [record.exc_info for record in caplog.records if record.name == "nats.aio.client"]
        assert any(trace and trace[0] is asyncio.CancelledError for trace in logged)
        # The wish of whoever closes is one.
        nc.disconnected_cb = None
        await within(nc.close())
        await assert_nothing_runs()


@pytest.mark.parametrize("kind", [errors.ConnectionClosedError, errors.NoServersError])
async def test_error_cb_passes_on_what_another_client_has_raised(
    connect: Connect, closed_port: int, kind: type[errors.Error]
) -> None:
    """It says nothing about this client."""
    calls = 0

    async def error_cb(error: Exception) -> None:
        nonlocal calls
        calls += 1
        raise kind

    async with FakeServer() as server:
        urls = [server.url, f"nats://127.0.0.1:{closed_port}"]
        nc = await connect(urls, error_cb=error_cb, dont_randomize=True, **EAGER)
        await nc.force_reconnect()
        await eventually(lambda: calls > 0)
        await server.wait_connections(2)
        await eventually(lambda: nc.is_connected)
        await within(nc.flush())
        await within(nc.close())
        await assert_nothing_runs()


async def test_closing_when_info_comes_amid_a_handshake(connect: Connect) -> None:
    async def handler(client: FakeConnection) -> None:
        await client.send_info()
        await client.expect(b"CONNECT ")
        await client.expect(b"PING")
        if client.index:
            await client.send_info(ldm=True)
        await client.write(b"PONG\r\n")
        await client.serve()

    async with FakeServer(handler) as server:
        events = Events()
        returned = asyncio.Event()

        async def close() -> None:
            await nc.close()
            returned.set()

        nc = await connect(server, **{**events.callbacks, "lame_duck_mode_cb": close}, **EAGER)
        server.connections[0].abort()
        await within(returned.wait())
        assert nc.is_closed
        assert events.names[-2:] == ["disconnected", "closed"]
        assert events.count("closed") == 1
        await assert_nothing_runs()


async def drop_and_reconnect(connect: Connect, events: Events, second: Any) -> Any:
    """A client that reconnects while it reports dropped messages; `second` is called with the
    client for the second report, and the first one goes on until then."""

    async def error_cb(error: Exception) -> None:
        events.errors.append(error)
        if len(events.errors) == 1:
            await asyncio.Event().wait()
        if len(events.errors) == 2:
            await second(nc)

    nc = await connect(**{**events.callbacks, "error_cb": error_cb}, **EAGER)
    await nc.subscribe("a", pending_msgs_limit=1)
    for _ in range(4):
        await nc.publish("a")
    await eventually(lambda: nc.stats["in_msgs"] == 4)
    await eventually(lambda: len(events.errors) == 1)
    await nc.force_reconnect()
    return nc


async def test_closing_for_a_report_from_before_the_reconnection(connect: Connect) -> None:
    events = Events()
    returned = asyncio.Event()

    async def close(nc: Any) -> None:
        await nc.close()
        returned.set()

    nc = await drop_and_reconnect(connect, events, close)
    await within(returned.wait())
    assert nc.is_closed
    assert events.names[-2:] == ["disconnected", "closed"]
    assert events.count("closed") == 1
    await assert_nothing_runs()
    assert len(events.errors) == 2


async def test_a_report_from_before_takes_as_long_as_it_takes(connect: Connect) -> None:
    """It may even wait for the reconnection."""
    events = Events()
    connected = asyncio.Event()

    async def wait(nc: Any) -> None:
        await eventually(lambda: nc.is_connected)
        connected.set()

    nc = await drop_and_reconnect(connect, events, wait)
    await within(connected.wait())
    await events.wait("reconnected")
    await eventually(lambda: len(events.errors) == 3)
    assert all(isinstance(error, errors.SlowConsumerError) for error in events.errors)
    await within(nc.close())


async def test_closing_in_a_callback_leaves_no_task(connect: Connect) -> None:
    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        await client.write(DENIED)
        await client.serve()

    async with FakeServer(handler) as server:

        async def close(error: Exception) -> None:
            await nc.close()

        nc: Any = Client()
        await nc.connect(server.url, error_cb=close)
        await eventually(lambda: nc.is_closed)
        await assert_nothing_runs()


async def test_a_callback_that_keeps_its_cancellation_to_itself(connect: Connect) -> None:
    """What it is called from must not read along with the next connection."""

    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        if client.index == 0:
            await client.write(DENIED)
        await client.serve()

    async with FakeServer(handler) as server:
        begun = asyncio.Event()

        async def insist(error: Exception) -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                pass

        nc = await connect(server, error_cb=insist, **EAGER)
        await within(begun.wait())
        old = nc._reading_task
        await nc.force_reconnect()
        await within(asyncio.wait([old]))
        await within(asyncio.wait([nc._reconnection_task]))
        assert len(server.connections) == 2
        await within(nc.flush())
        await within(nc.close())


async def test_connecting_in_closed_cb(connect: Connect) -> None:
    async with FakeServer(info={"client_id": 7, "client_ip": "192.0.2.1"}) as server:

        async def connect_again() -> None:
            nc.closed_cb = None
            await nc.connect(server.url)

        nc = await connect(server, closed_cb=connect_again)
        await subscribed(nc)
        await within(nc.close())
        assert nc.is_connected
        assert (nc.client_id, nc.client_ip) == (7, "192.0.2.1")
        await within(nc.close())
        assert (nc.client_id, nc.client_ip) == (None, None)


async def test_publishing_in_a_callback_while_there_is_no_room(connect: Connect) -> None:
    """Room comes with the next connection, which comes after the callback."""
    go_on = asyncio.Event()

    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        if client.index == 0:
            # It reads no more.
            transport: Any = client.writer.transport
            transport.pause_reading()
            await go_on.wait()
            await client.write(DENIED)
            await called.wait()
            client.abort()
        await client.serve()

    async with FakeServer(handler) as server:
        called = asyncio.Event()

        async def error_cb(error: Exception) -> None:
            called.set()
            for _ in range(3):
                await nc.publish("errors", bytes(2000))

        nc = await connect(server, pending_size=4000, **{**EAGER, "error_cb": error_cb})

        async def fill() -> None:
            while True:
                await nc.publish("a", bytes(100_000))

        filling = asyncio.ensure_future(fill())
        await eventually(lambda: nc.pending_data_size > 4000)
        assert not filling.done()
        go_on.set()
        await server.wait_connections(2)
        filling.cancel()
        await eventually(lambda: nc.is_connected)
        await within(nc.flush())
        await within(nc.close())
        await asyncio.gather(filling, return_exceptions=True)


async def fail() -> None:
    raise ValueError("the callback is broken")


@pytest.mark.usefixtures("quiet_loop")
@pytest.mark.parametrize("why", ["refused", "stale", "no servers", "drained in a handler"])
async def test_a_callback_that_fails_as_the_client_closes_by_itself(
    connect: Connect, caplog: pytest.LogCaptureFixture, why: str
) -> None:
    """It is logged, instead of being left to the loop as an exception of a task's."""

    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        if why == "refused":
            await client.write(b"-ERR 'Maximum Connections Exceeded'\r\n")
        if why == "stale":
            await client.wait_closed()
        if why == "no servers":
            await server.stop_accepting()
            return
        if why == "drained in a handler":
            await client.expect(b"SUB ")
            await client.send_message("a", 1)
        await client.serve()

    server = FakeServer(handler)
    async with server:
        options: dict[str, Any] = {**EAGER, **Events().callbacks, "closed_cb": fail}
        if why == "stale":
            options.update(ping_interval=0.02, allow_reconnect=False)
        if why == "no servers":
            options.update(max_reconnect_attempts=1)
        nc = await connect(server, **options)
        if why == "drained in a handler":

            async def drain(msg: Any) -> None:
                await nc.drain()

            await nc.subscribe("a", cb=drain)
        await eventually(lambda: "the callback is broken" in caplog.text)
        assert nc.is_closed
        await assert_nothing_runs()
        assert {record.name for record in caplog.records} == {"nats.aio.client"}
