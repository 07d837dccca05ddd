"""What subscribing asks of a consumer: the caller's configuration, and one that exists."""

from __future__ import annotations

import asyncio
import copy
import datetime
from typing import Any

import pytest
from nats import errors
from nats.embedded import Cluster, Server
from nats.js import api
from nats.js import errors as js_errors
from support.connecting import Connect
from support.handlers import ignore
from support.waiting import eventually, within

pytestmark = pytest.mark.usefixtures("driver")

WORKERS = 10


async def begin(connect: Connect) -> Any:
    js = (await connect()).jetstream()
    await js.add_stream(name="S", subjects=["s.>"], storage="memory")
    return js


# The caller's configuration


async def test_it_is_never_changed(js_server: Server, connect: Connect) -> None:
    js = await begin(connect)
    config = api.ConsumerConfig(description="text", ack_wait=4)
    before = copy.deepcopy(config)
    await js.subscribe("s.a", config=config, headers_only=True, idle_heartbeat=1)
    await js.subscribe("s.a", config=config, durable="d", deliver_policy=api.DeliverPolicy.NEW)
    await js.subscribe("s.a", config=config, queue="q", inactive_threshold=9)
    ordered = await js.subscribe("s.a", config=config, ordered_consumer=True)
    await ordered._sub._jsi.reset_ordered_consumer(7)
    await ordered.consumer_info()
    await js.pull_subscribe("s.a", config=config)
    await js.pull_subscribe("s.a", config=config, durable="p")
    assert config == before


async def test_a_bound_configuration_is_never_changed(js_server: Server, connect: Connect) -> None:
    js = await begin(connect)
    info = await js.add_consumer("S", deliver_subject="to", ack_policy="none")
    before = copy.deepcopy(info.config)
    sub = await js.subscribe_bind("S", info.config, info.name, ordered_consumer=True)
    await sub._sub._jsi.reset_ordered_consumer(7)
    assert (await sub.consumer_info()).name != info.name
    assert info.config == before


async def test_one_configuration_for_many(js_server: Server, connect: Connect) -> None:
    js = await begin(connect)
    config = api.ConsumerConfig(ack_wait=4)
    push = [await js.subscribe(f"s.{name}", config=config) for name in "ab"]
    pull = [await js.pull_subscribe(f"s.{name}", config=config) for name in "ab"]
    await js.publish("s.b", b"x")
    assert (await push[1].next_msg()).subject == "s.b"
    assert [msg.subject for msg in await pull[1].fetch(1)] == ["s.b"]
    filters = [(await sub.consumer_info()).config.filter_subject for sub in push + pull]
    assert filters == ["s.a", "s.b"] * 2


async def test_what_it_says_counts(js_server: Server, connect: Connect) -> None:
    js = await begin(connect)
    config = api.ConsumerConfig(
        filter_subject="s.b", flow_control=True, idle_heartbeat=2, durable_name="d"
    )
    sub = await js.subscribe("s.>", config=config)
    there = (await js.consumer_info("S", "d")).config
    assert (there.filter_subject, there.flow_control, there.idle_heartbeat) == ("s.b", True, 2)
    for subject in ("s.a", "s.b"):
        await js.publish(subject, b"x")
    assert (await sub.next_msg()).subject == "s.b"
    pull = await js.pull_subscribe("s.>", config=api.ConsumerConfig(filter_subject="s.b", name="n"))
    assert [msg.subject for msg in await pull.fetch(2, timeout=1)] == ["s.b"]
    assert (await js.consumer_info("S", "n")).config.filter_subject == "s.b"
    several = api.ConsumerConfig(filter_subjects=["s.a", "s.c"], durable_name="several")
    await js.pull_subscribe("s.>", config=several)
    assert (await js.consumer_info("S", "several")).config.filter_subjects == ["s.a", "s.c"]
    await js.pull_subscribe("s.>", config=several)


# Consumers that exist


