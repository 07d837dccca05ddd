"""`nats.protocol`: building and parsing the protocol outside the client."""

from __future__ import annotations

import json
from typing import Any

import pytest
from nats import errors
from nats.protocol import command, parser
from nats.protocol.parser import AWAITING_CONTROL_LINE, AWAITING_MSG_PAYLOAD, Parser

HEADERS = b"NATS/1.0\r\nName: value\r\n\r\n"

STREAM = (
    b'INFO {"server_id":"A","max_payload":1024}\r\n'
    b"PING\r\n"
    b"MSG a.b 1 5\r\nhello\r\n"
    b"+OK\r\n"
    b"MSG a.b 22 reply.to 4\r\n\r\n\r\n\r\n"
    b"PONG\r\n"
    b"HMSG c 3 %d %d\r\n%shi\r\n"
    % (len(HEADERS), len(HEADERS) + 2, HEADERS)
    + b"HMSG c 3 inbox %d %d\r\n%s\r\n" % (len(HEADERS), len(HEADERS), HEADERS)
    + b"MSG empty 4 0\r\n\r\n"
    b"-ERR 'Unknown Protocol Operation'\r\n"
    b"PING\r\n"
)

CALLS: list[Any] = [
    ("info", {"server_id": "A", "max_payload": 1024}),
    ("ping",),
    ("msg", 1, b"a.b", b"", b"hello", b""),
    ("msg", 22, b"a.b", b"reply.to", b"\r\n\r\n", b""),
    ("pong",),
    ("msg", 3, b"c", b"", b"hi", HEADERS),
    ("msg", 3, b"c", b"inbox", b"", HEADERS),
    ("msg", 4, b"empty", b"", b"", b""),
    ("err", "'unknown protocol operation'"),
    ("ping",),
]


