"""Options of wrong types are named; numbers of any kind are taken."""

from __future__ import annotations

import asyncio
import math
from fractions import Fraction
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from nats.embedded import Server
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer
from support.handlers import echo
from support.waiting import EAGER, Events, within

pytestmark = pytest.mark.usefixtures("driver")

HUGE = 10**30
NUMBERS = (
    *("connect_timeout", "reconnect_time_wait", "max_reconnect_attempts", "ping_interval"),
    *("max_outstanding_pings", "flusher_queue_size", "drain_timeout", "pending_size"),
    "flush_timeout",
)
FLAGS = (
    *("pedantic", "verbose", "allow_reconnect", "dont_randomize", "no_echo"),
    *("tls_handshake_first", "skip_subject_validation", "allow_plaintext"),
    "ignore_auth_error_abort",
)
WRONG: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(NUMBERS, ("1", [1], b"1")),
    **dict.fromkeys(FLAGS, ("no", [])),
    **dict.fromkeys(("name", "tls_hostname"), (7, b"name")),
    **dict.fromkeys(("user", "password", "token", "nkeys_seed_str"), (7, b"s3cr3t", ["s3cr3t"])),
    **dict.fromkeys(("signature_cb", "user_jwt_cb"), ("s3cr3t", b"s3cr3t")),
    "reconnect_to_server_handler": ("handler",),
    "inbox_prefix": (7, None),
    "ws_connection_headers": ([("a", "b")], "a: b"),
    "tls": (7,),
    "user_credentials": (7,),
}


@pytest.mark.parametrize("name", WRONG)
async def test_a_wrong_type_is_named(server: Server, name: str) -> None:
    for value in WRONG[name]:
        with pytest.raises(TypeError, match=rf"\b{name}\b") as raised:
            await within(nats.connect(server.url, **{name: value}))
        assert "s3cr3t" not in str(raised.value)


async def test_nothing_is_begun_with_a_wrong_type(server: Server) -> None:
    nc = Client()
    with pytest.raises(TypeError):
        await nc.connect(server.url, connect_timeout="1")  # type: ignore[arg-type]
    assert nc.servers == []
    assert nc.options == {}


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [2.5, math.inf, HUGE, Fraction(5, 2)])
async def test_numbers_of_any_kind(connect: Connect, name: str, value: Any) -> None:
    nc = await connect(**{name: value})
    sub = await nc.subscribe("a")
    await nc.publish("a", bytes(100_000))
    assert len((await sub.next_msg(5)).data) == 100_000
    await within(nc.flush())
    await within(nc.drain())


@pytest.mark.parametrize("value", [2.5, math.inf, HUGE])
async def test_attempts_of_any_number(server: Server, connect: Connect, value: Any) -> None:
    events = Events()
    nc = await connect(max_reconnect_attempts=value, **events.callbacks, **EAGER)
    await server.akill()
    await events.wait_error(ConnectionRefusedError)
    await server.astart()
    await events.wait("reconnected")
    await within(nc.flush())


@pytest.mark.parametrize("timeout", [2.5, math.inf, HUGE, Fraction(5, 2)])
async def test_timeouts_of_any_kind(connect: Connect, timeout: Any) -> None:
    nc = await connect()

    await nc.subscribe("echo", cb=echo)
    sub = await nc.subscribe("a")
    for old_style in (False, True):
        reply = await within(nc.request("echo", b"x", timeout=timeout, old_style=old_style))
        assert reply.data == b"x"
    await within(nc.flush(timeout=timeout))
    assert await within(nc.rtt(timeout=timeout)) >= 0
    waiting = asyncio.ensure_future(sub.next_msg(timeout=timeout))
    await asyncio.sleep(0)
    await nc.publish("a", b"x")
    assert (await within(waiting)).data == b"x"


@pytest.mark.parametrize("limit", [2.5, math.inf, HUGE])
async def test_limits_of_any_kind(connect: Connect, limit: Any) -> None:
    nc = await connect()
    sub = await nc.subscribe("a", pending_msgs_limit=limit, pending_bytes_limit=math.inf)
    await nc.publish("a", b"x")
    assert (await sub.next_msg(5)).data == b"x"
    few = await nc.subscribe("b", max_msgs=limit)
    other = await nc.subscribe("b")
    await other.unsubscribe(limit=limit)
    for number in range(2):
        await nc.publish("b", b"%d" % number)
    for each in (few, other):
        assert [(await each.next_msg(5)).data for _ in range(2)] == [b"0", b"1"]


async def test_no_timeout_at_all(connect: Connect) -> None:
    nc = await connect(connect_timeout=None, drain_timeout=None, flush_timeout=None)
    await nc.subscribe("a")
    await within(nc.flush())
    await within(nc.drain())


@pytest.mark.parametrize(
    "name",
    [
        *("ping_interval", "max_outstanding_pings", "reconnect_time_wait"),
        *("flusher_queue_size", "pending_size"),
    ],
)
async def test_none_as_in_nats_py(connect: Connect, name: str) -> None:
    events = Events()
    nc = await connect(**{**EAGER, name: None}, **events.callbacks)
    sub = await nc.subscribe("a")
    for count in (1, 2):
        await nc.publish("a", bytes(100_000))
        assert len((await sub.next_msg(5)).data) == 100_000
        await within(nc.flush())
        await nc.force_reconnect()
        await events.wait("reconnected", count)
    assert events.errors == []


async def test_no_number_of_unanswered_pings_makes_a_connection_stale(connect: Connect) -> None:
    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        for _ in range(6):
            await client.expect(b"PING")
        unanswered.set()
        await client.wait_closed()

    unanswered, events = asyncio.Event(), Events()
    options: dict[str, Any] = {"ping_interval": 0.02, "max_outstanding_pings": None}
    async with FakeServer(handler) as server:
        nc = await connect(server, **options, **events.callbacks)
        await within(unanswered.wait())
        assert nc.is_connected
        assert events.errors == []
        await nc.close()


async def test_user_info_is_quoted_in_urls(connect: Connect) -> None:
    config = 'authorization { user: "jo@e", password: "p:a/s%s ö+" }'
    async with Server(config=config) as server:
        address = f"127.0.0.1:{server.port}"
        await connect(f"nats://jo%40e:p%3Aa%2Fs%25s%20%C3%B6+@{address}", allow_reconnect=False)
        await connect(f"jo%40e:p%3Aa%2Fs%25s%20%C3%B6+@{address}", allow_reconnect=False)
    async with Server(config='authorization { token: "t/0@k" }') as server:
        await connect(f"nats://t%2F0%40k@127.0.0.1:{server.port}", allow_reconnect=False)
