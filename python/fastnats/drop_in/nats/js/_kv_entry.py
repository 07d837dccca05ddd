"""Entries, and the status, of a key-value bucket."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from nats.js import api

# The classes say where applications find them before `dataclass` runs: texts of TypeErrors say it.


@dataclass
class Entry:
    """A revision of a key.

    ``revision`` is its sequence in the stream. Of entries from a watcher, ``delta`` is the
    number of updates behind it, ``created`` its time in UTC, and ``operation`` ``DEL`` or
    ``PURGE`` for a marker.
    """

    __module__ = "nats.js.kv"
    __qualname__ = "KeyValue.Entry"

    bucket: str
    key: str
    value: Optional[bytes]
    revision: Optional[int]
    delta: Optional[int]
    created: Optional[int]
    operation: Optional[str]


@dataclass(frozen=True)
class BucketStatus:
    """State and configuration of a bucket."""

    __module__ = "nats.js.kv"
    __qualname__ = "KeyValue.BucketStatus"

    stream_info: api.StreamInfo
    bucket: str

    @property
    def values(self) -> int:
        """Number of revisions and markers in the bucket."""
        return self.stream_info.state.messages

    @property
    def history(self) -> int:
        """Number of revisions kept of each key."""
        return self.stream_info.config.max_msgs_per_subject

    @property
    def ttl(self) -> Optional[float]:
        """Seconds that a revision is kept; ``None`` if there is no limit."""
        return self.stream_info.config.max_age

    @property
    def marker_ttl(self) -> Optional[float]:
        """Seconds that the server's markers are kept; ``None`` if it leaves none."""
        return self.stream_info.config.subject_delete_marker_ttl
