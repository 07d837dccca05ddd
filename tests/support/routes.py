"""Waiting until servers know of each other's subscriptions, which takes them a moment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

from nats import errors
from nats.js.errors import NoStreamResponseError

from support.waiting import PATIENCE


async def reaches(call: Any, *arguments: Any, **options: Any) -> Any:
    """What a call gives as soon as there is somebody to answer it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return await call(*arguments, **options)
        except (errors.NoRespondersError, errors.TimeoutError, NoStreamResponseError):
            assert time.monotonic() < deadline, f"nobody answers {arguments}"
            await asyncio.sleep(0.02)


async def answered(nc: Any, subject: str, data: bytes = b"") -> Any:
    """The reply to a request, as soon as there is one."""
    return await reaches(nc.request, subject, data, timeout=0.5)


async def heard(listener: Any, speakers: Iterable[Any]) -> None:
    """Return when all that the listener has subscribed to is known where the speakers are.

    Servers tell each other of one client's subscriptions in order, so the last one is enough.
    """

    async def answer(msg: Any) -> None:
        await msg.respond(b"")

    subject = listener.new_inbox()
    sub = await listener.subscribe(subject, cb=answer)
    for speaker in speakers:
        await answered(speaker, subject)
    await sub.unsubscribe()
