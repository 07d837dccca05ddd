"""Requests, and waiting for room to publish."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Optional, Union

from nats import errors
from nats._core import Connection, check_publish_subject
from nats._units import NO_RESPONDERS_STATUS, status_of
from nats.nuid import NUID

from ._server_errors import Violation
from ._types import DEFAULT_INBOX_PREFIX
from ._waits import wait_for_future
from .msg import Msg

if TYPE_CHECKING:
    from ._session import Session


class Requests:
    """Requests through the client's one inbox for replies, or through a subscription each.

    The client's `publish`, `request` and `subscribe` may be an application's own, on the class
    or on the object; whatever is done here goes through them then.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._client = session.client
        self.nuid = NUID()
        self.inbox_prefix = bytearray(DEFAULT_INBOX_PREFIX)
        # Subjects of replies begin so; `None` until somebody subscribes to them.
        self.reply_prefix: Optional[bytearray] = None

    def set_inbox_prefix(self, prefix: Union[str, bytes]) -> None:
        """Has subjects of replies begin with this."""
        self.inbox_prefix = bytearray(prefix.encode() if isinstance(prefix, str) else prefix)

    def new_inbox(self) -> str:
        """As :meth:`nats.aio.client.Client.new_inbox`."""
        return (self.inbox_prefix + b"." + self.nuid.next()).decode()

    # One way to send and wait

    async def answer(
        self, core: Connection, future: asyncio.Future[Any], token: int, room: Any
    ) -> Any:
        """Waits for the answer to what the core has sent.

        :param room: what to wait for first, if more is pending than may be.
        """
        try:
            if room is not None:
                await self.send_before(future, self.wait_for_room(room))
            return await future
        except BaseException:
            core.forget_request(token)
            raise

    async def wait_for_room(self, room: asyncio.Future[None]) -> None:
        """Waits until less is pending, and tells `error_cb` if that takes longer than
        ``flush_timeout``. A callback doesn't wait."""
        session = self._session
        if session.events.is_current_task():
            # A callback. Room may only come with another connection, for which this task has to
            # go on.
            await asyncio.sleep(0)
            return
        try:
            await wait_for_future(room, session.settings.flush_timeout)
        except asyncio.TimeoutError:
            await session.callbacks.error_cb(errors.FlushTimeoutError())

    async def send_before(
        self, answer: asyncio.Future[Any], sending: Coroutine[Any, Any, None]
    ) -> None:
        """Waits for `sending`, but no longer than for `answer`: the deadline of a request counts
        for both."""
        task = asyncio.get_running_loop().create_task(sending)
        try:
            await asyncio.wait({task, answer}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
        finally:
            task.cancel()

    def direct_core(self) -> Optional[Connection]:
        """The core, if requests may be made straight through it: not where an application has
        put methods of its own in the place of ours, nor before the first request."""
        client = self._client
        if self.reply_prefix and client._requests_natively() and client._publishes_natively():
            return self._session.native()
        return None

    async def request(
        self,
        subject: str,
        payload: bytes,
        timeout: float,
        old_style: bool,
        headers: Optional[dict[str, Any]],
    ) -> Msg:
        """As :meth:`nats.aio.client.Client.request`, which takes a shorter way where it can."""
        if old_style or not self.reply_prefix:
            if not self._session.options.get("skip_subject_validation"):
                check_publish_subject(subject or "")
            if old_style:
                return await self._request_old_style(subject, payload, timeout)
            await self.open_inbox()
        msg: Msg
        if self._client._publishes_natively():
            core = self._session.native()
            msg = await self.answer(core, *core.request(subject, payload, headers, timeout))
        else:
            msg = await self._request_openly(subject, payload, timeout, headers)
        check_responders(msg, subject)
        return msg

    async def _request_openly(
        self, subject: str, payload: bytes, timeout: float, headers: Optional[dict[str, Any]]
    ) -> Msg:
        """Through the client's `publish`: an application's own sees requests, too."""
        await self.open_inbox()
        core = self._session.native()
        inbox, future, token = core.open_request(subject, timeout)

        async def send() -> None:
            await self._client.publish(subject, payload, reply=inbox, headers=headers)
            core.kick_if_alone()

        try:
            await self.send_before(future, send())
            msg: Msg = await future
            return msg
        except BaseException:
            core.forget_request(token)
            raise

    async def _request_old_style(self, subject: str, payload: bytes, timeout: float) -> Msg:
        client = self._client
        inbox = client.new_inbox()
        core = self._session.native()
        future, token = core.open_wait(subject, timeout)
        try:
            sub = await client.subscribe(inbox, future=future, max_msgs=1)
            try:
                await self.send_before(future, client.publish(subject, payload, reply=inbox))
                msg: Msg = await future
            except BaseException:
                future.cancel()
                if not client.is_closed and not client.is_draining:
                    await sub.unsubscribe()
                raise
        finally:
            core.forget_request(token)
        check_responders(msg, subject)
        return msg

    # The inbox

    async def open_inbox(self) -> None:
        """Makes sure that replies can be received: subscribes to what all requests share."""
        if self._session.is_draining_pubs:
            raise errors.ConnectionDrainingError
        if not self.reply_prefix:
            prefix = self.inbox_prefix + b"." + self.nuid.next() + b"."
            self.reply_prefix = prefix
            self._session.native().set_reply_prefix(prefix.decode())
            await self._client.subscribe(prefix.decode() + "*", cb=self._receive_reply)

    def close_inbox(self) -> None:
        """The next request has to subscribe anew."""
        self.reply_prefix = None

    async def _receive_reply(self, msg: Msg) -> None:
        """Answers a request, where `subscribe` was replaced by code that wraps callbacks."""
        self._session.native().answer_request(msg.subject, msg)

    def is_reply_handler(self, cb: Any) -> bool:
        """Whether the core can answer requests itself instead of calling `cb`."""
        return getattr(cb, "__func__", None) is Requests._receive_reply

    def fail_violation(self, violation: Violation, error: Callable[[], Exception]) -> None:
        """Fails requests that the server's refusal keeps from being answered.

        :param error: makes the exception.
        """
        kind, subject = violation
        core = self._session.native()
        if kind == "publish":
            core.fail_requests_to(subject, error)
            return
        prefix = self.reply_prefix
        is_inbox = prefix is not None and subject == f"{prefix.decode()}*"
        if kind == "reply":
            core.fail_request_at(subject, error)
        elif is_inbox:
            core.fail_inbox(error)
            # The next request asks again: permissions change.
            self.close_inbox()
        for sub in self._session.subscriptions:
            if sub._subject == subject and (is_inbox or sub._future is not None):
                if sub._future is not None and not sub._future.done():
                    sub._future.set_exception(error())
                sub._end()


def check_responders(msg: Msg, subject: str) -> None:
    """:raises nats.errors.NoRespondersError: this is the server's word that nobody listens."""
    if status_of(msg.headers) == NO_RESPONDERS_STATUS:
        raise errors.NoRespondersError(f'"{subject}"')
