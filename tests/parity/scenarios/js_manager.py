"""Managing streams and the messages in them."""

from __future__ import annotations

import asyncio
from typing import Any

import nats
from parity.harness import Context, jetstream_scenario, scenario
from parity.scenarios._jetstream import begin, fill, mask, shown, spy, told


async def state(js: Any) -> Any:
    info = (await js.stream_info("S")).state
    return info.messages, info.first_seq, info.last_seq


@jetstream_scenario
async def streams_come_and_go(ctx: Context) -> None:
    nc = await ctx.connect()
    js = nc.jetstream()
    await told(ctx, "info before", js.stream_info("S"))
    info = await told(ctx, "add", js.add_stream(name="S", subjects=["s.>"], storage="memory"))
    ctx.say(type(info.config).__name__, type(info.state).__name__, info.created.tzinfo)
    await told(ctx, "same again", js.add_stream(name="S", subjects=["s.>"], storage="memory"))
    await told(ctx, "others", js.add_stream(name="S", subjects=["t"], storage="memory"))
    await told(ctx, "overlap", js.add_stream(name="T", subjects=["s.a"], storage="memory"))
    await told(ctx, "info", js.stream_info("S"))
    await told(ctx, "delete", js.delete_stream("S"))
    await told(ctx, "delete again", js.delete_stream("S"))
    await told(ctx, "info afterwards", js.stream_info("S"))
    await told(ctx, "update afterwards", js.update_stream(name="S", subjects=["s"]))


@jetstream_scenario
async def text_and_enum_values(ctx: Context) -> None:
    nc = await ctx.connect()
    js, api = nc.jetstream(), nats.js.api
    kinds: list[dict[str, Any]] = [
        {"retention": "limits", "discard": "new", "storage": "file", "compression": "s2"},
        {"retention": api.RetentionPolicy.LIMITS, "discard": api.DiscardPolicy.NEW},
        {"storage": api.StorageType.MEMORY, "compression": api.StoreCompression.NONE},
        {"retention": "workqueue", "storage": "memory", "discard": "old"},
        {"retention": api.RetentionPolicy.WORK_QUEUE},
        {"retention": api.RetentionPolicy.INTEREST, "storage": api.StorageType.FILE},
        {"persist_mode": api.PersistMode.ASYNC, "storage": "file"},
        {"retention": "wrong"},
        {"storage": "wrong"},
        {"discard": "wrong"},
        {"compression": "wrong"},
        {"metadata": "wrong"},
    ]
    for number, params in enumerate(kinds):
        name = f"S{number}"
        info = await ctx.attempt(f"{params}", js.add_stream(name=name, subjects=[name], **params))
        if isinstance(info, api.StreamInfo):
            config = info.config
            ctx.say(config.retention, config.discard, config.storage, config.compression)
            ctx.say(config.retention == params.get("retention"), type(config.storage).__name__)


@jetstream_scenario
async def config_objects_and_keywords(ctx: Context) -> None:
    nc = await ctx.connect()
    js = nc.jetstream()
    api: Any = nats.js.api
    config = api.StreamConfig(name="S", subjects=["s"], storage="memory", description="one")
    info = await js.add_stream(config, description="two", metadata={"a": "b"})
    ctx.say(info.config.description, info.config.metadata["a"], config.description)
    info = await js.add_stream(config=config.evolve(name="T", subjects=["t"]), max_msgs=3)
    ctx.say(info.config.name, info.config.max_msgs, config.name, config.max_msgs)
    info = await js.update_stream(info.config, max_msgs=4)
    ctx.say(info.config.max_msgs, info.did_create)
    await ctx.attempt("unknown keyword", js.add_stream(config, wrong=1))
    await ctx.attempt("a dictionary", js.add_stream({"name": "U"}))
    await told(ctx, "no name", js.add_stream(subjects=["u"]))
    await ctx.attempt("no subjects", js.add_stream(name="U", storage="memory"))
    ctx.say((await js.stream_info("U")).config.subjects)


