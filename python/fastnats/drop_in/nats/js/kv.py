"""Key-value buckets (ADR-8)."""

from __future__ import annotations

import datetime
import logging
from typing import TYPE_CHECKING, Any, Optional, TypeAlias, TypeVar

from nats._core import EntryFeed, EntryShape
from nats._texts import with_details
from nats._units import NOT_FOUND
from nats.errors import TimeoutError
from nats.js import api
from nats.js.errors import (
    APIError,
    InvalidKeyError,
    KeyDeletedError,
    KeyExistsError,
    KeyNotFoundError,
    KeyValueError,
    KeyWrongLastSequenceError,
    NoKeysError,
    NotFoundError,
)

from ._api_requests import last_message_request, put_prefix
from ._error_codes import WRONG_LAST_SEQUENCE, WRONG_LAST_SEQUENCE_CONSTANT
from ._initial import count_initial_values
from ._kv_entry import BucketStatus as _BucketStatus
from ._kv_entry import Entry as _Entry
from ._kv_watch import KeyWatcher as _KeyWatcher
from ._names import VALID_KEY_RE
from ._watch import StopIterSentinel

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

__all__ = [
    "KV_DEL",
    "KV_MARKER_REASON",
    "KV_OP",
    "KV_PURGE",
    "MSG_ROLLUP_SUBJECT",
    "VALID_KEY_RE",
    "KeyValue",
    "StopIterSentinel",
    "TimeoutError",
    "api",
    "logger",
]

KV_OP = "KV-Operation"
KV_DEL = "DEL"
KV_PURGE = "PURGE"
MSG_ROLLUP_SUBJECT = "sub"
KV_MARKER_REASON = "Nats-Marker-Reason"

logger = logging.getLogger(__name__)

_KeyValueError = TypeVar("_KeyValueError", bound=KeyValueError)

_WRONG_REVISION = (WRONG_LAST_SEQUENCE, WRONG_LAST_SEQUENCE_CONSTANT)
_INACTIVE_THRESHOLD = 5 * 60


def _is_key_valid(key: str) -> bool:
    # Looked up here at each call: programs replace this, or the expression, to allow other keys.
    return len(key) > 0 and key[0] != "." and key[-1] != "." and bool(VALID_KEY_RE.match(key))


def _check_key(key: str) -> None:
    if not _is_key_valid(key):
        raise InvalidKeyError(key)


