"""Key-value and object stores of a JetStream context."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Optional

from nats._units import BAD_REQUEST, NOT_FOUND
from nats.js import api
from nats.js.errors import (
    BadBucketError,
    BucketNotFoundError,
    InvalidBucketNameError,
    KeyHistoryTooLargeError,
    KeyValueLimitMarkerTTLNotSupportedError,
    NotFoundError,
    concerning,
)
from nats.js.manager import JetStreamManager

from .kv import KeyValue, put_prefix
from .object_store import (
    OBJ_ALL_CHUNKS_PRE_TEMPLATE,
    OBJ_ALL_META_PRE_TEMPLATE,
    OBJ_STREAM_TEMPLATE,
    ObjectStore,
)

if TYPE_CHECKING:
    from .client import JetStreamContext

KV_STREAM_TEMPLATE = "KV_{bucket}"
KV_PRE_TEMPLATE = "$KV.{bucket}."
KV_MAX_HISTORY = 64
_KV_STREAM_PREFIX = KV_STREAM_TEMPLATE.format(bucket="")

_BUCKET_NAME = re.compile(r"^[a-zA-Z0-9_-]+$")
_DUPLICATE_WINDOW: float = 2 * 60


def _check_name(bucket: Optional[str]) -> None:
    if _BUCKET_NAME.match(bucket) is None:  # type: ignore[arg-type]
        details = f"{bucket!r}: a name has letters, digits, '_' and '-' only"
        raise concerning(InvalidBucketNameError(), details)


class Stores(JetStreamManager):
    """Opens, creates and deletes buckets (ADR-8, ADR-20)."""

    async def key_value(self, bucket: str) -> KeyValue:
        """Opens a bucket.

        :raises nats.js.errors.InvalidBucketNameError: no bucket can have that name.
        :raises nats.js.errors.BucketNotFoundError: there is no such bucket.
        :raises nats.js.errors.BadBucketError: its stream isn't one of a bucket.
        """
        _check_name(bucket)
        stream = KV_STREAM_TEMPLATE.format(bucket=bucket)
        try:
            info = await self.stream_info(stream)
        except NotFoundError:
            details = f"bucket {bucket!r}: create_key_value() creates it"
            raise concerning(BucketNotFoundError(code=NOT_FOUND), details) from None
        history = info.config.max_msgs_per_subject
        if history is None or history < 1:
            details = f"stream {stream!r} is no bucket: its max_msgs_per_subject is {history}"
            raise concerning(BadBucketError(code=BAD_REQUEST), details)
        return self._key_value(bucket, info)

    async def create_key_value(
        self, config: Optional[api.KeyValueConfig] = None, **params: Any
    ) -> KeyValue:
        """Creates a bucket, or opens one that has the same configuration.

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
        _check_name(config.bucket)
        duplicate_window = _DUPLICATE_WINDOW
        if config.ttl and config.ttl < duplicate_window:
            duplicate_window = config.ttl
        if config.history > KV_MAX_HISTORY:
            details = f"bucket {config.bucket!r}, history of {config.history}"
            raise concerning(KeyHistoryTooLargeError(code=BAD_REQUEST), details)
        marker_ttl: Optional[float] = None
        if config.limit_marker_ttl is not None and config.limit_marker_ttl > 0:
            account = await self.account_info()
            if not account.api.level or account.api.level < 1:
                details = f"bucket {config.bucket!r}: limit_marker_ttl needs nats-server 2.11"
                raise concerning(KeyValueLimitMarkerTTLNotSupportedError(), details)
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
            # What is mirrored keeps its subject, unless the mirror gives it one of its own.
            transforms = mirror.subject_transforms or ()
            if not any(transform.dest.startswith(own) for transform in transforms):
                pre = origin
        return KeyValue(
            name=bucket,
            stream=KV_STREAM_TEMPLATE.format(bucket=bucket),
            pre=pre,
            js=self._context(),
            direct=bool(info.config.allow_direct),
            put_pre=put_pre,
        )

    def _context(self) -> JetStreamContext:
        raise AssertionError("JetStreamContext implements this")

    async def delete_key_value(self, bucket: str) -> bool:
        """Deletes a bucket with everything in it.

        :raises nats.js.errors.InvalidBucketNameError: no bucket can have that name.
        :raises nats.js.errors.NotFoundError: there is no such bucket.
        """
        _check_name(bucket)
        return await self.delete_stream(KV_STREAM_TEMPLATE.format(bucket=bucket))

    async def object_store(self, bucket: str) -> ObjectStore:
        """Opens an object store.

        :raises nats.js.errors.InvalidBucketNameError: no store can have that name.
        :raises nats.js.errors.BucketNotFoundError: there is no such store.
        """
        _check_name(bucket)
        stream = OBJ_STREAM_TEMPLATE.format(bucket=bucket)
        try:
            await self.stream_info(stream)
        except NotFoundError:
            details = f"object store {bucket!r}: create_object_store() creates it"
            raise concerning(BucketNotFoundError(code=NOT_FOUND), details) from None
        return ObjectStore(name=bucket, stream=stream, js=self._context())

    async def create_object_store(
        self,
        bucket: Optional[str] = None,
        config: Optional[api.ObjectStoreConfig] = None,
        **params: Any,
    ) -> ObjectStore:
        """Creates an object store, or opens one that has the same configuration.

        :param params: attributes of :class:`nats.js.api.ObjectStoreConfig`, over those of
            ``config``.
        :raises nats.js.errors.InvalidBucketNameError: no store can have that name.
        :raises nats.js.errors.BadRequestError: there is such a store with another
            configuration.
        """
        if bucket is not None:
            params["bucket"] = bucket
        config = (api.ObjectStoreConfig() if config is None else config).evolve(**params)
        _check_name(config.bucket)
        name = config.bucket or ""
        stream = OBJ_STREAM_TEMPLATE.format(bucket=name)
        await self.add_stream(
            api.StreamConfig(
                name=stream,
                description=config.description,
                subjects=[
                    OBJ_ALL_CHUNKS_PRE_TEMPLATE.format(bucket=name),
                    OBJ_ALL_META_PRE_TEMPLATE.format(bucket=name),
                ],
                max_age=config.ttl,
                max_bytes=-1 if config.max_bytes == 0 else config.max_bytes,
                max_consumers=0,
                storage=config.storage,
                num_replicas=config.replicas,
                placement=config.placement,
                discard=api.DiscardPolicy.NEW,
                allow_rollup_hdrs=True,
                allow_direct=True,
            )
        )
        return ObjectStore(name=name, stream=stream, js=self._context())

    async def delete_object_store(self, bucket: str) -> bool:
        """Deletes an object store with everything in it.

        :raises nats.js.errors.InvalidBucketNameError: no store can have that name.
        :raises nats.js.errors.NotFoundError: there is no such store.
        """
        _check_name(bucket)
        return await self.delete_stream(OBJ_STREAM_TEMPLATE.format(bucket=bucket))