@jetstream_scenario
async def seconds(ctx: Context) -> None:
    nc = await ctx.connect()
    js, api = nc.jetstream(), nats.js.api
    mask(ctx)
    say = await spy(ctx, nc)
    limits = api.StreamConsumerLimits(inactive_threshold=2.5, max_ack_pending=10)
    kinds: list[dict[str, Any]] = [
        {"max_age": 1.5, "duplicate_window": 0.5},
        {"max_age": 9e9},
        {"max_age": 3600, "duplicate_window": 60},
        {"max_age": 0.1 + 0.2, "duplicate_window": 0.1},
        {"consumer_limits": limits},
        {"max_age": 10, "allow_msg_ttl": True, "subject_delete_marker_ttl": 1.5},
        {"subject_delete_marker_ttl": -1},
        {"duplicate_window": 3600, "max_age": 60},
        {"max_age": 0.01},
        {"max_age": 1e10},
    ]
    for number, params in enumerate(kinds):
        name = f"S{number}"
        config = {"name": name, "subjects": [name], "storage": "memory", **params}
        info = await ctx.attempt(name, js.add_stream(**config))
        if isinstance(info, api.StreamInfo):
            ctx.say({key: shown(getattr(info.config, key)) for key in params})
    await say()


@jetstream_scenario
async def wrong_stream_names(ctx: Context) -> None:
    nc = await ctx.connect()
    js = nc.jetstream()
    wrong = [None, "", "a.b", "a b", "*", ">", "a/b", "a\\b", "a\tb", "a\r\n", "a>"]
    for name in wrong:
        await told(ctx, f"add {name!r}", js.add_stream(name=name, subjects=["x"]))
    calls = {
        "update_stream": lambda name: js.update_stream(name=name),
        "delete_stream": js.delete_stream,
        "stream_info": js.stream_info,
        "purge_stream": js.purge_stream,
        "consumer_info": lambda name: js.consumer_info(name, "c"),
        "add_consumer": js.add_consumer,
        "delete_consumer": lambda name: js.delete_consumer(name, "c"),
        "consumers_info": js.consumers_info,
        "pause_consumer": lambda name: js.pause_consumer(name, "c", "x"),
        "reset_consumer": lambda name: js.reset_consumer(name, "c"),
        "get_msg": js.get_msg,
        "get_last_msg": lambda name: js.get_last_msg(name, "s"),
        "delete_msg": lambda name: js.delete_msg(name, 1),
    }
    for label, call in calls.items():
        for name in ("", "a.b", None):
            await told(ctx, f"{label} {name!r}", call(name))
    for name in ("ä", "a" * 250, "-", "S_1"):
        await ctx.attempt(f"add {name!r}", js.add_stream(name=name, storage="memory"))
    await told(ctx, "too long", js.add_stream(name="a" * 256, storage="memory"))


@jetstream_scenario
async def updating(ctx: Context) -> None:
    _, js = await begin(ctx)
    await fill(js, 5)
    info = await js.update_stream(name="S", subjects=["s.>", "t"], storage="memory", max_msgs=3)
    ctx.say(info.config.subjects, info.config.max_msgs, shown(info.state))
    await told(ctx, "storage", js.update_stream(name="S", subjects=["s.>"], storage="file"))
    info.config.description = "changed"
    info = await js.update_stream(info.config)
    ctx.say(info.config.description, info.config.max_msgs)
    await told(ctx, "name only", js.update_stream(name="S"))
    info.config.sealed = True
    await js.update_stream(info.config)
    await told(ctx, "publish to a sealed one", js.publish("s.a", b""))
    info.config.sealed = False
    await told(ctx, "unseal", js.update_stream(info.config))


