"""Headers: what is sent for a mapping, and what is read from a header block."""

from __future__ import annotations

from collections import OrderedDict, UserDict
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import nats
import pytest
from nats import errors
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer

pytestmark = pytest.mark.usefixtures("driver")

TIMEOUT = 30.0


class Lazy(Mapping[str, str]):
    """The least that is a Mapping."""

    def __getitem__(self, key: str) -> str:
        if key != "Key":
            raise KeyError(key)
        return "value"

    def __iter__(self) -> Iterator[str]:
        return iter(["Key"])

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("sent", "received"),
    [
        ({"A": "1", "B": "2"}, {"A": "1", "B": "2"}),
        ({"A": "1", "a": "2"}, {"A": "1", "a": "2"}),
        ({" Key\t": "  value \t"}, {"Key": "value"}),
        ({"Key": "two words, a: colon"}, {"Key": "two words, a: colon"}),
        ({"Key": ""}, {"Key": ""}),
        ({"Key": "  "}, {"Key": ""}),
        ({"Key": "é ü 😀 \u2028"}, {"Key": "é ü 😀"}),
        ({"Key": "\xa0x\u3000"}, {"Key": "x"}),
        ({"Key": "a\r\nEvil: b\nc\rd"}, {"Key": "a  Evil: b c d"}),
        ({"Key": "\r\nx\r\n"}, {"Key": "x"}),
        ({"!#$%&'*+-.^_`|~09azAZ": "x"}, {"!#$%&'*+-.^_`|~09azAZ": "x"}),
        ({"Key": "x" * 10_000}, {"Key": "x" * 10_000}),
        ({"": "skipped", "  ": "too", "Key": "kept"}, {"Key": "kept"}),
        ({}, None),
        ({"": "skipped"}, None),
        (None, None),
        ({"Status": "x", "Description": "y"}, {"Status": "x", "Description": "y"}),
    ],
)
async def test_round_trips(
    connect: Connect, sent: dict[str, str] | None, received: dict[str, str] | None
) -> None:
    nc = await connect()
    sub = await nc.subscribe("data")
    await nc.publish("data", b"payload", headers=sent)
    msg = await sub.next_msg(TIMEOUT)
    assert msg.headers == received
    assert msg.header == received
    assert msg.data == b"payload"
    if received:
        assert list(msg.headers) == list(received), "order is kept"


async def test_control_characters_that_str_strip_removes(connect: Connect) -> None:
    """nats-py trims with ``str.strip``, to which the ASCII separators are blanks."""
    nc = await connect()
    sub = await nc.subscribe("data")
    await nc.publish("data", b"", headers={"\x1cKey": "\x1dvalue\x1f"})
    assert (await sub.next_msg(TIMEOUT)).headers == {"Key": "value"}


@pytest.mark.parametrize(
    "headers",
    [
        OrderedDict(Key="value"),
        UserDict(Key="value"),
        MappingProxyType({"Key": "value"}),
        Lazy(),
    ],
    ids=lambda headers: type(headers).__name__,
)
async def test_mapping_types(connect: Connect, headers: Any) -> None:
    nc = await connect()
    sub = await nc.subscribe("data")
    await nc.publish("data", b"", headers=headers)
    assert (await sub.next_msg(TIMEOUT)).headers == {"Key": "value"}


@pytest.mark.parametrize(
    "name", ["a b", "a:", "a\r\nb", "é", "a\0", "(x)", "a\tb", "a/b", "[", '"', "a\x7f"]
)
async def test_bad_names(connect: Connect, name: str) -> None:
    nc = await connect()
    sub = await nc.subscribe("data")
    with pytest.raises(errors.BadHeaderError) as caught:
        await nc.publish("data", b"bad", headers={"Fine": "x", name: "x"})
    assert caught.value.key == name
    assert str(caught.value) == f"nats: invalid header: {name!r}"
    # Nothing of it was sent, and the connection goes on.
    await nc.publish("data", b"good", headers={"Fine": "y"})
    msg = await sub.next_msg(TIMEOUT)
    assert (msg.data, msg.headers) == (b"good", {"Fine": "y"})
    assert nc.stats["out_msgs"] == 1


@pytest.mark.parametrize(
    "headers", [{"a": 1}, {"a": None}, {"a": b"x"}, {"a": ["x"]}, {1: "a"}, [("a", "b")], "text", 5]
)
async def test_what_is_no_mapping_of_strings(connect: Connect, headers: Any) -> None:
    nc = await connect()
    with pytest.raises((TypeError, AttributeError)):
        await nc.publish("data", b"", headers=headers)
    assert nc.stats["out_msgs"] == 0
    assert nc.pending_data_size == 0


