"""Answers to requests of JetStream that are none."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer
from support.waiting import within

pytestmark = pytest.mark.usefixtures("driver")


def hostile_answers() -> list[Any]:
    cases = {
        "nesting": b"[" * 200_000,
        "nested objects": b'{"error":' * 100_000,
        "number": b'{"stream":"s","seq":' + b"9" * 10_000 + b"}",
        "negative": b'{"stream":"s","seq":-1}',
        "not JSON": b"\x00\xff",
        "null": b"null",
        "empty": b"",
        "error of another kind": b'{"error": 5}',
        "code of another kind": b'{"error": {"code": "x", "err_code": [1]}}',
    }
    return [pytest.param(data, id=name) for name, data in cases.items()]


Ask = Callable[[Any], Awaitable[Any]]


@pytest.mark.parametrize("answer", hostile_answers())
@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda js: js.publish("s", b"", timeout=5), id="publish"),
        pytest.param(lambda js: js.stream_info("s"), id="stream_info"),
        pytest.param(lambda js: js.account_info(), id="account_info"),
    ],
)
async def test_hostile_answers_of_jetstream(connect: Connect, ask: Ask, answer: bytes) -> None:
    """Some exception, or a result as far as the answer is one, and a client that goes on."""

    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        sid = (await client.expect(b"SUB ")).split()[-1].decode()
        await client.expect_publish()
        reply = client.lines[-1].split()[2].decode()
        await client.send_message(reply, sid, answer)
        await client.serve()

    async with FakeServer(handler) as server:
        nc = await connect(server)
        (outcome,) = await within(asyncio.gather(ask(nc.jetstream()), return_exceptions=True))
        assert not isinstance(outcome, asyncio.TimeoutError), "the answer was lost"
        if isinstance(outcome, BaseException):
            assert isinstance(outcome, Exception)
        await within(nc.flush())
        assert nc._core.census()[:2] == (0, 0)
        await nc.close()
