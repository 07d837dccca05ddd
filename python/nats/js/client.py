"""The JetStream context: publishing, consuming, key-value and object stores."""

# ruff: noqa: UP035 -- public annotations keep the reference's spellings

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Awaitable, Callable, Optional, TypeAlias

import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import api
from nats.js.errors import (
    BadBucketError,
    BucketNotFoundError,
    FetchTimeoutError,
    InvalidBucketNameError,
    NotFoundError,
)
from nats.js.kv import KeyValue
from nats.js.manager import NATS_HDR_LINE, NATS_HDR_LINE_SIZE, JetStreamManager
from nats.js.object_store import (
    OBJ_ALL_CHUNKS_PRE_TEMPLATE,
    OBJ_ALL_META_PRE_TEMPLATE,
    OBJ_STREAM_TEMPLATE,
    VALID_BUCKET_RE,
    ObjectStore,
)

from ._publish import Publishing
from ._pull import TEMPORARY_STATUSES
from ._pull import PullSubscription as _PullSubscription
from ._push import PushState
from ._push import PushSubscription as _PushSubscription
from ._stores import KV_MAX_HISTORY, KV_PRE_TEMPLATE, KV_STREAM_TEMPLATE, Stores

if TYPE_CHECKING:
    from nats.aio.client import Client as NATS

# Names that nats-py's module has; some are only re-exported here.
__all__ = [
    "DEFAULT_JS_SUB_PENDING_BYTES_LIMIT",
    "DEFAULT_JS_SUB_PENDING_MSGS_LIMIT",
    "KV_MAX_HISTORY",
    "KV_PRE_TEMPLATE",
    "KV_STREAM_TEMPLATE",
    "NATS_HDR_LINE",
    "NATS_HDR_LINE_SIZE",
    "NO_RESPONDERS_STATUS",
    "OBJ_ALL_CHUNKS_PRE_TEMPLATE",
    "OBJ_ALL_META_PRE_TEMPLATE",
    "OBJ_STREAM_TEMPLATE",
    "VALID_BUCKET_RE",
    "BadBucketError",
    "BucketNotFoundError",
    "Callback",
    "FetchTimeoutError",
    "InvalidBucketNameError",
    "JetStreamContext",
    "KeyValue",
    "NotFoundError",
    "ObjectStore",
    "Subscription",
]

NO_RESPONDERS_STATUS = "503"
Callback = Callable[["Msg"], Awaitable[None]]

# Larger than those of plain subscriptions: streams deliver in bursts.
DEFAULT_JS_SUB_PENDING_MSGS_LIMIT = 512 * 1024
DEFAULT_JS_SUB_PENDING_BYTES_LIMIT = 256 * 1024 * 1024

_ORDERED_HEARTBEAT = 5
_ORDERED_ACK_WAIT = 22 * 3600


