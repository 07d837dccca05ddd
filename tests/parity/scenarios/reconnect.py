"""Losing the server and finding it again: callbacks, subscriptions, publications, giving up."""

from __future__ import annotations

import asyncio
from typing import Any

from nats import errors
from parity.harness import Context, scenario, settle

# Long enough for whatever else happens while the server is down, short enough not to wait.
FAST: dict[str, Any] = {"reconnect_time_wait": 0.1, "connect_timeout": 1}


async def watched(ctx: Context, *servers: str, **options: Any) -> Any:
    # See `the_final_error`.
    callbacks = ctx.callbacks(once=True, ignore=(errors.NoServersError,))
    return await ctx.connect(list(servers) or None, **{**callbacks, **FAST, **options})


async def lose(ctx: Context) -> None:
    """Kill the server and wait until the client has seen it and tried again."""
    ctx.server.kill()
    await ctx.until_said("disconnected_cb")
    await ctx.until_said("error_cb ConnectionRefusedError")


@scenario
async def order_of_callbacks(ctx: Context) -> None:
    nc = await watched(ctx)
    await lose(ctx)
    ctx.say("reconnecting", nc.is_reconnecting, "connected", nc.is_connected, nc._status)
    ctx.say(nc.connected_url, "closed", nc.is_closed, nc.stats["reconnects"])
    await ctx.server.start()
    await ctx.until_said("reconnected_cb")
    ctx.say("reconnecting", nc.is_reconnecting, "connected", nc.is_connected, nc._status)
    ctx.say(nc.connected_url.netloc, nc.stats["reconnects"], nc.last_error)
    ctx.say([(server.uri.netloc, server.reconnects) for server in nc.server_pool])
    await nc.close()


@scenario
async def server_stopped_in_order(ctx: Context) -> None:
    nc = await watched(ctx)
    ctx.server.stop()
    await ctx.until_said("error_cb ConnectionRefusedError")
    await ctx.server.start()
    await ctx.until_said("reconnected_cb")
    ctx.say("connected", nc.is_connected, nc.stats["reconnects"])


@scenario
async def subscriptions_stay(ctx: Context) -> None:
    nc = await watched(ctx)

    async def handler(msg: Any) -> None:
        ctx.say("got", msg.subject, msg.data, msg.sid)

    await nc.subscribe("foo", cb=handler)
    sub = await nc.subscribe("bar.*", "queue")
    gone = await nc.subscribe("gone")
    await gone.unsubscribe()
    await lose(ctx)
    await ctx.server.start()
    await ctx.until_said("reconnected_cb")
    for subject in ("foo", "bar.1", "gone"):
        await nc.publish(subject, b"again")
    msg = await sub.next_msg()
    await ctx.until_said("got")
    ctx.say(msg.subject, msg.data, msg.sid, gone.pending_msgs, len(nc._subs))


@scenario
async def rest_of_the_limit(ctx: Context) -> None:
    nc = await watched(ctx)
    sub = await nc.subscribe("foo")
    await sub.unsubscribe(limit=5)
    for number in range(2):
        await nc.publish("foo", b"%d" % number)
    await settle(nc)
    await lose(ctx)
    await ctx.server.start()
    await ctx.until_said("reconnected_cb")
    for number in range(2, 8):
        await nc.publish("foo", b"%d" % number)
    await settle(nc)
    ctx.say(sub.delivered, sub.pending_msgs, len(nc._subs), nc.stats["in_msgs"])
    ctx.say([msg.data async for msg in sub.messages])


