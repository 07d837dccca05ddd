"""Clients that nobody has closed, under loops that are closed: they and their sockets go."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import socket
import sys
import time
import urllib.request
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import nats
import psutil
import pytest
from nats.aio.client import Client
from nats.embedded import Server
from nats.js.kv import KeyValue
from support.event_loops import blind, new_uvloop
from support.waiting import PATIENCE, eventually

pytestmark = [
    pytest.mark.usefixtures("driver"),
    # Of sockets that are dropped.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
Scenario = Callable[[Any], Any]


@pytest.fixture(params=["asyncio", "uvloop", "blind"])
def new_loop(request: pytest.FixtureRequest) -> LoopFactory:
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    loops: dict[str, LoopFactory] = {
        "asyncio": asyncio.SelectorEventLoop,
        "uvloop": new_uvloop,
        "blind": blind(asyncio.SelectorEventLoop),
    }
    return loops[request.param]


@pytest.fixture(scope="module")
def monitored() -> Iterator[Server]:
    with Server(monitor=True) as server:
        yield server


def connections(server: Server) -> int:
    with urllib.request.urlopen(f"{server.monitor_url}/connz", timeout=PATIENCE) as answer:
        return int(json.load(answer)["num_connections"])


@pytest.fixture(autouse=True)
def silence(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody notes what dropped tasks say: it would keep what they have used."""
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: None)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("asyncio").setLevel(logging.NOTSET)


async def _idle(nc: Any) -> None:
    pass


async def _consume(nc: Any) -> None:
    handled = asyncio.get_running_loop().create_future()

    async def handler(msg: Any) -> None:
        handled.set_result(msg.data)

    await nc.subscribe("data", cb=handler)
    await nc.publish("data", b"x")
    await asyncio.wait_for(handled, PATIENCE)


async def _iterate(nc: Any) -> None:
    sub = await nc.subscribe("data")

    async def iterate() -> None:
        async for _ in sub.messages:
            pass

    nc.mine = asyncio.get_running_loop().create_task(iterate())


async def _wait_with_a_timeout(nc: Any) -> None:
    sub = await nc.subscribe("data")
    nc.mine = asyncio.get_running_loop().create_task(sub.next_msg(timeout=1000))


async def _join(nc: Any) -> None:
    async def handler(msg: Any) -> None:
        await asyncio.Event().wait()

    sub = await nc.subscribe("data", cb=handler)
    await nc.publish("data", b"x")
    nc.mine = asyncio.get_running_loop().create_task(sub.drain())
    await nc.flush()


async def _request(nc: Any) -> None:
    await nc.subscribe("silent")
    nc.mine = asyncio.get_running_loop().create_task(nc.request("silent", timeout=1000))


async def _publish_async(nc: Any) -> None:
    await nc.subscribe("silent")
    js = nc.jetstream(publish_async_max_pending=1)
    nc.mine = [await js.publish_async("silent", b"")]
    nc.mine.append(asyncio.get_running_loop().create_task(js.publish_async("silent", b"")))


async def _flush(nc: Any) -> None:
    nc.mine = asyncio.get_running_loop().create_task(nc.flush(timeout=1000))


async def _wait_for_room(nc: Any) -> None:
    async def flood() -> None:
        while True:
            await nc.publish("data", bytes(1 << 20))

    nc.mine = asyncio.get_running_loop().create_task(flood())
    await asyncio.sleep(0)


class Key(str):
    """A key that leads back to its client."""

    mine: Any


async def _get_entry(nc: Any) -> None:
    await nc.subscribe("$JS.API.>")
    key = Key("key")
    key.mine = nc
    bucket = KeyValue("B", "KV_B", "$KV.B.", nc.jetstream(), True)
    nc.mine = asyncio.get_running_loop().create_task(bucket.get(key))


async def _fetch(nc: Any) -> None:
    await nc.subscribe("$JS.API.>")
    sub = await nc.jetstream().pull_subscribe_bind("consumer", "S")
    nc.mine = asyncio.get_running_loop().create_task(sub.fetch(1, timeout=1000))
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    "use",
    [
        _idle,
        _consume,
        _iterate,
        _wait_with_a_timeout,
        _join,
        _request,
        _publish_async,
        _flush,
        _wait_for_room,
        _get_entry,
        _fetch,
    ],
    ids=lambda use: use.__name__.strip("_"),
)
@pytest.mark.parametrize("close", [False, True], ids=["left open", "closed"])
def test_a_client_goes_with_its_loop(
    new_loop: LoopFactory, use: Scenario, close: bool, monitored: Server
) -> None:
    async def main() -> weakref.ref[Any]:
        nc = await nats.connect(monitored.url)
        await use(nc)
        await asyncio.sleep(0)
        if close:
            await nc.close()
            await asyncio.sleep(0)
        return weakref.ref(nc)

    loop = new_loop()
    client = loop.run_until_complete(asyncio.wait_for(main(), PATIENCE))
    loop.close()
    del loop
    deadline = time.monotonic() + PATIENCE
    while client() is not None or connections(monitored) > 0:
        assert time.monotonic() < deadline, gc.get_referrers(client())
        gc.collect()
        time.sleep(0.01)


def test_a_dial_goes_with_its_loop(new_loop: LoopFactory) -> None:
    with socket.socket() as full, contextlib.ExitStack() as others:
        # It takes no more connections: who dials waits.
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        taken = set()
        for _ in range(4):
            other = others.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(full.getsockname())
            taken.add(other.fileno())

        def is_dialling() -> bool:
            return any(
                one.raddr == full.getsockname() and one.fd not in taken
                for one in psutil.Process().net_connections("tcp")
            )

        async def main() -> weakref.ref[Any]:
            nc: Any = Client()
            url = "nats://{}:{}".format(*full.getsockname())
            nc.mine = asyncio.get_running_loop().create_task(nc.connect(url, connect_timeout=1000))
            await eventually(is_dialling, "the dial is under way")
            return weakref.ref(nc)

        loop = new_loop()
        client = loop.run_until_complete(asyncio.wait_for(main(), PATIENCE))
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        del loop
        deadline = time.monotonic() + PATIENCE
        while client() is not None or is_dialling():
            assert time.monotonic() < deadline, gc.get_referrers(client())
            gc.collect()
            time.sleep(0.01)
