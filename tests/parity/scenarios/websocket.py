"""WebSocket connections; nats-py needs aiohttp for them."""

from __future__ import annotations

import socket
from typing import Any

from nats.aio.client import Client
from parity.harness import Context, scenario
from parity.servers import Server
from support.ws_fake import BINARY, CLOSE, TEXT, FramedConnection, websocket, ws_url

FAST = {"reconnect_time_wait": 0.02, "connect_timeout": 2}


async def start(ctx: Context, options: str = "", host: str = "127.0.0.1") -> tuple[Server, str]:
    """A server that speaks WebSocket, and its URL."""
    port = ctx.reserve_port().number
    listen = f'websocket {{ host: "{host}", port: {port}, no_tls: true }}\n'
    server = ctx.new_server(listen + options)
    await server.start()
    return server, f"ws://[{host}]:{port}" if ":" in host else f"ws://{host}:{port}"


async def exchange(ctx: Context, nc: Client) -> None:
    async def echo(msg: Any) -> None:
        await msg.respond(msg.data)

    sub = await nc.subscribe("echo", cb=echo)
    reply = await nc.request("echo", b"hi", timeout=2)
    ctx.say("reply", reply.data)
    reply = await nc.request("echo", bytes(500_000), timeout=5)
    ctx.say("reply of", len(reply.data))
    await sub.unsubscribe()


@scenario(start=False)
async def life(ctx: Context) -> None:
    _, url = await start(ctx)
    nc = await ctx.connect(url, **FAST)
    ctx.say(nc.connected_url.scheme, nc.connected_url.netloc, nc.max_payload)
    await exchange(ctx, nc)
    await ctx.attempt("request", nc.request("nobody", timeout=1))
    await nc.flush()
    await nc.drain()
    ctx.say("closed", nc.is_closed)


@scenario(start=False)
async def ipv6(ctx: Context) -> None:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        ctx.say("no IPv6 here")
        return
    _, url = await start(ctx, host="::1")
    nc = await ctx.connect(url, **FAST)
    ctx.say(nc.connected_url.scheme, nc.connected_url.hostname, nc.client_ip)
    await exchange(ctx, nc)
    await nc.close()


@scenario(start=False)
async def users(ctx: Context) -> None:
    _, url = await start(ctx, 'authorization { user: "joe", password: "pass" }')
    await exchange(ctx, await ctx.connect(url, user="joe", password="pass", **FAST))
    await exchange(ctx, await ctx.connect(url.replace("//", "//joe:pass@"), **FAST))
    wrong = ctx.connect(url, user="joe", password="no", allow_reconnect=False, **FAST)
    await ctx.attempt("wrong password", wrong)


@scenario(start=False)
async def restart(ctx: Context) -> None:
    server, url = await start(ctx)
    options = ctx.callbacks(ignore=(Exception,))
    nc = await ctx.connect(url, **options, **FAST)
    sub = await nc.subscribe("a")
    await nc.flush()
    server.stop()
    await ctx.until_said("disconnected_cb")
    await server.start()
    await ctx.until_said("reconnected_cb")
    await nc.publish("a", b"again")
    ctx.say((await sub.next_msg(2)).data)


async def show_request(ctx: Context, path: str, user: str = "", **options: Any) -> None:
    shown = ("authorization", "upgrade", "connection", "sec-websocket-version", "cookie")

    @websocket
    async def handler(client: FramedConnection) -> None:
        await client.accept()
        ctx.say(client.request_line)
        for name, value in sorted(client.headers):
            if name in shown or name.startswith("x-"):
                ctx.say(name, value)
        await client.handshake()
        await client.serve()

    async with ctx.fake_server(handler) as server:
        nc = await ctx.connect(ws_url(server, path, user), error_cb=None, **FAST, **options)
        await nc.close()


@scenario(start=False)
async def requests(ctx: Context) -> None:
    await show_request(ctx, "")
    await show_request(ctx, "/proxy/nats/?x=1&y=2")
    await show_request(ctx, "?x=a%20b")
    headers = {"X-One": "1", "X-Many": ["a", "b"], "Cookie": ["c=d"], "X-Number": 5}
    await show_request(ctx, "/a", ws_connection_headers=headers)
    await show_request(ctx, "/a", "joe:pa%25ss@")


@scenario(start=False)
async def no_websocket_there(ctx: Context) -> None:
    """The classes of the errors are aiohttp's in nats-py."""
    count = 0

    async def error_cb(error: Exception) -> None:
        nonlocal count
        count += 1

    @websocket
    async def handler(client: FramedConnection) -> None:
        await client.read_request()
        await client.client.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    options = {**FAST, "max_reconnect_attempts": 2, "error_cb": error_cb}
    async with ctx.fake_server(handler) as server:
        await ctx.attempt("404", ctx.connect(ws_url(server), **options))
        ctx.say("errors", count)
    count = 0
    closed = ctx.reserve_port().number
    await ctx.attempt("refused", ctx.connect(f"ws://127.0.0.1:{closed}", **options))
    ctx.say("errors", count)


@scenario(start=False)
async def frames_that_end_a_connection(ctx: Context) -> None:
    for opcode, payload in ((CLOSE, b"\x03\xe8"), (BINARY, b"")):
        ctx.say("opcode", opcode)

        @websocket
        async def handler(
            client: FramedConnection, opcode: int = opcode, payload: bytes = payload
        ) -> None:
            await client.accept()
            await client.handshake()
            if client.index == 0:
                await client.read_line()
                await client.send(payload, opcode)
                if opcode == BINARY:
                    # An empty frame means nothing; this is the end.
                    return
            await client.serve()

        async with ctx.fake_server(handler) as server:
            options = ctx.callbacks(ignore=(Exception,))
            nc = await ctx.connect(ws_url(server), **options, **FAST)
            await nc.subscribe("a")
            await ctx.until_said("reconnected_cb", 1 + (CLOSE, BINARY).index(opcode))


@scenario(
    start=False,
    differs="a server of NATS sends no text: whatever comes next isn't to be trusted",
    expected=["disconnected_cb", "message b'hi'"],
)
async def text_frame(ctx: Context) -> None:
    @websocket
    async def handler(client: FramedConnection) -> None:
        await client.accept()
        await client.handshake()
        await client.expect(b"SUB ")
        if client.index == 0:
            await client.send(b"hello", TEXT)
        await client.send(b"MSG a 1 2\r\nhi\r\n")
        await client.serve()

    async with ctx.fake_server(handler) as server:
        options = {**ctx.callbacks(ignore=(Exception,)), "reconnected_cb": None}
        nc = await ctx.connect(ws_url(server), **options, **FAST)

        async def show(msg: Any) -> None:
            ctx.say("message", msg.data)

        await nc.subscribe("a", cb=show)
        await ctx.until_said("message")