@scenario
async def publications_are_kept(ctx: Context) -> None:
    nc = await watched(ctx)
    sub = await nc.subscribe("foo")
    await settle(nc)
    await lose(ctx)
    for number in range(100):
        await nc.publish("foo", b"%d" % number)
    ctx.say("buffered", nc.pending_data_size > 0, nc.stats["out_msgs"])
    await ctx.server.start()
    await ctx.until_said("reconnected_cb")
    await nc.publish("foo", b"after")
    await ctx.until("all came", lambda: sub.pending_msgs == 101)
    got = [(await sub.next_msg()).data for _ in range(101)]
    ctx.say("in order", got == [*(b"%d" % number for number in range(100)), b"after"])
    ctx.say(nc.pending_data_size, nc.stats)


@scenario
async def calls_while_it_is_down(ctx: Context) -> None:
    nc = await watched(ctx, **ctx.callbacks(ignore=(ConnectionRefusedError,)))
    old = await nc.subscribe("old")
    await nc.flush()
    ctx.server.kill()
    await ctx.until_said("disconnected_cb")
    await ctx.attempt("publish", nc.publish("foo", b"x"))
    await ctx.attempt("request", nc.request("foo", b"x", timeout=0.05))
    await ctx.attempt("old style request", nc.request("foo", b"x", 0.05, old_style=True))
    new = await ctx.attempt("subscribe", nc.subscribe("new"))
    await ctx.attempt("unsubscribe", old.unsubscribe())
    await ctx.attempt("next_msg", new.next_msg(timeout=0.02))
    await ctx.attempt("force_reconnect", nc.force_reconnect())
    await ctx.server.start()
    await ctx.until_said("reconnected_cb")
    await settle(nc)
    for subject in ("old", "new"):
        await nc.publish(subject, b"x")
    await settle(nc)
    ctx.say(old.pending_msgs, new.pending_msgs, len(nc._subs))


@scenario
async def giving_up(ctx: Context) -> None:
    nc = await watched(ctx, max_reconnect_attempts=2, reconnect_time_wait=0.02)
    sub = await nc.subscribe("foo")
    await nc.flush()
    ctx.server.kill()
    await ctx.until_said("closed_cb")
    await asyncio.sleep(0.05)
    ctx.say("closed", nc.is_closed, nc._status, "last_error", nc.last_error)
    ctx.say("servers", nc.servers, "subscriptions", len(nc._subs), nc.stats["reconnects"])
    await ctx.attempt("publish", nc.publish("foo", b""))
    await ctx.attempt("next_msg", sub.next_msg())


@scenario(
    differs="nats-py doesn't tell that it gives up",
    expected=[
        "error_cb nats.errors.NoServersError: nats: no servers available for connection",
        "disconnected_cb",
        "closed_cb",
    ],
)
async def the_final_error(ctx: Context) -> None:
    watched = ctx.callbacks(ignore=(errors.UnexpectedEOF, ConnectionRefusedError))
    await ctx.connect(**watched, max_reconnect_attempts=1, reconnect_time_wait=0.02)
    ctx.server.kill()
    await ctx.until_said("disconnected_cb")
    ctx.lines.clear()
    await ctx.until_said("closed_cb")


@scenario
async def number_of_attempts(ctx: Context) -> None:
    watched = ctx.callbacks(ignore=(errors.NoServersError,))
    nc = await ctx.connect(**watched, max_reconnect_attempts=3, reconnect_time_wait=0.02)
    ctx.server.kill()
    await ctx.until_said("closed_cb")
    ctx.say("closed", nc.is_closed)


@scenario
async def not_allowed(ctx: Context) -> None:
    nc = await watched(ctx, allow_reconnect=False)
    sub = await nc.subscribe("foo")
    waiting = asyncio.create_task(sub.next_msg(timeout=5))
    await settle(nc)
    ctx.server.kill()
    await ctx.until_said("closed_cb")
    await ctx.attempt("next_msg", waiting)
    ctx.say("closed", nc.is_closed, nc._status, "last_error", nc.last_error)
    await ctx.attempt("force_reconnect", nc.force_reconnect())


