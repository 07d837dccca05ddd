"""NATS over WebSocket, on real servers: whatever works over TCP works there, too."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import nats
import pytest
from nats import errors
from nats.embedded import Cluster, Server
from support.connecting import Connect
from support.handlers import echo
from support.proxy import Proxy
from support.waiting import EAGER, Events, eventually, within
from support.ws_server import url_of

pytestmark = pytest.mark.usefixtures("driver")

CONFIG = """
max_payload: 8MB
max_pending: 64MB
websocket {{ host: "127.0.0.1", port: {port}, no_tls: true }}
"""
MEGABYTES = bytes(range(256)) * (20 * 1024)


@pytest.fixture
async def ws(closed_port: int) -> AsyncIterator[Server]:
    """A server that speaks WebSocket, on the same port after a restart."""
    async with Server(config=CONFIG.format(port=closed_port)) as server:
        yield server


async def serve_echo(nc: Any) -> None:
    await nc.subscribe("echo", cb=echo)


async def test_everything_works(ws: Server, connect: Connect) -> None:
    events = Events()
    nc = await connect(url_of(ws), **events.callbacks)
    received: list[bytes] = []

    async def handler(msg: Any) -> None:
        received.append(msg.data)

    await nc.subscribe("news.*", cb=handler)
    await serve_echo(nc)
    await nc.publish("news.today", b"1", headers={"a": "b"})
    await within(nc.flush())
    assert (await nc.request("echo", b"hi", timeout=5)).data == b"hi"
    with pytest.raises(errors.NoRespondersError):
        await nc.request("nobody", timeout=5)
    assert await nc.rtt() > 0
    await nc.publish("news.today", b"2")
    await within(nc.drain())
    assert received == [b"1", b"2"]
    assert nc.is_closed
    assert events.names == ["disconnected", "closed"]
    assert events.errors == []


async def test_it_meets_clients_of_other_kinds(ws: Server, connect: Connect) -> None:
    await serve_echo(await connect(ws.url))
    nc = await connect(url_of(ws))
    assert (await nc.request("echo", MEGABYTES, timeout=10)).data == MEGABYTES


async def test_large_messages(ws: Server, connect: Connect) -> None:
    nc = await connect(url_of(ws))
    await serve_echo(nc)
    for size in (125, 126, 65_535, 65_536, 1_000_000, len(MEGABYTES)):
        payload = MEGABYTES[:size]
        assert (await nc.request("echo", payload, timeout=10)).data == payload
    with pytest.raises(errors.MaxPayloadError):
        await nc.publish("echo", bytes(8 * 1024 * 1024 + 1))


async def test_many_messages(ws: Server, connect: Connect) -> None:
    nc = await connect(url_of(ws))
    sub = await nc.subscribe("numbers")
    for number in range(20_000):
        await nc.publish("numbers", b"%d" % number)
    for number in range(20_000):
        assert (await sub.next_msg(timeout=5)).data == b"%d" % number


async def test_subscriptions_survive_a_restart(ws: Server, connect: Connect) -> None:
    events = Events()
    nc = await connect(url_of(ws), **events.callbacks, **EAGER)
    await serve_echo(nc)
    sub = await nc.subscribe("numbers")
    for count in (1, 2):
        await ws.akill()
        await events.wait("disconnected", count)
        # Kept for the next connection.
        await nc.publish("numbers", b"%d" % count)
        await ws.astart()
        await events.wait("reconnected", count)
        assert (await sub.next_msg(timeout=5)).data == b"%d" % count
        assert (await nc.request("echo", MEGABYTES, timeout=10)).data == MEGABYTES
    assert nc.stats["reconnects"] == 2


async def test_force_reconnect(ws: Server, connect: Connect) -> None:
    events = Events()
    nc = await connect(url_of(ws), **events.callbacks, **EAGER)
    await serve_echo(nc)
    await nc.force_reconnect()
    await events.wait("reconnected")
    assert (await nc.request("echo", b"again", timeout=5)).data == b"again"


async def test_a_cut_connection_is_made_again(ws: Server, connect: Connect) -> None:
    events = Events()
    async with Proxy(url_of(ws)) as proxy:
        nc = await connect(f"ws://127.0.0.1:{proxy.port}", **events.callbacks, **EAGER)
        await serve_echo(nc)
        proxy.cut()
        await events.wait("reconnected")
        assert (await nc.request("echo", b"again", timeout=5)).data == b"again"


async def test_tiny_reads(ws: Server, connect: Connect) -> None:
    async with Proxy(url_of(ws), chop=1) as proxy:
        nc = await connect(f"ws://127.0.0.1:{proxy.port}", connect_timeout=20)
        await serve_echo(nc)
        assert (await nc.request("echo", bytes(300), timeout=20)).data == bytes(300)


async def test_users_and_tokens(connect: Connect) -> None:
    user = 'authorization { user: "joe", password: "s3cret" }'
    async with Server(config=CONFIG.format(port=-1) + user) as server:
        address = url_of(server).removeprefix("ws://")
        await serve_echo(await connect(f"ws://{address}", user="joe", password="s3cret"))
        nc = await connect(f"ws://joe:s3cret@{address}")
        assert (await nc.request("echo", b"hi", timeout=5)).data == b"hi"
        events = Events()
        with pytest.raises(errors.Error):
            await nats.connect(
                f"ws://joe:wrong@{address}", **events.callbacks, allow_reconnect=False
            )
        assert "authorization violation" in str(events.errors[-1]).lower()
    async with Server(config=CONFIG.format(port=-1) + 'authorization { token: "t0k" }') as server:
        address = url_of(server).removeprefix("ws://")
        for nc in (
            await connect(f"ws://{address}", token="t0k"),
            await connect(f"ws://t0k@{address}"),
        ):
            assert await nc.rtt() > 0


async def test_servers_of_a_cluster_are_discovered(connect: Connect) -> None:
    async with Cluster(config=CONFIG.format(port=-1)) as cluster:
        urls = [url_of(server) for server in cluster.servers]
        events = Events()
        nc = await connect(urls[0], **events.callbacks, **EAGER)
        await serve_echo(nc)
        await eventually(lambda: len(nc.servers) == 3, "three servers are known")
        assert {server.scheme for server in nc.servers} == {"ws"}
        assert {server.port for server in nc.discovered_servers} == {
            int(url.rpartition(":")[2]) for url in urls[1:]
        }
        for count in (1, 2):
            current = nc.connected_url.port
            (server,) = (
                server for server in cluster.servers if url_of(server).endswith(f":{current}")
            )
            await server.akill()
            await events.wait("reconnected", count)
            assert nc.connected_url.port != current
            assert nc.connected_url.scheme == "ws"
            assert (await nc.request("echo", b"hi", timeout=5)).data == b"hi"


async def test_idle_connections_are_kept_alive(ws: Server, connect: Connect) -> None:
    events = Events()
    async with Proxy(url_of(ws)) as proxy:
        nc = await connect(
            f"ws://127.0.0.1:{proxy.port}",
            ping_interval=0.05,
            max_outstanding_pings=3,
            **events.callbacks,
        )
        sent, received = proxy.bytes_to_server, proxy.bytes_to_client
        await eventually(lambda: proxy.bytes_to_server > sent + 100, "pings are sent")
        await eventually(lambda: proxy.bytes_to_client > received + 50, "pings are answered")
        assert nc.is_connected
        # Nothing comes any more: that is noticed, and what follows works again.
        proxy.stall()
        await events.wait("disconnected")
        proxy.resume()
        await events.wait("reconnected")
        assert await nc.rtt() > 0


async def test_publishing_waits_while_the_server_takes_nothing(
    ws: Server, connect: Connect
) -> None:
    size, count = 64 * 1024, 600
    async with Proxy(url_of(ws)) as proxy:
        receiver = await connect(ws.url)
        sub = await receiver.subscribe("data")
        await receiver.flush()
        nc = await connect(f"ws://127.0.0.1:{proxy.port}", pending_size=4 * size)
        await nc.flush()
        proxy.stall()
        largest = done = 0

        async def publish() -> None:
            nonlocal largest, done
            for number in range(count):
                await nc.publish("data", number.to_bytes(4, "big") + bytes(size - 4))
                done += 1
                largest = max(largest, nc.pending_data_size)

        publisher = asyncio.ensure_future(publish())
        before = -1
        while before != done:
            before = done
            await asyncio.sleep(0.1)
        # The sockets between here and the proxy have taken some; the rest has to wait.
        assert done < count
        assert not publisher.done()
        proxy.resume()
        await within(publisher, 20)
        assert largest <= 5 * size + 1000
        for number in range(count):
            assert (await sub.next_msg(5)).data[:4] == number.to_bytes(4, "big")


async def test_a_stalled_connection_does_not_hold_up_the_next(ws: Server, connect: Connect) -> None:
    """The end of a connection whose writes had stopped leaves the new one writable, and the new
    one, on its way through a stalled proxy, isn't written to."""
    events = Events()
    async with Proxy(url_of(ws)) as proxy:
        nc = await connect(
            [f"ws://127.0.0.1:{proxy.port}", url_of(ws)],
            dont_randomize=True,
            **events.callbacks,
            **{**EAGER, "connect_timeout": 0.3},
        )
        sub = await nc.subscribe("data")
        await nc.flush()
        proxy.stall()
        size = 64 * 1024
        publisher = asyncio.ensure_future(_publish_until(nc, events, size))
        await eventually(lambda: nc.pending_data_size > 2 * size, "the connection is stalled")
        await nc.force_reconnect()
        await events.wait("reconnected")
        await within(publisher, 20)
        await nc.publish("data", b"end")
        await within(nc.flush())
        while (await sub.next_msg(5)).data != b"end":
            pass


async def _publish_until(nc: Any, events: Events, size: int) -> None:
    while not events.count("reconnected"):
        with contextlib.suppress(errors.OutboundBufferLimitError):
            await nc.publish("data", bytes(size))
        await asyncio.sleep(0)


async def test_kinds_of_urls_do_not_mix(ws: Server) -> None:
    for urls in ([url_of(ws), ws.url], [ws.url, url_of(ws)]):
        with pytest.raises(errors.Error, match="mixing of websocket and non websocket URLs"):
            await nats.connect(urls)
