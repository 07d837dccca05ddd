"""Publishing to streams."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Optional

from nats._core import AckWindow, Connection
from nats._texts import with_details
from nats.aio._waits import wait_for_future
from nats.errors import NoRespondersError, TimeoutError
from nats.js import api
from nats.js.errors import Error, NoStreamResponseError, TooManyStalledMsgsError
from nats.js.manager import JetStreamManager

from ._acks import no_stream, parse_ack_message

if TYPE_CHECKING:
    from nats.aio.client import Client as NATS

_Headers = Optional[dict[str, Any]]


class AckFuture(asyncio.Future[api.PubAck]):
    """The acknowledgement of a message published with ``publish_async``, still to come."""

    # A dict in each of thousands of futures would take noticeably more memory.
    __slots__ = ("_core", "_token")

    _core: Connection
    _token: int

    def cancel(self, msg: Any = None) -> bool:
        """Gives up the acknowledgement; the message itself may be stored all the same.

        :param msg: as for :meth:`asyncio.Future.cancel`.
        """
        cancelled = super().cancel(msg)
        if cancelled:
            self._core.forget_request(self._token)
        return cancelled


class Publisher(JetStreamManager):
    """The publishing half of a :class:`nats.js.JetStreamContext`."""

    def __init__(
        self, conn: NATS, prefix: str, timeout: float, publish_async_max_pending: int
    ) -> None:
        super().__init__(conn, prefix, timeout)
        self._window = AckWindow(publish_async_max_pending)
        self._sweep: Optional[asyncio.TimerHandle] = None
        self._swept: Optional[Connection] = None

    async def publish(
        self,
        subject: str,
        payload: bytes = b"",
        timeout: Optional[float] = None,
        stream: Optional[str] = None,
        headers: Optional[dict[str, Any]] = None,
        msg_ttl: Optional[float] = None,
    ) -> api.PubAck:
        """Publishes a message to a stream and waits until it is stored.

        :param subject: a subject that the stream stores.
        :param payload: bytes.
        :param timeout: seconds; the context's own if not given.
        :param stream: the stream that is expected to store the message.
        :param headers: may hold :class:`nats.js.api.Header` expectations, or ``Nats-Msg-Id``
            to have the server drop duplicates.
        :param msg_ttl: whole seconds after which the server drops the message (ADR-43).
        :raises nats.js.errors.NoStreamResponseError: no stream stores this subject.
        :raises nats.js.errors.APIError: the server refuses the message, e.g. because an
            expectation doesn't hold.
        :raises nats.errors.TimeoutError: no acknowledgement in time.
        """
        if timeout is None:
            timeout = self._timeout
        if stream is not None or msg_ttl is not None:
            headers = _expecting(headers, stream, msg_ttl)
        nc = self._nc
        core = nc._fastnats.requests.direct_core()
        if core is None:
            try:
                msg = await nc.request(subject, payload, timeout=timeout, headers=headers)
                return parse_ack_message(msg)
            except NoRespondersError:
                raise no_stream(repr(subject)) from None
            except (Error, TimeoutError) as error:
                raise _about(error, subject) from None
        future, token, room = core.request_ack(subject, payload, headers, timeout)
        try:
            ack: api.PubAck = await nc._fastnats.requests.answer(core, future, token, room)
        except (Error, TimeoutError) as error:
            _about(error, subject)
            raise
        return ack

    async def publish_async(
        self,
        subject: str,
        payload: bytes = b"",
        wait_stall: Optional[float] = None,
        stream: Optional[str] = None,
        headers: Optional[dict[str, Any]] = None,
        msg_ttl: Optional[float] = None,
    ) -> asyncio.Future[api.PubAck]:
        """Publishes a message to a stream and returns a future for its acknowledgement.

        Waits while ``publish_async_max_pending`` messages are unacknowledged. The future fails
        as :meth:`publish` would, and with a
        :class:`nats.errors.ConnectionReconnectingError` or ``ConnectionClosedError`` if the
        connection is lost before the acknowledgement: whether the message has been stored
        isn't known then. Without an acknowledgement it fails with a
        :class:`nats.errors.TimeoutError` after once to twice the context's ``timeout``.

        :param subject: a subject that the stream stores.
        :param payload: bytes.
        :param wait_stall: seconds to wait for others to be acknowledged; ``None`` for ever.
        :param stream: the stream that is expected to store the message.
        :param headers: as for :meth:`publish`.
        :param msg_ttl: whole seconds after which the server drops the message (ADR-43).
        :raises nats.js.errors.TooManyStalledMsgsError: ``wait_stall`` seconds weren't enough.
        """
        if stream is not None or msg_ttl is not None:
            headers = _expecting(headers, stream, msg_ttl)
        nc = self._nc
        core = nc._fastnats.requests.direct_core()
        if core is None:
            return await self._publish_async_openly(subject, payload, wait_stall, headers)
        window = self._window
        sent = core.publish_async(window, AckFuture, subject, payload, headers, False)
        if sent is None:
            await self._wait_for_slot(wait_stall)
            try:
                sent = core.publish_async(window, AckFuture, subject, payload, headers, True)
            except BaseException:
                window.return_slot()
                raise
            assert sent is not None
        if self._swept is not core:
            self._fail_overdue(core, 0)
        future, room = sent
        if room is not None:
            await nc._fastnats.requests.wait_for_room(room)
        return future

    def _fail_overdue(self, core: Connection, newest: int) -> None:
        """Fails the publishes that were waiting at the last look already.

        One timer of the loop serves all of them: each waits for the context's timeout at least,
        and for twice that at most.

        :param newest: what the last look returned.
        """
        newest = core.fail_overdue_publishes(self._window, newest)
        if self._sweep is not None:
            # That of an earlier connection.
            self._sweep.cancel()
        self._sweep = self._swept = None
        if self._window.pending:
            loop = asyncio.get_running_loop()
            self._sweep = loop.call_later(self._timeout, self._fail_overdue, core, newest)
            self._swept = core

    async def _publish_async_openly(
        self, subject: str, payload: bytes, wait_stall: Optional[float], headers: _Headers
    ) -> asyncio.Future[api.PubAck]:
        """Publishes through the client's methods: an application has replaced them, or there is
        no inbox for replies yet."""
        nc = self._nc
        await nc._fastnats.requests.open_inbox()
        core = nc._fastnats.native()
        window = self._window
        granted = window.is_full()
        if granted:
            await self._wait_for_slot(wait_stall)
        future = AckFuture()
        inbox, token = core.open_publish(window, subject, future, granted)
        future._core = core
        future._token = token
        if self._swept is not core:
            self._fail_overdue(core, 0)
        try:
            await nc.publish(subject, payload, reply=inbox, headers=headers)
        except BaseException:
            core.forget_request(token)
            raise
        return future

    async def _wait_for_slot(self, timeout: Optional[float]) -> None:
        slot: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._window.wait_for_slot(slot)
        try:
            await wait_for_future(slot, timeout)
        except BaseException as error:
            if slot.done() and not slot.cancelled() and slot.exception() is None:
                self._window.return_slot()
            if isinstance(error, asyncio.TimeoutError):
                raise TooManyStalledMsgsError from None
            raise

    def publish_async_pending(self) -> int:
        """Returns how many messages of :meth:`publish_async` are unacknowledged."""
        return self._window.pending

    async def publish_async_completed(self) -> None:
        """Waits until no message of :meth:`publish_async` is unacknowledged."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._window.watch_completion(done)
        await done


def _about(error: Error | TimeoutError, subject: str) -> Error | TimeoutError:
    """Adds the subject to an error of the core or the server."""
    if isinstance(error, NoStreamResponseError):
        return with_details(error, no_stream(repr(subject)).details)
    return with_details(error, f"published to {subject!r}")


def _expecting(
    headers: _Headers, stream: Optional[str], msg_ttl: Optional[float]
) -> dict[str, Any]:
    """Adds headers: to the caller's own dict, as nats-py does, unless it is empty."""
    headers = headers or {}
    if stream is not None:
        headers[api.Header.EXPECTED_STREAM] = stream
    if msg_ttl is not None:
        headers[api.Header.MSG_TTL] = str(int(msg_ttl))
    return headers
