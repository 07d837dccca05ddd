"""Users with JWTs on a server of their operator: what they may do, and until when."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from nats.aio.client import Client, RawCredentials
from parity.harness import Context, scenario, settle
from parity.scenarios._credentials import FAST, ONCE, RETRY, STARTING, restart, state
from support.jwts import Operator, User


async def start(ctx: Context) -> Operator:
    """Start a server that takes new JWTs of accounts while it runs."""
    operator = Operator()
    resolver = f'{{ type: full, dir: "{ctx.directory / "jwts"}" }}'
    await ctx.server.start(operator.config(resolver=resolver))
    return operator


async def enter(ctx: Context, user: User, **options: Any) -> Any:
    return await ctx.connect(user_credentials=RawCredentials(user.credentials()), **options)


async def refused(ctx: Context, label: str, user: User, **options: Any) -> None:
    given = {**ctx.callbacks(), **ONCE, **options}
    nc = ctx.client()
    credentials = RawCredentials(user.credentials())
    await ctx.attempt(label, nc.connect(ctx.url, user_credentials=credentials, **given))
    ctx.say(state(nc), "last", nc.last_error)


async def update(ctx: Context, operator: Operator, jwt: str) -> None:
    """Tell the server of an account's new JWT."""
    nc = await enter(ctx, operator.system_user())
    answer = await nc.request("$SYS.REQ.CLAIMS.UPDATE", jwt.encode(), timeout=5)
    if b'"code":200' not in answer.data:
        ctx.say("refused", answer.data)


@scenario(
    start=False,
    differs="a request that is refused waits for its timeout",
    expected=[
        'error_cb nats.errors.Error: nats: permissions violation for subscription to "closed.a"',
        "error_cb nats.errors.Error: nats: permissions violation for "
        'subscription to "open.not.b" using queue "workers"',
        'error_cb nats.errors.Error: nats: permissions violation for publish to "closed.b"',
        'error_cb nats.errors.Error: nats: permissions violation for publish to "open.not.c"',
        'error_cb nats.errors.Error: nats: permissions violation for publish to "closed.d"',
        'request raises nats.errors.Error: nats: permissions violation for publish to "closed.d"',
        "kept [True, True] connected True closed False",
        'last nats.errors.Error: nats: permissions violation for publish to "closed.d"',
        "next_msg raises nats.errors.TimeoutError: nats: timeout",
        "unsubscribe gives None",
        "b'come in' 3",
    ],
)
async def permissions_on_publishing_and_subscribing(ctx: Context) -> None:
    operator = await start(ctx)
    allowed = {"allow": ["open.>", "_INBOX.>"], "deny": ["open.not.>"]}
    user = operator.user(permissions={"pub": allowed, "sub": allowed})
    nc = await enter(ctx, user)
    closed = await nc.subscribe("closed.a")
    queue = await nc.subscribe("open.not.b", queue="workers")
    await settle(nc)
    await ctx.until_said("error_cb", 2)
    for subject in ("closed.b", "open.not.c"):
        await nc.publish(subject, b"x")
    await settle(nc)
    await ctx.until_said("error_cb", 4)
    await ctx.attempt("request", nc.request("closed.d", b"x", timeout=0.2))
    await settle(nc)
    await ctx.until_said("error_cb", 5)
    ctx.say("kept", [nc._subs.get(sub._id) is sub for sub in (closed, queue)], state(nc))
    ctx.say("last", nc.last_error)
    await ctx.attempt("next_msg", closed.next_msg(timeout=0.05))
    await ctx.attempt("unsubscribe", closed.unsubscribe())
    sub = await nc.subscribe("open.a")
    await nc.publish("open.a", b"come in")
    ctx.say((await sub.next_msg(timeout=5)).data, len(nc._subs))


@scenario(
    start=False,
    differs="the client closes, although the server goes on; error_cb doesn't hear of either",
    expected=[
        "error_cb nats.errors.Error: nats: maximum subscriptions exceeded",
        "connected True closed False last nats.errors.Error: nats: maximum subscriptions exceeded",
        "disconnected_cb",
        "closed_cb",
        "max_payload 1048576",
        "publish gives None",
        "error_cb nats.errors.Error: nats: maximum payload violation",
        "disconnected_cb",
        "closed_cb",
        "connected False closed True last nats.errors.Error: nats: maximum payload violation",
    ],
)
async def limits(ctx: Context) -> None:
    operator = await start(ctx)
    nc = await enter(ctx, operator.user(permissions={"subs": 2}), **FAST)
    for number in range(3):
        await nc.subscribe(f"a.{number}")
    await ctx.until(
        "the client has heard of it",
        lambda: any(line.startswith(("error_cb", "closed_cb")) for line in ctx.lines),
    )
    ctx.say(state(nc), "last", nc.last_error)
    await nc.close()
    # The server tells of this limit only when it is exceeded.
    nc = await enter(ctx, operator.user(permissions={"payload": 10}), **FAST)
    ctx.say("max_payload", nc.max_payload)
    await ctx.attempt("publish", nc.publish("foo", b"x" * 11))
    await ctx.until_said("closed_cb", 2)
    ctx.say(state(nc), "last", nc.last_error)


