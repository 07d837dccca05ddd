"""Object stores: content of any size under a name (ADR-20)."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Coroutine
from contextlib import aclosing
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Optional, TypeAlias, Union

from nats._compat import Listing
from nats._texts import with_details
from nats._units import NOT_FOUND
from nats.errors import Error
from nats.js import api
from nats.js.errors import (
    APIError,
    BadObjectMetaError,
    DigestMismatchError,
    LinkIsABucketError,
    NoStreamResponseError,
    NotFoundError,
    ObjectAlreadyExists,
    ObjectDeletedError,
    ObjectNotFoundError,
)
from nats.js.kv import MSG_ROLLUP_SUBJECT, StopIterSentinel

from ._initial import count_initial_values
from ._names import VALID_BUCKET_RE, VALID_KEY_RE
from ._objects_get import read_content, writer_of
from ._objects_put import ChunkPublisher, blocks_of, content_of, run_to_end
from ._objects_result import ObjectResult as _ObjectResult
from ._objects_result import ObjectStoreStatus as _ObjectStoreStatus
from ._objects_watch import ObjectWatcher as _ObjectWatcher

if TYPE_CHECKING:
    from nats.js import JetStreamContext

__all__ = [
    "MSG_ROLLUP_SUBJECT",
    "OBJ_ALL_CHUNKS_PRE_TEMPLATE",
    "OBJ_ALL_META_PRE_TEMPLATE",
    "OBJ_CHUNKS_PRE_TEMPLATE",
    "OBJ_DEFAULT_CHUNK_SIZE",
    "OBJ_DIGEST_TEMPLATE",
    "OBJ_DIGEST_TYPE",
    "OBJ_META_PRE_TEMPLATE",
    "OBJ_NO_PENDING",
    "OBJ_STREAM_TEMPLATE",
    "VALID_BUCKET_RE",
    "VALID_KEY_RE",
    "BadObjectMetaError",
    "DigestMismatchError",
    "LinkIsABucketError",
    "NotFoundError",
    "ObjectAlreadyExists",
    "ObjectDeletedError",
    "ObjectNotFoundError",
    "ObjectStore",
    "StopIterSentinel",
    "api",
    "asyncio",
]

OBJ_STREAM_TEMPLATE = "OBJ_{bucket}"
OBJ_ALL_CHUNKS_PRE_TEMPLATE = "$O.{bucket}.C.>"
OBJ_ALL_META_PRE_TEMPLATE = "$O.{bucket}.M.>"
OBJ_CHUNKS_PRE_TEMPLATE = "$O.{bucket}.C.{obj}"
OBJ_META_PRE_TEMPLATE = "$O.{bucket}.M.{obj}"
OBJ_NO_PENDING = "0"
OBJ_DEFAULT_CHUNK_SIZE = 128 * 1024  # bytes
OBJ_DIGEST_TYPE = "SHA-256="
OBJ_DIGEST_TEMPLATE = OBJ_DIGEST_TYPE + "{digest}"

# Within the class, `list` is a method.
_ObjectInfos: TypeAlias = list[api.ObjectInfo]


def _now() -> str:
    return datetime.now(timezone.utc).isoformat()


class ObjectStore:
    """A store for objects; made by :meth:`nats.js.JetStreamContext.object_store` or
    ``create_object_store``.

    Every method raises, besides what its description says, :class:`nats.errors.TimeoutError` if
    the server doesn't answer within the context's timeout, and
    :class:`nats.js.errors.APIError` if it refuses.

    ::

        obs = await js.create_object_store("files")
        with open("report.pdf", "rb") as file:
            info = await obs.put("report.pdf", file)
        result = await obs.get("report.pdf")
        print(len(result.data), info.digest)
    """

    ObjectResult: TypeAlias = _ObjectResult
    ObjectStoreStatus: TypeAlias = _ObjectStoreStatus
    ObjectWatcher: TypeAlias = _ObjectWatcher

    def __init__(
        self,
        name: str,
        stream: str,
        js: JetStreamContext,
    ) -> None:
        self._name = name
        self._stream = stream
        self._js = js

    def _object(self, name: Optional[str]) -> str:
        """Returns what the texts of errors call an object."""
        return f"object {name!r} of store {self._name!r}"

    def _chunk_subject(self, nuid: str) -> str:
        return OBJ_CHUNKS_PRE_TEMPLATE.format(bucket=self._name, obj=nuid)

    def _meta_subject(self, name: str) -> str:
        encoded = base64.urlsafe_b64encode(name.encode()).decode()
        return OBJ_META_PRE_TEMPLATE.format(bucket=self._name, obj=encoded)

    async def _publish_meta(self, name: str, info: api.ObjectInfo) -> None:
        """Replaces the meta data of an object."""
        await self._js.publish(
            self._meta_subject(name),
            json.dumps(info.as_dict()).encode(),
            headers={api.Header.ROLLUP: MSG_ROLLUP_SUBJECT},
        )

    async def _purge_chunks(self, nuid: str) -> None:
        await self._js.purge_stream(self._stream, subject=self._chunk_subject(nuid))

    async def get_info(
        self,
        name: str,
        show_deleted: Optional[bool] = False,
    ) -> api.ObjectInfo:
        """Returns the meta data of an object.

        :param name: of the object.
        :param show_deleted: of a deleted one, too, instead of raising.
        :raises nats.js.errors.ObjectNotFoundError: there is no such object.
        :raises nats.js.errors.BadObjectMetaError: the stored meta data can't be read.
        """
        try:
            msg = await self._js.get_last_msg(self._stream, self._meta_subject(name))
        except NotFoundError:
            raise with_details(ObjectNotFoundError(code=NOT_FOUND), self._object(name)) from None
        try:
            info = api.ObjectInfo.from_response(json.loads(msg.data or b""))
        except Exception as error:
            raise with_details(BadObjectMetaError(), self._object(name)) from error
        if info.deleted and not show_deleted:
            details = f"{self._object(name)}, which was deleted"
            raise with_details(ObjectNotFoundError(code=NOT_FOUND), details)
        return info

    async def get(
        self,
        name: str,
        writeinto: Optional[io.BufferedIOBase] = None,
        show_deleted: Optional[bool] = False,
    ) -> ObjectStore.ObjectResult:
        """Returns an object; for a link, the object that it leads to.

        :param name: of the object.
        :param writeinto: a file object that the content is written to as it arrives, in a
            thread of the loop's default executor. The result has no ``data`` then. If this
            raises, what was written has to be thrown away.
        :param show_deleted: return a deleted object without content instead of raising.
        :raises nats.js.errors.ObjectNotFoundError: there is no such object.
        :raises nats.js.errors.BadObjectMetaError: the meta data can't be read, or links lead back
            to themselves.
        :raises nats.js.errors.DigestMismatchError: the content isn't what was put, or parts of
            it are missing; it may have been replaced or deleted while it was read.
        :raises nats.js.errors.LinkIsABucketError: the object is a link to a whole store.
        :raises nats.js.errors.BucketNotFoundError: it is a link to a store that doesn't exist.
        """
        store, info = await self._follow(name, show_deleted)
        if info.size == 0:
            return self.ObjectResult(info=info)
        write = None if writeinto is None else writer_of(writeinto)
        data = await read_content(self._js, store._chunk_subject(info.nuid), info, write)
        return self.ObjectResult(info=info, data=data)

    async def _follow(
        self, name: str, show_deleted: Optional[bool]
    ) -> tuple[ObjectStore, api.ObjectInfo]:
        """Follows links; returns the store that has the object, and the object's meta data."""
        store = self
        followed: set[tuple[str, str]] = set()
        while True:
            info = await store.get_info(name, show_deleted)
            if not info.nuid:
                details = f"{store._object(name)} doesn't tell where its content is"
                raise with_details(BadObjectMetaError(), details)
            link = info.options.link if info.options else None
            if link is None:
                return store, info
            if not link.name:
                details = f"{store._object(name)} links to store {link.bucket!r}"
                raise with_details(LinkIsABucketError(), details)
            followed.add((store._name, name))
            if (link.bucket, link.name) in followed:
                details = f"the link {store._object(name)} leads back to itself"
                raise with_details(BadObjectMetaError(), details)
            store = await self._js.object_store(link.bucket)
            name, show_deleted = link.name, False

    async def put(
        self,
        name: str,
        data: Union[str, bytes, io.BufferedIOBase],
        meta: Optional[api.ObjectMeta] = None,
    ) -> api.ObjectInfo:
        """Stores an object. Once it is complete, it replaces an older one of the same name.

        If this raises or is cancelled, what it has stored is removed and the older object stays.

        :param name: of the object.
        :param data: text, bytes, or a file object, which is read to its end with ``readinto``
            in a thread of the loop's default executor, about a megabyte at a time.
        :param meta: description and headers, and in its ``options`` the size of the chunks in
            bytes, or a link. Its name counts if ``name`` is empty, and is set to ``name`` else.
        :raises TypeError: the data is something else.
        :raises ValueError: the size of the chunks is negative.
        :raises nats.js.errors.BadObjectMetaError: a link leads to itself or to its own store.
        :raises nats.js.errors.APIError: the server refuses a chunk, e.g. because the store is
            full or sealed.
        :raises nats.errors.MaxPayloadError: the chunks are larger than the server allows.
        """
        if meta is None:
            meta = api.ObjectMeta(name=name)
        elif len(name) > 0:
            meta.name = name
        if meta.options is None:
            meta.options = api.ObjectMetaOptions(max_chunk_size=OBJ_DEFAULT_CHUNK_SIZE)
        link = meta.options.link
        if link and link.bucket == self._name and (link.name or meta.name) == meta.name:
            details = f"{self._object(meta.name)} would be a link to itself or to its own store"
            raise with_details(BadObjectMetaError(), details)
        chunk_size = meta.options.max_chunk_size or OBJ_DEFAULT_CHUNK_SIZE
        if chunk_size < 0:
            raise ValueError("nats: negative chunk size")
        info = api.ObjectInfo(
            name=meta.name,  # type: ignore[arg-type]
            description=meta.description,
            headers=meta.headers,
            options=meta.options,
            bucket=self._name,
            nuid=self._js._nc._nuid.next().decode(),
            mtime=_now(),
        )
        replaced: Optional[api.ObjectInfo] = None
        try:
            replaced = await self.get_info(info.name)
        except NotFoundError:
            pass
        content = content_of(data)

        chunks = ChunkPublisher(self._js, self._chunk_subject(info.nuid), chunk_size)
        try:
            async with aclosing(blocks_of(content, chunk_size)) as blocks:
                async for block in blocks:
                    await chunks.publish(block)
            await chunks.finish()
        except (Exception, asyncio.CancelledError) as error:
            try:
                await run_to_end(chunks.discard(self._stream))
            except Error:
                # A cancelled caller has to see the cancellation, not this error.
                if isinstance(error, Exception):
                    raise
            raise
        info.size = chunks.size
        info.chunks = chunks.count
        encoded = base64.urlsafe_b64encode(chunks.digest).decode()
        info.digest = OBJ_DIGEST_TEMPLATE.format(digest=encoded)
        await run_to_end(self._commit(info, replaced))
        info.mtime = _now()
        return info

    async def _commit(self, info: api.ObjectInfo, replaced: Optional[api.ObjectInfo]) -> None:
        """Publishes the meta data that make an object of the chunks."""
        try:
            await self._publish_meta(info.name, info)
        except (APIError, NoStreamResponseError):
            await self._purge_chunks(info.nuid)
            raise
        except Exception:
            # Perhaps only the acknowledgement was lost. As long as the object may still turn up,
            # it needs its chunks.
            if not await self._is_latest(info):
                raise
        if replaced is not None:
            await self._purge_chunks(replaced.nuid)

    async def _is_latest(self, info: api.ObjectInfo) -> bool:
        try:
            latest = await self.get_info(info.name, show_deleted=True)
        except ObjectNotFoundError:
            return False
        return latest.nuid == info.nuid

    async def status(self) -> ObjectStore.ObjectStoreStatus:
        """Returns state and configuration of the store."""
        info = await self._js.stream_info(self._stream)
        return self.ObjectStoreStatus(stream_info=info, bucket=self._name)

    async def seal(self) -> None:
        """Makes the store read-only for ever."""
        info = await self._js.stream_info(self._stream)
        info.config.sealed = True
        await self._js.update_stream(info.config)

    async def update_meta(
        self,
        name: str,
        meta: api.ObjectMeta,
    ) -> None:
        """Replaces description and headers of an object; its options stay.

        :param name: of the object.
        :param meta: with the same name: as with nats-py, objects can't be renamed.
        :raises nats.js.errors.ObjectDeletedError: there is no such object.
        :raises nats.js.errors.ObjectAlreadyExists: ``meta`` has another name.
        """
        try:
            info = await self.get_info(name)
        except ObjectNotFoundError:
            raise with_details(ObjectDeletedError(code=NOT_FOUND), self._object(name)) from None
        if meta.name != name:
            details = f"{self._object(name)} can't be renamed to {meta.name!r}"
            raise with_details(ObjectAlreadyExists(), details)
        info.description = meta.description
        info.headers = meta.headers
        await self._publish_meta(name, info)

    async def watch(
        self,
        ignore_deletes: bool = False,
        include_history: bool = False,
        meta_only: bool = False,
        updates_only: bool = False,
    ) -> ObjectStore.ObjectWatcher:
        """Watches the store: first the objects that are there, then ``None``, then every change.

        :param ignore_deletes: leave out deleted objects.
        :param include_history: all that the stream has, which is the latest for each name.
        :param meta_only: accepted for compatibility, without effect: watchers never read content.
        :param updates_only: only changes from now on, and no ``None``.
        """
        watcher = self.ObjectWatcher(self)
        watcher._ignore_deletes = ignore_deletes
        all_meta = OBJ_ALL_META_PRE_TEMPLATE.format(bucket=self._name)
        policy: Optional[api.DeliverPolicy] = None
        if updates_only:
            initial = None
            policy = api.DeliverPolicy.NEW
        else:
            # Counted before the consumer delivers anything.
            initial = await count_initial_values(
                self._js, self._stream, all_meta, include_history, whole=False
            )
            if not include_history:
                policy = api.DeliverPolicy.LAST_PER_SUBJECT
        sub = await self._js.subscribe(all_meta, ordered_consumer=True, deliver_policy=policy)
        watcher._start(sub, initial)
        return watcher

    async def delete(self, name: str) -> None:
        """Deletes the content of an object; its meta data tell that it was deleted.

        :param name: of the object.
        :raises nats.js.errors.ObjectNotFoundError: there is no such object.
        :raises nats.js.errors.BadObjectMetaError: the meta data can't be read.
        """
        info = await self.get_info(name)
        if not info.nuid:
            details = f"{self._object(name)} doesn't tell where its content is"
            raise with_details(BadObjectMetaError(), details)
        info.deleted = True
        info.size = 0
        info.chunks = 0
        info.digest = ""
        # With nats-py it is empty: then other clients can't read or list the object.
        info.mtime = _now()
        await run_to_end(self._delete(name, info))

    async def _delete(self, name: str, info: api.ObjectInfo) -> None:
        try:
            await self._publish_meta(name, info)
        except APIError:
            # Purged all the same: a full store has room for the mark then.
            await self._purge_chunks(info.nuid)
            raise
        except Exception:
            # Unless the mark has been stored, the object has to stay whole.
            if not await self._is_deleted(info):
                raise
        await self._purge_chunks(info.nuid)

    async def _is_deleted(self, info: api.ObjectInfo) -> bool:
        latest = await self.get_info(info.name, show_deleted=True)
        return latest.nuid == info.nuid and bool(latest.deleted)

    def list(self, ignore_deletes: bool = False) -> Coroutine[Any, Any, _ObjectInfos]:
        """Returns the objects, oldest first: ``await obs.list()`` gives them as a list, and
        ``async for info in obs.list()`` one by one.

        :param ignore_deletes: leave out deleted objects.
        :raises nats.js.errors.NotFoundError: there are none.
        """
        return Listing(self._list(ignore_deletes))

    async def _list(self, ignore_deletes: bool) -> _ObjectInfos:
        watcher = await self.watch(ignore_deletes=ignore_deletes)
        infos: _ObjectInfos = []
        try:
            async for info in watcher:
                if info is None:
                    break
                infos.append(info)
            else:
                raise watcher._delivery.closed_error()
        finally:
            await watcher._delivery.end()
        if not infos:
            raise with_details(NotFoundError(code=NOT_FOUND), f"no objects in store {self._name!r}")
        return infos
