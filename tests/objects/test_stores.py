"""Object stores with a real server: what their methods do, and the errors they raise."""

from __future__ import annotations

import asyncio
import base64
import collections.abc
import json
from pathlib import Path
from typing import Any

import pytest
from nats import errors as core_errors
from nats.embedded import Server
from nats.js import api, errors
from nats.js.object_store import ObjectStore
from support.connecting import Connect
from support.object_stores import store
from support.waiting import eventually, within


async def messages(js: Any, subjects: str = "$O.B.C.>") -> int:
    """Return how many messages the stream of B has for subjects: by default chunks."""
    info = await js.stream_info("OBJ_B", subjects_filter=subjects)
    return sum((info.state.subjects or {}).values())


async def set_meta(js: Any, name: str, data: bytes) -> None:
    subject = "$O.B.M." + base64.urlsafe_b64encode(name.encode()).decode()
    await js.publish(subject, data, headers={"Nats-Rollup": "sub"})


async def test_status(js_server: Server, connect: Connect) -> None:
    js = (await connect()).jetstream()
    obs = await js.create_object_store("S-1", description="text", ttl=60, storage="memory")
    await obs.put("a", b"12345")
    status = await obs.status()
    assert isinstance(status, ObjectStore.ObjectStoreStatus)
    assert (status.bucket, status.description, status.ttl) == ("S-1", "text", 60)
    assert (status.storage_type, status.replicas, status.sealed) == ("memory", 1, False)
    assert status.size > 5
    assert status.stream_info.config.name == "OBJ_S-1"
    with pytest.raises(AttributeError):
        status.bucket = "other"  # type: ignore[misc]


async def test_opening_and_deleting(js_server: Server, connect: Connect) -> None:
    js, obs = await store(connect)
    await obs.put("a", b"1")
    again = await js.object_store("B")
    assert (await again.get("a")).data == b"1"
    assert await js.delete_object_store("B") is True
    with pytest.raises(errors.BucketNotFoundError):
        await js.object_store("B")
    with pytest.raises(errors.InvalidBucketNameError):
        await js.object_store("not valid")
    with pytest.raises(errors.ObjectNotFoundError):
        await obs.get("a")
    with pytest.raises(errors.NotFoundError):
        await obs.put("a", b"1")
    with pytest.raises(errors.NotFoundError):
        await obs.list()
    with pytest.raises(errors.NotFoundError):
        await obs.status()


async def test_what_is_known_of_an_object(js_server: Server, connect: Connect) -> None:
    _, obs = await store(connect)
    meta = api.ObjectMeta(name="other", description="text", headers={"a": "b"})
    put = await obs.put("name", b"12345", meta=meta)
    info = await obs.get_info("name")
    assert (info.name, info.bucket, info.description) == ("name", "B", "text")
    assert (info.size, info.chunks, info.headers) == (5, 1, {"a": "b"})
    assert info.digest == "SHA-256=WZRHGrsBESr8wYFZ9sx0tPURuZgG2lmzyvWpwXPKz8U="
    assert info.options == api.ObjectMetaOptions(max_chunk_size=128 * 1024)
    assert info.nuid == put.nuid
    assert info.mtime
    assert not info.deleted
    assert meta.name == "name"
    assert (await obs.put("", b"", meta=meta)).name == "name"
    with pytest.raises(errors.ObjectNotFoundError):
        await obs.get_info("other")


@pytest.mark.parametrize("name", ["a b", "ä/ö\n", "a.b.>", "x" * 100, "*", " ", "日本"])
async def test_names(js_server: Server, connect: Connect, name: str) -> None:
    _, obs = await store(connect)
    await obs.put(name, name)
    result = await obs.get(name)
    assert (result.info.name, result.data) == (name, name.encode())
    await obs.delete(name)
    assert [(info.name, info.deleted) for info in await obs.list()] == [(name, True)]


async def test_replacing(js_server: Server, connect: Connect) -> None:
    js, obs = await store(connect)
    first = await obs.put("a", b"first" * 100_000)
    second = await obs.put("a", b"second")
    assert first.nuid != second.nuid
    assert (await obs.get("a")).data == b"second"
    assert await messages(js) == 1
    assert len(await obs.list()) == 1


