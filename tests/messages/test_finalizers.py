"""Finalizers that the garbage collector runs amid the making of a message's parts."""

from __future__ import annotations

import gc
from typing import Any

from support.connecting import Connect

COUNT = 50


async def test_headers_are_made_while_a_finalizer_looks(connect: Connect) -> None:
    nc = await connect()
    sub = await nc.subscribe("data")
    for _ in range(COUNT):
        await nc.publish("data", b"x", headers={"a": "b"})
    seen: list[Any] = []

    class Nosy:
        def __init__(self, msg: Any) -> None:
            self.msg = msg
            self.cycle = self

        def __del__(self) -> None:
            try:
                seen.append((self.msg.headers, self.msg.data))
                self.msg.reply = "assigned"
            except RuntimeError as error:
                seen.append(error)

    messages = [await sub.next_msg(timeout=5) for _ in range(COUNT)]
    threshold = gc.get_threshold()
    try:
        for msg in messages:
            gc.disable()
            Nosy(msg)
            gc.set_threshold(1)
            gc.enable()
            assert msg.headers == {"a": "b"}
            gc.set_threshold(*threshold)
            gc.collect()
    finally:
        gc.set_threshold(*threshold)
        gc.enable()
    assert seen == [({"a": "b"}, b"x")] * COUNT
    assert {msg.reply for msg in messages} == {"assigned"}
