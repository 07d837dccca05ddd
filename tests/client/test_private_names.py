"""Names with an underscore that published packages use, as those packages use them."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any
from unittest import mock

import pytest
from nats import errors
from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.embedded import Server
from nats.js.client import JetStreamContext
from nats.micro import add_service
from nats.micro.request import Request
from support.connecting import Connect
from support.handlers import ignore
from support.proxy import Proxy
from support.waiting import EAGER, Events, eventually, within

pytestmark = pytest.mark.usefixtures("driver")


async def test_taking_messages_from_the_queue_by_hand(server: Server, connect: Connect) -> None:
    nc = await connect()
    sub: Any = await nc.subscribe("x")
    for data in (b"a", b"bc", b"def"):
        await nc.publish("x", data)
    await nc.flush()
    queue = sub._pending_queue
    assert isinstance(queue, asyncio.Queue)
    assert (queue.qsize(), sub._pending_size) == (3, 6)
    for size in (5, 3):
        msg = await within(queue.get())
        queue.task_done()
        # nats-py has that done by whoever takes the message; here it is done already.
        sub._pending_size -= len(msg.data)
        assert sub._pending_size == sub.pending_bytes == size
    assert queue.get_nowait().data == b"def"
    assert sub._pending_size == 0
    with pytest.raises(asyncio.QueueEmpty):
        queue.get_nowait()
    with pytest.raises(errors.Error, match="come from the server"):
        queue.put_nowait(msg)
    await within(queue.join())


async def test_subscriptions_of_a_client_that_is_not_connected() -> None:
    nc = Client()
    sub: Any = Subscription(nc, id=1, subject="x", queue="q", max_msgs=3, pending_msgs_limit=7)
    assert (sub.subject, sub.queue, sub._id) == ("x", "q", 1)
    assert (sub._max_msgs, sub._pending_msgs_limit) == (3, 7)
    assert (sub.pending_msgs, sub.pending_bytes, sub.delivered) == (0, 0, 0)
    assert sub._pending_queue.empty()
    sub._pending_size -= 0
    for name in ("next_msg", "unsubscribe", "drain"):
        with pytest.raises(AssertionError):
            await getattr(Subscription(nc, id=1, subject="x"), name)()
    js = JetStreamContext(nc)
    pull = JetStreamContext.PullSubscription(js, sub, "stream", "consumer", b"inbox")
    assert pull._sub is sub
    assert pull.pending_msgs == 0
    for attempt in (pull.fetch, pull.unsubscribe):
        with pytest.raises(AssertionError):
            await attempt()


def test_subscriptions_without_a_loop() -> None:
    sub: Any = Subscription(Client(), id=1, subject="x")
    assert isinstance(sub._pending_queue, asyncio.Queue)


async def test_what_stands_in_for_the_machinery(server: Server, connect: Connect) -> None:
    nc = Client()
    assert (nc._transport, nc._flush_queue, nc._flusher_task) == (None, None, None)
    assert (nc._pending, nc._pongs) == ([], [])
    assert nc._parse_server_uri("host").geturl() == "nats://host:4222"

    nc = await connect()
    await nc.publish("x", b"data")
    assert nc._pending == []
    transport: Any = nc._transport
    assert transport
    assert not transport.at_eof()
    assert not transport.is_closing()
    assert nc._flush_queue is not None
    assert (nc._flush_queue.empty(), nc._flush_queue.qsize(), nc._flush_queue.full()) == (
        True,
        0,
        False,
    )
    assert not nc._flusher_task.done()
    await nc.close()
    assert nc._transport is None
    assert transport.at_eof()


class Watchful(Client):
    """A client that counts its reconnects, as a subclass written for nats-py does it."""

    attempts = 0

    async def _attempt_reconnect(self) -> None:
        self.attempts += 1
        await super()._attempt_reconnect()


@pytest.mark.parametrize("reason", ["lost", "asked for"])
async def test_overriding_how_to_reconnect(server: Server, reason: str) -> None:
    events = Events()
    nc = Watchful()
    async with Proxy(server.url) as proxy:
        await nc.connect(proxy.url, **events.callbacks, **EAGER)
        try:
            if reason == "lost":
                proxy.cut()
            else:
                await nc.force_reconnect()
            await events.wait("reconnected")
            assert nc.attempts == 1
        finally:
            await nc.close()


async def test_reconnecting_by_hand(server: Server, connect: Connect) -> None:
    events = Events()
    nc = await connect(**events.callbacks, **EAGER)
    sub = await nc.subscribe("x")
    first = nc.client_id
    await within(nc._attempt_reconnect())
    assert events.names == ["disconnected", "reconnected"]
    assert nc.client_id != first
    await nc.publish("x", b"again")
    assert (await sub.next_msg(5)).data == b"again"


async def test_counters_of_an_endpoint(server: Server, connect: Connect) -> None:
    """As a service counts that answers in tasks of its own."""
    nc = await connect()
    service = await add_service(nc, name="service", version="1.0.0")

    async def handler(request: Request) -> None:
        await request.respond(b"")

    await service.add_endpoint(name="e", handler=handler)
    endpoint: Any = service._endpoints[0]
    await nc.request("e", b"", timeout=5)
    await eventually(lambda: endpoint._average_processing_time > 0)
    assert (endpoint._num_requests, endpoint._num_errors, endpoint._last_error) == (1, 0, None)
    before = endpoint._processing_time
    endpoint._num_requests += 1
    endpoint._num_errors += 1
    endpoint._processing_time += 1000
    endpoint._average_processing_time = endpoint._processing_time // 2
    endpoint._last_error = "ValueError()"
    stats = service.stats().endpoints[0]
    assert (stats.num_requests, stats.num_errors, stats.last_error) == (2, 1, "ValueError()")
    assert (stats.processing_time, stats.average_processing_time) == (
        before + 1000,
        (before + 1000) // 2,
    )


async def test_failing_a_connection_by_hand(server: Server, connect: Connect) -> None:
    """As programs do that were written before there was `force_reconnect`."""
    events = Events()
    nc = await connect(**events.callbacks, **EAGER)
    await nc._process_op_err(errors.StaleConnectionError())
    await events.wait("reconnected")
    await nc._close(Client.CLOSED, do_cbs=False)
    assert nc.is_closed
    assert events.count("closed") == 0


async def test_patching_for_a_while(server: Server, connect: Connect) -> None:
    nc = await connect()
    before = nc._error_cb
    with mock.patch.object(nc, "_error_cb", ignore):
        assert nc._error_cb is ignore
    assert nc._error_cb is before


async def test_a_subclass_that_sets_names_first(server: Server) -> None:
    class Early(Client):
        def __init__(self) -> None:
            self._loop = asyncio.get_running_loop()
            self._error_cb = ignore
            super().__init__()
            # Names that are nobody's but the subclass's.
            self._session = self._requests = None

    nc = Early()
    await nc.connect(server.url)
    await within(nc.flush())
    await nc.close()


async def test_options_that_are_replaced(server: Server, connect: Connect) -> None:
    events = Events()
    nc = await connect(**events.callbacks, **EAGER)
    nc.options = {**nc.options, "allow_reconnect": False}
    await nc.force_reconnect()
    assert not nc.is_reconnecting
    assert nc._flush_timeout is None
    nc.options = {**nc.options, "allow_reconnect": True, "tls": ssl.create_default_context()}
    await nc.force_reconnect()
    await eventually(lambda: isinstance(nc.last_error, errors.SecureConnWantedError))
    assert not nc.is_connected
