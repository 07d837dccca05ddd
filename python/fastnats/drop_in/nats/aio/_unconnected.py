"""Stand-ins for the native core before `connect()`."""

from __future__ import annotations

from typing import Any, NoReturn, Optional

from nats import errors
from nats._core import check_publish_subject

from ._status import CLOSED, DISCONNECTED


class Unconnected:
    """Answers what can be answered without a connection, as nats-py does."""

    def __init__(self) -> None:
        self.status = DISCONNECTED
        self.max_payload = 1048576
        self.max_pending = 0
        self.pending_size = 0
        self.skip_subject_validation = False
        self.final_error = None

    def publish(
        self, subject: str, payload: bytes, reply: str, headers: Optional[dict[str, Any]]
    ) -> NoReturn:
        if not self.skip_subject_validation:
            check_publish_subject(subject or "")
            if reply:
                check_publish_subject(reply)
        if self.status == CLOSED:
            raise self.closed_error()
        len(payload)
        raise errors.OutboundBufferLimitError(
            "not connected: Client.connect must be called, and awaited, first"
        )

    def closed_error(self) -> errors.ConnectionClosedError:
        return errors.ConnectionClosedError()

    def counters(self) -> tuple[int, int, int, int]:
        return 0, 0, 0, 0

    def in_own_process(self) -> bool:
        return True


class UnconnectedSubscription:
    """The native half of a subscription that a program makes itself before `connect()`: no
    server knows of it, so nothing ever comes."""

    def __init__(self, client: Any, msgs_limit: int, bytes_limit: int) -> None:
        self._client = client
        self.msgs_limit = msgs_limit
        self.bytes_limit = bytes_limit
        self.max_msgs = self.received = self.pending_msgs = self.pending_bytes = 0
        self.stopped = False

    @property
    def connection(self) -> Any:
        return self._client._core

    def pop(self) -> None:
        return None

    def stop(self) -> None:
        self.stopped = True

    def detach(self) -> None:
        pass

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        # Everything else needs a connection.
        self._client._fastnats.native()
        raise errors.BadSubscriptionError
