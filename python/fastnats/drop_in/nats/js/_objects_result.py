"""Objects, and the status, of an object store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from nats._compat import ReadableResult
from nats.js import api

# The classes say where applications find them before `dataclass` runs: texts of TypeErrors say it.


@dataclass
class ObjectResult(ReadableResult):
    """An object: its meta data, and its content unless that was written to a file."""

    __module__ = "nats.js.object_store"
    __qualname__ = "ObjectStore.ObjectResult"

    info: api.ObjectInfo
    data: Optional[bytes] = b""


@dataclass(frozen=True)
class ObjectStoreStatus:
    """State and configuration of a store."""

    __module__ = "nats.js.object_store"
    __qualname__ = "ObjectStore.ObjectStoreStatus"

    stream_info: api.StreamInfo
    bucket: str

    @property
    def description(self) -> Optional[str]:
        """The description that the store was created with."""
        return self.stream_info.config.description

    @property
    def ttl(self) -> Optional[float]:
        """Seconds that objects are kept; ``None`` or 0 if there is no limit."""
        return self.stream_info.config.max_age

    @property
    def storage_type(self) -> Optional[api.StorageType]:
        """Where the server keeps the objects."""
        return self.stream_info.config.storage

    @property
    def replicas(self) -> Optional[int]:
        """How many servers hold the store."""
        return self.stream_info.config.num_replicas

    @property
    def sealed(self) -> bool:
        """Whether the store is read-only, see :meth:`ObjectStore.seal`."""
        return self.stream_info.config.sealed

    @property
    def size(self) -> int:
        """Bytes that all objects take up, with their meta data."""
        return self.stream_info.state.bytes
