"""Pull requests: what the server says about each of them, and what becomes of lost ones."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from nats import errors
from nats.embedded import Server
from nats.js import JetStreamContext, api
from nats.js import errors as js_errors
from support.connecting import Connect
from support.streams import Timer, begin, fill, limited_consumer, numbers, waiting
from support.waiting import EAGER, Events, eventually, within

pytestmark = pytest.mark.usefixtures("driver")

# Far beyond what anything here takes: a fetch that stalls is seen.
LONG = 60.0


# Statuses of other requests


@pytest.mark.parametrize("batch", [1, 5])
async def test_the_end_of_an_earlier_request(
    js_server: Server, connect: Connect, batch: int
) -> None:
    nc, js = await begin(connect)
    sub = await js.pull_subscribe("s.a", "d")
    cancelled = asyncio.ensure_future(sub.fetch(batch, timeout=0.5))
    await waiting(sub, 1)
    cancelled.cancel()
    await asyncio.wait([cancelled])
    fetching = asyncio.ensure_future(sub.fetch(batch, timeout=LONG))
    await eventually(lambda: sub.delivered == 1, "the 408 of the cancelled one has come")
    await waiting(sub, 1)
    await fill(js, 1)
    assert numbers(await within(fetching)) == [0]
    assert sub.pending_msgs == 0
    assert nc._core.census()[1] == 0


@pytest.mark.parametrize("batch", [2, 10])
async def test_fetches_that_end_just_before(
    js_server: Server, connect: Connect, batch: int
) -> None:
    """Answers to one fetch come while the next one waits."""
    _, js = await begin(connect)
    # On a busy machine the first would be delivered again before the last.
    config = api.ConsumerConfig(ack_wait=3600)
    sub = await js.pull_subscribe("s.a", "d", config=config)
    for number in range(60):
        with pytest.raises(errors.TimeoutError):
            await sub.fetch(batch, timeout=0.01 + number % 20 * 0.0005)
        fetching = asyncio.ensure_future(sub.fetch(batch, timeout=LONG))
        await fill(js, 1, number)
        assert numbers(await within(fetching)) == [number]


async def test_each_fetch_hears_of_its_own_request(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect)
    await limited_consumer(nc, "d", max_batch=3)
    sub = await js.pull_subscribe_bind("d", "S")
    fine = asyncio.ensure_future(sub.fetch(3, timeout=LONG))
    await waiting(sub, 1)
    with pytest.raises(js_errors.APIError, match="Exceeded MaxRequestBatch of 3"):
        await within(sub.fetch(4, timeout=LONG))
    assert not fine.done()
    await fill(js, 3)
    assert len(await within(fine)) > 0


async def test_an_inbox_that_requests_share(js_server: Server, connect: Connect) -> None:
    """A subscription made by hand, without room for a reply subject per request."""
    nc, js = await begin(connect, 2)
    await js.add_consumer("S", durable_name="d", ack_policy="explicit")
    inbox = nc.new_inbox()
    sub = JetStreamContext.PullSubscription(
        js=js, sub=await nc.subscribe(inbox), stream="S", consumer="d", deliver=inbox.encode()
    )
    assert numbers(await sub.fetch(5, timeout=LONG)) == [0, 1]
    with pytest.raises(errors.TimeoutError):
        await sub.fetch(1, timeout=0.1)
    await js.delete_consumer("S", "d")
    with pytest.raises(js_errors.ServiceUnavailableError):
        await within(sub.fetch(1, timeout=LONG))


# Refusals


@pytest.mark.parametrize(
    ("limits", "call", "text"),
    [
        ({"max_batch": 3}, {"batch": 5}, "Exceeded MaxRequestBatch of 3"),
        ({"max_expires": 10**9}, {"batch": 5}, "Exceeded MaxRequestExpires of 1s"),
        ({"max_expires": 10**9}, {"batch": 1}, "Exceeded MaxRequestExpires of 1s"),
        ({"deliver_subject": "to"}, {"batch": 1}, "Consumer is push based"),
        ({"deliver_subject": "to"}, {"batch": 5}, "Consumer is push based"),
    ],
)
async def test_refused_for_good(
    js_server: Server, connect: Connect, limits: Any, call: Any, text: str
) -> None:
    nc, js = await begin(connect, 5)
    await limited_consumer(nc, "d", **limits)
    sub = await js.pull_subscribe_bind("d", "S")
    with Timer() as timer, pytest.raises(js_errors.APIError) as caught:
        await within(sub.fetch(timeout=LONG, **call), LONG)
    assert timer.seconds < LONG / 4
    assert (caught.value.code, caught.value.description) == (409, text)
    assert nc.is_connected
    assert nc._core.census()[1] == 0


@pytest.mark.parametrize("batch", [1, 5])
async def test_heartbeat_too_long(js_server: Server, connect: Connect, batch: int) -> None:
    _, js = await begin(connect)
    sub = await js.pull_subscribe("s.a", "d")
    with pytest.raises(js_errors.APIError, match="heartbeat value too large") as caught:
        await within(sub.fetch(batch, timeout=LONG, heartbeat=LONG))
    assert caught.value.code == 400
    # Where the fetch has chosen how long its request waits, it fits in.
    await fill(js, batch)
    assert len(await within(sub.fetch(batch, timeout=None, heartbeat=LONG))) == batch


async def test_messages_come_before_the_refusal(js_server: Server, connect: Connect) -> None:
    _, js = await begin(connect)
    sub = await js.pull_subscribe("s.a", "d")
    fetching = asyncio.ensure_future(sub.fetch(5, timeout=None))
    await waiting(sub, 1)
    await fill(js, 2)
    await eventually(lambda: sub.delivered >= 2)
    await js.delete_consumer("S", "d")
    assert numbers(await within(fetching)) == [0, 1]
    with pytest.raises(js_errors.ServiceUnavailableError):
        await within(sub.fetch(5, timeout=None))


@pytest.mark.parametrize("batch", [1, 5])
async def test_no_timeout_where_the_server_limits_it(
    js_server: Server, connect: Connect, batch: int
) -> None:
    nc, js = await begin(connect)
    await limited_consumer(nc, "d", max_expires=10**9)
    sub = await js.pull_subscribe_bind("d", "S")
    fetching = asyncio.ensure_future(sub.fetch(batch, timeout=None))
    await waiting(sub, 1)
    await fill(js, batch)
    assert numbers(await within(fetching)) == list(range(batch))


# Lost requests


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("timeout", [LONG, None])
@pytest.mark.parametrize("how", ["killed", "shut down"])
async def test_server_restarts(
    js_server: Server, connect: Connect, batch: int, timeout: float | None, how: str
) -> None:
    events = Events()
    nc, js = await begin(connect, 0, "file", max_reconnect_attempts=-1, **events.callbacks, **EAGER)
    sub = await js.pull_subscribe("s.a", "d")
    fetching = asyncio.ensure_future(sub.fetch(batch, timeout=timeout))
    await waiting(sub, 1)
    await (js_server.akill() if how == "killed" else js_server.ashutdown())
    await events.wait("disconnected")
    await js_server.astart()
    await events.wait("reconnected")
    await waiting(sub, 1)
    await fill(js, batch)
    msgs = await within(fetching)
    assert numbers(msgs)[:1] == [0]
    if timeout is None:
        assert len(msgs) == batch
    assert nc._core.census()[1] == 0


@pytest.mark.parametrize("heartbeat", [0.3, None])
async def test_too_many_requests_for_a_while(
    js_server: Server, connect: Connect, heartbeat: float | None
) -> None:
    """With heartbeats the server doesn't say so, there just are none."""
    nc, js = await begin(connect)
    config = api.ConsumerConfig(max_waiting=1)
    sub = await js.pull_subscribe("s.a", "d", config=config)
    other = await js.pull_subscribe_bind("d", "S")
    asked = await nc.subscribe("$JS.API.CONSUMER.MSG.NEXT.S.d")
    waits = asyncio.ensure_future(other.fetch(1, timeout=LONG))
    await waiting(sub, 1)
    # Beyond ten seconds there are always heartbeats.
    fetching = asyncio.ensure_future(sub.fetch(1, timeout=9, heartbeat=heartbeat))
    for _ in range(2):
        await asked.next_msg(timeout=10)
    await fill(js, 1)
    assert numbers(await within(waits)) == [0]
    await waiting(sub, 1)
    await fill(js, 1, 1)
    assert numbers(await within(fetching)) == [1]


