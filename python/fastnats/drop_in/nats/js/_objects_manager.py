"""Object stores of a JetStream context (ADR-20)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional, cast

from nats._texts import with_details
from nats._units import NOT_FOUND
from nats.js import api
from nats.js.errors import BucketNotFoundError, NotFoundError
from nats.js.manager import JetStreamManager

from ._names import check_bucket_name
from .object_store import (
    OBJ_ALL_CHUNKS_PRE_TEMPLATE,
    OBJ_ALL_META_PRE_TEMPLATE,
    OBJ_STREAM_TEMPLATE,
    ObjectStore,
)

if TYPE_CHECKING:
    from .client import JetStreamContext


class ObjectStoreManager(JetStreamManager):
    """The object stores of an account."""

    async def object_store(self, bucket: str) -> ObjectStore:
        """Opens an object store.

        :param bucket: name of the store.
        :raises nats.js.errors.InvalidBucketNameError: no store can have that name.
        :raises nats.js.errors.BucketNotFoundError: there is no such store.
        """
        check_bucket_name(bucket)
        stream = OBJ_STREAM_TEMPLATE.format(bucket=bucket)
        try:
            await self.stream_info(stream)
        except NotFoundError:
            details = f"object store {bucket!r}: create_object_store() creates it"
            raise with_details(BucketNotFoundError(code=NOT_FOUND), details) from None
        return self._object_store(bucket, stream)

    def _object_store(self, bucket: str, stream: str) -> ObjectStore:
        # A JetStreamContext is the only one that has this base.
        return ObjectStore(name=bucket, stream=stream, js=cast("JetStreamContext", self))

    async def create_object_store(
        self,
        bucket: Optional[str] = None,
        config: Optional[api.ObjectStoreConfig] = None,
        **params: Any,
    ) -> ObjectStore:
        """Creates an object store, or opens one that has the same configuration.

        :param bucket: name of the store; in the place of the one in ``config``.
        :param config: what the store is to be like.
        :param params: attributes of :class:`nats.js.api.ObjectStoreConfig`, over those of
            ``config``.
        :raises nats.js.errors.InvalidBucketNameError: no store can have that name.
        :raises nats.js.errors.BadRequestError: there is such a store with another
            configuration.
        """
        if bucket is not None:
            params["bucket"] = bucket
        config = (api.ObjectStoreConfig() if config is None else config).evolve(**params)
        check_bucket_name(config.bucket)
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
        return self._object_store(name, stream)

    async def delete_object_store(self, bucket: str) -> bool:
        """Deletes an object store with everything in it; returns ``True``.

        :param bucket: name of the store.
        :raises nats.js.errors.InvalidBucketNameError: no store can have that name.
        :raises nats.js.errors.NotFoundError: there is no such store.
        """
        check_bucket_name(bucket)
        return await self.delete_stream(OBJ_STREAM_TEMPLATE.format(bucket=bucket))
