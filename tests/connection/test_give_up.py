"""A client that gives up says why, once; what comes and goes is in the log."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from nats import errors
from nats.embedded import Server
from support.connecting import Connect
from support.waiting import EAGER, Events, eventually, within

pytestmark = pytest.mark.usefixtures("driver")


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "nats")
    return caplog


def lines(log: pytest.LogCaptureFixture, level: str) -> list[str]:
    return [record.getMessage() for record in log.records if record.levelname == level]


async def test_the_final_error_is_told_everywhere(
    server: Server, connect: Connect, log: pytest.LogCaptureFixture
) -> None:
    events = Events()
    told: list[str] = []
    callbacks = events.callbacks

    async def closed() -> None:
        told.extend(str(error) for error in events.errors)
        await events.callbacks["closed_cb"]()

    nc = await connect(**{**callbacks, "closed_cb": closed}, max_reconnect_attempts=1, **EAGER)
    waiting = asyncio.ensure_future((await nc.subscribe("a")).next_msg(timeout=None))
    messages = (await nc.subscribe("b")).messages

    async def iterate() -> list[Any]:
        return [msg async for msg in messages]

    iterating = asyncio.ensure_future(iterate())
    await nc.flush()
    await server.akill()
    await events.wait("closed")
    final = nc.last_error
    assert isinstance(final, errors.NoServersError)
    assert f"127.0.0.1:{server.port}: [Errno " in str(final)
    assert events.errors[-1] is final
    assert [type(error) for error in events.errors].count(errors.NoServersError) == 1
    # Before `closed_cb`.
    assert told[-1] == str(final)
    for each in (waiting, iterating):
        with pytest.raises(errors.ConnectionClosedError):
            await within(each)
    assert lines(log, "ERROR") == [f"nats: giving up: {str(final).removeprefix('nats: ')}"]


async def test_it_is_logged_once_by_default(
    server: Server, connect: Connect, log: pytest.LogCaptureFixture
) -> None:
    closed = asyncio.Event()

    async def closed_cb() -> None:
        closed.set()

    await connect(closed_cb=closed_cb, max_reconnect_attempts=1, **EAGER)
    await server.akill()
    await within(closed.wait())
    (final,) = [line for line in lines(log, "ERROR") if "no servers available" in line]
    assert f"127.0.0.1:{server.port}" in final
    assert len([line for line in lines(log, "WARNING") if "connecting to" in line]) == 2


async def test_connections_that_come_and_go(
    connect: Connect, log: pytest.LogCaptureFixture
) -> None:
    config = 'authorization { user: "joe", password: "s3cr3t" }'
    async with Server(config=config) as server:
        address = f"127.0.0.1:{server.port}"
        events = Events()
        nc = await connect(f"nats://joe:s3cr3t@{address}", **EAGER, **events.callbacks)
        await nc.flush()
        await server.arestart()
        await events.wait("reconnected")
        await nc.force_reconnect()
        await events.wait("reconnected", 2)
        await nc.close()
    told = lines(log, "INFO")
    again = ["disconnected from", "reconnected to"]
    begins = ["connected to", *again, *again, "closed"]
    assert len(told) == len(begins)
    for line, begin in zip(told, begins, strict=True):
        assert line.startswith(f"nats: {begin}")
        assert address in line or begin == "closed"
    assert "s3cr3t" not in log.text
    # With the reason.
    assert len(told[1]) > len(f"nats: disconnected from {address}: ")
    assert told[3].endswith("force_reconnect() was called")


async def test_without_reconnecting(
    server: Server, connect: Connect, log: pytest.LogCaptureFixture
) -> None:
    events = Events()
    nc = await connect(allow_reconnect=False, **events.callbacks)
    await server.akill()
    await events.wait("closed")
    (line,) = lines(log, "ERROR")
    assert str(nc.last_error).removeprefix("nats: ") in line
    assert [text.split()[1] for text in lines(log, "INFO")] == [
        "connected",
        "disconnected",
        "closed",
    ]


async def test_no_attempts_are_one_for_each_server(server: Server, connect: Connect) -> None:
    events = Events()
    nc = await connect(max_reconnect_attempts=0, **events.callbacks, **EAGER)
    await server.akill()
    await events.wait("closed")
    # Refused, or reset by a server that is about to end.
    assert sum(isinstance(error, OSError) for error in events.errors) == 1
    assert isinstance(nc.last_error, errors.NoServersError)


async def test_connecting_again_in_the_error_callback(connect: Connect) -> None:
    """A watchdog's new connection isn't closed along with what was given up."""
    async with Server() as first, Server() as second:
        events = Events()

        async def error_cb(error: Exception) -> None:
            events.errors.append(error)
            if isinstance(error, errors.NoServersError):
                await nc.connect(second.url, **{**callbacks, **EAGER})

        callbacks = {**events.callbacks, "error_cb": error_cb}
        nc = await connect(first, max_reconnect_attempts=0, **callbacks, **EAGER)
        await first.akill()
        await events.wait_error(errors.NoServersError)
        await eventually(lambda: nc.is_connected)
        await within(nc.flush())
        assert nc.connected_url.port == second.port
        assert "closed" not in events.names
