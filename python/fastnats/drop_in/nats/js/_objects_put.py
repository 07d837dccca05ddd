"""Writing the content of objects."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Optional, TypeVar, Union, cast

from nats import errors
from nats.aio._waits import retrieve
from nats.js import api

if TYPE_CHECKING:
    from .client import JetStreamContext

_T = TypeVar("_T")

# Bytes and chunks of one object that may be unacknowledged.
_MAX_BYTES = 4 * 1024 * 1024
_MAX_CHUNKS = 256
# Bytes from which on a thread hashes a block while it is published.
_HASHED_BESIDE = 1024 * 1024
# Bytes read from a file at once, if several chunks fit in.
_BLOCK = 1024 * 1024

_ReadInto = Callable[[bytearray], Optional[int]]
_Block = Union[bytes, "memoryview[int]"]


def content_of(data: Any) -> Union[_Block, _ReadInto]:
    """Returns the content to store: bytes, or the function that reads them from a file object.

    :raises TypeError: it is neither text nor bytes nor a file object.
    """
    if isinstance(data, str):
        return data.encode()
    if isinstance(data, bytes):
        return data
    if isinstance(data, (bytearray, memoryview)):
        return memoryview(cast("bytearray", data)).cast("B")
    # A text file has its bytes underneath.
    if not hasattr(data, "readinto"):
        data = getattr(data, "buffer", None)
    if not hasattr(data, "readinto"):
        raise TypeError("nats: invalid type for object store")
    readinto: _ReadInto = data.readinto
    return readinto


async def blocks_of(
    content: Union[_Block, _ReadInto], chunk_size: int
) -> AsyncGenerator[_Block, None]:
    """Yields the content in blocks of whole chunks, unless a file returns less than it is asked
    for. A block is valid until the next one is requested.

    :param chunk_size: bytes.
    :raises BlockingIOError: the file is in non-blocking mode, and has nothing to read.
    """
    if not callable(content):
        yield content
        return
    run = asyncio.get_running_loop().run_in_executor
    buffer = bytearray(chunk_size * max(_BLOCK // chunk_size, 1))
    while (count := await run(None, content, buffer)) != 0:
        if count is None:
            raise BlockingIOError("nats: the file has nothing to read without blocking")
        with memoryview(buffer)[:count] as block:
            yield block


async def run_to_end(work: Coroutine[Any, Any, _T]) -> _T:
    """Awaits work that must not stop halfway: even a cancelled caller waits for its end."""
    task = asyncio.get_running_loop().create_task(work)
    try:
        await asyncio.wait((task,))
    except asyncio.CancelledError:
        await asyncio.wait((task,))
        retrieve(task)
        raise
    return task.result()


class ChunkPublisher:
    """Publishes the chunks of one object, without waiting for each acknowledgement.

    ``size`` (bytes), ``count`` and ``digest`` (SHA-256) are those of the chunks published so far.

    :param subject: that of the chunks.
    :param chunk_size: bytes.
    """

    def __init__(self, js: JetStreamContext, subject: str, chunk_size: int) -> None:
        self.subject = subject
        self.size = 0
        self.count = 0
        self._js = js
        self._chunk_size = chunk_size
        self._hasher = hashlib.sha256()
        self._acks: deque[tuple[asyncio.Future[api.PubAck], int]] = deque()
        self._unacknowledged = 0

    @property
    def digest(self) -> bytes:
        return self._hasher.digest()

    async def publish(self, block: _Block) -> None:
        """Publishes a block in chunks; waits while too much is unacknowledged.

        :raises nats.js.errors.Error: a chunk was refused.
        :raises nats.errors.TimeoutError: a chunk wasn't acknowledged in time.
        """
        if isinstance(block, bytes) and len(block) >= _HASHED_BESIDE:
            # Bytes can't change meanwhile, and hashing releases the GIL.
            run = asyncio.get_running_loop().run_in_executor
            hashing = run(None, self._hasher.update, block)
            await self._publish_chunks(block)
            await hashing
        else:
            await self._publish_chunks(block, self._hasher.update)

    async def _publish_chunks(
        self, block: _Block, hash_chunk: Optional[Callable[[bytes], None]] = None
    ) -> None:
        js = self._js
        for start in range(0, len(block), self._chunk_size):
            # If a `bytes` object is one chunk as a whole, nothing is copied here.
            chunk = bytes(block[start : start + self._chunk_size])
            if hash_chunk is not None:
                hash_chunk(chunk)
            self.size += len(chunk)
            self.count += 1
            ack = await js.publish_async(self.subject, chunk, wait_stall=js._timeout)
            self._acks.append((ack, len(chunk)))
            self._unacknowledged += len(chunk)
            if self._unacknowledged >= _MAX_BYTES or len(self._acks) >= _MAX_CHUNKS:
                # Down to half of it, so that not every chunk costs a wake-up.
                await self._settle(_MAX_BYTES // 2, _MAX_CHUNKS // 2)

    async def finish(self) -> None:
        """Waits until every chunk is acknowledged.

        :raises nats.errors.Error: as :meth:`publish`.
        """
        await self._settle(0, 0)

    async def _settle(self, max_bytes: int, max_chunks: int) -> None:
        acks = self._acks
        while len(acks) > max_chunks or self._unacknowledged > max_bytes:
            ack, size = acks[0]
            if not ack.done():
                await asyncio.wait((ack,), timeout=self._js._timeout)
                if not ack.done():
                    raise errors.TimeoutError
            acks.popleft()
            self._unacknowledged -= size
            ack.result()

    async def discard(self, stream: str) -> None:
        """Removes the chunks from the stream."""
        for ack, _ in self._acks:
            if not ack.cancel():
                retrieve(ack)
        self._acks.clear()
        if self.count:
            # A purge can overtake messages, and after a reconnect acknowledgements may be missing.
            # Once this message is acknowledged, those before it have been handled, too.
            try:
                await self._js.publish(self.subject)
            except errors.Error:
                pass
        await self._js.purge_stream(stream, subject=self.subject)
