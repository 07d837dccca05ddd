"""What a client tells about itself before, during and after a connection."""

from __future__ import annotations

import asyncio
import gc
import ssl
import weakref
from typing import Any
from urllib.parse import ParseResult

import nats
import pytest
from nats import errors
from nats.aio.client import Client, ServerVersion
from nats.embedded import Server
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer

TIMEOUT = 30.0

NO_STATS = dict.fromkeys(
    ("in_msgs", "out_msgs", "in_bytes", "out_bytes", "reconnects", "errors_received"), 0
)

# As `Client.connect` fills `options` when it is given none of them.
DEFAULT_OPTIONS = {
    "verbose": False,
    "pedantic": False,
    "name": None,
    "allow_reconnect": True,
    "dont_randomize": False,
    "reconnect_time_wait": 2,
    "max_reconnect_attempts": 60,
    "ping_interval": 120,
    "max_outstanding_pings": 2,
    "no_echo": False,
    "user": None,
    "password": None,
    "token": None,
    "connect_timeout": 2,
    "drain_timeout": 30,
    "tls_handshake_first": False,
    "ws_connection_headers": None,
    "skip_subject_validation": False,
}


def states(nc: Client) -> list[str]:
    names = ("closed", "connected", "connecting", "reconnecting", "draining", "draining_pubs")
    return [name for name in names if getattr(nc, f"is_{name}")]


def test_constants_and_names() -> None:
    names = (
        "DISCONNECTED",
        "CONNECTED",
        "CLOSED",
        "RECONNECTING",
        "CONNECTING",
        "DRAINING_SUBS",
        "DRAINING_PUBS",
    )
    assert [getattr(Client, name) for name in names] == list(range(7))
    assert nats.NATS is Client
    assert repr(Client()).startswith("<nats client v")


async def test_before_connect() -> None:
    nc: Any = Client()
    assert states(nc) == []
    assert nc.stats == NO_STATS
    assert nc.options == {}
    assert nc.servers == nc.discovered_servers == nc.server_pool == []
    assert nc.connected_url is nc.client_id is nc.client_ip is nc.last_error is None
    assert (nc.max_payload, nc.pending_data_size) == (1048576, 0)
    assert repr(nc.connected_server_version) == "<nats server v0.0.0-unknown>"
    with pytest.raises(errors.OutboundBufferLimitError):
        await nc.publish("data")
    with pytest.raises(errors.BadSubjectError):
        await nc.publish("a b")
    for action in (nc.subscribe("data"), nc.request("data"), nc.rtt()):
        with pytest.raises(AssertionError):
            await action


async def test_before_connect_flush_tells_the_mistake() -> None:
    """nats-py says ``Client.connect must be called first``."""
    with pytest.raises(AssertionError):
        await Client().flush()


async def test_connected(server: Server, connect: Connect, driver: str) -> None:
    nc = await connect()
    assert states(nc) == ["connected"]
    url = ParseResult("nats", f"127.0.0.1:{server.port}", "", "", "", "")
    assert nc.connected_url == url
    assert nc.connected_url.netloc == f"127.0.0.1:{server.port}"
    assert (nc.servers, nc.discovered_servers) == ([url], [])
    assert [(entry.uri, entry.reconnects) for entry in nc.server_pool] == [(url, 0)]
    assert nc.max_payload == 1048576
    assert isinstance(nc.client_id, int)
    assert nc.client_ip == "127.0.0.1"
    assert nc.last_error is None
    other = await connect()
    assert other.client_id != nc.client_id


async def test_closed(connect: Connect, driver: str) -> None:
    nc = await connect()
    version = repr(nc.connected_server_version)
    await nc.close()
    assert states(nc) == ["closed"]
    assert nc.connected_url is nc.client_id is nc.client_ip is None
    assert nc.pending_data_size == 0
    assert repr(nc.connected_server_version) == version
    for action in (
        nc.publish("data"),
        nc.subscribe("data"),
        nc.request("data"),
        nc.request("data", old_style=True),
        nc.flush(),
        nc.rtt(),
        nc.drain(),
    ):
        with pytest.raises(errors.ConnectionClosedError):
            await action
    with pytest.raises(errors.ConnectionClosedError):
        nc.set_server_pool(["nats://127.0.0.1:4222"])
    await nc.close()
    await nc.force_reconnect()
    assert states(nc) == ["closed"]