async def test_deleting(js_server: Server, connect: Connect) -> None:
    js, obs = await store(connect)
    await obs.put("a", b"1")
    await obs.delete("a")
    assert await messages(js) == 0
    for gone in (obs.get("a"), obs.get_info("a"), obs.delete("a"), obs.delete("unknown")):
        with pytest.raises(errors.ObjectNotFoundError):
            await gone
    info = await obs.get_info("a", show_deleted=True)
    assert (info.deleted, info.size, info.chunks, info.digest) == (True, 0, 0, "")
    result = await obs.get("a", show_deleted=True)
    assert (result.data, result.info.deleted) == (b"", True)
    await obs.put("a", b"again")
    assert (await obs.get("a")).data == b"again"


@pytest.mark.parametrize("stored", [False, True])
async def test_deleting_without_an_acknowledgement(
    js_server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch, stored: bool
) -> None:
    """An object is deleted or whole, and never there without its content."""
    js, obs = await store(connect)
    await obs.put("a", b"old")
    publish = js.publish

    async def lossy(*args: Any, **options: Any) -> Any:
        if stored:
            await publish(*args, **options)
        raise core_errors.TimeoutError

    monkeypatch.setattr(js, "publish", lossy)
    if stored:
        await obs.delete("a")
        with pytest.raises(errors.ObjectNotFoundError):
            await obs.get("a")
        # Its content went with it.
        assert (await obs.status()).stream_info.state.messages == 1
    else:
        with pytest.raises(core_errors.TimeoutError):
            await obs.delete("a")
        assert (await obs.get("a")).data == b"old"


async def test_results_can_be_read_in_several_ways(js_server: Server, connect: Connect) -> None:
    _, obs = await store(connect)
    data = bytes(range(256)) * 2000
    await obs.put("a", data)
    result = await obs.get("a")
    for _ in range(2):
        assert await result.read() == data
        pieces = [piece async for piece in result]
        assert b"".join(pieces) == data
        assert len(pieces) > 1
    assert result == ObjectStore.ObjectResult(info=result.info, data=data)
    empty = ObjectStore.ObjectResult(result.info)
    assert (empty.data, await empty.read(), [piece async for piece in empty]) == (b"", b"", [])
    assert await ObjectStore.ObjectResult(result.info, None).read() == b""


async def test_listing(js_server: Server, connect: Connect) -> None:
    js, obs = await store(connect)
    with pytest.raises(errors.NotFoundError):
        await obs.list()
    for name in ("b", "a", "b", "c"):
        await obs.put(name, name)
    await obs.delete("c")
    subscriptions = len(js._nc._subs)
    assert [info.name for info in await obs.list()] == ["a", "b", "c"]
    assert [info.name for info in await obs.list(ignore_deletes=True)] == ["a", "b"]
    listing: Any = obs.list()
    assert [info.name async for info in listing] == ["a", "b", "c"]
    listing = obs.list()
    assert isinstance(listing, collections.abc.Coroutine)
    assert len(await asyncio.create_task(listing)) == 3
    assert [len(infos) for infos in await asyncio.gather(obs.list(), obs.list(True))] == [3, 2]
    assert len(await asyncio.wait_for(obs.list(), 5)) == 3
    assert len(js._nc._subs) == subscriptions


async def test_listing_many(js_server: Server, connect: Connect) -> None:
    js, obs = await store(connect)
    names = [f"object {number}" for number in range(1000)]
    info = api.ObjectInfo(name="", bucket="B", nuid="x", size=0)
    for name in names:
        info.name = name
        await set_meta(js, name, json.dumps(info.as_dict()).encode())
    assert [info.name for info in await within(obs.list())] == names


async def test_listing_with_meta_data_that_make_no_sense(
    js_server: Server, connect: Connect
) -> None:
    reported: list[Exception] = []

    async def error_cb(error: Exception) -> None:
        reported.append(error)

    js = (await connect(error_cb=error_cb)).jetstream()
    obs = await js.create_object_store("B", storage="memory")
    await obs.put("a", b"1")
    # The last of them says that there are no more.
    await set_meta(js, "b", b"no JSON")
    assert [info.name for info in await within(obs.list())] == ["a"]
    assert [type(error) for error in reported] == [json.JSONDecodeError]


@pytest.mark.parametrize("data", [b"no JSON", b"{}", b"[]", b""])
async def test_meta_data_that_make_no_sense(
    js_server: Server, connect: Connect, data: bytes
) -> None:
    js, obs = await store(connect)
    await set_meta(js, "a", data)
    for action in (obs.get_info("a"), obs.get("a"), obs.delete("a"), obs.put("a", b"")):
        with pytest.raises(errors.BadObjectMetaError):
            await action


