"""Stopping a service: requests that it has been given are answered first."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from nats import errors
from nats.micro import add_service
from nats.micro.request import Request
from nats.micro.service import Service, ServiceConfig
from support.connecting import Connect
from support.handlers import echo
from support.waiting import PATIENCE, Events, eventually, within

NAMED: dict[str, Any] = {"name": "service", "version": "1.0.0"}


class Gate:
    """A handler that waits until it is opened, then answers."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.waiting = 0
        self.cancelled = 0

    async def handler(self, request: Request) -> None:
        self.waiting += 1
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        await request.respond(request.data)


async def gated(connect: Connect, **options: Any) -> tuple[Any, Service, Gate]:
    nc = await connect(**options)
    service = await add_service(nc, **NAMED)
    gate = Gate()
    await service.add_endpoint(name="gate", handler=gate.handler)
    await nc.flush()
    return nc, service, gate


def asking(nc: Any, subject: str, data: bytes = b"") -> asyncio.Future[Any]:
    request: Coroutine[Any, Any, Any] = nc.request(subject, data, timeout=PATIENCE)
    return asyncio.ensure_future(request)


async def test_requests_in_flight_are_answered(connect: Connect) -> None:
    client = await connect()
    nc, service, gate = await gated(connect)
    requests = [asking(client, "gate", b"%d" % number) for number in range(50)]
    await eventually(lambda: gate.waiting == 1)
    await client.flush()
    stopping = asyncio.ensure_future(service.stop())
    await asyncio.sleep(0.05)
    await nc.flush()
    with pytest.raises(errors.NoRespondersError):
        await client.request("gate", b"late", timeout=PATIENCE)
    assert not stopping.done()
    assert not service.stopped.is_set()
    assert (await client.request("$SRV.PING", timeout=PATIENCE)).data, "still monitored"
    gate.open.set()
    await within(stopping)
    replies = await within(asyncio.gather(*requests))
    assert [int(reply.data) for reply in replies] == list(range(50))
    assert service.stopped.is_set()
    assert nc.is_connected
    assert len(nc._subs) == 0
    with pytest.raises(errors.NoRespondersError):
        await client.request("$SRV.PING", timeout=PATIENCE)
    assert service.info().endpoints == []


async def test_nothing_is_lost_between_two_instances(connect: Connect) -> None:
    """Requests go on while one of two instances stops."""
    client = await connect()
    services = []
    for _ in range(2):
        nc = await connect()
        service = await add_service(nc, **NAMED)
        await service.add_endpoint(name="echo", handler=echo)
        await nc.flush()
        services.append(service)
    requests = []
    for number in range(2000):
        requests.append(asking(client, "echo", b"%d" % number))
        if number % 50 == 0:
            await asyncio.sleep(0)
        if number == 1000:
            stopping = asyncio.ensure_future(services[0].stop())
    replies = await within(asyncio.gather(*requests))
    assert [int(reply.data) for reply in replies] == list(range(2000))
    await within(stopping)


async def test_endpoints_stop_side_by_side(connect: Connect) -> None:
    nc, service, gate = await gated(connect)
    other = Gate()
    await service.add_endpoint(name="other", handler=other.handler)
    first, second = asking(nc, "gate"), asking(nc, "other")
    await eventually(lambda: gate.waiting and other.waiting)
    stopping = asyncio.ensure_future(service.stop())
    await asyncio.sleep(0.05)
    for subject in ("gate", "other"):
        with pytest.raises(errors.NoRespondersError):
            await nc.request(subject, timeout=PATIENCE)
    other.open.set()
    await within(second)
    gate.open.set()
    await within(asyncio.gather(first, stopping))


async def test_stopping_twice(connect: Connect) -> None:
    nc, service, gate = await gated(connect)
    request = asking(nc, "gate")
    await eventually(lambda: gate.waiting)
    stops = [asyncio.ensure_future(service.stop()) for _ in range(3)]
    await asyncio.sleep(0.05)
    assert not any(stop.done() for stop in stops)
    gate.open.set()
    await within(asyncio.gather(request, *stops))
    await within(service.stop())
    assert service.stopped.is_set()