class Recorder:
    """Stands in for a client and notes what the parser passes on."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        values = (subject, reply, data, headers or b"")
        self.calls.append(("msg", sid, *map(bytes, values)))

    async def _process_info(self, info: dict[str, Any]) -> None:
        self.calls.append(("info", info))

    async def _process_err(self, text: str) -> None:
        self.calls.append(("err", text))

    async def _process_ping(self) -> None:
        self.calls.append(("ping",))

    async def _process_pong(self) -> None:
        self.calls.append(("pong",))


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.mark.parametrize(
    ("built", "expected"),
    [
        (command.pub_cmd("a.b", "", b"hello"), b"PUB a.b  5\r\nhello\r\n"),
        (command.pub_cmd("a.b", "re.ply", b""), b"PUB a.b re.ply 0\r\n\r\n"),
        (command.pub_cmd("é", "", b"\r\n"), "PUB é  2\r\n\r\n\r\n".encode()),
        (
            command.hpub_cmd("a", "", HEADERS, b"hi"),
            b"HPUB a  %d %d\r\n%shi\r\n" % (len(HEADERS), len(HEADERS) + 2, HEADERS),
        ),
        (
            command.hpub_cmd("a", "r", HEADERS, b""),
            b"HPUB a r %d %d\r\n%s\r\n" % (len(HEADERS), len(HEADERS), HEADERS),
        ),
        (command.sub_cmd("a.*", "", 7), b"SUB a.*  7\r\n"),
        (command.sub_cmd("a.>", "workers", 123), b"SUB a.> workers 123\r\n"),
        (command.unsub_cmd(7, 0), b"UNSUB 7 \r\n"),
        (command.unsub_cmd(7, 10), b"UNSUB 7 10\r\n"),
    ],
)
def test_commands(built: bytes, expected: bytes) -> None:
    assert type(built) is bytes
    assert built == expected


def test_operation_names() -> None:
    assert (command.PUB_OP, command.HPUB_OP) == ("PUB", "HPUB")
    assert (command.SUB_OP, command.UNSUB_OP) == ("SUB", "UNSUB")


def test_constants_fit_together() -> None:
    assert (parser.OK, parser.PING, parser.PONG) == (b"+OK\r\n", b"PING\r\n", b"PONG\r\n")
    assert (parser.OK_SIZE, parser.PING_SIZE, parser.PONG_SIZE) == (5, 6, 6)
    assert (parser.MSG_OP_SIZE, parser.ERR_OP_SIZE, parser.CRLF_SIZE) == (3, 4, 2)
    assert AWAITING_CONTROL_LINE != AWAITING_MSG_PAYLOAD


async def test_a_stream_in_one_piece(recorder: Recorder) -> None:
    await Parser(recorder).parse(STREAM)
    assert recorder.calls == CALLS


async def test_a_stream_split_at_every_byte() -> None:
    for at in range(len(STREAM) + 1):
        recorder = Recorder()
        reading = Parser(recorder)
        await reading.parse(STREAM[:at])
        await reading.parse(STREAM[at:])
        assert recorder.calls == CALLS, f"split before byte {at}"
        assert reading.state == AWAITING_CONTROL_LINE


async def test_a_stream_byte_by_byte(recorder: Recorder) -> None:
    reading = Parser(recorder)
    for at in range(len(STREAM)):
        await reading.parse(STREAM[at : at + 1])
    assert recorder.calls == CALLS


async def test_nothing_is_passed_on_before_it_is_complete(recorder: Recorder) -> None:
    reading = Parser(recorder)
    for piece in (b"", b"MSG a 1 ", b"3\r\n", b"abc", b"\r"):
        await reading.parse(piece)
        assert recorder.calls == []
    await reading.parse(b"\n")
    assert recorder.calls == [("msg", 1, b"a", b"", b"abc", b"")]
    await reading.parse()
    assert len(recorder.calls) == 1


async def test_state_tells_what_is_awaited(recorder: Recorder) -> None:
    reading = Parser(recorder)
    assert reading.state == AWAITING_CONTROL_LINE
    await reading.parse(b"MSG a 1 3")
    assert reading.state == AWAITING_CONTROL_LINE
    await reading.parse(b"\r\n")
    assert reading.state == AWAITING_MSG_PAYLOAD
    assert repr(reading) == f"<nats protocol parser state={AWAITING_MSG_PAYLOAD}>"
    await reading.parse(b"abc\r\nPI")
    assert reading.state == AWAITING_CONTROL_LINE
    await reading.parse(b"NG\r\nHMSG a 1 12 12\r\nNATS/1.0")
    assert reading.state == AWAITING_MSG_PAYLOAD
    assert recorder.calls[-1] == ("ping",)


async def test_reset_forgets_half_an_operation(recorder: Recorder) -> None:
    reading = Parser(recorder)
    for half in (b"MSG a 1 3\r\nab", b"PI", b"HMSG a"):
        await reading.parse(half)
        reading.reset()
        assert reading.state == AWAITING_CONTROL_LINE
        recorder.calls.clear()
        await reading.parse(b"PING\r\n")
        assert recorder.calls == [("ping",)]


async def test_reset_makes_a_failed_parser_useful_again(recorder: Recorder) -> None:
    reading = Parser(recorder)
    with pytest.raises(errors.ProtocolError):
        await reading.parse(b"GET / HTTP/1.1\r\n")
    reading.reset()
    await reading.parse(b"PONG\r\n")
    assert recorder.calls == [("pong",)]


@pytest.mark.parametrize(
    "junk",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01\r\n",
        b"\r\n",
        b"PUB a 1\r\nx\r\n",
        b"PINGS\r\n",
        b"MSG\r\n",
        b"MSG a 1\r\n",
        b"MSG a 1 r r 1\r\n",
        b"MSG a x 1\r\n",
        b"MSG a 1 x\r\n",
        b"MSG a 1 -1\r\n",
        b"MSG a 1 99999999999999999999999999\r\n",
        b"MSG a 1 2\r\nabc\r\n",
        b"HMSG a 1 12\r\n",
        b"HMSG a 1 13 12\r\n",
        b"INFO\r\n",
    ],
)
async def test_junk(recorder: Recorder, junk: bytes) -> None:
    with pytest.raises(errors.ProtocolError) as raised:
        await Parser(recorder).parse(junk)
    assert isinstance(raised.value, errors.Error)
    assert recorder.calls == []


async def test_an_endless_line_is_not_collected(recorder: Recorder) -> None:
    reading = Parser(recorder)

    async def feed() -> None:
        for _ in range(64):
            await reading.parse(b"x" * 65536)

    with pytest.raises(errors.ProtocolError):
        await feed()


async def test_a_large_message_in_pieces(recorder: Recorder) -> None:
    payload = bytes(range(256)) * 4096
    wire = b"MSG big 9 r %d\r\n%s\r\n" % (len(payload), payload)
    reading = Parser(recorder)
    for at in range(0, len(wire), 10_007):
        await reading.parse(wire[at : at + 10_007])
    assert recorder.calls == [("msg", 9, b"big", b"r", payload, b"")]


async def test_built_commands_are_what_a_server_would_echo(recorder: Recorder) -> None:
    built = command.pub_cmd("a", "r", b"data")
    await Parser(recorder).parse(built.replace(b"PUB a ", b"MSG a 5 "))
    assert recorder.calls == [("msg", 5, b"a", b"r", b"data", b"")]


async def test_info_is_json(recorder: Recorder) -> None:
    info = {"connect_urls": ["a:1", "b:2"], "name": "é"}
    await Parser(recorder).parse(b"INFO " + json.dumps(info).encode() + b" \r\n")
    assert recorder.calls == [("info", info)]


def test_the_old_error_class() -> None:
    assert issubclass(parser.ErrProtocol, errors.ProtocolError)
    assert str(parser.ErrProtocol()) == "nats: Protocol Error"