async def test_another_subject(js_server: Server, connect: Connect) -> None:
    js = await begin(connect)
    sub = await js.subscribe("s.a", durable="d")
    await sub.unsubscribe()
    await js.subscribe("s.a", queue="q", cb=ignore)
    await js.pull_subscribe("s.a", durable="p")
    for attempt in (
        js.subscribe("s.b", durable="d"),
        js.subscribe("s.>", durable="d"),
        js.subscribe("s.>", durable="d", config=api.ConsumerConfig(filter_subject="s.b")),
        js.subscribe("s.b", queue="q", cb=ignore),
        js.pull_subscribe("s.b", durable="p"),
        js.pull_subscribe("s.>", durable="p"),
    ):
        with pytest.raises(js_errors.Error, match=r"does not match consumer.*'s\.a'"):
            await attempt
    # The same, whatever there is, and the consumer's own filter.
    await (await js.subscribe("s.a", durable="d")).unsubscribe()
    await js.subscribe("", stream="S", durable="d")
    await js.pull_subscribe("", durable="p", stream="S")
    await js.pull_subscribe("s.a", durable="p")
    own = api.ConsumerConfig(filter_subject="s.a")
    await js.pull_subscribe("s.>", durable="p", config=own)


async def test_another_configuration(js_server: Server, connect: Connect) -> None:
    js = await begin(connect)
    config = api.ConsumerConfig(ack_wait=4, max_deliver=3, description="text")
    await (await js.subscribe("s.a", durable="d", config=config)).unsubscribe()
    await js.pull_subscribe("s.a", durable="p", config=config)
    for field, value in (
        ("ack_wait", 5),
        ("max_deliver", 4),
        ("description", "other"),
        ("ack_policy", api.AckPolicy.ALL),
        ("deliver_policy", api.DeliverPolicy.NEW),
        ("filter_subjects", ["s.a", "s.b"]),
    ):
        other = config.evolve(**{field: value})
        with pytest.raises(js_errors.Error, match=f"requests {field} to be"):
            await js.subscribe("s.a", durable="d", config=other)
        with pytest.raises(js_errors.Error, match=f"requests {field} to be"):
            await js.pull_subscribe("s.a", durable="p", config=other)
    with pytest.raises(js_errors.Error, match="requests idle_heartbeat"):
        await js.subscribe("s.a", durable="d", idle_heartbeat=3)
    # The same, and what leaves open what isn't the same.
    await (await js.subscribe("s.a", durable="d", config=config)).unsubscribe()
    await js.subscribe("s.a", durable="d")
    await js.pull_subscribe("s.a", durable="p", config=config)
    await js.pull_subscribe("s.a", durable="p")


async def test_the_same_in_other_words(js_server: Server, connect: Connect) -> None:
    """What the server makes of a configuration is what was asked for."""
    js = await begin(connect)
    moment = datetime.datetime(2024, 1, 1, 1, 1, 1, 123456)
    retries: Any = {"ack_wait": 10, "backoff": [1, 2, 5], "max_deliver": 5}
    for number, start in enumerate((moment, "2024-01-01T00:00:00+00:00")):
        config = api.ConsumerConfig(
            deliver_policy=api.DeliverPolicy.BY_START_TIME,
            opt_start_time=start,  # type: ignore[arg-type]
            **retries,
        )
        for _ in range(2):
            await js.pull_subscribe("s.a", durable=f"pull-{number}", config=config)
            sub = await js.subscribe("s.a", durable=f"push-{number}", config=config)
            await sub.drain()
    later = api.ConsumerConfig(
        deliver_policy=api.DeliverPolicy.BY_START_TIME,
        opt_start_time=moment + datetime.timedelta(seconds=1),
    )
    with pytest.raises(js_errors.Error, match="opt_start_time"):
        await js.pull_subscribe("s.a", durable="pull-0", config=later)


async def test_another_kind(js_server: Server, connect: Connect) -> None:
    js = await begin(connect)
    await js.subscribe("s.a", durable="d")
    await js.pull_subscribe("s.a", durable="p")
    with pytest.raises(js_errors.Error, match="it pushes its messages"):
        await js.pull_subscribe("s.a", durable="d")
    with pytest.raises(TypeError):
        await js.subscribe("s.a", durable="p")


