"""Round trips to the server, and names made up by the client."""

from __future__ import annotations

import asyncio

from nats.nuid import NUID
from parity.harness import Context, scenario, settle
from support.fake_server import FakeConnection


@scenario
async def timeouts(ctx: Context) -> None:
    nc = await ctx.connect()
    for timeout in (1, 0.5, 0, -1, -0.1):
        await ctx.attempt(f"flush {timeout}", nc.flush(timeout))
        await ctx.attempt(f"flush timeout={timeout}", nc.flush(timeout=timeout))
        result = await ctx.attempt(f"rtt {timeout}", nc.rtt(timeout))
        if isinstance(result, float):
            ctx.say("seconds", 0 < result < 1)
    await ctx.attempt("flush", nc.flush())


@scenario
async def several_at_once(ctx: Context) -> None:
    nc = await ctx.connect()
    results = await asyncio.gather(*(nc.flush() for _ in range(20)), nc.rtt(), nc.rtt())
    ctx.say(results[:20] == [None] * 20, [type(result).__name__ for result in results[20:]])


@scenario(start=False)
async def server_that_does_not_answer(ctx: Context) -> None:
    async def silent_after_handshake(client: FakeConnection) -> None:
        await client.handshake()
        await client.wait_closed()

    async with ctx.fake_server(silent_after_handshake) as server:
        nc = await ctx.connect(server.url)
        error = await ctx.attempt("flush", nc.flush(timeout=0.1))
        ctx.say("a timeout", isinstance(error, asyncio.TimeoutError))
        error = await ctx.attempt("rtt", nc.rtt(timeout=0.1))
        ctx.say("a timeout", isinstance(error, asyncio.TimeoutError), nc.is_connected)
        ctx.say("last_error", nc.last_error)


@scenario
async def while_it_is_down(ctx: Context) -> None:
    options = ctx.callbacks(ignore=(ConnectionRefusedError,))
    nc = await ctx.connect(reconnect_time_wait=0.1, **options)
    ctx.server.kill()
    await ctx.until_said("disconnected_cb")
    await ctx.attempt("flush", nc.flush(timeout=0.2))


@scenario
async def pings_of_the_client(ctx: Context) -> None:
    nc = await ctx.connect(ping_interval=0.1, max_outstanding_pings=4)
    await asyncio.sleep(0.55)
    ctx.say("connected", nc.is_connected, nc.stats["reconnects"])


@scenario(config='ping_interval: "200ms"\nping_max: 2')
async def pings_of_the_server(ctx: Context) -> None:
    nc = await ctx.connect()
    await asyncio.sleep(1.2)
    await settle(nc)
    ctx.say("connected", nc.is_connected, nc.stats)


@scenario
async def inboxes(ctx: Context) -> None:
    nc = await ctx.connect()
    names = {nc.new_inbox() for _ in range(1000)}
    ctx.say("different", len(names) == 1000, {len(name) for name in names})
    ctx.say({name.partition(".")[0] for name in names}, {name.count(".") for name in names})
    ctx.say(all(name.partition(".")[2].isalnum() for name in names))
    fresh = ctx.client()
    ctx.say("before connecting", len(fresh.new_inbox()))


@scenario(start=False)
async def nuids(ctx: Context) -> None:
    nuid = NUID()
    made = [nuid.next() for _ in range(1000)]
    ctx.say({type(one).__name__ for one in made}, {len(one) for one in made})
    ctx.say(len({bytes(one) for one in made}), all(one.decode().isalnum() for one in made))
    ctx.say(len({bytes(one[:12]) for one in made}), NUID().next()[:12] != made[0][:12])
    before = bytes(nuid._prefix)
    nuid.randomize_prefix()
    ctx.say(len(nuid._prefix), bytes(nuid._prefix) != before)
