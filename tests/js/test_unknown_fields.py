"""Info, change, update: what the server says and this version doesn't know survives."""

from __future__ import annotations

import datetime
import json
from typing import Any

import nats
import pytest
from nats.embedded import Server
from nats.js import api
from support.connecting import Connect

pytestmark = pytest.mark.usefixtures("driver")

# Fields that `ConsumerConfig` doesn't have.
UNKNOWN = {
    "priority_groups": ["jobs"],
    "priority_policy": "pinned_client",
    "priority_timeout": 120_000_000_000,
    "max_batch": 10,
    "max_bytes": 4096,
    "max_expires": 30_000_000_000,
}
START = "2024-02-03T04:05:06.123456789Z"


async def ask(nc: Any, subject: str, request: dict[str, Any] | None = None) -> dict[str, Any]:
    """Asks the JetStream API itself."""
    reply = await nc.request(f"$JS.API.{subject}", json.dumps(request or {}).encode(), timeout=5)
    answer: dict[str, Any] = json.loads(reply.data)
    assert "error" not in answer, answer
    return answer


async def test_a_consumer_is_changed(js_server: Server, connect: Connect) -> None:
    nc = await connect()
    js = nc.jetstream()
    await js.add_stream(name="S", subjects=["s"])
    assert not UNKNOWN.keys() & vars(api.ConsumerConfig()).keys()
    config = {
        "durable_name": "d",
        "ack_policy": "explicit",
        "deliver_policy": "by_start_time",
        "opt_start_time": START,
        "replay_policy": "instant",
        **UNKNOWN,
    }
    await ask(nc, "CONSUMER.DURABLE.CREATE.S.d", {"stream_name": "S", "config": config})

    info = await js.consumer_info("S", "d")
    await js.add_consumer("S", info.config, description="changed")
    info.config.max_ack_pending = 5
    info.config.description = "again"
    await js.add_consumer("S", info.config)

    now = (await ask(nc, "CONSUMER.INFO.S.d"))["config"]
    assert {name: now.get(name) for name in config} == config
    assert (now["description"], now["max_ack_pending"]) == ("again", 5)


async def test_a_stream_that_sources_from_a_time_on_is_changed(
    js_server: Server, connect: Connect
) -> None:
    nc = await connect()
    js = nc.jetstream()
    await js.add_stream(name="O", subjects=["o"])
    sources = [{"name": "O", "opt_start_time": START}]
    await ask(nc, "STREAM.CREATE.S", {"name": "S", "sources": sources, "storage": "memory"})
    info = await js.stream_info("S")
    await js.update_stream(info.config, max_msgs=10)
    now = (await ask(nc, "STREAM.INFO.S"))["config"]
    assert (now["sources"], now["max_msgs"]) == (sources, 10)


async def test_what_is_known_of_an_object_is_changed(js_server: Server, connect: Connect) -> None:
    nc = await connect()
    js = nc.jetstream()
    obs = await js.create_object_store("B")
    await obs.put("o", b"content")
    subject = obs._meta_subject("o")
    raw = json.loads((await js.get_last_msg("OBJ_B", subject)).data)
    # As clients in other languages write it.
    unknown = {"metadata": {"colour": "red"}, "version": 3}
    raw |= unknown
    raw["options"]["codec"] = "s2"
    await js.publish(subject, json.dumps(raw).encode(), headers={"Nats-Rollup": "sub"})

    await obs.update_meta("o", api.ObjectMeta(name="o", description="changed"))
    now = json.loads((await js.get_last_msg("OBJ_B", subject)).data)
    assert {name: now.get(name) for name in unknown} == unknown
    assert (now["description"], now["options"]["codec"]) == ("changed", "s2")
    assert (await obs.get("o")).data == b"content"


async def test_a_sealed_store_keeps_its_configuration(
    js_server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    nc = await connect()
    js = nc.jetstream()
    obs = await js.create_object_store("B")
    received = api.StreamInfo.from_response
    sent: list[api.StreamConfig] = []

    def with_a_field_of_tomorrow(resp: dict[str, Any]) -> api.StreamInfo:
        return received({**resp, "config": {**resp["config"], "from_the_future": 1}})

    async def update_stream(config: api.StreamConfig) -> None:
        sent.append(config)

    monkeypatch.setattr(nats.js.api.StreamInfo, "from_response", with_a_field_of_tomorrow)
    monkeypatch.setattr(js, "update_stream", update_stream)
    await obs.seal()
    assert (sent[0].as_dict()["from_the_future"], sent[0].sealed) == (1, True)


async def test_times_are_datetimes_all_the_same(js_server: Server, connect: Connect) -> None:
    js = (await connect()).jetstream()
    await js.add_stream(name="S", subjects=["s"])
    info = await js.stream_info("S")
    assert isinstance(info.created, datetime.datetime)
    # Of the answer itself, not of what `StreamInfo` has attributes for.
    assert "ts" in info.as_dict()
    assert "ts" not in vars(info)
    assert " ts=" not in repr(info)
