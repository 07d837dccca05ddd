"""TLS: contexts, failures, reconnecting."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any

from parity.harness import Context, scenario, settle
from parity.servers import Server
from support.fake_server import FakeConnection

ONCE = {"allow_reconnect": False, "connect_timeout": 3}
FAST = {"reconnect_time_wait": 0.02, "connect_timeout": 3}


def file(name: str) -> str:
    return str(Path(os.environ["PARITY_CERTIFICATES"]) / name)


def trusting(**attributes: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=file("ca.pem"))
    for name, value in attributes.items():
        setattr(context, name, value)
    return context


async def start(ctx: Context, certificate: str = "server", options: str = "") -> Server:
    """Start a server with TLS."""
    server = ctx.new_server(
        f"""
        tls {{
          cert_file: "{file(certificate + ".pem")}", key_file: "{file(certificate + ".key")}"
          ca_file: "{file("ca.pem")}"
          {options}
        }}
        """
    )
    await server.start()
    return server


def named(server: Server, scheme: str = "nats") -> str:
    return f"{scheme}://localhost:{server.port}"


async def try_each(ctx: Context, cases: dict[str, tuple[str, dict[str, Any]]]) -> None:
    for label, (url, options) in cases.items():
        nc = ctx.client()
        await ctx.attempt(label, nc.connect(url, **ctx.callbacks(), **ONCE, **options))
        ctx.say("connected", nc.is_connected, "last_error", nc.last_error)


@scenario(start=False)
async def contexts(ctx: Context) -> None:
    server = await start(ctx)
    unchecked = trusting(check_hostname=False, verify_mode=ssl.CERT_NONE)
    await try_each(
        ctx,
        {
            "trusted": (named(server), {"tls": trusting()}),
            "trusted, tls://": (named(server, "tls"), {"tls": trusting()}),
            "trusted, address": (server.url, {"tls": trusting()}),
            "unknown authority": (named(server), {"tls": ssl.create_default_context()}),
            "no context": (named(server), {}),
            "no context, tls://": (named(server, "tls"), {}),
            "unchecked": (named(server), {"tls": unchecked}),
            "empty tls": (named(server), {"tls": None}),
            "old": (named(server), {"tls": trusting(maximum_version=ssl.TLSVersion.TLSv1_2)}),
        },
    )


@scenario(start=False)
async def names(ctx: Context) -> None:
    server = await start(ctx, "other")
    await try_each(
        ctx,
        {
            "another name": (named(server), {"tls": trusting()}),
            "an address": (server.url, {"tls": trusting()}),
            "not checked": (named(server), {"tls": trusting(check_hostname=False)}),
            "given": (server.url, {"tls": trusting(), "tls_hostname": "nats.example"}),
            "given wrongly": (named(server), {"tls": trusting(), "tls_hostname": "b.example"}),
        },
    )


@scenario(start=False)
async def versions(ctx: Context) -> None:
    server = await start(ctx, options='min_version: "1.3"')
    old = trusting(maximum_version=ssl.TLSVersion.TLSv1_2)
    new = trusting(minimum_version=ssl.TLSVersion.TLSv1_3)
    await try_each(
        ctx, {"old": (named(server), {"tls": old}), "new": (named(server), {"tls": new})}
    )


@scenario(start=False)
async def client_certificates(ctx: Context) -> None:
    server = await start(ctx, options="verify: true")
    context = trusting()
    context.load_cert_chain(file("client.pem"), file("client.key"))
    await try_each(ctx, {"with": (named(server), {"tls": context})})
    nc = ctx.client()
    try:
        await nc.connect(named(server), tls=trusting(), error_cb=ignore, **ONCE)
    except OSError:
        # Whether the alert or the reset that follows it is seen first is up to the network.
        ctx.say("without: OSError")
    ctx.say("connected", nc.is_connected)


async def ignore(error: Exception) -> None:
    pass


@scenario(start=False)
async def handshake_first(ctx: Context) -> None:
    server = await start(ctx, options="handshake_first: true")
    await try_each(
        ctx,
        {
            "first": (named(server), {"tls": trusting(), "tls_handshake_first": True}),
            "unknown": (named(server), {"tls_handshake_first": True}),
        },
    )


@scenario(start=False)
async def reconnecting(ctx: Context) -> None:
    server = await start(ctx)
    watched = ctx.callbacks(once=True, ignore=(OSError,))
    nc = await ctx.connect(named(server), tls=trusting(), **watched, **FAST)
    sub = await nc.subscribe("foo")
    await settle(nc)
    server.kill()
    await ctx.until_said("disconnected_cb")
    await server.start()
    await ctx.until_said("reconnected_cb")
    await nc.publish("foo", b"again")
    ctx.say((await sub.next_msg(timeout=3)).data, nc.stats["reconnects"])
    await nc.drain()
    ctx.say("closed", nc.is_closed)


@scenario(start=False)
async def nonsense_instead_of_a_handshake(ctx: Context) -> None:
    async def handle(client: FakeConnection) -> None:
        await client.send_info(tls_required=True)
        heard = await client.reader.read(1024)
        ctx.say("in the clear", b"CONNECT" in heard)
        await client.write(b"-ERR 'what do you want?'\r\n")
        await client.wait_closed()

    async with ctx.fake_server(handle) as server:
        nc = ctx.client()
        options = {**ctx.callbacks(), **ONCE, "tls": trusting()}
        await ctx.attempt("connect", nc.connect(server.url, **options))


@scenario(start=False)
async def handshakes_that_break_off(ctx: Context) -> None:
    """After a piece of a ServerHello, with an alert, or with nothing at all."""
    answers = (
        b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03",
        b"\x15\x03\x03\x00\x02\x02\x28",
        b"",
    )

    async def handle(client: FakeConnection) -> None:
        await client.send_info(tls_required=True)
        await client.reader.read(4096)
        await client.write(answers[client.index])

    async with ctx.fake_server(handle) as server:
        for _ in answers:
            nc = ctx.client()
            options = {**ctx.callbacks(), **ONCE, "tls": trusting()}
            await ctx.attempt("connect", nc.connect(server.url, **options))
            ctx.say("connected", nc.is_connected)


NOT_SECURE = (
    "nats.errors.SecureConnWantedError: nats: secure connection not available: localhost:<port1> "
    "has no TLS, but tls=, tls_handshake_first, a tls:// URL or an earlier connection asks for it; "
    "nothing was sent. Configure TLS there, or leave that out; allow_plaintext=True, or "
    "FASTNATS_ALLOW_PLAINTEXT=1 in the environment, goes on without TLS"
)


@scenario(
    differs="A connection that was meant to be secure must not be made in the clear.",
    expected=[
        f"error_cb {NOT_SECURE}",
        f"tls= raises {NOT_SECURE}",
        f"connected False last_error {NOT_SECURE}",
        f"error_cb {NOT_SECURE}",
        f"tls:// raises {NOT_SECURE}",
        f"connected False last_error {NOT_SECURE}",
    ],
)
async def server_without_tls(ctx: Context) -> None:
    await try_each(
        ctx,
        {
            "tls=": (named(ctx.server), {"tls": trusting()}),
            "tls://": (named(ctx.server, "tls"), {}),
        },
    )