@jetstream_scenario
async def lists_of_streams(ctx: Context) -> None:
    nc = await ctx.connect()
    js = nc.jetstream()
    await told(ctx, "none", js.streams_info())
    for name in ("A", "B", "C"):
        await js.add_stream(name=name, subjects=[name.lower()], storage="memory")
    for offset in (0, 2, 3, 5):
        infos = await js.streams_info(offset=offset)
        ctx.say(offset, [info.config.name for info in infos])
        found = await js.streams_info_iterator(offset)
        ctx.say(type(found).__name__, found.offset, found.total, len(found.streams))
        ctx.say([info.config.name for info in found], [info.config.name for info in found])
    ctx.say(shown((await js.streams_info())[0]))


@jetstream_scenario
async def purging(ctx: Context) -> None:
    _, js = await begin(ctx)
    for _ in range(3):
        for subject in ("s.a", "s.b", "s.c"):
            await js.publish(subject, b"x")
    await told(ctx, "subject", js.purge_stream("S", subject="s.a"))
    ctx.say(await state(js))
    await told(ctx, "keep", js.purge_stream("S", subject="s.b", keep=1))
    ctx.say(await state(js))
    await told(ctx, "sequence", js.purge_stream("S", seq=6))
    ctx.say(await state(js))
    await told(ctx, "both", js.purge_stream("S", seq=9, keep=1))
    await told(ctx, "keep more", js.purge_stream("S", keep=100))
    ctx.say(await state(js))
    await told(ctx, "keep 0", js.purge_stream("S", keep=0))
    ctx.say(await state(js))
    await told(ctx, "unknown", js.purge_stream("T"))
    await js.add_stream(name="P", subjects=["p"], storage="memory", deny_purge=True)
    await told(ctx, "denied", js.purge_stream("P"))


@jetstream_scenario
async def finding_streams(ctx: Context) -> None:
    _, js = await begin(ctx, "s.>", "t.*.x")
    await js.add_stream(name="R", subjects=["r.>"], storage="memory")
    for subject in ("s.a", "s.>", "t.1.x", "t.1", "*.a", ">", "r.1.2", "none", "", "a b"):
        await told(ctx, subject, js.find_stream_name_by_subject(subject))


@jetstream_scenario
async def subjects_of_a_stream(ctx: Context) -> None:
    _, js = await begin(ctx)
    for subject in ("s.a", "s.b", "s.b", "s.c.d"):
        await js.publish(subject, b"x")
    await js.delete_msg("S", 2)
    for wanted in (None, "", ">", "s.b", "s.*", "none"):
        ctx.say(wanted, shown((await js.stream_info("S", wanted)).state))


async def stored(ctx: Context, js: Any, direct: bool) -> None:
    def get(**params: Any) -> Any:
        return js.get_msg("S", direct=direct, **params)

    await js.publish("s.a", b"one")
    await js.publish("s.a", b"two", headers={"A": "b", "C": " d e "})
    await js.publish("s.b", b"")
    await js.publish("s.b", b"", headers={"Empty": ""})
    await js.publish("s.b", b"\x00\xff\r\n")
    for seq in (1, 2, 3, 4, 5, 6, -1):
        await told(ctx, f"sequence {seq}", get(seq=seq))
    await told(ctx, "last", get(subject="s.a"))
    await told(ctx, "last of a wildcard", get(subject="s.*"))
    await told(ctx, "last of none", get(subject="s.none"))
    await told(ctx, "sequence and subject", get(seq=1, subject="s.b"))
    await told(ctx, "next", get(seq=2, subject="s.b", next=True))
    await told(ctx, "next of none", get(seq=6, subject="s.b", next=True))
    await told(ctx, "next without sequence", get(subject="s.b", next=True))
    await told(ctx, "nothing", get())
    await told(ctx, "get_last_msg", js.get_last_msg("S", "s.a", direct=direct))
    msg = await js.get_msg("S", 2, direct=direct)
    ctx.say(msg.header is msg.headers, msg.sequence, type(msg.data).__name__, msg.time.tzinfo)
    ctx.say(type(msg.headers).__name__)


@jetstream_scenario
async def stored_messages(ctx: Context) -> None:
    nc, js = await begin(ctx)
    say = await spy(ctx, nc, "$JS.API.STREAM.MSG.GET.>")
    await stored(ctx, js, direct=False)
    await told(ctx, "of no stream", js.get_msg("T", 1))
    await say()


