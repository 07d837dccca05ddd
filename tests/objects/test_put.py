"""Putting objects: from whatever holds them, and without traces if it doesn't work out."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import resource
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nats import errors as core_errors
from nats.embedded import Server
from nats.js import api, errors
from support.connecting import Connect
from support.object_stores import store
from support.waiting import eventually, within

pytestmark = pytest.mark.usefixtures("driver")

CHUNK = 128 * 1024
MiB = 1024 * 1024


async def messages(js: Any) -> int:
    """Return how many chunks, and how much of what is known of objects, the store has."""
    return int((await js.stream_info("OBJ_B")).state.messages)


def of_size(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 9 * MiB + 5])
async def test_sizes(js_server: Server, connect: Connect, size: int) -> None:
    _, obs = await store(connect)
    data = of_size(size)
    for content in (data, io.BytesIO(data)):
        info = await obs.put("a", content)
        assert (info.size, info.chunks) == (size, -(-size // CHUNK))
        result = await obs.get("a")
        assert result.data == data
        assert (result.info.size, result.info.chunks) == (info.size, info.chunks)


@pytest.mark.parametrize("chunk_size", [1, 999, 1000, 1001, 300_000])
async def test_sizes_of_chunks(js_server: Server, connect: Connect, chunk_size: int) -> None:
    js, obs = await store(connect)
    data = of_size(1000)
    meta = api.ObjectMeta(options=api.ObjectMetaOptions(max_chunk_size=chunk_size))
    for content in (data, io.BytesIO(data)):
        info = await obs.put("a", content, meta=meta)
        assert info.chunks == -(-1000 // chunk_size)
        assert info.options.max_chunk_size == chunk_size
        assert (await obs.get("a")).data == data
        assert await messages(js) == info.chunks + 1


@pytest.mark.parametrize("chunk_size", [None, 0])
async def test_chunks_without_size_have_the_usual_one(
    js_server: Server, connect: Connect, chunk_size: int | None
) -> None:
    _, obs = await store(connect)
    meta = api.ObjectMeta(options=api.ObjectMetaOptions(max_chunk_size=chunk_size))
    assert (await obs.put("a", bytes(CHUNK + 1), meta=meta)).chunks == 2
    meta = api.ObjectMeta(options=api.ObjectMetaOptions(max_chunk_size=-1))
    with pytest.raises(ValueError, match="negative"):
        await obs.put("a", b"x", meta=meta)


async def test_kinds_of_content(js_server: Server, connect: Connect, tmp_path: Path) -> None:
    _, obs = await store(connect)
    path = tmp_path / "file"
    path.write_bytes(b"content")
    with path.open("rb") as file, path.open() as text, path.open("rb", buffering=0) as raw:
        for content in (
            b"content",
            "content",
            bytearray(b"content"),
            memoryview(b"content"),
            memoryview(b"c o n t e n t ")[::2].tobytes(),
            io.BytesIO(b"content"),
            io.TextIOWrapper(io.BytesIO(b"content")),
            file,
            text,
            raw,
        ):
            assert (await obs.put("a", content)).size == 7
            assert (await obs.get("a")).data == b"content"
    assert (await obs.put("a", "täxt")).size == 5
    for wrong in (5, None, io.StringIO("x"), ["x"]):
        with pytest.raises(TypeError, match="nats: invalid type for object store"):
            await obs.put("b", wrong)
    assert [info.name for info in await obs.list()] == ["a"]


class Source(io.RawIOBase):
    """Gives a size of bytes in pieces and calls somebody before each of them."""

    def __init__(self, size: int, piece: int, before: Callable[[int], Any] = lambda _: None):
        self.left = size
        self.given = 0
        self._piece = piece
        self._before = before

    def readinto(self, buffer: Any) -> int:
        self._before(self.given)
        count = min(len(buffer), self._piece, self.left)
        buffer[:count] = bytes(count)
        self.left -= count
        self.given += count
        return count


async def test_a_file_that_gives_less_than_it_is_asked_for(
    js_server: Server, connect: Connect
) -> None:
    _, obs = await store(connect)
    info = await obs.put("a", Source(50_000, 7_000))
    assert (info.size, info.chunks) == (50_000, 8)
    assert (await obs.get("a")).data == bytes(50_000)


@pytest.mark.timeout(400)
async def test_files_take_little_memory(
    js_server: Server, connect: Connect, tmp_path: Path
) -> None:
    js = (await connect()).jetstream()
    obs = await js.create_object_store("B", storage="file")
    size = 96 * MiB
    # Whatever is allocated once for all: buffers and threads.
    await obs.put("a", Source(8 * MiB, MiB))
    with (tmp_path / "copy").open("wb") as file:
        await obs.get("a", writeinto=file)
    before = peak_memory()
    info = await within(obs.put("a", Source(size, MiB)), 120)
    assert (info.size, info.chunks) == (size, size // CHUNK)
    with (tmp_path / "copy").open("wb") as file:
        result = await within(obs.get("a", writeinto=file), 120)
    assert peak_memory() - before < size / 2
    assert result.data == b""
    assert (tmp_path / "copy").stat().st_size == size
    digest = hashlib.sha256(bytes(size)).digest()
    with (tmp_path / "copy").open("rb") as file:
        assert hashlib.sha256(file.read()).digest() == digest


def peak_memory() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


async def test_other_tasks_run_meanwhile(js_server: Server, connect: Connect) -> None:
    _, obs = await store(connect)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counter = asyncio.create_task(count())
    for action in (obs.put("a", bytes(32 * MiB)), obs.get("a")):
        turns = 0
        await action
        assert turns > 8
    counter.cancel()


async def test_several_at_once(js_server: Server, connect: Connect) -> None:
    _, obs = await store(connect)
    contents = {f"o{number}": os.urandom(100_000 * number) for number in range(16)}
    infos = await within(asyncio.gather(*(obs.put(*item) for item in contents.items())))
    assert [info.name for info in infos] == list(contents)
    results = await within(asyncio.gather(*(obs.get(name) for name in contents)))
    assert [result.data for result in results] == list(contents.values())


async def test_with_few_unacknowledged_messages_allowed(
    js_server: Server, connect: Connect
) -> None:
    js = (await connect()).jetstream(publish_async_max_pending=1)
    obs = await js.create_object_store("B", storage="memory")
    data = of_size(3 * MiB)
    await within(asyncio.gather(*(obs.put(name, data) for name in "abc")))
    assert (await obs.get("b")).data == data
    assert js.publish_async_pending() == 0


async def test_with_a_publish_of_the_applications_own(
    js_server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    js, obs = await store(connect)
    publish = js._nc.publish
    kinds: set[type] = set()

    async def spy(subject: str, payload: bytes = b"", **options: Any) -> None:
        kinds.add(type(payload))
        await publish(subject, payload, **options)

    monkeypatch.setattr(js._nc, "publish", spy)
    await obs.put("a", bytearray(MiB))
    await obs.put("a", io.BytesIO(bytes(MiB)))
    assert kinds == {bytes}


# Interrupted


async def test_a_file_that_fails(js_server: Server, connect: Connect) -> None:
    js, obs = await store(connect)
    await obs.put("a", b"old")

    def fail(given: int) -> None:
        if given >= 3 * MiB:
            raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        await within(obs.put("a", Source(8 * MiB, MiB, fail)))
    assert await messages(js) == 2
    assert (await obs.get("a")).data == b"old"
    assert js.publish_async_pending() == 0


async def test_a_file_that_would_block(js_server: Server, connect: Connect) -> None:
    js, obs = await store(connect)
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with io.FileIO(reading) as file, io.FileIO(writing, "w") as source:
        source.write(b"x" * 100)
        with pytest.raises(BlockingIOError):
            await within(obs.put("a", file))
    assert await messages(js) == 0


@pytest.mark.parametrize("at", [0, MiB, 6 * MiB])
async def test_cancelled_while_reading(js_server: Server, connect: Connect, at: int) -> None:
    js, obs = await store(connect)
    await obs.put("a", b"old")
    reached, go_on = threading.Event(), threading.Event()

    def wait(given: int) -> None:
        if given >= at:
            reached.set()
            go_on.wait(10)

    source = Source(8 * MiB, MiB, wait)
    put = asyncio.create_task(obs.put("a", source))
    try:
        await eventually(reached.is_set)
        put.cancel()
        with pytest.raises(asyncio.CancelledError):
            await within(put)
    finally:
        go_on.set()
    assert await messages(js) == 2
    assert (await obs.get("a")).data == b"old"
    assert js.publish_async_pending() == 0


async def test_cancelled_at_any_time(js_server: Server, connect: Connect) -> None:
    js, obs = await store(connect)
    await obs.put("a", b"old")
    data = of_size(6 * MiB)
    outcomes = set()
    for turns in range(0, 400, 7):
        put = asyncio.create_task(obs.put("a", data))
        for _ in range(turns):
            await asyncio.sleep(0)
        if put.cancel():
            with pytest.raises(asyncio.CancelledError):
                await within(put)
        result = await obs.get("a")
        done = result.data == data
        assert done or result.data == b"old"
        outcomes.add(done)
        assert await messages(js) == (len(data) // CHUNK if done else 1) + 1
        if done:
            await obs.put("a", b"old")
    assert False in outcomes
    assert js.publish_async_pending() == 0


async def test_cancelled_while_the_meta_data_are_stored(
    js_server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    js, obs = await store(connect)
    await obs.put("a", b"old")
    publish = js.publish
    reached = asyncio.Event()

    async def slow(*args: Any, **options: Any) -> Any:
        ack = await publish(*args, **options)
        reached.set()
        await asyncio.sleep(0.1)
        return ack

    monkeypatch.setattr(js, "publish", slow)
    put = asyncio.create_task(obs.put("a", b"new"))
    await within(reached.wait())
    put.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(put)
    # It was too late: the object is there, and the old one isn't.
    assert (await obs.get("a")).data == b"new"
    assert await messages(js) == 2


async def test_an_acknowledgement_of_meta_data_that_gets_lost(
    js_server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    js, obs = await store(connect)
    await obs.put("a", b"old")
    publish = js.publish

    async def lossy(*args: Any, **options: Any) -> Any:
        await publish(*args, **options)
        raise core_errors.TimeoutError

    monkeypatch.setattr(js, "publish", lossy)
    await obs.put("a", b"new")
    assert (await obs.get("a")).data == b"new"
    assert await messages(js) == 2


async def test_meta_data_that_are_refused(
    js_server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    js, obs = await store(connect)
    await obs.put("a", b"old")

    async def refuse(*args: Any, **options: Any) -> Any:
        raise errors.BadRequestError(code=400, description="no")

    monkeypatch.setattr(js, "publish", refuse)
    with pytest.raises(errors.BadRequestError):
        await obs.put("a", bytes(MiB))
    assert await messages(js) == 2
    assert (await obs.get("a")).data == b"old"


async def test_a_store_that_is_full(js_server: Server, connect: Connect) -> None:
    js, obs = await store(connect, max_bytes=4 * MiB)
    await obs.put("a", b"old")
    for content in (bytes(16 * MiB), Source(16 * MiB, MiB)):
        with pytest.raises(errors.APIError) as caught:
            await within(obs.put("a", content))
        assert caught.value.err_code == 10077
        assert await messages(js) == 2
    assert (await obs.get("a")).data == b"old"
    assert js.publish_async_pending() == 0
    await obs.put("a", bytes(MiB))
    assert (await obs.get("a")).data == bytes(MiB)


async def test_chunks_that_are_too_large(js_server: Server, connect: Connect) -> None:
    js, obs = await store(connect)
    meta = api.ObjectMeta(options=api.ObjectMetaOptions(max_chunk_size=2 * MiB))
    with pytest.raises(core_errors.MaxPayloadError):
        await obs.put("a", bytes(2 * MiB), meta=meta)
    assert await messages(js) == 0


async def test_acknowledgements_that_never_come(
    js_server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    js = (await connect()).jetstream(timeout=0.3)
    obs = await js.create_object_store("B", storage="memory")

    async def never(*args: Any, **options: Any) -> Any:
        return asyncio.get_running_loop().create_future()

    monkeypatch.setattr(js, "publish_async", never)
    with pytest.raises(core_errors.TimeoutError):
        await within(obs.put("a", b"x"))
    assert await messages(js) == 0


async def test_a_connection_that_closes(js_server: Server, connect: Connect) -> None:
    js, obs = await store(connect)

    def close(given: int) -> None:
        if given >= 2 * MiB:
            asyncio.run_coroutine_threadsafe(js._nc.close(), loop).result(10)

    loop = asyncio.get_running_loop()
    with pytest.raises(core_errors.ConnectionClosedError):
        await within(obs.put("a", Source(8 * MiB, MiB, close)))


async def test_a_server_that_restarts(js_server: Server, connect: Connect) -> None:
    js = (await connect(reconnect_time_wait=0.1)).jetstream(timeout=3)
    obs = await js.create_object_store("B")
    await obs.put("a", b"old")

    def restart(given: int) -> None:
        if given == 4 * MiB:
            js_server.restart()

    with pytest.raises(core_errors.Error):
        await within(obs.put("a", Source(16 * MiB, MiB, restart)), 30)
    assert await messages(js) == 2
    assert (await obs.get("a")).data == b"old"