@pytest.mark.parametrize("batch", [1, 5])
async def test_consumer_made_anew_while_reconnecting(
    js_server: Server, connect: Connect, batch: int
) -> None:
    """A consumer that nobody serves just after a reconnect may only not be there yet."""
    events = Events()
    nc, js = await begin(connect, 0, "file", max_reconnect_attempts=-1, **events.callbacks, **EAGER)
    config = api.ConsumerConfig(mem_storage=True)
    sub = await js.pull_subscribe("s.a", "d", config=config)
    fetching = asyncio.ensure_future(sub.fetch(batch, timeout=LONG))
    await waiting(sub, 1)
    await js_server.akill()
    await js_server.astart()
    await events.wait("reconnected")
    for name in await consumers(js):
        await js.delete_consumer("S", name)
    await asyncio.sleep(0.1)
    assert not fetching.done()
    await js.add_consumer("S", durable_name="d", ack_policy="explicit")
    await waiting(sub, 1)
    await fill(js, 1)
    assert numbers(await within(fetching)) == [0]
    assert nc.is_connected


async def consumers(js: Any) -> list[str]:
    return [info.name for info in await js.consumers_info("S")]


# Cancelled and ended


async def test_a_cancelled_fetch_leaves_its_messages(js_server: Server, connect: Connect) -> None:
    _, js = await begin(connect)
    sub = await js.pull_subscribe("s.a", "d")
    fetching = asyncio.ensure_future(sub.fetch(5, timeout=None))
    await waiting(sub, 1)
    await fill(js, 2)
    await eventually(lambda: sub.delivered >= 3, "404 and two messages")
    fetching.cancel()
    await asyncio.wait([fetching])
    assert (sub.pending_msgs, sub.pending_bytes) == (2, 2)
    assert numbers(await sub.fetch(1, timeout=LONG)) == [0]
    assert numbers(await within(sub.fetch(5, timeout=LONG))) == [1]
    assert (sub.pending_msgs, sub.pending_bytes) == (0, 0)