@jetstream_scenario
async def stored_messages_directly(ctx: Context) -> None:
    nc, js = await begin(ctx, allow_direct=True)
    say = await spy(ctx, nc, "$JS.API.DIRECT.>")
    await stored(ctx, js, direct=True)
    await say()


@jetstream_scenario
async def directly_where_it_is_not_allowed(ctx: Context) -> None:
    _, js = await begin(ctx)
    await fill(js, 1)
    await told(ctx, "not allowed", js.get_msg("S", 1, direct=True))
    await told(ctx, "no stream", js.get_msg("T", 1, direct=True))
    await told(ctx, "last", js.get_last_msg("T", "x", direct=True))


@jetstream_scenario
async def deleting_messages(ctx: Context) -> None:
    nc, js = await begin(ctx)
    await fill(js, 3)
    say = await spy(ctx, nc)
    await told(ctx, "delete", js.delete_msg("S", 2))
    await told(ctx, "again", js.delete_msg("S", 2))
    await told(ctx, "unknown", js.delete_msg("S", 10))
    await told(ctx, "zero", js.delete_msg("S", 0))
    await told(ctx, "no stream", js.delete_msg("T", 1))
    ctx.say(await state(js))
    await say()
    await js.add_stream(name="D", subjects=["d"], storage="memory", deny_delete=True)
    await js.publish("d", b"")
    await told(ctx, "denied", js.delete_msg("D", 1))


@jetstream_scenario
async def sources_and_transforms(ctx: Context) -> None:
    nc, js = await begin(ctx)
    api: Any = nats.js.api
    await fill(js, 2)
    say = await spy(ctx, nc, "$JS.API.STREAM.CREATE.>")
    mirror = api.StreamSource(name="S", filter_subject="s.a")
    await told(ctx, "mirror", js.add_stream(name="M", mirror=mirror, storage="memory"))
    transform = api.SubjectTransform(src="s.*", dest="t.$1")
    source = api.StreamSource(name="S", opt_start_seq=2, subject_transforms=[transform])
    info = await js.add_stream(name="T", sources=[source], storage="memory")
    ctx.say(shown(info.config.sources))
    for name in ("M", "T"):
        for _ in range(100):
            info = await js.stream_info(name)
            if info.state.messages and not (info.mirror or info.sources[0]).lag:
                break
            await asyncio.sleep(0.02)
        ctx.say(name, info.state.messages, type(info.mirror).__name__)
    ctx.say((await js.get_msg("T", 1)).subject, info.sources[0].name)
    republish = api.RePublish(src=">", dest="copy.>", headers_only=True)
    params: dict[str, Any] = {"republish": republish, "subject_transform": transform}
    transform.src = "s2.*"
    info = await js.add_stream(name="R", subjects=["s2.*"], storage="memory", **params)
    ctx.say(shown(info.config.republish), shown(info.config.subject_transform))
    placement = api.Placement(cluster="c", tags=["t"])
    await told(ctx, "placement", js.add_stream(name="P", placement=placement))
    await told(ctx, "replicas", js.add_stream(name="P", subjects=["p"], num_replicas=3))
    await say()


@jetstream_scenario
async def accounts(ctx: Context) -> None:
    _, js = await begin(ctx)
    await fill(js, 2)
    await js.add_consumer("S", durable_name="d")
    await told(ctx, "account", js.account_info())
    info = await js.account_info()
    ctx.say(type(info.limits).__name__, type(info.api).__name__, info.tiers)


