"""What many connections, messages and failures leave behind in a process: nothing."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import nats
import psutil
import pytest
from nats import errors
from nats.embedded import Server
from support.connecting import Connect
from support.flooding import memory
from support.waiting import eventually, within

pytestmark = [pytest.mark.usefixtures("driver"), pytest.mark.timeout(400)]

MEGABYTE = 1024 * 1024
# What allocators may keep; 20 bytes lost per message would be more.
MAX_GROWTH = 5 * MEGABYTE

PROCESS = psutil.Process()


def descriptors() -> int:
    """The open ones; without those of clients that are garbage, see the last test for them."""
    gc.collect()
    return int(PROCESS.num_fds())


def threads_in_use() -> int:
    """But for those of the loop's executor, which keeps as many as it once had use for."""
    kept = sum(thread.name.startswith("asyncio_") for thread in threading.enumerate())
    return int(PROCESS.num_threads()) - kept


async def assert_nothing_is_left(fds: int, threads: int) -> None:
    """Sockets and threads end a little after what used them."""
    await eventually(lambda: descriptors() <= fds, "descriptors are closed")
    # The I/O runtime's helper threads end after ten seconds without work.
    await eventually(lambda: threads_in_use() <= threads, "threads have ended", 15)


async def connect_and_close(server: Server, count: int) -> None:
    for _ in range(count):
        nc = await within(nats.connect(server.url))
        sub = await nc.subscribe("data")
        await nc.publish("data", b"x")
        assert (await sub.next_msg(5)).data == b"x"
        await within(nc.close())


async def test_connecting_and_closing(server: Server) -> None:
    await connect_and_close(server, 30)
    fds, threads, rss = descriptors(), threads_in_use(), memory()
    await connect_and_close(server, 100)
    await assert_nothing_is_left(fds, threads)
    assert memory() - rss < MAX_GROWTH


async def fail(url: str, error: type[Exception], count: int, **options: Any) -> None:
    async def error_cb(error: Exception) -> None:
        pass

    for _ in range(count):
        with pytest.raises(error):
            await within(nats.connect(url, error_cb=error_cb, **options))


async def test_refused_connections(closed_port: int) -> None:
    url = f"nats://127.0.0.1:{closed_port}"
    options: Any = {"max_reconnect_attempts": 1, "reconnect_time_wait": 0}
    await fail(url, errors.NoServersError, 50, **options)
    fds, threads, rss = descriptors(), threads_in_use(), memory()
    await fail(url, errors.NoServersError, 200, **options)
    await assert_nothing_is_left(fds, threads)
    assert memory() - rss < MAX_GROWTH


async def test_connections_without_permission() -> None:
    with Server(config="authorization { token: secret }") as server:
        await fail(server.url, errors.Error, 50, allow_reconnect=False)
        fds, threads, rss = descriptors(), threads_in_use(), memory()
        await fail(server.url, errors.Error, 200, allow_reconnect=False)
        await assert_nothing_is_left(fds, threads)
        assert memory() - rss < MAX_GROWTH


async def test_connecting_to_what_never_answers() -> None:
    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read()
        finally:
            writer.close()

    silent = await asyncio.start_server(swallow, "127.0.0.1", 0)
    url = f"nats://127.0.0.1:{silent.sockets[0].getsockname()[1]}"
    options: Any = {"connect_timeout": 0.02, "allow_reconnect": False}
    try:
        await fail(url, asyncio.TimeoutError, 20, **options)
        await asyncio.sleep(0.1)
        fds, threads, rss = descriptors(), threads_in_use(), memory()
        await fail(url, asyncio.TimeoutError, 60, **options)
        await assert_nothing_is_left(fds, threads)
        assert memory() - rss < MAX_GROWTH
    finally:
        silent.close()
        await within(silent.wait_closed())


