"""Pull consumers."""

# ruff: noqa: UP006, UP035 -- public annotations keep the reference's spellings

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, List, NoReturn, Optional

import nats
from nats import errors
from nats._durations import MAX_NANOSECONDS, to_nanoseconds
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import api
from nats.js.errors import APIError, FetchTimeoutError, concerning

from ._consumer import SubscriptionConsumer

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
        # Each request has a reply subject of its own where the subscription covers it: only that
        # tells which of them the server talks about.
        inbox, _, _ = self._deliver.rpartition(".")
        self._inbox = f"{inbox}." if sub.subject == f"{inbox}.*" else None

    def _own_consumer(self, awaits_acks: bool) -> None:
        """The consumer ends with the subscription."""
        consumer = SubscriptionConsumer(self._js, self._sub, self._stream)
        consumer.own(self._consumer, awaits_acks)
        self._sub._jsi = consumer

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
        """Messages received so far, the server's status messages included."""
        return self._sub.delivered

    async def unsubscribe(self) -> None:
        """Ends the subscription. The consumer stays unless it was made for this subscription
        and has no name."""
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
    ) -> List[Msg]:
        """Fetches up to ``batch`` messages; returns early with what there is.

        Asks for what the stream has right now and, if that is nothing, waits for more. Asks
        again if the request is lost: with its connection, with the consumer's leader, or without
        a word. Messages that a cancelled call had are returned by the next one.

        :param timeout: seconds; ``None`` waits for ever, and for the whole ``batch`` unless some
            of it is there.
        :param heartbeat: seconds between signs of life of a server that has nothing to send. If
            two of them, and at least a second, are missing, the request counts as lost.
        :raises nats.errors.TimeoutError: no message in time;
            :class:`nats.js.errors.FetchTimeoutError` if there were heartbeats.
        :raises nats.js.errors.APIError: the server refuses the request, and there are no
            messages to be returned first.
        :raises nats.errors.ConnectionClosedError: the client is closed.
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
        core = self._sub._core
        fetch = core.begin_fetch(
            batch,
            None if timeout is None else _nanoseconds(timeout),
            _nanoseconds(heartbeat or 0) or None,
        )
        try:
            while True:
                # What to do is decided in the core, which knows what the server has said.
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
                    if conn.is_closed or (core.stopped and conn.is_draining):
                        raise conn._core.closed_error()
                elif kind == "refused":
                    self._refuse(value)
                else:
                    raise FetchTimeoutError if value else errors.TimeoutError
        finally:
            fetch.end()

    def _refuse(self, msg: Msg) -> NoReturn:
        """Raises what the server's word about a pull request tells."""
        try:
            APIError.from_msg(msg)
        except APIError as error:
            hint = f": {error.details}" if error.details else ""
            details = f"consumer {self._consumer!r} of stream {self._stream!r}{hint}"
            raise concerning(error, details) from None

    def _reply_subject(self, token: int) -> str:
        """Where the server answers the request with this token."""
        if self._inbox is None:
            return self._deliver
        return f"{self._inbox}{token}"


def _nanoseconds(seconds: float) -> int:
    """What the core and the server can count."""
    return max(min(to_nanoseconds(seconds), MAX_NANOSECONDS), 0)