@scenario
async def twice_in_a_row(ctx: Context) -> None:
    nc = await watched(ctx)
    sub = await nc.subscribe("foo")
    await nc.flush()
    for times in (1, 2):
        ctx.server.kill()
        await ctx.until_said("disconnected_cb", times)
        await ctx.until_said("error_cb ConnectionRefusedError", times)
        await ctx.server.start()
        await ctx.until_said("reconnected_cb", times)
        await nc.publish("foo", b"%d" % times)
        ctx.say((await sub.next_msg()).data, nc.stats["reconnects"])


@scenario
async def to_another_server(ctx: Context) -> None:
    second = ctx.new_server()
    await second.start()
    nc = await watched(ctx, ctx.url, second.url, dont_randomize=True)
    sub = await nc.subscribe("foo")
    ctx.say("connected to", nc.connected_url.netloc)
    await nc.flush()
    ctx.server.kill()
    await ctx.until_said("reconnected_cb")
    ctx.say("connected to", nc.connected_url.netloc)
    ctx.say([(server.uri.netloc, server.reconnects) for server in nc.server_pool])
    await nc.publish("foo", b"x")
    ctx.say((await sub.next_msg()).data)


@scenario
async def frozen_server(ctx: Context) -> None:
    nc = await watched(ctx, ping_interval=0.2, max_outstanding_pings=2, connect_timeout=0.2)
    await asyncio.sleep(0.5)
    ctx.say("connected", nc.is_connected)
    ctx.server.pause()
    await ctx.until_said("error_cb")
    ctx.server.resume()
    await ctx.until_said("reconnected_cb")
    ctx.say("connected", nc.is_connected, nc.stats["reconnects"])


@scenario
async def frozen_server_without_reconnect(ctx: Context) -> None:
    nc = await watched(ctx, ping_interval=0.05, max_outstanding_pings=1, allow_reconnect=False)
    ctx.server.pause()
    await ctx.until_said("closed_cb")
    ctx.say("closed", nc.is_closed, "last_error", nc.last_error)


@scenario(config='authorization { user: "a", password: "b" }')
async def credentials_changed(ctx: Context) -> None:
    # Refused until the server is back; reset if it closes before it has read everything.
    ignore = (ConnectionRefusedError, ConnectionResetError, errors.NoServersError)
    options = ctx.callbacks(once=True, ignore=ignore)
    options.update(user="a", password="b", max_reconnect_attempts=6, reconnect_time_wait=0.15)
    nc = await ctx.connect(**options)
    ctx.server.kill()
    await ctx.server.start('authorization { user: "a", password: "other" }')
    await ctx.until_said("closed_cb")
    ctx.say("closed", nc.is_closed, "last_error", nc.last_error, nc.stats["reconnects"])


@scenario(config='authorization { user: "a", password: "b" }')
async def credentials_are_asked_for_again(ctx: Context) -> None:
    def password() -> str:
        ctx.say("password asked for")
        return "b"

    nc = await watched(ctx, user="a", password=password)
    await lose(ctx)
    await ctx.server.start()
    await ctx.until_said("reconnected_cb")
    ctx.say("connected", nc.is_connected)


@scenario
async def forced(ctx: Context) -> None:
    nc = await watched(ctx)
    sub = await nc.subscribe("foo")
    before = nc.client_id
    await ctx.attempt("force_reconnect", nc.force_reconnect())
    ctx.say("reconnecting", nc.is_reconnecting)
    await nc.publish("foo", b"buffered")
    await ctx.until_said("reconnected_cb")
    ctx.say((await sub.next_msg()).data, nc.stats["reconnects"], nc.client_id != before)
    ctx.say(nc.last_error, nc.is_connected)


