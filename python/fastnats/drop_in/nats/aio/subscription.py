"""Subscriptions: handlers, iteration and single messages."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, NoReturn, Optional, cast

from nats import errors
from nats._compat import CallableInt, CallableStr
from nats._core import SubscriptionCore
from nats.aio.msg import Msg

from ._compat import SubscriptionPrivates
from ._handler import handle_messages
from ._iterator import MessageIterator
from ._limits import message_limit, whole
from ._status import CLOSED
from ._unconnected import Unconnected, UnconnectedSubscription

if TYPE_CHECKING:
    import nats
    import nats.aio.client

    from ._subscriptions import SubscriptionObserver
else:
    # Annotations name it, and programs resolve them at run time.
    nats = sys.modules["nats"]

__all__ = [
    "DEFAULT_SUB_PENDING_BYTES_LIMIT",
    "DEFAULT_SUB_PENDING_MSGS_LIMIT",
    "Msg",
    "Subscription",
    "asyncio",
    "errors",
]

# Default limits of what may wait in a subscription
DEFAULT_SUB_PENDING_MSGS_LIMIT = 512 * 1024
DEFAULT_SUB_PENDING_BYTES_LIMIT = 128 * 1024 * 1024


def _is_coroutine_function(cb: Any) -> bool:
    return inspect.iscoroutinefunction(cb) or inspect.iscoroutinefunction(getattr(cb, "func", None))


class Subscription(SubscriptionPrivates):
    """Interest in a subject; made by :meth:`nats.aio.client.Client.subscribe`.

    ::

        async def handler(msg):
            print(msg.subject, msg.data)

        await nc.subscribe("updates.*", cb=handler)

        sub = await nc.subscribe("jobs", queue="workers")
        async for msg in sub.messages:
            ...

        msg = await sub.next_msg(timeout=1)
    """

    def __init__(
        self,
        conn: nats.aio.client.Client,
        id: int = 0,
        subject: str = "",
        queue: str = "",
        cb: Optional[Callable[[Msg], Awaitable[None]]] = None,
        future: Optional[asyncio.Future[Msg]] = None,
        max_msgs: int = 0,
        pending_msgs_limit: int = DEFAULT_SUB_PENDING_MSGS_LIMIT,
        pending_bytes_limit: int = DEFAULT_SUB_PENDING_BYTES_LIMIT,
    ) -> None:
        self._conn = conn
        self._id = id
        self._subject = subject
        self._queue = queue
        self._cb = cb
        self._future = future
        self._closed = False
        self._is_request_mux = conn._fastnats.requests.is_reply_handler(cb)
        limits = whole(pending_msgs_limit), whole(pending_bytes_limit)
        if isinstance(conn._core, Unconnected):
            self._core = cast("SubscriptionCore", UnconnectedSubscription(conn, *limits))
        else:
            self._core = SubscriptionCore(conn._core, id, *limits, self._is_request_mux, future)
        # A future takes one message, and the server is to know that.
        self._core.max_msgs = message_limit(max_msgs if future is None else 1)
        # What had been received when the server last began to count; `None` before it did.
        self._counted_from: Optional[int] = None
        self._is_count_uncertain = False
        self._wait_for_msgs_task: Optional[asyncio.Task[None]] = None
        self._ending: Optional[asyncio.Task[None]] = None
        self._draining = False
        self._message_iterator: Optional[MessageIterator] = None
        # Set by a layer above on subscriptions of its own.
        self._observer: Optional[SubscriptionObserver] = None

    @property
    def subject(self) -> str:
        """The subject subscribed to."""
        return CallableStr(self._subject)

    @property
    def queue(self) -> str:
        """The queue group, empty for none."""
        return CallableStr(self._queue)

    @property
    def messages(self) -> AsyncIterator[Msg]:
        """The messages, for ``async for``; ends when the subscription does, and with a
        :class:`nats.errors.ConnectionClosedError` when the client gives up.

        :raises nats.errors.Error: the subscription has a callback or a future.
        """
        if not self._message_iterator:
            raise errors.Error(
                "cannot iterate over messages with a non iteration subscription type"
            )
        return self._message_iterator

    @property
    def pending_msgs(self) -> int:
        """Messages received but not yet handed out."""
        return CallableInt(self._core.pending_msgs)

    @property
    def pending_bytes(self) -> int:
        """Payload bytes of the messages counted by :attr:`pending_msgs`."""
        return CallableInt(self._core.pending_bytes)

    @property
    def delivered(self) -> int:
        """Messages received so far, those dropped over a pending limit included."""
        return CallableInt(self._core.received)

    async def next_msg(self, timeout: Optional[float] = 1.0) -> Msg:
        """Waits for the next message.

        :param timeout: seconds; ``None`` waits as long as the connection is open.
        :raises nats.errors.TimeoutError: no message in time.
        :raises nats.errors.ConnectionClosedError: the client is, or was meanwhile, closed; where it
            has given up, the error says why.
        :raises nats.errors.Error: the subscription has a callback.
        """
        self._check_open()
        if self._cb:
            raise errors.Error("nats: next_msg cannot be used in async subscriptions")
        msg: Msg | None = self._core.pop()
        if msg is None:
            return await self._wait_for_next_msg(timeout)
        return msg

    async def _wait_for_next_msg(self, timeout: Optional[float]) -> Msg:
        core = self._core
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        while True:
            remaining = None if deadline is None else deadline - loop.time()
            try:
                await self._ready(remaining)
            except asyncio.TimeoutError:
                self._check_open()
                raise errors.TimeoutError from None
            msg: Msg | None = core.pop()
            if msg is not None:
                return msg
            self._check_open()
            if core.stopped:
                await self._wait_in_vain(remaining or 0.0)

    def _check_open(self) -> None:
        connection = self._core.connection
        if connection.status == CLOSED:
            raise connection.closed_error()

    def _check_not_given_up(self) -> None:
        """Looks why nothing more comes.

        :raises nats.errors.ConnectionClosedError: the client has given up; nobody has ended the
            subscription.
        """
        is_asked_for = self._closed or self._draining or self._is_limit_reached()
        connection = self._core.connection
        if not is_asked_for and connection.final_error is not None:
            raise connection.closed_error()

    async def _wait_in_vain(self, timeout: float) -> NoReturn:
        """Unsubscribed: nothing will come, but the caller has asked for that long."""
        core = self._conn._fastnats.native()
        future, token = core.open_wait("", timeout)
        try:
            await future
            raise errors.TimeoutError
        finally:
            core.forget_request(token)

    async def _ready(self, timeout: Optional[float] = None) -> None:
        """Waits until a message can be popped, or the subscription has stopped."""
        future = self._core.ready(timeout)
        try:
            await future
        except BaseException:
            self._core.give_up(future)
            raise

    def _start(self) -> None:
        if self._cb:
            if not _is_coroutine_function(self._cb):
                raise errors.Error("nats: must use coroutine for subscriptions")
            if not self._is_request_mux:
                loop = asyncio.get_running_loop()
                self._wait_for_msgs_task = loop.create_task(handle_messages(self))
        elif not self._future:
            self._message_iterator = MessageIterator(self)

    async def drain(self) -> None:
        """Ends interest in the subject; returns when every message received is handled.

        Called in the subscription's own handler it returns before: the messages that have come
        by then are handled after this one.

        :raises nats.errors.ConnectionClosedError: the client is closed.
        :raises nats.errors.ConnectionDrainingError: the client drains, and this subscription too.
        :raises nats.errors.BadSubscriptionError: the subscription has ended already.
        :raises nats.errors.FlushTimeoutError: the server doesn't answer. The subscription ends
            when what has come is handled.
        """
        if self._conn.is_closed:
            raise self._conn._core.closed_error()
        if self._conn.is_draining:
            raise errors.ConnectionDrainingError
        if self._closed:
            raise errors.BadSubscriptionError
        self._conn._fastnats.native().check_loop()
        await self._drain()

    async def _drain(self) -> None:
        session = self._conn._fastnats
        # From now on another connection doesn't subscribe again.
        self._draining = True
        if not self._core.stopped:
            # One whose limit was reached is forgotten: closing the client has to end this.
            session.subscriptions.add(self)
        flushed = False
        link = session.link
        try:
            session.subscriptions.send_unsubscribe(session.native(), self._id)
            try:
                # The server has sent all messages of this subscription before it answers.
                await self._conn.flush()
            except errors.FlushTimeoutError:
                # Nor does a connection that is gone bring another one.
                if session.link is link:
                    raise
            except errors.ConnectionClosedError:
                # What has come is all.
                pass
            flushed = True
            if self._is_in_handler():
                self._end_later(self._end_when_handled())
            else:
                await self._end_when_handled()
        except asyncio.CancelledError:
            # Nobody waits any more, but the messages on their way are still to be handled.
            self._end_later(self._end_when_handled() if flushed else self._end_when_flushed())
            raise
        except Exception:
            self._end_later(self._end_when_handled())
            raise
        finally:
            self._closed = True

    def _end_later(self, ending: Coroutine[Any, Any, None]) -> None:
        if self._core.stopped:
            # With the client, or by `unsubscribe`.
            ending.close()
        else:
            self._ending = asyncio.get_running_loop().create_task(ending)

    async def _end_when_flushed(self) -> None:
        try:
            await self._conn.flush()
        except errors.Error:
            pass
        await self._end_when_handled()

    async def _end_when_handled(self) -> None:
        await self._core.join()
        self._end()
        if self._observer is not None:
            self._observer.retire()

    def _end(self) -> None:
        self._stop_processing()
        self._conn._fastnats.subscriptions.remove(self)
        self._core.detach()

    def _leave_consumer(self) -> None:
        """The client is about to close: what the server keeps for this subscription alone goes."""
        if self._observer is not None:
            self._observer.remove()

    def _is_in_handler(self) -> bool:
        """Whether the running task is the one that calls the handler."""
        task = self._wait_for_msgs_task
        return task is not None and task is _current_task()

    async def unsubscribe(self, limit: int = 0) -> None:
        """Ends interest in the subject, at once or after ``limit`` messages in total.

        :param limit: messages counted from the start of the subscription; 0 for at once.
        :raises nats.errors.ConnectionClosedError: the client is closed.
        :raises nats.errors.ConnectionDrainingError: the client drains, and this subscription too.
        :raises nats.errors.BadSubscriptionError: the subscription has ended already.
        """
        if self._conn.is_closed:
            raise self._conn._core.closed_error()
        if self._conn.is_draining:
            raise errors.ConnectionDrainingError
        if self._closed:
            raise errors.BadSubscriptionError
        self._conn._fastnats.native().check_loop()
        self._core.max_msgs = message_limit(limit)
        if limit == 0 or (self._core.received >= limit and self._core.pending_msgs == 0):
            self._closed = True
            self._end()
            if self._observer is not None:
                self._observer.remove() if limit == 0 else self._observer.retire()
        if not self._conn.is_reconnecting:
            limit = max(limit - (self._counted_from or 0), 0)
            session = self._conn._fastnats
            session.subscriptions.send_unsubscribe(session.native(), self._id, limit)

    def _stop_processing(self) -> None:
        """Ends the handler's task and the iterator."""
        self._core.stop()
        if self._observer is not None:
            self._observer.stop()
        final = self._core.connection.final_error
        if self._future is not None and not self._future.done() and final is not None:
            self._future.set_exception(self._core.connection.closed_error())
        # A handler that ends its own subscription must not be cut short by that.
        for task in (self._wait_for_msgs_task, self._ending):
            if task and not task.done() and task is not _current_task():
                task.cancel()

    def _start_count(self) -> int:
        """A server is about to be asked for the messages, and counts from zero on.

        :returns: how many it is to send; zero for no limit.
        """
        # The connection before may still have messages for us that nobody has counted.
        self._is_count_uncertain = self._counted_from is not None
        self._counted_from = self._core.received
        return max(self._core.max_msgs - self._counted_from, 0)

    def _is_limit_reached(self) -> bool:
        """Whether all messages up to the auto-unsubscribe limit have come."""
        return 0 < self._core.max_msgs <= self._core.received

    def _is_complete(self) -> bool:
        """Whether all messages up to the auto-unsubscribe limit have been handed out."""
        return self._is_limit_reached() and self._core.pending_msgs == 0

    def _complete(self) -> None:
        """The last message up to the auto-unsubscribe limit has come."""
        if self._is_count_uncertain:
            self._conn._fastnats.native().send_unsubscribe(self._id, 0)
        self._forget_if_handled()

    def _forget_if_handled(self) -> None:
        """All messages up to the auto-unsubscribe limit have come.

        While the last is handled or drained, whoever drains or closes the client has to know of
        it.
        """
        task = self._wait_for_msgs_task
        if not self._draining and (task is None or task.done()):
            self._forget()

    def _forget(self) -> None:
        self._conn._fastnats.subscriptions.remove(self)
        if self._observer is not None:
            self._observer.retire()


def _current_task() -> Optional[asyncio.Task[Any]]:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
