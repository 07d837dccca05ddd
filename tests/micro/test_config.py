"""What services and endpoints may be called, and the JSON of their descriptions (ADR-32)."""

from __future__ import annotations

import pickle
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from nats.micro.request import Request
from nats.micro.service import (
    DEFAULT_PREFIX,
    DEFAULT_QUEUE_GROUP,
    EndpointConfig,
    EndpointInfo,
    EndpointStats,
    GroupConfig,
    ServiceConfig,
    ServiceInfo,
    ServicePing,
    ServiceStats,
    ServiceVerb,
    control_subject,
)


async def handler(request: Request) -> None: ...


@pytest.mark.parametrize("name", ["a", "A-b_9", "-", "0"])
def test_names(name: str) -> None:
    assert ServiceConfig(name, "1.0.0").name == name
    assert EndpointConfig(name, handler).name == name


@pytest.mark.parametrize("name", ["a b", "a.b", "a*", ">", "é", " "])
def test_bad_names(name: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text follows
        ServiceConfig(name, "1.0.0")
    assert str(caught.value) == (
        "Invalid name. It must contain only alphanumeric characters, dashes, and underscores."
    )
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        EndpointConfig(name, handler)
    assert str(caught.value) == (
        "Invalid name. Name must contain only alphanumeric characters, underscores, and hyphens."
    )


def test_empty_names_and_versions() -> None:
    for config in (lambda: ServiceConfig("", "1.0.0"), lambda: EndpointConfig("", handler)):
        with pytest.raises(ValueError, match=r"^Name cannot be empty\.$"):
            config()
    with pytest.raises(ValueError, match=r"^Version cannot be empty\.$"):
        ServiceConfig("a", "")


@pytest.mark.parametrize(
    "version",
    ["0.0.0", "1.2.3", "10.20.30", "1.0.0-alpha.1", "1.0.0-0a.b", "1.0.0+b.7", "1.0.0-a+b"],
)
def test_versions(version: str) -> None:
    assert ServiceConfig("a", version).version == version


@pytest.mark.parametrize(
    "version", ["1", "1.0", "v1.0.0", "01.0.0", "1.0.0-", "1.0.0-01", "1.0.0 "]
)
def test_bad_versions(version: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        ServiceConfig("a", version)
    assert str(caught.value) == (
        "Invalid version. It must follow semantic versioning (e.g., 1.0.0, 2.1.3-alpha.1)."
    )


@pytest.mark.parametrize("subject", ["a", "a.*", "a.>", ">", "a.b.c", "", None])
def test_subjects_and_queue_groups(subject: str | None) -> None:
    config = EndpointConfig("a", handler, queue_group=subject, subject=subject)
    assert (config.queue_group, config.subject) == (subject, subject)
    assert ServiceConfig("a", "1.0.0", queue_group=subject).queue_group == subject


@pytest.mark.parametrize("subject", ["a b", ">.a", "a>>", " "])
def test_bad_subjects_and_queue_groups(subject: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        EndpointConfig("a", handler, subject=subject)
    assert str(caught.value) == (
        "Invalid subject. Subject must not contain spaces, and can only have '>' at the end."
    )
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        EndpointConfig("a", handler, queue_group=subject)
    assert str(caught.value) == "Invalid queue group. Queue group must not contain spaces."
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        ServiceConfig("a", "1.0.0", queue_group=subject)
    assert str(caught.value) == (
        "Invalid queue group. It must contain only alphanumeric characters, dashes, and "
        "underscores."
    )


def test_a_changed_config_is_checked_again() -> None:
    with pytest.raises(ValueError, match="Invalid name"):
        replace(EndpointConfig("a", handler), name="a b")


def test_control_subjects() -> None:
    assert (DEFAULT_PREFIX, DEFAULT_QUEUE_GROUP) == ("$SRV", "q")
    for verb in ServiceVerb:
        assert control_subject(verb) == f"$SRV.{verb.value}"
        assert control_subject(verb, "a") == f"$SRV.{verb.value}.a"
        assert control_subject(verb, name="a", id="b") == f"$SRV.{verb.value}.a.b"
        assert control_subject(verb, prefix="X.Y") == f"X.Y.{verb.value}"
    assert [str(verb.value) for verb in ServiceVerb] == ["PING", "STATS", "INFO"]


PING = {
    "type": "io.nats.micro.v1.ping_response",
    "id": "ID",
    "name": "a",
    "version": "1.0.0",
    "metadata": {"k": "v"},
}
INFO = PING | {
    "type": "io.nats.micro.v1.info_response",
    "description": "text",
    "endpoints": [{"name": "e", "subject": "s", "queue_group": "q", "metadata": {"m": "1"}}],
}
STATS: dict[str, Any] = PING | {
    "type": "io.nats.micro.v1.stats_response",
    "started": "2024-02-03T04:05:06.789Z",
    "endpoints": [
        {
            "name": "e",
            "subject": "s",
            "queue_group": "q",
            "num_requests": 4,
            "num_errors": 1,
            "last_error": "ValueError()",
            "processing_time": 1001,
            "average_processing_time": 250,
            "data": {"any": ["thing"]},
        }
    ],
}


@pytest.mark.parametrize(
    ("cls", "data"), [(ServicePing, PING), (ServiceInfo, INFO), (ServiceStats, STATS)]
)
def test_json_there_and_back(cls: Any, data: dict[str, Any]) -> None:
    made = cls.from_dict(data)
    assert made.to_dict() == data
    assert cls.from_dict(data | {"unknown": 1}) == made
    assert pickle.loads(pickle.dumps(made)) == made
    for missing in ("id", "name", "version"):
        with pytest.raises(KeyError, match=missing):
            cls.from_dict({key: value for key, value in data.items() if key != missing})


def test_what_may_be_missing() -> None:
    assert ServicePing.from_dict({"id": "ID", "name": "a", "version": "1.0.0"}).metadata == {}
    optional = ("description", "type")
    info = ServiceInfo.from_dict({key: INFO[key] for key in INFO if key not in optional})
    assert (info.description, info.type) == (None, INFO["type"])
    assert info.to_dict()["description"] == ""
    endpoint = EndpointStats.from_dict(
        {key: value for key, value in STATS["endpoints"][0].items() if key != "data"}
    )
    assert endpoint.data is None


@pytest.mark.parametrize(
    ("text", "microsecond"),
    [
        ("2024-02-03T04:05:06Z", 0),
        ("2024-02-03T04:05:06.7Z", 700000),
        ("2024-02-03T04:05:06.789123Z", 789123),
        # As services in Go write it.
        ("2024-02-03T04:05:06.789123456Z", 789123),
    ],
)
def test_times(text: str, microsecond: int) -> None:
    stats = ServiceStats.from_dict(STATS | {"started": text})
    assert stats.started == datetime(2024, 2, 3, 4, 5, 6, microsecond)


@pytest.mark.parametrize("text", ["", "yesterday", "2024-02-03T04:05:06.789123+01:00"])
def test_bad_times(text: str) -> None:
    with pytest.raises(ValueError, match="does not match format"):
        ServiceStats.from_dict(STATS | {"started": text})


def test_defaults() -> None:
    assert GroupConfig("a") == GroupConfig(name="a", queue_group=None)
    assert EndpointInfo("e", "s", "q").metadata == {}
    stats = EndpointStats("e", "s", "q", 0, 0, 0, 0)
    assert (stats.last_error, stats.data) == (None, None)
    assert stats.to_dict()["last_error"] == ""
    assert ServiceInfo("a", "ID", "1.0.0").endpoints == []
    assert ServiceStats("ID", "a", "1.0.0", datetime(2024, 1, 1)).endpoints == []


@pytest.mark.parametrize("cls", [ServiceInfo, ServiceStats])
def test_metadata_are_read_last(cls: Any) -> None:
    with pytest.raises(KeyError, match="endpoints"):
        cls.from_dict({"id": "ID", "name": "a", "version": "1", "started": "2024-01-01T00:00:00Z"})
