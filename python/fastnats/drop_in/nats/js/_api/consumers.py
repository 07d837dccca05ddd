"""Consumers: configuration and state."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any, Optional

from nats._units import to_seconds

from .base import Base
from .enums import AckPolicy, DeliverPolicy, ReplayPolicy
from .streams import ClusterInfo


@dataclass
class ConsumerConfig(Base):
    """The configuration of a consumer. What is ``None`` is left to the server. Durations are in
    seconds.

    With a ``deliver_subject`` messages are pushed, with a ``deliver_group`` to one of its
    subscribers each; without a ``deliver_subject`` they are pulled.
    """

    name: Optional[str] = None
    durable_name: Optional[str] = None
    description: Optional[str] = None
    deliver_policy: Optional[DeliverPolicy] = DeliverPolicy.ALL
    opt_start_seq: Optional[int] = None
    opt_start_time: Optional[datetime.datetime] = None
    ack_policy: Optional[AckPolicy] = AckPolicy.EXPLICIT
    ack_wait: Optional[float] = None  # seconds
    max_deliver: Optional[int] = None
    backoff: Optional[list[float]] = None  # seconds, instead of ack_wait
    filter_subject: Optional[str] = None
    filter_subjects: Optional[list[str]] = None
    replay_policy: Optional[ReplayPolicy] = ReplayPolicy.INSTANT
    rate_limit_bps: Optional[int] = None
    sample_freq: Optional[str] = None
    max_waiting: Optional[int] = None
    max_ack_pending: Optional[int] = None
    flow_control: Optional[bool] = None
    idle_heartbeat: Optional[float] = None  # seconds
    headers_only: Optional[bool] = None
    deliver_subject: Optional[str] = None
    deliver_group: Optional[str] = None
    inactive_threshold: Optional[float] = None  # seconds
    num_replicas: Optional[int] = None
    mem_storage: Optional[bool] = None
    metadata: Optional[dict[str, str]] = None
    pause_until: Optional[str] = None  # RFC 3339; nats-server 2.11

    @classmethod
    def _convert_fields(cls, resp: dict[str, Any]) -> None:
        for duration in ("ack_wait", "idle_heartbeat", "inactive_threshold"):
            cls._convert_nanoseconds(resp, duration)
        cls._convert_utc_iso(resp, "opt_start_time")
        if resp.get("backoff"):
            resp["backoff"] = [to_seconds(value) for value in resp["backoff"]]

    def as_dict(self) -> dict[str, object]:
        """As :meth:`Base.as_dict`, with durations and times as the server writes them."""
        result = super().as_dict()
        if self.opt_start_time is not None:
            result["opt_start_time"] = self._time_to_send("opt_start_time")
        result["ack_wait"] = self._to_nanoseconds(self.ack_wait)
        result["idle_heartbeat"] = self._to_nanoseconds(self.idle_heartbeat)
        result["inactive_threshold"] = self._to_nanoseconds(self.inactive_threshold)
        if self.backoff:
            result["backoff"] = [self._to_nanoseconds(wait) for wait in self.backoff]
        return result


@dataclass
class SequenceInfo(Base):
    """A position, counted in deliveries of the consumer and in messages of the stream."""

    consumer_seq: int
    stream_seq: int
    last_active: Optional[datetime.datetime] = None

    @classmethod
    def _convert_fields(cls, resp: dict[str, Any]) -> None:
        cls._convert_utc_iso(resp, "last_active")

    def as_dict(self) -> dict[str, object]:
        """As :meth:`Base.as_dict`, with durations and times as the server writes them."""
        result = super().as_dict()
        if self.last_active is not None:
            result["last_active"] = self._time_to_send("last_active")
        return result


@dataclass
class ConsumerInfo(Base):
    """Configuration and state of a consumer at one moment.

    ``num_pending`` messages haven't been delivered yet, ``num_ack_pending`` have been delivered
    and not acknowledged, ``num_waiting`` pull requests are open. ``paused`` and
    ``pause_remaining`` (nanoseconds) need nats-server 2.11.
    """

    name: str
    stream_name: str
    config: ConsumerConfig
    created: datetime.datetime
    delivered: Optional[SequenceInfo] = None
    ack_floor: Optional[SequenceInfo] = None
    num_ack_pending: Optional[int] = None
    num_redelivered: Optional[int] = None
    num_waiting: Optional[int] = None
    num_pending: Optional[int] = None
    cluster: Optional[ClusterInfo] = None
    push_bound: Optional[bool] = None
    paused: Optional[bool] = None
    pause_remaining: Optional[str] = None

    @classmethod
    def _convert_fields(cls, resp: dict[str, Any]) -> None:
        cls._convert(resp, "delivered", SequenceInfo)
        cls._convert(resp, "ack_floor", SequenceInfo)
        cls._convert(resp, "config", ConsumerConfig)
        cls._convert(resp, "cluster", ClusterInfo)
        cls._convert_utc_iso(resp, "created")

    def as_dict(self) -> dict[str, object]:
        """As :meth:`Base.as_dict`, with durations and times as the server writes them."""
        result = super().as_dict()
        result["created"] = self._time_to_send("created")
        return result


@dataclass
class ConsumerPause(Base):
    """Whether a consumer is paused, and until when (RFC 3339); nats-server 2.11 or newer."""

    paused: bool
    pause_until: Optional[str] = None
    pause_remaining: Optional[str] = None


@dataclass
class ConsumerReset(Base):
    """A consumer after a reset (ADR-60); nats-server 2.14 or newer.

    No message before the stream sequence ``reset_seq`` is delivered next.
    """

    info: ConsumerInfo
    reset_seq: int

    @classmethod
    def _convert_fields(cls, resp: dict[str, Any]) -> None:
        # The server sends both in the same object.
        info = {name: resp.pop(name) for name in list(resp) if name != "reset_seq"}
        resp["info"] = ConsumerInfo.from_response(info)
