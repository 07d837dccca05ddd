"""Managing consumers."""

from __future__ import annotations

import datetime
from typing import Any

import nats
from parity.harness import Context, jetstream_scenario
from parity.scenarios._jetstream import begin, fill, shown, spy, told


@jetstream_scenario
async def consumers_come_and_go(ctx: Context) -> None:
    _, js = await begin(ctx)
    await fill(js, 3)
    await told(ctx, "info before", js.consumer_info("S", "d"))
    info = await told(ctx, "add", js.add_consumer("S", durable_name="d", ack_policy="explicit"))
    ctx.say(type(info.config).__name__, type(info.delivered).__name__, info.created.tzinfo)
    await told(ctx, "same", js.add_consumer("S", durable_name="d", ack_policy="explicit"))
    await told(ctx, "changed", js.add_consumer("S", durable_name="d", description="new"))
    await told(ctx, "other policy", js.add_consumer("S", durable_name="d", ack_policy="none"))
    await told(ctx, "info", js.consumer_info("S", "d"))
    await told(ctx, "delete", js.delete_consumer("S", "d"))
    await told(ctx, "again", js.delete_consumer("S", "d"))
    await told(ctx, "info afterwards", js.consumer_info("S", "d"))
    await told(ctx, "no stream", js.add_consumer("T", durable_name="d"))
    await told(ctx, "info of no stream", js.consumer_info("T", "d"))
    await told(ctx, "list of no stream", js.consumers_info("T"))


@jetstream_scenario
async def names_choose_the_request(ctx: Context) -> None:
    nc, js = await begin(ctx)
    say = await spy(ctx, nc)
    ephemeral = await js.add_consumer("S", inactive_threshold=60)
    ctx.rename(ephemeral.name, "<ephemeral>")
    ctx.say(ephemeral.name, ephemeral.config.durable_name)
    kinds: list[dict[str, Any]] = [
        {"durable_name": "d1"},
        {"durable_name": "d2", "filter_subject": "s.a"},
        {"name": "n1", "inactive_threshold": 60},
        {"name": "n2", "filter_subject": "s.a"},
        {"name": "n3", "filter_subject": ">"},
        {"name": "n4", "filter_subjects": ["s.a", "s.b"]},
        {"name": "both", "durable_name": "both", "filter_subject": "s.*"},
        {"name": "one", "durable_name": "other"},
    ]
    for params in kinds:
        info = await told(ctx, f"{params}", js.add_consumer("S", **params))
        if not isinstance(info, Exception):
            ctx.say(info.name, info.config.durable_name, info.config.filter_subject)
    await say()


@jetstream_scenario
async def wrong_consumer_names(ctx: Context) -> None:
    _, js = await begin(ctx)
    for name in ("a.b", "a b", "*", ">", "a/b", "a\\b", "a\tb", "x>"):
        await told(ctx, f"durable {name!r}", js.add_consumer("S", durable_name=name))
        await told(ctx, f"name {name!r}", js.add_consumer("S", name=name))
    wrong: list[Any] = ["", "a.b", None]
    for name in wrong:
        await told(ctx, f"info {name!r}", js.consumer_info("S", name))
        await told(ctx, f"delete {name!r}", js.delete_consumer("S", name))
        await told(ctx, f"pause {name!r}", js.pause_consumer("S", name, "x"))
        await told(ctx, f"resume {name!r}", js.resume_consumer("S", name))
        await told(ctx, f"reset {name!r}", js.reset_consumer("S", name))


@jetstream_scenario
async def text_and_enum_values(ctx: Context) -> None:
    _, js = await begin(ctx)
    api: Any = nats.js.api
    kinds: list[dict[str, Any]] = [
        {"ack_policy": "all", "deliver_policy": "new", "replay_policy": "original"},
        {"ack_policy": api.AckPolicy.NONE, "deliver_policy": api.DeliverPolicy.LAST},
        {"deliver_policy": api.DeliverPolicy.LAST_PER_SUBJECT, "filter_subject": "s.>"},
        {"deliver_policy": "by_start_sequence", "opt_start_seq": 2},
        {"replay_policy": api.ReplayPolicy.ORIGINAL},
        {"deliver_policy": "by_start_sequence"},
        {"opt_start_seq": 3},
        {"ack_policy": "wrong"},
        {"deliver_policy": "wrong"},
        {"filter_subject": "other"},
        {"filter_subject": "s.a", "filter_subjects": ["s.b"]},
        {"max_deliver": 3, "sample_freq": "50%", "max_ack_pending": 7, "headers_only": True},
        {"rate_limit_bps": 100},
        {"max_waiting": 3, "num_replicas": 1, "mem_storage": True, "metadata": {"a": "b"}},
        {"idle_heartbeat": 1},
        {"flow_control": True},
        {"deliver_subject": "s.loop"},
        {"wrong": 1},
    ]
    for number, params in enumerate(kinds):
        info = await ctx.attempt(f"{params}", js.add_consumer("S", name=f"c{number}", **params))
        if isinstance(info, api.ConsumerInfo):
            ctx.say({key: getattr(info.config, key) for key in params})


