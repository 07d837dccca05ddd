"""Credentials files in every form, and functions in their place."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from nats.aio.client import RawCredentials
from parity.harness import Context, scenario
from parity.scenarios._credentials import (
    CONNECTED,
    FAST,
    NO_CREDENTIALS,
    NOT_CONNECTED,
    RETRY,
    STARTING,
    Files,
    restart,
    signature,
    state,
    try_each,
    until_done_reconnecting,
)
from support.jwts import Operator, User

JWT_MARK = "-----BEGIN NATS USER JWT-----\n"
SEED_MARK = "-----BEGIN USER NKEY SEED-----\n"


async def start(ctx: Context) -> tuple[Operator, Files]:
    operator = Operator()
    await ctx.server.start(operator.config())
    return operator, Files(ctx)


@scenario(start=False)
async def forms(ctx: Context) -> None:
    operator, files = await start(ctx)
    user, stranger = operator.user(), Operator().user()
    jwt, seed, content = user.jwt, user.key.seed, user.credentials()
    swapped = f"{SEED_MARK}{seed}\n---\n\nand then\n{JWT_MARK}{jwt}\n---\n"
    await try_each(
        ctx,
        {
            name: {"user_credentials": value}
            for name, value in {
                "name": files.name(content),
                "path": files.path(content),
                "raw": RawCredentials(content),
                "seed first": files.name(swapped),
                "two names": (files.name(jwt), files.name(seed)),
                "two paths": (files.path(jwt), files.path(seed)),
                "JWT with line end": (files.name(f"{jwt}\n"), files.name(seed)),
                "stranger's": files.name(stranger.credentials()),
                "another's seed": files.name(f"{JWT_MARK}{jwt}\n{SEED_MARK}{stranger.key.seed}\n"),
                "another's JWT": (files.name(operator.user().jwt), files.name(seed)),
                "no JWT": (files.name(""), files.name(seed)),
                "missing": files.missing,
                "missing path": Path(files.missing),
                "directory": str(ctx.directory),
                "missing JWT": (files.missing, files.name(seed)),
                "missing seed": (files.name(jwt), files.missing),
            }.items()
        },
    )


NO_SUCH_FILE = "FileNotFoundError: [Errno 2] No such file or directory: '<directory>/missing'"


@scenario(
    start=False,
    differs="a file that is missing is still missing at the next attempt",
    expected=[
        f"error_cb {NO_SUCH_FILE}",
        f"missing, again raises {NO_SUCH_FILE}",
        f"connected False closed False last {NO_SUCH_FILE}",
    ],
)
async def missing_though_reconnecting_is_allowed(ctx: Context) -> None:
    _, files = await start(ctx)
    await try_each(ctx, {"missing, again": {"user_credentials": files.missing, **RETRY}})


LINE_ENDS = ["CRLF", "seed with line end", "no last line end", "raw, no last line end", "blanks"]
NOTHING = ["", "raw", "tuple", "no seed", "raw, no seed", "nothing behind the mark", "blank line"]
NOTHING += ["garbage", "cut seed", "seed of a pair"]
WRONG_TYPES = ("one of a pair", "three of a pair", "list", "bytes", "number", "number of a pair")


@scenario(
    start=False,
    differs="line ends are no part of a seed; nkeys has errors of its own; types were ignored",
    expected=[
        *(line for label in LINE_ENDS for line in (f"{label} gives None", CONNECTED)),
        *(
            line
            for label in NOTHING
            for line in (f"{label} raises {NO_CREDENTIALS}", NOT_CONNECTED)
        ),
        *(line for label in WRONG_TYPES for line in (f"{label} raises TypeError", NOT_CONNECTED)),
    ],
)
async def forms_that_nkeys_refuses(ctx: Context) -> None:
    """What is refused isn't tried again."""
    operator, files = await start(ctx)
    user = operator.user()
    jwt, seed = user.jwt, user.key.seed
    begin = f"{JWT_MARK}{jwt}\n"
    cut = f"{begin}{SEED_MARK}{seed}"
    values: tuple[Any, ...] = (
        files.name(user.credentials("\r\n")),
        (files.name(f"{jwt}\n"), files.name(f"{seed}\n")),
        *(files.name(cut), RawCredentials(cut)),
        files.name(f"{JWT_MARK} {jwt} \n{SEED_MARK} {seed} \n"),
        *("", RawCredentials(""), ()),
        *(files.name(begin), RawCredentials(begin)),
        files.name(f"{begin}{SEED_MARK}"),
        files.name(f"{begin}{SEED_MARK}\n{seed}\n"),
        files.name(f"{begin}{SEED_MARK}garbage\n"),
        files.name(f"{begin}{SEED_MARK}{seed[:-1]}\n"),
        (files.name(jwt), files.name("garbage")),
        (files.name(jwt),),
        (files.name(jwt), files.name(seed), files.name(seed)),
        [files.name(jwt), files.name(seed)],
        files.name(user.credentials()).encode(),
        # No descriptor that is open: nats-py would close it.
        *(10_000, (files.name(jwt), 10_000)),
    )
    cases = dict(zip([*LINE_ENDS, *NOTHING, *WRONG_TYPES], values, strict=True))
    await try_each(
        ctx, {label: {**RETRY, "user_credentials": value} for label, value in cases.items()}
    )


