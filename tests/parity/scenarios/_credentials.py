"""What the scenarios about NKeys and JWTs have in common."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from nats.aio.client import Client
from parity.harness import Context
from support.jwts import Key

ONCE: dict[str, Any] = {"allow_reconnect": False, "connect_timeout": 5}
FAST: dict[str, Any] = {"reconnect_time_wait": 0.05, "connect_timeout": 5}
RETRY: dict[str, Any] = {"allow_reconnect": True, "max_reconnect_attempts": 1, **FAST}

# What depends on how fast a server starts, or closes.
STARTING = (ConnectionRefusedError, ConnectionResetError)

NOT_CONNECTED = "connected False closed False last None"
CONNECTED = "connected True closed False last None"
NO_CREDENTIALS = "nats.aio.errors.ErrInvalidUserCredentials: nats: invalid user credentials"


class Files:
    """Files in the scenario's directory, made as they are asked for."""

    def __init__(self, ctx: Context) -> None:
        self._directory = ctx.directory
        self._count = 0

    def path(self, content: str) -> Path:
        """The path of a new file."""
        self._count += 1
        path = self._directory / f"file{self._count}"
        self.put(path, content)
        return path

    def put(self, path: Path, content: str) -> None:
        """Give a file another content; whoever reads it finds the one or the other, whole."""
        new = self._directory / "new"
        new.write_bytes(content.encode())
        new.replace(path)

    def name(self, content: str) -> str:
        """The name of a new file."""
        return str(self.path(content))

    @property
    def missing(self) -> str:
        """The name of no file."""
        return str(self._directory / "missing")


def signature(key: Key, nonce: str) -> bytes:
    """What a ``signature_cb`` returns."""
    return base64.b64encode(key.sign(nonce.encode()))


async def try_each(ctx: Context, cases: dict[str, dict[str, Any]]) -> None:
    """Connect once with each of the options."""
    for label, options in cases.items():
        nc = ctx.client()
        await ctx.attempt(label, nc.connect(ctx.url, **{**ctx.callbacks(), **ONCE, **options}))
        if nc.is_connected:
            await nc.flush()
        ctx.say("connected", nc.is_connected, "closed", nc.is_closed, "last", nc.last_error)


async def restart(ctx: Context, config: str | None = None) -> None:
    """Have the clients lose the server, which is then there again."""
    ctx.server.kill()
    await ctx.server.start(config)


async def until_done_reconnecting(ctx: Context, nc: Client) -> None:
    """Wait until the client is connected again, or has stopped trying."""
    await ctx.until(
        "reconnecting has ended", lambda: nc._reconnection_task and nc._reconnection_task.done()
    )


def state(nc: Client) -> str:
    """What a program may ask for; not ``is_reconnecting``, which is off during each attempt."""
    return f"connected {nc.is_connected} closed {nc.is_closed}"
