"""Connecting: servers that are down, spellings of URLs, callbacks, what a connection tells."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import nats
from parity.harness import Context, scenario, settle
from support.fake_server import FakeConnection

FAST: dict[str, Any] = {"reconnect_time_wait": 0.02, "connect_timeout": 1}


@scenario
async def refused(ctx: Context) -> None:
    nc = ctx.client()
    url = ctx.reserve_port().url
    connecting = nc.connect(url, max_reconnect_attempts=2, **ctx.callbacks(), **FAST)
    await ctx.attempt("connect", connecting)
    ctx.say("last_error", nc.last_error)
    ctx.say("closed", nc.is_closed, "connected", nc.is_connected, "servers", nc.servers)


@scenario(
    start=False,
    differs="without reconnecting a server is tried once; nats-py tries it as often as with it",
    expected=[
        "error_cb ConnectionRefusedError: [Errno 111] Connect call failed ('127.0.0.1', <port2>)",
        "connect raises nats.errors.NoServersError: nats: no servers available for connection",
        "closed False connected False",
    ],
)
async def refused_without_reconnecting(ctx: Context) -> None:
    nc = ctx.client()
    options = {**ctx.callbacks(), **FAST, "allow_reconnect": False, "max_reconnect_attempts": 2}
    await ctx.attempt("connect", nc.connect(ctx.reserve_port().url, **options))
    ctx.say("closed", nc.is_closed, "connected", nc.is_connected)


@scenario
async def first_server_down(ctx: Context) -> None:
    down = ctx.reserve_port().url
    nc = await ctx.connect([down, ctx.url], dont_randomize=True, **FAST)
    ctx.say("connected to", nc.connected_url.netloc)
    ctx.say("servers", [uri.netloc for uri in nc.servers])
    ctx.say("pool", [(s.uri.netloc, s.reconnects) for s in nc.server_pool])
    ctx.say("last_error", nc.last_error)


@scenario(start=False)
async def invalid_urls(ctx: Context) -> None:
    port = ctx.server.address
    for servers in (
        "",
        "nats://",
        "nats://:4222",
        "nats://none:4222",
        "nats://127.0.0.1:port",
        "nats://127.0.0.1:99999",
        [],
        [f"nats://{port}", "nats://127.0.0.1:x"],
        [f"nats://{port}", f"ws://{port}"],
        5,
        None,
        (f"nats://{port}",),
    ):
        nc = ctx.client()
        await ctx.attempt(f"connect {servers!r}", nc.connect(servers, **FAST))
        ctx.say("closed", nc.is_closed, "connected", nc.is_connected)


@scenario
async def spellings_of_urls(ctx: Context) -> None:
    others = ["localhost", "localhost:4333", "nats://localhost", "[::1]:4222"]
    others += ["nats://user:pass@b.example", "nats://token@c.example:4223", "demo.nats.io:"]
    others += ["tls://d.example", "tls://e.example:4443"]
    nc = await ctx.connect([ctx.server.address, *others], dont_randomize=True)
    ctx.say("connected to", nc.connected_url.geturl())
    for uri in nc.servers:
        ctx.say(uri.geturl(), uri.scheme, uri.hostname, uri.port, uri.username, uri.password)


@scenario
async def list_or_text(ctx: Context) -> None:
    for servers in (ctx.url, [ctx.url], [ctx.url, ctx.url], ctx.server.address):
        nc = await ctx.connect(servers)
        ctx.say(servers, "gives", [uri.geturl() for uri in nc.servers])


@scenario
async def properties(ctx: Context) -> None:
    def show(when: str) -> None:
        ctx.say(when)
        url = nc.connected_url
        ctx.say("connected_url", url and url.geturl())
        ctx.say("servers", [uri.geturl() for uri in nc.servers])
        ctx.say("discovered_servers", nc.discovered_servers)
        ctx.say("server_pool", nc.server_pool)
        ctx.say("max_payload", nc.max_payload, "client_id", type(nc.client_id).__name__)
        ctx.say("client_ip", nc.client_ip, "last_error", nc.last_error)
        ctx.say("pending_data_size", nc.pending_data_size, "status", nc._status)
        for name in ("closed", "connected", "connecting", "reconnecting", "draining"):
            ctx.say(f"is_{name}", getattr(nc, f"is_{name}"))
        ctx.say("is_draining_pubs", nc.is_draining_pubs, "stats", nc.stats)

    nc = ctx.client()
    show("before")
    ctx.say("version", nc.connected_server_version, nc.options)
    await nc.connect(ctx.url)
    show("connected")
    version = nc.connected_server_version
    kinds = [type(part).__name__ for part in (version.major, version.minor, version.patch)]
    ctx.say("version", type(version).__qualname__, version.major, kinds, version.dev)
    await nc.close()
    show("closed")


@scenario
async def options(ctx: Context) -> None:
    names = ["verbose", "pedantic", "name", "allow_reconnect", "dont_randomize"]
    names += ["reconnect_time_wait", "max_reconnect_attempts", "ping_interval"]
    names += ["max_outstanding_pings", "no_echo", "user", "password", "token"]
    names += ["connect_timeout", "drain_timeout", "tls_handshake_first"]
    names += ["ws_connection_headers", "skip_subject_validation"]
    some: dict[str, Any] = {"name": "me", "ping_interval": 7, "user": "a", "drain_timeout": 1.5}
    for given in ({}, some):
        nc = await ctx.connect(**given)
        ctx.say([(name, nc.options[name]) for name in names])
        ctx.say("tls" in nc.options, "tls_hostname" in nc.options)


@scenario
async def callbacks_have_to_be_coroutine_functions(ctx: Context) -> None:
    names = ["error_cb", "disconnected_cb", "closed_cb", "reconnected_cb"]
    names += ["discovered_server_cb", "lame_duck_mode_cb"]
    for name in names:
        for wrong in (lambda *args: None, 5, 0):
            nc = ctx.client()
            result = await ctx.attempt(
                f"{name} is {type(wrong).__name__}:", nc.connect(ctx.url, **{name: wrong})
            )
            ctx.say(isinstance(result, nats.errors.InvalidCallbackTypeError), nc.servers == [])


@scenario(start=False)
async def silent_server(ctx: Context) -> None:
    async def say_nothing(client: FakeConnection) -> None:
        await client.wait_closed()

    async with ctx.fake_server(say_nothing) as server:
        nc = ctx.client()
        options = {**ctx.callbacks(), "connect_timeout": 0.2, "allow_reconnect": False}
        await ctx.attempt("connect", nc.connect(server.url, **options))
        ctx.say("last_error", nc.last_error, "status", nc._status)


@scenario(start=False)
async def nonsense_instead_of_info(ctx: Context) -> None:
    for greeting in (b"HELLO\r\n", b"INFO {nonsense\r\n", b""):

        async def greet(client: FakeConnection, greeting: bytes = greeting) -> None:
            await client.write(greeting)
            if greeting:
                await client.wait_closed()

        async with ctx.fake_server(greet) as server:
            nc = ctx.client()
            options = {**ctx.callbacks(), "connect_timeout": 1, "allow_reconnect": False}
            await ctx.attempt(f"connect after {greeting!r}", nc.connect(server.url, **options))
            ctx.say("last_error", nc.last_error, "status", nc._status)


@scenario
async def error_callback_that_raises_aborts(ctx: Context) -> None:
    async def error_cb(error: Exception) -> None:
        ctx.say("error_cb", error)
        raise LookupError("enough")

    down = ctx.reserve_port().url
    await ctx.attempt(
        "connect", ctx.connect([down, ctx.url], error_cb=error_cb, dont_randomize=True)
    )


@scenario(
    differs="an attempt that failed takes one line, which names the server, and no traceback",
    expected=[
        "nats.aio.client WARNING nats: connecting to 127.0.0.1:<port2> failed: [Errno 111] "
        "Connect call failed ('127.0.0.1', <port2>) None",
        "connected to 127.0.0.1:<port1>",
    ],
)
async def default_error_callback_logs(ctx: Context) -> None:
    class Recorder(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            error = record.exc_info[1] if record.exc_info else None
            ctx.say(record.name, record.levelname, record.getMessage(), error)

    logger = logging.getLogger("nats.aio.client")
    logger.addHandler(Recorder())
    logger.propagate = False
    nc = ctx.client()
    down = ctx.reserve_port().url
    await nc.connect([down, ctx.url], dont_randomize=True)
    ctx.say("connected to", nc.connected_url.netloc)


@scenario
async def connect_again_after_close(ctx: Context) -> None:
    nc = await ctx.connect(**FAST)
    await nc.close()
    await nc.connect(ctx.url, **ctx.callbacks("again"), **FAST)
    ctx.say("connected", nc.is_connected, "servers", [uri.geturl() for uri in nc.servers])
    sub = await nc.subscribe("foo")
    await nc.publish("foo", b"hello")
    ctx.say((await sub.next_msg()).data)
    await nc.close()


@scenario
async def context_manager(ctx: Context) -> None:
    async with await nats.connect(ctx.url, **ctx.callbacks()) as nc:
        ctx.say("connected", nc.is_connected)
        ctx.say(type(nc).__qualname__, isinstance(nc, nats.NATS))
    ctx.say("closed", nc.is_closed)
    try:
        async with await nats.connect(ctx.url, **ctx.callbacks()) as nc:
            raise LookupError("body")
    except LookupError as error:
        ctx.say("left by", error, nc.is_closed)
    async with await nats.connect(ctx.url, **ctx.callbacks()) as nc:
        await nc.drain()
    ctx.say("closed", nc.is_closed)


@scenario
async def several_clients_in_one_loop(ctx: Context) -> None:
    clients = [await ctx.connect(name=f"client{i}") for i in range(3)]
    ids = [nc.client_id for nc in clients]
    ctx.say("ids grow", ids == sorted(set(ids)))
    subs = [await nc.subscribe("to.all") for nc in clients]
    await asyncio.gather(*map(settle, clients))
    await clients[0].publish("to.all", b"x")
    ctx.say([(await sub.next_msg()).data for sub in subs])
    ctx.say([sub._id for sub in subs])
