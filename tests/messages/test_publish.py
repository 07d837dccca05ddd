"""Publishing: what may be published, in which order it arrives, and what limits it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from nats import errors
from nats.embedded import Server
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer
from support.proxy import Proxy
from support.waiting import Events

pytestmark = pytest.mark.usefixtures("driver")

TIMEOUT = 30.0


async def wait_until_stuck(progress: list[int]) -> int:
    """Wait until ``progress[0]`` has stood still for a while, and return it."""
    same = 0
    for _ in range(500):
        before = progress[0]
        await asyncio.sleep(0.05)
        # More than once: on a busy machine the threads that move the bytes may pause as well.
        same = same + 1 if progress[0] == before else 0
        if same == 5:
            return before
    raise AssertionError("publishing never stopped")


@pytest.mark.parametrize(
    ("payload", "received"),
    [
        (b"bytes", b"bytes"),
        (bytearray(b"array"), b"array"),
        (memoryview(b"a view")[2:], b"view"),
        (memoryview(b"abcdef")[::2], b"ace"),
        (b"", b""),
        (bytearray(), b""),
        (b"\r\nPUB x 1\r\n\0\xff", b"\r\nPUB x 1\r\n\0\xff"),
    ],
    ids=["bytes", "bytearray", "memoryview", "strided", "empty", "empty-array", "protocol"],
)
async def test_payload_types(connect: Connect, payload: Any, received: bytes) -> None:
    nc = await connect()
    sub = await nc.subscribe("data")
    await nc.publish("data", payload)
    msg = await sub.next_msg(TIMEOUT)
    assert msg.data == received
    assert type(msg.data) is bytes
    assert (msg.subject, msg.reply, msg.headers) == ("data", "", None)


async def test_a_payload_that_is_no_bytes_sends_nothing(connect: Connect) -> None:
    nc = await connect()
    sub = await nc.subscribe("data")
    payloads: list[Any] = ["text", None, 5, [1, 2], {}]
    for payload in payloads:
        with pytest.raises(TypeError):
            await nc.publish("data", payload)
    await nc.publish("data", b"good")
    assert (await sub.next_msg(TIMEOUT)).data == b"good"
    assert nc.stats["out_msgs"] == 1


async def test_the_payload_may_be_changed_after_publish(connect: Connect) -> None:
    nc = await connect()
    sub = await nc.subscribe("data")
    payload = bytearray(b"before")
    await nc.publish("data", payload)
    payload[:] = b"after!"
    assert (await sub.next_msg(TIMEOUT)).data == b"before"


async def test_max_payload_is_the_servers(connect: Connect) -> None:
    with Server(config="max_payload: 1000") as server:
        nc = await connect(server)
        sub = await nc.subscribe("data")
        assert nc.max_payload == 1000
        with pytest.raises(errors.MaxPayloadError):
            await nc.publish("data", bytes(1001))
        await nc.publish("data", bytes(1000))
        assert len((await sub.next_msg(TIMEOUT)).data) == 1000
        assert nc.is_connected


@pytest.mark.parametrize("subject", ["", None, "a b", "a\tb", "a\r", "a\nPUB b 0\r\n", " a"])
async def test_bad_subjects_and_replies(connect: Connect, subject: Any) -> None:
    nc = await connect()
    with pytest.raises(errors.BadSubjectError):
        await nc.publish(subject, b"")
    if subject:
        with pytest.raises(errors.BadSubjectError):
            await nc.publish("good", b"", reply=subject)
    assert nc.stats["out_msgs"] == 0
    assert nc.pending_data_size == 0


async def test_tokens_are_left_to_the_server(connect: Connect) -> None:
    nc = await connect()
    sub = await nc.subscribe(">")
    for subject in ("a", "a.b-c_d", "é.ü", "$x"):
        await nc.publish(subject, b"")
        assert (await sub.next_msg(TIMEOUT)).subject == subject


async def test_the_reply_subject_arrives(connect: Connect) -> None:
    nc = await connect()
    sub = await nc.subscribe("data")
    await nc.publish("data", b"x", reply="answer.here")
    await nc.publish("data", b"x", reply="")
    assert (await sub.next_msg(TIMEOUT)).reply == "answer.here"
    assert (await sub.next_msg(TIMEOUT)).reply == ""


async def test_what_goes_over_the_wire() -> None:
    import nats

    seen: list[tuple[str, bytes, bytes]] = []
    lines: list[bytes] = []

    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        for _ in range(4):
            seen.append(await client.expect_publish())
        lines.extend(client.lines[-4:])
        await client.serve()

    async with FakeServer(handler) as server:
        nc = await nats.connect(server.url)
        await nc.publish("a", b"xyz")
        await nc.publish("a", b"", reply="r")
        await nc.publish("a", b"1", headers={"K": "v"})
        await nc.publish("a", b"", reply="r", headers={"K": "v"})
        await nc.flush()
        await nc.close()
    assert [line.split() for line in lines] == [
        [b"PUB", b"a", b"3"],
        [b"PUB", b"a", b"r", b"0"],
        [b"HPUB", b"a", b"18", b"19"],
        [b"HPUB", b"a", b"r", b"18", b"18"],
    ]
    block = b"NATS/1.0\r\nK: v\r\n\r\n"
    assert seen == [("a", b"", b"xyz"), ("a", b"", b""), ("a", block, b"1"), ("a", block, b"")]


async def test_order_of_many_messages_from_several_tasks(connect: Connect) -> None:
    nc, receiver = await connect(), await connect()
    sub = await receiver.subscribe("data.*")
    await receiver.flush()

    async def publish(task: int) -> None:
        for number in range(2500):
            await nc.publish(f"data.{task}", b"%d" % number)

    await asyncio.gather(*(publish(task) for task in range(4)))
    await nc.flush()
    received: dict[str, list[int]] = {}
    for _ in range(10_000):
        msg = await sub.next_msg(TIMEOUT)
        received.setdefault(msg.subject, []).append(int(msg.data))
    assert received == {f"data.{task}": list(range(2500)) for task in range(4)}


async def test_flush_means_that_the_server_has_everything(connect: Connect) -> None:
    nc, receiver = await connect(), await connect()
    sub = await receiver.subscribe("data")
    await receiver.flush()
    for size in (0, 1, 100, 5000, 40_000, 1_000_000) * 3:
        await nc.publish("data", bytes(size))
    await nc.flush()
    # The server has put them into the receiver's stream before it answered the first flush.
    await receiver.flush()
    assert sub.pending_msgs == 18
    assert sub.pending_bytes == 3 * 1_045_101
    assert nc.pending_data_size == 0
    assert nc.stats["out_msgs"] == receiver.stats["in_msgs"] == 18
    assert nc.stats["out_bytes"] == receiver.stats["in_bytes"] == 3 * 1_045_101


async def test_publishes_leave_without_flush(connect: Connect) -> None:
    nc, receiver = await connect(), await connect()
    sub = await receiver.subscribe("data")
    await receiver.flush()
    await nc.publish("data", b"x")
    assert (await sub.next_msg(TIMEOUT)).data == b"x"


async def test_pending_data_size_counts_what_is_unwritten(connect: Connect) -> None:
    nc = await connect()
    assert nc.pending_data_size == 0
    await nc.publish("data", b"12345")
    # Nothing is written before the turn of the loop ends.
    assert nc.pending_data_size >= len("PUB data 5\r\n12345\r\n")
    await nc.flush()
    assert nc.pending_data_size == 0


async def test_publishing_waits_while_the_server_takes_nothing(
    server: Server, connect: Connect
) -> None:
    size = 64 * 1024
    async with Proxy(server.url) as proxy:
        receiver = await connect(server)
        sub = await receiver.subscribe("data")
        await receiver.flush()
        nc = await connect(proxy.url, pending_size=4 * size)
        await nc.flush()
        proxy.stall()
        progress, largest = [0], 0

        async def publish() -> None:
            nonlocal largest
            for number in range(400):
                await nc.publish("data", number.to_bytes(4, "big") + bytes(size - 4))
                progress[0] += 1
                largest = max(largest, nc.pending_data_size)

        publisher = asyncio.ensure_future(publish())
        published = await wait_until_stuck(progress)
        # The sockets between here and the proxy have taken some; the rest has to wait.
        assert published < 400
        assert not publisher.done()
        assert nc.pending_data_size <= 5 * size + 1000
        proxy.resume()
        await asyncio.wait_for(publisher, 20)
        assert largest <= 5 * size + 1000
        numbers = []
        for _ in range(400):
            numbers.append(int.from_bytes((await sub.next_msg(TIMEOUT)).data[:4], "big"))
        assert numbers == list(range(400))


async def test_several_waiting_publishers_all_go_on(server: Server, connect: Connect) -> None:
    size = 128 * 1024
    async with Proxy(server.url) as proxy:
        receiver = await connect(server)
        sub = await receiver.subscribe("data")
        await receiver.flush()
        nc = await connect(proxy.url, pending_size=size)
        proxy.stall()
        progress = [0]

        async def publish() -> None:
            for _ in range(30):
                await nc.publish("data", bytes(size))
                progress[0] += 1

        publishers = asyncio.gather(*(publish() for _ in range(5)))
        assert await wait_until_stuck(progress) < 150
        proxy.resume()
        await asyncio.wait_for(publishers, 20)
        await nc.flush()
        await receiver.flush()
        assert sub.pending_msgs == 150


async def test_a_cancelled_publisher_does_not_hold_up_the_others(
    server: Server, connect: Connect
) -> None:
    size = 256 * 1024
    async with Proxy(server.url) as proxy:
        nc = await connect(proxy.url, pending_size=size)
        proxy.stall()
        progress = [0]

        async def publish() -> None:
            while True:
                await nc.publish("data", bytes(size))
                progress[0] += 1

        first, second = asyncio.ensure_future(publish()), asyncio.ensure_future(publish())
        stuck_at = await wait_until_stuck(progress)
        first.cancel()
        await asyncio.wait([first], timeout=TIMEOUT)
        assert first.cancelled()
        proxy.resume()
        for _ in range(1000):
            if progress[0] > stuck_at:
                break
            await asyncio.sleep(0.005)
        assert progress[0] > stuck_at
        second.cancel()
        await asyncio.wait([second], timeout=TIMEOUT)


async def test_flush_timeout_is_reported_and_nothing_is_lost(
    server: Server, connect: Connect
) -> None:
    reported: list[Exception] = []
    told = asyncio.Event()

    async def error_cb(error: Exception) -> None:
        reported.append(error)
        told.set()

    size = 128 * 1024
    async with Proxy(server.url) as proxy:
        receiver = await connect(server)
        sub = await receiver.subscribe("data")
        await receiver.flush()
        nc = await connect(proxy.url, pending_size=size, flush_timeout=0.05, error_cb=error_cb)
        proxy.stall()
        count = 0

        async def publish_until_told() -> None:
            nonlocal count
            while not told.is_set():
                await nc.publish("data", bytes(size))
                count += 1

        await asyncio.wait_for(publish_until_told(), 20)
        assert [type(error) for error in reported] == [errors.FlushTimeoutError]
        assert nc.is_connected
        proxy.resume()
        await nc.flush()
        await receiver.flush()
        assert sub.pending_msgs == count


async def test_flush_raises_when_no_pong_comes(server: Server, connect: Connect) -> None:
    async with Proxy(server.url) as proxy:
        nc = await connect(proxy.url)
        proxy.stall()
        with pytest.raises(errors.FlushTimeoutError):
            await nc.flush(timeout=0.05)
        with pytest.raises(errors.TimeoutError):
            await nc.rtt(timeout=0.05)
        proxy.resume()
        # The late PONGs belong to those who gave up; the next ones find their own.
        await nc.flush()
        # uvloop's clock counts milliseconds, so that zero is possible.
        assert 0 <= await nc.rtt() < TIMEOUT


@pytest.mark.parametrize("timeout", [0, -1, 0.0])
async def test_flush_and_rtt_want_a_positive_timeout(connect: Connect, timeout: float) -> None:
    nc = await connect()
    with pytest.raises(errors.BadTimeoutError):
        await nc.flush(timeout)
    with pytest.raises(errors.BadTimeoutError):
        await nc.rtt(timeout)


async def test_an_interrupted_publish_does_not_stop_the_next_ones(
    server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal handler may raise in the middle of anything that runs Python code."""
    loop = asyncio.get_running_loop()
    call_soon = loop.call_soon
    interrupted = False

    def interrupting(*args: Any, **kwargs: Any) -> Any:
        nonlocal interrupted
        if interrupted:
            interrupted = False
            raise InterruptedError
        return call_soon(*args, **kwargs)

    monkeypatch.setattr(loop, "call_soon", interrupting)
    nc, other = await connect(), await connect()
    sub = await other.subscribe("data")
    await other.flush()
    interrupted = True
    with pytest.raises(InterruptedError):
        await nc.publish("data", b"0")
    # The server's first PING would have one round of output written, but not three.
    for number in range(1, 4):
        await nc.publish("data", b"%d" % number)
        while (await sub.next_msg(5)).data != b"%d" % number:
            pass