async def test_the_next_one_has_what_a_cancelled_one_had(
    js_server: Server, connect: Connect
) -> None:
    _, js = await begin(connect)
    sub = await js.pull_subscribe("s.a", "d")
    first = asyncio.ensure_future(sub.fetch(5, timeout=None))
    await waiting(sub, 1)
    second = asyncio.ensure_future(sub.fetch(1, timeout=LONG))
    await waiting(sub, 2)
    await js.publish("s.a", b"0")
    await eventually(lambda: sub.delivered >= 2, "404 and a message")
    assert not second.done()
    first.cancel()
    assert numbers(await within(second)) == [0]


@pytest.mark.parametrize("timeout", [LONG, None])
async def test_the_client_drains(
    js_server: Server, connect: Connect, timeout: float | None
) -> None:
    nc, js = await begin(connect)
    sub = await js.pull_subscribe("s.a", "d")
    fetching = asyncio.ensure_future(sub.fetch(5, timeout=timeout))
    await waiting(sub, 1)
    await within(nc.drain())
    with pytest.raises(errors.ConnectionClosedError):
        await within(fetching)


async def test_nothing_is_left_behind(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect)
    sub = await js.pull_subscribe("s.a", "d")
    before = nc._core.census()
    for timeout in (0.00001, 0.001, 0.05):
        for batch in (1, 5):
            with pytest.raises(errors.TimeoutError):
                await within(sub.fetch(batch, timeout=timeout, heartbeat=1e-12))
    await waiting(sub, 0)
    assert nc._core.census() == before


# What is asked for


async def test_times_are_exact(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect, 3)
    sub = await js.pull_subscribe("s.a", "d")
    seen = await nc.subscribe("$JS.API.CONSUMER.MSG.NEXT.S.d")
    await nc.flush()
    for batch, timeout, heartbeat in ((1, 4.1, 1.001), (2, 8.2, None)):
        await sub.fetch(batch, timeout=timeout, heartbeat=heartbeat)
        request = json.loads((await seen.next_msg(timeout=5)).data)
        assert request["expires"] == round(timeout * 1000) * 1_000_000 - 100_000
        if heartbeat:
            assert request["idle_heartbeat"] == 1_001_000_000


async def test_each_request_has_its_reply_subject(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect, 2)
    sub = await js.pull_subscribe("s.a", "d")
    seen = await nc.subscribe("$JS.API.CONSUMER.MSG.NEXT.S.d")
    for _ in range(2):
        await sub.fetch(1)
    replies = [(await seen.next_msg(timeout=5)).reply for _ in range(2)]
    assert len({*replies, sub._deliver}) == 3
    assert {reply.rpartition(".")[0] for reply in replies} == {sub._deliver.rpartition(".")[0]}
    await eventually(lambda: _is_idle(sub))


async def _is_idle(sub: Any) -> bool:
    return bool((await sub.consumer_info()).num_waiting == 0)
