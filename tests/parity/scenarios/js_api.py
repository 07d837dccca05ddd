"""The configuration and information classes, without a server."""

from __future__ import annotations

import copy
import datetime
from typing import Any

import nats
from parity.harness import Context, scenario

UTC = datetime.timezone.utc
WHEN = "2026-01-02T03:04:05.123456789Z"


@scenario(start=False)
async def dictionaries_of_stream_configs(ctx: Context) -> None:
    api: Any = nats.js.api
    ctx.say(api.StreamConfig().as_dict())
    source = api.StreamSource(
        name="A",
        opt_start_time=datetime.datetime(2026, 1, 2, tzinfo=UTC),
        external=api.ExternalStream(api="$JS.x.API", deliver="d"),
        subject_transforms=[api.SubjectTransform(src="a", dest="b")],
        consumer=api.StreamConsumerSource(name="c", deliver_subject="d"),
    )
    config = api.StreamConfig(
        name="S",
        subjects=["s"],
        retention=api.RetentionPolicy.WORK_QUEUE,
        storage=api.StorageType.MEMORY,
        max_age=1.5,
        duplicate_window=0.25,
        placement=api.Placement(cluster="c", tags=["t"]),
        mirror=source,
        sources=[source, api.StreamSource(name="B")],
        republish=api.RePublish(src="a", dest="b"),
        compression=api.StoreCompression.S2,
        metadata={"a": "b"},
        consumer_limits=api.StreamConsumerLimits(inactive_threshold=2),
        subject_delete_marker_ttl=3,
    )
    ctx.say(config.as_dict())
    ctx.say(api.StreamConfig(sources=[], subjects=[]).as_dict())
    for params in ({"compression": "zip"}, {"metadata": "x"}, {"metadata": ["x"]}):
        try:
            ctx.say(api.StreamConfig(**params).as_dict())
        except ValueError as error:
            ctx.say("ValueError", str(error))


@scenario(start=False)
async def dictionaries_of_consumer_configs(ctx: Context) -> None:
    api: Any = nats.js.api
    ctx.say(api.ConsumerConfig().as_dict())
    config = api.ConsumerConfig(
        durable_name="d",
        ack_policy=api.AckPolicy.ALL,
        deliver_policy="new",
        ack_wait=1.1,
        backoff=[0.1, 2],
        idle_heartbeat=5,
        inactive_threshold=1e-9,
        opt_start_time=datetime.datetime(2026, 1, 2, 3, 4, 5, 6),
        max_deliver=3,
    )
    ctx.say(config.as_dict())
    ctx.say(api.ConsumerConfig(backoff=[], filter_subjects=[], deliver_policy=None).as_dict())


@scenario(start=False)
async def dictionaries_of_the_others(ctx: Context) -> None:
    api: Any = nats.js.api
    values: list[Any] = [
        api.KeyValueConfig(bucket="b"),
        api.KeyValueConfig(bucket="b", ttl=1.5, limit_marker_ttl=2, history=3, direct=True),
        api.ObjectStoreConfig(),
        api.ObjectStoreConfig(bucket="b", ttl=60, placement=api.Placement(cluster="c")),
        api.ObjectMeta(name="n", headers={"a": "b"}),
        api.ObjectInfo(name="n", bucket="b", nuid="x"),
        api.ObjectInfo(
            name="n",
            bucket="b",
            nuid="x",
            options=api.ObjectMetaOptions(link=api.ObjectLink(bucket="c"), max_chunk_size=3),
        ),
        api.PubAck(stream="S", seq=1, batch_id="b", batch_size=2),
        api.StreamPurgeRequest(seq=1, keep=2),
        api.RawStreamMsg(subject="s", seq=1),
        api.SequenceInfo(1, 2, datetime.datetime(2026, 1, 2, tzinfo=UTC)),
    ]
    for value in values:
        ctx.say(type(value).__name__, value.as_dict(), value)
    info = values[6]
    ctx.say(info.is_link(), values[5].is_link(), info.meta, values[9].sequence, values[9].header)


@scenario(start=False)
async def read_from_answers(ctx: Context) -> None:
    api: Any = nats.js.api
    config = {"name": "S", "max_age": 1500000000, "duplicate_window": 120000000000, "new": 1}
    state = {"messages": 1, "bytes": 2, "first_seq": 1, "last_seq": 1, "consumer_count": 0}
    answer: dict[str, Any] = {"config": config, "state": state, "created": WHEN, "type": "x"}
    answer["sources"] = [{"name": "A", "lag": 1, "active": 2}]
    answer["cluster"] = {"leader": "n", "replicas": [{"name": "m"}], "leader_since": WHEN}
    info = api.StreamInfo.from_response(copy.deepcopy(answer))
    ctx.say(info)
    ctx.say(api.StreamState.from_response({**state, "lost": {"msgs": [1], "bytes": 3}}))
    consumer: dict[str, Any] = {
        "name": "c",
        "stream_name": "S",
        "created": "2026-01-02T03:04:05Z",
        "config": {"ack_wait": 1500000000, "backoff": [100000000], "opt_start_time": WHEN},
        "delivered": {"consumer_seq": 1, "stream_seq": 2, "last_active": WHEN},
        "unknown": [],
    }
    ctx.say(api.ConsumerInfo.from_response(copy.deepcopy(consumer)))
    ctx.say(api.ConsumerReset.from_response({**copy.deepcopy(consumer), "reset_seq": 5}))
    ctx.say(api.ConsumerPause.from_response({"paused": True, "pause_until": WHEN}))
    ctx.say(api.PubAck.from_response({"stream": "S", "seq": 1, "batch": "b", "count": 2}))
    ctx.say(api.PubAck.from_response({"stream": "S", "seq": 1, "val": "5", "domain": "d"}))
    for incomplete in ({}, {"stream": "S"}, {"seq": 1}):
        await ctx.attempt(f"{incomplete}", lambda data=incomplete: api.PubAck.from_response(data))
    await ctx.attempt("no state", lambda: api.StreamInfo.from_response({"config": {}}))
    await ctx.attempt("no config", lambda: api.ConsumerInfo.from_response({"name": "c"}))


