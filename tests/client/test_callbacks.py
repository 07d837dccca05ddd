"""Callbacks that raise or close the client: what they were called in the middle of goes on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from nats import errors
from nats.aio.client import Client
from nats.embedded import Server
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer
from support.scripted import TIMEOUT, admit, assert_nothing_runs, subscribed
from support.waiting import EAGER, Events, eventually, within

pytestmark = pytest.mark.usefixtures("driver")

COMPLAINT = "the callback is broken"


async def fail(*args: Any) -> None:
    raise ValueError(COMPLAINT)


async def admit_and_send(client: FakeConnection) -> None:
    """Every connection gets one message, which tells which one it is."""
    await admit(client)
    await client.send_message("a", 1, b"%d" % client.index)
    await client.serve()


async def close(nc: Any) -> None:
    # Who closes is told of a callback that fails then.
    nc.disconnected_cb = None
    await within(nc.close())
    await assert_nothing_runs()


def assert_logged(caplog: pytest.LogCaptureFixture) -> None:
    traces = [record.exc_info for record in caplog.records if record.name == "nats.aio.client"]
    assert any(trace and COMPLAINT in str(trace[1]) for trace in traces), caplog.text


async def assert_in_service(nc: Any, connections: int, server: FakeServer) -> None:
    """The reconnection has come to its end, and it was the only one."""
    await within(asyncio.wait([nc._reconnection_task]))
    assert nc.is_connected
    await within(nc.flush())
    assert len(server.connections) == connections
    assert nc.stats["reconnects"] == connections - 1


@pytest.mark.parametrize("name", ["error_cb", "disconnected_cb", "reconnected_cb"])
async def test_when_a_connection_ends(
    connect: Connect, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    async with FakeServer(admit_and_send) as server:
        events = Events()
        nc = await connect(server, **{**events.callbacks, name: fail}, **EAGER)
        sub = await subscribed(nc)
        assert (await sub.next_msg(TIMEOUT)).data == b"0"
        server.connections[0].close()
        assert (await sub.next_msg(TIMEOUT)).data == b"1"
        await assert_in_service(nc, 2, server)
        assert_logged(caplog)
        await close(nc)


@pytest.mark.parametrize("name", ["error_cb", "disconnected_cb", "reconnected_cb"])
async def test_while_the_server_is_away(
    server: Server, connect: Connect, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    events = Events()
    nc = await connect(max_reconnect_attempts=-1, **{**events.callbacks, name: fail}, **EAGER)
    sub = await subscribed(nc)
    await server.akill()
    # Attempts are refused meanwhile, of which `error_cb` hears.
    await eventually(lambda: isinstance(nc.last_error, ConnectionRefusedError | ValueError))
    await server.astart()
    await within(asyncio.wait([nc._reconnection_task]))
    assert nc.is_connected
    await nc.publish("a", b"again")
    assert (await sub.next_msg(TIMEOUT)).data == b"again"
    assert nc.stats["reconnects"] == 1
    assert_logged(caplog)
    await close(nc)


@pytest.mark.parametrize("name", ["discovered_server_cb", "lame_duck_mode_cb"])
async def test_when_the_cluster_changes(
    connect: Connect, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    async def handler(client: FakeConnection) -> None:
        await admit(client)
        await client.send_info(connect_urls=["127.0.0.1:1"], ldm=True)
        await client.send_message("a", 1, b"after")
        await client.serve()

    async with FakeServer(handler) as server:
        events = Events()
        nc = await connect(server, **{**events.callbacks, name: fail}, **EAGER)
        sub = await subscribed(nc)
        assert (await sub.next_msg(TIMEOUT)).data == b"after"
        # The other one of the two is called all the same.
        await events.wait("discovered" if name == "lame_duck_mode_cb" else "lame duck")
        await within(nc.flush())
        assert nc.is_connected
        assert nc.stats["reconnects"] == 0
        assert_logged(caplog)
        await within(nc.close())
        await assert_nothing_runs()


@pytest.mark.parametrize("name", ["discovered_server_cb", "lame_duck_mode_cb"])
async def test_during_a_handshake(
    connect: Connect, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    async def handler(client: FakeConnection) -> None:
        await client.send_info()
        await client.expect(b"CONNECT ")
        await client.expect(b"PING")
        port = client.index + 1
        await client.send_info(connect_urls=[f"127.0.0.1:{port}"], ldm=True)
        await client.write(b"PONG\r\n")
        await client.serve()

    async with FakeServer(handler) as server:
        events = Events()

        def again(servers: list[Any], info: dict[str, Any]) -> tuple[Any, float]:
            return next(each for each in servers if each.uri.port == server.port), 0.01

        options: dict[str, Any] = {
            **events.callbacks,
            name: fail,
            "reconnect_to_server_handler": again,
        }
        nc = await connect(server, **options, **EAGER)
        await within(nc.flush())
        assert_logged(caplog)
        caplog.clear()
        server.connections[0].abort()
        await events.wait("reconnected")
        await assert_in_service(nc, 2, server)
        assert_logged(caplog)
        await within(nc.close())
        await assert_nothing_runs()


async def test_a_connection_that_fails_right_after_its_handshake_leaves_nothing(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        if client.index == 1:
            # Lets the client in and never answers again.
            await client.wait_closed()
        await client.serve()

    monkeypatch.setattr(Client.flush, "__defaults__", (0.2,))
    async with FakeServer(handler) as server:
        events = Events()
        nc = await connect(server, **events.callbacks, **EAGER)
        server.connections[0].abort()
        await events.wait_error(errors.FlushTimeoutError)
        await events.wait("reconnected")
        await within(nc.flush())
        assert nc.is_connected
        assert len(server.connections) == 3
        assert events.names == ["disconnected", "reconnected"]
        await within(nc.close())
        await assert_nothing_runs()


async def test_closing_in_error_cb_while_reconnecting_is_for_good(connect: Connect) -> None:
    async def handler(client: FakeConnection) -> None:
        if client.index == 0:
            await client.handshake()
            await client.serve()
        await client.send_info()
        await client.expect(b"CONNECT ")
        await client.write(b"-ERR 'Authorization Violation'\r\n")
        await client.wait_closed()

    async with FakeServer(handler) as server:
        events = Events()

        async def close_if_refused(error: Exception) -> None:
            if "authorization" in str(error).lower():
                await nc.close()

        nc = await connect(server, **{**events.callbacks, "error_cb": close_if_refused}, **EAGER)
        server.connections[0].abort()
        await events.wait("closed")
        await within(asyncio.wait([nc._reconnection_task]))
        assert (nc.is_closed, nc.is_reconnecting) == (True, False)
        with pytest.raises(errors.ConnectionClosedError):
            await nc.publish("a")
        await within(nc.close())
        assert events.count("closed") == 1
        assert len(server.connections) == 2
        await assert_nothing_runs()


@pytest.mark.parametrize("how", ["close", "drain"])
async def test_a_callback_that_fails_while_closing(connect: Connect, how: str) -> None:
    """Who closes hears of it, and the other callback is called all the same."""
    async with FakeServer() as server:
        events = Events()
        nc = await connect(server, **{**events.callbacks, "disconnected_cb": fail})
        await subscribed(nc)
        with pytest.raises(ValueError, match=COMPLAINT):
            await within(nc.close() if how == "close" else nc.drain())
        assert events.names == ["closed"]
        assert nc.is_closed
        await assert_nothing_runs()
        await within(nc.close())
        assert events.names == ["closed"]


async def test_a_callback_that_fails_when_a_server_ends_a_client(connect: Connect) -> None:
    """Nobody closes then; reconnecting isn't allowed."""
    async with FakeServer() as server:
        events = Events()
        options = {**events.callbacks, "disconnected_cb": fail}
        nc = await connect(server, allow_reconnect=False, **options)
        server.connections[0].close()
        await events.wait("closed")
        assert nc.is_closed
        await assert_nothing_runs()
        assert events.names == ["closed"]
