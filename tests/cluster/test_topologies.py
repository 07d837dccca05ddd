"""Clusters joined by gateways, a leaf node and its hub, servers with different limits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from nats import errors
from nats.embedded import Server
from nats.js import api
from nats.js.errors import KeyWrongLastSequenceError, NoKeysError
from parity.servers import ReservedPort
from support.connecting import Connect
from support.routes import answered, reaches
from support.waiting import EAGER, Events, eventually

pytestmark = pytest.mark.usefixtures("driver")

FOREVER: dict[str, Any] = {"max_reconnect_attempts": -1, **EAGER}
LEAF_PAYLOAD = 4096


@dataclass
class Pair:
    """Two servers that pass messages on to each other."""

    here: Server
    there: Server


@pytest.fixture(scope="module")
def gateways() -> Iterator[Pair]:
    """Two clusters of one server each."""
    ports = {name: ReservedPort() for name in ("here", "there")}
    remotes = ", ".join(
        f'{{ name: {name}, url: "nats://127.0.0.1:{port.number}" }}' for name, port in ports.items()
    )
    servers = [
        Server(
            config=f"""
                server_name: {name}
                gateway {{ name: {name}, listen: "127.0.0.1:{port.number}", gateways: [{remotes}] }}
            """
        )
        for name, port in ports.items()
    ]
    with servers[0] as here, servers[1] as there:
        yield Pair(here, there)
    for port in ports.values():
        port.release()


@pytest.fixture(scope="module")
def leaf_and_hub() -> Iterator[Pair]:
    """A leaf node, ``here``, and its hub, ``there``; each with JetStream in a domain."""
    port = ReservedPort()
    hub = Server(
        config=f"""
            server_name: hub
            jetstream {{ domain: hub }}
            leafnodes {{ listen: "127.0.0.1:{port.number}" }}
        """
    )
    leaf = Server(
        config=f"""
            server_name: leaf
            max_payload: {LEAF_PAYLOAD}
            jetstream {{ domain: leaf }}
            leafnodes {{
                reconnect: 1
                remotes: [{{ url: "nats://127.0.0.1:{port.number}" }}]
            }}
        """
    )
    with hub, leaf:
        yield Pair(leaf, hub)
    port.release()


def echo(nc: Any) -> Any:
    async def answer(msg: Any) -> None:
        name = nc._server_info["server_name"]
        await msg.respond(name.encode() + b" " + msg.data)

    return answer


# Gateways


async def test_request_through_a_gateway(gateways: Pair, connect: Connect) -> None:
    near, far = await connect(gateways.here), await connect(gateways.there)
    await far.subscribe("far.service", cb=echo(far))
    await far.flush()
    assert (await answered(near, "far.service", b"hello")).data == b"there hello"
    # Now that they know of each other, many at once.
    replies = await asyncio.gather(
        *(near.request("far.service", b"%d" % n, timeout=5) for n in range(200))
    )
    assert [reply.data for reply in replies] == [b"there %d" % n for n in range(200)]


async def test_gateways_announce_no_servers(gateways: Pair, connect: Connect) -> None:
    """Clusters keep to themselves: their clients don't fail over to each other."""
    events = Events()
    nc = await connect(gateways.here, **events.callbacks)
    await nc.flush()
    assert {uri.port for uri in nc.servers} == {gateways.here.port}
    assert events.names == []


async def test_queue_group_over_a_gateway(gateways: Pair, connect: Connect) -> None:
    """Members nearby come first; when the last one has drained, those far away take over."""
    near, far = await connect(gateways.here), await connect(gateways.there)
    member = await connect(gateways.here)
    await far.subscribe("shared", queue="q", cb=echo(far))
    await far.flush()
    assert (await answered(near, "shared")).data == b"there "
    await member.subscribe("shared", queue="q", cb=echo(member))
    await member.flush()
    replies = [await near.request("shared", b"", timeout=5) for _ in range(20)]
    assert {reply.data for reply in replies} == {b"here "}
    await member.drain()
    assert (await answered(near, "shared")).data == b"there "


async def test_client_moves_to_the_other_cluster(gateways: Pair, connect: Connect) -> None:
    events = Events()
    nc = await connect(gateways.here, **events.callbacks, **FOREVER)
    other = await connect(gateways.here)
    await nc.subscribe("moves", cb=echo(nc))
    await nc.flush()
    assert (await answered(other, "moves")).data == b"here "
    nc.set_server_pool([gateways.there.url])
    await nc.force_reconnect()
    await events.wait("reconnected")
    assert (await answered(other, "moves")).data == b"there "
    assert [uri.port for uri in nc.servers] == [gateways.there.port]


# Leaf nodes


