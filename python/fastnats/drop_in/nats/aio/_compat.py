"""Names with an underscore that programs written for nats-py use all the same.

Health checks and metrics read them, mostly. The client itself calls `_attempt_reconnect` and
nothing else of it. What nats-py's own machinery does there is done by the core here: what stands
in for it tells the truth, and can only be looked at.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NoReturn, Optional, Union

from nats import errors
from nats._core import Connection, SubscriptionCore

from ._limits import message_limit, whole
from ._servers import parse_server_uri
from ._session import Session
from ._unconnected import Unconnected

if TYPE_CHECKING:
    from nats.aio.msg import Msg


def _owned(*path: str) -> Any:
    """A property under nats-py's name for an attribute of one of the client's owners of state.

    :param path: the attributes on the way to it, from the client on.
    """
    *owners, name = path

    def owner(client: Any) -> Any:
        for step in owners:
            client = getattr(client, step)
        return client

    def read(client: Any) -> Any:
        return getattr(owner(client), name)

    def write(client: Any, value: Any) -> None:
        # A subclass may assign it before it calls our `__init__`, which sets it anew.
        if "_fastnats" in vars(client) or not owners:
            setattr(owner(client), name, value)

    def delete(client: Any) -> None:
        delattr(owner(client), name)

    return property(read, write, delete)


class ClientPrivates:
    """What the owners of the client's state and its native connection know, under nats-py's
    names."""

    options: dict[str, Any]
    _core: Union[Connection, Unconnected]
    _fastnats: Session

    _parse_server_uri = staticmethod(parse_server_uri)

    _status = _owned("_core", "status")
    _error_cb = _owned("_fastnats", "callbacks", "error_cb")
    _disconnected_cb = _owned("_fastnats", "callbacks", "disconnected_cb")
    _closed_cb = _owned("_fastnats", "callbacks", "closed_cb")
    _discovered_server_cb = _owned("_fastnats", "callbacks", "discovered_server_cb")
    _reconnected_cb = _owned("_fastnats", "callbacks", "reconnected_cb")
    _lame_duck_mode_cb = _owned("_fastnats", "callbacks", "lame_duck_mode_cb")
    _reconnect_to_server_handler = _owned("_fastnats", "settings", "reconnect_to_server_handler")
    _flush_timeout = _owned("_fastnats", "settings", "flush_timeout")
    _server_pool = _owned("_fastnats", "pool", "servers")
    _current_server = _owned("_fastnats", "pool", "current")
    _server_info = _owned("_fastnats", "server_info")
    _auth_configured = _owned("_fastnats", "authenticates")
    _loop = _owned("_fastnats", "loop")
    _err = _owned("_fastnats", "last_error")
    _subs = _owned("_fastnats", "subscriptions", "by_sid")
    _sid = _owned("_fastnats", "subscriptions", "last_sid")
    _nuid = _owned("_fastnats", "requests", "nuid")
    _inbox_prefix = _owned("_fastnats", "requests", "inbox_prefix")
    _resp_sub_prefix = _owned("_fastnats", "requests", "reply_prefix")
    _reading_task = _owned("_fastnats", "events", "reading_task")
    _ping_interval_task = _owned("_fastnats", "events", "keep_alive_task")
    _reconnection_task = _owned("_fastnats", "reconnecting", "task")

    async def _attempt_reconnect(self) -> None:
        """Leaves the connection if there still is one, and tries to find a server again.

        The client itself calls this: subclasses override it.
        """
        await self._fastnats.reconnecting.attempt()

    async def _process_op_err(self, e: Exception) -> None:
        """The connection has failed: reconnects if that's allowed, else closes."""
        await self._fastnats.lost(e)

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        """Closes, with the callbacks or without, whatever ``status`` is."""
        await self._fastnats.closing.end(calls_back=do_cbs)

    def _remove_sub(self, sid: int, max_msgs: int = 0) -> None:
        """Forgets a subscription; the server isn't told."""
        self._fastnats.subscriptions.by_sid.pop(sid, None)

    async def _send_subscribe(self, sub: Any) -> None:
        """Asks the server for the messages of a subscription."""
        session = self._fastnats
        session.subscriptions.send_subscribe(session.native(), sub)

    async def _send_unsubscribe(self, sid: int, limit: int = 0) -> None:
        """Has the server send no more messages, at once or after so many."""
        session = self._fastnats
        session.subscriptions.send_unsubscribe(session.native(), sid, limit)

    @property
    def _max_payload(self) -> int:
        return self._core.max_payload

    @_max_payload.setter
    def _max_payload(self, value: int) -> None:
        self._core.max_payload = value

    @property
    def _max_pending_size(self) -> int:
        return self._core.max_pending

    @_max_pending_size.setter
    def _max_pending_size(self, value: int) -> None:
        self._core.max_pending = whole(value)

    @property
    def _skip_subject_validation(self) -> bool:
        return bool(self.options.get("skip_subject_validation"))

    @_skip_subject_validation.setter
    def _skip_subject_validation(self, value: bool) -> None:
        self.options["skip_subject_validation"] = value

    @property
    def _client_id(self) -> Optional[int]:
        return self._fastnats.server_info.get("client_id")

    @property
    def _client_ip(self) -> Optional[str]:
        return self._fastnats.server_info.get("client_ip")

    @property
    def _pending_data_size(self) -> int:
        return self._core.pending_size

    @property
    def _pending(self) -> list[bytes]:
        """Empty: output waits in the core, `_pending_data_size` bytes of it."""
        return []

    @property
    def _pongs(self) -> list[asyncio.Future[bool]]:
        """Empty: the core knows who waits for which PONG."""
        return []

    @property
    def _transport(self) -> Optional[TransportView]:
        """`None` without a connection."""
        return None if self._fastnats.link is None else TransportView(self._fastnats)

    @property
    def _flush_queue(self) -> Optional[FlushQueueView]:
        """`None` before `connect()`."""
        return FlushQueueView() if isinstance(self._core, Connection) else None

    @property
    def _flusher_task(self) -> Optional[asyncio.Task[None]]:
        """The task that lives as long as nats-py's flusher does: as the connection."""
        return self._fastnats.events.reading_task

    async def _flush_pending(self, force_flush: bool = False) -> None:
        """Writes what is pending, as far as the socket takes it; doesn't ask the server."""
        if isinstance(self._core, Connection):
            self._core.kick()


