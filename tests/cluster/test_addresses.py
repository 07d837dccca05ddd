"""Where servers are: IPv6, names with several addresses, addresses that lead nowhere."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from typing import Any

import nats
import pytest
from nats import errors
from nats.embedded import Cluster, Server
from support.connecting import Connect
from support.fake_server import FakeServer
from support.waiting import EAGER, Events, eventually, within

pytestmark = pytest.mark.usefixtures("driver")

NAME = "nats.example"
# All of 127.0.0.0/8 is this machine; nothing listens there.
REFUSING = "127.0.0.2"


@pytest.fixture
def black_hole() -> Iterator[int]:
    """A port of 127.0.0.1 where attempts to connect get no answer at all."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        # Whoever comes when the queue of a listener is full is ignored.
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch, driver: str) -> Any:
    """``addresses(*hosts)`` has ``NAME`` stand for these addresses, in this order."""

    def resolve(*hosts: str | OSError) -> list[str]:
        loop = asyncio.get_running_loop()
        if driver == "asyncio" and type(loop).__module__.startswith("uvloop"):
            pytest.skip("uvloop's own connections resolve names in C")
        real = loop.getaddrinfo
        asked: list[str] = []

        async def getaddrinfo(host: str, port: int, **options: Any) -> list[Any]:
            if host != NAME:
                return await real(host, port, **options)
            asked.append(host)
            found: list[Any] = []
            for address in hosts:
                if isinstance(address, OSError):
                    raise address
                found += await real(address, port, **options)
            return found

        monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo, raising=False)
        return asked

    return resolve


# IPv6


@pytest.mark.usefixtures("ipv6")
async def test_ipv6_servers_are_discovered(connect: Connect) -> None:
    """The addresses of an INFO are written as those of URLs."""
    events = Events()
    with Server(host="::1") as second:
        info = {"connect_urls": [f"[::1]:{second.port}"]}
        async with FakeServer(info=info) as first:
            nc = await connect(first, **events.callbacks, **EAGER, dont_randomize=True)
            assert [(uri.hostname, uri.port) for uri in nc.discovered_servers] == [
                ("::1", second.port)
            ]
            await first.stop_accepting()
            first.connections[0].abort()
            await events.wait("reconnected")
            assert nc.connected_url.netloc == f"[::1]:{second.port}"
            assert nc.client_ip == "::1"
            # The same address again is no news.
            await nc.force_reconnect()
            await events.wait("reconnected", 2)
            assert len(nc.servers) == 2
            await nc.close()
    assert "discovered" not in events.names


@pytest.mark.usefixtures("ipv6")
async def test_ipv6_and_ipv4_in_one_list(connect: Connect) -> None:
    events = Events()
    with Server(host="::1") as six, Server() as four:
        nc = await connect(
            [f"[::1]:{six.port}", four.url], dont_randomize=True, **events.callbacks, **EAGER
        )
        assert nc.connected_url.hostname == "::1"
        await six.akill()
        await events.wait("reconnected")
        assert nc.connected_url.port == four.port
        await six.astart()
        await nc.force_reconnect()
        await events.wait("reconnected", 2)
        assert nc.connected_url.hostname == "::1"
        assert await nc.rtt() >= 0


@pytest.mark.usefixtures("ipv6")
async def test_ipv6_that_refuses() -> None:
    with socket.socket(socket.AF_INET6) as sock:
        sock.bind(("::1", 0))
        url = f"nats://[::1]:{sock.getsockname()[1]}"
        events = Events()
        with pytest.raises(errors.NoServersError):
            await within(nats.connect(url, max_reconnect_attempts=1, **events.callbacks, **EAGER))
    assert [type(error) for error in events.errors] == [ConnectionRefusedError] * 2


# Names with several addresses


async def test_next_address_of_a_name(server: Server, connect: Connect, addresses: Any) -> None:
    asked = addresses(REFUSING, "127.0.0.1")
    events = Events()
    nc = await connect(f"nats://{NAME}:{server.port}", **events.callbacks, **EAGER)
    assert await nc.rtt() >= 0
    assert nc.connected_url.hostname == NAME
    # One server of the pool, so one attempt.
    assert events.errors == []
    await nc.force_reconnect()
    await events.wait("reconnected")
    # What a name stands for may change: it is asked for at each attempt.
    assert len(asked) == 2


@pytest.mark.usefixtures("ipv6")
async def test_name_with_addresses_of_both_kinds(
    server: Server, connect: Connect, addresses: Any
) -> None:
    addresses("::1", "127.0.0.1")
    nc = await connect(f"nats://{NAME}:{server.port}", **EAGER)
    assert nc.client_ip == "127.0.0.1"


