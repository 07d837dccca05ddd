"""Messages that arrive in unusual portions, and operations that nobody has asked for."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer
from support.scripted import TIMEOUT, admit, payloads, sending, subscriber
from support.waiting import eventually, within

pytestmark = pytest.mark.usefixtures("driver")


async def test_one_byte_at_a_time(connect: Connect) -> None:
    headers = b"NATS/1.0\r\nKey: value\r\n\r\n"

    async def handler(client: FakeConnection) -> None:
        await admit(client)
        await client.write_slowly(
            b"MSG a 1 3\r\none\r\n+OK\r\nPING\r\nMSG a 1 reply 0\r\n\r\n"
            b"HMSG a 1 %d %d\r\n" % (len(headers), len(headers) + 5) + headers + b"three\r\n"
            b"MSG a 1 4\r\n\r\n\r\n\r\n",
            pause=0,
        )
        await client.expect(b"PONG")
        await client.serve()

    async with subscriber(connect, handler) as (_, sub, events):
        msgs = [await sub.next_msg(TIMEOUT) for _ in range(4)]
        assert [msg.data for msg in msgs] == [b"one", b"", b"three", b"\r\n\r\n"]
        assert [msg.reply for msg in msgs] == ["", "reply", "", ""]
        assert msgs[2].headers == {"Key": "value"}
        assert (events.names, events.errors) == ([], [])


async def test_large_message_in_pieces(connect: Connect) -> None:
    payload = os.urandom(5 << 20)

    async def handler(client: FakeConnection) -> None:
        await admit(client)
        data = b"MSG a 1 3\r\none\r\nMSG a 1 %d\r\n" % len(payload) + payload + b"\r\n"
        await client.write_slowly(data, size=99_991, pause=0)
        await client.write(b"MSG a 1 5\r\nthree\r\n")
        await client.serve()

    async with subscriber(connect, handler) as (nc, sub, _):
        assert await payloads(sub, 3) == [b"one", payload, b"three"]
        assert nc.stats["in_bytes"] == len(payload) + 8


async def test_many_messages_in_one_write(connect: Connect) -> None:
    count = 20_000

    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        for _ in range(2):
            await client.expect(b"SUB ")
        await client.expect(b"PING")
        await client.write(
            b"PONG\r\n"
            + b"".join(
                b"MSG a %d %d\r\n%d\r\n" % (1 + number % 2, len(str(number)), number)
                for number in range(count)
            )
        )
        await client.serve()

    async with FakeServer(handler) as server:
        nc = await connect(server)
        handled: list[int] = []

        async def callback(msg: Any) -> None:
            handled.append(int(msg.data))

        await nc.subscribe("a", cb=callback)
        sub = await nc.subscribe("a")
        await within(nc.flush())
        polled = [int(data) for data in await payloads(sub, count // 2)]
        await eventually(lambda: len(handled) == count // 2)
        assert handled == list(range(0, count, 2))
        assert polled == list(range(1, count, 2))
        assert nc.stats["in_msgs"] == count
        await nc.close()


async def test_pong_nobody_has_asked_for(connect: Connect) -> None:
    answer = asyncio.Event()

    async def handler(client: FakeConnection) -> None:
        await admit(client)
        await client.write(b"PONG\r\nPONG\r\nMSG a 1 3\r\none\r\nPONG\r\nMSG a 1 3\r\nend\r\n")
        await client.expect(b"PING")
        await client.write(b"MSG a 1 3\r\ntwo\r\n")
        await answer.wait()
        await client.write(b"PONG\r\n")
        await client.serve()

    async with subscriber(connect, handler) as (nc, sub, events):
        assert await payloads(sub, 2) == [b"one", b"end"]
        # The bell of the surplus PONGs may be about to ring.
        nc._core.drain()
        flushing = asyncio.create_task(nc.flush())
        assert await payloads(sub, 1) == [b"two"]
        assert not flushing.done(), "an earlier PONG answered it"
        answer.set()
        await within(flushing)
        assert nc._core.census()[3] == 0
        assert (events.names, events.errors) == ([], [])


async def test_messages_for_unknown_sids(connect: Connect) -> None:
    data = (
        b"MSG a 0 3\r\nbad\r\nMSG a 2 3\r\nbad\r\nMSG a 1 3\r\none\r\n"
        b"MSG a 18446744073709551615 3\r\nbad\r\nMSG a 1 3\r\ntwo\r\n"
    )
    async with subscriber(connect, sending(data)) as (nc, sub, events):
        assert await payloads(sub, 2) == [b"one", b"two"]
        await within(nc.flush())
        assert sub.pending_msgs == 0
        assert nc.stats["in_msgs"] == 5
        assert (events.names, events.errors) == ([], [])
