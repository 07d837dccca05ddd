"""Header names, status codes and the values that configuration fields can take."""

from __future__ import annotations

from enum import Enum

from nats import _units

DEFAULT_PREFIX = "$JS.API"
INBOX_PREFIX = b"_INBOX."

# Values for `Header.SCHEDULE` besides cron expressions, `@every` and `@at` (ADR-51).
SCHEDULE_YEARLY = "@yearly"
SCHEDULE_MONTHLY = "@monthly"
SCHEDULE_WEEKLY = "@weekly"
SCHEDULE_DAILY = "@daily"
SCHEDULE_HOURLY = "@hourly"


class Header(str, Enum):
    """Names of the headers that JetStream reads or sets."""

    BATCH_COMMIT = "Nats-Batch-Commit"
    BATCH_ID = "Nats-Batch-Id"
    BATCH_SEQUENCE = "Nats-Batch-Sequence"
    CONSUMER_STALLED = "Nats-Consumer-Stalled"
    DESCRIPTION = "Description"
    EXPECTED_LAST_MSG_ID = "Nats-Expected-Last-Msg-Id"
    EXPECTED_LAST_SEQUENCE = "Nats-Expected-Last-Sequence"
    EXPECTED_LAST_SUBJECT_SEQUENCE = "Nats-Expected-Last-Subject-Sequence"
    EXPECTED_STREAM = "Nats-Expected-Stream"
    INCR = "Nats-Incr"
    """What to add to a counter, such as ``5`` or ``-2`` (ADR-49)."""
    LAST_CONSUMER = "Nats-Last-Consumer"
    LAST_STREAM = "Nats-Last-Stream"
    MSG_ID = "Nats-Msg-Id"
    MSG_TTL = "Nats-TTL"
    ROLLUP = "Nats-Rollup"
    SCHEDULE = "Nats-Schedule"
    SCHEDULE_NEXT = "Nats-Schedule-Next"
    SCHEDULE_ROLLUP = "Nats-Schedule-Rollup"
    SCHEDULE_SOURCE = "Nats-Schedule-Source"
    SCHEDULE_TARGET = "Nats-Schedule-Target"
    SCHEDULE_TIME_ZONE = "Nats-Schedule-Time-Zone"
    SCHEDULE_TTL = "Nats-Schedule-TTL"
    SCHEDULER = "Nats-Scheduler"
    STATUS = _units.STATUS_HEADER


class StatusCode(str, Enum):
    """Statuses of messages that JetStream answers with."""

    SERVICE_UNAVAILABLE = _units.NO_RESPONDERS_STATUS
    NO_MESSAGES = _units.NO_MESSAGES_STATUS
    REQUEST_TIMEOUT = _units.REQUEST_TIMEOUT_STATUS
    CONFLICT = _units.CONFLICT_STATUS
    CONTROL_MESSAGE = _units.CONTROL_STATUS


class RetentionPolicy(str, Enum):
    """When a stream removes a message: at its limits, without a consumer that is interested, or
    once acknowledged."""

    LIMITS = "limits"
    INTEREST = "interest"
    WORK_QUEUE = "workqueue"


class StorageType(str, Enum):
    """Where a stream keeps its messages."""

    FILE = "file"
    MEMORY = "memory"


class DiscardPolicy(str, Enum):
    """What a full stream drops: its oldest messages, or the one being published."""

    OLD = "old"
    NEW = "new"


class StoreCompression(str, Enum):
    """How a file stream is compressed on disk; nats-server 2.10 or newer."""

    NONE = "none"
    S2 = "s2"


class PersistMode(str, Enum):
    """When a stream without replicas acknowledges a publish; nats-server 2.12 or newer (ADR-56).

    With ``ASYNC`` that is before the message is on disk: faster, but a failure of the server can
    lose it, and batches can't be published.
    """

    DEFAULT = "default"
    ASYNC = "async"


class AckPolicy(str, Enum):
    """Which deliveries a consumer wants acknowledged.

    With ``ALL`` an acknowledgement covers all earlier messages, too. ``FLOW_CONTROL`` is for
    consumers that a stream sources from (ADR-60).
    """

    NONE = "none"
    ALL = "all"
    EXPLICIT = "explicit"
    FLOW_CONTROL = "flow_control"


class DeliverPolicy(str, Enum):
    """The message of the stream that a new consumer starts with."""

    ALL = "all"
    LAST = "last"
    NEW = "new"
    BY_START_SEQUENCE = "by_start_sequence"
    BY_START_TIME = "by_start_time"
    LAST_PER_SUBJECT = "last_per_subject"


class ReplayPolicy(str, Enum):
    """Whether stored messages come as fast as possible, or at the pace they were published."""

    INSTANT = "instant"
    ORIGINAL = "original"
