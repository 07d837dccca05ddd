"""Waiting for what an ordered consumer of a key-value bucket or an object store delivers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Optional

from nats import errors
from nats._texts import with_details
from nats.js.errors import APIError, NotFoundError

from ._error_codes import MESSAGE_NOT_FOUND
from ._push_state import push_state_of

if TYPE_CHECKING:
    from .client import JetStreamContext

# Seconds without a message after which the server is asked whether there is one.
_QUIET = 1.0
# Seconds between checks for a connection while there is none.
_ABSENT = 0.1
# For a wait that has to end: answers in a row that settle nothing.
MAX_DOUBTS = 5


class Delivery:
    """Finds out whether an ordered consumer has more to deliver when nothing arrives.

    The last message tells that it is the last. If there never was one, or it was removed while
    others were being delivered, only the state of the stream can tell.
    """

    def __init__(
        self, sub: JetStreamContext.PushSubscription, max_doubts: Optional[int] = MAX_DOUBTS
    ) -> None:
        """
        :param max_doubts: answers in a row that settle nothing, after which waiting ends;
            ``None`` for no limit.
        """
        self._sub = sub
        self._max_doubts = max_doubts
        self._doubts = 0

    @property
    def has_ended(self) -> bool:
        """Whether the subscription has stopped and all messages that had arrived are taken."""
        core = self._sub._core
        return core.stopped and core.pending_msgs == 0

    def closed_error(self) -> Exception:
        """Returns the error for whoever waits for more from a client that is closed."""
        return self._sub._core.connection.closed_error()

    async def wait(self, timeout: Optional[float] = None) -> bool:
        """Waits until a message can be taken or the subscription has stopped; returns ``False``
        if the stream has nothing more for it.

        :param timeout: seconds; ``None`` waits as long as there may be something to come.
        :raises asyncio.TimeoutError: no message in time.
        :raises nats.js.errors.APIError: the consumer, or its stream, is gone for good.
        :raises nats.errors.TimeoutError: the server doesn't tell what has become of it.
        """
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        while True:
            patience = _QUIET if self._sub._conn.is_connected else _ABSENT
            if deadline is not None:
                patience = min(patience, deadline - loop.time())
            try:
                await self._sub._ready(patience)
            except asyncio.TimeoutError:
                if deadline is not None and loop.time() >= deadline:
                    raise
            else:
                self._doubts = 0
                return True
            if self._sub._conn.is_connected and await self._is_exhausted():
                return False

    async def _is_exhausted(self) -> bool:
        """Asks the stream's leader, as the consumer may be on a replica that lags behind."""
        sub = self._sub
        core = sub._core
        try:
            subject = push_state_of(sub).filter_subject
            last = await sub._js.get_last_msg(sub._stream, subject)
        except NotFoundError as error:
            if error.err_code == MESSAGE_NOT_FOUND:
                return True
            raise
        except (APIError, errors.TimeoutError) as error:
            self._doubt(error)
            return False
        if last.seq is None or last.seq <= core.stream_seq:
            return True
        # Not delivered yet, or lost on the way: a new consumer will tell.
        self._doubt(self._is_missing())
        if core.pending_msgs == 0:
            await self.renew()
        return False

    def _is_missing(self) -> errors.TimeoutError:
        """Returns the error for messages of the stream that aren't delivered."""
        sub = self._sub
        subject = push_state_of(sub).filter_subject
        details = f"stream {sub._stream!r}: not all of {subject!r} is delivered"
        return with_details(errors.TimeoutError(), details)

    def _doubt(self, error: Exception) -> None:
        """Counts an answer that settles nothing; raises the error if there were too many."""
        self._doubts += 1
        if self._doubts == self._max_doubts:
            raise error

    async def renew(self) -> None:
        """Has a new consumer deliver the rest. A consumer can get stuck when messages are removed
        that it was about to deliver (nats-server 2.15, the last messages of each subject)."""
        await push_state_of(self._sub).reset_ordered_consumer(self._sub._core.stream_seq + 1)

    async def end(self) -> None:
        """Ends the subscription, unless it has ended."""
        try:
            await self._sub.unsubscribe()
        except errors.Error:
            # It ends with the connection.
            pass
