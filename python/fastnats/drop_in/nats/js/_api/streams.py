"""Streams: configuration, state, and the messages in them."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass

# The bases of a class are nats-py's.
from typing import Any, Iterable, Optional  # noqa: UP035

from .base import Base
from .enums import DiscardPolicy, PersistMode, RetentionPolicy, StorageType, StoreCompression

_COMPRESSIONS = tuple(StoreCompression)


@dataclass
class PubAck(Base):
    """The server's acknowledgement of a published message.

    ``batch_id`` and ``batch_size`` come with the commit of a batch (ADR-50); ``stream`` is empty
    and ``seq`` 0 for a message of a batch that isn't committed yet. ``val`` is the decimal value
    of a counter after the message (ADR-49).
    """

    stream: str
    seq: int
    domain: Optional[str] = None
    duplicate: Optional[bool] = None
    batch_id: Optional[str] = None
    batch_size: Optional[int] = None
    val: Optional[str] = None

    @classmethod
    def _convert_fields(cls, resp: dict[str, Any]) -> None:
        for name, attribute in (("batch", "batch_id"), ("count", "batch_size")):
            if name in resp:
                resp.setdefault(attribute, resp.pop(name))

    def as_dict(self) -> dict[str, object]:
        """As :meth:`Base.as_dict`, with the server's names for the batch."""
        result = super().as_dict()
        for name, attribute in (("batch", "batch_id"), ("count", "batch_size")):
            if attribute in result:
                result[name] = result.pop(attribute)
        return result


@dataclass
class Placement(Base):
    """Which servers may hold a stream: those of a cluster, those with all the tags."""

    cluster: Optional[str] = None
    tags: Optional[list[str]] = None


@dataclass
class ExternalStream(Base):
    """A stream of another account or domain, by its API prefix and delivery prefix."""

    api: str
    deliver: Optional[str] = None


@dataclass
class StreamConsumerSource(Base):
    """An existing consumer through which a stream is sourced or mirrored (ADR-60).

    Work queue and interest streams can't be sourced without one. Both fields are mandatory.
    """

    name: str
    deliver_subject: str


@dataclass
class SubjectTransform(Base):
    """Maps subjects that match ``src`` to ``dest``, which may refer to the wildcards of ``src``."""

    src: str
    dest: str


@dataclass
class StreamSource(Base):
    """A stream that another one copies, from the start, or from a sequence or time on."""

    name: str
    opt_start_seq: Optional[int] = None
    opt_start_time: Optional[datetime.datetime] = None
    filter_subject: Optional[str] = None
    external: Optional[ExternalStream] = None
    subject_transforms: Optional[list[SubjectTransform]] = None
    consumer: Optional[StreamConsumerSource] = None

    @classmethod
    def _convert_fields(cls, resp: dict[str, Any]) -> None:
        cls._convert(resp, "external", ExternalStream)
        cls._convert(resp, "subject_transforms", SubjectTransform)
        cls._convert(resp, "consumer", StreamConsumerSource)
        cls._convert_utc_iso(resp, "opt_start_time")

    def as_dict(self) -> dict[str, object]:
        """As :meth:`Base.as_dict`, with durations and times as the server writes them."""
        result = super().as_dict()
        if self.opt_start_time is not None:
            result["opt_start_time"] = self._time_to_send("opt_start_time")
        return result


@dataclass
class StreamSourceInfo(Base):
    """How many messages a copy lags behind its source; ``active`` is the time since it was last
    heard of, in nanoseconds, -1 for never."""

    name: str
    lag: Optional[int] = None
    active: Optional[int] = None
    error: Optional[dict[str, Any]] = None


@dataclass
class LostStreamData(Base):
    """Sequences that were found damaged, and their size in bytes."""

    msgs: Optional[list[int]] = None
    bytes: Optional[int] = None


@dataclass
class StreamState(Base):
    """What is in a stream, in messages and ``bytes``. ``subjects`` has the number of messages by
    subject, if asked for."""

    messages: int
    bytes: int
    first_seq: int
    last_seq: int
    consumer_count: int
    deleted: Optional[list[int]] = None
    num_deleted: Optional[int] = None
    lost: Optional[LostStreamData] = None
    subjects: Optional[dict[str, int]] = None

    @classmethod
    def _convert_fields(cls, resp: dict[str, Any]) -> None:
        cls._convert(resp, "lost", LostStreamData)