async def test_messages(server: Server, connect: Connect) -> None:
    nc = await connect()
    received = 0

    async def handler(msg: Any) -> None:
        nonlocal received
        received += len(msg.data) == 100 and msg.subject == "data"

    async def exchange(count: int) -> None:
        nonlocal received
        received = 0
        # In portions that are handled one after the other: what waits would count as growth.
        for sent in range(2000, count + 1, 2000):
            for _ in range(2000):
                await nc.publish("data", bytes(100))
            await eventually(lambda sent=sent: received == sent, "the portion is handled", 60)

    await nc.subscribe("data", cb=handler)
    await exchange(100_000)
    fds, threads, rss = descriptors(), threads_in_use(), memory()
    await exchange(300_000)
    assert memory() - rss < MAX_GROWTH
    await assert_nothing_is_left(fds, threads)


async def test_requests(server: Server, connect: Connect) -> None:
    nc = await connect()

    async def handler(msg: Any) -> None:
        await msg.respond(msg.data)

    async def ask(count: int) -> None:
        for start in range(0, count, 50):
            wanted = [b"%d" % number for number in range(start, start + 50)]
            replies = await asyncio.gather(
                *(nc.request("service", payload, timeout=5) for payload in wanted)
            )
            assert [reply.data for reply in replies] == wanted

    async def ask_nobody(count: int) -> None:
        for _ in range(count):
            with pytest.raises(errors.NoRespondersError):
                await nc.request("nobody", b"", timeout=5)

    await nc.subscribe("service", cb=handler)
    await ask(10_000)
    await ask_nobody(200)
    fds, threads, rss = descriptors(), threads_in_use(), memory()
    await ask(20_000)
    await ask_nobody(1000)
    assert memory() - rss < MAX_GROWTH
    assert nc._core.census()[0] == 0
    await assert_nothing_is_left(fds, threads)


async def test_descriptors_are_closed_with_the_client(server: Server, closed_port: int) -> None:
    url = f"nats://127.0.0.1:{closed_port}"
    options: Any = {"max_reconnect_attempts": 1, "reconnect_time_wait": 0}
    await connect_and_close(server, 5)
    await fail(url, errors.NoServersError, 5, **options)
    before = descriptors()
    # A program with many objects, or without collection, mustn't run out of descriptors.
    gc.disable()
    try:
        await connect_and_close(server, 30)
        await eventually(lambda: PROCESS.num_fds() <= before, "after close()", 5)
        await fail(url, errors.NoServersError, 30, **options)
        await eventually(lambda: PROCESS.num_fds() <= before, "after a failed connect()", 5)
    finally:
        gc.enable()


@pytest.mark.parametrize("first", ["data", "headers"])
async def test_kept_messages_leave_their_read_buffers(
    server: Server, connect: Connect, first: str
) -> None:
    nc = await connect()
    sub = await nc.subscribe("data")
    kept: list[Any] = []

    async def keep(count: int) -> None:
        """Keep one of many, from a read buffer each."""
        for _ in range(count):
            for _ in range(200):
                await nc.publish("data", bytes(400), reply="answers", headers={"Name": "value"})
            await nc.flush()
            msgs = [await sub.next_msg(5) for _ in range(200)]
            getattr(msgs[0], first)
            assert (msgs[0].data, msgs[0].headers) == (bytes(400), {"Name": "value"})
            assert (msgs[0].subject, msgs[0].reply) == ("data", "answers")
            kept.append(msgs[0])

    await keep(20)
    rss = memory()
    await keep(200)
    assert memory() - rss < MAX_GROWTH


async def test_large_headers_are_not_kept(connect: Connect) -> None:
    with Server(config="max_payload: 64MB") as server:
        nc = await connect(server)
        rss = memory()
        await nc.publish("data", b"", headers={"Name": "x" * 40 * MEGABYTE})
        await nc.flush()
        # The buffer that has been written goes with the next write.
        await nc.flush()
        assert memory() - rss < MAX_GROWTH
