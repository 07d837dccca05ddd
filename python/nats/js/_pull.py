"""Pull consumers."""

# ruff: noqa: UP006, UP035 -- public annotations keep the reference's spellings

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any, Dict, List, Optional

import nats
from nats import errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import api
from nats.js.errors import APIError, FetchTimeoutError

from ._consumer import SubscriptionConsumer

if TYPE_CHECKING:
    import nats.js.client

_NANOS_PER_SECOND = 1_000_000_000
# A pull request ends that much before its `fetch` does, so that the server's word is heard.
_EXPIRY_MARGIN = 100_000
# The same in seconds: a request has to live for two heartbeats.
_HEARTBEAT_MARGIN = 2 * _EXPIRY_MARGIN / _NANOS_PER_SECOND


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
        # Messages of a fetch that was cancelled: the next one's.
        self._returned: List[Msg] = []

    def _own_consumer(self, awaits_acks: bool) -> None:
        """The consumer ends with the subscription."""
        consumer = SubscriptionConsumer(self._js, self._sub, self._stream)
        consumer.own(self._consumer, awaits_acks)
        self._sub._jsi = consumer

    @property
    def pending_msgs(self) -> int:
        """Messages received but not yet fetched."""
        return self._sub.pending_msgs + len(self._returned)

    @property
    def pending_bytes(self) -> int:
        """Payload bytes of the messages counted by :attr:`pending_msgs`."""
        return self._sub.pending_bytes + sum(len(msg.data) for msg in self._returned)

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

        Asks for what the stream has right now and, if that is nothing, waits for more.

        :param timeout: seconds; ``None`` waits for ever.
        :param heartbeat: seconds between signs of life of a server that has nothing to send.
        :raises nats.errors.TimeoutError: no message in time;
            :class:`nats.js.errors.FetchTimeoutError` if there were heartbeats.
        :raises nats.js.errors.APIError: the server refuses the request.
        :raises nats.errors.ConnectionClosedError: the client is closed.
        :raises ValueError: ``batch`` or ``timeout`` isn't positive.
        """
        if self._sub is None:
            raise ValueError("nats: invalid subscription")
        if batch < 1:
            raise ValueError("nats: invalid batch size")
        if timeout is not None and timeout <= 0:
            raise ValueError("nats: invalid fetch timeout")
        fetch = _Fetch(self, batch, timeout, heartbeat)
        try:
            if batch == 1:
                return [await fetch.one()]
            return await fetch.several()
        except asyncio.CancelledError:
            # Only redelivery would bring them back otherwise.
            self._returned.extend(fetch.msgs)
            raise

    def _take_waiting(self, limit: int) -> List[Msg]:
        """Messages that earlier requests have brought; their status messages go."""
        msgs = self._returned[:limit]
        del self._returned[:limit]
        while len(msgs) < limit:
            batch, status = self._sub._core.pop_batch(limit - len(msgs))
            msgs += batch
            if status is None:
                break
        return msgs


class _Fetch:
    """One call of :meth:`PullSubscription.fetch`."""

    def __init__(
        self,
        psub: PullSubscription,
        batch: int,
        timeout: Optional[float],
        heartbeat: Optional[float],
    ) -> None:
        self._psub = psub
        self._sub = psub._sub
        self._batch = batch
        self._timeout = timeout
        self._heartbeat = heartbeat
        self._started = time.monotonic()
        self._heard = False
        self.msgs: List[Msg] = []

    @property
    def _needed(self) -> int:
        return self._batch - len(self.msgs)

    def _remaining(self) -> Optional[float]:
        """Seconds that are left; may be negative."""
        if self._timeout is None:
            return None
        return self._timeout - (time.monotonic() - self._started)

    async def _ask(
        self,
        batch: int,
        expires: Optional[int],
        no_wait: bool = False,
        heartbeat: Optional[float] = None,
    ) -> None:
        request: Dict[str, Any] = {"batch": batch}
        if expires:
            request["expires"] = expires
        if heartbeat:
            request["idle_heartbeat"] = int(heartbeat * _NANOS_PER_SECOND)
        if no_wait:
            request["no_wait"] = True
        psub = self._psub
        await psub._nc.publish(psub._nms, json.dumps(request).encode(), psub._deliver)

    def _expires(self, seconds: Optional[float]) -> Optional[int]:
        return int(seconds * _NANOS_PER_SECOND) - _EXPIRY_MARGIN if seconds else None

    async def _receive(self, limit: int) -> Optional[Msg]:
        """Adds what has come, up to ``limit`` messages, waiting for the first of it. Returns
        the status message that ended it, if one did.

        :raises nats.errors.TimeoutError: nothing came.
        """
        sub = self._sub
        if sub._conn.is_closed:
            raise errors.ConnectionClosedError
        batch, status = sub._core.pop_batch(limit)
        if not batch and status is None:
            first = await sub._wait_for_next_msg(self._remaining())
            # A message of the stream may have a header of that name, too, but it has a reply
            # subject, for its acknowledgement.
            if not first.reply and _status_of(first):
                return self._heed(first)
            self.msgs.append(first)
            if limit == 1:
                return None
            batch, status = sub._core.pop_batch(limit - 1)
        self.msgs += batch
        return self._heed(status)

    def _heed(self, msg: Optional[Msg]) -> Optional[Msg]:
        """Passes a status message on; heartbeats only leave their mark."""
        if msg is not None and _status_of(msg) == api.StatusCode.CONTROL_MESSAGE:
            self._heard = True
            return None
        return msg

    def _timed_out(self) -> errors.TimeoutError:
        return FetchTimeoutError() if self._heard else errors.TimeoutError()

    async def one(self) -> Msg:
        """Waits for a single message."""
        waiting = self._psub._take_waiting(1)
        if waiting:
            return waiting[0]
        await self._ask(1, self._expires(self._timeout), heartbeat=self._heartbeat)
        while not self.msgs:
            try:
                status = await self._receive(1)
            except asyncio.TimeoutError:
                remaining = self._remaining()
                if remaining is None or remaining < 0:
                    raise self._timed_out() from None
            else:
                # One that is only temporary is as good as silence: the time isn't over.
                _refuse(status)
        return self.msgs.pop()

    async def several(self) -> List[Msg]:
        """Asks for what is there, then, if that is nothing, for what will come."""
        self.msgs = self._psub._take_waiting(self._batch)
        if not self._needed:
            return self.msgs
        # With an expiry the server would linger instead of answering at once; what has been
        # waiting here must not be held back by that.
        expires = None if self.msgs else self._expires(self._timeout)
        await self._ask(self._needed, expires, no_wait=True, heartbeat=self._heartbeat)
        await self._take_answer()
        if self.msgs:
            return self.msgs
        remaining = self._remaining()
        expires = None if remaining is None else self._expires(max(remaining, 0.0))
        if remaining is not None and (expires is None or expires <= 0):
            raise errors.TimeoutError
        heartbeat = self._heartbeat
        if heartbeat and remaining is not None and remaining < 2 * heartbeat + _HEARTBEAT_MARGIN:
            # The server would refuse that; it sends those of the first request.
            heartbeat = None
        await self._ask(self._needed, expires, heartbeat=heartbeat)
        await self._linger()
        return self.msgs

    async def _take_answer(self) -> None:
        """Takes what the server has right now. A first heartbeat means that it has nothing."""
        heard = self._heard
        try:
            while self._needed:
                status = await self._receive(self._needed)
                if not self.msgs:
                    _refuse(status)
                if status is not None or (self._heard is not heard and not self.msgs):
                    break
        except asyncio.TimeoutError:
            if not self.msgs:
                raise

    async def _linger(self) -> None:
        """Takes messages until there are enough, or until the server says that there are no
        more. Without any, that may have been meant for another `fetch` in the same inbox."""
        has_conflict = False
        try:
            while self._needed:
                status = await self._receive(self._needed)
                if status is None:
                    continue
                if self.msgs:
                    break
                _refuse(status)
                has_conflict |= _status_of(status) == api.StatusCode.CONFLICT
        except asyncio.TimeoutError:
            # After a conflict, such as a deleted consumer, nats-py's callers get an empty list.
            if not self.msgs and not has_conflict:
                raise self._timed_out() from None
        if not self.msgs and self._heard:
            raise FetchTimeoutError


# What a server says that may have nothing for a request now, but later.
TEMPORARY_STATUSES = (
    api.StatusCode.NO_MESSAGES,
    api.StatusCode.REQUEST_TIMEOUT,
    api.StatusCode.CONFLICT,
)


def _status_of(msg: Msg) -> Optional[str]:
    return msg.headers.get(api.Header.STATUS) if msg.headers else None


def _refuse(status: Optional[Msg]) -> None:
    """Raises what a status message says, unless that may change."""
    if status is not None and _status_of(status) not in TEMPORARY_STATUSES:
        APIError.from_msg(status)