@dataclass
class RePublish(Base):
    """Publishes stored messages again: those whose subject matches ``src``, to ``dest``."""

    src: Optional[str] = None
    dest: Optional[str] = None
    headers_only: Optional[bool] = None


@dataclass
class StreamConsumerLimits(Base):
    """Defaults and limits for the consumers of a stream, ``inactive_threshold`` in seconds;
    nats-server 2.10 or newer."""

    inactive_threshold: Optional[float] = None  # seconds
    max_ack_pending: Optional[int] = None

    @classmethod
    def _convert_fields(cls, resp: dict[str, Any]) -> None:
        cls._convert_nanoseconds(resp, "inactive_threshold")

    def as_dict(self) -> dict[str, object]:
        """As :meth:`Base.as_dict`, with durations and times as the server writes them."""
        result = super().as_dict()
        if self.inactive_threshold is not None:
            result["inactive_threshold"] = self._to_nanoseconds(self.inactive_threshold)
        return result


@dataclass
class StreamConfig(Base):
    """The configuration of a stream. What is ``None`` is left to the server.

    Sizes are in bytes, durations in seconds; -1 means no limit, for ages it is 0.
    """

    name: Optional[str] = None
    description: Optional[str] = None
    subjects: Optional[list[str]] = None
    retention: Optional[RetentionPolicy] = None
    max_consumers: Optional[int] = None
    max_msgs: Optional[int] = None
    max_bytes: Optional[int] = None
    discard: Optional[DiscardPolicy] = DiscardPolicy.OLD
    discard_new_per_subject: bool = False
    max_age: Optional[float] = None  # seconds
    max_msgs_per_subject: int = -1
    max_msg_size: Optional[int] = -1
    storage: Optional[StorageType] = None
    num_replicas: Optional[int] = None
    no_ack: bool = False
    template_owner: Optional[str] = None
    duplicate_window: float = 0  # seconds
    placement: Optional[Placement] = None
    mirror: Optional[StreamSource] = None
    sources: Optional[list[StreamSource]] = None
    sealed: bool = False
    deny_delete: bool = False
    deny_purge: bool = False
    allow_rollup_hdrs: bool = False
    first_seq: Optional[int] = None  # nats-server 2.10
    republish: Optional[RePublish] = None
    subject_transform: Optional[SubjectTransform] = None
    allow_direct: Optional[bool] = None  # ADR-31
    mirror_direct: Optional[bool] = None  # ADR-31
    compression: Optional[StoreCompression] = None  # nats-server 2.10
    allow_msg_ttl: Optional[bool] = None  # nats-server 2.11, ADR-43
    allow_msg_schedules: Optional[bool] = None  # nats-server 2.12, ADR-51
    allow_atomic: Optional[bool] = None  # nats-server 2.12, ADR-50
    allow_batched: Optional[bool] = None  # nats-server 2.12, ADR-50
    allow_msg_counter: Optional[bool] = None  # nats-server 2.12, ADR-49
    persist_mode: Optional[PersistMode] = None  # nats-server 2.12, ADR-56
    metadata: Optional[dict[str, str]] = None
    consumer_limits: Optional[StreamConsumerLimits] = None  # nats-server 2.10
    subject_delete_marker_ttl: Optional[float] = None  # seconds; nats-server 2.11, ADR-43

    @classmethod
    def _convert_fields(cls, resp: dict[str, Any]) -> None:
        for duration in ("max_age", "duplicate_window", "subject_delete_marker_ttl"):
            cls._convert_nanoseconds(resp, duration)
        cls._convert(resp, "placement", Placement)
        cls._convert(resp, "mirror", StreamSource)
        cls._convert(resp, "sources", StreamSource)
        cls._convert(resp, "republish", RePublish)
        cls._convert(resp, "subject_transform", SubjectTransform)
        cls._convert(resp, "consumer_limits", StreamConsumerLimits)

    def as_dict(self) -> dict[str, object]:
        """As :meth:`Base.as_dict`, with durations as the server writes them.

        :raises ValueError: ``compression`` has no valid value, or ``metadata`` is no dict.
        """
        if self.compression and self.compression not in _COMPRESSIONS:
            raise ValueError(f"nats: invalid store compression type: {self.compression}")
        if self.metadata and not isinstance(self.metadata, dict):
            raise ValueError("nats: invalid metadata format")
        result = super().as_dict()
        result["duplicate_window"] = self._to_nanoseconds(self.duplicate_window)
        result["max_age"] = self._to_nanoseconds(self.max_age)
        # Unlike an age, 0 doesn't mean "none" here: only leaving it out does.
        if result.pop("subject_delete_marker_ttl", None) is not None:
            ttl = self._to_nanoseconds(self.subject_delete_marker_ttl)
            if ttl > 0:
                result["subject_delete_marker_ttl"] = ttl
        return result