class Functions:
    """A ``signature_cb`` and a ``user_jwt_cb`` that say when they are called."""

    def __init__(self, ctx: Context, user: User) -> None:
        self.user = user
        self.failing: Exception | None = None
        self.is_silent = False
        self._ctx = ctx

    def _say(self, *parts: Any) -> None:
        if not self.is_silent:
            self._ctx.say(*parts)

    def sign(self, nonce: str) -> bytes:
        self._say("sign", type(nonce).__name__, len(nonce) > 10)
        if self.failing:
            raise self.failing
        return signature(self.user.key, nonce)

    def jwt(self) -> bytes:
        self._say("jwt")
        return self.user.jwt.encode()

    @property
    def options(self) -> dict[str, Any]:
        return {"signature_cb": self.sign, "user_jwt_cb": self.jwt}


@scenario(start=False)
async def functions(ctx: Context) -> None:
    operator, files = await start(ctx)
    user = operator.user()
    use = Functions(ctx, user)
    file = files.name(operator.user().credentials())

    def failing(error: Exception) -> Any:
        def fail(*_: Any) -> bytes:
            raise error

        return fail

    async def later(*_: Any) -> bytes:
        return b""

    await try_each(
        ctx,
        {
            "both": use.options,
            "bytearray": {**use.options, "user_jwt_cb": lambda: bytearray(user.jwt.encode())},
            "only the signature": {"signature_cb": use.sign},
            "only the JWT": {"user_jwt_cb": use.jwt},
            "file comes first": {**use.options, "user_credentials": file},
            "JWT as text": {**use.options, "user_jwt_cb": lambda: user.jwt},
            "signature as text": {**use.options, "signature_cb": lambda nonce: "text"},
            "no JWT": {**use.options, "user_jwt_cb": lambda: None},
            "no signature": {**use.options, "signature_cb": lambda nonce: None},
            "wrong signature": {**use.options, "signature_cb": lambda nonce: b"AAAA"},
            "signature not UTF-8": {**use.options, "signature_cb": lambda nonce: b"\xff"},
            "signature without argument": {**use.options, "signature_cb": lambda: b"A"},
            "coroutine": {**use.options, "user_jwt_cb": later},
            "no function": {**use.options, "signature_cb": b"AAAA"},
            "JWT raises": {**use.options, "user_jwt_cb": failing(LookupError("no JWT"))},
            "JWT raises OSError": {**use.options, "user_jwt_cb": failing(OSError("no JWT"))},
            "signature raises": {**use.options, "signature_cb": failing(LookupError("no key"))},
            "signature times out": {**use.options, "signature_cb": failing(TimeoutError("slow"))},
        },
    )


@scenario(start=False)
async def functions_when_reconnecting(ctx: Context) -> None:
    operator, _ = await start(ctx)
    use = Functions(ctx, operator.user())
    watched = ctx.callbacks(once=True, ignore=STARTING)
    nc = await ctx.connect(**use.options, **watched, **FAST)
    sub = await nc.subscribe("foo")
    for number in (1, 2):
        use.user = operator.user()
        await restart(ctx)
        await ctx.until_said("reconnected_cb", number)
        ctx.say(state(nc), nc.stats["reconnects"])
    await nc.publish("foo", b"x")
    ctx.say((await sub.next_msg(timeout=5)).data)
    use.is_silent, use.failing = True, OSError("no smart card")
    await restart(ctx)
    await ctx.until_said("error_cb OSError: no smart card")
    ctx.say(state(nc), nc.last_error)
    use.failing = asyncio.TimeoutError("slow")
    # CPython 3.10 has another name for it.
    await ctx.until("the time-out was told", lambda: ctx.lines[-1].endswith("TimeoutError: slow"))
    ctx.say(state(nc), nc.last_error)
    use.failing = None
    await until_done_reconnecting(ctx, nc)
    ctx.say(state(nc), nc.stats["reconnects"])


@scenario(
    start=False,
    differs="the client gives up without a word, and hangs",
    expected=[
        "error_cb nats.errors.UnexpectedEOF: nats: unexpected EOF",
        "disconnected_cb",
        "error_cb LookupError",
        "reconnected_cb",
        "connected True closed False",
    ],
)
async def function_that_raises_something_else(ctx: Context) -> None:
    operator, _ = await start(ctx)
    use = Functions(ctx, operator.user())
    use.is_silent = True
    watched = ctx.callbacks(once=True, ignore=STARTING)
    nc = await ctx.connect(**use.options, **watched, **FAST)
    use.failing = LookupError("no key")
    await restart(ctx)
    await ctx.until(
        "the client has tried",
        lambda: "error_cb LookupError" in ctx.lines or nc._reconnection_task.done(),
    )
    use.failing = None
    await until_done_reconnecting(ctx, nc)
    ctx.say(state(nc))


USERS = 'authorization {{ users: [{{user: "bob", password: "{}"}}] }}'


@scenario(start=False)
async def user_and_password_when_reconnecting(ctx: Context) -> None:
    secret = "one"
    failing: Exception | None = None

    def password() -> str:
        if failing:
            raise failing
        return secret

    await ctx.server.start(USERS.format("one"))
    watched = ctx.callbacks(once=True, ignore=STARTING)
    nc = await ctx.connect(user=lambda: "bob", password=password, **watched, **FAST)
    await restart(ctx, USERS.format("two"))
    await ctx.until_said("error_cb nats.errors.Error: nats: 'Authorization Violation'")
    ctx.say(state(nc), nc.last_error)
    failing = OSError("no keyring")
    await ctx.until_said("error_cb OSError: no keyring")
    ctx.say(state(nc), nc.last_error)
    failing, secret = None, "two"
    await until_done_reconnecting(ctx, nc)
    ctx.say(state(nc), nc.last_error, nc.stats["reconnects"])
