"""Subscriptions that fetch from pull consumers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NoReturn, Optional

import nats
from nats import errors
from nats._texts import with_details
from nats._units import to_timeout_nanoseconds
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import api
from nats.js.errors import (
    APIError,
    FetchTimeoutError,
    ServerError,
    ServiceUnavailableError,
)

from ._error_codes import JETSTREAM_UNAVAILABLE
from ._names import consumer_text
from ._pull_state import PullState

if TYPE_CHECKING:
    import nats.js.client


class PullSubscription:
    """Fetches messages from a pull consumer; made by
    :meth:`nats.js.JetStreamContext.pull_subscribe`.

    ::

        sub = await js.pull_subscribe("orders.*", durable="worker")
        for msg in await sub.fetch(10, timeout=5):
            ...
            await msg.ack()
    """

    __module__ = "nats.js.client"
    __qualname__ = "JetStreamContext.PullSubscription"

    def __init__(
        self,
        js: nats.js.client.JetStreamContext,
        sub: Subscription,
        stream: str,
        consumer: str,
        deliver: bytes,
    ) -> None:
        self._js = js
        self._nc = js._nc
        self._sub = sub
        self._stream = stream
        self._consumer = consumer
        self._nms = f"{js._prefix}.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._deliver = deliver.decode()
        # Whether the consumer has been seen.
        self._is_known = False
        self._state = sub._observer = PullState(js, sub, stream, self._nms)
        # Each request has a reply subject of its own if the subscription covers that: nothing else
        # tells which request a status belongs to.
        inbox, _, _ = self._deliver.rpartition(".")
        self._inbox = f"{inbox}." if sub.subject == f"{inbox}.*" else None

    def _own_consumer(self, awaits_acks: bool) -> None:
        """Has the consumer end with the subscription."""
        self._state.own(self._consumer, awaits_acks)

    @property
    def pending_msgs(self) -> int:
        """Messages received but not yet fetched."""
        return self._sub.pending_msgs

    @property
    def pending_bytes(self) -> int:
        """Payload bytes of the messages counted by :attr:`pending_msgs`."""
        return self._sub.pending_bytes

    @property
    def delivered(self) -> int:
        """Messages received so far, with the server's status messages."""
        return self._sub.delivered

    async def unsubscribe(self) -> None:
        """Ends the subscription. The consumer stays unless it was made for this subscription
        and has no name.

        :raises ValueError: it has no subscription underneath any more.
        :raises nats.errors.BadSubscriptionError: it has ended already.
        """
        if self._sub is None:
            raise ValueError("nats: invalid subscription")
        await self._sub.unsubscribe()

    async def consumer_info(self) -> api.ConsumerInfo:
        """Returns configuration and state of the consumer."""
        return await self._js._jsm.consumer_info(self._stream, self._consumer)

    async def fetch(
        self,
        batch: int = 1,
        timeout: Optional[float] = 5,
        heartbeat: Optional[float] = None,
    ) -> list[Msg]:
        """Fetches up to ``batch`` messages; returns fewer if there are no more right now.

        If there are none, it waits for the first. The server is asked again if a request is lost,
        with or without notice, and while the consumer has no leader. Messages of a call that was
        cancelled are returned by the next one.

        :param batch: messages at most.
        :param timeout: seconds; ``None`` waits for ever, and for the whole ``batch`` unless part
            of it is there.
        :param heartbeat: seconds between signs of life of a server that has nothing to send. If
            two of them, and at least a second, are missing, the request counts as lost.
        :raises nats.errors.TimeoutError: no message in time;
            :class:`nats.js.errors.FetchTimeoutError` if there were heartbeats.
        :raises nats.js.errors.APIError: the server refuses the request, and there are no
            messages to return first.
        :raises nats.errors.ConnectionClosedError: the client is closed.
        :raises nats.errors.Error: the permissions of the connection don't allow it.
        :raises ValueError: ``batch`` or ``timeout`` isn't positive.
        """
        if self._sub is None:
            raise ValueError("nats: invalid subscription")
        if batch < 1:
            raise ValueError("nats: invalid batch size")
        if timeout is not None and timeout <= 0:
            raise ValueError("nats: invalid fetch timeout")
        conn = self._sub._conn
        if conn.is_closed:
            raise conn._core.closed_error()
        self._state.check_allowed()
        core = self._sub._core
        fetch = core.begin_fetch(
            batch,
            None if timeout is None else to_timeout_nanoseconds(timeout),
            to_timeout_nanoseconds(heartbeat or 0) or None,
        )
        try:
            while True:
                # The core decides what to do, as it knows what the server has said.
                kind, value = fetch.step()
                if kind == "messages":
                    return value  # type: ignore[no-any-return]
                if kind == "ask":
                    payload, token = value
                    await self._nc.publish(self._nms, payload, self._reply_subject(token))
                elif kind == "wait":
                    try:
                        await value
                    except asyncio.TimeoutError:
                        pass
                    self._check_open()
                elif kind == "look":
                    fetch.expect(await self._may_be_served(value))
                    self._check_open()
                elif kind == "refused":
                    self._raise_refusal(value)
                else:
                    error = FetchTimeoutError() if value else errors.TimeoutError()
                    raise with_details(error, self._about())
        finally:
            fetch.end()

    def _check_open(self) -> None:
        conn = self._sub._conn
        if conn.is_closed or (self._sub._core.stopped and conn.is_draining):
            raise conn._core.closed_error()

    async def _may_be_served(self, timeout: float) -> bool:
        """Whether to keep waiting for a consumer that no server answers for: it exists, or nobody
        can tell at the moment."""
        try:
            await self._js._jsm.consumer_info(self._stream, self._consumer, timeout)
        except (ServerError, errors.TimeoutError):
            return True
        except ServiceUnavailableError as error:
            # Without JetStream there is nothing to wait for, unless the consumer was there before.
            return self._is_known or error.err_code == JETSTREAM_UNAVAILABLE
        except (errors.Error, ValueError):
            # It doesn't exist, can't exist, or may not be looked up.
            return False
        self._is_known = True
        return True

    def _raise_refusal(self, msg: Msg) -> NoReturn:
        """Raises the error for a pull request that the server has refused.

        :param msg: the server's status message.
        """
        try:
            APIError.from_msg(msg)
        except APIError as error:
            hint = f": {error.details}" if error.details else ""
            raise with_details(error, f"{self._about()}{hint}") from None

    def _about(self) -> str:
        return consumer_text(self._stream, self._consumer)

    def _reply_subject(self, token: int) -> str:
        """Returns the reply subject for the request with this token."""
        if self._inbox is None:
            return self._deliver
        return f"{self._inbox}{token}"
