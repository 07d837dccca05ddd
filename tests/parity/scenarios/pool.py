"""The pool of servers: replaced in every state, in which order it is tried, what is known of it."""

from __future__ import annotations

import asyncio
from typing import Any

from nats import errors
from nats.aio.client import Client
from parity.harness import Context, scenario, settle
from support.fake_server import FakeConnection

FAST: dict[str, Any] = {"reconnect_time_wait": 0.02, "connect_timeout": 1, "dont_randomize": True}


def show(ctx: Context, nc: Client, when: str) -> None:
    url = nc.connected_url
    ctx.say(when, "connected to", url and url.netloc)
    ctx.say("pool", [(server.uri.netloc, server.reconnects) for server in nc.server_pool])
    ctx.say("discovered", [uri.netloc for uri in nc.discovered_servers])


@scenario
async def replaced_before_connecting(ctx: Context) -> None:
    down = ctx.reserve_port().url
    nc = ctx.client()
    await ctx.attempt("set_server_pool", lambda: nc.set_server_pool([down]))
    show(ctx, nc, "before")
    await nc.connect(ctx.url, **ctx.callbacks(), **FAST)
    show(ctx, nc, "after")


@scenario
async def replaced_after_a_failure(ctx: Context) -> None:
    down = ctx.reserve_port().url
    nc = ctx.client()
    options = {**ctx.callbacks(), **FAST, "max_reconnect_attempts": 1}
    await ctx.attempt("connect", nc.connect(down, **options))
    await ctx.attempt("set_server_pool", lambda: nc.set_server_pool([ctx.url]))
    show(ctx, nc, "before")
    await nc.connect(ctx.url, **options)
    show(ctx, nc, "after")


@scenario(start=False)
async def replaced_while_connected(ctx: Context) -> None:
    async with ctx.fake_server() as one, ctx.fake_server() as two:
        watched = ctx.callbacks(ignore=(errors.NoServersError,))
        nc = await ctx.connect([one.url, two.url], **watched, **FAST)
        await one.connections[0].send_info(connect_urls=["10.0.0.1:4222"])
        await settle(nc)
        show(ctx, nc, "at first")
        nc.set_server_pool([two.url, one.url, "nats://10.0.0.1:4222"])
        show(ctx, nc, "others")
        nc.set_server_pool([two.url])
        show(ctx, nc, "without the current one")
        await one.connections[0].send_info(connect_urls=[f"127.0.0.1:{one.port}"])
        await settle(nc)
        show(ctx, nc, "found again")
        nc.set_server_pool([two.url, two.url])
        show(ctx, nc, "twice the same")
        for wrong in (["nats://"], [two.url, "127.0.0.1:x"], two.url, None, [None], [5]):
            await ctx.attempt(f"{wrong!r}", lambda wrong=wrong: nc.set_server_pool(wrong))
        nc.set_server_pool([])
        show(ctx, nc, "empty")
        await ctx.attempt("publish", nc.publish("foo", b""))
        await nc.force_reconnect()
        await ctx.until_said("closed_cb")
        ctx.say("last_error", nc.last_error)
        await ctx.attempt("set_server_pool", lambda: nc.set_server_pool([two.url]))


@scenario(
    start=False,
    differs="the version is forgotten, and with it what JetStream may ask of the server",
    expected=["<nats server v2.1.0>"] * 3,
)
async def version_when_the_pool_is_replaced(ctx: Context) -> None:
    async with ctx.fake_server(info={"version": "2.1.0"}) as server:
        nc = await ctx.connect(server.url, **FAST)
        ctx.say(nc.connected_server_version)
        for url in (server.url, "nats://10.0.0.1:4222"):
            nc.set_server_pool([url])
            ctx.say(nc.connected_server_version)


@scenario
async def replaced_in_the_disconnected_callback(ctx: Context) -> None:
    second = ctx.new_server()
    await second.start()

    async def disconnected_cb() -> None:
        ctx.say("disconnected_cb")
        if not nc.is_closed:
            nc.set_server_pool([second.url])

    nc = await ctx.connect(**{**ctx.callbacks(), **FAST, "disconnected_cb": disconnected_cb})
    await nc.force_reconnect()
    await ctx.until_said("reconnected_cb")
    show(ctx, nc, "then")


@scenario
async def replaced_while_reconnecting(ctx: Context) -> None:
    second = ctx.new_server()
    await second.start()
    nc = await ctx.connect(**{**ctx.callbacks(once=True), **FAST})
    sub = await nc.subscribe("foo")
    await settle(nc)
    ctx.server.kill()
    await ctx.until_said("error_cb ConnectionRefusedError")
    await nc.publish("foo", b"kept")
    nc.set_server_pool([second.url])
    await ctx.until_said("reconnected_cb")
    ctx.say((await sub.next_msg()).data)
    show(ctx, nc, "then")


@scenario
async def emptied_while_reconnecting(ctx: Context) -> None:
    watched = ctx.callbacks(once=True, ignore=(errors.NoServersError,))
    nc = await ctx.connect(**{**watched, **FAST})
    ctx.server.kill()
    await ctx.until_said("error_cb ConnectionRefusedError")
    nc.set_server_pool([])
    await ctx.until_said("closed_cb")
    ctx.say("closed", nc.is_closed, "last_error", nc.last_error)