class JetStreamContext(Publishing, Stores):
    """Publishes to streams and consumes from them; made by
    :meth:`nats.aio.client.Client.jetstream`. Manages them, too, as
    :class:`nats.js.JetStreamManager` does.

    ::

        js = nc.jetstream()
        await js.add_stream(name="orders", subjects=["orders.*"])
        ack = await js.publish("orders.new", b"...")

        sub = await js.pull_subscribe("orders.*", durable="worker")
        for msg in await sub.fetch(10):
            await msg.ack()

    :param prefix: first tokens of the API's subjects.
    :param domain: JetStream domain, instead of a prefix.
    :param timeout: seconds for each request to the server.
    :param publish_async_max_pending: unacknowledged messages at which
        :meth:`publish_async` waits.
    """

    PushSubscription: TypeAlias = _PushSubscription
    PullSubscription: TypeAlias = _PullSubscription
    _JSI = PushState

    def __init__(
        self,
        conn: NATS,
        prefix: str = api.DEFAULT_PREFIX,
        domain: Optional[str] = None,
        timeout: float = 5,
        publish_async_max_pending: int = 4000,
    ) -> None:
        if domain is not None:
            prefix = f"$JS.{domain}.API"
        super().__init__(conn, prefix, timeout, publish_async_max_pending)

    @property
    def _jsm(self) -> JetStreamManager:
        return JetStreamManager(conn=self._nc, prefix=self._prefix, timeout=self._timeout)

    def _context(self) -> JetStreamContext:
        return self

    async def subscribe(
        self,
        subject: str,
        queue: Optional[str] = None,
        cb: Optional[Callback] = None,
        durable: Optional[str] = None,
        stream: Optional[str] = None,
        config: Optional[api.ConsumerConfig] = None,
        manual_ack: bool = False,
        ordered_consumer: bool = False,
        idle_heartbeat: Optional[float] = None,
        flow_control: bool = False,
        pending_msgs_limit: int = DEFAULT_JS_SUB_PENDING_MSGS_LIMIT,
        pending_bytes_limit: int = DEFAULT_JS_SUB_PENDING_BYTES_LIMIT,
        deliver_policy: Optional[api.DeliverPolicy] = None,
        headers_only: Optional[bool] = None,
        inactive_threshold: Optional[float] = None,
    ) -> JetStreamContext.PushSubscription:
        """Has a push consumer deliver the messages of a subject; creates it unless ``durable``
        or ``queue`` names one that exists.

        :param queue: deliver group, and name of its durable consumer.
        :param cb: coroutine function that handles the messages one after the other. They are
            acknowledged when it returns. Without it, use ``sub.messages`` or
            ``sub.next_msg()`` and acknowledge them yourself.
        :param stream: looked up by the subject if not given.
        :param config: what the consumer shall be like besides the other parameters; the missing
            parts are filled in.
        :param manual_ack: leave acknowledgements to ``cb``.
        :param ordered_consumer: deliver each message exactly once and in order, without
            acknowledgements; a consumer that fails is replaced.
        :param idle_heartbeat: seconds between signs of life of an idle consumer.
        :param flow_control: have the server wait for a slow subscriber.
        :param pending_msgs_limit: messages that may wait; further ones are dropped and
            reported to ``error_cb``. ``pending_bytes_limit`` is the same in payload bytes.
        :param inactive_threshold: seconds after which the server removes an unused consumer.
        :raises nats.js.errors.NotFoundError: no stream stores the subject.
        :raises nats.js.errors.Error: the existing consumer is of another kind, or in use.
        """
        if stream is None:
            stream = await self._jsm.find_stream_name_by_subject(subject)
        if queue:
            if durable and durable != queue:
                raise nats.js.errors.Error(
                    f"cannot create queue subscription '{queue}' to consumer '{durable}'"
                )
            durable = queue

        info: Optional[api.ConsumerInfo] = None
        if durable:
            try:
                info = await self._jsm.consumer_info(stream, durable)
            except NotFoundError:
                pass
        consumer: Optional[str]
        if info is not None:
            _check_bindable(info, queue)
            consumer = durable
            config = info.config
        else:
            if config is None:
                config = api.ConsumerConfig()
            config.durable_name = config.durable_name or durable
            config.deliver_group = config.deliver_group or queue
            config.headers_only = config.headers_only or headers_only
            if deliver_policy:
                config.deliver_policy = deliver_policy
            if inactive_threshold:
                config.inactive_threshold = inactive_threshold
            if config.deliver_subject is None:
                config.deliver_subject = self._nc.new_inbox()
            if not config.filter_subjects:
                config.filter_subject = subject
            config.flow_control = flow_control
            if idle_heartbeat:
                config.idle_heartbeat = idle_heartbeat
            if ordered_consumer:
                config.flow_control = True
                config.ack_policy = api.AckPolicy.NONE
                config.max_deliver = 1
                config.ack_wait = _ORDERED_ACK_WAIT
                config.idle_heartbeat = config.idle_heartbeat or _ORDERED_HEARTBEAT
                config.num_replicas = 1
                config.mem_storage = True
            info = await self._jsm.add_consumer(stream, config=config)
            consumer = info.name

        if consumer is None:
            raise TypeError("cannot detect consumer")
        if config is None:
            raise TypeError("config is required for existing durable consumer")
        psub = await self.subscribe_bind(
            cb=cb,
            stream=stream,
            config=config,
            manual_ack=manual_ack,
            ordered_consumer=ordered_consumer,
            consumer=consumer,
            pending_msgs_limit=pending_msgs_limit,
            pending_bytes_limit=pending_bytes_limit,
        )
        psub._sub._jsi.stream_seen = info.created
        return psub

    async def subscribe_bind(
        self,
        stream: str,
        config: api.ConsumerConfig,
        consumer: str,
        cb: Optional[Callback] = None,
        manual_ack: bool = False,
        ordered_consumer: bool = False,
        pending_msgs_limit: int = DEFAULT_JS_SUB_PENDING_MSGS_LIMIT,
        pending_bytes_limit: int = DEFAULT_JS_SUB_PENDING_BYTES_LIMIT,
    ) -> JetStreamContext.PushSubscription:
        """Has an existing push consumer deliver; the parameters are those of
        :meth:`subscribe`.

        :raises TypeError: ``config`` has no ``deliver_subject``.
        """
        # With flow control as the policy, its answers acknowledge; "none" needs nothing.
        acks_itself = config.ack_policy in (api.AckPolicy.NONE, api.AckPolicy.FLOW_CONTROL)
        if cb and not manual_ack and not acks_itself:
            cb = self._auto_ack_callback(cb)
        if config.deliver_subject is None:
            raise TypeError("config.deliver_subject is required")
        sub = await self._nc.subscribe(
            subject=config.deliver_subject,
            queue=config.deliver_group or "",
            cb=cb,
            pending_msgs_limit=pending_msgs_limit,
            pending_bytes_limit=pending_bytes_limit,
        )
        psub = JetStreamContext.PushSubscription(self, sub, stream, consumer)
        sub._jsi = JetStreamContext._JSI(
            js=self,
            conn=self._nc,
            stream=stream,
            ordered=ordered_consumer,
            psub=psub,
            sub=sub,
            ccreq=config,
        )
        sub._jsi.start()
        return psub

    @staticmethod
    def _auto_ack_callback(callback: Callback) -> Callback:
        async def handle_and_ack(msg: Msg) -> None:
            await callback(msg)
            try:
                await msg.ack()
            except nats.errors.MsgAlreadyAckdError:
                pass

        return handle_and_ack

    async def pull_subscribe(
        self,
        subject: str,
        durable: Optional[str] = None,
        stream: Optional[str] = None,
        config: Optional[api.ConsumerConfig] = None,
        pending_msgs_limit: int = DEFAULT_JS_SUB_PENDING_MSGS_LIMIT,
        pending_bytes_limit: int = DEFAULT_JS_SUB_PENDING_BYTES_LIMIT,
        inbox_prefix: Optional[bytes] = None,
    ) -> JetStreamContext.PullSubscription:
        """Makes a subscription that fetches messages; creates its consumer unless ``durable``
        names one that exists.

        :param stream: looked up by the subject if not given.
        :param config: what a new consumer shall be like.
        :param inbox_prefix: first part of the inbox, dot included.
        :raises nats.js.errors.NotFoundError: no stream stores the subject.
        """
        if stream is None:
            stream = await self._jsm.find_stream_name_by_subject(subject)
        exists = False
        if durable:
            try:
                await self._jsm.consumer_info(stream, durable)
                exists = True
            except NotFoundError:
                pass
        name = durable
        if not exists:
            if config is None:
                config = api.ConsumerConfig()
            if not config.filter_subjects:
                config.filter_subject = subject
            if durable:
                config.durable_name = durable
            else:
                name = self._nc._nuid.next().decode()
            config.name = name
            await self._jsm.add_consumer(stream, config=config)
        return await self.pull_subscribe_bind(
            durable=durable,
            stream=stream,
            inbox_prefix=inbox_prefix,
            pending_bytes_limit=pending_bytes_limit,
            pending_msgs_limit=pending_msgs_limit,
            name=name,
        )

    async def pull_subscribe_bind(
        self,
        consumer: Optional[str] = None,
        stream: Optional[str] = None,
        inbox_prefix: Optional[bytes] = None,
        pending_msgs_limit: int = DEFAULT_JS_SUB_PENDING_MSGS_LIMIT,
        pending_bytes_limit: int = DEFAULT_JS_SUB_PENDING_BYTES_LIMIT,
        name: Optional[str] = None,
        durable: Optional[str] = None,
    ) -> JetStreamContext.PullSubscription:
        """Makes a subscription that fetches messages of an existing pull consumer.

        :param consumer: its name; ``durable`` and ``name`` are older spellings.
        :param inbox_prefix: first part of the inbox, dot included.
        :raises ValueError: no stream is given.
        """
        if not stream:
            raise ValueError("nats: stream name is required")
        if inbox_prefix is None:
            inbox_prefix = bytes(self._nc._inbox_prefix) + b"."
        deliver = inbox_prefix + bytes(self._nc._nuid.next())
        sub = await self._nc.subscribe(
            deliver.decode(),
            pending_msgs_limit=pending_msgs_limit,
            pending_bytes_limit=pending_bytes_limit,
        )
        return JetStreamContext.PullSubscription(
            js=self,
            sub=sub,
            stream=stream,
            consumer=durable or name or consumer,  # type: ignore[arg-type]
            deliver=deliver,
        )

    @classmethod
    def is_status_msg(cls, msg: Optional[Msg]) -> Optional[str]:
        """Returns the status of a message in which the server talks about a request, ``None``
        for any other."""
        if msg is None or msg.headers is None:
            return None
        return msg.headers.get(api.Header.STATUS)

    @classmethod
    def _is_processable_msg(cls, status: Optional[str], msg: Msg) -> bool:
        if not status:
            return True
        if cls._is_temporary_error(status):
            return False
        nats.js.errors.APIError.from_msg(msg)

    @classmethod
    def _is_temporary_error(cls, status: Optional[str]) -> bool:
        return status in TEMPORARY_STATUSES

    @classmethod
    def _is_heartbeat(cls, status: Optional[str]) -> bool:
        return status == api.StatusCode.CONTROL_MESSAGE

    @classmethod
    def _time_until(cls, timeout: Optional[float], start_time: float) -> Optional[float]:
        return None if timeout is None else timeout - (time.monotonic() - start_time)


def _check_bindable(info: api.ConsumerInfo, queue: Optional[str]) -> None:
    """Raises unless a subscription may use an existing consumer."""
    group = info.config.deliver_group
    if not group:
        if queue:
            raise nats.js.errors.Error(
                "cannot create a queue subscription for a consumer without a deliver group"
            )
        if info.push_bound:
            raise nats.js.errors.Error("consumer is already bound to a subscription")
    elif not queue:
        raise nats.js.errors.Error(
            f"cannot create a subscription for a consumer with a deliver group {group}"
        )
    elif queue != group:
        raise nats.js.errors.Error(
            f"cannot create a queue subscription {queue} for a consumer "
            f"with a deliver group {group}"
        )