@scenario(start=False)
async def permissions_after_reconnecting(ctx: Context) -> None:
    """Subscriptions that aren't allowed are replayed, and refused again."""
    operator = await start(ctx)
    user = operator.user(permissions={"sub": {"allow": ["open.>", "_INBOX.>"]}})
    watched = ctx.callbacks(ignore=STARTING)
    nc = await enter(ctx, user, **watched, **FAST)
    await nc.subscribe("closed.a")
    sub = await nc.subscribe("open.a")
    await settle(nc)
    await ctx.until_said("error_cb nats.errors.Error")
    await restart(ctx)
    await ctx.until_said("error_cb nats.errors.Error", 2)
    await ctx.until_said("reconnected_cb")
    await nc.publish("open.a", b"come in")
    ctx.say((await sub.next_msg(timeout=5)).data, state(nc), "last", nc.last_error)


@scenario(start=False)
async def not_valid_from_the_start(ctx: Context) -> None:
    operator = await start(ctx)
    user = operator.user()
    await update(ctx, operator, operator.account_jwt(user))
    now = int(time.time())
    watched = ctx.callbacks(ignore=(ConnectionResetError,))
    await refused(ctx, "expired", operator.user(exp=now - 10))
    await refused(ctx, "not yet valid", operator.user(nbf=now + 1000))
    await refused(ctx, "revoked", user)
    await refused(ctx, "revoked, again", user, **watched, **RETRY)


NONE_LEFT = "nats.errors.NoServersError: nats: no servers available for connection"


@scenario(
    start=False,
    differs="nats-py closes; the client comes back with fresh credentials, if there are any",
    expected=[
        *(
            line
            for reason in ("revoked", "expired")
            for line in (
                f"error_cb nats.errors.Error: nats: user authentication {reason}",
                "disconnected_cb",
                "error_cb nats.errors.Error: nats: 'Authorization Violation'",
                "error_cb nats.errors.Error: nats: 'Authorization Violation'",
                f"error_cb {NONE_LEFT}",
                "disconnected_cb",
                "closed_cb",
                f"connected False closed True last {NONE_LEFT}",
                "waiting raises nats.errors.ConnectionClosedError: nats: connection closed",
                "publish raises nats.errors.ConnectionClosedError: nats: connection closed",
            )
        ),
        "other connected True closed False",
    ],
)
async def not_valid_any_more(ctx: Context) -> None:
    operator = await start(ctx)
    kept = await enter(ctx, operator.user(), **FAST)
    user = operator.user()
    nc = await enter(ctx, user, **FAST)
    sub = await nc.subscribe("foo")
    await settle(nc)
    waiting = asyncio.ensure_future(sub.next_msg(timeout=20))
    await update(ctx, operator, operator.account_jwt(user))
    await say_the_end(ctx, nc, waiting)

    nc = await enter(ctx, operator.user(exp=int(time.time()) + 3), **FAST)
    say_disconnected = nc._disconnected_cb

    async def wait_until_it_counts() -> None:
        # Servers look at whole seconds: within the one of the expiry they would let it in again.
        await say_disconnected()
        await asyncio.sleep(1.5)

    nc._disconnected_cb = wait_until_it_counts
    sub = await nc.subscribe("foo")
    await say_the_end(ctx, nc, asyncio.ensure_future(sub.next_msg(timeout=20)))
    await kept.flush()
    ctx.say("other", state(kept))


async def say_the_end(ctx: Context, nc: Client, waiting: asyncio.Future[Any]) -> None:
    await ctx.until("the client is closed", lambda: nc.is_closed)
    await ctx.until("its callback was called", lambda: ctx.lines[-1:] == ["closed_cb"])
    ctx.say(state(nc), "last", nc.last_error)
    await ctx.attempt("waiting", waiting)
    await ctx.attempt("publish", nc.publish("foo"))