@jetstream_scenario(config="jetstream {domain: hub}\n")
async def domains(ctx: Context) -> None:
    nc = await ctx.connect()
    mask(ctx)
    js = nc.jetstream(domain="hub")
    info = await js.account_info()
    ctx.say(info.domain)
    await js.add_stream(name="S", subjects=["s"], storage="memory")
    await told(ctx, "ack", js.publish("s", b"1"))
    sub = await js.pull_subscribe("s", "d")
    [msg] = await sub.fetch()
    await msg.ack_sync()
    ctx.say(msg.metadata.domain, shown(msg.metadata), msg.reply.split(".")[:3])
    ctx.say((await nc.jetstream(prefix="$JS.hub.API").account_info()).domain)
    ctx.say((await nc.jsm(prefix="$JS.hub.API").stream_info("S")).state.messages)
    ctx.say((await nc.jetstream().account_info()).domain)
    await told(ctx, "unknown domain", nc.jetstream(domain="x").account_info())
    await told(ctx, "unknown prefix", nc.jetstream(prefix="x").stream_info("S"))
    say = await spy(ctx, nc, "x.>", "$JS.y.API.>")
    for options in ({"prefix": "x"}, {"domain": "y"}, {"prefix": "x", "domain": "y"}):
        await told(ctx, "unanswered", nc.jetstream(**options, timeout=0.05).stream_info("S"))
    await say()


@scenario
async def no_jetstream(ctx: Context) -> None:
    nc = await ctx.connect()
    js = nc.jetstream()
    await told(ctx, "account_info", js.account_info())
    await told(ctx, "add_stream", js.add_stream(name="S"))
    await told(ctx, "find", js.find_stream_name_by_subject("s"))
    await told(ctx, "get_msg", js.get_msg("S", 1))
    await told(ctx, "get_msg directly", js.get_msg("S", 1, direct=True))
    await told(ctx, "publish", js.publish("s", b""))
    await told(ctx, "subscribe", js.subscribe("s"))
    await told(ctx, "pull_subscribe", js.pull_subscribe("s"))
    await told(ctx, "key_value", js.key_value("b"))
    await told(ctx, "create_key_value", js.create_key_value(bucket="b"))
    await told(ctx, "object_store", js.object_store("b"))


@jetstream_scenario
async def timeouts(ctx: Context) -> None:
    nc, _ = await begin(ctx, "s")
    js = nc.jetstream(timeout=0.05)
    ctx.server.pause()
    await told(ctx, "stream_info", js.stream_info("S"))
    await told(ctx, "get_msg", js.get_msg("S", 1))
    await told(ctx, "get_msg directly", js.get_msg("S", 1, direct=True))
    await told(ctx, "publish", js.publish("s", b""))
    await told(ctx, "publish with a timeout", js.publish("s", b"", timeout=0.01))
    await told(ctx, "consumer_info", js.consumer_info("S", "c", timeout=0.01))
    await told(ctx, "subscribe", js.subscribe("s"))
    ctx.server.resume()
    ctx.say("connected", nc.is_connected)


@jetstream_scenario
async def streams_survive_a_restart(ctx: Context) -> None:
    mask(ctx)
    nc = await ctx.connect(**ctx.callbacks(once=True), reconnect_time_wait=0.1)
    js = nc.jetstream()
    await js.add_stream(name="F", subjects=["f"], storage="file")
    await js.add_stream(name="M", subjects=["m"], storage="memory")
    for subject in ("f", "m"):
        await js.publish(subject, b"1")
    ctx.server.stop()
    await ctx.until_said("error_cb ConnectionRefusedError")
    await ctx.server.start()
    await ctx.until_said("reconnected_cb")
    await js.publish("f", b"2")
    ctx.say((await js.stream_info("F")).state.messages)
    await told(ctx, "in memory", js.stream_info("M"))
    ctx.say((await js.get_msg("F", 1)).data)


@jetstream_scenario
async def states_in_which_managing_fails(ctx: Context) -> None:
    nc, js = await begin(ctx)
    await nc.close()
    await told(ctx, "stream_info", js.stream_info("S"))
    await told(ctx, "wrong name", js.stream_info(""))
    await told(ctx, "publish", js.publish("s.a", b""))
    await told(ctx, "publish_async", js.publish_async("s.a", b""))
    await told(ctx, "subscribe", js.subscribe("s.a"))
    await told(ctx, "pull_subscribe", js.pull_subscribe("s.a"))