async def test_headers_count_for_the_largest_payload(connect: Connect) -> None:
    headers = {"Key": "value"}
    # As the server counts them: the line in front and the empty one behind included.
    overhead = len(b"NATS/1.0\r\nKey: value\r\n\r\n")
    with Server(jetstream=True, config="max_payload: 1024") as server:
        events = Events()
        nc = await connect(server, **events.callbacks)
        js = nc.jetstream()
        await js.add_stream(name="S", subjects=["s"])
        kv = await js.create_key_value(bucket="B")
        sub = await nc.subscribe("a")
        largest, too_large = bytes(1024 - overhead), bytes(1024 - overhead + 1)
        attempts: tuple[Callable[[], Awaitable[Any]], ...] = (
            lambda: nc.publish("a", too_large, headers=headers),
            lambda: nc.request("a", too_large, headers=headers),
            lambda: js.publish("s", too_large, headers=headers),
            lambda: js.publish_async("s", too_large, headers=headers),
            # With a header that tells the expected revision.
            lambda: kv.update("key", bytes(1024 - 10), 0),
        )
        for attempt in attempts:
            with pytest.raises(errors.MaxPayloadError):
                await attempt()
        await nc.publish("a", largest, headers=headers)
        msg = await sub.next_msg(TIMEOUT)
        assert (msg.data, msg.headers) == (largest, headers)
        await js.publish("s", largest, headers=headers)
        assert (await js.stream_info("S")).state.messages == 1
        await nc.flush()
        assert (events.names, events.errors) == ([], [])
