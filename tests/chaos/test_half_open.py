"""Packets that get lost without a word, on a link between this process and the server.

Neither end is told: the kernel takes what is written and sends it again and again, for minutes.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nats import errors
from nats.aio.client import Client
from nats.embedded import Server
from support.connecting import Connect
from support.handlers import ignore
from support.netns import Namespace, NoNamespace
from support.waiting import Events, eventually, within

PING_INTERVAL = 0.2
MAX_PINGS = 2
# Seconds by which a dead connection is noticed, but for a busy machine. TCP would take minutes.
NOTICED = PING_INTERVAL * (MAX_PINGS + 1)
SLACK = 15.0
OPTIONS: dict[str, Any] = {
    "ping_interval": PING_INTERVAL,
    "max_outstanding_pings": MAX_PINGS,
    "max_reconnect_attempts": -1,
    "connect_timeout": 0.3,
    "reconnect_time_wait": 0.02,
}
REQUEST_TIMEOUT = 0.3


@pytest.fixture(params=["tokio", "asyncio"])
def each_driver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every driver on every loop."""
    monkeypatch.setattr(Client, "_driver", request.param)


@pytest.fixture
def link() -> Iterator[Namespace]:
    with contextlib.ExitStack() as stack:
        try:
            link = stack.enter_context(Namespace())
        except NoNamespace as reason:
            pytest.skip(str(reason))
        yield link


@pytest.fixture
def far_server(link: Namespace, tmp_path: Path) -> Iterator[Server]:
    with link.server(tmp_path, jetstream=True) as server:
        try:
            socket.create_connection((link.theirs, server.port), 5).close()
        except OSError as error:
            pytest.skip(f"the namespace can't be reached: {error}")
        yield server


class Link:
    """A client with a stream and a subscription across the link."""

    def __init__(self) -> None:
        self.events = Events()
        self.got: list[int] = []
        self.acked: dict[int, bytes] = {}

    async def start(self, connect: Connect, url: str, **options: Any) -> None:
        async def note(msg: Any) -> None:
            self.got.append(int(msg.data))

        # One that gives its connection up says why; the others go on.
        self.quitter = await connect(url, **{**OPTIONS, "allow_reconnect": False, **options})
        self.nc = nc = await connect(url, **self.events.callbacks, **{**OPTIONS, **options})
        self.js = nc.jetstream(timeout=REQUEST_TIMEOUT)
        # Not yet: the first one takes its time on a busy machine.
        await nc.jetstream(timeout=10).add_stream(name="S", subjects=["s"], allow_direct=True)
        await nc.subscribe("numbers", cb=note)
        await nc.subscribe("silence", cb=ignore)
        await self.hear(1)

    async def hear(self, number: int) -> None:
        await self.nc.publish("numbers", b"%d" % number)
        await eventually(lambda: number in self.got, f"{number} in {self.got}")

    async def store(self, payload: bytes) -> None:
        """Publish under an id until it is acknowledged."""
        headers = {"Nats-Msg-Id": payload.decode()}
        deadline = time.monotonic() + SLACK
        while True:
            try:
                ack = await self.js.publish("s", payload, headers=dict(headers))
            except (errors.TimeoutError, errors.ConnectionReconnectingError):
                assert time.monotonic() < deadline, f"{payload!r} is never acknowledged"
            else:
                assert self.acked.setdefault(ack.seq, payload) == payload
                return

    async def lose_connection(self) -> None:
        """Nothing arrives any more: calls end in time, the client notices and says so."""
        nc, events = self.nc, self.events
        start = time.monotonic()
        sub = await nc.subscribe("nothing")
        pending = [await self.js.publish_async("s", b"async %d" % n) for n in range(5)]
        calls = [
            nc.request("silence", b"", REQUEST_TIMEOUT),
            nc.request("silence", b"", REQUEST_TIMEOUT, old_style=True),
            sub.next_msg(REQUEST_TIMEOUT),
            nc.flush(REQUEST_TIMEOUT),
            self.js.publish("s", b"unknown", headers={"Nats-Msg-Id": "unknown"}),
        ]
        for outcome in await within(
            asyncio.gather(*calls, return_exceptions=True), REQUEST_TIMEOUT + SLACK
        ):
            assert isinstance(outcome, (errors.TimeoutError, errors.ConnectionReconnectingError))
        await events.wait("disconnected", seconds=NOTICED + SLACK)
        assert time.monotonic() - start < NOTICED + REQUEST_TIMEOUT + SLACK
        await eventually(lambda: self.quitter.is_closed, seconds=SLACK)
        assert isinstance(self.quitter.last_error, errors.StaleConnectionError)
        for future in pending:
            with pytest.raises((errors.Error, asyncio.TimeoutError)):
                await within(future)
        # It tries to connect, and each try ends.
        tries = len(events.errors)
        await eventually(lambda: len(events.errors) >= tries + 2)
        assert nc.is_reconnecting
        assert events.names == ["disconnected"]

    async def check(self) -> None:
        """Everything works again, and what was acknowledged is there."""
        await self.events.wait("reconnected")
        await self.hear(3)
        # The number that was published while disconnected came with the new connection.
        assert self.got == [1, 2, 3]
        await self.store(b"unknown")
        await self.store(b"after")
        js = self.nc.jetstream(timeout=10)
        info = await js.stream_info("S")
        stored = {
            seq: (await js.get_msg("S", seq, direct=True)).data
            for seq in range(1, info.state.last_seq + 1)
        }
        assert self.acked.items() <= stored.items()
        assert len(set(stored.values())) == len(stored)
        assert self.events.names == ["disconnected", "reconnected"]
        assert self.nc._core.census()[:2] == (0, 0)


