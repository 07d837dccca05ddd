"""Key-value buckets with a real server: values, revisions, conflicts, markers and their ages."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from nats import errors as core_errors
from nats.embedded import Server
from nats.js import api, errors
from nats.js.kv import KV_DEL, KV_PURGE, KeyValue
from support.connecting import Connect
from support.waiting import eventually, within

pytestmark = pytest.mark.usefixtures("driver")


@pytest.fixture(params=[True, False], ids=["direct", "through the API"])
def direct(request: pytest.FixtureRequest) -> bool:
    """Whether values come from any replica or from the stream's leader."""
    return bool(request.param)


async def begin(connect: Connect, **config: Any) -> tuple[Any, Any, Any]:
    """Client, context and the bucket B."""
    nc = await connect()
    js = nc.jetstream()
    config = {"bucket": "B", "storage": "memory", **config}
    return nc, js, await js.create_key_value(**config)


async def missing(kv: Any, key: str) -> bool:
    try:
        await kv.get(key)
    except errors.KeyNotFoundError:
        return True
    return False


# Values


async def test_put_and_get(js_server: Server, connect: Connect, direct: bool) -> None:
    nc, _, kv = await begin(connect, direct=direct, history=3)
    assert await kv.put("a", b"one") == 1
    assert await kv.put("a", b"two") == 2
    assert await kv.put("b.c", b"three") == 3
    entry = await kv.get("a")
    assert isinstance(entry, KeyValue.Entry)
    assert (entry.bucket, entry.key, entry.value, entry.revision) == ("B", "a", b"two", 2)
    assert (entry.delta, entry.created, entry.operation) == (None, None, None)
    assert (await kv.get("a", revision=1)).value == b"one"
    assert (await kv.get("b.c")).value == b"three"
    with pytest.raises(errors.KeyNotFoundError, match="key not found"):
        await kv.get("none")
    with pytest.raises(errors.KeyNotFoundError):
        await kv.get("a", revision=99)
    with pytest.raises(
        errors.KeyNotFoundError, match=r"expected '.KV\.B\.a', but got '.KV\.B\.b\.c'"
    ):
        await kv.get("a", revision=3)
    assert nc._core.census()[:2] == (0, 0)


@pytest.mark.parametrize(
    "value",
    [b"\0", bytes(range(256)) * 100, b"\r\n", b"NATS/1.0\r\n\r\n", b"x" * 500_000],
    ids=["zero", "all bytes", "line end", "headers", "large"],
)
async def test_binary_values(
    js_server: Server, connect: Connect, direct: bool, value: bytes
) -> None:
    _, _, kv = await begin(connect, direct=direct)
    await kv.put("a", value)
    assert (await kv.get("a")).value == value
    (entry,) = await kv.history("a")
    assert entry.value == value


async def test_empty_value(js_server: Server, connect: Connect, direct: bool) -> None:
    """As in nats-py: a value of no bytes is `None` when got, and `b""` in the history."""
    _, _, kv = await begin(connect, direct=direct)
    await kv.put("a", b"")
    assert not (await kv.get("a")).value
    assert (await kv.get("a")).revision == 1
    (entry,) = await kv.history("a")
    assert (entry.value, entry.operation) == (b"", None)
    with pytest.raises(errors.KeyWrongLastSequenceError):
        await kv.create("a", b"x")


async def test_many_at_once(js_server: Server, connect: Connect, direct: bool) -> None:
    nc, _, kv = await begin(connect, direct=direct)
    keys = [f"k.{number}" for number in range(64)]
    revisions = await asyncio.gather(*(kv.put(key, key.encode()) for key in keys))
    assert sorted(revisions) == list(range(1, 65))
    entries = await within(asyncio.gather(*(kv.get(key) for key in keys)))
    assert [(entry.key, entry.value) for entry in entries] == [(k, k.encode()) for k in keys]
    assert [entry.revision for entry in entries] == revisions
    results = await asyncio.gather(
        *(kv.get(key) for key in ("k.1", "none", "k.2")), return_exceptions=True
    )
    assert [type(result).__name__ for result in results] == ["Entry", "KeyNotFoundError", "Entry"]
    assert nc._core.census()[:2] == (0, 0)