async def test_a_cancelled_stop_goes_on(connect: Connect) -> None:
    nc, service, gate = await gated(connect)
    request = asking(nc, "gate", b"x")
    await eventually(lambda: gate.waiting)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(service.stop(), 0.05)
    assert not request.done()
    gate.open.set()
    await within(service.stopped.wait())
    assert (await within(request)).data == b"x"


async def test_a_handler_that_takes_too_long_is_cancelled(connect: Connect) -> None:
    events = Events()
    nc, service, gate = await gated(connect, drain_timeout=0.1, **events.callbacks)
    request = asking(nc, "gate")
    await eventually(lambda: gate.waiting)
    await within(service.stop())
    assert service.stopped.is_set()
    assert [type(error) for error in events.errors] == [errors.DrainTimeoutError]
    await eventually(lambda: gate.cancelled == 1)
    assert all("_INBOX" in sub.subject for sub in nc._subs.values())
    gate.open.set()
    await nc.flush()
    assert not request.done()
    request.cancel()
    await within(service.stop())


async def test_a_context_manager_ends_without_an_error_as_well(connect: Connect) -> None:
    events = Events()
    nc = await connect(drain_timeout=0.1, **events.callbacks)
    gate = Gate()
    async with await add_service(nc, **NAMED) as service:
        await service.add_endpoint(name="gate", handler=gate.handler)
        request = asking(nc, "gate")
        await eventually(lambda: gate.waiting)
    assert service.stopped.is_set()
    await eventually(lambda: gate.cancelled == 1)
    assert nc.is_connected
    request.cancel()


async def test_a_handler_that_refuses_to_be_cancelled(connect: Connect) -> None:
    """It doesn't hold stop() any longer than the others."""
    events = Events()
    nc = await connect(drain_timeout=0.1, **events.callbacks)
    service = await add_service(nc, **NAMED)
    begun, leave = asyncio.Event(), asyncio.Event()

    async def stubborn(request: Request) -> None:
        begun.set()
        while not leave.is_set():
            try:
                await leave.wait()
            except asyncio.CancelledError:
                continue

    await service.add_endpoint(name="stubborn", handler=stubborn)
    request = asking(nc, "stubborn")
    try:
        await within(begun.wait())
        await within(service.stop())
        assert service.stopped.is_set()
    finally:
        leave.set()
        request.cancel()


async def test_the_client_closes_while_the_service_stops(connect: Connect) -> None:
    nc, service, gate = await gated(connect)
    request = asking(nc, "gate")
    await eventually(lambda: gate.waiting)
    stopping = asyncio.ensure_future(service.stop())
    await asyncio.sleep(0.05)
    await nc.close()
    await within(asyncio.wait((stopping,)))
    assert not stopping.cancelled()
    assert isinstance(stopping.exception(), (errors.ConnectionClosedError, type(None)))
    request.cancel()


@pytest.mark.parametrize("through", ["directly", "in a task"])
async def test_stop_in_a_handler(connect: Connect, through: str) -> None:
    nc = await connect()
    service = await add_service(nc, **NAMED)

    async def handler(request: Request) -> None:
        stop = service.stop()
        await (stop if through == "directly" else asyncio.ensure_future(stop))
        assert not service.stopped.is_set()
        await asyncio.sleep(0.02)
        await request.respond(b"stopping")

    await service.add_endpoint(name="stop", handler=handler)
    await service.add_endpoint(name="other", handler=echo)
    requests = [asking(nc, "stop") for _ in range(3)]
    assert (await within(requests[0])).data == b"stopping"
    await within(service.stopped.wait())
    replies = await within(asyncio.gather(*requests))
    assert [reply.data for reply in replies] == [b"stopping"] * 3
    assert [sub for sub in nc._subs.values() if "_INBOX" not in sub.subject] == []


