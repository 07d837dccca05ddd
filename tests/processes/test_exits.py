"""Interpreters that exit while daemon threads run loops, handlers and publishers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from nats.embedded import Server
from support.tls import HOSTS, local, make_certificates

EXITS = 4
# Seconds between the moments at which the processes exit.
STEP = 0.003

SCRIPT = """
import asyncio, gc, os, ssl, sys, threading, time
url, loop, what, delay, authority = sys.argv[1:]
if loop == "uvloop":
    import uvloop
    asyncio.new_event_loop = asyncio.events.new_event_loop = uvloop.new_event_loop
elif loop == "blind":
    from support.event_loops import blind
    asyncio.new_event_loop = asyncio.events.new_event_loop = blind(asyncio.SelectorEventLoop)
import nats

began = threading.Event()
nowhere = open(os.devnull, "w")

async def quiet(*_):
    pass

def connect():
    context = ssl.create_default_context(cafile=authority) if authority else None
    return nats.connect(url, tls=context, error_cb=quiet) if context else nats.connect(url)

async def handle(handler):
    nc = await connect()
    await nc.subscribe("data", cb=handler)
    for _ in range(50):
        await nc.publish("data", b"x")
    await asyncio.sleep(60)

async def writes(msg):
    # Gives the GIL up and wants it back, again and again.
    began.set()
    for _ in range(300):
        print("x", file=nowhere, flush=True)
        time.sleep(0.0005)

class Finalized:
    def __del__(self):
        for _ in range(100):
            time.sleep(0.0005)

async def finalizes(msg):
    began.set()
    msg.mine = Finalized()

async def publishes():
    nc = await connect()
    sub = await nc.subscribe("data", cb=quiet)
    began.set()
    while True:
        await nc.publish("data", bytes(100))

async def requests():
    nc = await connect()
    async def answer(msg):
        await msg.respond(b"")
    await nc.subscribe("ask", cb=answer)
    began.set()
    while True:
        await nc.request("ask", b"", timeout=10)

async def connects():
    began.set()
    while True:
        nc = await connect()
        await nc.close()

async def dials():
    began.set()
    while True:
        await asyncio.gather(*(connect() for _ in range(5)))

async def publishes_beside():
    nc = await connect()
    await nc.subscribe("data", cb=quiet)
    def publish():
        while True:
            try:
                asyncio.run(nc.publish("data", bytes(2000)))
            except nats.errors.OutboundBufferLimitError:
                time.sleep(0.001)
    threading.Thread(target=publish, daemon=True).start()
    began.set()
    await asyncio.sleep(60)

HANDLERS = [writes, finalizes]

def main():
    work = globals()[what]
    asyncio.run(handle(work) if work in HANDLERS else work())

threading.Thread(target=main, daemon=True).start()
assert began.wait(20)
time.sleep(float(delay))
"""

HANDLERS = ["writes", "finalizes"]
LOOPS = ["connects", "dials", "publishes", "publishes_beside", "requests"]


def codes(url: str, driver: str, loop: str, what: str, authority: str = "") -> list[int]:
    """What processes end with that exit at different moments."""
    tests = str(Path(__file__).parent.parent)
    return [
        subprocess.run(
            [sys.executable, "-c", SCRIPT, url, loop, what, str(number * STEP), authority],
            env={**os.environ, "FASTNATS_DRIVER": driver, "PYTHONPATH": tests},
            stderr=subprocess.DEVNULL,
            timeout=40,
        ).returncode
        for number in range(EXITS)
    ]


def needs(loop: str) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop")


@pytest.mark.parametrize("what", HANDLERS + LOOPS)
@pytest.mark.parametrize(
    ("loop", "driver"),
    [("asyncio", "tokio"), ("asyncio", "asyncio"), ("uvloop", "tokio"), ("blind", "tokio")],
)
def test_exit_beside_a_daemon_thread(server: Server, driver: str, loop: str, what: str) -> None:
    needs(loop)
    assert codes(server.url, driver, loop, what) == [0] * EXITS


@pytest.mark.parametrize("what", ["writes", "publishes_beside"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_exit_beside_a_daemon_thread_with_tls(tmp_path: Path, loop: str, what: str) -> None:
    needs(loop)
    certificates = make_certificates(tmp_path)
    with Server(config=certificates.server_config(*HOSTS)) as server:
        outcome = codes(local(server), "tokio", loop, what, str(certificates.bundle))
    assert outcome == [0] * EXITS
