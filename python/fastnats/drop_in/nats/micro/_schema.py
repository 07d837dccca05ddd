"""The answers to PING, INFO and STATS: dataclasses and their JSON objects (ADR-32)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Optional, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Callable

INFO_RESPONSE_TYPE = "io.nats.micro.v1.info_response"
PING_RESPONSE_TYPE = "io.nats.micro.v1.ping_response"
STATS_RESPONSE_TYPE = "io.nats.micro.v1.stats_response"

# `dict` and `list`, with types for what they contain.
_new_dict = cast("Callable[[], dict[str, Any]]", dict)
_new_list = cast("Callable[[], list[Any]]", list)

# Names that objects and their JSON have in common.
_IDENTITY = ("id", "name", "version")
_ENDPOINT = ("name", "subject", "queue_group")
_STATISTICS = (
    "num_requests",
    "num_errors",
    "last_error",
    "processing_time",
    "average_processing_time",
)


def _values(answer: object, *names: str) -> dict[str, Any]:
    """Attributes as a JSON object, in this order."""
    return {name: getattr(answer, name) for name in names}


def _required(data: dict[str, Any], *names: str) -> dict[str, Any]:
    """:raises KeyError: one of the names is missing."""
    return {name: data[name] for name in names}


def _parse_time(text: str) -> datetime:
    """A time as services write it: those in Go with nanoseconds, or with no fraction at all.

    :raises ValueError: it isn't one, or not in UTC.
    """
    text = re.sub(r"(\.\d{6})\d+", r"\1", text)
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ" if "." in text else "%Y-%m-%dT%H:%M:%SZ")


@dataclass
class EndpointStats:
    """The statistics of an endpoint since its start or the last reset."""

    name: str
    """The name of the endpoint."""

    subject: str
    """The subject it listens on."""

    queue_group: str
    """The queue group that it listens in."""

    num_requests: int
    """Requests received."""

    num_errors: int
    """Requests whose handler raised."""

    processing_time: int
    """Nanoseconds spent on requests."""

    average_processing_time: int
    """Nanoseconds per request."""

    last_error: Optional[str] = None
    """The ``repr`` of what a handler raised last."""

    data: Optional[Any] = None
    """The result of the service's stats handler."""

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> EndpointStats:
        """The statistics of a JSON object.

        :param data: the object.
        :raises KeyError: something is missing that isn't optional.
        """
        return cls(**_required(data, *_ENDPOINT, *_STATISTICS), data=data.get("data"))

    def to_dict(self) -> dict[str, Any]:
        """The statistics as a JSON object."""
        return {
            **_values(self, *_ENDPOINT, *_STATISTICS, "data"),
            "last_error": self.last_error or "",
        }


@dataclass
class EndpointInfo:
    """What INFO tells about an endpoint."""

    name: str
    """The name of the endpoint."""

    subject: str
    """The subject it listens on."""

    queue_group: str
    """The queue group that it listens in."""

    metadata: dict[str, Any] = field(default_factory=_new_dict)
    """The metadata it was made with."""

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> EndpointInfo:
        """The information of a JSON object.

        :param data: the object.
        :raises KeyError: something is missing.
        """
        return cls(**_required(data, *_ENDPOINT, "metadata"))

    def to_dict(self) -> dict[str, Any]:
        """The information as a JSON object."""
        return _values(self, *_ENDPOINT, "metadata")


class ServiceIdentity(Protocol):
    """What identifies an instance of a service."""

    id: str
    name: str
    version: str
    metadata: dict[str, str]


@dataclass
class ServicePing(ServiceIdentity):
    """The answer to PING."""

    id: str
    name: str
    version: str
    metadata: dict[str, str] = field(default_factory=_new_dict)
    type: str = PING_RESPONSE_TYPE

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ServicePing:
        """The answer of a JSON object.

        :param data: the object.
        :raises KeyError: something is missing that isn't optional.
        """
        return cls(**_required(data, *_IDENTITY), metadata=data.get("metadata", {}))

    def to_dict(self) -> dict[str, Any]:
        """The answer as a JSON object."""
        return _values(self, "type", *_IDENTITY, "metadata")


@dataclass
class ServiceStats(ServiceIdentity):
    """The answer to STATS."""

    id: str
    """The id of this instance."""

    name: str
    """The name that all instances share."""

    version: str
    """The version of the service."""

    started: datetime
    """When the service was started or last reset: UTC, without a time zone."""

    endpoints: list[EndpointStats] = field(default_factory=_new_list)
    """The statistics of the endpoints."""

    metadata: dict[str, str] = field(default_factory=_new_dict)
    """The metadata of the service."""

    type: str = STATS_RESPONSE_TYPE
    """The schema of the JSON object."""

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ServiceStats:
        """The answer of a JSON object.

        :param data: the object.
        :raises KeyError: something is missing.
        :raises ValueError: the time isn't well formed.
        """
        return cls(
            **_required(data, *_IDENTITY),
            started=_parse_time(data["started"]),
            endpoints=[EndpointStats.from_dict(endpoint) for endpoint in data["endpoints"]],
            **_required(data, "metadata"),
        )

    def to_dict(self) -> dict[str, Any]:
        """The answer as a JSON object, with the time in milliseconds."""
        answer = _values(self, "type", "name", "id", "version", "started", "endpoints", "metadata")
        return {
            **answer,
            "started": self.started.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
            "endpoints": [endpoint.to_dict() for endpoint in self.endpoints],
        }


@dataclass
class ServiceInfo:
    """The answer to INFO."""

    name: str
    """The name that all instances share."""

    id: str
    """The id of this instance."""

    version: str
    """The version of the service."""

    description: Optional[str] = None
    """The description of the service."""

    endpoints: list[EndpointInfo] = field(default_factory=_new_list)
    """The endpoints."""

    metadata: dict[str, str] = field(default_factory=_new_dict)
    """The metadata of the service."""

    type: str = INFO_RESPONSE_TYPE
    """The schema of the JSON object."""

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ServiceInfo:
        """The answer of a JSON object.

        :param data: the object; unknown fields are left out.
        :raises KeyError: something is missing that isn't optional.
        """
        return cls(
            **_required(data, *_IDENTITY),
            description=data.get("description"),
            endpoints=[EndpointInfo.from_dict(endpoint) for endpoint in data["endpoints"]],
            **_required(data, "metadata"),
            type=data.get("type", INFO_RESPONSE_TYPE),
        )

    def to_dict(self) -> dict[str, Any]:
        """The answer as a JSON object."""
        return {
            **_values(self, "type", *_IDENTITY, "description", "endpoints", "metadata"),
            # The schema wants a string, and strictly typed clients refuse null.
            "description": self.description or "",
            "endpoints": [endpoint.to_dict() for endpoint in self.endpoints],
        }
