"""Services."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from nats.errors import TimeoutError as RequestTimeout
from parity.harness import Context, scenario, settle
from parity.scenarios._jetstream import mask, shown, told


async def service(ctx: Context, **config: Any) -> tuple[Any, Any]:
    """Return a client and a service with the endpoint echo."""
    import nats.micro

    mask(ctx)
    nc = await ctx.connect()
    config = {"name": "demo", "version": "1.2.3", **config}
    return nc, await nats.micro.add_service(nc, **config)


async def echo(request: Any) -> None:
    await request.respond(request.data)


async def ask(ctx: Context, nc: Any, subject: str, data: bytes = b"", **options: Any) -> None:
    """Send a request and say the answer, JSON with its volatile members hidden."""
    try:
        msg = await nc.request(subject, data, timeout=1, **options)
    except Exception as error:
        ctx.say(subject, "raises", error)
        return
    try:
        answer = shown(json.loads(msg.data))
        ctx.say(subject, "JSON", list(answer) if isinstance(answer, dict) else "", answer)
    except ValueError:
        ctx.say(subject, msg.data)
    ctx.say("headers", msg.headers)


@scenario
async def information(ctx: Context) -> None:
    nc, svc = await service(ctx, description="text", metadata={"a": "b"})
    await svc.add_endpoint(name="echo", handler=echo, metadata={})
    await svc.add_endpoint(name="more", subject="other.*", handler=echo, metadata={"c": "d"})
    await ask(ctx, nc, "echo", b"data")
    await ask(ctx, nc, "other.x", b"data")
    for verb in ("PING", "INFO", "STATS"):
        for suffix in ("", ".demo", f".demo.{svc.id}", ".wrong", ".demo.wrong"):
            await ask(ctx, nc, f"$SRV.{verb}{suffix}")
    ctx.say(shown(svc.info()), shown(svc.stats()))
    ctx.say(svc.info().to_dict() == json.loads((await nc.request("$SRV.INFO")).data))
    ctx.say(type(svc).__name__, len(svc.id), svc.stopped.is_set())


@scenario
async def defaults(ctx: Context) -> None:
    nc, svc = await service(ctx)
    for verb in ("PING", "STATS"):
        await ask(ctx, nc, f"$SRV.{verb}")
    ctx.say(len(nc._subs))
    await svc.start()
    ctx.say("started twice", len(nc._subs))


@scenario(
    differs="ADR-32 has a string and objects there",
    expected=["'' {} {}", "'' {}"],
)
async def nothing_instead_of_null(ctx: Context) -> None:
    from nats.micro import service as module

    nc, svc = await service(ctx)
    await svc.add_endpoint(name="echo", handler=echo)
    answer = json.loads((await nc.request("$SRV.INFO")).data)
    [endpoint] = answer["endpoints"]
    ctx.say(repr(answer["description"]), answer["metadata"], endpoint["metadata"])
    entry = module.EndpointInfo(name="e", subject="s", queue_group="q")
    info = module.ServiceInfo(
        name="n", id="i", version="1.0.0", description=None, endpoints=[entry], metadata={}
    )
    answer = info.to_dict()
    ctx.say(repr(answer["description"]), answer["endpoints"][0]["metadata"])


@scenario
async def requests(ctx: Context) -> None:
    nc, svc = await service(ctx)

    async def handler(request: Any) -> None:
        ctx.say(type(request).__name__, request.subject, request.headers, request.data)
        await request.respond(b"answer", headers={"c": "d"})

    async def twice(request: Any) -> None:
        await request.respond(b"1")
        await request.respond()

    async def silent(request: Any) -> None:
        await told(ctx, "respond without reply", request.respond(b"x"))

    for function in (handler, twice, silent):
        await svc.add_endpoint(name=function.__name__, handler=function)
    await ask(ctx, nc, "handler", b"data", headers={"a": "b"})
    await ask(ctx, nc, "handler")
    inbox = nc.new_inbox()
    sub = await nc.subscribe(inbox)
    await nc.publish("twice", b"", reply=inbox)
    for _ in range(2):
        msg = await sub.next_msg()
        ctx.say(msg.data, msg.headers)
    await nc.publish("silent", b"")
    await ctx.until_said("respond without reply")
    stats = [(entry.name, entry.num_requests, entry.num_errors) for entry in svc.stats().endpoints]
    ctx.say(stats)


@scenario
async def errors(ctx: Context) -> None:
    nc, svc = await service(ctx)
    from nats.micro.request import ServiceError

    async def responding(request: Any) -> None:
        await request.respond_error("400", "bad", b"more", headers={"a": "b"})

    async def plain(request: Any) -> None:
        await request.respond_error(code="401", description="")

    async def failing(request: Any) -> None:
        raise ServiceError("409", "conflict")

    async def broken(request: Any) -> None:
        raise LookupError("text")

    async def after_answer(request: Any) -> None:
        await request.respond(b"fine")
        raise LookupError("late")

    for function in (responding, plain, failing, broken, after_answer):
        await svc.add_endpoint(name=function.__name__, handler=function)
        for _ in range(2):
            await ask(ctx, nc, function.__name__)
    await settle(nc)
    for entry in svc.stats().endpoints:
        ctx.say(entry.name, entry.num_requests, entry.num_errors, entry.last_error)
    await nc.publish("broken", b"")
    await ctx.until_said("error_cb")
    error = ServiceError("1", "text")
    ctx.say(repr(error), str(error), error.to_dict(), ServiceError.from_dict({"code": "2"}))
    ctx.say(error == ServiceError("1", "text"), error.args)


@scenario
async def groups(ctx: Context) -> None:
    nc, svc = await service(ctx, queue_group="service")
    group = svc.add_group(name="v1")
    nested = group.add_group(name="admin", queue_group="admins")
    deeper = nested.add_group(name="x.y")
    ctx.say(type(group).__name__, type(nested).__name__)
    await group.add_endpoint(name="a", handler=echo)
    await nested.add_endpoint(name="b", handler=echo)
    await deeper.add_endpoint(name="c", handler=echo, subject="deep", queue_group="own")
    await svc.add_endpoint(name="d", handler=echo)
    await svc.add_group(name="").add_endpoint(name="e", handler=echo)
    await svc.add_group(name=".dots.").add_endpoint(name="f", handler=echo)
    ctx.say([(entry.name, entry.subject, entry.queue_group) for entry in svc.info().endpoints])
    for subject in ("v1.a", "v1.admin.b", "v1.admin.x.y.deep", "d", "e", "dots.f"):
        await ask(ctx, nc, subject, b"x")


@scenario
async def config_objects(ctx: Context) -> None:
    import nats.micro
    from nats.micro.service import EndpointConfig, GroupConfig, ServiceConfig

    mask(ctx)
    nc = await ctx.connect()
    config = ServiceConfig(name="demo", version="1.0.0", queue_group="q1")
    svc: Any = await nats.micro.add_service(nc, config, description="added")
    await svc.add_endpoint(EndpointConfig(name="a", handler=echo, metadata={}), subject="other")
    group = svc.add_group(GroupConfig(name="g"), queue_group="q2")
    endpoint = EndpointConfig(name="b", handler=echo, queue_group="q3", metadata={"c": "d"})
    await group.add_endpoint(endpoint)
    ctx.say(shown(svc.info()), config.description)
    await ctx.attempt("nothing", nats.micro.add_service(nc))
    await ctx.attempt("unknown", nats.micro.add_service(nc, config, wrong=1))


@scenario
async def wrong_configurations(ctx: Context) -> None:
    nc, svc = await service(ctx)
    import nats.micro

    good: dict[str, Any] = {"name": "demo", "version": "1.0.0"}

    async def attempt(what: str, action: Any) -> None:
        try:
            await action
            ctx.say(what, "is right")
        except ValueError as error:
            ctx.say(what, "ValueError", str(error))

    for name in ("", "a b", "a.b", "ä", "a_-1", "$"):
        await attempt(f"name {name!r}", nats.micro.add_service(nc, **{**good, "name": name}))
        await attempt(f"endpoint {name!r}", svc.add_endpoint(name=name, handler=echo))
    for version in ("", "1", "1.0", "v1.0.0", "1.0.0-a.1+b", "01.0.0", "1.0.0-"):
        params = {**good, "version": version}
        await attempt(f"version {version!r}", nats.micro.add_service(nc, **params))
    for queue in ("", "a b", "a.>", ">x", "*"):
        params = {**good, "queue_group": queue}
        await attempt(f"queue {queue!r}", nats.micro.add_service(nc, **params))
        params = {"name": "e", "handler": echo, "queue_group": queue}
        await attempt(f"queue {queue!r} of an endpoint", svc.add_endpoint(**params))
    for subject in ("", "a b", "a.>", ">x", "a.*.b"):
        params = {"name": "e", "handler": echo, "subject": subject}
        await attempt(f"subject {subject!r}", svc.add_endpoint(**params))
    await ctx.attempt("no handler", svc.add_endpoint(name="x"))
    await ctx.attempt("no coroutine", svc.add_endpoint(name="x", handler=print))


@scenario
async def statistics(ctx: Context) -> None:
    calls: list[str] = []

    def data(entry: Any) -> Any:
        calls.append(type(entry).__name__)
        return {"requests": entry.num_requests}

    nc, svc = await service(ctx, stats_handler=data)

    async def slow(request: Any) -> None:
        await asyncio.sleep(0.02)
        await request.respond(b"")

    await svc.add_endpoint(name="slow", handler=slow)
    for _ in range(3):
        await nc.request("slow", timeout=1)
    await settle(nc)
    entry = svc.stats().endpoints[0]
    ctx.say(entry.num_requests, entry.data, calls)
    ctx.say(entry.processing_time >= 60_000_000, entry.average_processing_time >= 20_000_000)
    ctx.say(entry.average_processing_time == int(entry.processing_time / 3))
    await ask(ctx, nc, "$SRV.STATS")


@scenario(
    differs="the counts of before made the average time of after",
    expected=["3 1", "restarted True", "0 0 None 0 0"],
)
async def statistics_after_a_reset(ctx: Context) -> None:
    nc, svc = await service(ctx)

    async def handler(request: Any) -> None:
        if request.data:
            raise LookupError
        await request.respond(b"")

    await svc.add_endpoint(name="work", handler=handler)
    for data in (b"", b"", b"x"):
        await nc.request("work", data, timeout=1)
    await settle(nc)
    entry = svc.stats().endpoints[0]
    ctx.say(entry.num_requests, entry.num_errors)
    started = svc.stats().started
    await svc.reset()
    ctx.say("restarted", svc.stats().started > started)
    entry = svc.stats().endpoints[0]
    times = (entry.processing_time, entry.average_processing_time)
    ctx.say(entry.num_requests, entry.num_errors, entry.last_error, *times)


@scenario
async def stopping(ctx: Context) -> None:
    nc, svc = await service(ctx)
    await svc.add_endpoint(name="echo", handler=echo)
    ctx.say(len(nc._subs))
    await ask(ctx, nc, "echo", b"x")
    waiting = asyncio.create_task(svc.stopped.wait())
    await svc.stop()
    await waiting
    ctx.say("stopped", svc.stopped.is_set(), len(nc._subs), shown(svc.info())["endpoints"])
    await ask(ctx, nc, "echo", b"x")
    await ask(ctx, nc, "$SRV.PING")
    await told(ctx, "again", svc.stop())
    await told(ctx, "reset", svc.reset())
    ctx.say("connected", nc.is_connected)


@scenario(
    differs="handlers are cancelled, and who has asked waits in vain",
    expected=["answer b'late'", "stopped True"],
)
async def stopping_while_a_handler_runs(ctx: Context) -> None:
    _, svc = await service(ctx)
    begun = asyncio.Event()

    async def slow(request: Any) -> None:
        begun.set()
        await asyncio.sleep(0.1)
        await request.respond(b"late")

    await svc.add_endpoint(name="slow", handler=slow)
    client = await ctx.connect()
    asking = asyncio.create_task(client.request("slow", timeout=3))
    await begun.wait()
    await svc.stop()
    try:
        ctx.say("answer", (await asking).data)
    except RequestTimeout as error:
        ctx.say(error)
    ctx.say("stopped", svc.stopped.is_set())


@scenario(
    differs="it can't be stopped again",
    expected=[
        *("stopped False", "echo b'x'", "headers None", "stopped True"),
        "echo raises nats.errors.NoRespondersError: nats: no responders available for request",
    ]
    * 2,
)
async def starting_again(ctx: Context) -> None:
    nc, svc = await service(ctx)
    for _ in range(2):
        await svc.start()
        await svc.add_endpoint(name="echo", handler=echo)
        ctx.say("stopped", svc.stopped.is_set())
        await ask(ctx, nc, "echo", b"x")
        await svc.stop()
        ctx.say("stopped", svc.stopped.is_set())
        await ask(ctx, nc, "echo", b"x")


@scenario
async def as_context_manager(ctx: Context) -> None:
    import nats.micro

    nc = await ctx.connect()
    async with await nats.micro.add_service(nc, name="demo", version="1.0.0") as svc:
        await svc.add_endpoint(name="echo", handler=echo)
        await ask(ctx, nc, "echo", b"x")
    ctx.say(svc.stopped.is_set())
    await ask(ctx, nc, "echo", b"x")
    try:
        async with await nats.micro.add_service(nc, name="demo", version="1.0.0") as svc:
            raise LookupError
    except LookupError:
        ctx.say("stopped", svc.stopped.is_set())


@scenario
async def several_instances(ctx: Context) -> None:
    import nats.micro

    nc, first = await service(ctx)
    second = await nats.micro.add_service(nc, name="demo", version="1.2.3")
    counts = {first.id: 0, second.id: 0}

    def counting(svc: Any) -> Any:
        async def handler(request: Any) -> None:
            counts[svc.id] += 1
            await request.respond(b"")

        return handler

    for svc in (first, second):
        await svc.add_endpoint(name="work", handler=counting(svc))
    for _ in range(40):
        await nc.request("work", timeout=1)
    ctx.say(sum(counts.values()), first.id != second.id)
    inbox = nc.new_inbox()
    sub = await nc.subscribe(inbox)
    await nc.publish("$SRV.PING.demo", reply=inbox)
    answers = [json.loads((await sub.next_msg()).data)["id"] for _ in range(2)]
    ctx.say(sorted(answers) == sorted(counts))


@scenario
async def subscriptions(ctx: Context) -> None:
    nc, svc = await service(ctx)
    ctx.rename(svc.id, "<id>")
    await svc.add_endpoint(name="echo", handler=echo)
    await svc.add_endpoint(name="own", handler=echo, queue_group="group", subject="a.b")
    ctx.say([(sub.subject, sub.queue) for sub in nc._subs.values()])


@scenario(start=False)
async def dictionaries(ctx: Context) -> None:
    from nats.micro import service as module

    endpoint = {
        "name": "e",
        "subject": "s",
        "queue_group": "q",
        "num_requests": 1,
        "num_errors": 2,
        "last_error": "",
        "processing_time": 3,
        "average_processing_time": 4,
        "data": None,
    }
    identity = {"id": "i", "name": "n", "version": "1.0.0", "metadata": {"a": "b"}}
    stats = {**identity, "started": "2026-01-02T03:04:05.678Z", "endpoints": [endpoint]}
    entry = {"name": "e", "subject": "s", "queue_group": "q", "metadata": {}}
    made: list[Any] = [
        module.ServiceStats.from_dict(stats),
        module.ServicePing.from_dict(identity),
        module.ServiceInfo.from_dict({**identity, "description": "", "endpoints": [entry]}),
    ]
    for value in made:
        ctx.say(value, value.to_dict())
    await ctx.attempt("incomplete", lambda: module.ServicePing.from_dict({"id": "i"}))
    for name, instance in ((None, None), ("n", None), ("n", "i")):
        ctx.say(module.control_subject(module.ServiceVerb.PING, name, instance, prefix="P"))


@scenario(
    start=False,
    differs="services written in other languages tell it so",
    expected=["2026-01-02 03:04:05.123456", "[('e', None)]"],
)
async def statistics_of_other_services(ctx: Context) -> None:
    from nats.micro import service as module

    endpoint = {
        **{"name": "e", "subject": "s", "queue_group": "q", "last_error": ""},
        **{"num_requests": 1, "num_errors": 0},
        **{"processing_time": 3, "average_processing_time": 3},
    }
    stats = {
        **{"id": "i", "name": "n", "version": "1.0.0", "metadata": {}},
        **{"started": "2026-01-02T03:04:05.123456789Z", "endpoints": [endpoint]},
    }
    try:
        read = module.ServiceStats.from_dict(stats)
    except (KeyError, ValueError) as error:
        ctx.say(error)
    else:
        ctx.say(str(read.started.replace(tzinfo=None)))
        ctx.say([(entry.name, entry.data) for entry in read.endpoints])
