"""Watchers of object stores."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Optional, Union

import nats
from nats.errors import TimeoutError
from nats.js import api

from ._delivery import Delivery
from ._initial import InitialDelivery
from ._watch import StopIterSentinel, Watcher

if TYPE_CHECKING:
    import nats.js.client
    import nats.js.object_store
    from nats._core import InitialValues


class ObjectWatcher(Watcher):
    """The changes of a store; made by :meth:`ObjectStore.watch`, read with ``async for`` or
    :meth:`updates`. ``None`` marks the end of the objects that were there at the start."""

    __module__ = "nats.js.object_store"
    __qualname__ = "ObjectStore.ObjectWatcher"

    STOP_ITER = StopIterSentinel()

    def __init__(self, js: nats.js.object_store.ObjectStore) -> None:
        self._js = js
        self._initial: Optional[InitialValues] = None
        self._ignore_deletes = False
        # Whether the `None` has been returned, or there will be none.
        self._init_done = False

    def _start(
        self,
        sub: nats.js.client.JetStreamContext.PushSubscription,
        initial: Optional[InitialValues],
    ) -> None:
        self._begin(sub, Delivery(sub) if initial is None else InitialDelivery(sub, initial))
        self._initial = initial
        self._init_done = initial is None

    async def updates(self, timeout: Optional[float] = 5.0) -> Optional[api.ObjectInfo]:
        """Returns the next change, ``None`` at the end of those that were there at the start.

        :param timeout: seconds; ``None`` for ever.
        :raises nats.errors.TimeoutError: no change in time.
        :raises nats.errors.ConnectionClosedError: the client has given up.
        """
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        while True:
            update = await self._pop()
            if not isinstance(update, StopIterSentinel):
                return update
            remaining = None if deadline is None else deadline - loop.time()
            if self._delivery.has_ended:
                self._sub._check_not_given_up()
                # Nothing will come, but the caller wants to wait that long.
                await asyncio.sleep(max(remaining or 0.0, 0.0))
                raise TimeoutError
            try:
                await self._wait_for_update(self._initial, remaining)
            except asyncio.TimeoutError:
                raise TimeoutError from None

    async def _pop(self) -> Union[api.ObjectInfo, StopIterSentinel, None]:
        """Returns the next change that has arrived, `STOP_ITER` if there is none."""
        core = self._sub._core
        initial = None if self._init_done else self._initial
        while True:
            if initial is not None:
                if initial.is_complete:
                    self._init_done = True
                    return None
                if initial.is_in_doubt and not core.stopped:
                    return self.STOP_ITER
            msg = core.pop()
            if msg is None:
                return self.STOP_ITER
            if initial is not None:
                metadata = msg.metadata
                initial.note(msg.subject, metadata.sequence.stream, metadata.num_pending)
            try:
                info = api.ObjectInfo.from_response(json.loads(msg.data))
            except Exception as error:
                await self._sub._conn._fastnats.callbacks.report(error)
                continue
            if not (self._ignore_deletes and info.deleted):
                return info

    def __aiter__(self) -> ObjectWatcher:
        return self

    async def __anext__(self) -> Optional[api.ObjectInfo]:
        while True:
            update = await self._pop()
            if not isinstance(update, StopIterSentinel):
                return update
            if self._delivery.has_ended:
                self._sub._check_not_given_up()
                raise StopAsyncIteration
            await self._wait_for_update(self._initial, None)
