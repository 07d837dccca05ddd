"""What errors say: the thing they are about, and what to do."""

from __future__ import annotations

import pickle
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from nats import errors
from nats.aio.client import Client
from nats.embedded import Server
from support.connecting import Connect
from support.handlers import ignore
from support.waiting import EAGER, Events, within

pytestmark = pytest.mark.usefixtures("driver")


BEFORE: dict[str, Callable[[Client], Awaitable[Any]]] = {
    "subscribe": lambda nc: nc.subscribe("a"),
    "subscribe with a handler": lambda nc: nc.subscribe("a", cb=ignore),
    "request": lambda nc: nc.request("a"),
    "old style request": lambda nc: nc.request("a", old_style=True),
    "flush": lambda nc: nc.flush(),
    "rtt": lambda nc: nc.rtt(),
    "drain": lambda nc: nc.drain(),
}


@pytest.mark.parametrize("call", BEFORE)
async def test_calls_before_connecting(call: str) -> None:
    with pytest.raises(errors.NotConnectedError, match="connect") as raised:
        await within(BEFORE[call](Client()))
    assert isinstance(raised.value, errors.Error)
    assert isinstance(raised.value, AssertionError)


async def test_publishing_before_connecting() -> None:
    with pytest.raises(errors.OutboundBufferLimitError, match=r"Client\.connect must be called"):
        await Client().publish("a")


@pytest.mark.parametrize("bad", ["", "a b", "a\r\nPUB b 0", "é\tb"])
@pytest.mark.parametrize("connected", [False, True])
async def test_bad_subjects_are_quoted(connect: Connect, bad: str, connected: bool) -> None:
    nc = await connect() if connected else Client()
    quoted = bad.replace("\r", "\\r").replace("\n", "\\n").replace("\t", "\\t")
    expected = f'nats: invalid subject: "{quoted}"'
    for call in (
        nc.publish(bad),
        nc.publish("a", reply=bad or " "),
        nc.request(bad),
        nc.request(bad, old_style=True),
        nc.subscribe(bad),
        nc.subscribe("a", queue=bad or " "),
    ):
        with pytest.raises(errors.BadSubjectError) as raised:
            await within(call)
        assert str(raised.value) in (expected, 'nats: invalid subject: " "')


async def test_a_bad_subject_may_be_long(connect: Connect) -> None:
    nc = await connect()
    with pytest.raises(errors.BadSubjectError) as raised:
        await nc.publish("a " * 1_000_000)
    assert len(str(raised.value)) < 300


async def test_an_empty_subject_where_none_is_checked(connect: Connect) -> None:
    nc = await connect(skip_subject_validation=True)
    for call in (nc.publish(""), nc.subscribe("")):
        with pytest.raises(errors.BadSubjectError, match=r'subject: ""$'):
            await within(call)


async def test_nobody_listens(connect: Connect) -> None:
    nc = await connect()
    for old_style in (False, True):
        with pytest.raises(errors.NoRespondersError, match=r'for request: "nobody\.there"$'):
            await within(nc.request("nobody.there", old_style=old_style))


async def test_no_room_while_disconnected(server: Server, connect: Connect) -> None:
    events = Events()
    nc = await connect(pending_size=1000, **events.callbacks, **EAGER)
    await server.akill()
    await events.wait("disconnected")
    with pytest.raises(errors.OutboundBufferLimitError, match=r"pending_size .* 1000 bytes"):
        await nc.publish("a", bytes(2000))


async def test_errors_can_be_pickled(closed_port: int) -> None:
    """As processes pass them on."""
    with pytest.raises(errors.NoServersError) as raised:
        await within(Client().connect(f"nats://127.0.0.1:{closed_port}", allow_reconnect=False))
    copy = pickle.loads(pickle.dumps(raised.value))
    assert str(copy) == str(raised.value)
    for error in (errors.BadSubjectError('"a b"'), errors.SecureConnWantedError("why")):
        assert str(pickle.loads(pickle.dumps(error))) == str(error)


async def test_errors_made_without_anything_say_what_they_said() -> None:
    assert str(errors.BadSubjectError()) == "nats: invalid subject"
    assert str(errors.NoServersError()) == "nats: no servers available for connection"
    assert str(errors.NoRespondersError()) == "nats: no responders available for request"
    assert str(errors.OutboundBufferLimitError()) == "nats: outbound buffer limit exceeded"
