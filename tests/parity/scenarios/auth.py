"""Credentials, and what the client tells the server about itself."""

from __future__ import annotations

from typing import Any

from parity.harness import Context, scenario, settle
from support.fake_server import FakeConnection

USERS = 'authorization { users: [{user: "bob", password: "secret"}] }'
TOKEN = 'authorization { token: "t0ken" }'
PERMISSIONS = """
authorization { users: [{user: "bob", password: "secret",
                         permissions: {publish: "open.>", subscribe: "open.>"}}] }
"""
FAST: dict[str, Any] = {"reconnect_time_wait": 0.02, "max_reconnect_attempts": 1}


async def try_each(ctx: Context, cases: dict[str, tuple[str, dict[str, Any]]]) -> None:
    for label, (url, options) in cases.items():
        nc = ctx.client()
        given = {**ctx.callbacks(), **FAST, "allow_reconnect": False, **options}
        await ctx.attempt(label, nc.connect(url, **given))
        ctx.say("connected", nc.is_connected, "last_error", nc.last_error)


@scenario(config=USERS)
async def user_and_password(ctx: Context) -> None:
    address = ctx.server.address
    await try_each(
        ctx,
        {
            "options": (ctx.url, {"user": "bob", "password": "secret"}),
            "callables": (ctx.url, {"user": lambda: "bob", "password": lambda: "secret"}),
            "in the URL": (f"nats://bob:secret@{address}", {}),
            "without scheme": (f"bob:secret@{address}", {}),
            "wrong": (ctx.url, {"user": "bob", "password": "wrong"}),
            "wrong in the URL": (f"nats://bob:wrong@{address}", {}),
            "missing": (ctx.url, {}),
            "only the user": (ctx.url, {"user": "bob"}),
            "options win": (f"nats://x:y@{address}", {"user": "bob", "password": "secret"}),
        },
    )


@scenario(config=TOKEN)
async def token(ctx: Context) -> None:
    address = ctx.server.address
    await try_each(
        ctx,
        {
            "option": (ctx.url, {"token": "t0ken"}),
            "callable": (ctx.url, {"token": lambda: "t0ken"}),
            "in the URL": (f"nats://t0ken@{address}", {}),
            "wrong": (ctx.url, {"token": "wrong"}),
            "missing": (ctx.url, {}),
        },
    )


@scenario(config=USERS)
async def wrong_password_with_reconnect(ctx: Context) -> None:
    nc = ctx.client()
    # The server may close before it has read everything, which resets the connection.
    watched = ctx.callbacks(ignore=(ConnectionResetError,))
    options = {**watched, **FAST, "user": "bob", "password": "wrong"}
    await ctx.attempt("connect", nc.connect(ctx.url, **options))
    ctx.say("last_error", nc.last_error, "closed", nc.is_closed, "servers", nc.servers)


@scenario(config=USERS)
async def wrong_password_verbose(ctx: Context) -> None:
    nc = ctx.client()
    options = {**ctx.callbacks(), "user": "bob", "password": "wrong", "verbose": True}
    await ctx.attempt("connect", nc.connect(ctx.url, allow_reconnect=False, **options))


@scenario(config=USERS)
async def callable_that_raises(ctx: Context) -> None:
    def password() -> str:
        raise LookupError("no password today")

    nc = ctx.client()
    options = {**ctx.callbacks(), **FAST, "user": "bob", "password": password}
    await ctx.attempt("connect", nc.connect(ctx.url, **options))
    ctx.say("connected", nc.is_connected)


@scenario(start=False)
async def what_the_client_says_about_itself(ctx: Context) -> None:
    cases: dict[str, dict[str, Any]] = {
        "defaults": {},
        "all set": {"name": "me", "verbose": False, "pedantic": True, "no_echo": True},
        "user": {"user": "u", "password": "p"},
        "user and token": {"user": "u", "password": "p", "token": "t"},
        "token and lone user": {"user": "u", "token": "t"},
        "empty": {"user": "", "password": ""},
    }
    prefixes = {"u in url": "u@", "u:p in url": "u:p@", "no user": ":p@"}
    cases.update({label: {"prefix": prefix} for label, prefix in prefixes.items()})

    async def handle(client: FakeConnection) -> None:
        await client.handshake()
        await client.serve()

    async with ctx.fake_server(handle) as server:
        for label, given in cases.items():
            options = dict(given)
            prefix = options.pop("prefix", "")
            await ctx.connect(f"nats://{prefix}{server.host}:{server.port}", **options)
            sent = server.connections[-1].connect_options
            # These two are the client's own.
            for own in ("lang", "version"):
                ctx.say(own, type(sent.pop(own)).__name__)
            ctx.say(label, sorted(sent.items()))


