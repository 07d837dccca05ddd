"""Key-value buckets on mirrors, and where buckets are placed."""

from __future__ import annotations

from typing import Any

import pytest
from nats.embedded import Cluster, Server
from nats.js import api, errors
from nats.js.kv import KeyValue
from support.connecting import Connect
from support.waiting import within

pytestmark = pytest.mark.usefixtures("driver")

MIRROR: dict[str, Any] = {"storage": "memory", "max_msgs_per_subject": 5}


async def seen(mirror: KeyValue, key: str, revision: int) -> KeyValue.Entry:
    """The entry of a key when the mirror has this revision of it."""
    watcher = await mirror.watch(key)
    entry: Any = None
    while entry is None or entry.revision < revision:
        entry = await within(watcher.updates())
    await watcher.stop()
    found: KeyValue.Entry = entry
    return found


@pytest.mark.parametrize("direct", [True, False])
async def test_a_mirror_is_read_and_its_origin_written(
    js_server: Server, connect: Connect, direct: bool
) -> None:
    js = (await connect()).jetstream()
    origin = await js.create_key_value(bucket="B", storage="memory", history=5)
    first = await origin.put("a", b"1")
    source = api.StreamSource("KV_B")
    await js.add_stream(name="KV_M", mirror=source, allow_direct=direct, **MIRROR)
    mirror = await js.key_value("M")

    assert (await seen(mirror, "a", first)).value == b"1"
    entry = await mirror.get("a")
    assert (entry.bucket, entry.value, entry.revision) == ("M", b"1", first)

    revision = await mirror.put("a", b"2")
    assert (await origin.get("a")).revision == revision
    await seen(mirror, "a", revision)
    assert (await mirror.get("a")).value == b"2"
    assert [entry.value for entry in await mirror.history("a")] == [b"1", b"2"]

    assert await seen(mirror, "b", await mirror.create("b", b"x"))
    with pytest.raises(errors.KeyWrongLastSequenceError):
        await mirror.create("b", b"y")
    assert sorted(await mirror.keys()) == ["a", "b"]
    await mirror.delete("a")
    await mirror.purge("b")
    for key in ("a", "b"):
        with pytest.raises(errors.KeyNotFoundError):
            await origin.get(key)


async def test_a_mirror_that_renames_has_keys_of_its_own(
    js_server: Server, connect: Connect
) -> None:
    js = (await connect()).jetstream()
    origin = await js.create_key_value(bucket="B", storage="memory")
    transform = api.SubjectTransform("$KV.B.>", "$KV.M.>")
    source = api.StreamSource("KV_B", subject_transforms=[transform])
    await js.add_stream(name="KV_M", mirror=source, allow_direct=True, **MIRROR)
    mirror = await js.key_value("M")
    revision = await mirror.put("a", b"1")
    assert (await origin.get("a")).revision == revision
    await seen(mirror, "a", revision)
    assert (await mirror.get("a")).value == b"1"


async def test_a_mirror_of_something_else_is_read_as_before(
    js_server: Server, connect: Connect
) -> None:
    js = (await connect()).jetstream()
    await js.add_stream(name="S", subjects=["$KV.M.*"], storage="memory")
    await js.add_stream(name="KV_M", mirror=api.StreamSource("S"), **MIRROR)
    mirror = await js.key_value("M")
    await seen(mirror, "a", await mirror.put("a", b"1"))
    assert (await mirror.get("a")).value == b"1"


async def test_a_bucket_goes_where_its_placement_says(connect: Connect) -> None:
    with Cluster(size=3, jetstream=True, name="home", config="server_tags: [ssd]\n") as cluster:
        js = (await connect(cluster)).jetstream()
        for number, placement in enumerate(
            (api.Placement(tags=["ssd"]), api.Placement(cluster="home", tags=["ssd"]))
        ):
            kv = await js.create_key_value(bucket=f"B{number}", placement=placement)
            info = (await kv.status()).stream_info
            assert info.config.placement == placement
            await kv.put("a", b"1")
        with pytest.raises(errors.APIError, match="no suitable peers for placement"):
            await js.create_key_value(bucket="X", placement=api.Placement(tags=["tape"]))
