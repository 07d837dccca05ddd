"""What is asked of a client without a connection, and what of it the next server hears."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from nats import errors
from nats.aio.client import Client
from nats.embedded import Server
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer
from support.scripted import TIMEOUT, admit, subscribed
from support.waiting import EAGER, Events, disconnected, eventually, within

pytestmark = pytest.mark.usefixtures("driver")


class Handshaking:
    """Holds up handshakes between PING and PONG, and notes what comes behind them."""

    def __init__(self, index: int) -> None:
        self.index = index
        """The connection to hold up; those before it are admitted."""
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()
        self.commands: list[tuple[bytes, ...]] = []
        """All commands of that connection, and payloads."""

    async def __call__(self, client: FakeConnection) -> None:
        if client.index < self.index:
            await admit(client)
            await client.serve()
        await client.send_info()
        await client.expect(b"CONNECT ")
        await client.expect(b"PING")
        self.reached.set()
        await self.go_on.wait()
        await client.write(b"PONG\r\n")
        while True:
            command = tuple((await client.read_line(timeout=60)).split())
            if command[0] == b"PUB":
                command = (*command, await client.read_payload(int(command[-1])))
            self.commands.append(command)
            if command == (b"PING",):
                await client.write(b"PONG\r\n")

    async def until_ping(self) -> list[tuple[bytes, ...]]:
        """The commands up to the first PING behind the handshake's."""
        await eventually(lambda: (b"PING",) in self.commands, "a PING")
        return self.commands


async def use(nc: Any) -> None:
    """Do everything that a client without a connection takes."""
    made = await nc.subscribe("made", queue="group")
    limited = await nc.subscribe("limited")
    await limited.unsubscribe(limit=3)
    ended = await nc.subscribe("ended", queue="group")
    await ended.unsubscribe()
    await nc.publish("data", b"UNSUB 1")
    await within(nc.flush(timeout=30), 5)
    with pytest.raises(errors.TimeoutError) as caught:
        await within(nc.rtt(timeout=0.05))
    assert type(caught.value) is errors.TimeoutError
    assert (made.subject, ended.subject) == ("made", "ended")


def used(first_sid: int) -> list[tuple[bytes, ...]]:
    """What a server hears of `use` and a PING: every subscription once, and nothing of the one
    that is over."""
    made, limited = b"%d" % first_sid, b"%d" % (first_sid + 1)
    return [
        (b"SUB", b"made", b"group", made),
        (b"SUB", b"limited", limited),
        (b"UNSUB", limited, b"3"),
        (b"PUB", b"data", b"7", b"UNSUB 1"),
        (b"PING",),
    ]


async def test_while_connecting() -> None:
    handshake = Handshaking(index=0)
    async with FakeServer(handshake) as server:
        nc = Client()
        connecting = asyncio.create_task(nc.connect(server.url, **EAGER))
        await within(handshake.reached.wait())
        assert nc.is_connecting
        await use(nc)
        handshake.go_on.set()
        await within(connecting)
        await within(nc.flush())
        assert await handshake.until_ping() == used(1)
        await nc.close()


@contextlib.asynccontextmanager
async def without_connection(connect: Connect, handshake: Handshaking) -> AsyncIterator[Any]:
    """A client that has lost its connection; it looks for another one when the body ends."""
    async with FakeServer(handshake) as server:
        lost, go_on = asyncio.Event(), asyncio.Event()
        events = Events()

        async def disconnected() -> None:
            lost.set()
            await go_on.wait()

        nc = await connect(server, **{**events.callbacks, "disconnected_cb": disconnected}, **EAGER)
        await subscribed(nc)
        server.connections[0].abort()
        await within(lost.wait())
        assert nc.is_reconnecting
        yield nc
        go_on.set()
        await events.wait("reconnected")
        assert len(server.connections) == 2
        await nc.close()


async def test_while_reconnecting(connect: Connect) -> None:
    handshake = Handshaking(index=1)
    handshake.go_on.set()
    async with without_connection(connect, handshake) as nc:
        await use(nc)
    assert await handshake.until_ping() == [(b"SUB", b"a", b"1"), *used(2)]


async def test_during_the_handshake_with_the_next_server(connect: Connect) -> None:
    handshake = Handshaking(index=1)
    async with FakeServer(handshake) as server:
        events = Events()
        nc = await connect(server, **events.callbacks, **EAGER)
        await subscribed(nc)
        server.connections[0].abort()
        await within(handshake.reached.wait())
        assert nc.is_connecting
        await use(nc)
        handshake.go_on.set()
        await events.wait("reconnected")
        assert await handshake.until_ping() == [(b"SUB", b"a", b"1"), *used(2)]
        assert len(server.connections) == 2
        await nc.close()