async def test_an_object_without_chunk_subject(js_server: Server, connect: Connect) -> None:
    js, obs = await store(connect)
    info = await obs.put("a", b"1")
    info.nuid = ""
    await set_meta(js, "a", json.dumps(info.as_dict()).encode())
    for action in (obs.get("a"), obs.delete("a")):
        with pytest.raises(errors.BadObjectMetaError):
            await action


async def test_changing_descriptions(js_server: Server, connect: Connect) -> None:
    _, obs = await store(connect)
    await obs.put("a", b"1")
    meta = api.ObjectMeta(name="a", description="new", headers={"x": "y"})
    await obs.update_meta("a", meta)
    result = await obs.get("a")
    assert (result.info.description, result.info.headers, result.data) == ("new", {"x": "y"}, b"1")
    with pytest.raises(errors.ObjectAlreadyExists):
        await obs.update_meta("a", api.ObjectMeta(name="b"))
    with pytest.raises(errors.ObjectDeletedError):
        await obs.update_meta("unknown", meta)
    await obs.delete("a")
    with pytest.raises(errors.ObjectDeletedError):
        await obs.update_meta("a", meta)


async def test_sealing(js_server: Server, connect: Connect) -> None:
    _, obs = await store(connect)
    await obs.put("a", b"1")
    await obs.seal()
    assert (await obs.status()).sealed
    assert (await obs.get("a")).data == b"1"
    for action in (
        obs.put("b", b"2"),
        obs.delete("a"),
        obs.update_meta("a", api.ObjectMeta(name="a")),
    ):
        with pytest.raises(errors.APIError):
            await action
    assert (await obs.get("a")).data == b"1"


async def test_links(js_server: Server, connect: Connect, tmp_path: Path) -> None:
    js, obs = await store(connect)
    other = await js.create_object_store("C", storage="memory")
    await other.put("target", b"far away")
    await obs.put("near", b"near")

    async def link(name: str, bucket: str, target: str | None = None) -> None:
        options = api.ObjectMetaOptions(link=api.ObjectLink(bucket=bucket, name=target))
        info = await obs.put(name, b"", api.ObjectMeta(options=options))
        assert info.is_link()

    await link("to near", "B", "near")
    await link("to far", "C", "target")
    await link("to link", "B", "to far")
    await link("to store", "C")
    await link("to nothing", "C", "nothing")
    await link("to no store", "D", "x")
    assert (await obs.get("to near")).data == b"near"
    for name in ("to far", "to link"):
        result = await obs.get(name)
        assert (result.data, result.info.name) == (b"far away", "target")
    with (tmp_path / "copy").open("wb") as file:
        assert (await obs.get("to link", writeinto=file)).data == b""
    assert (tmp_path / "copy").read_bytes() == b"far away"
    with pytest.raises(errors.LinkIsABucketError):
        await obs.get("to store")
    with pytest.raises(errors.ObjectNotFoundError):
        await obs.get("to nothing")
    with pytest.raises(errors.BucketNotFoundError):
        await obs.get("to no store")


@pytest.mark.parametrize("target", ["me", None, ""])
async def test_a_link_to_itself_is_refused(
    target: str | None, js_server: Server, connect: Connect
) -> None:
    """To its own store is as bad: neither leads to an object."""
    _, obs = await store(connect)
    await obs.put("me", b"content")
    options = api.ObjectMetaOptions(link=api.ObjectLink("B", target))
    with pytest.raises(
        errors.BadObjectMetaError, match=r"'me' of store 'B' would be a link to itself"
    ):
        await obs.put("me", b"", api.ObjectMeta(options=options))
    assert (await obs.get("me")).data == b"content"


async def test_links_in_a_circle_lead_nowhere(js_server: Server, connect: Connect) -> None:
    js, obs = await store(connect)
    other = await js.create_object_store("C", storage="memory")
    for here, name, bucket, target in (
        (obs, "a", "C", "b"),
        (other, "b", "B", "c"),
        (obs, "c", "C", "b"),
    ):
        options = api.ObjectMetaOptions(link=api.ObjectLink(bucket, target))
        await here.put(name, b"", api.ObjectMeta(options=options))
    for name in ("a", "c"):
        with pytest.raises(errors.BadObjectMetaError, match="leads back to itself"):
            await obs.get(name)


