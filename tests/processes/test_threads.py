"""Publishing from threads that don't run the client's loop."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from nats import errors
from nats.aio._link.asyncio import WireProtocol
from nats.embedded import Server
from support.carriers import CARRIERS, carrier
from support.connecting import Connect
from support.proxy import Proxy
from support.waiting import PATIENCE, eventually, within

pytestmark = pytest.mark.usefixtures("driver")


async def test_threads_publish_in_order(server: Server, connect: Connect) -> None:
    nc = await connect()
    threads, each = 4, 1000
    received: dict[int, list[int]] = {place: [] for place in range(threads + 1)}

    async def handler(msg: Any) -> None:
        place, number = map(int, msg.data.split())
        received[place].append(number)

    async def publish(place: int) -> None:
        for number in range(each):
            await nc.publish("data", b"%d %d" % (place, number), headers={"Place": str(place)})

    await nc.subscribe("data", cb=handler)
    await nc.flush()
    await within(
        asyncio.gather(
            *(asyncio.to_thread(asyncio.run, publish(place)) for place in range(threads)),
            publish(threads),
        ),
        30,
    )
    await eventually(
        lambda: sum(map(len, received.values())) == (threads + 1) * each, "all messages arrive"
    )
    assert received == {place: list(range(each)) for place in range(threads + 1)}
    assert nc.stats["out_msgs"] == (threads + 1) * each
    assert nc.is_connected


class Watched:
    """A transport that notes the threads in which something is written to it."""

    def __init__(self, transport: Any, threads: set[int]) -> None:
        self._transport = transport
        self._threads = threads

    def write(self, data: Any) -> None:
        self._threads.add(threading.get_ident())
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


@pytest.fixture
def writers(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Threads in which clients write to transports of an event loop."""
    threads: set[int] = set()
    begin = WireProtocol.connection_made

    def connection_made(self: WireProtocol, transport: Any) -> None:
        begin(self, Watched(transport, threads))  # type: ignore[arg-type]

    monkeypatch.setattr(WireProtocol, "connection_made", connection_made)
    return threads


@pytest.mark.parametrize("way", CARRIERS)
async def test_large_payloads_of_threads_stay_whole(
    connect: Connect, tmp_path: Path, writers: set[int], driver: str, way: str
) -> None:
    size, each = 300_000, 30
    received: list[int] = []
    torn: list[bytes] = []

    async def handler(msg: Any) -> None:
        letter = msg.data[:1]
        if msg.data == letter * size:
            received.append(letter[0])
        else:
            torn.append(msg.data)

    # Through the loop that publishes, too: the transport always has something left to write.
    async with carrier(way, tmp_path) as (_, url, options), Proxy(url) as proxy:
        listener = await connect(url, **options)
        await listener.subscribe("data", cb=handler)
        await within(listener.flush())
        # Threads don't wait for room.
        slow = url.replace(f":{proxy.target[1]}", f":{proxy.port}")
        nc = await connect(slow, **options, pending_size=1 << 30)

        async def publish(letter: bytes) -> None:
            for _ in range(each):
                await nc.publish("data", letter * size)

        async def publish_beside() -> None:
            for _ in range(each):
                await nc.publish("data", b"c" * size)
                await asyncio.sleep(0.001)

        await within(
            asyncio.gather(
                asyncio.to_thread(asyncio.run, publish(b"a")),
                asyncio.to_thread(asyncio.run, publish(b"b")),
                publish_beside(),
            ),
            30,
        )
        await eventually(
            lambda: torn or len(received) == 3 * each or nc.stats["reconnects"],
            "all messages arrive",
            seconds=30,
        )
        assert torn == []
        # A transport belongs to its loop, even where a race shows on few machines.
        by_rust = way == "tcp" and driver == "tokio"
        assert writers == (set() if by_rust else {threading.get_ident()})
        assert sorted(received) == sorted(b"abc" * each)
        assert nc.stats["reconnects"] == 0
        await nc.close()
        await listener.close()


async def test_a_message_of_a_thread_leaves_at_once(server: Server, connect: Connect) -> None:
    nc = await connect()
    sub = await nc.subscribe("data")
    await nc.flush()

    def publish() -> None:
        # Long after the loop has gone to sleep; nothing but the message wakes it.
        time.sleep(0.3)
        asyncio.run(nc.publish("data", b"%f" % time.monotonic()))
        left.set()
        over.wait(PATIENCE)

    left, over = threading.Event(), threading.Event()
    thread = threading.Thread(target=publish)
    thread.start()
    try:
        msg = await sub.next_msg(5)
        assert time.monotonic() - float(msg.data) < 4
        assert left.wait(PATIENCE)
    finally:
        over.set()
        thread.join(PATIENCE)


async def test_a_thread_is_refused_above_the_pending_limit(
    server: Server, connect: Connect
) -> None:
    nc = await connect(pending_size=1000)
    sub = await nc.subscribe("data")
    await nc.flush()

    def publish(size: int) -> None:
        asyncio.run(nc.publish("data", bytes(size)))

    with pytest.raises(errors.OutboundBufferLimitError):
        await asyncio.to_thread(publish, 2000)
    assert nc.stats["out_msgs"] == 0
    await asyncio.to_thread(publish, 500)
    assert len((await sub.next_msg(5)).data) == 500
    # The loop's own thread waits instead.
    await within(nc.publish("data", bytes(2000)))
    assert len((await sub.next_msg(5)).data) == 2000


async def test_errors_of_publish_in_a_thread(server: Server, connect: Connect) -> None:
    nc = await connect()

    def publish(subject: str, size: int = 0) -> None:
        asyncio.run(nc.publish(subject, bytes(size)))

    with pytest.raises(errors.BadSubjectError):
        await asyncio.to_thread(publish, "a b")
    with pytest.raises(errors.MaxPayloadError):
        await asyncio.to_thread(publish, "data", nc.max_payload + 1)
    await nc.close()
    with pytest.raises(errors.ConnectionClosedError):
        await asyncio.to_thread(publish, "data")
