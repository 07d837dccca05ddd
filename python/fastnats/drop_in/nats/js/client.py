"""The JetStream context: publishing, consuming, key-value and object stores."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Optional, TypeAlias

import nats.errors
import nats.js.errors
from nats._units import NO_RESPONDERS_STATUS, status_of
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

from ._binding import check_binding, check_pull, check_push, find_or_create
from ._consumer import acknowledges_itself, create_ephemeral, is_ephemeral, remove_consumer
from ._kv_manager import (
    KV_MAX_HISTORY,
    KV_PRE_TEMPLATE,
    KV_STREAM_TEMPLATE,
    KeyValueManager,
)
from ._objects_manager import ObjectStoreManager
from ._publish import Publisher
from ._pull import PullSubscription as _PullSubscription
from ._push import PushSubscription as _PushSubscription
from ._push_state import PushState, push_state_of

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
    "JetStreamManager",
    "KeyValue",
    "Msg",
    "NotFoundError",
    "ObjectStore",
    "Subscription",
    "api",
    "nats",
]

Callback = Callable[[Msg], Awaitable[None]]

# Larger than those of plain subscriptions: streams deliver in bursts.
DEFAULT_JS_SUB_PENDING_MSGS_LIMIT = 512 * 1024
DEFAULT_JS_SUB_PENDING_BYTES_LIMIT = 256 * 1024 * 1024

_ORDERED_HEARTBEAT = 5
_ORDERED_ACK_WAIT = 22 * 3600


class JetStreamContext(Publisher, KeyValueManager, ObjectStoreManager):
    """Publishes to streams, consumes from them and manages them, as
    :class:`nats.js.JetStreamManager` does; made by :meth:`nats.aio.client.Client.jetstream`.

    ::

        js = nc.jetstream()
        await js.add_stream(name="orders", subjects=["orders.*"])
        ack = await js.publish("orders.new", b"...")

        sub = await js.pull_subscribe("orders.*", durable="worker")
        for msg in await sub.fetch(10):
            await msg.ack()

    :param conn: the client.
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
        or ``queue`` names one that exists. A consumer without a name ends with the subscription.

        :param subject: a subject of the stream, perhaps with wildcards.
        :param queue: deliver group, and name of its durable consumer.
        :param cb: coroutine function that handles the messages one after the other. They are
            acknowledged when it returns. Without it, use ``sub.messages`` or
            ``sub.next_msg()`` and acknowledge the messages yourself.
        :param durable: name of the consumer; it stays when the subscription ends.
        :param stream: looked up by the subject if not given.
        :param config: what the consumer is to be like besides the other parameters; it isn't
            changed. Its ``filter_subject`` or ``filter_subjects`` take the place of ``subject``,
            which then only tells the stream.
        :param manual_ack: leave acknowledgements to ``cb``.
        :param ordered_consumer: deliver each message exactly once and in order, without
            acknowledgements; a consumer that fails is replaced.
        :param idle_heartbeat: seconds between signs of life of an idle consumer.
        :param flow_control: have the server wait for a slow subscriber.
        :param pending_msgs_limit: messages that may wait; further ones are dropped and
            reported to ``error_cb``. ``pending_bytes_limit`` is the same in payload bytes.
        :param deliver_policy: the message that a new consumer starts with.
        :param headers_only: deliver headers without payloads.
        :param inactive_threshold: seconds after which the server removes an unused consumer.
        :raises nats.js.errors.NotFoundError: no stream stores the subject.
        :raises nats.js.errors.Error: the existing consumer is of another kind, in use, or has
            another subject or another configuration than is asked for.
        :raises TypeError: the server has told no name of the consumer.
        """
        if stream is None:
            stream = await self._jsm.find_stream_name_by_subject(subject)
        if queue:
            if durable and durable != queue:
                raise nats.js.errors.Error(
                    f"cannot create queue subscription '{queue}' to consumer '{durable}'"
                )
            durable = queue

        wanted = api.ConsumerConfig() if config is None else config
        wanted = wanted.evolve(
            durable_name=wanted.durable_name or durable,
            deliver_group=wanted.deliver_group or queue,
            deliver_policy=deliver_policy or wanted.deliver_policy,
            headers_only=wanted.headers_only or headers_only,
            flow_control=flow_control or wanted.flow_control or False,
            idle_heartbeat=idle_heartbeat or wanted.idle_heartbeat,
            inactive_threshold=inactive_threshold or wanted.inactive_threshold,
        )
        durable = wanted.durable_name
        ephemeral = is_ephemeral(wanted)
        config = self._push_config(subject, wanted, ordered_consumer)
        if durable:
            info, exists = await find_or_create(self._jsm, stream, durable, config)
            if exists:
                check_push(info, queue)
                check_binding(info, subject, wanted)
                config = info.config
        elif ephemeral:
            info = await create_ephemeral(self, stream, config)
        else:
            info = await self._jsm.add_consumer(stream, config=config)

        consumer = durable or info.name
        if consumer is None:
            raise TypeError("cannot detect consumer")
        try:
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
        except BaseException:
            if ephemeral:
                remove_consumer(self, stream, consumer)
            raise
        if ephemeral:
            is_automatic = cb is not None and not manual_ack
            push_state_of(psub).own(consumer, not is_automatic and not acknowledges_itself(config))
        push_state_of(psub).stream_seen = info.created
        return psub

    def _push_config(
        self, subject: str, wanted: api.ConsumerConfig, ordered: bool
    ) -> api.ConsumerConfig:
        """Returns the configuration of a new push consumer."""
        config = wanted.evolve(deliver_subject=wanted.deliver_subject or self._nc.new_inbox())
        if not config.filter_subjects:
            config.filter_subject = config.filter_subject or subject
        if ordered:
            config.flow_control = True
            config.ack_policy = api.AckPolicy.NONE
            config.max_deliver = 1
            config.ack_wait = _ORDERED_ACK_WAIT
            config.idle_heartbeat = config.idle_heartbeat or _ORDERED_HEARTBEAT
            config.num_replicas = 1
            config.mem_storage = True
        return config

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
        """Has an existing push consumer deliver.

        :param stream: name of the stream.
        :param config: configuration of the consumer, with its ``deliver_subject``.
        :param consumer: name of the consumer.
        :param cb: this and what follows as for :meth:`subscribe`: ``manual_ack``,
            ``ordered_consumer``, ``pending_msgs_limit``, and in bytes ``pending_bytes_limit``.
        :raises TypeError: ``config`` has no ``deliver_subject``.
        """
        if cb and not manual_ack and not acknowledges_itself(config):
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
        state = sub._observer = JetStreamContext._JSI(
            js=self,
            conn=self._nc,
            stream=stream,
            ordered=ordered_consumer,
            psub=psub,
            sub=sub,
            ccreq=config,
        )
        state.start()
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
        names one that exists. A consumer without a name ends with the subscription.

        :param subject: a subject of the stream, perhaps with wildcards.
        :param durable: name of the consumer; it stays when the subscription ends.
        :param stream: looked up by the subject if not given.
        :param config: what the consumer is to be like, see :meth:`subscribe`.
        :param pending_msgs_limit: messages that may wait; further ones are dropped and
            reported to ``error_cb``. ``pending_bytes_limit`` is the same in payload bytes.
        :param inbox_prefix: first part of the inbox, dot included.
        :raises nats.js.errors.NotFoundError: no stream stores the subject.
        :raises nats.js.errors.Error: the existing consumer pushes, or has another subject or
            another configuration than is asked for.
        """
        if stream is None:
            stream = await self._jsm.find_stream_name_by_subject(subject)
        wanted = api.ConsumerConfig() if config is None else config
        durable = durable or wanted.durable_name
        name = durable or wanted.name
        config = wanted.evolve(durable_name=durable, name=name or self._nc._nuid.next().decode())
        if not config.filter_subjects:
            config.filter_subject = config.filter_subject or subject
        consumer = config.name
        assert consumer is not None
        if name is not None:
            info, exists = await find_or_create(self._jsm, stream, name, config)
            if exists:
                check_pull(info)
                check_binding(info, subject, wanted)
        else:
            await create_ephemeral(self, stream, config)
        try:
            psub = await self.pull_subscribe_bind(
                consumer=consumer,
                stream=stream,
                inbox_prefix=inbox_prefix,
                pending_bytes_limit=pending_bytes_limit,
                pending_msgs_limit=pending_msgs_limit,
            )
        except BaseException:
            if name is None:
                remove_consumer(self, stream, consumer)
            raise
        psub._is_known = True
        if name is None:
            psub._own_consumer(not acknowledges_itself(config))
        return psub

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
        :param stream: name of the stream.
        :param inbox_prefix: first part of the inbox, dot included.
        :param pending_msgs_limit: as for :meth:`pull_subscribe`, like ``pending_bytes_limit``
            in bytes.
        :raises ValueError: no stream is given.
        """
        if not stream:
            raise ValueError("nats: stream name is required")
        if inbox_prefix is None:
            inbox_prefix = bytes(self._nc._inbox_prefix) + b"."
        inbox = inbox_prefix + bytes(self._nc._nuid.next())
        sub = await self._nc.subscribe(
            f"{inbox.decode()}.*",
            pending_msgs_limit=pending_msgs_limit,
            pending_bytes_limit=pending_bytes_limit,
        )
        return JetStreamContext.PullSubscription(
            js=self,
            sub=sub,
            stream=stream,
            consumer=durable or name or consumer,  # type: ignore[arg-type]
            # Not the token of any request that `fetch` makes: those are counted from one.
            deliver=inbox + b".0",
        )

    @classmethod
    def is_status_msg(cls, msg: Optional[Msg]) -> Optional[str]:
        """Returns the status of a message that the server sends about a request, ``None`` for
        any other message.

        :param msg: the message, if there is one.
        """
        return None if msg is None else status_of(msg.headers)

    @classmethod
    def _is_processable_msg(cls, status: Optional[str], msg: Msg) -> bool:
        if not status:
            return True
        if cls._is_temporary_error(status):
            return False
        nats.js.errors.APIError.from_msg(msg)

    @classmethod
    def _is_temporary_error(cls, status: Optional[str]) -> bool:
        return status in (
            api.StatusCode.NO_MESSAGES,
            api.StatusCode.REQUEST_TIMEOUT,
            api.StatusCode.CONFLICT,
        )

    @classmethod
    def _is_heartbeat(cls, status: Optional[str]) -> bool:
        return status == api.StatusCode.CONTROL_MESSAGE

    @classmethod
    def _time_until(cls, timeout: Optional[float], start_time: float) -> Optional[float]:
        return None if timeout is None else timeout - (time.monotonic() - start_time)
