"""Spellings beside nats-py's own, and the behaviour kept where documents differ from it."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
from typing import Any

import pytest
from nats import errors
from nats.aio.msg import Msg
from nats.embedded import Server
from support.connecting import Connect

TIMEOUT = 30.0


async def with_one_pending(connect: Connect) -> Any:
    nc = await connect()
    sub = await nc.subscribe("data", queue="group")
    await nc.publish("data", b"abc")
    await nc.flush()
    return sub


@pytest.mark.parametrize(
    ("name", "value"), [("pending_msgs", 1), ("pending_bytes", 3), ("delivered", 1)]
)
async def test_numbers_of_a_subscription(connect: Connect, name: str, value: int) -> None:
    number = getattr(await with_one_pending(connect), name)
    assert number() == value
    assert type(number()) is int
    assert isinstance(number, int)
    assert (number + 1, 2 * number, -number) == (value + 1, 2 * value, -value)
    assert f"{number} {number:03d} {number!r}" == f"{value} {value:03d} {value!r}"
    assert json.dumps({"n": number}) == json.dumps({"n": value})
    assert {number: "x"}[value] == "x"
    assert list(range(number)) == list(range(value))
    for twin in (pickle.loads(pickle.dumps(number)), copy.copy(number), copy.deepcopy(number)):
        assert twin == value
        assert type(twin) is int


@pytest.mark.parametrize(("name", "value"), [("subject", "data"), ("queue", "group")])
async def test_texts_of_a_subscription(connect: Connect, name: str, value: str) -> None:
    text = getattr(await with_one_pending(connect), name)
    assert text() == value
    assert type(text()) is str
    assert isinstance(text, str)
    assert (text + "!", text.upper(), len(text)) == (value + "!", value.upper(), len(value))
    assert f"{text} {text:>8} {text!r}" == f"{value} {value:>8} {value!r}"
    assert json.dumps([text]) == json.dumps([value])
    assert {text: 1}[value] == 1
    assert type(str(text)) is str
    for twin in (pickle.loads(pickle.dumps(text)), copy.copy(text), copy.deepcopy(text)):
        assert twin == value
        assert type(twin) is str


async def test_calling_messages(connect: Connect) -> None:
    sub = await with_one_pending(connect)
    assert sub.messages() is sub.messages
    async for msg in sub.messages():
        assert msg.data == b"abc"
        break


async def test_callbacks_can_be_assigned(server: Server, connect: Connect) -> None:
    nc = await connect(reconnect_time_wait=0.01)
    called: asyncio.Queue[str] = asyncio.Queue()

    def callback(name: str) -> Any:
        async def called_back(*args: Any) -> None:
            called.put_nowait(name)

        return called_back

    names = ["error_cb", "disconnected_cb", "reconnected_cb", "closed_cb"]
    for name in (*names, "discovered_server_cb"):
        cb = callback(name)
        setattr(nc, name, cb)
        assert getattr(nc, name) is cb

    async def failing(msg: Any) -> None:
        raise ValueError

    await nc.subscribe("data", cb=failing)
    await nc.publish("data")
    assert await asyncio.wait_for(called.get(), TIMEOUT) == "error_cb"
    await nc.force_reconnect()
    assert await asyncio.wait_for(called.get(), TIMEOUT) == "disconnected_cb"
    assert await asyncio.wait_for(called.get(), TIMEOUT) == "reconnected_cb"
    await nc.close()
    rest = [called.get_nowait() for _ in range(called.qsize())]
    assert rest == ["disconnected_cb", "closed_cb"]


@pytest.mark.parametrize(
    "name",
    ["error_cb", "disconnected_cb", "reconnected_cb", "closed_cb", "discovered_server_cb"],
)
async def test_assigned_callbacks_are_checked_as_in_connect(connect: Connect, name: str) -> None:
    nc = await connect()
    before = getattr(nc, name)
    for wrong in (lambda *args: None, print, "text", 5):
        with pytest.raises(errors.InvalidCallbackTypeError):
            setattr(nc, name, wrong)
        with pytest.raises(errors.InvalidCallbackTypeError):
            await connect(**{name: wrong})
    assert getattr(nc, name) is before


async def test_respond_without_a_reply_subject(connect: Connect) -> None:
    sub = await with_one_pending(connect)
    msg = await sub.next_msg(TIMEOUT)
    with pytest.raises(ValueError, match=r"^no reply subject available$") as caught:
        await msg.respond(b"")
    assert isinstance(caught.value, errors.Error)
    assert not isinstance(caught.value, errors.TimeoutError)


def test_both_sets_of_acknowledgement_names() -> None:
    texts = (Msg.Ack.ACK, Msg.Ack.NAK, Msg.Ack.PROGRESS, Msg.Ack.TERM)
    assert texts == ("+ACK", "-NAK", "+WPI", "+TERM")
    payloads = (Msg.Ack.Ack, Msg.Ack.Nak, Msg.Ack.Progress, Msg.Ack.Term)
    assert payloads == tuple(text.encode() for text in texts)


async def test_options_and_subscriptions_can_be_looked_at(connect: Connect) -> None:
    nc = await connect()
    nc.options["verbose"] = True
    assert nc.options["verbose"] is True
    assert len(nc._subs) == 0
    subs = [await nc.subscribe("data") for _ in range(2)]
    assert len(nc._subs) == 2
    await subs[0].unsubscribe()
    assert len(nc._subs) == 1


async def test_metadata_of_a_core_message_raises(connect: Connect) -> None:
    msg = await (await with_one_pending(connect)).next_msg(TIMEOUT)
    with pytest.raises(errors.NotJSMessageError):
        _ = msg.metadata


async def test_a_request_nobody_serves_is_no_timeout(connect: Connect) -> None:
    nc = await connect()
    with pytest.raises(errors.NoRespondersError) as caught:
        await nc.request("nobody", timeout=TIMEOUT)
    assert not isinstance(caught.value, (asyncio.TimeoutError, TimeoutError))
