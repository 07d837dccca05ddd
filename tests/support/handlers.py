"""Handlers of messages, requests and errors, and a client with a method of its own."""

from __future__ import annotations

import asyncio
from typing import Any

from nats.aio.client import Client


async def echo(msg: Any) -> None:
    """Answer a message, or a service's request, with what it has brought."""
    await msg.respond(msg.data)


async def ignore(_: object) -> None:
    """Do nothing with a message or an error."""


class Gated:
    """A handler that handles its messages when it may."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.handled: list[bytes] = []

    async def handler(self, msg: Any) -> None:
        await self.go_on.wait()
        await asyncio.sleep(0)
        self.handled.append(msg.data)


class Own(Client):
    """Requests of a client with a `publish` of its own don't go straight through the core."""

    async def publish(self, *args: Any, **options: Any) -> None:
        await super().publish(*args, **options)
