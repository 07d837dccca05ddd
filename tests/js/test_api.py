"""Objects of the JetStream API: what they make of the server's JSON, and what they send."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import json
import pickle
import subprocess
import sys
import typing
from typing import Any

import nats.js
import pytest
from nats.js import api
from nats.js.api import Base
from support.js_responses import CONSUMER, LIMITS, STREAM, UNKNOWN

UTC = datetime.timezone.utc
CLASSES = [
    value
    for value in vars(api).values()
    if isinstance(value, type) and issubclass(value, Base) and value is not Base
]

# Responses


def test_stream_info() -> None:
    info = api.StreamInfo.from_response(STREAM)
    config = info.config
    assert (config.max_age, config.duplicate_window) == (90.5, 120.0)
    assert config.subject_delete_marker_ttl == 60.0
    assert config.retention == api.RetentionPolicy.WORK_QUEUE
    assert config.placement == api.Placement("c1", ["ssd"])
    assert config.mirror == api.StreamSource(
        "M",
        opt_start_time=datetime.datetime(2024, 2, 3, 4, 5, 6, 123_456, tzinfo=UTC),
        external=api.ExternalStream("$JS.d.API", ""),
        consumer=api.StreamConsumerSource("C", "deliver"),
    )
    transforms = [api.SubjectTransform("a", "b")]
    assert config.sources == [api.StreamSource("S", subject_transforms=transforms)]
    assert config.republish == api.RePublish(">", "copy.>")
    assert config.subject_transform == api.SubjectTransform("x", "y")
    assert config.consumer_limits == api.StreamConsumerLimits(5.0)
    assert info.state == api.StreamState(
        1, 2, 3, 4, 5, lost=api.LostStreamData([9], 10), subjects={"orders.eu": 1}
    )
    assert info.mirror == api.StreamSourceInfo("M", 1, 2)
    assert info.sources == [api.StreamSourceInfo("S", 3)]
    assert info.cluster == api.ClusterInfo(
        "n1",
        replicas=[api.PeerInfo("n2", current=True, active=7)],
        leader_since=datetime.datetime(2024, 1, 1, tzinfo=UTC),
    )
    assert info.created == datetime.datetime(2024, 1, 2, 3, 4, 5, 500_000, tzinfo=UTC)
    assert info.did_create is True


def test_consumer_info() -> None:
    info = api.ConsumerInfo.from_response(CONSUMER)
    config = info.config
    assert (config.ack_wait, config.idle_heartbeat, config.inactive_threshold) == (30.0, 0.5, 300)
    assert config.backoff == [1.0, 2.5]
    assert config.opt_start_time == datetime.datetime(2023, 12, 31, 22, tzinfo=UTC)
    assert info.created == datetime.datetime(2024, 1, 2, 3, 4, 5, 987_654, tzinfo=UTC)
    active = datetime.datetime(2024, 1, 1, tzinfo=UTC)
    assert info.delivered == api.SequenceInfo(1, 2, active)
    assert info.ack_floor == api.SequenceInfo(0, 0)
    assert info.cluster == api.ClusterInfo("n1")
    assert (info.num_pending, info.paused) == (12, None)

    sent = info.as_dict()
    assert sent["created"] == "2024-01-02T03:04:05.987654321Z"
    assert sent["delivered"] == {
        "consumer_seq": 1,
        "stream_seq": 2,
        "last_active": "2024-01-01T00:00:00Z",
    }
    assert api.ConsumerInfo.from_response(sent) == info


def test_consumer_reset() -> None:
    reset = api.ConsumerReset.from_response({**CONSUMER, "reset_seq": 17})
    assert reset == api.ConsumerReset(api.ConsumerInfo.from_response(CONSUMER), 17)


def test_account_info() -> None:
    tier = {"memory": 1, "storage": 2, "streams": 3, "consumers": 4, "limits": LIMITS, **UNKNOWN}
    resp = {**tier, "domain": "hub", "api": {"total": 5, "errors": 6, "level": 2, **UNKNOWN}}
    info = api.AccountInfo.from_response({**resp, "tiers": {"R1": tier, "R3": tier}})
    limits = api.AccountLimits(1, 2, 3, 4, 5, 6, 7, False)
    assert (info.limits, info.api, info.domain) == (limits, api.APIStats(5, 6, 2), "hub")
    assert info.tiers == dict.fromkeys(["R1", "R3"], api.Tier(1, 2, 3, 4, limits))
    assert api.AccountInfo.from_response(resp).tiers is None


def test_pub_ack_of_a_batch() -> None:
    ack = api.PubAck.from_response({"stream": "S", "seq": 3, "batch": "b1", "count": 2, "val": "7"})
    assert ack == api.PubAck("S", 3, batch_id="b1", batch_size=2, val="7")
    sent = {"stream": "S", "seq": 3, "batch": "b1", "count": 2, "val": "7"}
    assert ack.as_dict() == sent
    assert api.PubAck.from_response({"stream": "S", "seq": 1, "batch": "b", "batch_id": "a"}) == (
        api.PubAck("S", 1, batch_id="a")
    )


def test_object_info() -> None:
    resp = {
        "name": "link",
        "bucket": "B",
        "nuid": "n",
        "options": {"link": {"bucket": "C", "name": "o", **UNKNOWN}, "max_chunk_size": 9},
        **UNKNOWN,
    }
    info = api.ObjectInfo.from_response(resp)
    options = api.ObjectMetaOptions(api.ObjectLink("C", "o"), 9)
    assert info == api.ObjectInfo("link", "B", "n", options=options)
    assert info.is_link()
    assert info.meta == api.ObjectMeta("link", options=options)
    assert not api.ObjectInfo("o", "B", "n", options=api.ObjectMetaOptions()).is_link()
    assert not api.ObjectInfo("o", "B", "n").is_link()


def test_raw_message() -> None:
    resp = {"subject": "s", "seq": 4, "time": "2024-01-01T00:00:00.5Z", **UNKNOWN}
    msg = api.RawStreamMsg.from_response(resp)
    assert (msg.subject, msg.seq, msg.sequence, msg.data) == ("s", 4, 4, None)
    assert msg.time == datetime.datetime(2024, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)
    msg.headers = {"A": "1"}
    assert msg.header is msg.headers


@pytest.mark.parametrize(("cls", "resp"), [(api.StreamInfo, STREAM), (api.ConsumerInfo, CONSUMER)])
def test_a_response_can_be_read_twice(cls: type[Base], resp: dict[str, Any]) -> None:
    before = copy.deepcopy(resp)
    first = cls.from_response(resp)
    assert resp == before
    assert cls.from_response(resp) == first


@pytest.mark.parametrize(
    "cls",
    [
        cls
        for cls in CLASSES
        if not any(f.default is dataclasses.MISSING for f in dataclasses.fields(cls))
    ],
)
def test_any_class_keeps_what_it_does_not_know(cls: type[Base]) -> None:
    plain = cls.from_response({})
    made = cls.from_response(dict(UNKNOWN))
    assert made == plain
    assert (repr(made), vars(made)) == (repr(plain), vars(plain))
    assert dataclasses.asdict(made) == dataclasses.asdict(plain)
    for same in (made, made.evolve(), copy.copy(made), pickle.loads(pickle.dumps(made))):
        assert same.as_dict() == {**plain.as_dict(), **UNKNOWN}
    # Explicit nulls are as good as nothing for what may be missing.
    for field in dataclasses.fields(cls):
        if field.default is None:
            assert cls.from_response({field.name: None}) == plain


def test_streams_list_iterator() -> None:
    streams = api.StreamsListIterator(0, 2, [STREAM, STREAM])
    assert iter(streams) is streams
    assert (streams.offset, streams.total) == (0, 2)
    expected = api.StreamInfo.from_response(STREAM)
    assert list(streams) == [expected, expected]
    assert list(streams) == []


# Configurations


def test_defaults_that_are_sent() -> None:
    assert api.StreamConfig().as_dict() == {
        "discard": "old",
        "discard_new_per_subject": False,
        "max_msgs_per_subject": -1,
        "max_msg_size": -1,
        "no_ack": False,
        "duplicate_window": 0,
        "sealed": False,
        "deny_delete": False,
        "deny_purge": False,
        "allow_rollup_hdrs": False,
        "max_age": 0,
    }
    assert api.ConsumerConfig().as_dict() == {
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "replay_policy": "instant",
        "ack_wait": 0,
        "idle_heartbeat": 0,
        "inactive_threshold": 0,
    }
    assert api.KeyValueConfig(bucket="b", limit_marker_ttl=3).as_dict() == {
        "bucket": "b",
        "history": 1,
        "replicas": 1,
        "ttl": 0,
    }
    assert api.ObjectStoreConfig().as_dict() == {"replicas": 1, "ttl": 0}
    assert api.StreamPurgeRequest(keep=3).as_dict() == {"keep": 3}


def test_nested_objects_are_sent() -> None:
    config = api.StreamConfig(
        name="S",
        placement=api.Placement(tags=["a"]),
        mirror=api.StreamSource("M", external=api.ExternalStream("api")),
        # In a tuple, and one as plain JSON.
        sources=typing.cast(
            Any,
            (
                api.StreamSource("A", subject_transforms=[api.SubjectTransform("x", "y")]),
                {"name": "B"},
            ),
        ),
        republish=api.RePublish("a", "b", headers_only=True),
    )
    sent = json.loads(json.dumps(config.as_dict()))
    assert sent["placement"] == {"tags": ["a"]}
    assert sent["mirror"] == {"name": "M", "external": {"api": "api"}}
    assert sent["sources"] == [
        {"name": "A", "subject_transforms": [{"src": "x", "dest": "y"}]},
        {"name": "B"},
    ]
    assert sent["republish"] == {"src": "a", "dest": "b", "headers_only": True}


ENUMS: list[tuple[type[Base], str, Any]] = [
    (api.StreamConfig, "retention", api.RetentionPolicy),
    (api.StreamConfig, "storage", api.StorageType),
    (api.StreamConfig, "discard", api.DiscardPolicy),
    (api.StreamConfig, "compression", api.StoreCompression),
    (api.StreamConfig, "persist_mode", api.PersistMode),
    (api.ConsumerConfig, "ack_policy", api.AckPolicy),
    (api.ConsumerConfig, "deliver_policy", api.DeliverPolicy),
    (api.ConsumerConfig, "replay_policy", api.ReplayPolicy),
    (api.ObjectStoreConfig, "storage", api.StorageType),
]


@pytest.mark.parametrize(
    ("cls", "field", "member"),
    [(cls, field, member) for cls, field, members in ENUMS for member in members],
)
def test_members_and_strings_are_the_same(cls: Any, field: str, member: Any) -> None:
    as_member, as_text = cls(**{field: member}), cls(**{field: member.value})
    assert as_member == as_text
    assert json.dumps(as_member.as_dict()) == json.dumps(as_text.as_dict())
    assert json.loads(json.dumps(as_text.as_dict()))[field] == member.value
    assert cls.from_response(as_text.as_dict()) == cls.from_response(as_member.as_dict())


def test_what_a_stream_configuration_refuses() -> None:
    with pytest.raises(ValueError, match=r"^nats: invalid store compression type: zip$"):
        api.StreamConfig(compression=typing.cast(Any, "zip")).as_dict()
    with pytest.raises(ValueError, match=r"^nats: invalid metadata format$"):
        api.StreamConfig(metadata=typing.cast(Any, ["a"])).as_dict()


def test_attributes_can_be_assigned() -> None:
    config = api.StreamConfig()
    config.name, config.max_age, config.retention = "S", 1.5, typing.cast(Any, "interest")
    config.subjects = ["a"]
    config.subjects.append("b")
    sent = config.as_dict()
    assert (sent["name"], sent["max_age"], sent["retention"]) == ("S", 1_500_000_000, "interest")
    assert sent["subjects"] == ["a", "b"]
    assert api.StreamConfig().name is None


def test_evolve() -> None:
    config = api.ConsumerConfig(durable_name="a", ack_wait=3)
    other = config.evolve(durable_name="b")
    assert (config.durable_name, other.durable_name, other.ack_wait) == ("a", "b", 3)
    assert type(other) is api.ConsumerConfig
    with pytest.raises(TypeError, match="no_such"):
        config.evolve(no_such=1)


def test_unknown_fields_go_back_to_the_server_at_any_depth() -> None:
    received = STREAM["config"]
    sent = api.StreamInfo.from_response(STREAM).config.evolve(max_msgs=7).as_dict()
    assert {name: sent[name] for name in received} == received
    assert sent["max_msgs"] == 7
    received = CONSUMER["config"]
    sent = api.ConsumerInfo.from_response(CONSUMER).config.evolve(description="d").as_dict()
    assert {name: sent[name] for name in received} == received


def test_what_is_replaced_takes_its_unknown_fields_along() -> None:
    config = api.StreamInfo.from_response(STREAM).config
    config.placement = api.Placement("c2")
    config.mirror = None
    sent = config.as_dict()
    assert sent["placement"] == {"cluster": "c2"}
    assert "mirror" not in sent


def test_times_keep_their_nanoseconds_until_they_are_changed() -> None:
    source = api.StreamSource.from_response(STREAM["config"]["mirror"])
    assert source.evolve().as_dict()["opt_start_time"] == "2024-02-03T04:05:06.123456789Z"
    source.opt_start_time = datetime.datetime(2025, 1, 1, tzinfo=UTC)
    assert source.as_dict()["opt_start_time"] == "2025-01-01T00:00:00Z"
    source.opt_start_time = None
    assert "opt_start_time" not in source.as_dict()


def test_subclasses_as_they_are_written_for_nats_py() -> None:
    @dataclasses.dataclass
    class Extended(api.StreamConfig):
        extra: api.Placement | None = None
        lease: float | None = None

        @classmethod
        def from_response(cls, resp: dict[str, Any]) -> Any:
            cls._convert(resp, "extra", api.Placement)
            cls._convert_nanoseconds(resp, "lease")
            return super().from_response(resp)

        def as_dict(self) -> dict[str, object]:
            result = super().as_dict()
            result["lease"] = self._to_nanoseconds(self.lease)
            return result

    resp = {"name": "S", "max_age": 10**9, "extra": {"cluster": "c"}, "lease": 2 * 10**9}
    config = Extended.from_response(dict(resp))
    assert config == Extended(
        name="S",
        max_age=1.0,
        duplicate_window=typing.cast(Any, None),
        extra=api.Placement("c"),
        lease=2.0,
    )
    assert {name: config.as_dict()[name] for name in resp} == resp


# The module


@pytest.mark.parametrize("cls", CLASSES)
def test_classes_are_at_home_in_the_public_module(cls: type[Base]) -> None:
    assert cls.__module__ == "nats.js.api"
    hints = typing.get_type_hints(cls)
    assert set(hints) == {field.name for field in dataclasses.fields(cls)}


def test_names_are_found_without_an_import_of_their_own() -> None:
    assert nats.js.api is api
    assert nats.js.errors.NotFoundError.__module__ == "nats.js.errors"
    assert nats.js.JetStreamManager.__module__ == "nats.js.manager"
    assert {"api", "JetStreamManager", "JetStreamContext"} <= set(dir(nats.js))
    with pytest.raises(AttributeError, match=r"'nats\.js' has no attribute 'nothing'"):
        _ = nats.js.nothing


def test_importing_the_api_stays_cheap() -> None:
    code = (
        "import sys, nats\n"
        "before = set(sys.modules)\n"
        "import nats.js.api\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert run.returncode == 0, run.stderr
    loaded = {name for name in run.stdout.split() if not name.startswith("nats.js")}
    assert loaded <= {"datetime", "_datetime"}
    assert "nats.js.client" not in run.stdout
