"""What services, groups and endpoints are made from, checked (ADR-32)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Optional

from nats._semver import SEMVER

from ._schema import EndpointStats
from .request import Handler

SEMVER_REGEX = re.compile(SEMVER)
NAME_REGEX = re.compile(r"^[A-Za-z0-9\-_]+$")
SUBJECT_REGEX = re.compile(r"^[^ >]*[>]?$")

StatsHandler = Callable[[EndpointStats], Any]
"""Gets the statistics of an endpoint and returns any JSON value: their ``data``."""


@dataclass
class EndpointConfig:
    """What an endpoint is made from.

    :raises ValueError: a value isn't well formed.
    """

    name: str
    """Letters, digits, ``-`` and ``_``; needn't be unique."""

    handler: Handler
    """Answers the requests, one after the other."""

    queue_group: Optional[str] = None
    """The queue group; by default that of the group or service, else ``q``."""

    subject: Optional[str] = None
    """The subject, after the names of the groups; by default the name."""

    metadata: Optional[dict[str, str]] = None
    """Shown by INFO."""

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("Name cannot be empty.")
        if not NAME_REGEX.match(self.name):
            raise ValueError(
                "Invalid name. Name must contain only alphanumeric characters, underscores, "
                "and hyphens."
            )
        if self.subject and not SUBJECT_REGEX.match(self.subject):
            raise ValueError(
                "Invalid subject. Subject must not contain spaces, and can only have '>' at "
                "the end."
            )
        if self.queue_group and not SUBJECT_REGEX.match(self.queue_group):
            raise ValueError("Invalid queue group. Queue group must not contain spaces.")


@dataclass
class GroupConfig:
    """What a group of endpoints is made from."""

    name: str
    """The first token, or tokens, of the subjects of the endpoints."""

    queue_group: Optional[str] = None
    """The queue group of the endpoints that don't name one."""


@dataclass
class ServiceConfig:
    """What a service is made from.

    :raises ValueError: a value isn't well formed.
    """

    name: str
    """Letters, digits, ``-`` and ``_``; the same for all instances of a service."""

    version: str
    """A semantic version such as ``1.0.0``."""

    description: Optional[str] = None
    """Shown by INFO."""

    metadata: Optional[dict[str, str]] = None
    """Shown by PING, INFO and STATS."""

    queue_group: Optional[str] = None
    """The queue group of the groups and endpoints that don't name one, by default ``q``."""

    stats_handler: Optional[StatsHandler] = None
    """Returns the ``data`` of the endpoints' statistics."""

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("Name cannot be empty.")
        if not NAME_REGEX.match(self.name):
            raise ValueError(
                "Invalid name. It must contain only alphanumeric characters, dashes, and "
                "underscores."
            )
        if not self.version:
            raise ValueError("Version cannot be empty.")
        if not SEMVER_REGEX.match(self.version):
            raise ValueError(
                "Invalid version. It must follow semantic versioning (e.g., 1.0.0, 2.1.3-alpha.1)."
            )
        if self.queue_group and not SUBJECT_REGEX.match(self.queue_group):
            raise ValueError(
                "Invalid queue group. It must contain only alphanumeric characters, dashes, and "
                "underscores."
            )