async def test_a_configuration_object_stays_as_it_is(js_server: Server, connect: Connect) -> None:
    js = (await connect()).jetstream()
    config = api.ObjectStoreConfig(bucket="B", storage=api.StorageType.MEMORY)
    assert (await js.create_object_store(config=config))._name == "B"
    assert (await js.create_object_store("C", config))._name == "C"
    assert config == api.ObjectStoreConfig(bucket="B", storage=api.StorageType.MEMORY)


# Watchers


async def test_watching(js_server: Server, connect: Connect) -> None:
    _, obs = await store(connect)
    for name in ("a", "b", "a"):
        await obs.put(name, name)
    await obs.delete("b")
    watchers = {
        "all": await obs.watch(),
        "not deleted": await obs.watch(ignore_deletes=True),
        "history": await obs.watch(include_history=True),
        "meta": await obs.watch(meta_only=True),
        "updates": await obs.watch(updates_only=True),
    }

    async def read(name: str) -> list[Any]:
        names: list[Any] = []
        while True:
            try:
                info = await watchers[name].updates(timeout=0.2)
            except core_errors.TimeoutError:
                return names
            names.append(info and ("-" if info.deleted else "+") + info.name)

    assert await read("all") == ["+a", "-b", None]
    assert await read("not deleted") == ["+a", None]
    assert await read("history") == ["+a", "-b", None]
    assert await read("meta") == ["+a", "-b", None]
    assert await read("updates") == []
    await obs.put("c", b"")
    await obs.delete("a")
    for name in watchers:
        assert await read(name) == (["+c"] if name == "not deleted" else ["+c", "-a"])
        await watchers[name].stop()


async def test_watching_an_empty_store(js_server: Server, connect: Connect) -> None:
    _, obs = await store(connect)
    watcher = await obs.watch()
    assert await watcher.updates() is None
    await obs.put("a", b"1")
    assert (await watcher.updates()).name == "a"
    silent = await obs.watch(updates_only=True)
    with pytest.raises(core_errors.TimeoutError):
        await silent.updates(0.05)


async def test_iterating_over_a_watcher_ends_when_it_stops(
    js_server: Server, connect: Connect
) -> None:
    _, obs = await store(connect)
    await obs.put("a", b"1")
    watcher = await obs.watch()
    seen: list[Any] = []

    async def read() -> None:
        async for info in watcher:
            seen.append(info and info.name)

    reader = asyncio.create_task(read())
    await eventually(lambda: len(seen) == 2)
    await watcher.stop()
    await within(reader)
    assert seen == ["a", None]
    with pytest.raises(core_errors.TimeoutError):
        await watcher.updates(timeout=0.05)
    with pytest.raises(core_errors.TimeoutError):
        await within(watcher.updates(timeout=None))
    with pytest.raises(core_errors.BadSubscriptionError):
        await watcher.stop()


async def test_iterating_over_a_watcher_ends_with_the_connection(
    js_server: Server, connect: Connect
) -> None:
    js, obs = await store(connect)
    await obs.put("a", b"1")
    watcher = await obs.watch()
    assert (await anext(watcher)).name == "a"
    assert await anext(watcher) is None
    reader = asyncio.create_task(anext(watcher))
    await asyncio.sleep(0.05)
    await js._nc.close()
    with pytest.raises(StopAsyncIteration):
        await within(reader)


async def test_a_watcher_whose_objects_go_before_they_are_delivered(
    js_server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    js, obs = await store(connect)
    await obs.put("a", b"1")
    really = js.get_last_msg
    found = [await really("OBJ_B", "$O.B.M.>")]
    await js.purge_stream("OBJ_B")

    async def get_last_msg(*args: Any) -> Any:
        return found.pop() if found else await really(*args)

    monkeypatch.setattr(js, "get_last_msg", get_last_msg)
    with pytest.raises(errors.NotFoundError):
        await within(obs.list())


async def test_listing_when_the_connection_closes(
    js_server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    js, obs = await store(connect)
    await obs.put("a", b"1")
    subscribe = js.subscribe

    async def subscribe_and_close(*args: Any, **options: Any) -> Any:
        sub = await subscribe(*args, **options)
        await js._nc.close()
        return sub

    monkeypatch.setattr(js, "subscribe", subscribe_and_close)
    with pytest.raises(core_errors.ConnectionClosedError):
        await within(obs.list())