class KeyValue:
    """A bucket; made by :meth:`nats.js.JetStreamContext.key_value` or ``create_key_value``.

    Every method raises, besides what its description says, :class:`nats.errors.TimeoutError` if
    the server doesn't answer within the context's timeout, and
    :class:`nats.js.errors.InvalidKeyError` for a key that can't exist, unless
    ``validate_keys`` is false.

    ::

        kv = await js.create_key_value(bucket="config")
        revision = await kv.put("greeting", b"hello")
        entry = await kv.get("greeting")
    """

    Entry: TypeAlias = _Entry
    BucketStatus: TypeAlias = _BucketStatus
    KeyWatcher: TypeAlias = _KeyWatcher

    def __init__(
        self,
        name: str,
        stream: str,
        pre: str,
        js: JetStreamContext,
        direct: bool,
        *,
        put_pre: Optional[str] = None,
    ) -> None:
        self._name = name
        self._stream = stream
        self._pre = pre
        self._js = js
        self._direct = direct
        self._put_pre = put_prefix(js._prefix, pre) if put_pre is None else put_pre

    async def get(
        self, key: str, revision: Optional[int] = None, validate_keys: bool = True
    ) -> KeyValue.Entry:
        """Returns the latest value of a key, or that of a revision.

        :param key: the key.
        :param revision: the revision; the latest one if not given.
        :param validate_keys: check the key before the server is asked.
        :raises nats.js.errors.KeyNotFoundError: the key has no value, or not in that revision.
        """
        if validate_keys and not _is_key_valid(key):
            raise with_details(InvalidKeyError(), repr(key))
        try:
            return await self._get(key, revision)
        except KeyDeletedError as deleted:
            not_found = KeyNotFoundError(deleted.entry, deleted.op)
            raise self._about(not_found, key, f"{deleted.op} marker") from None
        except KeyNotFoundError as error:
            raise self._about(error, key, f"revision {revision}" if revision else "") from None

    def _about(self, error: _KeyValueError, key: str, more: str = "") -> _KeyValueError:
        details = f"key {key!r} of bucket {self._name!r}{more and ', '}{more}"
        return with_details(error, details, bucket=self._name, key=key)

    async def _get(self, key: str, revision: Optional[int] = None) -> KeyValue.Entry:
        subject = f"{self._pre}{key}"
        if not revision and self._js._nc._fastnats.requests.direct_core() is not None:
            found = await self._get_latest(key, subject)
            if isinstance(found, KeyValue.Entry):
                return found
        else:
            found = None
        try:
            if found is not None:
                msg = self._js._stored_msg(found, self._direct)
            else:
                msg = await self._js.get_msg(
                    self._stream,
                    seq=revision or None,
                    subject=None if revision else subject,
                    direct=self._direct,
                )
        except NotFoundError:
            raise KeyNotFoundError from None
        return self._entry(key, subject, msg)

    async def _get_latest(self, key: str, subject: str) -> KeyValue.Entry | Msg:
        """Returns the entry, made by the core; the server's answer where it isn't a plain value."""
        js = self._js
        nc = js._nc
        core = nc._fastnats.native()
        shape = EntryShape(KeyValue.Entry, self._name, key, subject)
        operation, payload = last_message_request(self._stream, subject, self._direct)
        request = f"{js._prefix}.{operation}"
        future, token, room = core.request_entry(shape, request, payload, js._timeout)
        try:
            found: KeyValue.Entry | Msg = await nc._fastnats.requests.answer(
                core, future, token, room
            )
        except TimeoutError as error:
            with_details(error, f"no answer to {request}")
            raise
        return found

    def _entry(self, key: str, subject: str, msg: api.RawStreamMsg) -> KeyValue.Entry:
        if subject != msg.subject:
            raise KeyNotFoundError(message=f"expected '{subject}', but got '{msg.subject}'")
        entry = KeyValue.Entry(
            bucket=self._name,
            key=key,
            value=msg.data,
            revision=msg.seq,
            delta=None,
            created=None,
            operation=None,
        )
        headers = msg.headers or {}
        operation = headers.get(KV_OP)
        if KV_MARKER_REASON in headers:
            operation = KV_DEL if headers[KV_MARKER_REASON] == "Remove" else KV_PURGE
        if operation in (KV_DEL, KV_PURGE):
            raise KeyDeletedError(entry, operation)
        return entry

    async def put(self, key: str, value: bytes, validate_keys: bool = True) -> int:
        """Stores a value; returns its revision.

        :param key: the key.
        :param value: bytes.
        :param validate_keys: check the key before the server is asked.
        :raises nats.js.errors.InvalidKeyError: no key can be like that.
        """
        if validate_keys:
            _check_key(key)
        ack = await self._js.publish(f"{self._put_pre}{key}", value)
        return ack.seq

    async def create(
        self,
        key: str,
        value: bytes,
        validate_keys: bool = True,
        msg_ttl: Optional[float] = None,
    ) -> int:
        """Stores a value if the key has none; returns its revision.

        :param key: the key.
        :param value: bytes.
        :param validate_keys: check the key before the server is asked.
        :param msg_ttl: whole seconds after which the server drops the value (ADR-43).
        :raises nats.js.errors.KeyExistsError: the key has a value.
        :raises nats.js.errors.InvalidKeyError: no key can be like that.
        """
        if validate_keys:
            _check_key(key)
        try:
            return await self._update(key, value, 0, validate_keys, msg_ttl)
        except KeyWrongLastSequenceError as conflict:
            # The latest revision may be the marker of a deleted key.
            try:
                entry = await self._get(key)
            except KeyDeletedError as deleted:
                last = deleted.entry.revision
                return await self._update(key, value, last, validate_keys, msg_ttl)
            exists = KeyExistsError(conflict.description)
            exists.revision = entry.revision
            hint = f"which has a value, revision {entry.revision}: update() replaces it"
            raise self._about(exists, key, hint) from conflict

    async def update(
        self,
        key: str,
        value: bytes,
        last: Optional[int] = None,
        validate_keys: bool = True,
    ) -> int:
        """Stores a value if the latest revision is ``last``; returns its revision.

        :param key: the key.
        :param value: bytes.
        :param last: the revision that has to be the latest; 0 or ``None`` for a key that has none.
        :param validate_keys: check the key before the server is asked.
        :raises nats.js.errors.KeyWrongLastSequenceError: it isn't.
        :raises nats.js.errors.InvalidKeyError: no key can be like that.
        """
        return await self._update(key, value, last, validate_keys)

    async def _update(
        self,
        key: str,
        value: bytes,
        last: Optional[int] = None,
        validate_keys: bool = True,
        msg_ttl: Optional[float] = None,
    ) -> int:
        if validate_keys:
            _check_key(key)
        headers: dict[str, Any] = {api.Header.EXPECTED_LAST_SUBJECT_SEQUENCE: str(last or 0)}
        try:
            ack = await self._js.publish(
                f"{self._put_pre}{key}", value, headers=headers, msg_ttl=msg_ttl
            )
        except APIError as error:
            if error.err_code in _WRONG_REVISION:
                wrong = KeyWrongLastSequenceError(description=error.description)
                raise self._about(wrong, key, f"expected revision {last or 0}") from error
            raise
        return ack.seq

    async def delete(
        self,
        key: str,
        last: Optional[int] = None,
        validate_keys: bool = True,
        msg_ttl: Optional[float] = None,
    ) -> bool:
        """Puts a marker in the place of the value; older revisions stay in the history.

        :param key: the key.
        :param last: the revision that has to be the latest, if that matters.
        :param validate_keys: check the key before the server is asked.
        :param msg_ttl: seconds; deprecated and ignored.
        :raises nats.js.errors.APIError: ``last`` isn't the latest revision.
        :raises nats.js.errors.InvalidKeyError: no key can be like that.
        """
        if msg_ttl is not None:
            import warnings

            warnings.warn(
                "msg_ttl on delete() is deprecated and ignored; use create() or purge() for TTL",
                DeprecationWarning,
                stacklevel=2,
            )
        if validate_keys:
            _check_key(key)
        headers: dict[str, Any] = {KV_OP: KV_DEL}
        if last and last > 0:
            headers[api.Header.EXPECTED_LAST_SUBJECT_SEQUENCE] = str(last)
        await self._js.publish(f"{self._put_pre}{key}", headers=headers)
        return True

    async def purge(self, key: str, msg_ttl: Optional[float] = None) -> bool:
        """Puts a marker in the place of all revisions of a key.

        :param key: the key.
        :param msg_ttl: whole seconds after which the server drops the marker (ADR-43).
        """
        headers: dict[str, Any] = {KV_OP: KV_PURGE, api.Header.ROLLUP: MSG_ROLLUP_SUBJECT}
        await self._js.publish(f"{self._put_pre}{key}", headers=headers, msg_ttl=msg_ttl)
        return True

    async def purge_deletes(self, olderthan: int = 30 * 60) -> bool:
        """Removes what is left of deleted keys; recent markers stay.

        :param olderthan: seconds that a marker stays at least; 0 removes all of them.
        """
        watcher = await self.watchall()
        markers: dict[str, KeyValue.Entry] = {}
        try:
            async for entry in watcher._initial_entries():
                # A value may follow its marker if the consumer was replaced.
                markers.pop(entry.key, None)
                if entry.operation in (KV_DEL, KV_PURGE):
                    markers[entry.key] = entry
        finally:
            await watcher._delivery.end()
        for entry in markers.values():
            # A watcher gives a datetime, whatever nats-py's annotation says.
            created: Any = entry.created
            age: float = (datetime.datetime.now(datetime.timezone.utc) - created).total_seconds()
            subject = f"{self._pre}{entry.key}"
            if olderthan > 0 and olderthan > age:
                await self._js.purge_stream(self._stream, subject=subject, keep=1)
            else:
                # Up to the marker: a value may have been put since.
                seq = entry.revision + 1 if entry.revision else None
                await self._js.purge_stream(self._stream, seq=seq, subject=subject)
        return True

    async def status(self) -> KeyValue.BucketStatus:
        """Returns state and configuration of the bucket."""
        info = await self._js.stream_info(self._stream)
        return KeyValue.BucketStatus(stream_info=info, bucket=self._name)

    async def watchall(self, **kwargs: Any) -> KeyValue.KeyWatcher:
        """Watches all keys.

        :param kwargs: parameters of :meth:`watch`.
        """
        return await self.watch(">", **kwargs)

    async def keys(
        self,
        filters: Optional[list[str]] = None,
        **kwargs: Any,
    ) -> list[str]:
        """Returns the keys that have a value.

        :param filters: only keys that contain one of these texts.
        :param kwargs: accepted for compatibility, without effect.
        :raises nats.js.errors.NoKeysError: there are none.
        """
        watcher = await self.watchall(ignore_deletes=True, meta_only=True)
        try:
            keys = await watcher._collect_keys()
        finally:
            await watcher._delivery.end()
        if filters:
            keys = [key for key in keys if any(text in key for text in filters)]
        if not keys:
            details = f"bucket {self._name!r}" + (f", filters {filters}" if filters else "")
            raise with_details(NoKeysError(code=NOT_FOUND), details, bucket=self._name)
        return keys

    async def history(self, key: str) -> list[KeyValue.Entry]:
        """Returns all revisions and markers of a key that are kept, the oldest first.

        :param key: the key, perhaps with wildcards.
        :raises nats.js.errors.NoKeysError: there are none.
        """
        watcher = await self.watch(key, include_history=True)
        try:
            entries = [entry async for entry in watcher._initial_entries()]
        finally:
            await watcher._delivery.end()
        if not entries:
            raise self._about(NoKeysError(code=NOT_FOUND), key)
        return entries

    async def watch(
        self,
        keys: str,
        headers_only: bool = False,
        include_history: bool = False,
        ignore_deletes: bool = False,
        meta_only: bool = False,
        inactive_threshold: Optional[float] = None,
    ) -> KeyValue.KeyWatcher:
        """Watches keys: first the values that are there, then ``None``, then every update.

        :param keys: a key, perhaps with the wildcards ``*`` and ``>``.
        :param headers_only: accepted for compatibility, without effect; see ``meta_only``.
        :param include_history: all revisions that are kept, not just the latest ones.
        :param ignore_deletes: leave out markers of deleted keys.
        :param meta_only: entries without their values.
        :param inactive_threshold: seconds after which the server removes the consumer of a
            watcher that has gone away; five minutes if not given.
        """
        watcher = KeyValue.KeyWatcher(self)
        subject = f"{self._pre}{keys}"
        # Counted before the consumer delivers anything.
        initial = await count_initial_values(
            self._js, self._stream, subject, include_history, whole=keys == ">"
        )
        sub = await self._js.subscribe(
            subject,
            stream=self._stream,
            ordered_consumer=True,
            deliver_policy=None if include_history else api.DeliverPolicy.LAST_PER_SUBJECT,
            headers_only=meta_only,
            inactive_threshold=inactive_threshold or _INACTIVE_THRESHOLD,
        )
        entries = EntryFeed(
            sub._core, KeyValue.Entry, self._name, self._pre, ignore_deletes, initial
        )
        watcher._start(sub, entries, initial)
        return watcher