class TransportView:
    """Whether there is a connection; its bytes are the core's."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._link = session.link

    def __bool__(self) -> bool:
        return True

    def at_eof(self) -> bool:
        """Whether this connection has ended."""
        return self._session.link is not self._link or not self._session.is_connected

    def is_closing(self) -> bool:
        return self.at_eof()


class FlushQueueView:
    """Nothing ever waits for a flusher."""

    def qsize(self) -> int:
        return 0

    def empty(self) -> bool:
        return True

    def full(self) -> bool:
        return False


class SubscriptionPrivates:
    """What a subscription and its native half know, under nats-py's names."""

    _core: SubscriptionCore

    _jsi = _owned("_observer")

    @property
    def _received(self) -> int:
        return self._core.received

    @_received.setter
    def _received(self, value: int) -> None:
        self._core.received = value

    @property
    def _max_msgs(self) -> int:
        return self._core.max_msgs

    @_max_msgs.setter
    def _max_msgs(self, value: int) -> None:
        self._core.max_msgs = message_limit(value)

    @property
    def _pending_msgs_limit(self) -> int:
        return self._core.msgs_limit

    @_pending_msgs_limit.setter
    def _pending_msgs_limit(self, value: int) -> None:
        self._core.msgs_limit = whole(value)

    @property
    def _pending_bytes_limit(self) -> int:
        return self._core.bytes_limit

    @_pending_bytes_limit.setter
    def _pending_bytes_limit(self, value: int) -> None:
        self._core.bytes_limit = whole(value)

    @property
    def _pending_queue(self) -> PendingQueue:
        return PendingQueue(self)

    @property
    def _pending_size(self) -> int:
        return self._core.pending_bytes

    @_pending_size.setter
    def _pending_size(self, value: int) -> None:
        """Programs that take from the queue account for it as well; the core has done so."""


class PendingQueue(asyncio.Queue["Msg"]):
    """The messages that wait in a subscription, as the `asyncio.Queue` that nats-py has there."""

    def __init__(self, sub: Any) -> None:
        super().__init__()
        self._sub = sub
        self._core: SubscriptionCore = sub._core

    @property
    def maxsize(self) -> int:
        return self._core.msgs_limit

    def qsize(self) -> int:
        return self._core.pending_msgs

    def empty(self) -> bool:
        return self.qsize() == 0

    def full(self) -> bool:
        return 0 < self.maxsize <= self.qsize()

    def put_nowait(self, item: Msg) -> NoReturn:
        raise errors.Error("nats: messages of a subscription come from the server only")

    async def put(self, item: Msg) -> NoReturn:
        self.put_nowait(item)

    def get_nowait(self) -> Msg:
        msg: Msg | None = self._core.pop()
        if msg is None:
            raise asyncio.QueueEmpty
        return msg

    async def get(self) -> Msg:
        """Waits for a message, for good once the subscription has ended."""
        while True:
            msg: Msg | None = self._core.pop()
            if msg is not None:
                return msg
            if self._core.stopped:
                await asyncio.get_running_loop().create_future()
            await self._sub._ready()

    def task_done(self) -> None:
        """Messages handed out count as done."""

    async def join(self) -> None:
        """Waits until every message is handed out and handled."""
        await self._core.join()
