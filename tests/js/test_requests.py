"""JetStreamManager's requests, which are those of nats-py."""

from __future__ import annotations

import base64
import datetime
import json
from types import SimpleNamespace
from typing import Any

import pytest
from nats.js import api, errors
from nats.js.manager import JetStreamManager


class Recorder:
    """Stands in for a client: notes requests and gives the answers it was given."""

    def __init__(self, answer: Any, version: tuple[int, int] = (2, 15)) -> None:
        self.requests: list[tuple[str, Any, float]] = []
        self.connected_server_version = SimpleNamespace(major=version[0], minor=version[1])
        self.headers: dict[str, str] | None = None
        self._answer = answer

    async def request(self, subject: str, payload: bytes = b"", timeout: float = 0.5) -> Any:
        self.requests.append((subject, json.loads(payload) if payload else None, timeout))
        return SimpleNamespace(data=json.dumps(self._answer).encode(), headers=self.headers)


NOTHING = {"error": {"code": 404, "err_code": 1, "description": "d"}}
CONSUMER = api.ConsumerConfig().as_dict()

# Calls, and the requests that nats-py makes for them.
REQUESTS: list[tuple[str, dict[str, Any], tuple[str, Any, float]]] = [
    ("account_info", {}, ("P.INFO", None, 3)),
    ("find_stream_name_by_subject", {"subject": "s"}, ("P.STREAM.NAMES", {"subject": "s"}, 3)),
    ("stream_info", {"name": "S"}, ("P.STREAM.INFO.S", None, 3)),
    (
        "stream_info",
        {"name": "S", "subjects_filter": ">"},
        ("P.STREAM.INFO.S", {"subjects_filter": ">"}, 3),
    ),
    ("delete_stream", {"name": "S"}, ("P.STREAM.DELETE.S", None, 3)),
    ("purge_stream", {"name": "S"}, ("P.STREAM.PURGE.S", {}, 3)),
    (
        "purge_stream",
        {"name": "S", "seq": 1, "subject": "s", "keep": 2},
        ("P.STREAM.PURGE.S", {"seq": 1, "filter": "s", "keep": 2}, 3),
    ),
    ("purge_stream", {"name": "S", "seq": 0, "subject": ""}, ("P.STREAM.PURGE.S", {}, 3)),
    ("streams_info", {}, ("P.STREAM.LIST", {"offset": 0}, 3)),
    ("streams_info_iterator", {"offset": 7}, ("P.STREAM.LIST", {"offset": 7}, 3)),
    ("consumer_info", {"stream": "S", "consumer": "C"}, ("P.CONSUMER.INFO.S.C", None, 3)),
    (
        "consumer_info",
        {"stream": "S", "consumer": "C", "timeout": 0},
        ("P.CONSUMER.INFO.S.C", None, 0),
    ),
    ("consumers_info", {"stream": "S"}, ("P.CONSUMER.LIST.S", None, 3)),
    ("consumers_info", {"stream": "S", "offset": 0}, ("P.CONSUMER.LIST.S", {"offset": 0}, 3)),
    ("delete_consumer", {"stream": "S", "consumer": "C"}, ("P.CONSUMER.DELETE.S.C", None, 3)),
    (
        "pause_consumer",
        {"stream": "S", "consumer": "C", "pause_until": "later", "timeout": 9},
        ("P.CONSUMER.PAUSE.S.C", {"pause_until": "later"}, 9),
    ),
    (
        "resume_consumer",
        {"stream": "S", "consumer": "C"},
        ("P.CONSUMER.PAUSE.S.C", {"pause_until": "1970-01-01T00:00:00Z"}, 3),
    ),
    ("reset_consumer", {"stream": "S", "consumer": "C"}, ("P.CONSUMER.RESET.S.C", None, 3)),
    (
        "reset_consumer",
        {"stream": "S", "consumer": "C", "seq": 4},
        ("P.CONSUMER.RESET.S.C", {"seq": 4}, 3),
    ),
    ("add_consumer", {"stream": "S", "timeout": 0}, ("P.CONSUMER.CREATE.S", {}, 3)),
    (
        "add_consumer",
        {"stream": "S", "durable_name": "D"},
        ("P.CONSUMER.DURABLE.CREATE.S.D", {}, 3),
    ),
    ("add_consumer", {"stream": "S", "name": "N"}, ("P.CONSUMER.CREATE.S.N", {}, 3)),
    (
        "add_consumer",
        {"stream": "S", "name": "N", "durable_name": "D", "filter_subject": "s.a"},
        ("P.CONSUMER.CREATE.S.N.s.a", {}, 3),
    ),
    (
        "add_consumer",
        {"stream": "S", "name": "N", "filter_subject": ">"},
        ("P.CONSUMER.CREATE.S.N", {}, 3),
    ),
    ("get_msg", {"stream_name": "S", "seq": 3}, ("P.STREAM.MSG.GET.S", {"seq": 3}, 3)),
    (
        "get_msg",
        {"stream_name": "S", "seq": 3, "subject": "s"},
        ("P.STREAM.MSG.GET.S", {"last_by_subj": "s"}, 3),
    ),
    (
        "get_msg",
        {"stream_name": "S", "subject": "s", "next": True},
        ("P.STREAM.MSG.GET.S", {"seq": None, "next_by_subj": "s"}, 3),
    ),
    (
        "get_last_msg",
        {"stream_name": "S", "subject": "s"},
        ("P.STREAM.MSG.GET.S", {"last_by_subj": "s"}, 3),
    ),
    # Not with the manager's timeout, in nats-py either.
    ("delete_msg", {"stream_name": "S", "seq": 3}, ("P.STREAM.MSG.DELETE.S", {"seq": 3}, 5)),
]


