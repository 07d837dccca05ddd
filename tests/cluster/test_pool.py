"""``set_server_pool`` in whatever state the client is, with servers that are really there."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import nats
import pytest
from nats import errors
from nats.aio.client import Client
from nats.aio.client import Server as PoolServer
from nats.embedded import Cluster, Server
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer
from support.tls import make_certificates
from support.waiting import EAGER, Events, eventually, within

pytestmark = pytest.mark.usefixtures("driver")

FOREVER: dict[str, Any] = {"max_reconnect_attempts": -1, **EAGER}


async def test_before_the_first_connection(server: Server, closed_port: int) -> None:
    """The servers given then come before those of ``connect``."""
    events = Events()
    nc = Client()
    nc.set_server_pool([f"nats://127.0.0.1:{closed_port}"])
    assert [uri.port for uri in nc.servers] == [closed_port]
    await within(nc.connect(server.url, dont_randomize=True, **events.callbacks, **EAGER))
    assert [type(error) for error in events.errors] == [ConnectionRefusedError]
    assert nc.connected_url is not None
    assert nc.connected_url.port == server.port
    await nc.close()


async def test_while_connecting(server: Server, closed_port: int) -> None:
    """Attempts that fail go on with the new servers."""
    events = Events()
    nc = Client()
    connecting = asyncio.ensure_future(
        nc.connect(f"nats://127.0.0.1:{closed_port}", **events.callbacks, **FOREVER)
    )
    await events.wait_error(ConnectionRefusedError)
    nc.set_server_pool([server.url])
    await within(connecting)
    assert await nc.rtt() >= 0
    assert [uri.port for uri in nc.servers] == [server.port]
    await nc.close()


async def test_emptied_while_connecting(closed_port: int) -> None:
    events = Events()
    nc = Client()
    url = f"nats://127.0.0.1:{closed_port}"
    options: dict[str, Any] = {"max_reconnect_attempts": 50, **EAGER, **events.callbacks}
    connecting = asyncio.ensure_future(nc.connect(url, **options))
    await events.wait_error(ConnectionRefusedError)
    nc.set_server_pool([])
    with pytest.raises(errors.NoServersError):
        await within(connecting)


async def test_amid_a_handshake(connect: Connect) -> None:
    """The server that is just being greeted is told its own credentials, no other's."""
    greet = asyncio.Event()
    told: list[dict[str, Any]] = []

    async def handler(client: FakeConnection) -> None:
        if client.index > 0:
            await greet.wait()
        await client.handshake()
        told.append(client.connect_options)
        await client.serve()

    async with FakeServer(handler, info={"auth_required": True}) as server, FakeServer() as other:
        events = Events()
        url = f"nats://joe:own@127.0.0.1:{server.port}"
        nc = await connect(url, **events.callbacks, **EAGER)
        await nc.force_reconnect()
        await server.wait_connections(2)
        await eventually(lambda: nc.is_connecting)
        nc.set_server_pool([f"nats://eve:secret@127.0.0.1:{other.port}"])
        greet.set()
        await events.wait("reconnected")
        assert [(each["user"], each["pass"]) for each in told] == [("joe", "own")] * 2
        # The next one is of the new pool.
        await nc.force_reconnect()
        await events.wait("reconnected", 2)
        assert len(other.connections) == 1
        await nc.close()


async def test_while_reconnecting_under_traffic(connect: Connect) -> None:
    """Everything that was published meanwhile arrives at the new server, in order."""
    events = Events()
    with Server() as old, Server() as new:
        nc = await connect(old, **events.callbacks, **FOREVER)
        sub = await nc.subscribe("foo")
        await nc.flush()
        await old.akill()
        await events.wait_error(ConnectionRefusedError)
        for number in range(100):
            await nc.publish("foo", b"%d" % number)
        nc.set_server_pool([new.url])
        await events.wait("reconnected")
        for number in range(100, 200):
            await nc.publish("foo", b"%d" % number)
        got = [int((await sub.next_msg(timeout=5)).data) for _ in range(200)]
        assert got == list(range(200))
        assert nc.connected_url.port == new.port


