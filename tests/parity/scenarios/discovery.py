"""What the server announces while connected: other servers, its own end, its settings."""

from __future__ import annotations

import asyncio
from typing import Any

from nats.aio.client import Client
from parity.harness import Context, scenario, settle


def netlocs(nc: Client) -> list[list[str]]:
    return [sorted(uri.netloc for uri in uris) for uris in (nc.servers, nc.discovered_servers)]


@scenario(start=False)
async def servers_announced_while_connected(ctx: Context) -> None:
    async with ctx.fake_server() as server:
        nc = await ctx.connect(server.url)
        client = server.connections[0]
        own = f"{server.host}:{server.port}"
        for urls in (["10.0.0.1:4222", own], ["10.0.0.1:4222"], [], ["10.0.0.2:1", "[::1]:4222"]):
            await client.send_info(connect_urls=urls)
            await settle(nc)
            ctx.say(urls, "give", *netlocs(nc))


@scenario(start=False)
async def servers_announced_at_first(ctx: Context) -> None:
    async with ctx.fake_server(info={"connect_urls": ["10.0.0.1:4222", "10.0.0.2:4222"]}) as server:
        nc = await ctx.connect(server.url)
        await settle(nc)
        ctx.say(*netlocs(nc), len(nc.server_pool))


@scenario(start=False)
async def state_seen_by_the_callback(ctx: Context) -> None:
    async def discovered_server_cb() -> None:
        ctx.say("discovered", netlocs(nc)[1], nc.is_connected)

    async with ctx.fake_server() as server:
        nc = await ctx.connect(server.url, discovered_server_cb=discovered_server_cb)
        await server.connections[0].send_info(connect_urls=["10.0.0.1:4222", "10.0.0.2:4222"])
        await settle(nc)


@scenario(start=False)
async def lame_duck_announced(ctx: Context) -> None:
    async with ctx.fake_server() as server:
        nc = await ctx.connect(server.url)
        client = server.connections[0]
        await client.send_info(ldm=False)
        await client.send_info(ldm=True, connect_urls=["10.0.0.1:4222"])
        await client.send_info(ldm=True)
        await settle(nc)
        ctx.say("connected", nc.is_connected, netlocs(nc)[1])


@scenario(config='lame_duck_grace_period: "5s"\nlame_duck_duration: "30s"')
async def lame_duck(ctx: Context) -> None:
    nc = await ctx.connect()
    sub = await nc.subscribe("foo")
    ctx.server.lame_duck()
    await ctx.until_said("lame_duck_mode_cb")
    await nc.publish("foo", b"still there")
    ctx.say((await sub.next_msg()).data, nc.is_connected)


@scenario(start=False)
async def other_settings_announced_later(ctx: Context) -> None:
    async with ctx.fake_server() as server:
        nc = await ctx.connect(server.url)
        ctx.say(nc.max_payload, nc.client_id, repr(nc.connected_server_version))
        changes: dict[str, Any] = {"max_payload": 10, "client_id": 99, "version": "9.9.9"}
        await server.connections[0].send_info(**changes)
        await settle(nc)
        ctx.say(nc.max_payload, nc.client_id, repr(nc.connected_server_version))


@scenario(start=False)
async def pool_is_used_for_reconnecting(ctx: Context) -> None:
    async with ctx.fake_server() as first, ctx.fake_server() as second:
        nc = await ctx.connect(first.url, dont_randomize=True, reconnect_time_wait=0.05)
        await first.connections[0].send_info(connect_urls=[f"{second.host}:{second.port}"])
        await settle(nc)
        await first.stop_accepting()
        first.connections[0].close()
        await ctx.until_said("reconnected_cb")
        await asyncio.sleep(0)
        ctx.say("connected to", nc.connected_url.netloc)