@scenario(start=False)
async def accounts_read_from_answers(ctx: Context) -> None:
    api: Any = nats.js.api
    names = ["max_memory", "max_storage", "max_streams", "max_consumers", "max_ack_pending"]
    names += ["memory_max_stream_bytes", "storage_max_stream_bytes"]
    limits = {**dict.fromkeys(names, -1), "max_bytes_required": False}
    tier = {"memory": 1, "storage": 2, "streams": 3, "consumers": 4, "limits": limits}
    answer = {**tier, "limits": dict(limits), "api": {"total": 1, "errors": 0, "inflight": 2}}
    info = api.AccountInfo.from_response({**answer, "tiers": {"R1": tier}, "domain": "d"})
    ctx.say(info)
    ctx.say(type(info.tiers["R1"]).__name__, info.api.level)


@scenario(start=False)
async def times(ctx: Context) -> None:
    parse, format_ = nats.js.api.Base._parse_utc_iso, nats.js.api.Base._to_utc_iso
    for text in (
        WHEN,
        "2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05.1Z",
        "2026-01-02T03:04:05.123456+02:00",
        "2026-01-02T03:04:05+02:00",
        "0001-01-01T00:00:00Z",
    ):
        when = parse(text)
        ctx.say(text, when, format_(when))
    east = datetime.timezone(datetime.timedelta(hours=2))
    times: list[Any] = [
        datetime.datetime(2026, 1, 2, 3, 4, 5),
        datetime.datetime(2026, 1, 2, 3, 4, 5, 10, tzinfo=east),
        "as it is",
    ]
    for value in times:
        ctx.say(value, format_(value))
    for text in ("", "x"):
        await ctx.attempt(f"parse {text!r}", lambda text=text: parse(text))
    for value in (None, 0, 1, 0.1, 1.9999999999, -1, 9e9):
        ctx.say(value, nats.js.api.Base._to_nanoseconds(value))


@scenario(
    start=False,
    differs="a server west of Greenwich may use such times",
    expected=[
        "2026-01-02T03:04:05.5-02:00 gives "
        "datetime.datetime(2026, 1, 2, 5, 4, 5, 500000, tzinfo=datetime.timezone.utc)",
    ],
)
async def times_of_the_west(ctx: Context) -> None:
    text = "2026-01-02T03:04:05.5-02:00"
    try:
        ctx.say(text, "gives", nats.js.api.Base._parse_utc_iso(text))
    except ValueError:
        ctx.say(text, "is refused")


@scenario(
    start=False,
    differs="4.1 times 1e9, cut off, is one nanosecond short",
    expected=["4.1 4100000000", "0.57 570000000", "1.001 1001000000"],
)
async def exact_nanoseconds(ctx: Context) -> None:
    for value in (4.1, 0.57, 1.001):
        ctx.say(value, nats.js.api.Base._to_nanoseconds(value))


@scenario(start=False)
async def copies(ctx: Context) -> None:
    api: Any = nats.js.api
    config = api.StreamConfig(name="S", subjects=["s"])
    other = config.evolve(name="T", max_age=5)
    ctx.say(other == config, other.subjects is config.subjects, config.max_age, other.max_age)
    ctx.say(config == api.StreamConfig(name="S", subjects=["s"]), config != other)
    await ctx.attempt("evolve", lambda: config.evolve(wrong=1))
    await ctx.attempt("positional", lambda: api.StreamConfig("S", "text", ["s"]).name)
    await ctx.attempt("hash", lambda: hash(config))
    config.anything = 1
    ctx.say(config.anything, api.KeyValueConfig("b").evolve(history=5))


@scenario(start=False)
async def values_of_enums(ctx: Context) -> None:
    api: Any = nats.js.api
    names = "AckPolicy DeliverPolicy ReplayPolicy RetentionPolicy StorageType DiscardPolicy "
    names += "StoreCompression PersistMode StatusCode Header"
    for name in names.split():
        ctx.say(name, [(member.name, member.value) for member in getattr(api, name)])
    ctx.say(api.AckPolicy.ALL == "all", str(api.AckPolicy.ALL), f"{api.AckPolicy.ALL:>5}")
    ctx.say(api.AckPolicy("all"), {"Status": 1}[api.Header.STATUS], api.DEFAULT_PREFIX)
    await ctx.attempt("wrong", lambda: api.AckPolicy("wrong"))


@scenario(start=False)
async def lists_of_streams(ctx: Context) -> None:
    api: Any = nats.js.api
    state = {"messages": 1, "bytes": 2, "first_seq": 1, "last_seq": 1, "consumer_count": 0}
    entries = [{"config": {"name": name}, "state": dict(state)} for name in ("A", "B")]
    found = api.StreamsListIterator(0, 2, entries)
    ctx.say(iter(found) is found, next(found).config.name, len(found.streams), found.total)
    ctx.say([info.config.name for info in found], next(found, "end"))
