"""Objects, enumerations and names of the JetStream API."""

from __future__ import annotations

# The `X as X`: type hints of the classes, which name this module as theirs, are resolved here.
import datetime as datetime
from typing import Any as Any
from typing import Optional as Optional

from ._api.account import AccountInfo, AccountLimits, APIStats, Tier
from ._api.base import Base
from ._api.consumers import (
    ConsumerConfig,
    ConsumerInfo,
    ConsumerPause,
    ConsumerReset,
    SequenceInfo,
)
from ._api.enums import (
    DEFAULT_PREFIX,
    INBOX_PREFIX,
    SCHEDULE_DAILY,
    SCHEDULE_HOURLY,
    SCHEDULE_MONTHLY,
    SCHEDULE_WEEKLY,
    SCHEDULE_YEARLY,
    AckPolicy,
    DeliverPolicy,
    DiscardPolicy,
    Header,
    PersistMode,
    ReplayPolicy,
    RetentionPolicy,
    StatusCode,
    StorageType,
    StoreCompression,
)
from ._api.stores import (
    KeyValueConfig,
    ObjectInfo,
    ObjectLink,
    ObjectMeta,
    ObjectMetaOptions,
    ObjectStoreConfig,
)
from ._api.streams import (
    ClusterInfo,
    ExternalStream,
    LostStreamData,
    PeerInfo,
    Placement,
    PubAck,
    RawStreamMsg,
    RePublish,
    StreamConfig,
    StreamConsumerLimits,
    StreamConsumerSource,
    StreamInfo,
    StreamPurgeRequest,
    StreamsListIterator,
    StreamSource,
    StreamSourceInfo,
    StreamState,
    SubjectTransform,
)

__all__ = [
    "DEFAULT_PREFIX",
    "INBOX_PREFIX",
    "SCHEDULE_DAILY",
    "SCHEDULE_HOURLY",
    "SCHEDULE_MONTHLY",
    "SCHEDULE_WEEKLY",
    "SCHEDULE_YEARLY",
    "APIStats",
    "AccountInfo",
    "AccountLimits",
    "AckPolicy",
    "Base",
    "ClusterInfo",
    "ConsumerConfig",
    "ConsumerInfo",
    "ConsumerPause",
    "ConsumerReset",
    "DeliverPolicy",
    "DiscardPolicy",
    "ExternalStream",
    "Header",
    "KeyValueConfig",
    "LostStreamData",
    "ObjectInfo",
    "ObjectLink",
    "ObjectMeta",
    "ObjectMetaOptions",
    "ObjectStoreConfig",
    "PeerInfo",
    "PersistMode",
    "Placement",
    "PubAck",
    "RawStreamMsg",
    "RePublish",
    "ReplayPolicy",
    "RetentionPolicy",
    "SequenceInfo",
    "StatusCode",
    "StorageType",
    "StoreCompression",
    "StreamConfig",
    "StreamConsumerLimits",
    "StreamConsumerSource",
    "StreamInfo",
    "StreamPurgeRequest",
    "StreamSource",
    "StreamSourceInfo",
    "StreamState",
    "StreamsListIterator",
    "SubjectTransform",
    "Tier",
]


def _adopt() -> None:
    """Makes this the classes' module, for pickles that nats-py reads and those it wrote."""
    for name in __all__:
        value = globals()[name]
        if isinstance(value, type):
            value.__module__ = __name__


_adopt()