@pytest.mark.parametrize(("method", "arguments", "expected"), REQUESTS)
async def test_requests(
    method: str, arguments: dict[str, Any], expected: tuple[str, Any, float]
) -> None:
    recorder = Recorder(NOTHING)
    jsm = JetStreamManager(recorder, prefix="P", timeout=3)  # type: ignore[arg-type]
    with pytest.raises(errors.NotFoundError):
        await getattr(jsm, method)(**arguments)
    subject, payload, timeout = expected
    if method == "add_consumer":
        given = {name: v for name, v in arguments.items() if name not in ("stream", "timeout")}
        payload = {"stream_name": "S", "config": {**CONSUMER, **given}}
    assert recorder.requests == [(subject, payload, timeout)]


@pytest.mark.parametrize("verb", ["CREATE", "UPDATE"])
async def test_stream_configuration_that_is_sent(verb: str) -> None:
    recorder = Recorder(NOTHING)
    jsm = JetStreamManager(recorder)  # type: ignore[arg-type]
    configure = jsm.add_stream if verb == "CREATE" else jsm.update_stream
    with pytest.raises(errors.NotFoundError):
        await configure(name="S", retention="interest", max_age=1.5)
    sent = {**api.StreamConfig().as_dict(), "name": "S", "retention": "interest"}
    sent["max_age"] = 1_500_000_000
    assert recorder.requests == [(f"$JS.API.STREAM.{verb}.S", sent, 5)]


@pytest.mark.parametrize(
    ("version", "subject"),
    [((2, 8), "DURABLE.CREATE.S.D"), ((2, 9), "CREATE.S.N"), ((3, 0), "CREATE.S.N")],
)
async def test_named_consumers_need_a_server_that_knows_them(
    version: tuple[int, int], subject: str
) -> None:
    recorder = Recorder(NOTHING, version)
    jsm = JetStreamManager(recorder)  # type: ignore[arg-type]
    with pytest.raises(errors.NotFoundError):
        await jsm.add_consumer("S", name="N", durable_name="D")
    assert recorder.requests[0][0] == f"$JS.API.CONSUMER.{subject}"


DIRECT: list[tuple[dict[str, Any], str, Any]] = [
    ({"seq": 3}, "P.DIRECT.GET.S", {"seq": 3}),
    ({"subject": "s.a"}, "P.DIRECT.GET.S.s.a", None),
    ({"subject": "s.a", "seq": 3}, "P.DIRECT.GET.S", {"last_by_subj": "s.a"}),
    (
        {"subject": "s.a", "seq": 3, "next": True},
        "P.DIRECT.GET.S",
        {"seq": 3, "next_by_subj": "s.a"},
    ),
]


@pytest.mark.parametrize(("arguments", "subject", "payload"), DIRECT)
async def test_direct_requests(arguments: dict[str, Any], subject: str, payload: Any) -> None:
    recorder = Recorder("the data")
    recorder.headers = {
        "Nats-Subject": "s.a",
        "Nats-Sequence": "3",
        "Nats-Time-Stamp": "2024-01-01T00:00:00.5Z",
    }
    jsm = JetStreamManager(recorder, prefix="P", timeout=3)  # type: ignore[arg-type]
    msg = await jsm.get_msg("S", direct=True, **arguments)
    assert recorder.requests == [(subject, payload, 3)]
    assert (msg.subject, msg.seq, msg.data) == ("s.a", 3, b'"the data"')
    assert msg.headers is recorder.headers


async def test_a_newer_server_says_more() -> None:
    message = {
        "subject": "s",
        "seq": 1,
        "data": base64.b64encode(b"payload").decode(),
        "hdrs": base64.b64encode(b"NATS/1.0\r\n\r\n").decode(),
        "time": "2024-01-01T00:00:00.123456789Z",
        "from_the_future": 1,
    }
    recorder = Recorder({"type": "t", "message": message, "from_the_future": 2})
    msg = await JetStreamManager(recorder).get_msg("S", 1)  # type: ignore[arg-type]
    assert (msg.data, msg.headers) == (b"payload", None)
    assert msg.time == datetime.datetime(2024, 1, 1, 0, 0, 0, 123_456, tzinfo=datetime.timezone.utc)


@pytest.mark.parametrize("name", [None, "", "a.b", "a b", "a*", ">", "a/b", "a\\b", "a\r\nb", "\t"])
async def test_names_that_cannot_exist(name: Any) -> None:
    recorder = Recorder(NOTHING)
    jsm = JetStreamManager(recorder)  # type: ignore[arg-type]
    text = r"^nats: (stream name is required|invalid stream name: )"
    for refused in (
        jsm.add_stream(name=name),
        jsm.update_stream(name=name),
        jsm.stream_info(name),
        jsm.delete_stream(name),
        jsm.purge_stream(name),
        jsm.get_msg(name, 1),
        jsm.delete_msg(name, 1),
        jsm.add_consumer(name),
        jsm.consumers_info(name),
        jsm.consumer_info(name, "C"),
    ):
        with pytest.raises(ValueError, match=text):
            await refused
    text = r"^nats: (consumer name is required|invalid consumer name: )"
    for about_consumer in (
        jsm.consumer_info("S", name),
        jsm.delete_consumer("S", name),
        jsm.pause_consumer("S", name, ""),
        jsm.resume_consumer("S", name),
        jsm.reset_consumer("S", name),
    ):
        with pytest.raises(ValueError, match=text):
            await about_consumer
    if name:
        # Without a name the server chooses one.
        for option in ("name", "durable_name"):
            with pytest.raises(ValueError, match=text):
                await jsm.add_consumer("S", **{option: name})
    assert recorder.requests == []