async def test_request_from_a_leaf(leaf_and_hub: Pair, connect: Connect) -> None:
    leaf, hub = await connect(leaf_and_hub.here), await connect(leaf_and_hub.there)
    await hub.subscribe("hub.service", cb=echo(hub))
    await leaf.subscribe("leaf.service", cb=echo(leaf))
    await asyncio.gather(hub.flush(), leaf.flush())
    assert (await answered(leaf, "hub.service", b"1")).data == b"hub 1"
    assert (await answered(hub, "leaf.service", b"2")).data == b"leaf 2"
    for nc in (leaf, hub):
        assert len(nc.servers) == 1
        with pytest.raises(errors.NoRespondersError):
            await nc.request("nobody.anywhere", b"", timeout=5)


async def test_jetstream_of_the_hub(leaf_and_hub: Pair, connect: Connect) -> None:
    """A client of the leaf uses streams and buckets in the hub's domain."""
    leaf, hub = await connect(leaf_and_hub.here), await connect(leaf_and_hub.there)
    js, own = leaf.jetstream(domain="hub"), leaf.jetstream()
    await answered(leaf, "$JS.hub.API.INFO")
    for context in (js, own):
        # Of one name, in two places.
        subject = "orders.hub" if context is js else "orders.leaf"
        await context.add_stream(name="ORDERS", subjects=[subject], storage="memory")
    try:
        sent = 0
        # The stream's interest in its subject has to get to the leaf.
        await answered(leaf, "orders.hub", b"0")
        for sent in range(1, 50):
            ack = await js.publish("orders.hub", b"%d" % sent)
            assert (ack.stream, ack.domain) == ("ORDERS", "hub")
        assert (await own.publish("orders.leaf", b"own")).domain == "leaf"
        expected = [b"%d" % number for number in range(sent + 1)]

        sub = await js.pull_subscribe("orders.hub", durable="puller", stream="ORDERS")
        got: list[bytes] = []
        while len(got) < len(expected):
            for msg in await sub.fetch(20, timeout=5):
                got.append(msg.data)
                await msg.ack_sync(timeout=5)
        assert got == expected
        info = await js.consumer_info("ORDERS", "puller")
        assert info.num_ack_pending == 0

        ordered = await js.subscribe("orders.hub", ordered_consumer=True, stream="ORDERS")
        assert [(await ordered.next_msg(timeout=5)).data for _ in expected] == expected
        await ordered.unsubscribe()

        futures = [await js.publish_async("orders.hub", b"later") for _ in range(50)]
        assert {(await future).domain for future in futures} == {"hub"}
        state = (await hub.jetstream().stream_info("ORDERS")).state
        assert state.messages == len(expected) + 50
        assert (await own.stream_info("ORDERS")).state.messages == 1
    finally:
        for context in (js, own):
            await context.delete_stream("ORDERS")


async def test_buckets_of_the_hub(leaf_and_hub: Pair, connect: Connect) -> None:
    """What is put goes to the hub's bucket, not to the leaf's of the same name."""
    leaf, hub = await connect(leaf_and_hub.here), await connect(leaf_and_hub.there)
    js, own = leaf.jetstream(domain="hub"), leaf.jetstream()
    await answered(leaf, "$JS.hub.API.INFO")
    kv = await js.create_key_value(bucket="settings", storage="memory", history=5)
    same = await own.create_key_value(bucket="settings", storage="memory")
    try:
        revision = await kv.put("colour", b"red")
        assert (await kv.get("colour")).value == b"red"
        assert await kv.update("colour", b"blue", last=revision) > revision
        with pytest.raises(KeyWrongLastSequenceError):
            await kv.create("colour", b"any")
        for key in ("gone", "purged"):
            await kv.create(key, b"x")
        await kv.delete("gone")
        await kv.purge("purged")
        assert await kv.keys() == ["colour"]
        with pytest.raises(NoKeysError):
            await same.keys()
        # The hub has it under the plain name, and under the one with its domain.
        for context in (hub.jetstream(), hub.jetstream(domain="hub")):
            near = await context.key_value("settings")
            assert (await near.get("colour")).value == b"blue"
            await near.put("size", b"1")
        watcher = await kv.watchall(include_history=True)
        await near.put("colour", b"green")
        values: list[Any] = []
        while values[-1:] != [("colour", b"green")]:
            entry = await watcher.updates(timeout=5)
            values.append(entry and (entry.key, entry.value))
        assert values[:2] == [("colour", b"red"), ("colour", b"blue")]
        await watcher.stop()
    finally:
        await js.delete_key_value("settings")
        await own.delete_key_value("settings")


