"""What an account uses, and may use, of JetStream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

from .base import Base


@dataclass
class AccountLimits(Base):
    """Limits of an account or tier, in bytes and counts; -1 means none."""

    max_memory: int
    max_storage: int
    max_streams: int
    max_consumers: int
    max_ack_pending: int
    memory_max_stream_bytes: int
    storage_max_stream_bytes: int
    max_bytes_required: bool


@dataclass
class Tier(Base):
    """Usage in bytes and counts, and the limits, of streams with one number of replicas."""

    memory: int
    storage: int
    streams: int
    consumers: int
    limits: AccountLimits

    @classmethod
    def _convert_fields(cls, resp: dict[str, Any]) -> None:
        cls._convert(resp, "limits", AccountLimits)


@dataclass
class APIStats(Base):
    """API requests so far; ``level`` is the server's API level, since nats-server 2.11."""

    total: int
    errors: int
    level: Optional[int] = None


@dataclass
class AccountInfo(Base):
    """Usage in bytes and counts, and the limits, of an account; by tier where it has tiers."""

    memory: int
    storage: int
    streams: int
    consumers: int
    limits: AccountLimits
    api: APIStats
    domain: Optional[str] = None
    tiers: Optional[dict[str, Tier]] = None

    @classmethod
    def _convert_fields(cls, resp: dict[str, Any]) -> None:
        cls._convert(resp, "limits", AccountLimits)
        cls._convert(resp, "api", APIStats)
        if resp.get("tiers"):
            resp["tiers"] = {name: Tier.from_response(tier) for name, tier in resp["tiers"].items()}
