"""The subscriptions of a client, by the ids that the server knows them by."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from nats._core import Connection

from ._limits import MOST_MESSAGES, whole
from ._server_errors import Violation

if TYPE_CHECKING:
    from .subscription import Subscription


class SubscriptionObserver(Protocol):
    """What a layer above does for the subscriptions that it makes: whatever delivers to them at
    the server needs more care than the subscription itself."""

    def reconnected(self) -> None:
        """The client has another connection, perhaps to a server that knows nothing."""
        ...

    async def process_notice(self, report: Any) -> None:
        """The core, told to watch what arrives, has found that something is missing."""
        ...

    def fail_violation(self, violation: Violation, error: Callable[[], Exception]) -> None:
        """The server has refused something, perhaps what the subscription needs.

        :param error: makes the exception that says so.
        """
        ...

    def stop(self) -> None:
        """The subscription has ended; what goes on beside it has to end, too."""
        ...

    def retire(self) -> None:
        """Everything that has come is handled; nothing more does."""
        ...

    def remove(self) -> None:
        """What the server keeps for this subscription alone has to go, at once."""
        ...


class Subscriptions:
    """Which subscriptions there are. Whoever drains or closes the client looks here."""

    def __init__(self) -> None:
        self.by_sid: dict[int, Subscription] = {}
        self.last_sid = 0

    def __iter__(self) -> Iterator[Subscription]:
        """Goes over a copy: whatever is done with one may end others."""
        return iter(list(self.by_sid.values()))

    def new_sid(self) -> int:
        """Returns an id that no subscription of this client has had."""
        self.last_sid += 1
        return self.last_sid

    def add(self, sub: Subscription) -> None:
        """Has the client know of a subscription."""
        self.by_sid[sub._id] = sub

    def remove(self, sub: Subscription) -> None:
        """Has the client forget it; the server isn't told."""
        self.by_sid.pop(sub._id, None)

    def clear(self) -> None:
        """Has the client forget all of them."""
        self.by_sid.clear()

    def send_subscribe(self, core: Connection, sub: Subscription) -> None:
        """Asks the server for the messages of a subscription."""
        core.send_subscribe(sub._subject, sub._queue or "", sub._id, sub._start_count())

    def send_unsubscribe(self, core: Connection, sid: int, limit: int = 0) -> None:
        """Has the server send no more messages, at once or after so many."""
        if limit <= MOST_MESSAGES:
            core.send_unsubscribe(sid, max(whole(limit), 0))

    def move(self, core: Connection, sub: Subscription, subject: str) -> None:
        """Has a subscription receive from another subject, under another id: what is still on
        its way to the old one doesn't reach it."""
        old_sid = sub._id
        self.remove(sub)
        sub._id = self.new_sid()
        sub._subject = subject
        self.add(sub)
        sub._core.rebind(sub._id)
        self.send_unsubscribe(core, old_sid)
        self.send_subscribe(core, sub)

    def replay(self) -> bytes:
        """The commands that make the subscriptions known to another server, each with what is
        left of its auto-unsubscribe limit."""
        commands: list[str] = []
        for sid, sub in list(self.by_sid.items()):
            if sub._draining:
                continue
            if sub._is_limit_reached():
                sub._forget_if_handled()
                continue
            limit = sub._start_count()
            commands.append(f"SUB {sub._subject} {sub._queue or ''} {sid}\r\n")
            if limit > 0:
                commands.append(f"UNSUB {sid} {limit}\r\n")
        return "".join(commands).encode()

    def reconnected(self) -> None:
        """What delivers to the subscriptions may not have outlasted the connection before."""
        for sub in self:
            if sub._observer is not None:
                sub._observer.reconnected()

    def fail_violation(self, violation: Violation, error: Callable[[], Exception]) -> None:
        """The server has refused something, perhaps what delivers to a subscription needs."""
        for sub in self:
            if sub._observer is not None:
                sub._observer.fail_violation(violation, error)

    def leave_consumers(self) -> None:
        """The client is about to close: what the server keeps for its subscriptions alone goes."""
        for sub in self:
            sub._leave_consumer()

    def stop(self) -> None:
        """Ends all of them."""
        for sub in self:
            sub._stop_processing()
        self.clear()