async def test_while_draining_the_server_dies(connect: Connect) -> None:
    """A drain isn't given up: messages that were received are handled, and the client closes."""
    events = Events()
    handled: list[bytes] = []
    release = asyncio.Event()

    async def handler(msg: Any) -> None:
        await release.wait()
        handled.append(msg.data)

    with Server() as old, Server() as new:
        nc = await connect(old, **events.callbacks, **FOREVER)
        sub = await nc.subscribe("foo", cb=handler)
        for number in range(10):
            await nc.publish("foo", b"%d" % number)
        await nc.flush()
        await eventually(lambda: sub.delivered + sub.pending_msgs >= 10 or sub.pending_msgs >= 9)
        draining = asyncio.ensure_future(nc.drain())
        await eventually(lambda: nc.is_draining)
        nc.set_server_pool([new.url])
        assert nc.is_draining
        await old.akill()
        release.set()
        await within(draining, 30)
        assert nc.is_closed
        assert handled == [b"%d" % number for number in range(10)]
        with pytest.raises(errors.ConnectionClosedError):
            nc.set_server_pool([new.url])


async def test_from_the_callbacks(connect: Connect) -> None:
    """Away from a server that says that it is about to stop, before it does."""
    moved = asyncio.Event()

    async def leave() -> None:
        nc.set_server_pool([new.url])
        await nc.force_reconnect()
        moved.set()

    async with FakeServer() as old, FakeServer() as new:
        events = Events()
        options = {**events.callbacks, "lame_duck_mode_cb": leave, **EAGER}
        nc = await connect(old, **options)
        sub = await nc.subscribe("foo")
        await old.connections[0].send_info(ldm=True)
        await within(moved.wait())
        await events.wait("reconnected")
        assert nc.connected_url.port == new.port
        assert events.names == ["disconnected", "reconnected"]
        await new.connections[0].send_message("foo", sub._id, b"x")
        assert (await sub.next_msg(timeout=5)).data == b"x"
        await nc.close()


async def test_while_the_handler_waits(connect: Connect) -> None:
    """The delay that `reconnect_to_server_handler` asks for is long enough to think better."""
    asked = asyncio.Event()

    def choose(pool: list[PoolServer], info: dict[str, Any]) -> tuple[PoolServer, float]:
        asked.set()
        return pool[0], 0.1

    async with FakeServer() as old, FakeServer() as new:
        events = Events()
        nc = await connect(old, reconnect_to_server_handler=choose, **events.callbacks, **EAGER)
        await nc.force_reconnect()
        await within(asked.wait())
        nc.set_server_pool([new.url])
        await events.wait("reconnected")
        assert nc.connected_url.port == new.port
        assert (len(old.connections), len(new.connections)) == (1, 1)
        await nc.close()


async def test_what_tls_needs_is_kept(connect: Connect, tmp_path: Path) -> None:
    """A discovered address is still verified by the name that its announcer goes by."""
    certificates = make_certificates(tmp_path)
    events = Events()
    with Cluster(2, config=certificates.server_config("localhost")) as cluster:
        first, second = cluster.servers
        url = f"nats://localhost:{first.port}"
        nc = await connect(url, tls=certificates.context(), **events.callbacks, **FOREVER)
        await eventually(lambda: second.port in {uri.port for uri in nc.discovered_servers})
        nc.set_server_pool([url, f"nats://127.0.0.1:{second.port}"])
        await first.akill()
        await events.wait("reconnected")
        assert nc.connected_url.port == second.port


async def test_a_bad_url_changes_nothing(server: Server, connect: Connect) -> None:
    nc = await connect(server, **EAGER)
    for bad in (["nats://"], [server.url, "nats://127.0.0.1:x"], server.url):
        with pytest.raises(errors.Error):
            nc.set_server_pool(bad)
    assert [uri.port for uri in nc.servers] == [server.port]
    assert await nc.rtt() >= 0


async def test_closed_for_good(server: Server) -> None:
    nc = await nats.connect(server.url)
    await nc.close()
    with pytest.raises(errors.ConnectionClosedError):
        nc.set_server_pool([server.url])