# Several at once


async def subscribe_at_once(connect: Connect, servers: Any, *args: Any, **options: Any) -> Any:
    clients = [await connect(servers) for _ in range(WORKERS)]
    subs = await within(
        asyncio.gather(*(nc.jetstream().subscribe(*args, **options) for nc in clients)), 30
    )
    return clients, subs


async def share(connect: Connect, servers: Any, js: Any) -> None:
    """Ten workers subscribe at once; every message goes to one of them."""
    for number in range(5):
        counts = [0] * 300
        name = f"q{number}"

        async def handler(msg: Any, counts: list[int] = counts) -> None:
            counts[int(msg.data)] += 1

        clients, _ = await subscribe_at_once(
            connect, servers, f"s.{number}", queue=name, durable=name, cb=handler
        )
        assert len({(await js.consumer_info("S", name)).config.deliver_subject}) == 1
        for i in range(300):
            await js.publish(f"s.{number}", b"%d" % i)
        await eventually(lambda counts=counts: min(counts) > 0, "all messages", 20)
        assert max(counts) == 1
        for nc in clients:
            await nc.close()


async def test_workers_of_a_queue(js_server: Server, connect: Connect) -> None:
    await share(connect, js_server, await begin(connect))


async def test_workers_of_a_queue_in_a_cluster(connect: Connect) -> None:
    with Cluster(jetstream=True) as cluster:
        js = (await connect(cluster)).jetstream()
        await js.add_stream(name="S", subjects=["s.>"], num_replicas=3)
        await share(connect, cluster, js)


async def test_a_question_that_nobody_answers(js_server: Server, connect: Connect) -> None:
    """As in a cluster in which the consumer has no leader yet: it is asked again."""
    js = await begin(connect)
    request = js._nc.request
    asked: list[float] = []

    async def deaf(subject: str, *args: Any, timeout: float, **options: Any) -> Any:
        if ".CONSUMER.INFO." in subject:
            asked.append(timeout)
            if len(asked) == 1:
                raise errors.TimeoutError
        return await request(subject, *args, timeout=timeout, **options)

    js._nc.request = deaf
    sub = await js.subscribe("s.a", queue="q")
    assert len(asked) == 2
    await js.publish("s.a", b"x")
    assert (await sub.next_msg(5)).data == b"x"


async def test_pull_workers(js_server: Server, connect: Connect) -> None:
    js = await begin(connect)
    clients = [await connect() for _ in range(WORKERS)]
    subs = await asyncio.gather(
        *(
            nc.jetstream().pull_subscribe("s.a", durable="p", config=api.ConsumerConfig(ack_wait=4))
            for nc in clients
        )
    )
    for _ in range(WORKERS):
        await js.publish("s.a", b"x")
    for sub in subs:
        assert len(await sub.fetch(1, timeout=2)) == 1


async def test_an_update_does_not_come_between(js_server: Server, connect: Connect) -> None:
    """One who looked before the consumer was there doesn't take it away from its subscriber."""
    js = await begin(connect)
    late = (await connect()).jetstream()
    looked, there = asyncio.Event(), asyncio.Event()
    request = late._nc.request

    async def slow(subject: str, *args: Any, **options: Any) -> Any:
        answer = await request(subject, *args, **options)
        if ".CONSUMER.INFO." in subject and not looked.is_set():
            looked.set()
            await there.wait()
        return answer

    late._nc.request = slow
    subscribing = asyncio.ensure_future(late.subscribe("s.a", queue="q"))
    await within(looked.wait())
    first = await js.subscribe("s.a", queue="q")
    subject = (await js.consumer_info("S", "q")).config.deliver_subject
    there.set()
    second = await within(subscribing)
    assert (await js.consumer_info("S", "q")).config.deliver_subject == subject
    assert first._sub._subject == second._sub._subject == subject
