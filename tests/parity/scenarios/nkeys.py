"""NKeys: seeds in files and as text, on a server that knows their users."""

from __future__ import annotations

from parity.harness import Context, scenario
from parity.scenarios._credentials import (
    FAST,
    NO_CREDENTIALS,
    NOT_CONNECTED,
    STARTING,
    Files,
    restart,
    signature,
    state,
    try_each,
    until_done_reconnecting,
)
from support.jwts import Key

ACCOUNT = 0


@scenario(start=False)
async def seeds(ctx: Context) -> None:
    key, other, files = Key(), Key(), Files(ctx)
    await ctx.server.start(key.config)
    seed = key.seed
    await try_each(
        ctx,
        {
            "file": {"nkeys_seed": files.name(f"{seed}\n")},
            "path": {"nkeys_seed": files.path(f"{seed}\n")},
            "without line end": {"nkeys_seed": files.name(seed)},
            "blank lines": {"nkeys_seed": files.name(f"\n \n\t{seed} \r\n\n")},
            "text": {"nkeys_seed_str": seed},
            "text with blanks": {"nkeys_seed_str": f" \n{seed}\n\n"},
            "text before file": {"nkeys_seed": files.missing, "nkeys_seed_str": seed},
            "file and empty text": {"nkeys_seed": files.name(seed), "nkeys_seed_str": ""},
            "with a user": {"nkeys_seed_str": seed, "user": "bob", "password": "p"},
            "another user's file": {"nkeys_seed": files.name(other.seed)},
            "another user's text": {"nkeys_seed_str": other.seed},
            "an account's": {"nkeys_seed_str": Key(ACCOUNT).seed},
            "missing file": {"nkeys_seed": files.missing},
            "directory": {"nkeys_seed": str(ctx.directory)},
            "bytes": {"nkeys_seed_str": seed.encode()},
            "list": {"nkeys_seed": [seed]},
        },
    )


def no_seeds_of(key: Key) -> dict[str, str]:
    seed = key.seed
    return {
        "nothing": "",
        "blanks": " \n",
        "words": "this is no seed",
        "one letter too few": seed[:-1],
        "one letter too many": f"{seed}A",
        "lower case": seed.lower(),
        "public key": key.public,
        "not ASCII": "\N{SNOWMAN}",
        "comment before": f"# the user's seed\n{seed}\n",
        "comment behind": f"{seed}\n# the user's seed\n",
        "twice": f"{seed}\n{seed}\n",
        "padded": f"{seed}======",
        "wrong checksum": f"{seed[:-3]}{'AAA' if seed[-3:] != 'AAA' else 'QAA'}",
    }


OPTIONS = ("nkeys_seed_str", "nkeys_seed")


@scenario(
    start=False,
    differs="there is no package nkeys, which looks at no checksum either; no number is a file",
    expected=[
        *(
            line
            for option in OPTIONS
            for label in no_seeds_of(Key())
            for line in (f"{option}: {label} raises {NO_CREDENTIALS}", NOT_CONNECTED)
        ),
        *(f"no name raises {NO_CREDENTIALS}", NOT_CONNECTED),
        *("number raises TypeError", NOT_CONNECTED),
    ],
)
async def no_seeds(ctx: Context) -> None:
    key, files = Key(), Files(ctx)
    await ctx.server.start(key.config)
    for option in OPTIONS:
        await try_each(
            ctx,
            {
                f"{option}: {label}": {option: text if option == OPTIONS[0] else files.name(text)}
                for label, text in no_seeds_of(key).items()
            },
        )
    # No descriptor that is open: nats-py would close it.
    await try_each(ctx, {"no name": {"nkeys_seed": ""}, "number": {"nkeys_seed": 10_000}})


@scenario(start=False)
async def seed_when_reconnecting(ctx: Context) -> None:
    key, other, files = Key(), Key(), Files(ctx)
    await ctx.server.start(key.config)
    file = files.path(key.seed)
    watched = ctx.callbacks(once=True, ignore=STARTING)
    nc = await ctx.connect(nkeys_seed=str(file), **watched, **FAST)
    files.put(file, other.seed)
    await restart(ctx)
    await ctx.until_said("error_cb nats.errors.Error: nats: 'Authorization Violation'")
    ctx.say(state(nc), nc.last_error)
    file.unlink()
    await ctx.until_said("error_cb FileNotFoundError")
    ctx.say(state(nc), nc.last_error)
    files.put(file, key.seed)
    await until_done_reconnecting(ctx, nc)
    ctx.say(state(nc), nc.last_error, nc.stats["reconnects"])


@scenario(
    start=False,
    differs="the client gives up without a word, and hangs",
    expected=[
        "error_cb nats.errors.UnexpectedEOF: nats: unexpected EOF",
        "disconnected_cb",
        f"error_cb {NO_CREDENTIALS}",
        "reconnected_cb",
        "connected True closed False",
    ],
)
async def no_seed_when_reconnecting(ctx: Context) -> None:
    key, files = Key(), Files(ctx)
    await ctx.server.start(key.config)
    file = files.path(key.seed)
    watched = ctx.callbacks(once=True, ignore=STARTING)
    nc = await ctx.connect(nkeys_seed=str(file), **watched, **FAST)
    files.put(file, "no seed")
    await restart(ctx)
    await ctx.until(
        "the client has tried",
        lambda: f"error_cb {NO_CREDENTIALS}" in ctx.lines or nc._reconnection_task.done(),
    )
    files.put(file, key.seed)
    await until_done_reconnecting(ctx, nc)
    ctx.say(state(nc))


@scenario(start=False)
async def seed_where_the_server_asks_for_none(ctx: Context) -> None:
    key = Key()
    given = {"nkeys_seed_str": key.seed}
    cases = {
        "alone": given,
        "with user": {**given, "user": "bob", "password": "p"},
        "with token": {**given, "token": "t"},
    }
    for info in ({}, {"nonce": "abc"}, {"nonce": "abc", "auth_required": True}):
        async with ctx.fake_server(info=info) as server:
            for label, options in cases.items():
                await ctx.connect(server.url, **options)
                sent = server.connections[-1].connect_options
                if "sig" in sent:
                    ctx.say("signed", sent.pop("sig") == signature(key, "abc").decode())
                    ctx.say("public", sent.pop("nkey") == key.public)
                names = ("auth_token", "jwt", "nkey", "user", "pass")
                ctx.say(label, {name: sent[name] for name in names if name in sent})