async def test_a_mirror_of_the_hubs_bucket(leaf_and_hub: Pair, connect: Connect) -> None:
    """It is read in the leaf; what is put goes to the hub and comes back from there."""
    leaf, hub = await connect(leaf_and_hub.here), await connect(leaf_and_hub.there)
    js, own = leaf.jetstream(domain="hub"), leaf.jetstream()
    await answered(leaf, "$JS.hub.API.INFO")
    origin = await js.create_key_value(bucket="settings", storage="memory")
    try:
        await own.add_stream(
            name="KV_near",
            storage="memory",
            max_msgs_per_subject=1,
            allow_direct=True,
            mirror_direct=True,
            mirror=api.StreamSource("KV_settings", external=api.ExternalStream("$JS.hub.API")),
        )
        near = await own.key_value("near")
        watcher = await near.watchall()
        revision = await near.put("colour", b"red")
        assert (await origin.get("colour")).revision == revision
        entry = None
        while entry is None:
            entry = await watcher.updates(timeout=10)
        assert (entry.key, entry.value, entry.revision) == ("colour", b"red", revision)
        await watcher.stop()
        assert (await near.get("colour")).value == b"red"
        assert await near.keys() == ["colour"]
        assert (await (await hub.jetstream().key_value("settings")).get("colour")).value == b"red"
    finally:
        await own.delete_key_value("near")
        await js.delete_key_value("settings")


async def test_objects_of_the_hub(leaf_and_hub: Pair, connect: Connect) -> None:
    leaf, hub = await connect(leaf_and_hub.here), await connect(leaf_and_hub.there)
    js = leaf.jetstream(domain="hub")
    await answered(leaf, "$JS.hub.API.INFO")
    store = await js.create_object_store("objects", storage="memory")
    try:
        # Chunks as large as the leaf takes.
        config = api.ObjectMeta(options=api.ObjectMetaOptions(max_chunk_size=LEAF_PAYLOAD))
        content = bytes(range(256)) * 256
        await reaches(store.put, "name", content, meta=config)
        assert (await store.get("name")).data == content
        near = await hub.jetstream().object_store("objects")
        assert (await near.get("name")).data == content
    finally:
        await js.delete_object_store("objects")


async def test_hub_that_is_away(leaf_and_hub: Pair, connect: Connect) -> None:
    """The leaf's clients stay connected, and are served again when the hub is back."""
    leaf = leaf_and_hub.here
    events = Events()
    nc = await connect(leaf, **events.callbacks, **FOREVER)
    far = await connect(leaf_and_hub.there, **FOREVER)
    await far.subscribe("hub.again", cb=echo(far))
    await far.flush()
    await answered(nc, "hub.again")
    await leaf_and_hub.there.akill()
    with pytest.raises((errors.NoRespondersError, errors.TimeoutError)):
        await nc.request("hub.again", b"", timeout=0.5)
    js = nc.jetstream(domain="hub", timeout=0.5)
    with pytest.raises(errors.Error):
        await js.publish("nothing.here", b"")
    await nc.flush()
    await leaf_and_hub.there.astart()
    assert (await answered(nc, "hub.again")).data == b"hub "
    assert events.names == []


# Limits that differ


async def test_client_moves_to_a_server_with_a_lower_limit(
    leaf_and_hub: Pair, connect: Connect
) -> None:
    leaf, hub = leaf_and_hub.here, leaf_and_hub.there
    events = Events()
    nc = await connect([hub.url, leaf.url], dont_randomize=True, **events.callbacks, **FOREVER)
    sub = await nc.subscribe("limits")
    large = bytes(LEAF_PAYLOAD + 1)
    await nc.publish("limits", large)
    assert len((await sub.next_msg(timeout=5)).data) == len(large)
    for round in (1, 2, 3):
        await nc.force_reconnect()
        await events.wait("reconnected", round)
        if nc.connected_url.port == hub.port:
            assert nc.max_payload == 1024 * 1024
            await nc.publish("limits", large)
            assert len((await sub.next_msg(timeout=5)).data) == len(large)
            continue
        assert nc.max_payload == LEAF_PAYLOAD
        with pytest.raises(errors.MaxPayloadError):
            await nc.publish("limits", large)
        with pytest.raises(errors.MaxPayloadError):
            await nc.request("limits", large)
        await nc.publish("limits", large[:-1])
        assert len((await sub.next_msg(timeout=5)).data) == LEAF_PAYLOAD
    assert events.errors == []
    assert events.names == ["disconnected", "reconnected"] * 3


async def test_large_messages_kept_for_a_server_with_a_lower_limit(
    leaf_and_hub: Pair, connect: Connect
) -> None:
    """What was accepted while disconnected may be too much for the next server.

    It says so and closes the connection. A client that still reads the reason closes as well, as
    nats-py's does; one that doesn't, because the rest of the message is in the way, goes on to
    the next server.
    """
    leaf, hub = leaf_and_hub.here, leaf_and_hub.there
    events = Events()
    nc = await connect([hub.url, leaf.url], dont_randomize=True, **events.callbacks, **FOREVER)
    await nc.force_reconnect()
    await nc.publish("limits", bytes(LEAF_PAYLOAD + 1))

    def at_the_hub() -> bool:
        return bool(nc.is_connected and nc.connected_url.port == hub.port)

    await eventually(lambda: nc.is_closed or at_the_hub())
    if nc.is_closed:
        assert "maximum payload violation" in str(nc.last_error).lower()
    else:
        assert await nc.rtt() >= 0
