"""Operations with sizes and numbers of parts that no server has reason to send."""

from __future__ import annotations

import pytest
from nats import errors
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer
from support.flooding import MB
from support.scripted import TIMEOUT, sending, subscriber
from support.waiting import Events, within

pytestmark = pytest.mark.usefixtures("driver")


@pytest.mark.parametrize(
    "line",
    [
        b"MSG a 1 00000000000000000000000000000000000000000000000000002\r\nok\r\n",
        b"MSG a 00000000000000000000000000001 2\r\nok\r\n",
        b"HMSG a 1 0 2\r\nok\r\n",
    ],
    ids=["zeros in front of a size", "zeros in front of a sid", "no headers"],
)
async def test_odd_but_sound_numbers(connect: Connect, line: bytes) -> None:
    await _expect_message(connect, line, b"ok")


async def test_a_payload_over_the_max_payload_that_was_announced(connect: Connect) -> None:
    """It limits what clients send; a server may deliver what it had stored before."""
    payload = b"x" * (3 * MB)
    await _expect_message(connect, b"MSG a 1 %d\r\n%s\r\n" % (len(payload), payload), payload)


async def test_subjects_with_odd_bytes(connect: Connect) -> None:
    for subject in (b"a\x00b", b"\x01", b"a" * 100_000):
        await _expect_message(connect, b"MSG " + subject + b" 1 2\r\nok\r\n", b"ok")


async def _expect_message(connect: Connect, data: bytes, payload: bytes) -> None:
    async with subscriber(connect, sending(data)) as (nc, sub, _):
        assert (await sub.next_msg(TIMEOUT)).data == payload
        await within(nc.flush())


@pytest.mark.parametrize(
    "line",
    [
        b"MSG a 18446744073709551616 1\r\nx\r\n",
        b"MSG a 1 9223372036854775808\r\nx\r\n",
        b"MSG a 1 1073741825\r\nx\r\n",
        b"HMSG a 1 18446744073709551615 18446744073709551615\r\nx\r\n",
        b"HMSG a 1 18446744073709551616 1\r\nx\r\n",
        b"HMSG a 1 -1 1\r\nx\r\n",
        b"HMSG a 1 2 1\r\nx\r\n",
    ],
)
async def test_sizes_that_cannot_be(connect: Connect, line: bytes) -> None:
    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        await client.expect(b"SUB ")
        await client.write(line)
        await client.wait_closed()

    async with FakeServer(handler) as server:
        events = Events()
        nc = await connect(server, allow_reconnect=False, **events.callbacks)
        await nc.subscribe("a")
        await events.wait("closed")
        assert isinstance(nc.last_error, errors.ProtocolError)


async def test_headers_by_the_thousand(connect: Connect) -> None:
    block = b"NATS/1.0\r\n" + b"A: 1\r\n" * 50_000 + b"\r\n"
    data = b"HMSG a 1 %d %d\r\n%s\r\n" % (len(block), len(block), block)

    async with subscriber(connect, sending(data)) as (_, sub, _):
        msg = await sub.next_msg(TIMEOUT)
        assert set(msg.headers) == {"A"}