@jetstream_scenario
async def seconds_and_times(ctx: Context) -> None:
    nc, js = await begin(ctx)
    say = await spy(ctx, nc)
    utc = datetime.timezone.utc
    east = datetime.timezone(datetime.timedelta(hours=2))
    moments = [
        datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=utc),
        datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=utc),
        datetime.datetime(2026, 1, 2, 3, 4, 5, 500000),
        datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=east),
        "2026-01-02T03:04:05.123456789Z",
    ]
    kinds: list[dict[str, Any]] = [
        {"ack_wait": 0.5, "inactive_threshold": 1.5},
        {"ack_wait": 60, "backoff": [0.1, 1, 2.5], "max_deliver": 4},
        {"backoff": [0.1, 1, 2.5], "max_deliver": 2},
        {"idle_heartbeat": 0.25, "deliver_subject": "to"},
        {"idle_heartbeat": 0.05, "deliver_subject": "to"},
        *({"deliver_policy": "by_start_time", "opt_start_time": when} for when in moments),
        {"deliver_policy": "by_start_time", "opt_start_time": "yesterday"},
    ]
    for number, params in enumerate(kinds):
        name = f"c{number}"
        info = await ctx.attempt(name, js.add_consumer("S", name=name, **params))
        if not isinstance(info, Exception):
            ctx.say([getattr(info.config, key) for key in params if key != "deliver_policy"])
    await say()


@jetstream_scenario
async def config_objects_and_keywords(ctx: Context) -> None:
    _, js = await begin(ctx)
    config = nats.js.api.ConsumerConfig(durable_name="d", description="one")
    info = await js.add_consumer("S", config, description="two")
    ctx.say(info.config.description, config.description, config.ack_policy, config.name)
    info.config.description = "three"
    info = await js.add_consumer("S", info.config, timeout=2)
    ctx.say(info.config.description, info.config.ack_policy, type(info.config.ack_policy).__name__)
    await ctx.attempt("a dictionary", js.add_consumer("S", {"durable_name": "x"}))


@jetstream_scenario
async def lists_of_consumers(ctx: Context) -> None:
    nc, js = await begin(ctx)
    say = await spy(ctx, nc)
    await told(ctx, "none", js.consumers_info("S"))
    for number in range(3):
        await js.add_consumer("S", durable_name=f"c{number}")
    for offset in (None, 0, 1, 3, 9):
        infos = await js.consumers_info("S", offset=offset)
        ctx.say(offset, sorted(info.name for info in infos) if not offset else len(infos))
    ctx.say(shown((await js.consumers_info("S"))[0])["stream_name"])
    await say(ignore=("config",))


@jetstream_scenario
async def pausing(ctx: Context) -> None:
    nc, js = await begin(ctx)
    say = await spy(ctx, nc)
    await js.add_consumer("S", durable_name="d")
    await told(ctx, "pause", js.pause_consumer("S", "d", "2099-01-02T03:04:05Z"))
    info = await js.consumer_info("S", "d")
    ctx.say(info.paused, info.config.pause_until, type(info.pause_remaining).__name__)
    await fill(js, 1)
    sub = await js.pull_subscribe_bind("d", "S")
    await told(ctx, "fetch", sub.fetch(timeout=0.1))
    await told(ctx, "resume", js.resume_consumer("S", "d", timeout=3))
    info = await js.consumer_info("S", "d")
    ctx.say(info.paused, info.config.pause_until, info.pause_remaining)
    await told(ctx, "in the past", js.pause_consumer("S", "d", "2001-01-02T03:04:05Z"))
    await told(ctx, "no time", js.pause_consumer("S", "d", "tomorrow"))
    await told(ctx, "unknown", js.pause_consumer("S", "x", "2099-01-02T03:04:05Z"))
    info = await js.add_consumer("S", durable_name="p", pause_until="2099-01-02T03:04:05Z")
    ctx.say(info.paused, info.config.pause_until)
    await say(ignore=("config",))


@jetstream_scenario
async def resetting(ctx: Context) -> None:
    nc, js = await begin(ctx)
    await told(ctx, "unknown", js.reset_consumer("S", "x", timeout=0.1))
    say = await spy(ctx, nc, "$JS.API.CONSUMER.RESET.>")
    await fill(js, 5)
    sub = await js.pull_subscribe("s.a", "d")
    for msg in await sub.fetch(3):
        await msg.ack_sync()
    for seq in (None, 0, 2, 5, 100):
        result = await told(ctx, f"reset to {seq}", js.reset_consumer("S", "d", seq))
        if not isinstance(result, Exception):
            [msg] = await sub.fetch(timeout=0.2) if seq != 100 else [None]
            ctx.say(result.reset_seq, type(result.info).__name__, msg and msg.data)
    params = {"deliver_policy": "by_start_sequence", "opt_start_seq": 3}
    await js.add_consumer("S", durable_name="from3", **params)
    await told(ctx, "below the start", js.reset_consumer("S", "from3", 1))
    await told(ctx, "above it", js.reset_consumer("S", "from3", seq=4))
    await js.add_consumer("S", durable_name="new", deliver_policy="new")
    await told(ctx, "new", js.reset_consumer("S", "new", 1))
    await say()


@jetstream_scenario
async def progress_in_the_info(ctx: Context) -> None:
    _, js = await begin(ctx)
    await fill(js, 4)
    sub = await js.pull_subscribe("s.a", "d")
    msgs = await sub.fetch(3)
    await msgs[0].ack_sync()
    await told(ctx, "info", sub.consumer_info())
    await sub.fetch(1)
    info = await js.consumer_info("S", "d")
    ctx.say(info.num_ack_pending, info.num_redelivered, info.num_pending, info.num_waiting)
    ctx.say(info.ack_floor.stream_seq, info.delivered.consumer_seq, info.delivered.stream_seq)
    # What the server says beyond the attributes is in our dictionaries, too.
    known = sorted(name for name in info.as_dict() if hasattr(info, name))
    ctx.say(type(info.delivered.last_active).__name__, known)