@pytest.mark.parametrize("key", ["", ".a", "a.", "a b", "a*", "a.>", "ä", "a$"])
async def test_keys_that_cannot_be(js_server: Server, connect: Connect, key: str) -> None:
    _, _, kv = await begin(connect)
    for call in (kv.get(key), kv.put(key, b""), kv.create(key, b""), kv.update(key, b"")):
        with pytest.raises(errors.InvalidKeyError):
            await call
    with pytest.raises(errors.InvalidKeyError):
        await kv.delete(key)
    assert (await kv.status()).values == 0


async def test_keys_that_a_program_allows(
    js_server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, kv = await begin(connect)
    with monkeypatch.context() as patch:
        patch.setattr("nats.js.kv.VALID_KEY_RE", re.compile(r"^[a-z$]+$"))
        assert await kv.put("a$", b"x") == 1
        assert (await kv.get("a$")).value == b"x"
    monkeypatch.setattr("nats.js.kv._is_key_valid", lambda key: key == "b$")
    assert await kv.create("b$", b"y") == 2
    with pytest.raises(errors.InvalidKeyError):
        await kv.put("b", b"")


async def test_keys_that_are_not_looked_at(js_server: Server, connect: Connect) -> None:
    _, _, kv = await begin(connect)
    assert await kv.put("a$b", b"x", validate_keys=False) == 1
    assert (await kv.get("a$b", validate_keys=False)).value == b"x"
    assert await kv.update("a$b", b"y", last=1, validate_keys=False) == 2
    assert await kv.delete("a$b", validate_keys=False)
    assert await kv.create("a$b", b"z", validate_keys=False) == 4
    for key in ("a/b", "A-b_c=d", "0", "a.b.c"):
        await kv.put(key, b"x")
        assert (await kv.get(key)).key == key


# Conflicts


async def test_create(js_server: Server, connect: Connect, direct: bool) -> None:
    _, _, kv = await begin(connect, direct=direct, history=5)
    assert await kv.create("a", b"1") == 1
    with pytest.raises(errors.KeyWrongLastSequenceError, match="wrong last sequence") as caught:
        await kv.create("a", b"2")
    assert isinstance(caught.value, errors.BadRequestError)
    for remove in (kv.delete, kv.purge):
        await remove("a")
        revision = await kv.create("a", b"again")
        assert (await kv.get("a")).revision == revision
    assert [entry.operation for entry in await kv.history("a")] == [KV_PURGE, None]


async def test_only_one_creates(js_server: Server, connect: Connect) -> None:
    _, _, kv = await begin(connect)
    results = await asyncio.gather(
        *(kv.create("a", b"%d" % number) for number in range(20)), return_exceptions=True
    )
    assert [result for result in results if isinstance(result, int)] == [1]
    assert sum(isinstance(r, errors.KeyWrongLastSequenceError) for r in results) == 19


async def test_update(js_server: Server, connect: Connect) -> None:
    _, _, kv = await begin(connect)
    first = await kv.put("a", b"1")
    await kv.put("b", b"other keys don't matter")
    second = await kv.update("a", b"2", last=first)
    for last in (first, 0, None, second + 1):
        with pytest.raises(errors.KeyWrongLastSequenceError):
            await kv.update("a", b"x", last=last)
    assert (await kv.get("a")).value == b"2"
    assert await kv.update("new", b"x") == 4
    # A counter that everybody increments.
    await kv.put("count", b"0")

    async def increment() -> None:
        while True:
            entry = await kv.get("count")
            try:
                await kv.update("count", b"%d" % (int(entry.value) + 1), last=entry.revision)
            except errors.KeyWrongLastSequenceError:
                continue
            return

    await within(asyncio.gather(*(increment() for _ in range(15))))
    assert (await kv.get("count")).value == b"15"


async def test_value_too_large(js_server: Server, connect: Connect) -> None:
    nc, _, kv = await begin(connect, max_value_size=100, max_bytes=10_000)
    with pytest.raises(errors.APIError) as caught:
        await kv.put("a", bytes(1000))
    assert caught.value.err_code == 10054
    with pytest.raises(core_errors.MaxPayloadError):
        await kv.put("a", bytes(nc.max_payload + 1))
    puts = (kv.put(f"k{number}", bytes(90)) for number in range(300))
    with pytest.raises(errors.APIError) as full:
        await asyncio.gather(*puts)
    assert full.value.err_code == 10077


# Markers


async def test_delete(js_server: Server, connect: Connect, direct: bool) -> None:
    _, _, kv = await begin(connect, direct=direct, history=5)
    await kv.put("a", b"1")
    assert await kv.delete("a") is True
    with pytest.raises(errors.KeyNotFoundError) as caught:
        await kv.get("a")
    assert caught.value.op == KV_DEL
    assert caught.value.entry.revision == 2
    assert (await kv.get("a", revision=1)).value == b"1"
    last = await kv.put("a", b"2")
    with pytest.raises(errors.APIError) as wrong:
        await kv.delete("a", last=last - 1)
    assert wrong.value.err_code == 10071
    assert await kv.delete("a", last=last)
    with pytest.warns(DeprecationWarning, match="msg_ttl"):
        await kv.delete("a", msg_ttl=5)
    operations = [entry.operation for entry in await kv.history("a")]
    assert operations == [None, KV_DEL, None, KV_DEL, KV_DEL]


async def test_purge(js_server: Server, connect: Connect, direct: bool) -> None:
    _, _, kv = await begin(connect, direct=direct, history=5)
    for number in range(4):
        await kv.put("a", b"%d" % number)
    await kv.put("b", b"stays")
    assert await kv.purge("a") is True
    with pytest.raises(errors.KeyNotFoundError) as caught:
        await kv.get("a")
    assert caught.value.op == KV_PURGE
    (entry,) = await kv.history("a")
    assert (entry.operation, entry.value, entry.revision) == (KV_PURGE, b"", 6)
    with pytest.raises(errors.KeyNotFoundError):
        await kv.get("a", revision=1)
    assert await kv.keys() == ["b"]


async def test_purge_deletes(js_server: Server, connect: Connect) -> None:
    nc, js, kv = await begin(connect, history=5)
    for key in "abc":
        await kv.put(key, b"1")
        await kv.put(key, b"2")
    await kv.delete("a")
    await kv.purge("b")
    subs, tasks = set(nc._subs), asyncio.all_tasks()
    # Young markers stay, what is behind them goes.
    assert await kv.purge_deletes() is True
    assert [entry.operation for entry in await kv.history("a")] == [KV_DEL]
    assert (await kv.status()).values == 4
    assert await kv.purge_deletes(olderthan=0) is True
    for key in "ab":
        with pytest.raises(errors.NoKeysError):
            await kv.history(key)
    assert [entry.value for entry in await kv.history("c")] == [b"1", b"2"]
    assert set(nc._subs) == subs
    await eventually(lambda: asyncio.all_tasks() <= tasks)
    assert (await js.stream_info("KV_B")).state.messages == 2


async def test_purge_deletes_spares_new_values(js_server: Server, connect: Connect) -> None:
    _, js, kv = await begin(connect)
    await kv.put("a", b"1")
    await kv.delete("a")
    purge = js.purge_stream

    async def put_and_purge(*args: Any, **options: Any) -> Any:
        await kv.put("a", b"2")
        return await purge(*args, **options)

    js.purge_stream = put_and_purge
    await kv.purge_deletes(olderthan=0)
    assert (await kv.get("a")).value == b"2"


# Ages


async def test_time_to_live(js_server: Server, connect: Connect, direct: bool) -> None:
    _, _, kv = await begin(connect, direct=direct, ttl=0.5)
    await kv.put("a", b"x")
    assert (await kv.get("a")).value == b"x"
    await eventually(lambda: missing(kv, "a"))
    assert (await kv.status()).ttl == 0.5
    with pytest.raises(errors.NoKeysError):
        await kv.keys()


async def test_time_to_live_of_one_value(js_server: Server, connect: Connect, direct: bool) -> None:
    _, js, kv = await begin(connect, direct=direct)
    revision = await kv.create("short", b"x", msg_ttl=1)
    await kv.create("long", b"x")
    assert (await js.get_msg("KV_B", revision)).headers["Nats-TTL"] == "1"
    assert (await kv.get("short")).value == b"x"
    await eventually(lambda: missing(kv, "short"))
    assert (await kv.get("long")).value == b"x"
    assert await kv.create("short", b"again") == 3
    # A purge marker that goes away by itself.
    await kv.purge("long", msg_ttl=1)
    assert len(await kv.history("long")) == 1

    async def gone() -> bool:
        return bool((await kv.status()).values == 1)

    await eventually(gone)


async def test_limit_markers(js_server: Server, connect: Connect, direct: bool) -> None:
    _, _, kv = await begin(connect, direct=direct, limit_marker_ttl=60)
    assert (await kv.status()).marker_ttl == 60
    await kv.create("a", b"x", msg_ttl=1)
    watcher = await kv.watch("a")
    entries = [await watcher.updates() for _ in range(3)]
    assert entries[1] is None
    assert [(e.value, e.operation) for e in entries if e] == [(b"x", None), (b"", KV_PURGE)]
    assert entries[2].revision == 2
    await watcher.stop()
    # Gone for `get` and `create` as well; nats-py has them find an empty value there.
    assert await missing(kv, "a")
    assert await kv.create("a", b"again") == 3


# Buckets


async def test_status(js_server: Server, connect: Connect) -> None:
    _, js, kv = await begin(connect, history=7, ttl=100, description="text")
    await kv.put("a", b"x")
    status = await kv.status()
    assert (status.bucket, status.values, status.history, status.ttl) == ("B", 1, 7, 100)
    assert status.marker_ttl in (None, 0)
    config = status.stream_info.config
    assert (config.name, config.subjects, config.description) == ("KV_B", ["$KV.B.>"], "text")
    assert (config.allow_direct, config.deny_delete) == (False, True)
    assert config.duplicate_window == 100
    # The same again opens it, anything else doesn't.
    again = await js.create_key_value(
        bucket="B", storage="memory", history=7, ttl=100, description="text"
    )
    assert (await again.get("a")).value == b"x"
    with pytest.raises(errors.BadRequestError):
        await js.create_key_value(bucket="B", history=1)
    opened = await js.key_value("B")
    assert (await opened.get("a")).value == b"x"
    assert await js.delete_key_value("B") is True
    with pytest.raises(errors.BucketNotFoundError):
        await js.key_value("B")
    with pytest.raises(errors.NotFoundError):
        await js.delete_key_value("B")


async def test_buckets_that_cannot_be(js_server: Server, connect: Connect) -> None:
    nc = await connect()
    js = nc.jetstream()
    for name in ("", "a.b", "a b", "a*", "ä"):
        for call in (js.key_value(name), js.delete_key_value(name)):
            with pytest.raises(errors.InvalidBucketNameError):
                await call
        with pytest.raises(errors.InvalidBucketNameError):
            await js.create_key_value(bucket=name)
    with pytest.raises(errors.KeyHistoryTooLargeError, match="max of 64"):
        await js.create_key_value(bucket="B", history=65)
    await js.create_key_value(bucket="B", history=64)
    await js.add_stream(name="KV_C", subjects=["c"])
    with pytest.raises(errors.BadBucketError):
        await js.key_value("C")


@pytest.mark.parametrize("read", ["get", "update", "watch", "keys", "history", "status"])
async def test_deleted_bucket(js_server: Server, connect: Connect, direct: bool, read: str) -> None:
    nc, js, kv = await begin(connect, direct=direct)
    await kv.put("a", b"x")
    await js.delete_key_value("B")
    arguments = {"get": ("a",), "update": ("a", b"", 1), "watch": ("a",), "history": ("a",)}
    with pytest.raises(core_errors.Error):
        await within(getattr(kv, read)(*arguments.get(read, ())))
    assert nc._core.census()[0] == 0


async def test_republishing(js_server: Server, connect: Connect) -> None:
    republish = api.RePublish(src=">", dest="copy.>")
    nc, _, kv = await begin(connect, republish=republish)
    sub = await nc.subscribe("copy.>")
    await nc.flush()
    revision = await kv.put("a", b"x")
    msg = await sub.next_msg(5)
    assert (msg.subject, msg.data) == ("copy.$KV.B.a", b"x")
    assert msg.headers["Nats-Sequence"] == str(revision)


async def test_a_sourced_copy_of_a_bucket(js_server: Server, connect: Connect) -> None:
    _, js, kv = await begin(connect)
    await kv.put("a", b"1")
    origin = api.StreamSource(name="KV_B")
    await js.add_stream(name="KV_COPY", max_msgs_per_subject=1, allow_direct=True, sources=[origin])

    async def copied() -> bool:
        return bool((await js.stream_info("KV_COPY")).state.messages == 2)

    await kv.put("b", b"2")
    await eventually(copied)
    copy = await js.key_value("COPY")
    # The keys are those of the origin, below its prefix; opened by that they can be read.
    reader = KeyValue(name="COPY", stream="KV_COPY", pre="$KV.B.", js=js, direct=True)
    assert (await reader.get("a")).value == b"1"
    assert sorted(await reader.keys()) == ["a", "b"]
    assert (await copy.status()).values == 2