@scenario
async def replaced_while_draining(ctx: Context) -> None:
    nc = await ctx.connect(**FAST)
    release = asyncio.Event()

    async def handler(msg: Any) -> None:
        await release.wait()
        ctx.say("handled", msg.data)

    await nc.subscribe("foo", cb=handler)
    for number in range(3):
        await nc.publish("foo", b"%d" % number)
    await settle(nc)
    draining = asyncio.create_task(nc.drain())
    await ctx.until("draining", lambda: nc.is_draining)
    await ctx.attempt("set_server_pool", lambda: nc.set_server_pool([ctx.reserve_port().url]))
    ctx.say("connected", nc.is_connected, "draining", nc.is_draining)
    release.set()
    await draining
    ctx.say("closed", nc.is_closed)
    await ctx.attempt("set_server_pool", lambda: nc.set_server_pool([ctx.url]))


@scenario(start=False)
async def replaced_during_the_delay_of_the_handler(ctx: Context) -> None:
    def choose(servers: list[Any], info: dict[str, Any]) -> Any:
        ctx.say("choose from", [server.uri.netloc for server in servers])
        return servers[0], 0.2

    async with ctx.fake_server() as first, ctx.fake_server() as second:
        options = {**ctx.callbacks(), **FAST, "reconnect_to_server_handler": choose}
        nc = await ctx.connect(first.url, **options)
        await nc.force_reconnect()
        await ctx.until_said("choose from")
        nc.set_server_pool([second.url])
        await ctx.until_said("reconnected_cb")
        show(ctx, nc, "then")
        ctx.say("accepted", len(first.connections), len(second.connections))


@scenario
async def replaced_by_the_handler(ctx: Context) -> None:
    second = ctx.new_server()
    await second.start()

    def choose(servers: list[Any], info: dict[str, Any]) -> Any:
        ctx.say("choose from", [server.uri.netloc for server in servers])
        nc.set_server_pool([second.url])
        return nc.server_pool[0], 0.02

    options = {**ctx.callbacks(), **FAST, "reconnect_to_server_handler": choose}
    nc = await ctx.connect(**options)
    ctx.server.kill()
    await ctx.until_said("reconnected_cb")
    show(ctx, nc, "then")


@scenario(start=False)
async def order_of_attempts(ctx: Context) -> None:
    """Down, refusing the client, silent, hanging up: all are passed over, in order."""

    async def refuse(client: FakeConnection) -> None:
        await client.send_info()
        await client.expect(b"CONNECT")
        await client.write(b"-ERR 'Authorization Violation'\r\n")
        await client.wait_closed()

    async def say_nothing(client: FakeConnection) -> None:
        await client.wait_closed()

    async def hang_up(client: FakeConnection) -> None:
        client.close()

    down = ctx.reserve_port().url
    async with (
        ctx.fake_server() as good,
        ctx.fake_server(refuse) as refusing,
        ctx.fake_server(say_nothing) as silent,
        ctx.fake_server(hang_up) as hanging_up,
    ):
        urls = [down, refusing.url, silent.url, hanging_up.url, good.url]
        nc = await ctx.connect(urls, **{**FAST, "connect_timeout": 0.3})
        show(ctx, nc, "connected")
        await nc.force_reconnect()
        await ctx.until_said("reconnected_cb")
        show(ctx, nc, "connected again")


@scenario(start=False)
async def servers_used_up_are_dropped(ctx: Context) -> None:
    async with ctx.fake_server() as good:
        downs = [ctx.reserve_port().url for _ in range(2)]
        options = {**FAST, "max_reconnect_attempts": 1}
        nc = await ctx.connect([*downs, good.url], **options)
        show(ctx, nc, "connected")
        for times in (1, 2, 3):
            await nc.force_reconnect()
            await ctx.until_said("reconnected_cb", times)
            show(ctx, nc, "again")


@scenario(
    config='authorization { user: "a", password: "b" }',
    differs="discovered servers are connected to without the credentials of the URL",
    expected=[
        "connected to a:b@127.0.0.1:<fake1>",
        "discovered ['127.0.0.1:<port1>']",
        "error_cb nats.errors.UnexpectedEOF: nats: unexpected EOF",
        "disconnected_cb",
        "error_cb ConnectionRefusedError: [Errno 111] Connect call failed ('127.0.0.1', <fake1>)",
        "reconnected_cb",
        "connected to 127.0.0.1:<port1>",
    ],
)
async def credentials_in_the_url(ctx: Context) -> None:
    async with ctx.fake_server(info={"connect_urls": [ctx.server.address]}) as first:
        # How a refused connection ends depends on who is faster.
        options = {
            **ctx.callbacks(once=True, ignore=(ConnectionResetError,)),
            **FAST,
            "max_reconnect_attempts": 2,
        }
        nc = await ctx.connect(f"nats://a:b@{first.host}:{first.port}", **options)
        ctx.say("connected to", nc.connected_url.netloc)
        ctx.say("discovered", [uri.netloc for uri in nc.discovered_servers])
        await first.stop_accepting()
        first.connections[0].close()
        await ctx.until("the end", lambda: ctx.lines[-1] in ("reconnected_cb", "closed_cb"))
        ctx.say("connected to", nc.connected_url and nc.connected_url.netloc)


@scenario(start=False)
async def ports_of_other_protocols(ctx: Context) -> None:
    """A server's route port is no place for clients."""
    route, leaf = ctx.reserve_port(), ctx.reserve_port()
    config = f"cluster {{ name: c, listen: '127.0.0.1:{route.number}' }}\n"
    server = ctx.new_server(config + f"leafnodes {{ listen: '127.0.0.1:{leaf.number}' }}\n")
    await server.start()
    for port in (route, leaf):
        nc = ctx.client()
        options = {**ctx.callbacks(), **FAST, "allow_reconnect": False}
        await ctx.attempt("connect", nc.connect(port.url, **options))