async def test_a_mapping_that_publishes_while_it_is_read(connect: Connect) -> None:
    """Reading a mapping runs foreign code, which may use the same connection."""
    nc = await connect()
    sub = await nc.subscribe("data")

    class Publishing(UserDict[str, str]):
        def items(self) -> Any:
            # A publish never suspends while there is room: one step runs it to its end.
            coroutine = nc.publish("data", b"inner", headers={"Inner": "1"})
            with pytest.raises(StopIteration):
                coroutine.send(None)
            return super().items()

    await nc.publish("data", b"outer", headers=Publishing(Outer="2"))
    await nc.publish("data", b"last", headers={"Last": "3"})
    msgs = [await sub.next_msg(TIMEOUT) for _ in range(3)]
    assert [(msg.data, msg.headers) for msg in msgs] == [
        (b"inner", {"Inner": "1"}),
        (b"outer", {"Outer": "2"}),
        (b"last", {"Last": "3"}),
    ]


async def test_headers_count_towards_no_payload_limit(connect: Connect) -> None:
    """The client compares the payload alone with max_payload, as nats-py does."""
    nc = await connect()
    sub = await nc.subscribe("data")
    await nc.publish("data", bytes(10), headers={"Key": "x" * 1000})
    await sub.next_msg(TIMEOUT)
    assert nc.stats["out_bytes"] == nc.stats["in_bytes"] == 10


# Blocks as a server may send them, and what a handler sees.
BLOCKS: list[tuple[bytes, dict[str, str] | None]] = [
    (b"NATS/1.0\r\n\r\n", None),
    (b"NATS/1.0\r\nA: 1\r\nB: 2\r\n\r\n", {"A": "1", "B": "2"}),
    (b"NATS/1.0\r\nA:1\r\n\r\n", {"A": "1"}),
    (b"NATS/1.0\r\nA:\t 1 \t\r\n\r\n", {"A": "1"}),
    (b"NATS/1.0\r\n A : 1\r\n\r\n", {"A": "1"}),
    (b"NATS/1.0\r\nA: 1\r\nA: 2\r\n\r\n", {"A": "2"}),
    (b"NATS/1.0\r\nA: 1\r\na: 2\r\n\r\n", {"A": "1", "a": "2"}),
    (b"NATS/1.0\r\nA:\r\n\r\n", {"A": ""}),
    (b"NATS/1.0\r\nA:b:c\r\n\r\n", {"A": "b:c"}),
    (b"NATS/1.0\r\nno colon\r\nB: 1\r\n\r\n", {"B": "1"}),
    (b"NATS/1.0\r\nno colon\r\n\r\n", None),
    (b"NATS/1.0\r\na b: 1\r\nB: 1\r\n\r\n", {"B": "1"}),
    (b"NATS/1.0\r\n: 1\r\n\r\n", {"": "1"}),
    (b"NATS/1.0\r\nA: 1\nB: 2\r\n\r\n", {"A": "1\nB: 2"}),
    (b"NATS/1.0\r\nA: \0x\r\n\r\n", {"A": "\0x"}),
    (b"NATS/1.0\r\nA: \xff\xfe\r\n\r\n", {"A": "\ufffd\ufffd"}),
    (b"NATS/1.0\r\nA: caf\xc3\xa9\r\n\r\n", {"A": "café"}),
    (b"NATS/1.0\r\n\xc3\xa9: 1\r\nB: 2\r\n\r\n", {"B": "2"}),
    (b"NATS/1.0 503\r\n\r\n", {"Status": "503"}),
    (b"NATS/1.0 404 No Messages\r\n\r\n", {"Status": "404", "Description": "No Messages"}),
    (b"NATS/1.0 404 \r\n\r\n", {"Status": "404"}),
    (b"NATS/1.0 50\r\n\r\n", {"Status": "50"}),
    (b"NATS/1.0 abc why\r\n\r\n", {"Description": "why"}),
    (
        b"NATS/1.0 100 Idle Heartbeat\r\nX: 7\r\nY: 8\r\n\r\n",
        {"Status": "100", "Description": "Idle Heartbeat", "X": "7", "Y": "8"},
    ),
    (b"NATS/1.0 100\r\nX: 7\r\n\r\n", {"Status": "100", "X": "7"}),
    (
        b"NATS/1.0 409 Why\r\nStatus: 7\r\n\r\n",
        {"Status": "7", "Description": "Why"},
    ),
    (b"NATS/1.0\r\nStatus: 503\r\n\r\n", {"Status": "503"}),
]


async def test_header_blocks() -> None:
    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        await client.expect(b"SUB ")
        for number, (block, _) in enumerate(BLOCKS):
            head, whole = len(block), len(block) + 4
            line = b"HMSG s.%d 1 %d %d\r\n" % (number, head, whole)
            await client.write(line + block + b"data\r\n")
        await client.serve()

    async with FakeServer(handler) as server:
        nc = await nats.connect(server.url)
        try:
            sub = await nc.subscribe("s.*")
            seen = []
            for number, (block, _) in enumerate(BLOCKS):
                msg = await sub.next_msg(TIMEOUT)
                assert (msg.subject, msg.data) == (f"s.{number}", b"data")
                seen.append((block, msg.headers))
            assert seen == BLOCKS
        finally:
            await nc.close()