async def test_what_the_servers_info_tells() -> None:
    info = {"max_payload": 64, "client_id": 7, "client_ip": "10.9.8.7", "version": "2.3.4-beta+x"}
    async with FakeServer(info=info) as server:
        nc = await nats.connect(server.url)
        try:
            assert (nc.max_payload, nc.client_id, nc.client_ip) == (64, 7, "10.9.8.7")
            version = nc.connected_server_version
            assert (version.major, version.minor, version.patch) == (2, 3, 4)
            assert (version.prerelease, version.build, version.dev) == ("beta", "x", "beta+x")
        finally:
            await nc.close()


def test_server_versions() -> None:
    version = ServerVersion("2.11.0")
    assert (version.major, version.minor, version.patch) == (2, 11, 0)
    assert (version.prerelease, version.build, version.dev) == ("", "", "")
    assert repr(version) == "<nats server v2.11.0>"
    with pytest.raises(ValueError, match="is not a valid Semantic Version"):
        _ = ServerVersion("two").major


async def test_default_options(connect: Connect) -> None:
    nc = await connect()
    assert nc.options == DEFAULT_OPTIONS


async def test_given_options(connect: Connect) -> None:
    given = {
        "name": "me",
        "verbose": True,
        "pedantic": True,
        "no_echo": True,
        "allow_reconnect": False,
        "dont_randomize": True,
        "ping_interval": 7,
        "drain_timeout": 3,
        "user": "u",
        "password": "p",
    }
    nc = await connect(**given)
    assert nc.options == {**DEFAULT_OPTIONS, **given}


async def test_what_connect_sends() -> None:
    sent: list[dict[str, Any]] = []

    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        sent.append(client.connect_options)
        await client.serve()

    async with FakeServer(handler) as server:
        for options in ({}, {"name": "me", "no_echo": True, "pedantic": True}, {"token": "t"}):
            nc = await nats.connect(server.url, **options)
            await nc.close()
    common = {"lang": "python3", "protocol": 1, "headers": True, "no_responders": True}
    for fields in sent:
        assert fields.pop("version")
        assert {key: fields.pop(key) for key in common} == common
    plain = {"verbose": False, "pedantic": False, "echo": True}
    assert sent == [
        plain,
        {**plain, "pedantic": True, "echo": False, "name": "me"},
        {**plain, "auth_token": "t"},
    ]


async def test_stats(connect: Connect, driver: str) -> None:
    nc = await connect()
    held = nc.stats
    assert held == NO_STATS
    await nc.subscribe("data")
    await nc.publish("data", b"123", headers={"Not": "counted"})
    await nc.publish("elsewhere", b"12345")
    await nc.flush()
    expected = {**NO_STATS, "out_msgs": 2, "out_bytes": 8, "in_msgs": 1, "in_bytes": 3}
    assert nc.stats == expected
    assert nc.stats is held, "one dict: a monitor may keep it"
    assert held == expected
    await nc.close()
    assert nc.stats == expected


async def test_stats_may_be_written(connect: Connect) -> None:
    nc = await connect()
    nc.stats["out_msgs"] = 0
    nc.stats["mine"] = 5
    await nc.publish("data")
    assert nc.stats["out_msgs"] == 1
    nc.stats["out_msgs"] = 100
    await nc.publish("data")
    assert (nc.stats["out_msgs"], nc.stats["mine"]) == (101, 5)


async def test_stats_of_a_failed_publish(connect: Connect) -> None:
    nc = await connect()
    with pytest.raises(errors.MaxPayloadError):
        await nc.publish("data", bytes(nc.max_payload + 1))
    assert nc.stats["out_msgs"] == 0


