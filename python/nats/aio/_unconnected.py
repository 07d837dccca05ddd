"""Stands in for the native core before `connect()`."""

from __future__ import annotations

from typing import Any, NoReturn, Optional

from nats import errors
from nats._core import check_publish_subject

DISCONNECTED = 0


class Unconnected:
    """Answers what can be answered without a connection, as nats-py does."""

    def __init__(self) -> None:
        self.status = DISCONNECTED
        self.max_payload = 1048576
        self.max_pending = 0
        self.pending_size = 0
        self.skip_subject_validation = False

    def publish(
        self, subject: str, payload: bytes, reply: str, headers: Optional[dict[str, Any]]
    ) -> NoReturn:
        if not self.skip_subject_validation:
            check_publish_subject(subject or "")
            if reply:
                check_publish_subject(reply)
        if self.status == 2:
            raise errors.ConnectionClosedError
        len(payload)
        raise errors.OutboundBufferLimitError

    def counters(self) -> tuple[int, int, int, int]:
        return 0, 0, 0, 0