async def test_no_address_of_a_name_answers(closed_port: int, addresses: Any) -> None:
    addresses(REFUSING, "127.0.0.1")
    events = Events()
    url = f"nats://{NAME}:{closed_port}"
    with pytest.raises(errors.NoServersError):
        await within(nats.connect(url, max_reconnect_attempts=1, **events.callbacks, **EAGER))
    for error in events.errors:
        assert isinstance(error, OSError)
        # All of them are named.
        assert REFUSING in str(error)
        assert "127.0.0.1" in str(error)


async def test_name_that_resolves_later(server: Server, connect: Connect, addresses: Any) -> None:
    failure = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    addresses(failure)
    events = Events()
    url = f"nats://{NAME}:{server.port}"
    connecting = asyncio.ensure_future(
        connect(url, max_reconnect_attempts=-1, **events.callbacks, **EAGER)
    )
    assert await events.wait_error(socket.gaierror) is failure
    addresses("127.0.0.1")
    nc = await within(connecting)
    assert await nc.rtt() >= 0


async def test_name_that_does_not_resolve_while_reconnecting(
    server: Server, connect: Connect, addresses: Any
) -> None:
    events = Events()
    addresses("127.0.0.1")
    url = f"nats://{NAME}:{server.port}"
    nc = await connect(url, max_reconnect_attempts=-1, **events.callbacks, **EAGER)
    sub = await nc.subscribe("foo")
    addresses(socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
    await nc.force_reconnect()
    await events.wait_error(socket.gaierror)
    await nc.publish("foo", b"kept")
    addresses("127.0.0.1")
    await events.wait("reconnected")
    assert (await sub.next_msg(timeout=5)).data == b"kept"


# Addresses that lead nowhere


async def test_unreachable_servers_first(
    server: Server, connect: Connect, closed_port: int, black_hole: int
) -> None:
    events = Events()
    urls = [f"nats://127.0.0.1:{port}" for port in (black_hole, closed_port, server.port)]
    options: dict[str, Any] = {"connect_timeout": 0.3, "reconnect_time_wait": 0.05}
    start = time.monotonic()
    nc = await connect(urls, dont_randomize=True, **options, **events.callbacks)
    assert time.monotonic() - start >= 0.3
    kinds: list[type[Exception]] = [asyncio.TimeoutError, ConnectionRefusedError]
    assert [type(error) for error in events.errors] == kinds
    assert nc.connected_url.port == server.port
    # The same way round, after the connection is lost.
    await nc.force_reconnect()
    await events.wait("reconnected")
    assert [type(error) for error in events.errors] == kinds * 2
    assert [each.reconnects for each in nc.server_pool] == [2, 2, 0]


async def test_closing_while_no_answer_comes(
    server: Server, connect: Connect, black_hole: int
) -> None:
    events = Events()
    nc = await connect(connect_timeout=30, reconnect_time_wait=0.05, **events.callbacks)
    nc.set_server_pool([f"nats://127.0.0.1:{black_hole}"])
    await nc.force_reconnect()
    await events.wait("disconnected")
    await asyncio.sleep(0.05)
    await within(nc.close())
    assert nc.is_closed


async def test_cancelling_while_no_answer_comes(black_hole: int) -> None:
    task = asyncio.ensure_future(nats.connect(f"nats://127.0.0.1:{black_hole}", connect_timeout=30))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(task, 5)


async def test_pool_replaced_while_no_answer_comes(
    server: Server, connect: Connect, black_hole: int
) -> None:
    events = Events()
    nc = await connect(connect_timeout=0.5, reconnect_time_wait=0.05, **events.callbacks)
    nc.set_server_pool([f"nats://127.0.0.1:{black_hole}"])
    await nc.force_reconnect()
    await events.wait("disconnected")
    await asyncio.sleep(0.05)
    nc.set_server_pool([server.url])
    await events.wait("reconnected")
    assert [type(error) for error in events.errors] == [asyncio.TimeoutError]
    assert nc.connected_url.port == server.port


async def test_cluster_with_a_server_that_answers_nobody(connect: Connect) -> None:
    """A frozen machine still accepts connections; nothing comes after that."""
    with Cluster() as cluster:
        events = Events()
        nc = await connect(
            cluster.urls,
            dont_randomize=True,
            connect_timeout=0.3,
            reconnect_time_wait=0.05,
            **events.callbacks,
        )
        await eventually(lambda: len(nc.servers) == 3)
        first, second, third = cluster.servers
        second.pause()
        try:
            await first.akill()
            await events.wait("reconnected")
            assert nc.connected_url.port == third.port
            assert asyncio.TimeoutError in {type(error) for error in events.errors}
        finally:
            second.resume()
