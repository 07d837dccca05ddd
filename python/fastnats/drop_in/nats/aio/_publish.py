"""Publishing."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Optional

from nats import errors

from ._lifecycle import Lifecycle
from ._waits import outcome


class Publishing(Lifecycle):
    """Messages on their way out."""

    def __init__(self) -> None:
        super().__init__()
        self._flush_timeout: Optional[float] = 0

    async def publish(
        self,
        subject: str,
        payload: bytes = b"",
        reply: str = "",
        headers: Optional[dict[str, str]] = None,
    ) -> None:
        """Publishes a message.

        Returns once the message is in the pending output, which leaves within one turn of
        the event loop; waits only while more than ``pending_size`` bytes are pending.
        May be called from a thread that doesn't run the loop: see docs/threads.md.

        :param subject: where to publish.
        :param payload: any bytes-like object.
        :param reply: subject at which an answer is expected.
        :param headers: names and values; names must be RFC 7230 tokens.
        :raises nats.errors.BadSubjectError: a subject is empty or holds blanks.
        :raises nats.errors.BadHeaderError: a header name isn't a token.
        :raises nats.errors.MaxPayloadError: headers and payload are larger than the server takes.
        :raises nats.errors.ConnectionClosedError: the client is closed.
        :raises nats.errors.ConnectionDrainingError: the client is about to close.
        :raises nats.errors.OutboundBufferLimitError: disconnected, and no room to buffer.
        """
        room = self._core.publish(subject, payload, reply, headers)
        if room is not None:
            await self._wait_for_room(room)

    async def _wait_for_room(self, room: asyncio.Future[None]) -> None:
        if asyncio.current_task() is self._reading_task:
            # A callback. Room may only come with another connection, for which this task has to
            # go on.
            await asyncio.sleep(0)
            return
        try:
            await outcome(room, self._flush_timeout)
        except asyncio.TimeoutError:
            await self._error_cb(errors.FlushTimeoutError())

    async def _send_within(
        self, sending: Coroutine[Any, Any, None], answer: asyncio.Future[Any]
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
