"""Publishing to streams without waiting: the window, the fate of every future, lost connections."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from nats import errors
from nats.embedded import Server
from nats.js import api
from nats.js import errors as js_errors
from support.connecting import Connect
from support.proxy import Proxy
from support.waiting import EAGER, Events, eventually, within

pytestmark = pytest.mark.usefixtures("driver")


async def begin(connect: Connect, limit: int = 4000, **options: Any) -> tuple[Any, Any]:
    """A client that has published already, and its context, with a stream of `s.>`."""
    nc = await connect(**options)
    js = nc.jetstream(publish_async_max_pending=limit)
    await js.add_stream(name="S", subjects=["s.>"], storage="file")
    assert (await js.publish("s.first", b"first")).seq == 1
    return nc, js


async def send(js: Any, count: int, payload: bytes = b"x") -> list[asyncio.Future[Any]]:
    return [await js.publish_async("s.a", payload) for _ in range(count)]


async def outcomes(futures: list[asyncio.Future[Any]]) -> list[Any]:
    """The acknowledgements or errors of futures that all have to be done in time."""
    results: list[Any] = await within(asyncio.gather(*futures, return_exceptions=True), 20)
    return results


def assert_nothing_waits(nc: Any, js: Any) -> None:
    assert js.publish_async_pending() == 0
    assert nc._core.census()[:2] == (0, 0)


# Futures


async def test_acknowledgements(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect)
    futures = await send(js, 2000)
    assert all(isinstance(future, asyncio.Future) for future in futures)
    assert js.publish_async_pending() > 0
    await within(js.publish_async_completed())
    assert all(future.done() for future in futures)
    assert [future.result().seq for future in futures] == list(range(2, 2002))
    assert isinstance(futures[0].result(), api.PubAck)
    assert_nothing_waits(nc, js)
    await within(js.publish_async_completed())


async def test_the_first_of_a_client(js_server: Server, connect: Connect) -> None:
    await begin(connect)
    nc = await connect()
    js = nc.jetstream()
    futures = await asyncio.gather(*(js.publish_async("s.a", b"x") for _ in range(10)))
    assert sorted(ack.seq for ack in await outcomes(list(futures))) == list(range(2, 12))
    assert_nothing_waits(nc, js)


async def test_every_failure_reaches_its_own_future(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect)
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("s.a", {}),
        ("none", {}),
        ("s.a", {"stream": "T"}),
        ("s.a", {"headers": {"Nats-Expected-Last-Sequence": "1000000"}}),
        ("s.a", {"msg_ttl": 5}),
        ("s.a", {"headers": {"Nats-Msg-Id": "same"}}),
    ]
    futures = []
    for _ in range(20):
        futures += [await js.publish_async(subject, b"x", **how) for subject, how in kinds]
    results = await outcomes(futures)
    for start in range(0, len(results), len(kinds)):
        right, none, stream, last, ttl, duplicate = results[start : start + len(kinds)]
        assert right.stream == "S"
        assert isinstance(none, js_errors.NoStreamResponseError)
        for error, code in ((stream, 10060), (last, 10071), (ttl, 10166)):
            assert isinstance(error, js_errors.BadRequestError)
            assert error.err_code == code
        assert duplicate.duplicate == (True if start else None)
    assert len({id(error) for error in results}) == len(results), "an error of its own for each"
    assert_nothing_waits(nc, js)


async def test_refused_at_once(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect, limit=1)
    for _ in range(3):
        for subject, payload, error in (
            ("", b"", errors.BadSubjectError),
            ("s. a", b"", errors.BadSubjectError),
            ("s.a", bytes(nc.max_payload + 1), errors.MaxPayloadError),
            ("s.a", "text", TypeError),
        ):
            with pytest.raises(error):
                await js.publish_async(subject, payload)
            assert_nothing_waits(nc, js)
    ack = await within(await js.publish_async("s.a", b"x", wait_stall=1))
    assert ack.seq == 2


async def test_refused_with_a_slot_that_was_waited_for(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect, limit=1)
    for _ in range(3):
        first = await js.publish_async("s.a", b"x")
        with pytest.raises(errors.MaxPayloadError):
            await within(js.publish_async("s.a", bytes(nc.max_payload + 1)))
        assert first.done()
    assert_nothing_waits(nc, js)
    await within(await js.publish_async("s.a", b"x", wait_stall=1))


async def test_futures_nobody_looks_at(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect)
    for _ in range(3):
        for _ in range(300):
            await js.publish_async("s.a", b"x")
        await within(js.publish_async_completed())
    assert (await js.stream_info("S")).state.messages == 901
    assert_nothing_waits(nc, js)


# The window


async def test_limit(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect, limit=5)
    js_server.pause()
    futures = await send(js, 5)
    start = time.monotonic()
    for stall in (0.1, 0):
        with pytest.raises(js_errors.TooManyStalledMsgsError):
            await within(js.publish_async("s.a", b"y", wait_stall=stall))
    assert time.monotonic() - start > 0.09
    assert js.publish_async_pending() == 5
    # Other contexts have windows of their own.
    other = nc.jetstream(publish_async_max_pending=1)
    futures.append(await other.publish_async("s.a", b"z", wait_stall=0))
    assert (js.publish_async_pending(), other.publish_async_pending()) == (5, 1)
    js_server.resume()
    assert [ack.seq for ack in await outcomes(futures)] == list(range(2, 8))
    assert (await within(await js.publish_async("s.a", b"y", wait_stall=0))).seq == 8
    assert_nothing_waits(nc, js)


async def test_the_limit_holds_all_the_time(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect, limit=7)
    highest = 0
    futures = []

    async def publish() -> None:
        nonlocal highest
        for _ in range(50):
            futures.append(await js.publish_async("s.a", b"x"))
            highest = max(highest, js.publish_async_pending())

    await within(asyncio.gather(*(publish() for _ in range(10))), 20)
    acks = await outcomes(futures)
    assert sorted(ack.seq for ack in acks) == list(range(2, 502))
    assert highest == 7
    assert_nothing_waits(nc, js)


async def test_waiting_publishers_go_in_order(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect, limit=3)
    js_server.pause()
    futures = await send(js, 3)
    tasks = []
    for number in range(30):
        tasks.append(asyncio.ensure_future(js.publish_async("s.b", b"%d" % number)))
        await asyncio.sleep(0)
    # One that gives up doesn't hold up those behind it.
    tasks[3].cancel()
    await asyncio.wait([tasks[3]], timeout=1)
    assert tasks[3].cancelled()
    del tasks[3]
    js_server.resume()
    futures = await within(asyncio.gather(*tasks))
    acks = await outcomes(list(futures))
    assert [ack.seq for ack in acks] == list(range(5, 34))
    assert (await js.get_msg("S", 5)).data == b"0"
    assert (await js.get_msg("S", 8)).data == b"4"
    assert_nothing_waits(nc, js)


async def test_cancelled_while_stalled(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect, limit=1)
    for turns in range(8):
        first = await js.publish_async("s.a", b"x")
        task = asyncio.ensure_future(js.publish_async("s.a", b"y"))
        await asyncio.sleep(0)
        # Cancelled at different distances from the acknowledgement that frees the slot.
        await asyncio.wait([first], timeout=5)
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=2)
        assert task.done()
        if not task.cancelled() and task.exception() is None:
            await outcomes([task.result()])
        # Whatever it was, the slot is free again.
        await within(js.publish_async_completed())
        await outcomes([await within(js.publish_async("s.a", b"z", wait_stall=2))])
        assert_nothing_waits(nc, js)


async def test_timed_out_while_the_slot_is_handed_over(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect, limit=1)
    stalled = 0
    for attempt in range(200):
        futures = [await js.publish_async("s.a", b"x")]
        try:
            futures.append(await js.publish_async("s.a", b"y", wait_stall=attempt * 1e-5))
        except js_errors.TooManyStalledMsgsError:
            stalled += 1
        await outcomes(futures)
    assert stalled
    assert_nothing_waits(nc, js)
    await outcomes([await js.publish_async("s.a", b"z", wait_stall=0)])


async def test_cancelling_a_future_frees_its_slot(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect, limit=2)
    js_server.pause()
    first, second = await send(js, 2)
    waiting = asyncio.ensure_future(js.publish_async("s.a", b"waited"))
    await asyncio.sleep(0)
    assert first.cancel() is True
    assert first.cancel() is False
    third = await within(waiting)
    assert js.publish_async_pending() == 2
    assert nc._core.census()[0] == 2
    for future in (second, third):
        future.cancel()
    await within(js.publish_async_completed())
    assert_nothing_waits(nc, js)
    js_server.resume()
    await nc.flush()
    # The messages themselves were on their way; their acknowledgements disturb nobody.
    assert (await within(await js.publish_async("s.a", b"x", wait_stall=0))).seq == 5
    assert second.cancelled()


async def test_cancelled_while_awaiting_the_future(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect)
    js_server.pause()

    async def publish() -> Any:
        return await (await js.publish_async("s.a", b"x"))

    tasks = [asyncio.ensure_future(publish()) for _ in range(20)]
    await eventually(lambda: js.publish_async_pending() == 20)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=2)
    assert all(task.cancelled() for task in tasks)
    assert_nothing_waits(nc, js)
    js_server.resume()


async def test_completed_waits_for_all(js_server: Server, connect: Connect) -> None:
    _, js = await begin(connect)
    js_server.pause()
    futures = await send(js, 3)
    waiting = [asyncio.ensure_future(js.publish_async_completed()) for _ in range(3)]
    waiting[0].cancel()
    done, _ = await asyncio.wait(waiting[1:], timeout=0.05)
    assert not done
    futures[0].cancel()
    await asyncio.sleep(0.01)
    assert not waiting[1].done()
    js_server.resume()
    await within(asyncio.gather(*waiting[1:]))
    assert [future.done() for future in futures] == [True] * 3


# Lost connections


def count(results: list[Any], kind: type) -> int:
    return sum(isinstance(result, kind) for result in results)


async def test_killed_server(js_server: Server, connect: Connect) -> None:
    events = Events()
    nc, js = await begin(connect, max_reconnect_attempts=-1, **events.callbacks, **EAGER)
    js_server.pause()
    written = await send(js, 300)
    # A turn for the driver to write; the PING's place behind them says that it has.
    with pytest.raises(errors.TimeoutError):
        await nc.flush(0.1)
    await js_server.akill()
    await events.wait("disconnected")
    results = await outcomes(written)
    assert count(results, errors.ConnectionReconnectingError) == 300
    assert_nothing_waits(nc, js)

    buffered = await send(js, 200, b"buffered")
    assert js.publish_async_pending() == 200
    await asyncio.sleep(0)
    assert not any(future.done() for future in buffered)
    await js_server.astart()
    acks = await outcomes(buffered)
    assert count(acks, api.PubAck) == 200, set(map(repr, acks))
    sequences = [ack.seq for ack in acks]
    assert sequences == list(range(sequences[0], sequences[0] + 200))
    state = (await js.stream_info("S")).state
    assert state.last_seq == sequences[-1]
    assert (await js.get_msg("S", sequences[0])).data == b"buffered"
    assert_nothing_waits(nc, js)


async def test_killed_again_and_again_under_load(js_server: Server, connect: Connect) -> None:
    events = Events()
    nc, js = await begin(connect, 500, max_reconnect_attempts=-1, **events.callbacks, **EAGER)
    futures: list[asyncio.Future[Any]] = []
    stop = asyncio.Event()

    async def publish() -> None:
        while not stop.is_set():
            futures.append(await js.publish_async("s.a", b"%d" % len(futures)))
            await asyncio.sleep(0)

    publishing = asyncio.ensure_future(publish())
    for round in range(2):
        done = len(futures)
        await eventually(lambda done=done: len(futures) > done + 300)
        await js_server.akill()
        await events.wait("disconnected", round + 1)
        await js_server.astart()
        await events.wait("reconnected", round + 1)
    done = len(futures)
    await eventually(lambda: len(futures) > done + 300)
    stop.set()
    await within(publishing)
    results = await outcomes(futures)
    assert_nothing_waits(nc, js)
    known = (api.PubAck, errors.ConnectionReconnectingError, js_errors.NoStreamResponseError)
    assert all(isinstance(result, known) for result in results), set(map(type, results))
    # What was acknowledged since the last start is in the stream, in its place.
    last = len(results) - 1
    assert isinstance(results[last], api.PubAck)
    assert (await js.get_msg("S", results[last].seq)).data == b"%d" % last


async def test_cut_connection(js_server: Server, connect: Connect) -> None:
    """The server goes on: what fails may have been stored, what is stored was sent once."""
    events = Events()
    async with Proxy(js_server.url) as proxy:
        nc = await connect(proxy, max_reconnect_attempts=-1, **events.callbacks, **EAGER)
        js = nc.jetstream(publish_async_max_pending=10_000)
        await js.add_stream(name="S", subjects=["s.>"], storage="memory")
        futures = [await js.publish_async("s.a", b"%d" % number) for number in range(100)]
        await within(js.publish_async_completed())
        proxy.stall()
        futures += [await js.publish_async("s.a", b"%d" % n) for n in range(100, 5000)]
        await asyncio.sleep(0.01)
        proxy.cut()
        proxy.resume()
        await events.wait("disconnected")
        futures += [await js.publish_async("s.a", b"%d" % n) for n in range(5000, 5100)]
        results = await outcomes(futures)
        await events.wait("reconnected")
        assert count(results[:100], api.PubAck) == 100
        assert count(results[5000:], api.PubAck) == 100
        assert count(results, api.PubAck) + count(
            results, errors.ConnectionReconnectingError
        ) == len(results)
        sub = await js.subscribe("s.a", ordered_consumer=True)
        stored = [int((await sub.next_msg(5)).data) for _ in range(sub.pending_msgs or 1)]
        while stored[-1] != 5099:
            stored.append(int((await sub.next_msg(5)).data))
        assert stored == sorted(set(stored)), "nothing twice, all in order"
        acknowledged = {n for n, result in enumerate(results) if isinstance(result, api.PubAck)}
        assert acknowledged <= set(stored)
        assert_nothing_waits(nc, js)
        await nc.close()


async def test_stalled_while_the_connection_is_lost(js_server: Server, connect: Connect) -> None:
    events = Events()
    nc, js = await begin(connect, 3, max_reconnect_attempts=-1, **events.callbacks, **EAGER)
    js_server.pause()
    written = await send(js, 3)
    with pytest.raises(errors.TimeoutError):
        await nc.flush(0.1)
    waiting = [asyncio.ensure_future(js.publish_async("s.a", b"later")) for _ in range(3)]
    await asyncio.sleep(0)
    await js_server.akill()
    results = await outcomes(written)
    assert count(results, errors.ConnectionReconnectingError) == 3
    futures = list(await within(asyncio.gather(*waiting)))
    await js_server.astart()
    assert count(await outcomes(futures), api.PubAck) == 3
    assert_nothing_waits(nc, js)


@pytest.mark.parametrize("how", ["close", "drain"])
async def test_closed_with_pending(js_server: Server, connect: Connect, how: str) -> None:
    nc, js = await begin(connect, limit=100)
    if how == "close":
        js_server.pause()
    futures = await send(js, 100)
    waiting = [asyncio.ensure_future(js.publish_async("s.a", b"late")) for _ in range(3)]
    completed = asyncio.ensure_future(js.publish_async_completed())
    await asyncio.sleep(0)
    await within(getattr(nc, how)())
    js_server.resume()
    results = await outcomes(futures)
    if how == "close":
        assert count(results, errors.ConnectionClosedError) == 100
    else:
        # Draining doesn't wait for what the stream still has to say.
        acks = count(results, api.PubAck)
        assert acks + count(results, errors.ConnectionClosedError) == 100
        assert [ack.seq for ack in results[:acks]] == list(range(2, 2 + acks))
    await within(completed)
    for result in await within(asyncio.gather(*waiting, return_exceptions=True)):
        if isinstance(result, asyncio.Future):
            await outcomes([result])
        else:
            closed = (errors.ConnectionClosedError, errors.ConnectionDrainingError)
            assert isinstance(result, closed)
    with pytest.raises(errors.ConnectionClosedError):
        await js.publish_async("s.a", b"x")
    assert_nothing_waits(nc, js)


async def test_closed_while_reconnecting(js_server: Server, connect: Connect) -> None:
    events = Events()
    nc, js = await begin(connect, max_reconnect_attempts=-1, **events.callbacks, **EAGER)
    await js_server.akill()
    await events.wait("disconnected")
    buffered = await send(js, 50)
    await within(nc.close())
    assert count(await outcomes(buffered), errors.ConnectionClosedError) == 50
    assert_nothing_waits(nc, js)


async def test_a_context_used_on_with_another_connection(
    js_server: Server, connect: Connect
) -> None:
    nc, _ = await begin(connect)
    js = nc.jetstream(timeout=0.5)
    lost = await js.publish_async("s.a", b"x")
    await within(nc.close())
    await outcomes([lost])
    await nc.connect(js_server.url, **EAGER)
    # Somebody listens who doesn't answer.
    await nc.subscribe("silent")
    assert (await within(await js.publish_async("s.a", b"x"))).seq >= 2
    futures = [await js.publish_async("silent", b"x") for _ in range(3)]
    assert [type(each) for each in await outcomes(futures)] == [errors.TimeoutError] * 3
    assert_nothing_waits(nc, js)
