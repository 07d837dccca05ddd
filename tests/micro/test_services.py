"""Services: endpoints and groups, their subjects and queue groups, replies and errors (ADR-32)."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest
from nats import errors
from nats.aio.client import Client
from nats.embedded import Server
from nats.micro import add_service
from nats.micro.request import ERROR_CODE_HEADER, ERROR_HEADER, Request, ServiceError
from nats.micro.service import EndpointConfig, Group, GroupConfig, Service, ServiceConfig
from support.connecting import Connect
from support.handlers import echo
from support.waiting import PATIENCE, Events, eventually, within

NAMED: dict[str, Any] = {"name": "service", "version": "1.0.0"}


async def ask(nc: Any, subject: str, data: bytes = b"", **options: Any) -> Any:
    return await nc.request(subject, data, timeout=PATIENCE, **options)


def where(service: Service) -> list[tuple[str, str, str]]:
    return [(each.name, each.subject, each.queue_group) for each in service.info().endpoints]


async def test_requests_are_answered(connect: Connect) -> None:
    nc = await connect()
    service = await add_service(nc, **NAMED)
    await service.add_endpoint(name="echo", handler=echo)
    for number in range(10):
        reply = await ask(nc, "echo", b"%d" % number)
        assert (reply.data, reply.headers) == (b"%d" % number, None)


async def test_a_service_from_a_config_and_keywords(connect: Connect) -> None:
    nc = await connect()
    config = ServiceConfig(name="a", version="1.0.0", description="first")
    service = await add_service(nc, config, description="second", metadata={"k": "v"})
    info = service.info()
    assert (info.name, info.version, info.description) == ("a", "1.0.0", "second")
    assert info.metadata == {"k": "v"}
    assert config.description == "first", "the config itself is left alone"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({}, TypeError),
        ({"name": "a"}, TypeError),
        ({"name": "a b", "version": "1.0.0"}, ValueError),
        ({"name": "a", "version": "1"}, ValueError),
    ],
)
async def test_a_service_that_cannot_be(
    connect: Connect, options: Any, error: type[Exception]
) -> None:
    nc = await connect()
    with pytest.raises(error):
        await add_service(nc, **options)
    assert len(nc._subs) == 0


async def test_an_endpoint_from_a_config_and_keywords(connect: Connect) -> None:
    nc = await connect()
    service: Any = await add_service(nc, **NAMED)
    config = EndpointConfig(name="echo", handler=echo, subject="first", metadata={"k": "v"})
    await service.add_endpoint(config)
    await service.add_endpoint(config, subject="second")
    assert where(service) == [("echo", "first", "q"), ("echo", "second", "q")]
    assert [each.metadata for each in service.info().endpoints] == [{"k": "v"}] * 2
    assert (await ask(nc, "second", b"x")).data == b"x"
    with pytest.raises(TypeError):
        await service.add_endpoint(name="no handler")
    with pytest.raises(ValueError, match="Invalid subject"):
        await service.add_endpoint(name="echo", handler=echo, subject="a b")
    with pytest.raises(errors.BadSubjectError):
        await service.add_endpoint(name="echo", handler=echo, subject="a..b")
    assert len(service.info().endpoints) == 2


async def test_an_endpoint_with_wildcards(connect: Connect) -> None:
    nc = await connect()
    service = await add_service(nc, **NAMED)

    async def handler(request: Request) -> None:
        await request.respond(request.subject.encode())

    await service.add_endpoint(name="one", subject="one.*", handler=handler)
    await service.add_endpoint(name="all", subject="all.>", handler=handler)
    assert (await ask(nc, "one.x")).data == b"one.x"
    assert (await ask(nc, "all.x.y")).data == b"all.x.y"


async def test_groups_prefix_subjects(connect: Connect) -> None:
    nc = await connect()
    service: Any = await add_service(nc, **NAMED)
    outer = service.add_group(name="outer")
    inner = outer.add_group(GroupConfig(name="inner"))
    other = service.add_group(GroupConfig(name="x"), name=".dots.")
    assert isinstance(inner, Group)
    await outer.add_endpoint(name="a", handler=echo)
    in_c: Any = {"subject": "c.*"}
    await inner.add_endpoint(EndpointConfig(name="b", handler=echo), **in_c)
    await other.add_endpoint(name="d", handler=echo)
    await service.add_group(name="").add_endpoint(name="e", handler=echo)
    subjects = ["outer.a", "outer.inner.c.*", "dots.d", "e"]
    assert [subject for _, subject, _ in where(service)] == subjects
    assert (await ask(nc, "outer.inner.c.1", b"x")).data == b"x"
    with pytest.raises(ValueError, match="Invalid subject"):
        await service.add_group(name="a b").add_endpoint(name="f", handler=echo)


@pytest.mark.parametrize(
    ("of_service", "of_outer", "of_inner", "of_endpoint", "expected"),
    [
        (None, None, None, None, "q"),
        ("s", None, None, None, "s"),
        ("s", "o", None, None, "o"),
        ("s", "o", "i", None, "i"),
        ("s", "o", "i", "e", "e"),
        ("s", None, None, "e", "e"),
        # Queue groups can't be switched off: empty is as good as not given.
        ("", "", "", "", "q"),
        ("s", "", "", "", "s"),
    ],
)
async def test_queue_groups(
    connect: Connect,
    of_service: str | None,
    of_outer: str | None,
    of_inner: str | None,
    of_endpoint: str | None,
    expected: str,
) -> None:
    nc = await connect()
    service = await add_service(nc, **NAMED, queue_group=of_service)
    group = service.add_group(name="outer", queue_group=of_outer)
    group = group.add_group(name="inner", queue_group=of_inner)
    await group.add_endpoint(name="a", handler=echo, queue_group=of_endpoint)
    await service.add_endpoint(name="b", handler=echo)
    assert where(service) == [("a", "outer.inner.a", expected), ("b", "b", of_service or "q")]
    queues = [sub.queue for sub in nc._subs.values() if not sub.subject.startswith("$SRV")]
    assert queues == [expected, of_service or "q"]


async def test_instances_share_requests_by_queue_group(connect: Connect) -> None:
    client = await connect()
    services = []
    for queue_group in ("shared", "shared", "own"):
        nc = await connect()
        service = await add_service(nc, **NAMED)
        await service.add_endpoint(name="echo", handler=echo, queue_group=queue_group)
        await nc.flush()
        services.append(service)
    for _ in range(60):
        await ask(client, "echo")

    def handled() -> list[int]:
        return [service.stats().endpoints[0].num_requests for service in services]

    await eventually(lambda: sum(handled()) == 120)
    first, second, alone = handled()
    assert (first + second, alone) == (60, 60)
    assert min(first, second) > 0
    assert len({service.id for service in services}) == 3


async def test_request_and_reply(connect: Connect) -> None:
    nc = await connect()
    service = await add_service(nc, **NAMED)
    seen: list[Any] = []

    async def handler(request: Request) -> None:
        seen.append((request.subject, request.headers, request.data))
        await request.respond(b"answer", headers={"Answered": "2"} if request.headers else None)

    await service.add_endpoint(name="a", handler=handler)
    reply = await ask(nc, "a", b"x", headers={"Asked": "1"})
    # Unlike `Msg.respond`, which sends the request's headers back.
    assert (reply.data, reply.headers) == (b"answer", {"Answered": "2"})
    assert (await ask(nc, "a")).headers is None
    assert seen == [("a", {"Asked": "1"}, b"x"), ("a", None, b"")]


async def test_respond_error(connect: Connect) -> None:
    nc = await connect()
    service = await add_service(nc, **NAMED)
    given = {"More": "1", ERROR_HEADER: "overwritten"}

    async def bare(request: Request) -> None:
        await request.respond_error("404", "not found")

    async def full(request: Request) -> None:
        await request.respond_error("409", "taken\nalready", b"data", headers=given)

    await service.add_endpoint(name="bare", handler=bare)
    await service.add_endpoint(name="full", handler=full)
    reply = await ask(nc, "bare")
    assert reply.data == b""
    assert reply.headers == {
        "Nats-Service-Error": "not found",
        "Nats-Service-Error-Code": "404",
    }
    reply = await ask(nc, "full")
    assert reply.data == b"data"
    assert reply.headers == {"More": "1", ERROR_HEADER: "taken already", ERROR_CODE_HEADER: "409"}
    assert given == {"More": "1", ERROR_HEADER: "overwritten"}
    # They were answers like any other.
    assert [each.num_errors for each in service.stats().endpoints] == [0, 0]


class Multiline(Exception):
    def __repr__(self) -> str:
        return "two\r\nlines"


async def waits_for_something_cancelled(request: Request) -> None:
    inner = asyncio.ensure_future(asyncio.sleep(PATIENCE))
    inner.cancel()
    await inner


def raising(error: Exception) -> Any:
    async def handler(request: Request) -> None:
        raise error

    return handler


@pytest.mark.parametrize(
    ("error", "code", "description"),
    [
        (ServiceError("400", "bad request"), "400", "bad request"),
        (ServiceError("", ""), "", ""),
        (ValueError("wrong"), "500", "ValueError('wrong')"),
        (Multiline(), "500", "two  lines"),
        (errors.TimeoutError(), "500", "TimeoutError()"),
    ],
)
async def test_a_handler_that_raises(
    connect: Connect, error: Exception, code: str, description: str
) -> None:
    events = Events()
    nc = await connect(**events.callbacks)
    service = await add_service(nc, **NAMED)
    await service.add_endpoint(name="a", handler=raising(error))
    for _ in range(2):
        reply = await ask(nc, "a", headers={"Asked": "1"})
        assert reply.data == b""
        assert reply.headers == {ERROR_HEADER: description, ERROR_CODE_HEADER: code}
    assert events.errors == []
    stats = service.stats().endpoints[0]
    assert (stats.num_requests, stats.num_errors) == (2, 2)
    assert stats.last_error == repr(error)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="a task can't tell who is cancelled")
async def test_a_handler_that_something_cancelled_reaches_goes_on(connect: Connect) -> None:
    """In nats-py the endpoint is deaf from then on."""
    nc = await connect()
    service = await add_service(nc, **NAMED)
    await service.add_endpoint(name="a", handler=waits_for_something_cancelled)
    for _ in range(2):
        reply = await ask(nc, "a")
        assert reply.headers == {ERROR_HEADER: "CancelledError()", ERROR_CODE_HEADER: "500"}
    await within(service.stop())


async def test_an_error_after_the_reply_is_a_second_reply(connect: Connect) -> None:
    nc = await connect()
    service = await add_service(nc, **NAMED)

    async def handler(request: Request) -> None:
        await request.respond(b"first")
        raise ValueError

    await service.add_endpoint(name="a", handler=handler)
    inbox = nc.new_inbox()
    sub = await nc.subscribe(inbox)
    await nc.publish("a", reply=inbox)
    assert (await sub.next_msg(PATIENCE)).data == b"first"
    assert (await sub.next_msg(PATIENCE)).headers[ERROR_CODE_HEADER] == "500"


async def test_without_a_reply_subject(connect: Connect) -> None:
    events = Events()
    nc = await connect(**events.callbacks)
    service = await add_service(nc, **NAMED)
    await service.add_endpoint(name="echo", handler=echo)
    await nc.publish("echo", b"x")
    await events.wait_error(ValueError, "no reply subject set")
    stats = service.stats().endpoints[0]
    assert (stats.num_requests, stats.num_errors) == (1, 1)
    assert stats.processing_time > 0
    assert stats.last_error == "ValueError('no reply subject set')"
    assert (await ask(nc, "echo", b"y")).data == b"y", "the endpoint goes on"


async def test_a_reply_that_cannot_be_sent_is_an_error(connect: Connect) -> None:
    nc = await connect()
    service = await add_service(nc, **NAMED)

    async def handler(request: Request) -> None:
        await request.respond(bytes(nc.max_payload + 1))

    await service.add_endpoint(name="a", handler=handler)
    assert (await ask(nc, "a")).headers[ERROR_CODE_HEADER] == "500"


def test_service_error() -> None:
    error = ServiceError("400", "bad")
    assert repr(error) == "400:bad"
    assert error.to_dict() == {"code": "400", "description": "bad"}
    assert ServiceError.from_dict(error.to_dict()) == error
    assert ServiceError.from_dict({}) == ServiceError("", "")
    assert error != ServiceError("400", "worse")


async def test_handlers_of_different_endpoints_run_side_by_side(connect: Connect) -> None:
    nc = await connect()
    service = await add_service(nc, **NAMED)

    async def outer(request: Request) -> None:
        inner = await ask(nc, "echo", request.data)
        await request.respond(b"outer " + inner.data)

    await service.add_endpoint(name="echo", handler=echo)
    await service.add_endpoint(name="outer", handler=outer)
    assert (await ask(nc, "outer", b"x")).data == b"outer x"


async def test_a_service_survives_a_reconnect(server: Server, connect: Connect) -> None:
    events = Events()
    nc = await connect(reconnect_time_wait=0.05, max_reconnect_attempts=-1, **events.callbacks)
    service = await add_service(nc, **NAMED)
    await service.add_endpoint(name="echo", handler=echo)
    await server.ashutdown()
    await events.wait("disconnected")
    await server.astart()
    await events.wait("reconnected")
    assert (await ask(nc, "echo", b"x")).data == b"x"
    assert (await ask(nc, f"$SRV.PING.service.{service.id}")).data
    await within(service.stop())


async def test_replaced_methods_of_the_client_are_used(server: Server) -> None:
    class Recording(Client):
        def __init__(self) -> None:
            super().__init__()
            self.calls: list[str] = []

        async def subscribe(self, subject: str, *args: Any, **options: Any) -> Any:
            self.calls.append(f"subscribe {subject.replace(service.id, '<id>')}")
            return await super().subscribe(subject, *args, **options)

        async def publish(self, subject: str, *args: Any, **options: Any) -> None:
            self.calls.append(f"publish {subject}")
            await super().publish(subject, *args, **options)

    nc = Recording()
    await nc.connect(server.url)
    async with nc:
        service = Service(nc, ServiceConfig(**NAMED))
        await service.start()
        await service.add_endpoint(name="echo", handler=echo)
        assert nc.calls == [
            f"subscribe $SRV.{verb}{rest}"
            for verb in ("PING", "INFO", "STATS")
            for rest in ("", ".service", ".service.<id>")
        ] + ["subscribe echo"]
        nc.calls.clear()
        for subject in ("echo", "$SRV.PING"):
            inbox = nc.new_inbox()
            sub = await nc.subscribe(inbox)
            await nc.publish(subject, reply=inbox)
            await sub.next_msg(PATIENCE)
            assert nc.calls[-1] == f"publish {inbox}"
