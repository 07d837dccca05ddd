"""Key-value and object stores: their configuration, and the meta data of objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

from .base import Base
from .enums import StorageType
from .streams import Placement, RePublish


@dataclass
class KeyValueConfig(Base):
    """The configuration of a key-value bucket (ADR-8). Sizes are in bytes, durations in seconds.

    With ``limit_marker_ttl`` the server leaves a marker for that long where ``ttl`` or a limit
    has removed a key; nats-server 2.11 or newer.
    """

    bucket: str
    description: Optional[str] = None
    max_value_size: Optional[int] = None
    history: int = 1
    ttl: Optional[float] = None  # seconds
    max_bytes: Optional[int] = None
    storage: Optional[StorageType] = None
    replicas: int = 1
    placement: Optional[Placement] = None
    republish: Optional[RePublish] = None
    direct: Optional[bool] = None
    limit_marker_ttl: Optional[float] = None  # seconds

    def as_dict(self) -> dict[str, object]:
        """As :meth:`Base.as_dict`, with durations and times as the server writes them."""
        result = super().as_dict()
        result["ttl"] = self._to_nanoseconds(self.ttl)
        # It is part of the stream's configuration, under another name.
        result.pop("limit_marker_ttl", None)
        return result


@dataclass
class ObjectStoreConfig(Base):
    """The configuration of an object store (ADR-20). Sizes are in bytes, ``ttl`` in seconds."""

    bucket: Optional[str] = None
    description: Optional[str] = None
    ttl: Optional[float] = None  # seconds
    max_bytes: Optional[int] = None
    storage: Optional[StorageType] = None
    replicas: int = 1
    placement: Optional[Placement] = None

    def as_dict(self) -> dict[str, object]:
        """As :meth:`Base.as_dict`, with durations and times as the server writes them."""
        result = super().as_dict()
        result["ttl"] = self._to_nanoseconds(self.ttl)
        return result


@dataclass
class ObjectLink(Base):
    """Points to an object of another store, without a name to the store itself."""

    bucket: str
    name: Optional[str] = None


@dataclass
class ObjectMetaOptions(Base):
    """The link that an object is, if it is one, and the size of its chunks in bytes."""

    link: Optional[ObjectLink] = None
    max_chunk_size: Optional[int] = None

    @classmethod
    def _convert_fields(cls, resp: dict[str, Any]) -> None:
        cls._convert(resp, "link", ObjectLink)


@dataclass
class ObjectMeta(Base):
    """The meta data that an object is put with."""

    name: Optional[str] = None
    description: Optional[str] = None
    headers: Optional[dict[str, Any]] = None
    options: Optional[ObjectMetaOptions] = None

    @classmethod
    def _convert_fields(cls, resp: dict[str, Any]) -> None:
        cls._convert(resp, "options", ObjectMetaOptions)


@dataclass
class ObjectInfo(Base):
    """An object as stored: its meta data, ``size`` in bytes, and what tells where its chunks are:
    ``nuid``."""

    name: str
    bucket: str
    nuid: str
    size: Optional[int] = None
    mtime: Optional[str] = None
    chunks: Optional[int] = None
    digest: Optional[str] = None
    deleted: Optional[bool] = False
    description: Optional[str] = None
    headers: Optional[dict[str, Any]] = None
    options: Optional[ObjectMetaOptions] = None

    @property
    def meta(self) -> ObjectMeta:
        """A new object with the meta data."""
        return ObjectMeta(
            name=self.name,
            description=self.description,
            headers=self.headers,
            options=self.options,
        )

    def is_link(self) -> bool:
        """Returns whether the object stands for another one, or for a store."""
        return self.options is not None and self.options.link is not None

    @classmethod
    def _convert_fields(cls, resp: dict[str, Any]) -> None:
        cls._convert(resp, "options", ObjectMetaOptions)