async def test_connecting_again_after_close(connect: Connect, server: Server, driver: str) -> None:
    calls: list[str] = []

    async def closed_cb() -> None:
        calls.append("closed")

    # Each connect() adds the server to the pool once more; without a wait between attempts the
    # order of the pool doesn't matter.
    options = {"closed_cb": closed_cb, "reconnect_time_wait": 0}
    nc = await connect(**options)
    old = await nc.subscribe("data")
    await nc.publish("data", b"1")
    await nc.flush()
    first_id = nc.client_id
    for round_ in range(1, 4):
        await nc.close()
        assert len(calls) == round_
        await nc.connect(server.url, **options)
        assert states(nc) == ["connected"]
        assert nc.client_id != first_id
        assert len(nc._subs) == 0
        sub = await nc.subscribe("data")
        assert sub._id > old._id
        await nc.publish("data", b"2")
        assert (await sub.next_msg(TIMEOUT)).data == b"2"
        with pytest.raises(errors.NoRespondersError):
            await nc.request("nobody", timeout=TIMEOUT)
    # Counters go on over connections, as in nats-py.
    assert nc.stats["in_msgs"] >= 4
    assert nc.stats["out_msgs"] == 7
    assert nc.stats["reconnects"] == 0


async def test_context_manager(server: Server, driver: str) -> None:
    closed = asyncio.Event()

    async def closed_cb() -> None:
        closed.set()

    async with await nats.connect(server.url, closed_cb=closed_cb) as nc:
        assert isinstance(nc, Client)
        await nc.publish("data")
    assert nc.is_closed
    assert closed.is_set()
    with pytest.raises(RuntimeError, match="body"):
        async with await nats.connect(server.url) as nc:
            raise RuntimeError("body")
    assert nc.is_closed
    async with Client() as nc:
        await nc.connect(server.url)
        assert nc.is_connected
    assert nc.is_closed


async def test_server_pool(connect: Connect, server: Server) -> None:
    nc = await connect()
    current = nc.connected_url
    nc.set_server_pool([server.url, "localhost:1", "nats://user:pw@h"])
    assert [entry.netloc for entry in nc.servers] == [
        current.netloc,
        "localhost:1",
        "user:pw@h:4222",
    ]
    pool = nc.server_pool
    pool.clear()
    assert len(nc.server_pool) == 3, "a copy"
    with pytest.raises(errors.Error):
        nc.set_server_pool(["nats://good:1", "nats://[bad"])
    assert len(nc.servers) == 3
    assert nc.is_connected
    assert nc.connected_url == current


async def test_ssl_context(connect: Connect) -> None:
    nc = await connect()
    assert isinstance(nc.ssl_context, ssl.SSLContext)


async def test_skip_subject_validation(connect: Connect) -> None:
    nc = await connect(skip_subject_validation=True)
    with pytest.raises(errors.BadSubjectError):
        await nc.subscribe("")
    with pytest.raises(errors.BadSubjectError):
        await nc.publish("")
    sub = await nc.subscribe("a.b")
    await nc.publish("a.b", b"x")
    assert (await sub.next_msg(TIMEOUT)).data == b"x"


async def test_last_error(closed_port: int) -> None:
    reported: list[Exception] = []

    async def error_cb(error: Exception) -> None:
        reported.append(error)

    nc = Client()
    with pytest.raises(errors.NoServersError):
        await nc.connect(
            f"nats://127.0.0.1:{closed_port}",
            error_cb=error_cb,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
        )
    assert {type(error) for error in reported} == {ConnectionRefusedError}
    assert isinstance(nc.last_error, errors.NoServersError)


async def test_a_closed_client_is_let_go(server: Server, driver: str) -> None:
    nc = await nats.connect(server.url)

    async def handler(msg: Any) -> None:
        await msg.respond(b"x")

    await nc.subscribe("service", cb=handler)
    await nc.subscribe("other")
    await nc.request("service", timeout=TIMEOUT)
    await nc.close()
    client, core = weakref.ref(nc), weakref.ref(nc._core)
    del nc, handler
    # The cancelled tasks and the transport end in the next turns of the loop.
    for _ in range(10):
        await asyncio.sleep(0.01)
        gc.collect()
        if (client(), core()) == (None, None):
            break
    assert (client(), core()) == (None, None)
