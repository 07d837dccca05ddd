"""Pull consumers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn, Optional

import nats
from nats import errors
from nats._units import to_timeout_nanoseconds
from nats.aio._server_errors import Violation
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import api
from nats.js.errors import (
    APIError,
    FetchTimeoutError,
    ServerError,
    ServiceUnavailableError,
    concerning,
)

from ._consumer import SubscriptionConsumer

if TYPE_CHECKING:
    import nats.js.client

# JetStream is there, and has no leader.
_TEMPORARILY_UNAVAILABLE = 10008


class PullState(SubscriptionConsumer):
    """Looks after a pull subscription for the client."""

    def __init__(
        self, js: nats.js.client.JetStreamContext, sub: Subscription, stream: str, subject: str
    ) -> None:
        """
        :param subject: what pull requests are published to.
        """
        super().__init__(js, sub, stream)
        self._request_subject = subject
        # Makes the error with which the server has refused the inbox.
        self._refusal: Optional[Callable[[], Exception]] = None

    def check_allowed(self) -> None:
        """:raises nats.errors.Error: the server has refused the inbox that messages come to."""
        if self._refusal is not None:
            raise self._refusal()

    def reconnected(self) -> None:
        """Permissions may be others now."""
        self._refusal = None

    def fail_violation(self, violation: Violation, error: Callable[[], Exception]) -> None:
        """Fails the fetches if it is their requests or their inbox that the server refuses."""
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
        # The consumer was there.
        self._is_known = False
        self._state = sub._observer = PullState(js, sub, stream, self._nms)
        # Each request has a reply subject of its own where the subscription covers it: only that
        # tells which of them the server talks about.
        inbox, _, _ = self._deliver.rpartition(".")
        self._inbox = f"{inbox}." if sub.subject == f"{inbox}.*" else None

    def _own_consumer(self, awaits_acks: bool) -> None:
        """The consumer ends with the subscription."""
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
    ) -> list[Msg]:
        """Fetches up to ``batch`` messages; returns early with what there is.

        Asks for what the stream has right now and, if that is nothing, waits for more. Asks
        again if the request is lost: with its connection, with the consumer's leader, or without
        a word, and where the consumer has no leader at the moment. Messages that a cancelled call
        had are returned by the next one.

        :param timeout: seconds; ``None`` waits for ever, and for the whole ``batch`` unless some
            of it is there.
        :param heartbeat: seconds between signs of life of a server that has nothing to send. If
            two of them, and at least a second, are missing, the request counts as lost.
        :raises nats.errors.TimeoutError: no message in time;
            :class:`nats.js.errors.FetchTimeoutError` if there were heartbeats.
        :raises nats.js.errors.APIError: the server refuses the request, and there are no
            messages to be returned first.
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
                    self._check_open()
                elif kind == "look":
                    fetch.expect(await self._may_be_served(value))
                    self._check_open()
                elif kind == "refused":
                    self._raise_status(value)
                else:
                    error = FetchTimeoutError() if value else errors.TimeoutError()
                    raise concerning(error, self._about())
        finally:
            fetch.end()

    def _check_open(self) -> None:
        conn = self._sub._conn
        if conn.is_closed or (self._sub._core.stopped and conn.is_draining):
            raise conn._core.closed_error()

    async def _may_be_served(self, timeout: float) -> bool:
        """Whether a consumer that nobody serves may be served again: it is there, or nobody can
        tell at the moment."""
        try:
            await self._js._jsm.consumer_info(self._stream, self._consumer, timeout)
        except (ServerError, errors.TimeoutError):
            return True
        except ServiceUnavailableError as error:
            # Without JetStream there is nothing to wait for, unless it was there before.
            return self._is_known or error.err_code == _TEMPORARILY_UNAVAILABLE
        except (errors.Error, ValueError):
            # It doesn't exist, can't, or looking isn't allowed.
            return False
        self._is_known = True
        return True

    def _raise_status(self, msg: Msg) -> NoReturn:
        """Raises what the server's word about a pull request tells."""
        try:
            APIError.from_msg(msg)
        except APIError as error:
            hint = f": {error.details}" if error.details else ""
            raise concerning(error, f"{self._about()}{hint}") from None

    def _about(self) -> str:
        return f"consumer {self._consumer!r} of stream {self._stream!r}"

    def _reply_subject(self, token: int) -> str:
        """Where the server answers the request with this token."""
        if self._inbox is None:
            return self._deliver
        return f"{self._inbox}{token}"
