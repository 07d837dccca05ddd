"""What the server says between messages, and asking it whether it is still there."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Optional

from nats import errors
from nats.protocol.parser import AUTHORIZATION_VIOLATION, STALE_CONNECTION

from ._attempts import is_refusal
from ._callbacks import logged, logger
from ._info import parse_info
from ._server_errors import is_passing, text_of, violation_of
from ._waits import cancel, wait_for_future
from .errors import ErrStaleConnection

if TYPE_CHECKING:
    from ._session import Session

# Whose events the running task handles, or the task that has made it was handling.
handling: ContextVar[object] = ContextVar("handling", default=None)


class Events:
    """The two tasks of a client that is in service: one handles what the server says, one event
    after the other, as nats-py's read loop does; the other one sends the keep-alive PINGs."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.reading_task: Optional[asyncio.Task[None]] = None
        self.keep_alive_task: Optional[asyncio.Task[None]] = None

    def start(self) -> None:
        """Begins with the connection that is now in service."""
        loop = asyncio.get_running_loop()
        self.reading_task = loop.create_task(self._read())
        self.keep_alive_task = loop.create_task(self._keep_alive())

    def stop(self) -> None:
        """Ends both, but not the one that calls this."""
        cancel(self.reading_task)
        cancel(self.keep_alive_task)

    def is_reading(self) -> bool:
        """Whether a PONG would be noticed."""
        return self.reading_task is not None and not self.reading_task.done()

    def is_current_task(self) -> bool:
        """Whether the caller runs in the task that handles events, in a callback most likely."""
        return asyncio.current_task() is self.reading_task

    async def round_trip(self, timeout: float) -> None:
        """One PING/PONG.

        :param timeout: seconds.
        :raises asyncio.TimeoutError: no PONG in time.
        """
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        core = self._session.native()
        # What handles an event can't wait for a PONG behind it.
        core.ping(future, handling.get() is core)
        await wait_for_future(future, timeout)

    async def _read(self) -> None:
        session = self._session
        core, link = session.native(), session.link
        handling.set(core)
        # A callback may have ended the connection; it may even have made another one, or have
        # kept the cancellation of this task to itself.
        interrupted = None
        while session.is_connected and session.link is link:
            event = interrupted
            try:
                event = event or core.next_event()
                if event is None:
                    await core.event_ready()
                    continue
                if await self._handle(*event):
                    return
                interrupted = None
            except asyncio.CancelledError:
                return
            except Exception as error:
                logger.error("nats: encountered error", exc_info=error)
                # By a signal handler, perhaps: the end of the connection isn't told twice.
                is_end = event is not None and event[0] == "ended" and interrupted is None
                interrupted = event if is_end else None

    async def _handle(self, kind: str, value: Any) -> bool:
        """Handles one event; true if it has ended the connection."""
        session = self._session
        if kind == "info":
            await self._handle_info(parse_info(value))
        elif kind == "err":
            return await self._handle_error(value)
        elif kind == "pong":
            if value is not None and not value.done():
                value.set_result(True)
        elif kind == "dropped":
            await session.callbacks.report(errors.SlowConsumerError(*value))
        elif kind == "push":
            sid, report = value
            sub = session.subscriptions.by_sid.get(sid)
            if sub is not None and sub._observer is not None:
                await sub._observer.process_notice(report)
        elif kind == "ended":
            epoch, error = value
            if session.is_current(epoch):
                error = session.reason_of_end(error)
                # What ends connections every day isn't reported, as in nats-py; a failure of
                # our own is.
                if isinstance(error, errors.UnexpectedEOF) or type(error) is errors.Error:
                    await session.callbacks.report(error)
                await session.lost(error)
                return True
        return False

    async def _handle_info(self, info: dict[str, Any]) -> None:
        callbacks = self._session.callbacks
        if self._session.discover(info):
            await callbacks.call(callbacks.discovered_server_cb)
        if info.get("ldm", False):
            await callbacks.call(callbacks.lame_duck_mode_cb)

    async def _handle_error(self, err_msg: str) -> bool:
        """Handles an `-ERR`; true if it ends the connection."""
        session = self._session
        text = text_of(err_msg)
        if is_refusal(text):
            await self._handle_refusal(text)
            return True
        is_stale = text.startswith(STALE_CONNECTION)
        error = errors.StaleConnectionError() if is_stale else errors.Error(f"nats: {text}")
        session.last_error = error
        violation = violation_of(err_msg)
        if violation is not None:
            session.fail_violation(violation, partial(errors.Error, str(error)))
        await session.callbacks.report(error)
        if is_passing(text):
            return False
        if is_stale:
            await session.lost(error)
            return True
        # Closing cancels the reading task, unless it runs in it.
        closing = session.closing.end_because(error, calls_back=not session.is_connecting)
        self.reading_task = asyncio.get_running_loop().create_task(closing)
        return True

    async def _handle_refusal(self, message: str) -> None:
        """The credentials aren't valid any more; fresh ones may be."""
        session = self._session
        is_violation = AUTHORIZATION_VIOLATION in message
        error = errors.AuthorizationError() if is_violation else errors.Error(f"nats: {message}")
        link = session.link
        if not session.pool.attempts.was_of_use():
            session.note_failure(session.pool.current, error, is_answer=True)
        await session.callbacks.report(error)
        if session.link is link:
            # Else the callback has called `connect()`.
            await session.lost(error)

    async def _keep_alive(self) -> None:
        """Sends PINGs and notices when they stay unanswered."""
        session = self._session
        core = session.native()
        while True:
            await asyncio.sleep(session.options["ping_interval"])
            if not session.is_connected:
                continue
            with logged("nats: keep-alive failed"):
                if core.count_ping() > session.options["max_outstanding_pings"]:
                    await session.lost(ErrStaleConnection())
                    return
                core.ping(None, False)
