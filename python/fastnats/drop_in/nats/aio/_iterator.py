"""The messages of a subscription, for ``async for``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .msg import Msg

if TYPE_CHECKING:
    from .subscription import Subscription


class MessageIterator:
    """Hands out messages as they come, until the subscription ends."""

    def __init__(self, sub: Subscription) -> None:
        self._sub = sub
        self._core = sub._core

    def __call__(self) -> MessageIterator:
        """`sub.messages()` beside `sub.messages`, see `nats._compat`."""
        return self

    def __aiter__(self) -> MessageIterator:
        return self

    async def __anext__(self) -> Msg:
        msg: Msg | None = self._core.pop()
        if msg is None:
            return await self._wait()
        return msg

    async def _wait(self) -> Msg:
        core = self._core
        sub = self._sub
        while True:
            if core.pending_msgs == 0 and (core.stopped or sub._is_complete()):
                sub._check_not_given_up()
                raise StopAsyncIteration
            await sub._ready()
            msg: Msg | None = core.pop()
            if msg is not None:
                return msg