async def test_stop_in_a_task_that_a_handler_left_behind_waits(connect: Connect) -> None:
    nc, service, gate = await gated(connect)
    tasks: list[asyncio.Task[None]] = []
    answered = asyncio.Event()

    async def stop_later() -> None:
        await answered.wait()
        await service.stop()

    async def handler(request: Request) -> None:
        tasks.append(asyncio.create_task(stop_later()))
        await request.respond()

    await service.add_endpoint(name="later", handler=handler)
    await nc.request("later", timeout=PATIENCE)
    request = asking(nc, "gate")
    await eventually(lambda: gate.waiting)
    answered.set()
    await asyncio.sleep(0.05)
    assert not tasks[0].done()
    gate.open.set()
    await within(asyncio.gather(tasks[0], request))
    assert service.stopped.is_set()


async def test_stop_in_a_handler_of_another_service_waits(connect: Connect) -> None:
    nc, service, gate = await gated(connect)
    control = await add_service(nc, name="control", version="1.0.0")

    async def handler(request: Request) -> None:
        await service.stop()
        await request.respond(b"stopped" if service.stopped.is_set() else b"running")

    await control.add_endpoint(name="stop", handler=handler)
    request = asking(nc, "gate")
    await eventually(lambda: gate.waiting)
    stop = asking(nc, "stop")
    await asyncio.sleep(0.05)
    assert not stop.done()
    gate.open.set()
    assert (await within(stop)).data == b"stopped"
    await within(request)
    assert not control.stopped.is_set()


async def test_context_manager(connect: Connect) -> None:
    nc = await connect()
    async with Service(nc, ServiceConfig(**NAMED)) as service:
        await service.add_endpoint(name="echo", handler=echo)
        assert (await nc.request("echo", b"x", timeout=PATIENCE)).data == b"x"
    assert service.stopped.is_set()
    service = await add_service(nc, **NAMED)

    async def failing() -> None:
        async with service:
            assert len(nc._subs) == 10, "started once, beside the inbox"
            raise KeyError

    with pytest.raises(KeyError):
        await failing()
    assert service.stopped.is_set()


async def test_start_twice_and_again_after_a_stop(connect: Connect) -> None:
    nc = await connect()
    service = await add_service(nc, **NAMED)
    await service.start()
    assert len(nc._subs) == 9
    for _ in range(2):
        await within(service.stop())
        assert len(nc._subs) == 0
        await service.start()
        assert not service.stopped.is_set()
        assert len(nc._subs) == 9


async def test_a_subscription_that_has_ended_already(connect: Connect) -> None:
    nc = await connect()
    service = await add_service(nc, **NAMED)
    await service.add_endpoint(name="echo", handler=echo)
    (sub,) = [sub for sub in nc._subs.values() if sub.subject == "echo"]
    await sub.unsubscribe()
    await within(service.stop())
    assert service.stopped.is_set()


async def test_stop_while_disconnected(server: Any, connect: Connect) -> None:
    events = Events()
    nc = await connect(reconnect_time_wait=0.05, max_reconnect_attempts=-1, **events.callbacks)
    service = await add_service(nc, **NAMED)
    await service.add_endpoint(name="echo", handler=echo)
    await server.ashutdown()
    await events.wait("disconnected")
    await within(service.stop())
    await server.astart()
    await events.wait("reconnected")
    with pytest.raises(errors.NoRespondersError):
        await nc.request("echo", timeout=PATIENCE)


async def test_stop_after_close(connect: Connect) -> None:
    nc = await connect()
    service = await add_service(nc, **NAMED)
    await service.add_endpoint(name="echo", handler=echo)
    await nc.close()
    for _ in range(2):
        with pytest.raises(errors.ConnectionClosedError):
            await service.stop()
    assert not service.stopped.is_set()


async def test_draining_the_client_answers_as_well(connect: Connect) -> None:
    client = await connect()
    nc, _, gate = await gated(connect)
    requests = [asking(client, "gate", b"%d" % number) for number in range(20)]
    await eventually(lambda: gate.waiting == 1)
    await client.flush()
    draining = asyncio.ensure_future(nc.drain())
    await asyncio.sleep(0.02)
    gate.open.set()
    replies = await within(asyncio.gather(*requests))
    assert [int(reply.data) for reply in replies] == list(range(20))
    await within(draining)
