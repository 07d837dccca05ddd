"""What pull subscriptions learn from the client."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Optional

from nats.aio._server_errors import Violation

from ._consumer import SubscriptionConsumer

if TYPE_CHECKING:
    import nats.js.client
    from nats.aio.subscription import Subscription


class PullState(SubscriptionConsumer):
    """What the client tells a pull subscription: of new connections and of refusals."""

    def __init__(
        self, js: nats.js.client.JetStreamContext, sub: Subscription, stream: str, subject: str
    ) -> None:
        """
        :param subject: that of pull requests.
        """
        super().__init__(js, sub, stream)
        self._request_subject = subject
        # Makes the error for the inbox, if the server has refused it.
        self._refusal: Optional[Callable[[], Exception]] = None

    def check_allowed(self) -> None:
        """:raises nats.errors.Error: the server has refused the inbox that messages come to."""
        if self._refusal is not None:
            raise self._refusal()

    def reconnected(self) -> None:
        """Forgets a refusal: permissions may have changed."""
        self._refusal = None

    def fail_violation(self, violation: Violation, error: Callable[[], Exception]) -> None:
        """Fails the fetches if the server has refused their requests or their inbox.

        :param violation: what the server has refused.
        :param error: makes the exception.
        """
        kind, subject = violation
        inbox = self._sub.subject
        if kind == "publish":
            is_meant = subject == self._request_subject
        elif kind == "reply":
            is_meant = subject.rpartition(".")[0] == inbox.rpartition(".")[0]
        else:
            is_meant = subject == inbox
            if is_meant:
                self._refusal = error
        if is_meant:
            self._sub._core.fail_fetches(error)