@scenario(
    start=False,
    differs="what is quoted in a URL means what it stands for",
    expected=["a@b c:d None", "None None e/f"],
)
async def quoted_user_info(ctx: Context) -> None:
    async with ctx.fake_server() as server:
        for user_info in ("a%40b:c%3Ad", "e%2Ff"):
            await ctx.connect(f"nats://{user_info}@{server.host}:{server.port}")
            sent = server.connections[-1].connect_options
            ctx.say(*(str(sent.get(name)) for name in ("user", "pass", "auth_token")))


@scenario(start=False)
async def nkey_signature(ctx: Context) -> None:
    def signature(nonce: str) -> bytes:
        ctx.say("signing", nonce)
        return b"c2lnbmVk"

    def jwt() -> bytes:
        return b"a.jwt"

    async with ctx.fake_server(info={"nonce": "abc", "auth_required": True}) as server:
        for options in (
            {"signature_cb": signature},
            {"signature_cb": signature, "user_jwt_cb": jwt},
            {"signature_cb": signature, "user_jwt_cb": jwt, "token": "t"},
        ):
            await ctx.connect(server.url, **options)
            sent = server.connections[-1].connect_options
            names = ("auth_token", "jwt", "nkey", "sig", "user", "pass")
            ctx.say({name: sent[name] for name in names if name in sent})


REASONS = (
    "User Authentication Expired",
    "User Authentication Revoked",
    "Account Authentication Expired",
    "Authorization Violation",
)


@scenario(
    start=False,
    differs="nats-py closes; the client connects again, as credentials may have been renewed",
    expected=[
        line
        for reason in REASONS
        for line in (
            f"error_cb nats.errors.Error: nats: {reason.lower()}"
            if reason != REASONS[-1]
            else "error_cb nats.errors.AuthorizationError: nats: authorization failed",
            "disconnected_cb",
            "reconnected_cb",
            f"{reason} closed False connections 2",
            "next_msg raises nats.errors.TimeoutError: nats: timeout",
            "publish gives None",
        )
    ],
)
async def users_that_are_not_valid_any_more(ctx: Context) -> None:
    for reason in REASONS:

        async def handle(client: FakeConnection, reason: str = reason) -> None:
            await client.handshake(auth_required=True)
            await client.expect(b"SUB")
            if client.index == 0:
                await client.write(f"-ERR '{reason}'\r\n".encode())
                await client.wait_closed()
            else:
                await client.serve()

        async with ctx.fake_server(handle) as server:
            nc = await ctx.connect(server.url, user="u", password="p", **FAST)
            sub = await nc.subscribe("foo")
            times = sum(line in ("closed_cb", "reconnected_cb") for line in ctx.lines)
            await ctx.until(
                "that has come to an end",
                lambda times=times: (
                    sum(line in ("closed_cb", "reconnected_cb") for line in ctx.lines) > times
                ),
            )
            ctx.say(reason, "closed", nc.is_closed, "connections", len(server.connections))
            await ctx.attempt("next_msg", sub.next_msg(timeout=0.05))
            await ctx.attempt("publish", nc.publish("foo"))


@scenario(config=PERMISSIONS)
async def permissions(ctx: Context) -> None:
    nc = await ctx.connect(user="bob", password="secret")
    closed = await nc.subscribe("closed.a")
    await settle(nc)
    await ctx.until_said("error_cb")
    await nc.publish("closed.b")
    await settle(nc)
    await ctx.until_said("error_cb", 2)
    ctx.say("kept", nc._subs.get(closed._id) is closed, "connected", nc.is_connected)
    await ctx.attempt("next_msg", closed.next_msg(timeout=0.05))
    await ctx.attempt("unsubscribe", closed.unsubscribe())
    sub = await nc.subscribe("open.a")
    await nc.publish("open.a", b"come in")
    ctx.say((await sub.next_msg(timeout=2)).data, "last_error", nc.last_error)


@scenario
async def verbose_and_pedantic(ctx: Context) -> None:
    nc = await ctx.connect(verbose=True, pedantic=True)
    sub = await nc.subscribe("foo")
    for number in range(3):
        await nc.publish("foo", b"%d" % number)
    await settle(nc)
    ctx.say([(await sub.next_msg()).data for _ in range(3)])
    ctx.say("connected", nc.is_connected, nc.stats)


@scenario
async def no_echo(ctx: Context) -> None:
    deaf = await ctx.connect(no_echo=True)
    other = await ctx.connect()
    sub = await deaf.subscribe("foo")
    await settle(deaf)
    await deaf.publish("foo", b"own")
    await settle(deaf)
    await other.publish("foo", b"other's")
    ctx.say((await sub.next_msg()).data, sub.pending_msgs, sub.delivered)