@dataclass
class PeerInfo(Base):
    """A replica. ``active`` is the time since it was last heard of, in nanoseconds; ``lag`` is how
    many operations it is behind."""

    name: Optional[str] = None
    current: Optional[bool] = None
    offline: Optional[bool] = None
    active: Optional[int] = None
    lag: Optional[int] = None


@dataclass
class ClusterInfo(Base):
    """The servers that hold a stream or a consumer."""

    leader: Optional[str] = None
    name: Optional[str] = None
    replicas: Optional[list[PeerInfo]] = None
    raft_group: Optional[str] = None
    leader_since: Optional[datetime.datetime] = None
    traffic_acc: Optional[str] = None

    @classmethod
    def _convert_fields(cls, resp: dict[str, Any]) -> None:
        cls._convert(resp, "replicas", PeerInfo)
        cls._convert_utc_iso(resp, "leader_since")


@dataclass
class StreamInfo(Base):
    """Configuration and state of a stream at one moment."""

    config: StreamConfig
    state: StreamState
    mirror: Optional[StreamSourceInfo] = None
    sources: Optional[list[StreamSourceInfo]] = None
    cluster: Optional[ClusterInfo] = None
    did_create: Optional[bool] = None
    created: Optional[datetime.datetime] = None

    @classmethod
    def _convert_fields(cls, resp: dict[str, Any]) -> None:
        cls._convert(resp, "config", StreamConfig)
        cls._convert(resp, "state", StreamState)
        cls._convert(resp, "mirror", StreamSourceInfo)
        cls._convert(resp, "sources", StreamSourceInfo)
        cls._convert(resp, "cluster", ClusterInfo)
        cls._convert_utc_iso(resp, "created")


@dataclass
class StreamsListIterator(Iterable["StreamInfo"]):
    """Iterates once over a page of the list of streams.

    ``total`` is how many streams there are, ``offset`` where in them the page begins.
    """

    def __init__(self, offset: int, total: int, streams: list[dict[str, Any]]) -> None:
        self.offset = offset
        self.total = total
        self.streams = streams
        self._index = 0

    def __iter__(self) -> Iterator[StreamInfo]:
        return self

    def __next__(self) -> StreamInfo:
        if self._index >= len(self.streams):
            raise StopIteration
        stream = self.streams[self._index]
        self._index += 1
        return StreamInfo.from_response(stream)


@dataclass
class StreamPurgeRequest(Base):
    """Which messages to purge: those before ``seq``, those of a subject, all but the last."""

    seq: Optional[int] = None
    filter: Optional[str] = None
    keep: Optional[int] = None


@dataclass
class RawStreamMsg(Base):
    """A message read from a stream by sequence or subject, without a consumer."""

    subject: Optional[str] = None
    seq: Optional[int] = None
    data: Optional[bytes] = None
    hdrs: Optional[bytes] = None
    headers: Optional[dict[str, Any]] = None
    stream: Optional[str] = None
    time: Optional[datetime.datetime] = None

    @property
    def sequence(self) -> Optional[int]:
        """The sequence in the stream, as ``seq``."""
        return self.seq

    @property
    def header(self) -> Optional[dict[str, Any]]:
        """The headers, as ``headers``."""
        return self.headers

    @classmethod
    def _convert_fields(cls, resp: dict[str, Any]) -> None:
        cls._convert_utc_iso(resp, "time")
