"""Consumers that come and go with a subscription."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional

from nats import errors
from nats.js import api

from ._error_codes import JETSTREAM_UNAVAILABLE
from .errors import ServerError, ServiceUnavailableError

if TYPE_CHECKING:
    from nats.aio._server_errors import Violation
    from nats.aio.subscription import Subscription

    from .client import JetStreamContext

# Seconds between checks whether all messages are acknowledged: at first, and at most.
_FIRST_PAUSE = 0.02
_MAX_PAUSE = 0.25
# Seconds after which an acknowledgement is too late, unless the consumer has its own limit.
_ACK_WAIT = 30.0


def acknowledges_itself(config: api.ConsumerConfig) -> bool:
    """Whether messages need no acknowledgement by the application: with the policy "flow_control"
    the answers to flow control acknowledge them, with "none" nothing does."""
    return config.ack_policy in (api.AckPolicy.NONE, api.AckPolicy.FLOW_CONTROL)


def is_named(config: api.ConsumerConfig) -> bool:
    """Whether the consumer has a name by which others can find it."""
    return bool(config.durable_name or config.name)


def is_ephemeral(config: api.ConsumerConfig) -> bool:
    """Whether only the subscription that a consumer is created for can know of it."""
    return not (is_named(config) or config.deliver_group or config.deliver_subject)


async def create_ephemeral(
    js: JetStreamContext, stream: str, config: api.ConsumerConfig
) -> api.ConsumerInfo:
    """Creates a consumer; removes it if the caller is cancelled before it learns the name."""
    creating = asyncio.get_running_loop().create_task(js._jsm.add_consumer(stream, config=config))

    def remove(created: asyncio.Task[api.ConsumerInfo]) -> None:
        if not created.cancelled() and created.exception() is None:
            remove_consumer(js, stream, created.result().name)

    try:
        return await asyncio.shield(creating)
    except asyncio.CancelledError:
        creating.add_done_callback(remove)
        raise


def remove_consumer(js: JetStreamContext, stream: str, name: str) -> None:
    """Asks the server to remove a consumer, and doesn't wait for the answer."""
    try:
        # Not checked: a name that no consumer can have is the server's to refuse.
        operation = f"CONSUMER.DELETE.{stream}.{name}"
        room = js._nc._fastnats.native().publish(f"{js._prefix}.{operation}", b"", "", None)
    except errors.Error:
        # Without a connection, the server removes it after its `inactive_threshold`.
        return
    if room is not None:
        room.cancel()


class SubscriptionConsumer:
    """The consumer of a subscription; it ends with that if it was made for it alone."""

    def __init__(self, js: JetStreamContext, sub: Subscription, stream: str) -> None:
        self._js = js
        self._sub = sub
        self._stream = stream
        # The name of the consumer that has to be removed, if there is one.
        self._ephemeral: Optional[str] = None
        self._awaits_acks = False
        self._retiring: Optional[asyncio.Task[None]] = None

    def own(self, name: str, awaits_acks: bool) -> None:
        """Makes an ephemeral consumer end with the subscription.

        :param name: of the consumer.
        :param awaits_acks: the application acknowledges messages, perhaps long after it has
            received them.
        """
        self._ephemeral = name
        self._awaits_acks = awaits_acks

    def remove(self) -> None:
        """Asks the server to remove the consumer, if it is the subscription's own."""
        name, self._ephemeral = self._ephemeral, None
        if name is not None:
            remove_consumer(self._js, self._stream, name)

    def retire(self) -> None:
        """Removes the consumer once all messages that have arrived are acknowledged: without the
        consumer, acknowledgements would be in vain."""
        self.stop()
        if not self._awaits_acks:
            self.remove()
        elif self._ephemeral is not None:
            if self._retiring is None:
                loop = asyncio.get_running_loop()
                self._retiring = loop.create_task(self._remove_when_acknowledged())
                self._retiring.add_done_callback(self._forget)
            # Until then the client has to know of it, to remove the consumer when it closes.
            # Another connection doesn't subscribe again.
            self._sub._draining = True
            self._sub._conn._fastnats.subscriptions.add(self._sub)

    def _forget(self, _: asyncio.Task[None]) -> None:
        self._sub._conn._fastnats.subscriptions.remove(self._sub)

    async def _remove_when_acknowledged(self) -> None:
        core = self._sub._core
        await core.join()
        loop = asyncio.get_running_loop()
        pause = _FIRST_PAUSE
        deadline = loop.time() + _ACK_WAIT
        is_limit_known = False
        while self._ephemeral is not None:
            try:
                info = await self._js._jsm.consumer_info(self._stream, self._ephemeral)
            except errors.Error as error:
                if not _may_be_answered(error):
                    # The consumer is gone, or the permissions don't allow the question: then the
                    # server removes it after a while.
                    return
                is_acknowledged = False
            else:
                if not is_limit_known:
                    is_limit_known = True
                    deadline = loop.time() + (info.config.ack_wait or _ACK_WAIT)
                # Messages that were delivered after the end of the subscription never arrived
                # here.
                delivered = info.delivered.consumer_seq if info.delivered else 0
                missed = delivered - core.consumer_seq
                is_acknowledged = (info.num_ack_pending or 0) <= missed
            if is_acknowledged or loop.time() >= deadline:
                self.remove()
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, _MAX_PAUSE)

    def stop(self) -> None:
        """Ends the tasks that run beside the subscription."""

    async def process_notice(self, report: Any) -> None:
        """The core has found that deliveries are missing; it watches push consumers only."""

    def reconnected(self) -> None:
        """Called when the client has another connection."""

    def fail_violation(self, violation: Violation, error: Callable[[], Exception]) -> None:
        """Called when the server has refused something that the subscription may need.

        :param violation: what it has refused.
        :param error: makes the exception.
        """


def _may_be_answered(error: errors.Error) -> bool:
    """Whether the same question may have an answer later: the client is reconnecting, or there is
    no leader at the moment."""
    if isinstance(error, ServiceUnavailableError):
        return error.err_code == JETSTREAM_UNAVAILABLE
    return isinstance(error, (errors.TimeoutError, errors.ConnectionReconnectingError, ServerError))
