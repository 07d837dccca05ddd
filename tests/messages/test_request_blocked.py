"""Deadlines count while output is blocked: a server that doesn't read holds nobody longer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from nats import errors
from nats.aio.client import Client
from nats.embedded import Server
from support.connecting import Connect
from support.proxy import Proxy
from support.waiting import eventually, within

pytestmark = pytest.mark.usefixtures("driver")

LIMIT = 1 << 20
TIMEOUT = 0.3


@contextlib.asynccontextmanager
async def blocked(nc: Any, proxy: Proxy) -> AsyncIterator[None]:
    """More is pending than may be, and others wait for room already."""

    async def publish() -> None:
        while True:
            await nc.publish("bulk", bytes(100_000))

    proxy.stall()
    publishing = [asyncio.create_task(publish()) for _ in range(20)]
    try:
        await eventually(lambda: nc.pending_data_size > LIMIT)
        yield
    finally:
        for task in publishing:
            task.cancel()
        await asyncio.wait(publishing)
        proxy.resume()


Call = Callable[[Any, Any, Any], Awaitable[Any]]


def calls() -> list[Any]:
    cases: dict[str, Call] = {
        "request": lambda nc, js, kv: nc.request("service", b"", timeout=TIMEOUT),
        "request old style": lambda nc, js, kv: nc.request(
            "service", b"", timeout=TIMEOUT, old_style=True
        ),
        "publish to a stream": lambda nc, js, kv: js.publish("s", b"", timeout=TIMEOUT),
        "get of a key": lambda nc, js, kv: kv.get("key"),
    }
    return [pytest.param(call, id=name) for name, call in cases.items()]


@pytest.mark.parametrize("call", calls())
async def test_a_call_ends_in_time(js_server: Server, connect: Connect, call: Call) -> None:
    async with Proxy(js_server.url) as proxy:
        nc = await connect(proxy, pending_size=LIMIT)
        js = nc.jetstream()
        await js.add_stream(name="S", subjects=["s"])
        await js.create_key_value(bucket="b")
        kv = await nc.jetstream(timeout=TIMEOUT).key_value("b")
        await kv.put("key", b"value")
        await within(call_once(nc))
        subs = len(nc._subs)
        async with blocked(nc, proxy):
            for _ in range(2):
                with pytest.raises(errors.TimeoutError):
                    await within(call(nc, js, kv), 5)
        await within(nc.flush())
        requests, deadlines, _, pongs = nc._core.census()
        assert (requests, deadlines, pongs) == (0, 0, 0)
        assert len(nc._subs) == subs
        # Back to normal.
        assert (await kv.get("key")).value == b"value"
        await nc.close()


async def call_once(nc: Any) -> None:
    """Have the inbox for answers subscribed."""
    with pytest.raises(errors.NoRespondersError):
        await nc.request("nobody")


async def test_a_first_request_and_one_through_a_publish_of_the_application(
    server: Server, connect: Connect
) -> None:
    class Watching(Client):
        async def publish(self, *args: Any, **options: Any) -> None:
            await super().publish(*args, **options)

    async with Proxy(server.url) as proxy:
        for kind in (Client, Watching):
            nc: Any = kind()
            await nc.connect(proxy.url, pending_size=LIMIT)
            async with blocked(nc, proxy):
                for _ in range(2):
                    with pytest.raises(errors.TimeoutError):
                        await within(nc.request("service", timeout=TIMEOUT), 5)
            await within(nc.flush())
            requests, deadlines, _, pongs = nc._core.census()
            assert (requests, deadlines, pongs) == (0, 0, 0)
            await nc.close()
