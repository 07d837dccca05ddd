"""What other threads publish while an asyncio transport carries the bytes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.carriers import CARRIERS, carrier

MOVED = """
import asyncio, os, ssl, sys, threading, time
url, authority, kind, how = sys.argv[1:]
if kind == "uvloop":
    from uvloop import new_event_loop
else:
    from asyncio import new_event_loop
import nats

loop = new_event_loop()
TOTAL = 300
received = []
complete = threading.Event()

async def connect():
    context = ssl.create_default_context(cafile=authority) if authority else None
    options = {"tls": context} if context else {}
    async def note(error):
        print(repr(error))
    nc = await nats.connect(url, error_cb=note, pending_size=1 << 30, **options)
    async def handler(msg):
        # Headers, numbers and all: a stream that two threads write isn't one of messages.
        assert set(msg.data[9:]) == {120}
        received.append(int(msg.data[:9]))
        if len(received) == TOTAL:
            complete.set()
    await nc.subscribe("data", cb=handler)
    await nc.flush()
    return nc

async def publish(nc, numbers):
    for number in numbers:
        await nc.publish("data", b"%09d" % number + b"x" * 50_000)

nc = loop.run_until_complete(connect())
if how == "moved":
    threading.Thread(target=loop.run_forever, daemon=True).start()
    for start in range(0, TOTAL, 10):
        asyncio.run(publish(nc, range(start, start + 10)))
elif how == "paused":
    # Nobody runs the loop now: another thread, and the one that ran it.
    thread = threading.Thread(target=lambda: asyncio.run(publish(nc, range(0, TOTAL // 2))))
    thread.start()
    thread.join()
    asyncio.run(publish(nc, range(TOTAL // 2, TOTAL)))
    threading.Thread(target=loop.run_forever, daemon=True).start()
assert complete.wait(30), len(received)
print(received == list(range(TOTAL)), nc.is_connected, flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("how", ["moved", "paused"])
@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
@pytest.mark.parametrize("way", CARRIERS)
def test_only_the_thread_that_runs_the_loop_writes(
    tmp_path: Path, way: str, kind: str, how: str
) -> None:
    if kind == "uvloop":
        pytest.importorskip("uvloop")

    async def main() -> None:
        async with carrier(way, tmp_path) as (_, url, _):
            authority = str(tmp_path / "ca.pem") if way == "tls" else ""
            done = await asyncio.to_thread(
                subprocess.run,
                [sys.executable, "-c", MOVED, url, authority, kind, how],
                env={**os.environ, "FASTNATS_DRIVER": "asyncio"},
                capture_output=True,
                text=True,
                timeout=50,
            )
        assert (done.returncode, done.stdout, done.stderr) == (0, "True True\n", "")

    asyncio.run(main())
