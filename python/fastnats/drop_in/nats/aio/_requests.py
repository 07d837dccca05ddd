"""Request and reply."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional

from nats import errors
from nats._core import Connection, check_publish_subject
from nats.nuid import NUID

from ._publish import Publishing
from ._server_errors import Violation
from ._types import DEFAULT_INBOX_PREFIX, NO_RESPONDERS_STATUS
from .msg import Msg

if TYPE_CHECKING:
    from .subscription import Subscription


_NATIVE_PUBLISH = Publishing.publish


class Requests(Publishing):
    """Requests through one shared inbox, or through a subscription each."""

    def __init__(self) -> None:
        super().__init__()
        self._nuid = NUID()
        self._inbox_prefix = bytearray(DEFAULT_INBOX_PREFIX)

    async def subscribe(self, subject: str, *args: Any, **options: Any) -> Subscription:
        raise AssertionError("Client implements this")

    async def request(
        self,
        subject: str,
        payload: bytes = b"",
        timeout: float = 0.5,
        old_style: bool = False,
        headers: Optional[dict[str, Any]] = None,
    ) -> Msg:
        """Publishes a request and waits for the first answer.

        :param timeout: seconds; ``None`` waits forever.
        :param old_style: use a subscription per request instead of a shared inbox; takes no
            headers.
        :raises nats.errors.NoRespondersError: nobody is subscribed to the subject.
        :raises nats.errors.TimeoutError: no answer in time.
        """
        if old_style or not self._resp_sub_prefix:
            if not self.options.get("skip_subject_validation"):
                check_publish_subject(subject or "")
            if old_style:
                return await self._request_old_style(subject, payload, timeout=timeout)
            await self._open_request_inbox()
        if getattr(self.publish, "__func__", None) is _NATIVE_PUBLISH:
            core = self._native()
            future, token, room = core.request(subject, payload, headers, timeout)
            try:
                if room is not None:
                    await self._send_within(self._wait_for_room(room), future)
                msg: Msg = await future
            except BaseException:
                core.forget_request(token)
                raise
        else:
            msg = await self._request_new_style(subject, payload, timeout, headers)
        if msg.headers and msg.headers.get("Status") == NO_RESPONDERS_STATUS:
            raise errors.NoRespondersError(f'"{subject}"')
        return msg

    async def _request_new_style(
        self,
        subject: str,
        payload: bytes,
        timeout: float = 1,
        headers: Optional[dict[str, Any]] = None,
    ) -> Msg:
        await self._open_request_inbox()
        core = self._native()
        inbox, future, token = core.open_request(subject, timeout)

        async def send() -> None:
            # Through the attribute: an application's own `publish` sees requests, too.
            await self.publish(subject, payload, reply=inbox, headers=headers)
            core.kick_if_alone()

        try:
            await self._send_within(send(), future)
            msg: Msg = await future
            return msg
        except BaseException:
            core.forget_request(token)
            raise

    def _core_for_requests(self) -> Optional[Connection]:
        """The core, if requests may be made straight through it: not where an application has
        put methods of its own in the place of ours, nor before the first request."""
        if (
            self._resp_sub_prefix
            and getattr(self.request, "__func__", None) is _NATIVE_REQUEST
            and getattr(self.publish, "__func__", None) is _NATIVE_PUBLISH
        ):
            return self._native()
        return None

    async def _open_request_inbox(self) -> None:
        """Makes sure that replies can be received."""
        if self.is_draining_pubs:
            raise errors.ConnectionDrainingError
        if not self._resp_sub_prefix:
            await self._init_request_sub()

    async def _init_request_sub(self) -> None:
        """Subscribes to the inbox that all new-style requests share."""
        prefix = self._inbox_prefix + b"." + self._nuid.next() + b"."
        self._resp_sub_prefix = prefix
        self._native().set_reply_prefix(prefix.decode())
        await self.subscribe(prefix.decode() + "*", cb=self._request_sub_callback)

    async def _request_sub_callback(self, msg: Msg) -> None:
        """Answers a request, where `subscribe` was replaced by code that wraps callbacks."""
        self._native().answer_request(msg.subject, msg)

    def _is_request_handler(self, cb: Any) -> bool:
        """Whether the core can answer requests itself instead of calling `cb`."""
        return getattr(cb, "__func__", None) is Requests._request_sub_callback

    async def _request_old_style(self, subject: str, payload: bytes, timeout: float = 1) -> Msg:
        inbox = self.new_inbox()
        core = self._native()
        future, token = core.open_wait(subject, timeout)
        try:
            sub = await self.subscribe(inbox, future=future, max_msgs=1)
            try:
                await self._send_within(self.publish(subject, payload, reply=inbox), future)
                msg: Msg = await future
            except BaseException:
                future.cancel()
                if not self.is_closed and not self.is_draining:
                    await sub.unsubscribe()
                raise
        finally:
            core.forget_request(token)
        if msg.headers and msg.headers.get("Status") == NO_RESPONDERS_STATUS:
            raise errors.NoRespondersError(f'"{subject}"')
        return msg

    def _fail_violation(self, violation: Violation, error: Callable[[], Exception]) -> None:
        """Fails what waits for something that the server's refusal keeps from coming.

        :param error: makes the exception.
        """
        kind, subject = violation
        core = self._native()
        for sub in list(self._subs.values()):
            if sub._jsi is not None:
                sub._jsi.fail_violation(violation, error)
        if kind == "publish":
            core.fail_requests_to(subject, error)
            return
        prefix = self._resp_sub_prefix
        is_inbox = prefix is not None and subject == f"{prefix.decode()}*"
        if kind == "reply":
            core.fail_request_at(subject, error)
        elif is_inbox:
            core.fail_inbox(error)
            # The next request asks again: permissions change.
            self._resp_sub_prefix = None
        for sub in list(self._subs.values()):
            if sub._subject == subject and (is_inbox or sub._future is not None):
                if sub._future is not None and not sub._future.done():
                    sub._future.set_exception(error())
                sub._end()

    def new_inbox(self) -> str:
        """Returns a subject that nobody else uses, for replies."""
        return (self._inbox_prefix + b"." + self._nuid.next()).decode()


_NATIVE_REQUEST = Requests.request
