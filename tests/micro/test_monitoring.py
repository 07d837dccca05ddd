"""What services tell about themselves: PING, INFO and STATS, and what is counted (ADR-32)."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from nats import errors
from nats.micro import add_service
from nats.micro.request import Request, ServiceError
from nats.micro.service import EndpointStats, Service, ServiceInfo, ServicePing, ServiceStats
from support.connecting import Connect
from support.handlers import echo
from support.waiting import PATIENCE, Events, eventually

VERBS = ("PING", "INFO", "STATS")
METADATA = {"zone": "a", "größe": "1"}


async def described(nc: Any) -> Service:
    service = await add_service(
        nc, name="math", version="1.2.3", description="Adds", metadata=METADATA
    )
    group = service.add_group(name="v1", queue_group="g")
    await group.add_endpoint(name="add", handler=echo, metadata={"k": "v"})
    await service.add_endpoint(name="plain", handler=echo)
    return service


async def answer(nc: Any, subject: str) -> Any:
    return json.loads((await nc.request(subject, timeout=PATIENCE)).data)


def now() -> datetime:
    return datetime.now(timezone.utc).replace(tzinfo=None)


@pytest.mark.parametrize("level", ["all", "name", "id"])
async def test_answers_on_all_levels(connect: Connect, level: str) -> None:
    nc = await connect()
    service = await described(nc)
    await nc.request("v1.add", b"x", timeout=PATIENCE)
    rest = {"all": "", "name": ".math", "id": f".math.{service.id}"}[level]
    identity = {"id": service.id, "name": "math", "version": "1.2.3", "metadata": METADATA}
    assert await answer(nc, f"$SRV.PING{rest}") == {
        **identity,
        "type": "io.nats.micro.v1.ping_response",
    }
    assert await answer(nc, f"$SRV.INFO{rest}") == {
        **identity,
        "type": "io.nats.micro.v1.info_response",
        "description": "Adds",
        "endpoints": [
            {"name": "add", "subject": "v1.add", "queue_group": "g", "metadata": {"k": "v"}},
            {"name": "plain", "subject": "plain", "queue_group": "q", "metadata": {}},
        ],
    }
    stats = await answer(nc, f"$SRV.STATS{rest}")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", stats.pop("started"))
    time = stats["endpoints"][0]["processing_time"]
    assert time > 0
    nothing = {"num_errors": 0, "last_error": "", "data": None}
    assert stats == {
        **identity,
        "type": "io.nats.micro.v1.stats_response",
        "endpoints": [
            {
                "name": "add",
                "subject": "v1.add",
                "queue_group": "g",
                "num_requests": 1,
                "processing_time": time,
                "average_processing_time": time,
                **nothing,
            },
            {
                "name": "plain",
                "subject": "plain",
                "queue_group": "q",
                "num_requests": 0,
                "processing_time": 0,
                "average_processing_time": 0,
                **nothing,
            },
        ],
    }


async def test_a_service_with_nothing_but_a_name_conforms_to_the_schema(connect: Connect) -> None:
    nc = await connect()
    service = await add_service(nc, name="a", version="1.0.0")
    assert len(service.id) == 22
    for verb in VERBS:
        got = await answer(nc, f"$SRV.{verb}.a.{service.id}")
        assert (got["id"], got["name"], got["version"]) == (service.id, "a", "1.0.0")
        assert got["metadata"] == {}
        assert got.get("endpoints", []) == []
        # Null is no string to the schema, and none to clients in typed languages.
        assert got.get("description", "") == ""


async def test_the_answers_are_what_the_methods_return(connect: Connect) -> None:
    nc = await connect()
    service = await described(nc)
    ping = ServicePing.from_dict(await answer(nc, "$SRV.PING"))
    assert (ping.id, ping.metadata) == (service.id, METADATA)
    assert ServiceInfo.from_dict(await answer(nc, "$SRV.INFO")) == service.info()
    stats = ServiceStats.from_dict(await answer(nc, "$SRV.STATS"))
    own = service.stats()
    assert timedelta(0) <= own.started - stats.started < timedelta(milliseconds=1)
    assert [each.to_dict() for each in own.endpoints] == [
        each.to_dict() for each in stats.endpoints
    ]


async def test_every_instance_answers(connect: Connect) -> None:
    client = await connect()
    services = []
    for name in ("a", "a", "b"):
        nc = await connect()
        services.append(await add_service(nc, name=name, version="1.0.0"))
    ids = {service.id for service in services}
    assert len(ids) == 3
    inbox = client.new_inbox()
    sub = await client.subscribe(inbox)

    async def answering(subject: str, expected: int) -> set[str]:
        await client.publish(subject, reply=inbox)
        found = [json.loads((await sub.next_msg(PATIENCE)).data) for _ in range(expected)]
        for service in services:
            await service._client.flush()
        await client.flush()
        assert sub.pending_msgs == 0
        return {each["id"] for each in found}

    for verb in VERBS:
        assert await answering(f"$SRV.{verb}", 3) == ids
        assert await answering(f"$SRV.{verb}.a", 2) == {services[0].id, services[1].id}
        assert await answering(f"$SRV.{verb}.b.{services[2].id}", 1) == {services[2].id}
        for nobody in (f"$SRV.{verb}.c", f"$SRV.{verb}.a.{services[2].id}"):
            with pytest.raises(errors.NoRespondersError):
                await client.request(nobody, timeout=PATIENCE)


async def test_monitoring_sends_the_headers_back(connect: Connect) -> None:
    nc = await connect()
    await described(nc)
    for verb in VERBS:
        reply = await nc.request(f"$SRV.{verb}", headers={"Trace": "1"}, timeout=PATIENCE)
        assert reply.headers == {"Trace": "1"}


async def test_monitoring_without_a_reply_subject(connect: Connect) -> None:
    events = Events()
    nc = await connect(**events.callbacks)
    await described(nc)
    await nc.publish("$SRV.PING")
    await events.wait_error(errors.Error, "no reply subject available")
    assert (await answer(nc, "$SRV.PING"))["name"] == "math"


async def test_counting(connect: Connect) -> None:
    nc = await connect()
    service = await add_service(nc, name="a", version="1.0.0")
    pause = 0.02

    async def handler(request: Request) -> None:
        await asyncio.sleep(pause)
        if request.data:
            raise ServiceError("400", request.data.decode())
        await request.respond()

    await service.add_endpoint(name="a", handler=handler)
    await service.add_endpoint(name="idle", handler=handler)
    for data in (b"", b"one", b"", b"two", b""):
        await nc.request("a", data, timeout=PATIENCE)
    # The time of the last one is counted after its reply.
    await eventually(lambda: service.stats().endpoints[0].processing_time >= 5 * pause * 0.9e9)
    busy, idle = service.stats().endpoints
    assert (busy.num_requests, busy.num_errors, busy.last_error) == (5, 2, "400:two")
    assert busy.average_processing_time == busy.processing_time // 5
    assert type(busy.average_processing_time) is int
    assert busy.processing_time < PATIENCE * 1e9
    assert idle == EndpointStats("idle", "idle", "q", 0, 0, 0, 0)


async def test_reset(connect: Connect) -> None:
    nc = await connect()
    service = await add_service(nc, name="a", version="1.0.0")

    async def handler(request: Request) -> None:
        raise ValueError

    await service.add_endpoint(name="a", handler=handler)
    await nc.request("a", timeout=PATIENCE)
    await eventually(lambda: service.stats().endpoints[0].processing_time)
    before = service.stats()
    assert before.endpoints[0].num_errors == 1
    await asyncio.sleep(0.002)
    await service.reset()
    after = service.stats()
    assert before.started < after.started <= now()
    assert after.endpoints == [EndpointStats("a", "a", "q", 0, 0, 0, 0)]
    assert (await answer(nc, "$SRV.STATS"))["endpoints"][0] == after.endpoints[0].to_dict()
    await nc.request("a", timeout=PATIENCE)
    assert service.stats().endpoints[0].num_requests == 1


async def test_reset_in_a_handler(connect: Connect) -> None:
    nc = await connect()
    service = await add_service(nc, name="a", version="1.0.0")

    async def handler(request: Request) -> None:
        await service.reset()
        await request.respond(b"x")

    await service.add_endpoint(name="a", handler=handler)
    assert (await nc.request("a", timeout=PATIENCE)).data == b"x"
    await service._client.flush()
    assert service.stats().endpoints == [EndpointStats("a", "a", "q", 0, 0, 0, 0)]


async def test_stats_handler(connect: Connect) -> None:
    nc = await connect()
    seen: list[Any] = []

    def stats_handler(stats: EndpointStats) -> Any:
        seen.append((stats.name, stats.num_requests))
        return {"doubled": stats.num_requests * 2}

    service = await add_service(nc, name="a", version="1.0.0", stats_handler=stats_handler)
    await service.add_endpoint(name="x", handler=echo)
    await service.add_endpoint(name="y", handler=echo)
    await nc.request("x", timeout=PATIENCE)
    stats = await answer(nc, "$SRV.STATS.a")
    assert [each["data"] for each in stats["endpoints"]] == [{"doubled": 2}, {"doubled": 0}]
    assert seen == [("x", 1), ("y", 0)]
    assert service.stats().endpoints[0].data == {"doubled": 2}


@pytest.mark.parametrize("bad", [ZeroDivisionError(), object()], ids=["raises", "no JSON"])
async def test_a_stats_handler_that_fails_is_reported(connect: Connect, bad: Any) -> None:
    events = Events()
    nc = await connect(**events.callbacks)

    def stats_handler(stats: EndpointStats) -> Any:
        if isinstance(bad, Exception):
            raise bad
        return bad

    service = await add_service(nc, name="a", version="1.0.0", stats_handler=stats_handler)
    await service.add_endpoint(name="x", handler=echo)
    with pytest.raises(errors.TimeoutError):
        await nc.request("$SRV.STATS", timeout=0.1)
    await events.wait_error(type(bad) if isinstance(bad, Exception) else TypeError)
    assert (await answer(nc, "$SRV.PING"))["name"] == "a"


async def test_started_is_utc_without_a_time_zone(connect: Connect) -> None:
    nc = await connect()
    before = now()
    service = await add_service(nc, name="a", version="1.0.0")
    assert before <= service.stats().started <= now()
