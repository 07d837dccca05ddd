"""What becomes of client, requests and subscriptions when the server says `-ERR`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import nats
import pytest
from nats import errors
from nats.embedded import Server
from support.connecting import Connect
from support.fake_server import FakeServer
from support.handlers import Own
from support.waiting import EAGER, Events, eventually, within

pytestmark = pytest.mark.usefixtures("driver")

CONFIG = """
max_subscriptions: 5
authorization { users: [
  { user: any, password: x }
  { user: joe, password: x, permissions: {
      publish: { deny: ["Closed.>", "$JS.API.>", "$KV.>"] }
      subscribe: { deny: ["Closed.>", "Deaf.>"] } } }
] }
"""
# Of every wait here: far longer than a server takes to say no.
LONG = 60
SOON = 20.0


@pytest.fixture
def strict() -> Any:
    with Server(jetstream=True, config=CONFIG) as server:
        yield server


@pytest.fixture
async def joe(connect: Connect, strict: Server) -> AsyncIterator[Any]:
    events = Events()
    nc = await connect(strict, user="joe", password="x", **events.callbacks, **EAGER)
    nc.events = events
    yield nc
    assert nc.is_connected
    assert events.names == []


async def test_more_subscriptions_than_allowed(joe: Any) -> None:
    subs = [await joe.subscribe("Open.house") for _ in range(7)]
    await within(joe.flush())
    texts = [str(error) for error in joe.events.errors]
    assert texts == ["nats: maximum subscriptions exceeded"] * 2
    await joe.publish("Open.house", b"x")
    assert (await subs[0].next_msg(5)).data == b"x"
    for sub in subs[:5]:
        await sub.unsubscribe()
    again = await joe.subscribe("Open.house")
    await joe.publish("Open.house", b"y")
    assert (await again.next_msg(5)).data == b"y"


async def test_invalid_subjects_on_a_pedantic_connection(connect: Connect, server: Server) -> None:
    events = Events()
    nc = await connect(pedantic=True, skip_subject_validation=True, **events.callbacks, **EAGER)
    sub = await nc.subscribe("a")
    await nc.subscribe("a..b")
    await nc.publish("b.*", b"")
    await within(nc.flush())
    assert [str(error) for error in events.errors] == [
        "nats: invalid subject",
        "nats: invalid publish subject",
    ]
    await nc.publish("a", b"x")
    assert (await sub.next_msg(5)).data == b"x"
    assert events.names == []


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        (
            'Permissions Violation for Subscription to "Q.Ä.b" using queue "Big" (sid "3")',
            'permissions violation for subscription to "Q.Ä.b" using queue "Big" (sid "3")',
        ),
        (
            'Permissions Violation for Publish to "a\\"B.C"',
            'permissions violation for publish to "a\\"B.C"',
        ),
        ("Permissions Violation for Publish to FOO", "permissions violation for publish to foo"),
        ('Permissions Violation for "X', 'permissions violation for "x'),
        ("maximum subscriptions exceeded", "maximum subscriptions exceeded"),
        ("Invalid Subject", "invalid subject"),
    ],
)
async def test_texts_keep_the_case_of_what_stands_in_quotes(
    connect: Connect, said: str, heard: str
) -> None:
    async with FakeServer() as server:
        events = Events()
        nc = await connect(server, **events.callbacks, **EAGER)
        await server.connections[0].write(f"-ERR '{said}'\r\n".encode())
        error = await events.wait_error(errors.Error)
        assert str(error) == f"nats: {heard}"
        assert nc.last_error is error
        await within(nc.flush())
        assert events.names == []


@pytest.mark.parametrize(
    ("said", "error", "outcome"),
    [
        ("Stale Connection", errors.StaleConnectionError, "reconnected"),
        ("Unknown Protocol Operation", errors.Error, "closed"),
        ("Maximum Payload Violation", errors.Error, "closed"),
    ],
)
async def test_error_cb_hears_of_those_that_end_the_connection(
    connect: Connect, said: str, error: type[Exception], outcome: str
) -> None:
    async with FakeServer() as server:
        events = Events()
        nc = await connect(server, **events.callbacks, **EAGER)
        await server.connections[0].write(f"-ERR '{said}'\r\n".encode())
        await events.wait(outcome)
        assert [type(each) for each in events.errors] == [error]
        assert str(events.errors[0]) == f"nats: {said.lower()}"
        assert nc.is_closed is (outcome == "closed")


async def refused(call: Awaitable[Any], subject: str, what: str = "publish to") -> None:
    """Checks that the call fails at once as the server says."""
    start = time.monotonic()
    with pytest.raises(errors.Error) as raised:
        await within(call)
    assert time.monotonic() - start < SOON
    assert str(raised.value) == f'nats: permissions violation for {what} "{subject}"'
    assert not isinstance(raised.value, errors.TimeoutError)


REQUESTS: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "request": lambda nc: nc.request("Closed.door", timeout=LONG),
    "old style": lambda nc: nc.request("Closed.door", timeout=LONG, old_style=True),
    "js.publish": lambda nc: nc.jetstream().publish("Closed.door", timeout=LONG),
    "publish_async": lambda nc: published(nc),
}


async def published(nc: Any) -> Any:
    return await (await nc.jetstream(timeout=LONG).publish_async("Closed.door"))


@pytest.mark.parametrize("kind", REQUESTS)
@pytest.mark.parametrize("number", [1, 2])
async def test_a_publish_that_is_refused_fails_its_request(
    joe: Any, kind: str, number: int
) -> None:
    for _ in range(number):
        await refused(REQUESTS[kind](joe), "Closed.door")
    assert len(joe.events.errors) == number
    assert joe._core.census()[:2] == (0, 0)
    await eventually(lambda: [sub._is_request_mux for sub in joe._subs.values()] in ([], [True]))


@pytest.mark.parametrize("kind", REQUESTS)
async def test_so_do_those_of_a_client_with_methods_of_its_own(strict: Server, kind: str) -> None:
    nc, events = Own(), Events()
    await nc.connect(strict.url, user="joe", password="x", **events.callbacks)
    await refused(REQUESTS[kind](nc), "Closed.door")
    await nc.close()


async def test_requests_to_other_subjects_go_on(connect: Connect, strict: Server, joe: Any) -> None:
    other = await connect(strict, user="any", password="x")
    asked = asyncio.Event()
    go_on = asyncio.Event()

    async def answer(msg: Any) -> None:
        asked.set()
        await go_on.wait()
        await msg.respond(b"here")

    await other.subscribe("Open.door", cb=answer)
    await within(other.flush())
    going_on = asyncio.ensure_future(joe.request("Open.door", timeout=LONG))
    await within(asked.wait())
    await refused(joe.request("Closed.door", timeout=LONG), "Closed.door")
    go_on.set()
    assert (await within(going_on)).data == b"here"


@pytest.mark.parametrize("old_style", [False, True])
async def test_a_reply_inbox_that_is_refused(
    connect: Connect, strict: Server, old_style: bool
) -> None:
    events = Events()
    nc = await connect(
        strict, user="joe", password="x", inbox_prefix="Deaf.Box", **events.callbacks
    )
    other = await connect(strict, user="any", password="x")
    await other.subscribe("Open.door")
    await within(other.flush())
    for number in range(1, 4):
        with pytest.raises(errors.Error, match=r'for subscription to "Deaf\.Box') as raised:
            await within(nc.request("Open.door", timeout=LONG, old_style=old_style))
        assert not isinstance(raised.value, errors.TimeoutError)
        assert len(events.errors) == number
    assert not nc._subs
    assert nc.is_connected


async def test_an_inbox_that_is_refused_fails_what_jetstream_asks_for(
    connect: Connect, strict: Server
) -> None:
    nc = await connect(
        strict,
        user="joe",
        password="x",
        inbox_prefix="Deaf.Box",
        error_cb=Events().callbacks["error_cb"],
    )
    js = nc.jetstream(timeout=LONG)
    calls = [js.publish("s"), published(nc), nc.request("s", timeout=LONG)]
    for call in calls:
        with pytest.raises(errors.Error, match=r'for subscription to "Deaf\.Box'):
            await within(call)


async def test_a_future_whose_subscription_is_refused(joe: Any) -> None:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    sub = await joe.subscribe("Closed.room", future=future)
    await refused(future, "Closed.room", "subscription to")
    assert not joe._subs
    await sub.unsubscribe()


async def test_what_jetstream_asks_for(joe: Any) -> None:
    js = joe.jetstream(timeout=LONG)
    await refused(js.stream_info("S"), "$JS.API.STREAM.INFO.S")
    await refused(js.account_info(), "$JS.API.INFO")
    await refused(js.key_value("B"), "$JS.API.STREAM.INFO.KV_B")


async def test_values_that_may_not_be_put(connect: Connect, strict: Server) -> None:
    admin = await connect(strict, user="any", password="x")
    await admin.jetstream().create_key_value(bucket="B", storage="memory")
    events = Events()
    nc = await connect(strict, user="joe", password="x", **events.callbacks)
    kv = nats.js.kv.KeyValue(
        name="B", stream="KV_B", pre="$KV.B.", js=nc.jetstream(timeout=LONG), direct=True
    )
    await refused(kv.put("Key", b"x"), "$KV.B.Key")
    await refused(kv.create("Key", b"x"), "$KV.B.Key")
    await refused(kv.delete("Key"), "$KV.B.Key")
    await refused(kv.get("Key"), "$JS.API.DIRECT.GET.KV_B.$KV.B.Key")
    await refused(kv.get("Key", revision=1), "$JS.API.DIRECT.GET.KV_B")


@pytest.mark.parametrize("old_style", [False, True])
async def test_a_reply_subject_that_is_refused(connect: Connect, old_style: bool) -> None:
    async def handler(client: Any) -> None:
        await client.handshake()
        while True:
            line = await client.read_line()
            if line == b"PING":
                await client.write(b"PONG\r\n")
            elif line.startswith((b"PUB", b"HPUB")):
                await client.read_payload(int(line.split()[-1]))
                reply = line.split()[2].decode()
                text = f"-ERR 'Permissions Violation for Publish with Reply of \"{reply}\"'\r\n"
                await client.write(text.encode())

    async with FakeServer(handler) as server:
        events = Events()
        nc = await connect(server, **events.callbacks)
        with pytest.raises(errors.Error, match="for publish with reply of"):
            await within(nc.request("a", timeout=LONG, old_style=old_style))
        assert len(events.errors) == 1
        await nc.close()
