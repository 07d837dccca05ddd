"""What JetStream calls do for which the connection has no permission."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from nats import errors
from nats.embedded import Server
from nats.js import errors as js_errors
from support.connecting import Connect
from support.streams import fill, numbers, waiting
from support.waiting import EAGER, Events, eventually, within

pytestmark = pytest.mark.usefixtures("driver")

CONFIG = """
authorization { users: [
  { user: any, password: x }
  { user: unasked, password: x,
    permissions: { publish: { deny: "$JS.API.CONSUMER.MSG.NEXT.S.d" } } }
  { user: deaf, password: x, permissions: { subscribe: { deny: "Deaf.>" } } }
  { user: blind, password: x, permissions: { publish: { deny: "$JS.API.CONSUMER.INFO.>" } } }
] }
"""
NEXT = "$JS.API.CONSUMER.MSG.NEXT.S.d"
# Far longer than a server takes to say no.
LONG = 300.0


@pytest.fixture
def strict() -> Iterator[Server]:
    with Server(jetstream=True, config=CONFIG) as server:
        yield server


@pytest.fixture
async def admin(connect: Connect, strict: Server) -> Any:
    """The context of somebody who may do everything; there is a stream with a consumer."""
    js = (await connect(strict, user="any", password="x")).jetstream()
    await js.add_stream(name="S", subjects=["s.>"])
    await js.add_consumer("S", durable_name="d", ack_policy="explicit")
    return js


@pytest.fixture
def events() -> Events:
    return Events()


async def refused(call: Any, what: str) -> None:
    with pytest.raises(errors.Error, match=what) as raised:
        await within(call)
    assert type(raised.value) is errors.Error
    assert str(raised.value).startswith("nats: permissions violation for ")


@pytest.mark.parametrize("timeout", [LONG, None])
@pytest.mark.parametrize("batch", [1, 5])
async def test_pull_requests(
    connect: Connect,
    strict: Server,
    admin: Any,
    events: Events,
    batch: int,
    timeout: float | None,
) -> None:
    nc = await connect(strict, user="unasked", password="x", **events.callbacks, **EAGER)
    js = nc.jetstream()
    sub = await js.pull_subscribe("s.a", "d")
    other = await js.pull_subscribe_bind("d", "S")
    for number in range(1, 3):
        await refused(sub.fetch(batch, timeout=timeout), f'publish to "{NEXT}"'.replace("$", r"\$"))
        assert len(events.errors) == number
    both = [asyncio.ensure_future(pull.fetch(batch, timeout=timeout)) for pull in (sub, other)]
    for fetching in both:
        await refused(fetching, "publish to")
    assert nc._core.census()[1] == 0
    assert events.names == []


@pytest.mark.parametrize("batch", [1, 5])
async def test_inbox_of_a_pull_subscription(
    connect: Connect, strict: Server, admin: Any, events: Events, batch: int
) -> None:
    nc = await connect(strict, user="deaf", password="x", **events.callbacks, **EAGER)
    sub = await nc.jetstream().pull_subscribe_bind("d", "S", inbox_prefix=b"Deaf.")
    # Before the server has said no, and after.
    await refused(sub.fetch(batch, timeout=LONG), r'subscription to "Deaf\.')
    await refused(sub.fetch(batch, timeout=None), r'subscription to "Deaf\.')
    await nc.force_reconnect()
    await eventually(lambda: events.count("reconnected") == 1)
    await refused(sub.fetch(batch, timeout=LONG), r'subscription to "Deaf\.')
    assert nc._core.census()[1] == 0


async def test_fetches_of_others_go_on(
    connect: Connect, strict: Server, admin: Any, events: Events
) -> None:
    nc = await connect(strict, user="unasked", password="x", **events.callbacks, **EAGER)
    js = nc.jetstream()
    sub = await js.pull_subscribe("s.a")
    fetching = asyncio.ensure_future(sub.fetch(1, timeout=LONG))
    await waiting(sub, 1)
    await refused((await js.pull_subscribe_bind("d", "S")).fetch(1), "publish to")
    await fill(admin, 1)
    assert numbers(await within(fetching)) == [0]


async def test_looking_for_a_consumer_that_nobody_serves(
    connect: Connect, strict: Server, admin: Any, events: Events
) -> None:
    """Whoever may not look hears at once that nobody answers, as before."""
    nc = await connect(strict, user="blind", password="x", **events.callbacks, **EAGER)
    sub = await nc.jetstream().pull_subscribe_bind("d", "S")
    await fill(admin, 1)
    assert numbers(await sub.fetch(1, timeout=LONG)) == [0]
    await admin.delete_consumer("S", "d")
    with pytest.raises(js_errors.ServiceUnavailableError):
        await within(sub.fetch(1, timeout=LONG))


async def test_looking_for_a_push_consumer(
    connect: Connect, strict: Server, admin: Any, events: Events
) -> None:
    """After a reconnect: that it isn't allowed is told, and nothing else comes of it."""
    nc = await connect(strict, user="blind", password="x", **events.callbacks, **EAGER)
    sub = await nc.jetstream().subscribe("s.a")
    await nc.force_reconnect()
    error = await events.wait_error(errors.Error)
    assert str(error).startswith(
        'nats: permissions violation for publish to "$JS.API.CONSUMER.INFO'
    )
    await eventually(lambda: sub._sub._jsi._recreating.done())
    assert sub._sub._jsi._recreating.exception() is None
    await fill(admin, 1)
    assert numbers([await sub.next_msg(timeout=LONG)]) == [0]
