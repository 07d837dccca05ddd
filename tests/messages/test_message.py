"""Messages: made by the client, by hand or by a subclass; answering and acknowledging."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import datetime
import gc
import pickle
import weakref
from typing import Any

import nats
import pytest
from nats import errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.embedded import Server
from support.connecting import Connect

TIMEOUT = 30.0

V1 = "$JS.ACK.stream.consumer.2.30.4.1700000000123456789.5"
V2 = "$JS.ACK.{domain}.hash.stream.consumer.2.30.4.1700000000123456789.5.random"


def made(**changes: Any) -> Msg:
    fields: dict[str, Any] = {"subject": "a", "reply": "b", "data": b"c", "headers": {"x": "y"}}
    return Msg(None, **{**fields, **changes})  # type: ignore[arg-type]


async def received(nc: Any, payload: bytes = b"data", **options: Any) -> Any:
    sub = await nc.subscribe("subject")
    await nc.publish("subject", payload, **options)
    msg = await sub.next_msg(TIMEOUT)
    await sub.unsubscribe()
    return msg


def test_constructor() -> None:
    nobody: Any = None
    msg: Any = Msg(nobody, "a", "b", b"c", {"d": "e"})
    assert (msg.subject, msg.reply, msg.data, msg.headers) == ("a", "b", b"c", {"d": "e"})
    assert (msg._client, msg._metadata, msg._ackd, msg._sid) == (None, None, False, None)
    bare = Msg(_client=nobody)
    assert (bare.subject, bare.reply, bare.data, bare.headers) == ("", "", b"", None)
    assert not bare.is_acked
    with pytest.raises(errors.Error, match="sid not set"):
        _ = bare.sid


@pytest.mark.parametrize(
    "arguments", [{}, {"_client": None, "nonsense": 1}, {"subject": "a"}], ids=str
)
def test_constructor_refuses(arguments: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        Msg(**arguments)


def test_dataclass_tools() -> None:
    msg = made(_sid=3)
    names = ["_client", "subject", "reply", "data", "headers", "_metadata", "_ackd", "_sid"]
    assert [field.name for field in dataclasses.fields(Msg)] == names
    assert dataclasses.asdict(msg) == {
        "_client": None,
        "subject": "a",
        "reply": "b",
        "data": b"c",
        "headers": {"x": "y"},
        "_metadata": None,
        "_ackd": False,
        "_sid": 3,
    }
    changed = dataclasses.replace(msg, data=b"new")
    assert (changed.data, changed.subject, changed.sid, msg.data) == (b"new", "a", 3, b"c")


def test_repr_eq_hash() -> None:
    assert repr(made(_sid=3)) == (
        "Msg(_client=None, subject='a', reply='b', data=b'c', headers={'x': 'y'}, "
        "_metadata=None, _ackd=False, _sid=3)"
    )
    assert made() == made()
    assert made() != made(data=b"other")
    assert made() != "a"  # type: ignore[comparison-overlap]
    with pytest.raises(TypeError, match="unhashable"):
        hash(made())


@pytest.mark.parametrize("way", ["copy", "deepcopy", "pickle"])
def test_copies(way: str) -> None:
    msg = made(_sid=3)
    if way == "copy":
        twin = copy.copy(msg)
        assert twin.headers is msg.headers
    elif way == "deepcopy":
        twin = copy.deepcopy(msg)
        assert twin.headers is not msg.headers
    else:
        twin = pickle.loads(pickle.dumps(msg))
    assert type(twin) is Msg
    assert twin == msg
    twin.data = b"changed"
    assert msg.data == b"c"


async def test_copy_of_a_received_message(connect: Connect) -> None:
    msg = await received(await connect(), headers={"K": "v"}, reply="r")
    twin = copy.copy(msg)
    assert (twin.subject, twin.reply, twin.data) == ("subject", "r", b"data")
    assert (twin.headers, twin.sid, twin._client) == ({"K": "v"}, msg.sid, msg._client)


async def test_received_attributes(connect: Connect, driver: str) -> None:
    nc = await connect()
    msg = await received(nc, b"data", reply="answer", headers={"K": "v"})
    assert type(msg) is Msg
    assert (msg.subject, msg.reply, msg.data) == ("subject", "answer", b"data")
    assert msg.headers == msg.header == {"K": "v"}
    assert msg.headers is msg.headers, "one dict, which may be changed"
    assert msg._client is nc
    assert (msg._ackd, msg._metadata, msg.is_acked) == (False, None, False)
    assert msg.sid == 1
    assert repr(msg) == (
        f"Msg(_client={nc!r}, subject='subject', reply='answer', data=b'data', "
        "headers={'K': 'v'}, _metadata=None, _ackd=False, _sid=1)"
    )
    assert msg == Msg(nc, "subject", "answer", b"data", {"K": "v"}, _sid=1)


async def test_attributes_can_be_assigned(connect: Connect) -> None:
    nc = await connect()
    msg = await received(nc, b"data", headers={"K": "v"})
    values = {
        "subject": "new",
        "reply": "back",
        "data": bytearray(b"x"),
        "headers": {"A": "1"},
        "_client": object(),
        "_sid": 77,
        "_ackd": True,
        "_metadata": "m",
        "extra": [1],
    }
    for name, value in values.items():
        setattr(msg, name, value)
        assert getattr(msg, name) is value
    assert msg.sid == 77
    assert msg.is_acked
    msg.headers = None
    assert msg.headers is None
    assert msg.header is None
    fresh = await received(nc, headers={"K": "v"})
    fresh.headers = None
    assert fresh.headers is None, "assigned before it was read"
    changed = await received(nc, headers={"K": "v"})
    changed.headers["L"] = "w"
    assert changed.headers == {"K": "v", "L": "w"}


async def test_messages_are_let_go(connect: Connect, driver: str) -> None:
    nc = await connect()
    seen: list[weakref.ref[Any]] = []

    async def handler(msg: Any) -> None:
        assert msg.headers == {"K": "v"}
        seen.append(weakref.ref(msg))

    sub = await nc.subscribe("subject", cb=handler)
    for _ in range(10):
        await nc.publish("subject", b"x" * 100, headers={"K": "v"})
    await nc.flush()
    await sub.drain()
    msg = await received(nc)
    seen.append(weakref.ref(msg))
    msg.itself = msg
    del msg
    gc.collect()
    assert [ref() for ref in seen] == [None] * 11


class Plain(Msg):
    @property
    def text(self) -> str:
        return self.data.decode()


class WithInit(Msg):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.initialised = True


@dataclasses.dataclass
class WithField(Msg):
    tag: str = "default"


async def test_msg_class(server: Server, driver: str) -> None:
    class Special(Client):
        msg_class: type[Msg] = Plain

    nc = Special()
    await nc.connect(server.url)
    try:
        msg = await received(nc, b"1", headers={"K": "v"})
        assert type(msg) is Plain
        assert (msg.text, msg.headers) == ("1", {"K": "v"})
        for cls in (WithInit, WithField, Msg):
            # On the instance, and for subscriptions made from now on at the latest.
            nc.msg_class = cls
            msg = await received(nc, b"2", reply="r", headers={"K": "v"})
            assert type(msg) is cls
            assert (msg.subject, msg.reply, msg.data) == ("subject", "r", b"2")
            assert (msg.headers, msg._client) == ({"K": "v"}, nc)
            assert getattr(msg, "initialised", True)
            assert getattr(msg, "tag", "default") == "default"
    finally:
        await nc.close()


async def test_msg_class_of_replies(server: Server, driver: str) -> None:
    class Special(Client):
        msg_class = WithInit

    nc = Special()
    await nc.connect(server.url)
    try:

        async def handler(msg: Any) -> None:
            await msg.respond(b"x")

        await nc.subscribe("service", cb=handler)
        for old_style in (False, True):
            reply = await nc.request("service", timeout=TIMEOUT, old_style=old_style)
            assert type(reply) is WithInit
            assert reply.initialised
    finally:
        await nc.close()


async def test_build_message_override(server: Server, driver: str) -> None:
    calls: list[tuple[Any, ...]] = []

    class Building(Client):
        def _build_message(self, *args: Any, **options: Any) -> Msg:
            calls.append((*args, options))
            msg = super()._build_message(*args, **options)
            msg.data = msg.data.upper()
            return msg

    nc = Building()
    await nc.connect(server.url)
    try:
        msg = await received(nc, b"data", reply="r", headers={"K": "v"})
        assert calls == [(1, b"subject", b"r", b"data", {"K": "v"}, {})]
        assert (type(msg), msg.data, msg._client) == (Msg, b"DATA", nc)
    finally:
        await nc.close()


async def test_methods_can_be_patched(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    nc = await connect()
    answered: list[bytes] = []

    async def respond(self: Msg, data: bytes) -> None:
        answered.append(self.data + data)

    monkeypatch.setattr(Msg, "respond", respond)
    msg = await received(nc, b"1")
    await msg.respond(b"2")
    assert answered == [b"12"]
    monkeypatch.setattr(Msg, "header", property(lambda self: "patched"))
    assert msg.header == "patched"


async def test_respond(connect: Connect, driver: str) -> None:
    nc = await connect()
    inbox = await nc.subscribe("answer")
    msg = await received(nc, reply="answer", headers={"K": "v"})
    await msg.respond(b"1")
    msg.headers["L"] = "w"
    await msg.respond(b"2")
    msg.headers = None
    await msg.respond(b"3")
    answers = [await inbox.next_msg(TIMEOUT) for _ in range(3)]
    # nats-py sends the headers of the message back, as they are at the time.
    assert [(answer.data, answer.headers) for answer in answers] == [
        (b"1", {"K": "v"}),
        (b"2", {"K": "v", "L": "w"}),
        (b"3", None),
    ]


async def test_respond_needs_a_reply_subject_and_a_client(connect: Connect) -> None:
    msg = await received(await connect())
    with pytest.raises(errors.Error, match="no reply subject available"):
        await msg.respond(b"")
    with pytest.raises(errors.Error, match="client not set"):
        await made().respond(b"")


@pytest.mark.parametrize(
    ("method", "arguments", "payload", "final"),
    [
        ("ack", (), b"", True),
        ("nak", (), b"-NAK", True),
        ("nak", (0,), b"-NAK", True),
        ("nak", (1.5,), b'-NAK {"delay": 1500000000}', True),
        ("nak", (10,), b'-NAK {"delay": 10000000000}', True),
        ("in_progress", (), b"+WPI", False),
        ("term", (), b"+TERM", True),
    ],
)
async def test_acknowledgements_on_the_wire(
    connect: Connect, method: str, arguments: tuple[Any, ...], payload: bytes, final: bool
) -> None:
    nc = await connect()
    acks = await nc.subscribe("$JS.ACK.>")
    msg = await received(nc, headers={"Not": "sent back"})
    # A server lets nobody but a stream send this reply subject.
    msg.reply = V1
    await getattr(msg, method)(*arguments)
    ack = await acks.next_msg(TIMEOUT)
    assert (ack.subject, ack.data, ack.reply, ack.headers) == (V1, payload, "", None)
    assert msg.is_acked is final
    if final:
        for again in ("ack", "nak", "term", "ack_sync"):
            with pytest.raises(errors.MsgAlreadyAckdError):
                await getattr(msg, again)()
    # Which isn't final, and so may be repeated and sent at any time.
    await msg.in_progress()
    assert (await acks.next_msg(TIMEOUT)).data == b"+WPI"


async def test_ack_sync(connect: Connect) -> None:
    nc = await connect()
    acks = await nc.subscribe("$JS.ACK.>")
    msg = await received(nc)
    msg.reply = V1
    with pytest.raises(errors.TimeoutError):
        await msg.ack_sync(timeout=0.02)
    assert not msg.is_acked
    await acks.next_msg(TIMEOUT)
    acking = asyncio.ensure_future(msg.ack_sync(timeout=TIMEOUT))
    request = await acks.next_msg(TIMEOUT)
    assert (request.subject, request.data) == (V1, b"")
    await request.respond(b"+OK")
    assert (await acking).data == b"+OK"
    assert msg.is_acked


async def test_acknowledging_what_no_stream_has_sent(connect: Connect) -> None:
    msg = await received(await connect())
    for method in ("ack", "nak", "term", "in_progress", "ack_sync"):
        with pytest.raises(errors.NotJSMessageError):
            await getattr(msg, method)()


@pytest.mark.parametrize(
    ("reply", "domain"),
    [(V1, None), (V2.format(domain="hub"), "hub"), (V2.format(domain="_"), "")],
)
def test_metadata(reply: str, domain: str | None) -> None:
    msg = made(reply=reply)
    metadata = msg.metadata
    assert (metadata.stream, metadata.consumer, metadata.domain) == ("stream", "consumer", domain)
    assert (metadata.num_delivered, metadata.num_pending) == (2, 5)
    assert (metadata.sequence.stream, metadata.sequence.consumer) == (30, 4)
    assert metadata.timestamp.tzinfo is datetime.timezone.utc
    assert metadata.timestamp.timestamp() == pytest.approx(1700000000.123456, abs=1e-5)
    assert msg.metadata is metadata
    with pytest.raises(dataclasses.FrozenInstanceError):
        metadata.stream = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    "reply",
    ["", None, "_INBOX.a.b", "$JS.ACK.too.short", "$JS.ACK." + ".".join("abcdefgh"), "X" + V1],
)
def test_no_metadata(reply: str | None) -> None:
    with pytest.raises(errors.NotJSMessageError):
        _ = made(reply=reply).metadata


async def test_a_message_outlives_its_connection(server: Server, driver: str) -> None:
    nc = await nats.connect(server.url)
    msg = await received(nc, b"data", reply="r", headers={"K": "v"})
    await nc.close()
    assert (msg.subject, msg.reply, msg.data) == ("subject", "r", b"data")
    assert msg.headers == {"K": "v"}
    with pytest.raises(errors.ConnectionClosedError):
        await msg.respond(b"")


def test_a_class_that_makes_something_else_later(server: Server) -> None:
    class Changed(Msg):
        pass

    async def scenario() -> None:
        nc = await nats.connect(server.url)
        nc.msg_class = Changed
        sub = await nc.subscribe("data")
        Changed.__new__ = staticmethod(lambda *args, **kwargs: "no message")  # type: ignore[assignment]
        await nc.publish("data", b"1")
        with pytest.raises(TypeError, match="message class"):
            await sub.next_msg(TIMEOUT)
        del Changed.__new__
        await nc.publish("data", b"2")
        assert (await sub.next_msg(TIMEOUT)).data == b"2"
        await nc.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("part", ["subject", "reply", "data", "headers", "_sid", "_metadata"])
def test_a_message_in_a_cycle_is_collected(part: str) -> None:
    msg = made()
    setattr(msg, part, [msg])
    gone = weakref.ref(msg)
    del msg
    gc.collect()
    assert gone() is None
