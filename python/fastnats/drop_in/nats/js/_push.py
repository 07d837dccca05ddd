"""Subscriptions that push consumers deliver to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Optional

import nats
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import api

from ._push_state import push_state_of

if TYPE_CHECKING:
    import nats.js.client


class PushSubscription(Subscription):
    """A subscription that a consumer delivers to; made by
    :meth:`nats.js.JetStreamContext.subscribe`, used like any
    :class:`~nats.aio.subscription.Subscription`."""

    __module__ = "nats.js.client"
    __qualname__ = "JetStreamContext.PushSubscription"

    def __init__(
        self,
        js: nats.js.client.JetStreamContext,
        sub: Subscription,
        stream: str,
        consumer: str,
    ) -> None:
        self._js = js
        self._sub = sub
        self._stream = stream
        self._consumer = consumer

    def __getattr__(self, name: str) -> Any:
        # The state is that of the subscription underneath, whose id may change.
        if name == "_sub":
            raise AttributeError(name)
        return getattr(self._sub, name)

    async def consumer_info(self) -> api.ConsumerInfo:
        """Returns configuration and state of the consumer."""
        await push_state_of(self).settle()
        return await self._js._jsm.consumer_info(self._stream, self._consumer)

    @property
    def delivered(self) -> int:
        """Messages received so far, with control messages."""
        return self._sub.delivered

    @delivered.setter
    def delivered(self, value: int) -> None:
        self._sub._core.received = value

    @property
    def messages(self) -> AsyncIterator[Msg]:
        """The messages, for ``async for``; ends when the subscription does."""
        return self._sub.messages

    async def next_msg(self, timeout: Optional[float] = 1.0) -> Msg:
        """Waits for the next message.

        :param timeout: seconds; ``None`` waits as long as the connection is open.
        :raises nats.errors.TimeoutError: no message in time.
        """
        return await self._sub.next_msg(timeout)

    async def drain(self) -> None:
        """Ends the subscription; returns when every message received is handled."""
        await self._sub.drain()

    async def unsubscribe(self, limit: int = 0) -> None:
        """Ends the subscription, and an ephemeral consumer that was made for it.

        :param limit: messages after which it ends; at once for 0.
        """
        await self._sub.unsubscribe(limit)