@scenario
async def handler_chooses_the_server(ctx: Context) -> None:
    second = ctx.new_server()
    await second.start()

    def choose(servers: list[Any], info: dict[str, Any]) -> Any:
        kinds = [type(server).__qualname__ for server in servers]
        ctx.say("choose from", [server.uri.netloc for server in servers], kinds)
        ctx.say("info", type(info).__name__, "server_id" in info, info["max_payload"])
        return next(server for server in servers if server.uri.netloc == second.address), 0.05

    options = {"reconnect_to_server_handler": choose, "dont_randomize": True}
    nc = await watched(ctx, ctx.url, second.url, **options)
    ctx.say("connected to", nc.connected_url.netloc)
    await nc.force_reconnect()
    await ctx.until_said("reconnected_cb")
    ctx.say("connected to", nc.connected_url.netloc)


@scenario
async def handler_with_wrong_answers(ctx: Context) -> None:
    calls = 0

    def choose(servers: list[Any], info: dict[str, Any]) -> Any:
        nonlocal calls
        calls += 1
        ctx.say("call", calls, [server.reconnects for server in servers])
        if calls == 1:
            raise LookupError("no idea")
        uri = servers[0].uri._replace(netloc="other.example:4222")
        return type(servers[0])(uri), 0

    nc = await watched(ctx, reconnect_to_server_handler=choose)
    await nc.force_reconnect()
    await ctx.until_said("reconnected_cb")
    ctx.say("connected to", nc.connected_url.netloc)


@scenario
async def handler_leaves_the_choice(ctx: Context) -> None:
    def choose(servers: list[Any], info: dict[str, Any]) -> Any:
        ctx.say_once("call", len(servers))
        return None, 0.02

    nc = await watched(ctx, reconnect_to_server_handler=choose, max_reconnect_attempts=2)
    ctx.server.kill()
    await ctx.until_said("closed_cb")
    ctx.say("closed", nc.is_closed, nc.last_error)


@scenario
async def pool_replaced(ctx: Context) -> None:
    second = ctx.new_server()
    await second.start()
    nc = await watched(ctx)
    nc.set_server_pool([second.address])
    ctx.say("servers", [uri.geturl() for uri in nc.servers], "connected", nc.is_connected)
    await nc.force_reconnect()
    await ctx.until_said("reconnected_cb")
    ctx.say("connected to", nc.connected_url.netloc)
    await ctx.attempt("set_server_pool", lambda: nc.set_server_pool(["nats://127.0.0.1:x"]))
    ctx.say("servers", [uri.geturl() for uri in nc.servers])
    nc.set_server_pool([ctx.url, second.url])
    ctx.say([(server.uri.netloc, server.reconnects) for server in nc.server_pool])


@scenario
async def work_in_the_callbacks(ctx: Context) -> None:
    async def reconnected_cb() -> None:
        ctx.say("reconnected_cb", nc.is_connected)
        await nc.publish("foo", b"from the callback")
        await nc.flush()
        ctx.say("flushed")

    async def disconnected_cb() -> None:
        ctx.say("disconnected_cb", nc.is_connected, nc.is_reconnecting)
        await asyncio.sleep(0.02)
        ctx.say("slept")

    nc = await watched(ctx, reconnected_cb=reconnected_cb, disconnected_cb=disconnected_cb)
    sub = await nc.subscribe("foo")
    await nc.force_reconnect()
    await ctx.until_said("flushed")
    ctx.say((await sub.next_msg()).data)


@scenario(
    differs="closing cancels the reconnection it was called from, and stops half way",
    expected=[
        "error_cb nats.errors.UnexpectedEOF: nats: unexpected EOF",
        "disconnected_cb",
        "disconnected_cb",
        "closed_cb",
        "closed True",
    ],
)
async def close_in_the_disconnected_callback(ctx: Context) -> None:
    async def disconnected_cb() -> None:
        ctx.say("disconnected_cb")
        if not nc.is_closed:
            await nc.close()

    nc = await watched(ctx, disconnected_cb=disconnected_cb)
    ctx.server.kill()
    await ctx.until("closed", lambda: nc.is_closed)
    await asyncio.sleep(0.2)
    ctx.say("closed", nc.is_closed)
