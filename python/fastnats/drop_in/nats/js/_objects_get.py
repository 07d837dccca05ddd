"""Reading the content of objects."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional

from nats._core import ObjectReader
from nats._texts import with_details
from nats.js import api
from nats.js.errors import DigestMismatchError

from ._delivery import Delivery

if TYPE_CHECKING:
    from .client import JetStreamContext

# Bytes taken at once, before they are written or other tasks get a turn.
_PIECE = 1024 * 1024

Write = Callable[[bytes], Any]


def writer_of(file: Any) -> Write:
    """Returns the function that writes bytes to a file object, which may be a text file."""
    file = getattr(file, "buffer", file)
    if isinstance(file, io.RawIOBase):
        return lambda data: _write_all(file, data)
    write: Write = file.write
    return write


def _write_all(file: io.RawIOBase, data: bytes) -> None:
    """Writes all of the data to a file without a buffer, which may take a part at a time."""
    rest = memoryview(data)
    while rest:
        count = file.write(rest)
        if count is None:
            raise BlockingIOError("nats: the file takes no more without blocking")
        rest = rest[count:]


async def read_content(
    js: JetStreamContext, subject: str, info: api.ObjectInfo, write: Optional[Write]
) -> bytes:
    """Returns the content of an object; if it is written in pieces, returns nothing.

    :param subject: that of the object's chunks.
    :param info: the meta data of the object.
    :param write: writes a piece of the content.
    :raises nats.js.errors.DigestMismatchError: the content has another size or digest than the
        meta data say.
    """
    sub = await js.subscribe(subject, ordered_consumer=True)
    delivery = Delivery(sub)
    try:
        reader = ObjectReader(sub._core, info.size)
        size = await _read(reader, delivery, write)
    finally:
        await delivery.end()
    if info.size not in (size, None) or not _is_digest(info.digest, reader.digest()):
        details = f"object {info.name!r} of store {info.bucket!r}, {size} of {info.size} bytes"
        raise with_details(DigestMismatchError(), details)
    return b"" if write else reader.take()


async def _read(reader: ObjectReader, delivery: Delivery, write: Optional[Write]) -> int:
    """Reads until nothing is left; returns how many bytes there were."""
    loop = asyncio.get_running_loop()
    size = 0
    while not reader.is_complete:
        count = reader.pull(_PIECE)
        size += count
        if count and write:
            await loop.run_in_executor(None, write, reader.take())
        elif count >= _PIECE:
            await asyncio.sleep(0)
        elif not reader.is_complete:
            if delivery.has_ended:
                raise delivery.closed_error()
            if not await delivery.wait():
                break
    return size


def _is_digest(text: Optional[str], digest: bytes) -> bool:
    """Whether text such as `SHA-256=<URL-safe base64>` (ADR-20) stands for the digest."""
    try:
        return base64.urlsafe_b64decode((text or "").partition("=")[2]) == digest
    except ValueError:
        return False
