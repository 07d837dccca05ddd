"""Subscriptions limited to a number of messages: the server knows of the limit."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from nats.embedded import Server
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer
from support.handlers import echo
from support.waiting import EAGER, disconnected, eventually, within

pytestmark = pytest.mark.usefixtures("driver")


class Site:
    """A server with clients: a limited member of a queue group, the other member, a sender."""

    def __init__(self, limited: Any, others: Any, sender: Any) -> None:
        self.limited, self.others, self.sender = limited, others, sender

    async def join(self) -> None:
        """Subscribes the unlimited member."""
        self.other = await self.others.subscribe("jobs", "workers")
        await within(self.others.flush())

    async def publish(self, count: int) -> None:
        for number in range(count):
            await self.sender.publish("jobs", b"%d" % number)
        for client in (self.sender, self.limited, self.others):
            await within(client.flush())


@pytest.fixture
async def site(connect: Connect, server: Server) -> Site:
    return Site(await connect(**EAGER), await connect(), await connect())


async def at_server(server: Server, subject: str) -> int:
    """How many subscriptions to the subject the server has."""

    def ask() -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{server.monitor_url}/subsz?subs=1&limit=10000") as answer:
            listed: list[dict[str, Any]] = json.load(answer).get("subscriptions_list", [])
            return listed

    return sum(each["subject"].startswith(subject) for each in await asyncio.to_thread(ask))


@pytest.mark.parametrize("kind", ["handler", "iterator", "unsubscribe", "future"])
async def test_a_limited_member_of_a_group_takes_no_more_than_its_limit(
    site: Site, kind: str
) -> None:
    got: list[bytes] = []

    async def handler(msg: Any) -> None:
        got.append(msg.data)

    options: dict[str, Any] = {"max_msgs": 5}
    if kind == "handler":
        options["cb"] = handler
    elif kind == "future":
        options = {"future": asyncio.get_running_loop().create_future()}
    elif kind == "unsubscribe":
        options = {}
    sub = await site.limited.subscribe("jobs", "workers", **options)
    if kind == "unsubscribe":
        await sub.unsubscribe(limit=5)
    await within(site.limited.flush())
    await site.join()
    await site.publish(100)
    limit = 1 if kind == "future" else 5
    assert (sub.delivered, site.other.delivered) == (limit, 100 - limit)
    assert site.limited.stats["in_msgs"] == limit
    if kind == "handler":
        await eventually(lambda: len(got) == 5)
    elif kind == "future":
        assert (await within(options["future"])).subject == "jobs"
    await eventually(lambda: sub._id not in site.limited._subs)


async def one_shot(nc: Any) -> None:
    sub = await nc.subscribe("one", max_msgs=1)
    await nc.publish("one")
    await within(sub.next_msg(5))


async def one_future(nc: Any) -> None:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    await nc.subscribe("one", future=future)
    await nc.publish("one")
    await within(future)


async def old_style_request(nc: Any) -> None:
    assert (await nc.request("echo", b"x", timeout=5, old_style=True)).data == b"x"


@pytest.mark.parametrize("use", [one_shot, one_future, old_style_request])
async def test_one_message_subscriptions_leave_nothing_at_the_server(
    connect: Connect, use: Callable[[Any], Awaitable[None]]
) -> None:
    with Server(monitor=True) as server:
        nc, other = await connect(server, inbox_prefix="one"), await connect(server)

        await other.subscribe("echo", cb=echo)
        await within(other.flush())
        for _ in range(50):
            await use(nc)
        await within(nc.flush())
        assert not nc._subs
        assert await at_server(server, "one") == 0
        assert await at_server(server, "echo") == 1


@pytest.mark.parametrize("said", ["at first", "after the reconnect"])
async def test_a_limit_counts_from_the_start_over_a_reconnect(site: Site, said: str) -> None:
    sub = await site.limited.subscribe("jobs", "workers", max_msgs=5 if said == "at first" else 0)
    await within(site.limited.flush())
    await site.sender.publish("jobs")
    await site.sender.publish("jobs")
    await eventually(lambda: sub.delivered == 2)
    await site.limited.force_reconnect()
    await eventually(lambda: site.limited.stats["reconnects"] == 1 and site.limited.is_connected)
    if said == "after the reconnect":
        await sub.unsubscribe(limit=5)
    await within(site.limited.flush())
    await site.join()
    await site.publish(100)
    assert (sub.delivered, site.other.delivered) == (5, 97)
    assert len([msg async for msg in sub.messages]) == 5


async def test_a_limit_below_what_came_before_a_reconnect(site: Site) -> None:
    sub = await site.limited.subscribe("jobs", "workers")
    await within(site.limited.flush())
    for _ in range(3):
        await site.sender.publish("jobs")
    await eventually(lambda: sub.delivered == 3)
    await site.limited.force_reconnect()
    await eventually(lambda: site.limited.stats["reconnects"] == 1 and site.limited.is_connected)
    await sub.unsubscribe(limit=2)
    await within(site.limited.flush())
    await site.join()
    await site.publish(20)
    assert site.other.delivered == 20
    assert len([msg async for msg in sub.messages]) == 3


async def test_a_limited_subscription_made_while_disconnected(
    connect: Connect, server: Server
) -> None:
    async with disconnected(connect) as nc:
        sub = await nc.subscribe("jobs", "workers", max_msgs=5)
    site = Site(nc, await connect(), await connect())
    await site.join()
    await site.publish(100)
    assert (sub.delivered, site.other.delivered) == (5, 95)


async def test_what_is_sent(connect: Connect) -> None:
    """The limit goes out with SUB, and again where the server may count otherwise than we do."""

    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        left = 3 - client.index
        assert (await client.expect(b"SUB ")).split() == [b"SUB", b"data", b"1"]
        # Sent in one go: another client's message could come between otherwise.
        assert client.reader._buffer.startswith(b"UNSUB 1 %d\r\n" % left)  # type: ignore[attr-defined]
        await client.expect(b"UNSUB 1 %d" % left)
        await client.expect(b"PING")
        await client.write(b"PONG\r\n")
        if client.index == 0:
            await client.send_message("data", 1)
            await client.wait_closed()
        else:
            await client.write(b"MSG data 1 1\r\nx\r\n" * 2)
            await client.expect(b"UNSUB 1")
            await client.serve()

    async with FakeServer(handler) as server:
        nc = await connect(server, **EAGER)
        sub = await nc.subscribe("data", max_msgs=3)
        await within(nc.flush())
        await eventually(lambda: sub.delivered == 1)
        await nc.force_reconnect()
        await eventually(lambda: sub.delivered == 3)
        await eventually(lambda: server.connections[1].lines[-1] == b"UNSUB 1")
        await nc.close()
