"""Key-value buckets of a JetStream context (ADR-8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional, cast

from nats._texts import with_details
from nats._units import BAD_REQUEST, NOT_FOUND
from nats.js import api
from nats.js.errors import (
    BadBucketError,
    BucketNotFoundError,
    KeyHistoryTooLargeError,
    KeyValueLimitMarkerTTLNotSupportedError,
    NotFoundError,
)
from nats.js.manager import JetStreamManager

from ._api_requests import put_prefix
from ._names import check_bucket_name
from .kv import KeyValue

if TYPE_CHECKING:
    from .client import JetStreamContext

KV_STREAM_TEMPLATE = "KV_{bucket}"
KV_PRE_TEMPLATE = "$KV.{bucket}."
KV_MAX_HISTORY = 64
_KV_STREAM_PREFIX = KV_STREAM_TEMPLATE.format(bucket="")

_DUPLICATE_WINDOW: float = 2 * 60  # seconds


class KeyValueManager(JetStreamManager):
    """The key-value buckets of an account."""

    async def key_value(self, bucket: str) -> KeyValue:
        """Opens a bucket.

        :param bucket: name of the bucket.
        :raises nats.js.errors.InvalidBucketNameError: no bucket can have that name.
        :raises nats.js.errors.BucketNotFoundError: there is no such bucket.
        :raises nats.js.errors.BadBucketError: the stream of that name isn't that of a bucket.
        """
        check_bucket_name(bucket)
        stream = KV_STREAM_TEMPLATE.format(bucket=bucket)
        try:
            info = await self.stream_info(stream)
        except NotFoundError:
            details = f"bucket {bucket!r}: create_key_value() creates it"
            raise with_details(BucketNotFoundError(code=NOT_FOUND), details) from None
        history = info.config.max_msgs_per_subject
        if history is None or history < 1:
            details = f"stream {stream!r} is no bucket: its max_msgs_per_subject is {history}"
            raise with_details(BadBucketError(code=BAD_REQUEST), details)
        return self._key_value(bucket, info)

    async def create_key_value(
        self, config: Optional[api.KeyValueConfig] = None, **params: Any
    ) -> KeyValue:
        """Creates a bucket, or opens one that has the same configuration.

        :param config: what the bucket is to be like.
        :param params: attributes of :class:`nats.js.api.KeyValueConfig`, over those of
            ``config``.
        :raises nats.js.errors.InvalidBucketNameError: no bucket can have that name.
        :raises nats.js.errors.KeyHistoryTooLargeError: more than 64 revisions of a key.
        :raises nats.js.errors.KeyValueLimitMarkerTTLNotSupportedError: the server is too old.
        :raises nats.js.errors.BadRequestError: there is such a bucket with another
            configuration.
        """
        if config is None:
            config = api.KeyValueConfig(bucket=params["bucket"])
        config = config.evolve(**params)
        check_bucket_name(config.bucket)
        duplicate_window = _DUPLICATE_WINDOW
        if config.ttl and config.ttl < duplicate_window:
            duplicate_window = config.ttl
        if config.history > KV_MAX_HISTORY:
            details = f"bucket {config.bucket!r}, history of {config.history}"
            raise with_details(KeyHistoryTooLargeError(code=BAD_REQUEST), details)
        marker_ttl: Optional[float] = None
        if config.limit_marker_ttl is not None and config.limit_marker_ttl > 0:
            account = await self.account_info()
            if not account.api.level or account.api.level < 1:
                details = f"bucket {config.bucket!r}: limit_marker_ttl needs nats-server 2.11"
                raise with_details(KeyValueLimitMarkerTTLNotSupportedError(), details)
            marker_ttl = config.limit_marker_ttl
        stream = api.StreamConfig(
            name=KV_STREAM_TEMPLATE.format(bucket=config.bucket),
            description=config.description,
            subjects=[f"$KV.{config.bucket}.>"],
            allow_direct=config.direct,
            allow_rollup_hdrs=True,
            allow_msg_ttl=True,
            deny_delete=True,
            discard=api.DiscardPolicy.NEW,
            duplicate_window=duplicate_window,
            max_age=config.ttl,
            max_bytes=config.max_bytes,
            max_consumers=-1,
            max_msg_size=config.max_value_size,
            max_msgs=-1,
            max_msgs_per_subject=config.history,
            num_replicas=config.replicas,
            storage=config.storage,
            placement=config.placement,
            republish=config.republish,
            subject_delete_marker_ttl=marker_ttl,
        )
        return self._key_value(config.bucket, await self.add_stream(stream))

    def _key_value(self, bucket: str, info: api.StreamInfo) -> KeyValue:
        own = KV_PRE_TEMPLATE.format(bucket=bucket)
        pre, put_pre = own, None
        mirror = info.config.mirror
        if mirror is not None and mirror.name.startswith(_KV_STREAM_PREFIX):
            origin = KV_PRE_TEMPLATE.format(bucket=mirror.name[len(_KV_STREAM_PREFIX) :])
            external = mirror.external.api if mirror.external else ""
            put_pre = f"{external}.{origin}" if external else put_prefix(self._prefix, origin)
            # Mirrored messages keep their subjects, unless the mirror transforms them.
            transforms = mirror.subject_transforms or ()
            if not any(transform.dest.startswith(own) for transform in transforms):
                pre = origin
        return KeyValue(
            name=bucket,
            stream=KV_STREAM_TEMPLATE.format(bucket=bucket),
            pre=pre,
            # A JetStreamContext is the only one that has this base.
            js=cast("JetStreamContext", self),
            direct=bool(info.config.allow_direct),
            put_pre=put_pre,
        )

    async def delete_key_value(self, bucket: str) -> bool:
        """Deletes a bucket with everything in it; returns ``True``.

        :param bucket: name of the bucket.
        :raises nats.js.errors.InvalidBucketNameError: no bucket can have that name.
        :raises nats.js.errors.NotFoundError: there is no such bucket.
        """
        check_bucket_name(bucket)
        return await self.delete_stream(KV_STREAM_TEMPLATE.format(bucket=bucket))
