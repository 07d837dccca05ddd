"""A process without a descriptor left goes on with the connections that it has."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from nats.embedded import Server
from support.waiting import PATIENCE

# A script with `USE`, what is done once the process has no descriptor left.
SCRIPT = """
import asyncio, os, resource, signal, sys, nats
from nats.embedded import Server

events = []

async def note_disconnect():
    events.append("disconnected")

async def note_error(error):
    events.append(error)

def use_up_descriptors():
    top = max(map(int, os.listdir("/proc/self/fd"))) + 8
    resource.setrlimit(resource.RLIMIT_NOFILE, (top, top))
    while True:
        try:
            os.open(os.devnull, os.O_RDONLY)
        except OSError:
            return

async def main():
    nc = await nats.connect(
        sys.argv[1],
        disconnected_cb=note_disconnect,
        error_cb=note_error,
        allow_reconnect=False,
        pending_size=64 << 20,
    )
    received = []
    done = asyncio.Event()

    async def handler(msg):
        received.append(len(msg.data))
        if len(received) == EXPECTED:
            done.set()

    await nc.subscribe("a", cb=handler, pending_bytes_limit=-1)
    await nc.flush()
    use_up_descriptors()
USE
    await asyncio.wait_for(done.wait(), 20)
    print(len(received), events)

RUN
"""

# The I/O thread takes over reading.
FLOOD = """
    for _ in range(EXPECTED):
        await nc.publish("a", bytes(200))
"""

# The server doesn't read, so the I/O thread finishes what the socket didn't take.
BLOCKED_WRITE = """
    os.kill(int(sys.argv[2]), signal.SIGSTOP)
    for _ in range(EXPECTED):
        await nc.publish("a", bytes(100_000))
    await asyncio.sleep(0)
    assert nc.pending_data_size > 1 << 20
    os.kill(int(sys.argv[2]), signal.SIGCONT)
"""

RUN = {
    "asyncio": "asyncio.run(main())",
    "uvloop": "import uvloop\nuvloop.run(main())",
}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize(
    ("use", "expected"), [(FLOOD, 2000), (BLOCKED_WRITE, 200)], ids=["flood", "blocked write"]
)
def test_out_of_descriptors(
    server: Server, driver: str, loop: str, use: str, expected: int
) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    source = SCRIPT.replace("USE", use).replace("RUN", RUN[loop]).replace("EXPECTED", str(expected))
    try:
        done = subprocess.run(
            [sys.executable, "-c", source, server.url, str(server.pid)],
            env={**os.environ, "FASTNATS_DRIVER": driver},
            capture_output=True,
            text=True,
            timeout=4 * PATIENCE,
        )
    finally:
        server.resume()
    assert (done.stdout, done.stderr) == (f"{expected} []\n", "")