async def run(connect: Connect, link: Namespace, server: Server, cut: Any, mend: Any) -> None:
    session = Link()
    await session.start(connect, f"nats://{link.theirs}:{server.port}")
    for number in range(10):
        await session.store(b"before %d" % number)
    cut()
    await session.lose_connection()
    await session.nc.publish("numbers", b"2")
    mend()
    await session.check()


@pytest.mark.usefixtures("each_driver")
@pytest.mark.parametrize("direction", ["to the server", "to the client", "both ways"])
async def test_packets_get_lost(
    far_server: Server, connect: Connect, link: Namespace, direction: str
) -> None:
    def cut() -> None:
        link.lose(direction != "to the client", direction != "to the server")

    await run(connect, link, far_server, cut, lambda: link.lose(False, False))


@pytest.mark.usefixtures("each_driver")
async def test_link_is_down(far_server: Server, connect: Connect, link: Namespace) -> None:
    await run(connect, link, far_server, link.unplug, link.plug_in)


@pytest.mark.usefixtures("driver")
async def test_loss_that_is_shorter_than_pings_allow(
    far_server: Server, connect: Connect, link: Namespace
) -> None:
    """TCP makes up for it: no reconnect, and nothing is lost, core messages included."""
    session = Link()
    await session.start(connect, f"nats://{link.theirs}:{far_server.port}", ping_interval=60)
    link.lose(True, True)
    for number in range(2, 200):
        await session.nc.publish("numbers", b"%d" % number)
    js = session.nc.jetstream(timeout=10)
    pending = [await js.publish_async("s", b"%d" % number) for number in range(5)]
    with pytest.raises(errors.FlushTimeoutError):
        await within(session.nc.flush(REQUEST_TIMEOUT))
    with pytest.raises(errors.TimeoutError):
        await within(session.nc.request("silence", b"", REQUEST_TIMEOUT))
    link.lose(False, False)
    assert [(await within(future)).seq for future in pending] == [1, 2, 3, 4, 5]
    await session.hear(200)
    assert session.got == list(range(1, 201))
    assert session.events.names == []
    assert session.events.errors == []
