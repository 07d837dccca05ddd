"""Forks in the middle of a flood: the child inherits locks that the I/O thread holds."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from nats.embedded import Server

FORKS = """
import asyncio, gc, os, random, signal, sys, time, nats

SUBJECTS = [f"data.{number}" for number in range(3000)]

async def ignore(error):
    pass

async def publish():
    nc = await nats.connect(sys.argv[1])
    random.shuffle(SUBJECTS)
    while True:
        for subject in SUBJECTS:
            await nc.publish(subject, b"x")
        await nc.flush()

def let_go(nc, subs):
    asyncio.run(nc.close())
    del nc._core, subs[:]
    gc.collect()

async def main():
    publisher = os.fork()
    if publisher == 0:
        signal.alarm(50)
        asyncio.run(publish())
    nc = await nats.connect(sys.argv[1], error_cb=ignore)
    subs = [await nc.subscribe(subject, pending_msgs_limit=1) for subject in SUBJECTS]
    await nc.flush()
    stuck = 0
    for _ in range(12):
        # The I/O thread reads while nobody lets the loop turn.
        time.sleep(0.01)
        child = os.fork()
        if child == 0:
            signal.alarm(10)
            let_go(nc, subs)
            os._exit(0)
        stuck += os.waitpid(child, 0)[1] != 0
        await asyncio.sleep(0)
    os.kill(publisher, signal.SIGKILL)
    os.waitpid(publisher, 0)
    print(f"{stuck} stuck", "connected" if nc.is_connected else "disturbed")
    await nc.close()

asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_lets_go_of_a_busy_client(server: Server, driver: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKS, server.url],
        env={**os.environ, "FASTNATS_DRIVER": driver},
        capture_output=True,
        text=True,
        timeout=55,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 stuck connected\n", "")
