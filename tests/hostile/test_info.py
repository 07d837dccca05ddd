"""INFO of a server that means it ill: when it begins, and later."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from nats import errors
from nats.aio.client import Client
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer
from support.flooding import MB, SLACK, flood, memory
from support.handlers import ignore
from support.scripted import admit, beginning, payloads, sending, subscriber
from support.waiting import EAGER, Events, within

pytestmark = pytest.mark.usefixtures("driver")


def hostile_info() -> list[Any]:
    cases = {
        "nesting": b"[" * 500_000,
        "nested objects": b'{"a":' * 100_000,
        "closed nesting": b'{"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        "huge number": b'{"max_payload": ' + b"9" * 4000 + b"}",
        "number of 500 kB": b'{"max_payload": ' + b"9" * 500_000 + b"}",
        "infinity": b'{"max_payload": 1e999}',
        "NaN": b'{"max_payload": NaN}',
        "null": b'{"max_payload": null}',
        "list": b'{"max_payload": [1]}',
        "text": b'{"max_payload": "much"}',
        "negative": b'{"max_payload": -1}',
        "urls as text": b'{"connect_urls": "127.0.0.1:1"}',
        "urls as object": b'{"connect_urls": {"a": 1}}',
        "version": b'{"version": {"a": 1}}',
        "nonce": b'{"nonce": [1, 2]}',
        "client_ip": b'{"client_ip": 5}',
        "NUL": b'{"server_id": "\x00"}',
        "surrogate": b'"\xed\xa0\x80"',
    }
    return [pytest.param(data, id=name) for name, data in cases.items()]


@pytest.mark.parametrize("info", hostile_info())
async def test_hostile_info_is_refused(info: bytes) -> None:
    async with FakeServer(beginning(b"INFO " + info + b"\r\n")) as server:
        nc = Client()
        events = Events()
        with pytest.raises(errors.Error, match="nats: info message, json parse error"):
            await within(nc.connect(server.url, allow_reconnect=False, **events.callbacks), 5)
        assert not nc.is_connected
        assert nc.max_payload == 1048576
        await within(nc.close())


@pytest.mark.parametrize("info", hostile_info())
async def test_hostile_info_later_changes_nothing(
    connect: Connect, info: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    handler = sending(b"INFO " + info + b"\r\nMSG a 1 3\r\none\r\n")
    async with subscriber(connect, handler) as (nc, sub, _):
        assert await payloads(sub, 1) == [b"one"]
        await within(nc.flush())
        assert "nats: encountered error" in caplog.text
        assert nc.is_connected
        assert len(nc.servers) == 1
        assert nc.max_payload == 1048576


async def test_info_with_a_million_urls(connect: Connect) -> None:
    """The line is too long."""

    async def handler(client: FakeConnection) -> None:
        if client.index == 0:
            await admit(client)
            try:
                await client.write(b'INFO {"connect_urls": [' + b'"10.0.0.1:1",' * 1_000_000)
            finally:
                await client.wait_closed()
            return
        await client.handshake()
        await client.serve()

    async with subscriber(connect, handler, **EAGER) as (nc, _, events):
        await events.wait("reconnected")
        assert len(nc.servers) == 1


async def test_the_pool_takes_so_many_servers_and_no_more(connect: Connect) -> None:
    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        for number in range(4):
            await client.send_info(
                connect_urls=[f"10.{number}.{n >> 8}.{n & 255}:1" for n in range(5000)]
            )
        await client.serve()

    async with FakeServer(handler) as server:
        events = Events()
        nc = await connect(server, **events.callbacks)
        await events.wait("discovered")
        await within(nc.flush())
        assert len(nc.discovered_servers) == 1000
        await nc.close()


async def test_urls_that_are_none_are_left_out(connect: Connect) -> None:
    urls = ["127.0.0.1:1", 7, None, ["a"], "[::1", "127.0.0.1:1", "127.0.0.1:2", "\x00", ""]

    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        await client.send_info(connect_urls=urls)
        await client.serve()

    async with FakeServer(handler) as server:
        events = Events()
        nc = await connect(server, **events.callbacks)
        await events.wait("discovered")
        netlocs = [url.netloc for url in nc.discovered_servers]
        assert {"127.0.0.1:1", "127.0.0.1:2"} <= set(netlocs)
        assert len(netlocs) == len(set(netlocs)) <= 4
        await nc.close()


async def test_a_server_that_never_ends_the_handshake(connect: Connect) -> None:
    """Each answer comes in time, the right one never does."""

    async def handler(client: FakeConnection) -> None:
        await client.send_info()
        await client.expect(b"CONNECT ")
        for _ in range(1000):
            await client.write(b"INFO {}\r\n+OK\r\n")
            await asyncio.sleep(0.05)

    async with FakeServer(handler) as server:
        nc: Any = Client()
        events = Events()
        with pytest.raises(asyncio.TimeoutError):
            await within(
                nc.connect(
                    server.url, allow_reconnect=False, connect_timeout=0.5, **events.callbacks
                ),
                5,
            )
        assert not nc.is_connected


async def test_a_line_that_never_ends_instead_of_info() -> None:
    async def handler(client: FakeConnection) -> None:
        await client.write(b"INFO ")
        await flood(client, b"[", 200 * MB)

    async with FakeServer(handler) as server:
        nc = Client()
        before = memory()
        with pytest.raises(errors.Error):
            await within(nc.connect(server.url, allow_reconnect=False, error_cb=ignore))
        assert memory() - before < SLACK


async def test_info_is_still_taken_over(connect: Connect) -> None:
    """The checks let through what servers really say."""
    info = {
        "server_id": "N",
        "version": "2.11.0",
        "max_payload": 4096,
        "connect_urls": None,
        "nonce": None,
        "client_ip": "127.0.0.1",
        "client_id": 7,
    }

    async def handler(client: FakeConnection) -> None:
        await client.write(b"INFO " + json.dumps(info).encode() + b"\r\n")
        await client.expect(b"CONNECT ")
        await client.expect(b"PING")
        await client.write(b"PONG\r\n")
        await client.serve()

    async with FakeServer(handler) as server:
        nc = await connect(server)
        assert (nc.max_payload, nc.client_id, nc.client_ip) == (4096, 7, "127.0.0.1")
        assert nc.connected_server_version.minor == 11
        await nc.close()
