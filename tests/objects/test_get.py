"""Getting objects: nothing but what was put, and never waiting for what won't come."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from nats import errors as core_errors
from nats.embedded import Server
from nats.js import _delivery, api, errors
from nats.js.object_store import ObjectStore
from support.connecting import Connect
from support.object_stores import store
from support.proxy import Proxy
from support.waiting import EAGER, eventually, within

pytestmark = pytest.mark.usefixtures("driver")

CHUNK = 1000
META = api.ObjectMetaOptions(max_chunk_size=CHUNK)


async def put(obs: ObjectStore, name: str, data: bytes) -> api.ObjectInfo:
    return await obs.put(name, data, api.ObjectMeta(options=META))


async def set_info(js: Any, info: api.ObjectInfo, **changes: Any) -> None:
    """Replace what is known of an object."""
    subject = "$O.B.M." + base64.urlsafe_b64encode(info.name.encode()).decode()
    data = json.dumps({**info.as_dict(), **changes}).encode()
    await js.publish(subject, data, headers={"Nats-Rollup": "sub"})


async def test_files(js_server: Server, connect: Connect, tmp_path: Path) -> None:
    _, obs = await store(connect)
    data = os.urandom(5_000_000)
    await obs.put("a", data)
    path = tmp_path / "file"
    with path.open("wb") as file:
        result = await obs.get("a", writeinto=file)
    assert (result.data, result.info.size) == (b"", len(data))
    assert path.read_bytes() == data
    with path.open("wb", buffering=0) as raw:
        await obs.get("a", raw)
    assert path.read_bytes() == data
    with path.open("w") as text:
        await obs.get("a", text)
    assert path.read_bytes() == data
    buffer = io.BytesIO()
    await obs.get("a", buffer)
    assert buffer.getvalue() == data


async def test_a_file_that_takes_less_than_it_is_given(js_server: Server, connect: Connect) -> None:
    taken = bytearray()

    class Reluctant(io.RawIOBase):
        def write(self, data: Any) -> int:
            taken.extend(data[:700])
            return min(len(data), 700)

    _, obs = await store(connect)
    data = os.urandom(10_000)
    await obs.put("a", data)
    await obs.get("a", Reluctant())
    assert taken == data


async def test_a_file_that_has_a_write_and_nothing_else(
    js_server: Server, connect: Connect
) -> None:
    class Writable:
        def __init__(self) -> None:
            self.pieces: list[bytes] = []

        def __len__(self) -> int:
            return len(self.pieces)

        def write(self, data: bytes) -> None:
            self.pieces.append(data)

    _, obs = await store(connect)
    await obs.put("a", b"text")
    file = Writable()
    await obs.get("a", file)
    assert file.pieces == [b"text"]


async def test_a_file_that_fails(js_server: Server, connect: Connect) -> None:
    class Full(io.RawIOBase):
        def write(self, data: Any) -> int:
            raise OSError("no space left")

    class Blocked(io.RawIOBase):
        def write(self, data: Any) -> None:
            return None

    js, obs = await store(connect)
    await obs.put("a", os.urandom(3_000_000))
    subscriptions = len(js._nc._subs)
    with pytest.raises(OSError, match="no space left"):
        await obs.get("a", Full())
    with pytest.raises(BlockingIOError):
        await obs.get("a", Blocked())
    assert len(js._nc._subs) == subscriptions


# Spoilt


@pytest.mark.parametrize("chunk", [0, 1, 2])
async def test_a_missing_chunk(js_server: Server, connect: Connect, chunk: int) -> None:
    js, obs = await store(connect)
    await put(obs, "a", os.urandom(3 * CHUNK))
    await js.delete_msg("OBJ_B", chunk + 1)
    with pytest.raises(errors.DigestMismatchError):
        await within(obs.get("a"))
    with pytest.raises(errors.DigestMismatchError):
        await within(obs.get("a", io.BytesIO()))


async def test_no_chunks_at_all(js_server: Server, connect: Connect) -> None:
    js, obs = await store(connect)
    info = await put(obs, "a", bytes(3 * CHUNK))
    await js.purge_stream("OBJ_B", subject=f"$O.B.C.{info.nuid}")
    subscriptions = len(js._nc._subs)
    with pytest.raises(errors.DigestMismatchError):
        await within(obs.get("a"))
    assert len(js._nc._subs) == subscriptions


@pytest.mark.parametrize("garbage", [b"", b"garbage"])
async def test_a_chunk_too_many(js_server: Server, connect: Connect, garbage: bytes) -> None:
    js, obs = await store(connect)
    info = await put(obs, "a", bytes(3 * CHUNK))
    await js.publish(f"$O.B.C.{info.nuid}", garbage)
    if garbage:
        with pytest.raises(errors.DigestMismatchError):
            await within(obs.get("a"))
    else:
        assert (await within(obs.get("a"))).data == bytes(3 * CHUNK)


async def test_a_chunk_that_was_replaced(js_server: Server, connect: Connect) -> None:
    js, obs = await store(connect)
    info = await put(obs, "a", bytes(3 * CHUNK))
    await js.delete_msg("OBJ_B", 3)
    await js.publish(f"$O.B.C.{info.nuid}", b"\1" * CHUNK)
    with pytest.raises(errors.DigestMismatchError):
        await within(obs.get("a"))


async def test_digests_and_sizes(js_server: Server, connect: Connect) -> None:
    js, obs = await store(connect)
    data = os.urandom(3 * CHUNK)
    info = await put(obs, "a", data)
    other = base64.urlsafe_b64encode(bytes(32)).decode()
    wrong: tuple[dict[str, Any], ...] = (
        {"digest": f"SHA-256={other}"},
        {"digest": f"SHA-256={other[:-3]}"},
        {"digest": "SHA-256="},
        {"digest": ""},
        {"digest": None},
        {"size": 3 * CHUNK - 1},
        {"size": 4 * CHUNK},
    )
    for changes in wrong:
        await set_info(js, info, **changes)
        with pytest.raises(errors.DigestMismatchError):
            await within(obs.get("a"))
    assert info.digest
    right: tuple[dict[str, Any], ...] = (
        {"digest": info.digest.replace("SHA", "sha")},
        {"size": None},
        {"more": "unknown"},
    )
    for changes in right:
        await set_info(js, info, **changes)
        assert (await within(obs.get("a"))).data == data
    await set_info(js, info, size=0)
    assert (await obs.get("a")).data == b""


async def test_an_object_that_is_deleted_while_it_is_read(
    js_server: Server, connect: Connect
) -> None:
    _, obs = await store(connect)
    started, go_on = threading.Event(), threading.Event()

    class Slow(io.RawIOBase):
        def write(self, data: Any) -> int:
            started.set()
            go_on.wait(10)
            return len(data)

    # More than the server sends ahead.
    await within(obs.put("a", bytes(100_000_000)), 30)
    get = asyncio.create_task(obs.get("a", Slow()))
    try:
        await eventually(started.is_set)
        await obs.delete("a")
    finally:
        go_on.set()
    with pytest.raises(errors.DigestMismatchError):
        await within(get, 30)


# Interrupted


async def test_cancelled(js_server: Server, connect: Connect) -> None:
    js, obs = await store(connect)
    data = os.urandom(4_000_000)
    await obs.put("a", data)
    subscriptions = len(js._nc._subs)
    for turns in range(0, 60, 3):
        get = asyncio.create_task(obs.get("a"))
        for _ in range(turns):
            await asyncio.sleep(0)
        if get.cancel():
            with pytest.raises(asyncio.CancelledError):
                await within(get)
        else:
            assert (await get).data == data
    assert len(js._nc._subs) == subscriptions
    assert (await obs.get("a")).data == data


async def test_the_consumer_is_removed(js_server: Server, connect: Connect) -> None:
    js, obs = await store(connect)
    await obs.put("a", b"content")
    await obs.get("a")
    await obs.list()

    async def count() -> int:
        return int((await js.stream_info("OBJ_B")).state.consumer_count)

    for _ in range(100):
        if await count() == 0:
            break
        await asyncio.sleep(0.1)
    assert await count() == 0


async def test_a_connection_that_closes(js_server: Server, connect: Connect) -> None:
    js, obs = await store(connect)
    loop = asyncio.get_running_loop()

    class Closing(io.RawIOBase):
        def write(self, data: Any) -> int:
            asyncio.run_coroutine_threadsafe(js._nc.close(), loop).result(10)
            return len(data)

    await within(obs.put("a", bytes(100_000_000)), 30)
    with pytest.raises(core_errors.ConnectionClosedError):
        await within(obs.get("a", Closing()))


async def test_a_server_that_restarts(js_server: Server, connect: Connect) -> None:
    js = (await connect(reconnect_time_wait=0.05)).jetstream()
    obs = await js.create_object_store("B")
    piece = os.urandom(1_000_000)
    await within(obs.put("a", piece * 60), 30)
    written = bytearray()

    class Restarting(io.RawIOBase):
        def write(self, data: Any) -> int:
            if not written:
                js_server.restart()
            written.extend(data)
            return len(data)

    await within(obs.get("a", Restarting()), 40)
    assert written == piece * 60


async def test_the_server_is_asked_when_it_is_back(
    js_server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_delivery, "_QUIET", 3600)
    _, obs = await store(connect)
    info = await put(obs, "a", bytes(3 * CHUNK))
    async with Proxy(js_server.url) as proxy:
        nc = await connect(proxy, max_reconnect_attempts=-1, **EAGER)
        js = nc.jetstream()
        subscribe = js.subscribe

        async def subscribe_and_disconnect(*args: Any, **options: Any) -> Any:
            await js.purge_stream("OBJ_B", subject=f"$O.B.C.{info.nuid}")
            sub = await subscribe(*args, **options)
            proxy.refuse = True
            proxy.cut()
            await eventually(lambda: nc.is_reconnecting)
            return sub

        monkeypatch.setattr(js, "subscribe", subscribe_and_disconnect)
        get = asyncio.ensure_future((await js.object_store("B")).get("a"))
        await eventually(lambda: nc.is_reconnecting)
        proxy.refuse = False
        with pytest.raises(errors.DigestMismatchError):
            await within(get)
        await nc.close()


async def test_a_store_that_is_deleted_while_an_object_is_read(
    js_server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    js, obs = await store(connect)
    info = await put(obs, "a", bytes(3 * CHUNK))
    subscribe = js.subscribe

    async def subscribe_late(*args: Any, **options: Any) -> Any:
        await js.purge_stream("OBJ_B", subject=f"$O.B.C.{info.nuid}")
        sub = await subscribe(*args, **options)
        await js.delete_object_store("B")
        return sub

    monkeypatch.setattr(js, "subscribe", subscribe_late)
    with pytest.raises(errors.NotFoundError):
        await within(obs.get("a"), 20)
