"""Steps shared by tests that script what a server sends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import nats

from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer, Handler
from support.waiting import Events, eventually, within

# Seconds that a message may take.
TIMEOUT = 30.0


async def admit(client: FakeConnection) -> None:
    """Let a client in that subscribes and flushes."""
    await client.handshake()
    await client.expect(b"SUB ")
    await client.expect(b"PING")
    await client.write(b"PONG\r\n")


def sending(data: bytes) -> Handler:
    """A server that sends this to a client that has subscribed and flushed, and goes on."""

    async def handler(client: FakeConnection) -> None:
        await admit(client)
        await client.write(data)
        await client.serve()

    return handler


def beginning(data: bytes) -> Handler:
    """A server that says this in the place of INFO and waits for the client to go away."""

    async def handler(client: FakeConnection) -> None:
        await client.write(data)
        await client.wait_closed()

    return handler


async def subscribed(nc: Any, subject: str = "a") -> Any:
    sub = await nc.subscribe(subject)
    await within(nc.flush())
    return sub


class Subscriber(NamedTuple):
    nc: Any
    sub: Any
    events: Events


@contextlib.asynccontextmanager
async def subscriber(
    connect: Connect, handler: Handler, subject: str = "a", **options: Any
) -> AsyncIterator[Subscriber]:
    """A client of a server with this script, which has subscribed and flushed; it is closed."""
    async with FakeServer(handler) as server:
        events = Events()
        nc = await connect(server, **{**events.callbacks, **options})
        yield Subscriber(nc, await subscribed(nc, subject), events)
        await nc.close()


async def payloads(sub: Any, count: int) -> list[bytes]:
    return [(await sub.next_msg(TIMEOUT)).data for _ in range(count)]


async def assert_nothing_runs() -> None:
    """No task of a client is left; those that are cancelled may take a turn of the loop."""
    home = str(Path(nats.__file__).parent)

    def running() -> list[str]:
        coroutines: list[Any] = [task.get_coro() for task in asyncio.all_tasks()]
        return [
            repr(coroutine)
            for coroutine in coroutines
            if getattr(coroutine, "cr_code", None)
            and coroutine.cr_code.co_filename.startswith(home)
        ]

    await eventually(lambda: not running(), "all tasks of the client have ended", seconds=3)
