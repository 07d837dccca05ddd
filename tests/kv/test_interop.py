"""Buckets that are shared with an independent client: async-nats."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from nats.embedded import Server
from nats.js import api, errors
from support.connecting import Connect
from support.peer import command
from support.waiting import within

CHUNK = 128 * 1024
SIZES = (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3_000_001)


async def peer(server: Server, mode: str, *options: str) -> Any:
    """Have the other client do something with the bucket B, and return what it reports."""
    words = command(mode, server, "--bucket", "B", *options)
    run = asyncio.to_thread(subprocess.run, words, capture_output=True, text=True, timeout=30)
    done = await within(run, 30)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# Object stores


async def test_the_peer_gets_our_objects(
    js_server: Server, connect: Connect, tmp_path: Path
) -> None:
    obs = await (await connect()).jetstream().create_object_store("B", storage="memory")
    copy = tmp_path / "copy"
    for size in SIZES:
        data = os.urandom(size)
        info = await obs.put("ä b/c", data, api.ObjectMeta(description="text"))
        theirs = await peer(js_server, "object-get", "--name", "ä b/c", "--file", str(copy))
        assert theirs == {
            "name": "ä b/c",
            "description": "text",
            "size": size,
            "chunks": info.chunks,
            "digest": info.digest,
            "deleted": False,
        }
        assert copy.read_bytes() == data


async def test_we_get_objects_of_the_peer(
    js_server: Server, connect: Connect, tmp_path: Path
) -> None:
    await peer(js_server, "object-create")
    obs = await (await connect()).jetstream().object_store("B")
    original = tmp_path / "original"
    put = ["object-put", "--name", "ä b/c", "--description", "text", "--file", str(original)]
    for chunk_size in (CHUNK, 50_000):
        for size in SIZES:
            original.write_bytes(os.urandom(size))
            theirs = await peer(js_server, *put, "--chunk-size", str(chunk_size))
            result = await obs.get("ä b/c")
            assert result.data == original.read_bytes()
            info = result.info
            assert (info.name, info.description, info.size) == ("ä b/c", "text", size)
            assert (info.chunks, info.digest) == (theirs["chunks"], theirs["digest"])
            assert info.options == api.ObjectMetaOptions(max_chunk_size=chunk_size)
    assert [info.name for info in await obs.list()] == ["ä b/c"]


async def test_objects_deleted_on_either_side(
    js_server: Server, connect: Connect, tmp_path: Path
) -> None:
    js = (await connect()).jetstream()
    obs = await js.create_object_store("B", storage="memory")
    for name in ("ours", "theirs", "stays"):
        await obs.put(name, name)
    await obs.delete("ours")
    theirs = await peer(js_server, "object-delete", "--name", "theirs")
    assert (theirs["deleted"], theirs["size"]) == (True, 0)
    with pytest.raises(errors.ObjectNotFoundError):
        await obs.get("theirs")
    assert (await obs.get_info("theirs", show_deleted=True)).deleted
    info = await peer(js_server, "object-info", "--name", "ours")
    assert (info["name"], info.get("deleted")) == ("ours", True)
    listed = (await peer(js_server, "object-list"))["objects"]
    assert [item["name"] for item in listed] == ["stays"]
    assert [info.name for info in await obs.list(ignore_deletes=True)] == ["stays"]
    stream = await js.stream_info("OBJ_B", subjects_filter="$O.B.C.>")
    assert len(stream.state.subjects) == 1


async def test_objects_replaced_on_the_other_side(
    js_server: Server, connect: Connect, tmp_path: Path
) -> None:
    js = (await connect()).jetstream()
    obs = await js.create_object_store("B", storage="memory")
    file = tmp_path / "file"
    file.write_bytes(b"theirs" * 100_000)
    await obs.put("a", b"ours" * 100_000)
    await peer(js_server, "object-put", "--name", "a", "--file", str(file))
    assert (await obs.get("a")).data == file.read_bytes()
    await obs.put("a", b"ours again")
    await peer(js_server, "object-get", "--name", "a", "--file", str(file))
    assert file.read_bytes() == b"ours again"
    stream = await js.stream_info("OBJ_B")
    assert stream.state.messages == 2


async def test_links_on_either_side(js_server: Server, connect: Connect, tmp_path: Path) -> None:
    obs = await (await connect()).jetstream().create_object_store("B", storage="memory")
    await obs.put("target", b"content")
    await peer(js_server, "object-link", "--name", "their link", "--to", "target")
    assert (await obs.get("their link")).data == b"content"
    link = api.ObjectMetaOptions(link=api.ObjectLink(bucket="B", name="target"))
    await obs.put("our link", b"", api.ObjectMeta(options=link))
    copy = tmp_path / "copy"
    await peer(js_server, "object-get", "--name", "our link", "--file", str(copy))
    assert copy.read_bytes() == b"content"


async def test_a_changed_description_at_the_peer(js_server: Server, connect: Connect) -> None:
    obs = await (await connect()).jetstream().create_object_store("B", storage="memory")
    await obs.put("a", b"content")
    await obs.update_meta("a", api.ObjectMeta(name="a", description="new"))
    info = await peer(js_server, "object-info", "--name", "a")
    assert (info["description"], info["size"]) == ("new", 7)


# Key-value buckets


async def test_the_peer_reads_our_keys(js_server: Server, connect: Connect) -> None:
    js = (await connect()).jetstream()
    kv = await js.create_key_value(bucket="B", history=5, storage="memory")
    revision = await kv.put("a", "grüße".encode())
    seen = await peer(js_server, "kv-get", "--key", "a")
    assert seen == {"value": "grüße", "revision": revision, "operation": "Put"}
    assert await peer(js_server, "kv-get", "--key", "unknown") is None
    await kv.put("b", b"")
    assert await peer(js_server, "kv-keys") == {"keys": ["a", "b"]}
    await kv.delete("a")
    assert (await peer(js_server, "kv-get", "--key", "a"))["operation"] == "Delete"
    await kv.purge("b")
    assert (await peer(js_server, "kv-get", "--key", "b"))["operation"] == "Purge"
    # It has no keys now, which async-nats reports as an empty list.
    assert await peer(js_server, "kv-keys") == {"keys": []}


async def test_we_read_keys_of_the_peer(js_server: Server, connect: Connect) -> None:
    await peer(js_server, "kv-create", "--history", "5")
    kv = await (await connect()).jetstream().key_value("B")
    put = await peer(js_server, "kv-put", "--key", "a", "--payload", "grüße")
    entry = await kv.get("a")
    assert (entry.value, entry.revision) == ("grüße".encode(), put["revision"])
    assert entry.key == "a"
    watcher = await kv.watchall()
    assert (await watcher.updates()).value == "grüße".encode()
    assert await watcher.updates() is None
    await peer(js_server, "kv-put", "--key", "b")
    assert (await watcher.updates()).key == "b"
    await peer(js_server, "kv-delete", "--key", "a")
    assert (await watcher.updates()).operation == "DEL"
    await peer(js_server, "kv-purge", "--key", "b")
    assert (await watcher.updates()).operation == "PURGE"
    for key in ("a", "b"):
        with pytest.raises(errors.KeyNotFoundError):
            await kv.get(key)
    assert [entry.operation for entry in await kv.history("a")] == [None, "DEL"]
    revision = await kv.create("a", b"again")
    assert (await peer(js_server, "kv-get", "--key", "a"))["revision"] == revision
