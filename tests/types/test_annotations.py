"""What type checkers make of the API: `make typecheck` reads what is said here, and it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.embedded import Server
from nats.js import JetStreamContext, api
from nats.js.kv import KeyValue
from nats.js.object_store import ObjectStore
from nats.micro import Request, add_service
from nats.micro.service import Service

if TYPE_CHECKING:
    from typing_extensions import assert_type
else:

    def assert_type(value: Any, kind: Any) -> Any:
        """A value, of which a type checker is told the type."""
        return value


async def test_messages(server: Server) -> None:
    nc = await nats.connect(server.url)
    assert_type(nc, Client)
    async with nc:
        sub = assert_type(await nc.subscribe("service"), Subscription)
        await nc.publish("service", b"data", headers={"a": "b"})
        msg = assert_type(await sub.next_msg(timeout=5), Msg)
        assert assert_type(msg.data, bytes) == b"data"
        assert assert_type(msg.headers, dict[str, str] | None) == {"a": "b"}

        async def answer(msg: Msg) -> None:
            await msg.respond(msg.data)

        await nc.subscribe("echo", cb=answer)
        reply = assert_type(await nc.request("echo", b"1", timeout=5), Msg)
        assert reply.data == b"1"
        await nc.publish("service")
        async for each in sub.messages:
            assert assert_type(each, Msg).data == b""
            break


async def test_jetstream(js_server: Server) -> None:
    async with await nats.connect(js_server.url) as nc:
        js = assert_type(nc.jetstream(), JetStreamContext)
        info = assert_type(await js.add_stream(name="S", subjects=["s"]), api.StreamInfo)
        assert assert_type(info.config, api.StreamConfig).name == "S"
        ack = assert_type(await js.publish("s", b"1"), api.PubAck)
        assert assert_type(ack.seq, int) == 1
        pull = await js.pull_subscribe("s", "d")
        assert_type(pull, JetStreamContext.PullSubscription)
        (msg,) = assert_type(await pull.fetch(1, timeout=5), list[Msg])
        assert assert_type(msg.metadata, Msg.Metadata).num_delivered == 1
        push = await js.subscribe("s")
        assert_type(push, JetStreamContext.PushSubscription)
        assert (await push.next_msg(timeout=5)).data == b"1"


async def test_stores(js_server: Server) -> None:
    async with await nats.connect(js_server.url) as nc:
        js = nc.jetstream()
        kv = assert_type(await js.create_key_value(bucket="B"), KeyValue)
        assert assert_type(await kv.put("a", b"1"), int) == 1
        entry = assert_type(await kv.get("a"), KeyValue.Entry)
        assert assert_type(entry.value, bytes | None) == b"1"
        obs = assert_type(await js.create_object_store("O"), ObjectStore)
        info = assert_type(await obs.put("a", b"1"), api.ObjectInfo)
        assert info.size == 1
        assert assert_type((await obs.get("a")).data, bytes | None) == b"1"


async def test_services(server: Server) -> None:
    async with await nats.connect(server.url) as nc:
        service = assert_type(await add_service(nc, name="a", version="1.0.0"), Service)

        async def handler(request: Request) -> None:
            await request.respond(assert_type(request.data, bytes))

        await service.add_endpoint(name="echo", handler=handler)
        assert (await nc.request("echo", b"1", timeout=5)).data == b"1"
        await service.stop()
