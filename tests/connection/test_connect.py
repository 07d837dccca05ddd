"""Connecting: spellings of servers, failures, options, and nothing left behind."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import nats
import pytest
from nats import errors
from nats.aio.client import Client
from nats.embedded import Server
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer
from support.handlers import ignore
from support.waiting import EAGER, Events, within

pytestmark = pytest.mark.usefixtures("driver")


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says anything."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock.getsockname()[1]


@pytest.mark.parametrize(
    "spelling",
    [
        "nats://127.0.0.1:{port}",
        "nats://localhost:{port}",
        "127.0.0.1:{port}",
        "localhost:{port}",
        "nats://127.0.0.1:{port}/",
    ],
)
@pytest.mark.parametrize("as_list", [False, True])
async def test_spellings(server: Server, connect: Connect, spelling: str, as_list: bool) -> None:
    url = spelling.format(port=server.port)
    nc = await connect([url] if as_list else url)
    assert nc.is_connected
    assert nc.connected_url.port == server.port
    assert await nc.rtt() >= 0


async def test_user_info_in_the_url(connect: Connect) -> None:
    config = 'authorization { user: "joe", password: "s3cr3t" }'
    with Server(config=config) as server:
        nc = await connect(f"nats://joe:s3cr3t@127.0.0.1:{server.port}")
        assert nc.connected_url.username == "joe"
        await connect(f"joe:s3cr3t@127.0.0.1:{server.port}")
        await connect([f"joe:s3cr3t@127.0.0.1:{server.port}"])


async def test_token_in_the_url(connect: Connect) -> None:
    with Server(config='authorization { token: "t0k3n" }') as server:
        await connect(f"nats://t0k3n@127.0.0.1:{server.port}")
        await connect(f"t0k3n@127.0.0.1:{server.port}")


async def test_ipv6(connect: Connect) -> None:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    with Server(host="::1") as server:
        nc = await connect(f"nats://[::1]:{server.port}")
        assert await nc.rtt() >= 0


async def test_what_is_known_after_connecting(server: Server, connect: Connect) -> None:
    nc = await connect(name="somebody")
    assert (nc.is_connected, nc.is_connecting, nc.is_reconnecting, nc.is_closed) == (
        *(True, False, False, False),
    )
    assert nc.client_id > 0
    assert nc.client_ip == "127.0.0.1"
    assert nc.max_payload == 1024 * 1024
    assert nc.connected_server_version.major == 2
    assert [uri.port for uri in nc.servers] == [server.port]
    assert nc.last_error is None


@pytest.mark.parametrize("bad", ["", "nats://", "nats://host:port", "nats://host:99999999"])
async def test_bad_urls(bad: str) -> None:
    for servers in (bad, [bad]):
        with pytest.raises(errors.Error, match="connect url"):
            await within(nats.connect(servers, max_reconnect_attempts=1, **EAGER), 5)


@pytest.mark.parametrize("bad", [None, 7, ("nats://127.0.0.1",), b"nats://127.0.0.1"])
async def test_servers_of_the_wrong_type(bad: Any) -> None:
    with pytest.raises(errors.Error, match="invalid connect url option"):
        await within(nats.connect(bad), 5)


async def test_first_of_the_list_is_dead(
    server: Server, closed_port: int, connect: Connect
) -> None:
    events = Events()
    urls = [f"nats://127.0.0.1:{closed_port}", server.url]
    nc = await connect(urls, dont_randomize=True, **events.callbacks, **EAGER)
    assert nc.connected_url.port == server.port
    assert [type(error) for error in events.errors] == [ConnectionRefusedError]
    # Nothing was connected before, so nothing was disconnected or reconnected.
    assert events.names == []
    assert len(nc.servers) == 2


async def test_list_is_shuffled_unless_told_otherwise(closed_port: int) -> None:
    urls = [f"nats://127.0.0.1:{closed_port}/{n}" for n in range(12)]
    options: dict[str, Any] = {"max_reconnect_attempts": 1, "reconnect_time_wait": 0}

    async def order(**more: Any) -> list[str]:
        nc = Client()
        with pytest.raises(errors.NoServersError):
            await within(nc.connect(urls, error_cb=stop_after_one(nc), **options, **more))
        return seen.pop(id(nc))

    seen: dict[int, list[str]] = {}

    def stop_after_one(nc: Client) -> Any:
        async def error_cb(error: Exception) -> None:
            seen.setdefault(id(nc), [uri.path for uri in nc.servers])

        return error_cb

    # The server tried first has moved to the end.
    in_order = await order(dont_randomize=True)
    assert in_order == [f"/{n}" for n in (*range(1, 12), 0)]
    orders = [await order() for _ in range(3)]
    assert any(order != in_order for order in orders)


async def test_refused_until_the_attempts_are_used_up(closed_port: int) -> None:
    events = Events()
    nc: Any = Client()
    with pytest.raises(errors.NoServersError) as raised:
        await within(
            nc.connect(
                f"nats://127.0.0.1:{closed_port}",
                max_reconnect_attempts=2,
                reconnect_time_wait=0.02,
                **events.callbacks,
            )
        )
    assert str(raised.value).startswith("nats: no servers available for connection: 127.0.0.1:")
    assert nc.last_error is raised.value
    # The first one and two more: nats-py drops a server once it has failed oftener than allowed.
    assert [type(error) for error in events.errors] == [ConnectionRefusedError] * 3
    assert events.names == []
    assert not nc.is_connected


async def test_attempts_are_apart_in_time(closed_port: int) -> None:
    times: list[float] = []

    async def error_cb(error: Exception) -> None:
        times.append(time.monotonic())

    with pytest.raises(errors.NoServersError):
        await within(
            nats.connect(
                f"nats://127.0.0.1:{closed_port}",
                max_reconnect_attempts=2,
                reconnect_time_wait=0.2,
                error_cb=error_cb,
            )
        )
    assert all(later - earlier >= 0.19 for earlier, later in itertools.pairwise(times))


async def test_connect_timeout_when_the_server_says_nothing(silent_port: int) -> None:
    events = Events()
    start = time.monotonic()
    with pytest.raises(asyncio.TimeoutError):
        await within(
            nats.connect(
                f"nats://127.0.0.1:{silent_port}",
                connect_timeout=0.2,
                allow_reconnect=False,
                **events.callbacks,
            )
        )
    assert time.monotonic() - start > 0.15
    assert [type(error) for error in events.errors] == [asyncio.TimeoutError]


async def test_silent_server_then_a_real_one(
    silent_port: int, server: Server, connect: Connect
) -> None:
    urls = [f"nats://127.0.0.1:{silent_port}", server.url]
    nc = await within(
        connect(urls, connect_timeout=0.2, dont_randomize=True, reconnect_time_wait=0.05)
    )
    assert nc.connected_url.port == server.port


async def test_server_that_hangs_up_at_once() -> None:
    async def handler(client: FakeConnection) -> None:
        client.close()

    async with FakeServer(handler) as server:
        with pytest.raises(errors.Error, match="empty response from server when expecting INFO"):
            await within(nats.connect(server.url, allow_reconnect=False, **EAGER))


async def test_server_that_hangs_up_after_connect() -> None:
    async def handler(client: FakeConnection) -> None:
        await client.send_info()
        await client.expect(b"CONNECT")

    async with FakeServer(handler) as server:
        events = Events()
        with pytest.raises((errors.Error, OSError)):
            await within(
                nats.connect(server.url, max_reconnect_attempts=1, **events.callbacks, **EAGER)
            )
        assert len(server.connections) >= 2
        assert "closed" not in events.names


async def test_name_that_does_not_resolve() -> None:
    events = Events()
    with pytest.raises(errors.NoServersError):
        await within(
            nats.connect(
                "nats://no-such-host.invalid:4222",
                max_reconnect_attempts=1,
                **events.callbacks,
                **EAGER,
            ),
            20,
        )
    assert events.errors
    assert all(isinstance(error, OSError) for error in events.errors)


@pytest.mark.parametrize(
    "name",
    [
        *("error_cb", "disconnected_cb", "closed_cb", "discovered_server_cb"),
        *("reconnected_cb", "lame_duck_mode_cb"),
    ],
)
async def test_callbacks_have_to_be_coroutine_functions(name: str) -> None:
    for wrong in (lambda *args: None, 7):
        with pytest.raises(errors.InvalidCallbackTypeError, match="coroutine functions"):
            await within(nats.connect("nats://127.0.0.1:1", **{name: wrong}))


async def test_error_cb_that_raises_ends_connecting(closed_port: int) -> None:
    async def error_cb(error: Exception) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        await within(nats.connect(f"nats://127.0.0.1:{closed_port}", error_cb=error_cb))


async def test_mixed_schemes() -> None:
    for other in ("ws://127.0.0.1:1", "wss://127.0.0.1:1"):
        with pytest.raises(errors.Error, match="mixing of websocket and non websocket URLs"):
            await within(nats.connect(["nats://127.0.0.1:1", other]))


async def test_connecting_again_with_the_same_object(server: Server) -> None:
    nc = Client()
    await nc.connect(server.url)
    await nc.close()
    await within(nc.connect(server.url, **EAGER))
    assert nc.is_connected
    assert await nc.rtt() >= 0
    await nc.close()


async def test_connecting_while_connected(server: Server) -> None:
    """The former connection ends, with its keep-alive."""
    events = Events()
    nc = Client()
    for _ in range(3):
        await within(nc.connect(server.url, **events.callbacks, **EAGER))
        await nc.subscribe("a")
    coroutines = [repr(task.get_coro()) for task in asyncio.all_tasks()]
    assert len([each for each in coroutines if "_keep_alive" in each]) == 1
    sub = await nc.subscribe("a")
    await nc.publish("a", b"1")
    assert (await sub.next_msg(5)).data == b"1"
    assert (events.names, events.errors) == ([], [])
    await within(nc.close())


@pytest.mark.parametrize("attempts", [3, -1])
async def test_no_server_at_all(attempts: int) -> None:
    nc = Client()
    with pytest.raises(errors.NoServersError):
        await within(nc.connect([], max_reconnect_attempts=attempts))


async def test_connect_after_a_failure_with_the_same_object(
    server: Server, closed_port: int
) -> None:
    nc = Client()
    with pytest.raises(errors.NoServersError):
        await nc.connect(f"nats://127.0.0.1:{closed_port}", max_reconnect_attempts=1, **EAGER)
    await within(nc.connect(server.url, **EAGER))
    assert await nc.rtt() >= 0
    await nc.close()


async def test_async_with(server: Server) -> None:
    events = Events()
    async with await nats.connect(server.url, **events.callbacks) as nc:
        assert nc.is_connected
    assert nc.is_closed
    assert events.names == ["disconnected", "closed"]


async def test_failures_leave_nothing_behind(closed_port: int, silent_port: int) -> None:
    async def fail(url: str, **options: Any) -> None:
        options.update(error_cb=ignore)
        with pytest.raises((errors.Error, OSError, asyncio.TimeoutError)):
            await nats.connect(url, connect_timeout=0.02, reconnect_time_wait=0.001, **options)

    async def fail_all() -> None:
        await fail(f"nats://127.0.0.1:{closed_port}", max_reconnect_attempts=1)
        await fail(f"nats://127.0.0.1:{silent_port}", allow_reconnect=False)

    # The first failures start the I/O thread and fill caches.
    await fail_all()
    for _ in range(3):
        await asyncio.sleep(0)
    gc.collect()
    before = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
    for _ in range(10):
        await fail_all()
    gc.collect()
    for _ in range(100):
        after = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
        if after <= before:
            break
        await asyncio.sleep(0.02)
    assert after <= before
    assert sum(thread.name == "fastnats-io" for thread in threading.enumerate()) <= 1