async def test_ending_a_subscription_before_and_after_a_connection_was_lost(
    connect: Connect,
) -> None:
    """The lost connection's UNSUB, which it may not have got, and that of a limit."""
    handshake = Handshaking(index=1)
    async with FakeServer(handshake) as server:
        events = Events()
        nc = await connect(server, **events.callbacks, **EAGER)
        first = await subscribed(nc)
        second = await nc.subscribe("b")
        await within(nc.flush())
        await nc.force_reconnect()
        await first.unsubscribe()
        await within(handshake.reached.wait())
        await second.unsubscribe()
        handshake.go_on.set()
        await events.wait("reconnected")
        assert await handshake.until_ping() == [(b"PING",)]
        await nc.close()


async def test_a_group_member_that_left_meanwhile_gets_nothing(
    server: Server, connect: Connect
) -> None:
    other, sender = await connect(), await connect()
    worker = await other.subscribe("jobs", queue="workers")
    await within(other.flush())
    async with disconnected(connect) as nc:
        member = await nc.subscribe("jobs", queue="workers")
        await member.unsubscribe()
    for number in range(100):
        await sender.publish("jobs", b"%d" % number)
    await within(sender.flush())
    await within(other.flush())
    # With two members, half of them would be missing.
    assert worker.pending_msgs == 100


async def test_flush_after_force_reconnect(server: Server, connect: Connect) -> None:
    events = Events()
    nc = await connect(**events.callbacks, **EAGER)
    sub = await subscribed(nc)
    for round in range(1, 4):
        await nc.force_reconnect()
        await nc.publish("a", b"%d" % round)
        # There is nobody to ask.
        await within(nc.flush(timeout=30), 5)
        assert nc.is_reconnecting
        await events.wait("reconnected", round)
        assert (await sub.next_msg(TIMEOUT)).data == b"%d" % round
        await within(nc.flush(timeout=30), 5)
    assert events.errors == []


async def test_flush_while_no_server_is_there(server: Server, connect: Connect) -> None:
    events = Events()
    nc = await connect(max_reconnect_attempts=-1, **events.callbacks, **EAGER)
    await server.akill()
    await events.wait("disconnected")
    await nc.publish("a")
    await within(nc.flush(timeout=30), 5)
    assert not nc.is_connected
    assert nc.pending_data_size > 0


async def test_a_flush_that_was_given_up_does_not_end_a_later_one(connect: Connect) -> None:
    blocked, answer = asyncio.Event(), asyncio.Event()

    async def handler(client: FakeConnection) -> None:
        if client.index == 0:
            await admit(client)
            # Reads no more, until the client has given up.
            await blocked.wait()
            client.abort()
            return
        await client.handshake()
        pings, owed, is_important = 0, 0, False
        while True:
            line = await client.read_line(timeout=60)
            if line.startswith(b"PUB "):
                await client.read_payload(int(line.split()[-1]))
                is_important = line.startswith(b"PUB important ")
            if line != b"PING":
                continue
            pings += 1
            if pings == 1:
                await client.write(b"PONG\r\n")
            elif not is_important:
                # There is none, or it is the old connection's: late answers do the most harm.
                owed += 1
            else:
                await client.write(b"PONG\r\n" * owed)
                # Told of behind all answers that there were.
                await client.write(b"-ERR 'Permissions Violation for Publish'\r\n")
                await answer.wait()
                await client.write(b"PONG\r\n")
                await client.serve()

    async with FakeServer(handler) as server:
        events = Events()
        nc = await connect(server, pending_size=1 << 30, **events.callbacks, **EAGER)
        await subscribed(nc)
        for _ in range(16):
            await nc.publish("bulk", bytes(1_000_000))
        # A part is with the socket, which doesn't take the rest, nor what comes behind it.
        await eventually(lambda: nc.pending_data_size < 16_000_000)
        with pytest.raises(errors.FlushTimeoutError):
            await nc.flush(0.1)
        blocked.set()
        await events.wait("reconnected")
        await nc.publish("important", b"x")
        flushing = asyncio.create_task(nc.flush())
        await events.wait_error(errors.Error, "permissions violation")
        assert not flushing.done()
        answer.set()
        await within(flushing)
        await nc.close()


async def test_subscriptions_that_come_and_go_leave_room_to_publish(connect: Connect) -> None:
    server = Server()
    server.start()
    nc = await connect(server, pending_size=10_000, max_reconnect_attempts=-1, **EAGER)
    kept = await nc.subscribe("kept")
    # Else it depends on the loop whether this is written to a connection that has ended.
    await within(nc.flush())
    server.stop()
    await eventually(lambda: nc.is_reconnecting, "the client has noticed")
    for number in range(1000):
        sub = await nc.subscribe(f"data.{number}")
        await sub.unsubscribe()
    later = await nc.subscribe("later")
    assert nc.pending_data_size == 0
    await nc.publish("kept", b"1")
    await nc.publish("later", b"2")
    with server:
        assert (await kept.next_msg(TIMEOUT)).data == b"1"
        assert (await later.next_msg(TIMEOUT)).data == b"2"
        assert nc.is_connected
