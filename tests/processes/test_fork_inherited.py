"""What a child has inherited: everything that leads to the parent's connection says so at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from nats.embedded import Server

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

# `USES` by name; each is tried in children of its own while the I/O thread is busy.
SCRIPT = """
import asyncio, gc, json, os, random, signal, sys, time, nats
from nats.js.kv import KeyValue

async def ignore(*_):
    pass

def attempt(use):
    try:
        outcome = use()
        if asyncio.iscoroutine(outcome):
            asyncio.run(outcome)
    except nats.errors.Error as error:
        return "told" if "connection was made before a fork" in str(error) else repr(error)
    except BaseException as error:
        return repr(error)
    return "nothing"

async def flood():
    nc = await nats.connect(sys.argv[1])
    while True:
        for number in range(100):
            await nc.publish(f"data.{number}", bytes(50))
        await nc.flush()

def in_child(uses, writer):
    signal.alarm(15)
    os.write(writer, json.dumps({name: attempt(use) for name, use in uses.items()}).encode())
    gc.collect()
    os._exit(0)

async def main():
    is_ready, ready = os.pipe()
    flooding = os.fork()
    if flooding == 0:
        signal.alarm(50)
        os.close(ready)
        # Or the end of the parent, should that fail.
        if os.read(is_ready, 1):
            asyncio.run(flood())
        os._exit(0)
    nc = await nats.connect(sys.argv[1], error_cb=ignore)
    js = nc.jetstream()
    await js.add_stream(name="S", subjects=["s"])
    sub = await nc.subscribe("data.*", pending_msgs_limit=100)
    queue = [await nc.subscribe(f"data.{number}", pending_msgs_limit=10) for number in range(50)]
    pull = await js.pull_subscribe("s", "durable")
    kv = await js.create_key_value(bucket="B")
    obs = await js.create_object_store(bucket="O")
    await obs.put("name", bytes(300_000))
    watcher = await kv.watchall()
    await nc.flush()
    os.write(ready, b"x")
    while sub.pending_msgs == 0:
        await asyncio.sleep(0.01)
    core = nc._core
    uses = {
        "next_msg": lambda: sub.next_msg(),
        "iteration": lambda: anext(sub.messages),
        "pop": lambda: sub._core.pop(),
        "begin_fetch": lambda: sub._core.begin_fetch(1, None, None),
        "run_handler": lambda: sub._core.run_handler(ignore),
        "join": lambda: sub._core.join(),
        "pending_msgs": lambda: sub.pending_msgs,
        "pending_bytes": lambda: sub.pending_bytes,
        "delivered": lambda: sub.delivered,
        "unsubscribe": lambda: queue[0].unsubscribe(),
        "subscription drain": lambda: queue[1].drain(),
        "stats": lambda: nc.stats,
        "pending size": lambda: nc.pending_data_size,
        "publish": lambda: nc.publish("x"),
        "publish with headers": lambda: nc.publish("x", headers={"a": "b"}),
        "subscribe": lambda: nc.subscribe("x"),
        "request": lambda: nc.request("x"),
        "flush": lambda: nc.flush(),
        "rtt": lambda: nc.rtt(),
        "js.publish": lambda: js.publish("s"),
        "publish_async": lambda: js.publish_async("s"),
        "fetch": lambda: pull.fetch(1, timeout=1),
        "kv.get": lambda: kv.get("k"),
        "kv.put": lambda: kv.put("k", b""),
        "watch": lambda: anext(watcher),
        "object get": lambda: obs.get("name"),
        "census": lambda: core.census(),
        "next_event": lambda: core.next_event(),
        "event_ready": lambda: core.event_ready(),
        "kick": lambda: core.kick(),
        "drain": lambda: core.drain(),
        "read": lambda: core.read(),
        "room": lambda: core.room(0),
        "dial": lambda: core.dial("127.0.0.1", 1, 0),
    }
    names, outcomes, hung = list(uses), {}, 0
    for round in range(10):
        random.shuffle(names)
        # The I/O thread reads while nobody lets the loop turn.
        time.sleep(0.01)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            in_child({name: uses[name] for name in names}, writer)
        os.close(writer)
        with open(reader, "rb") as pipe:
            for name, outcome in json.loads(pipe.read() or b"{}").items():
                outcomes.setdefault(name, set()).add(outcome)
        hung += os.waitpid(child, 0)[1] != 0
        await asyncio.sleep(0)
    os.kill(flooding, signal.SIGKILL)
    os.waitpid(flooding, 0)
    print(json.dumps({
        "hung": hung,
        "connected": nc.is_connected,
        "untold": {name: sorted(seen) for name, seen in outcomes.items() if seen != {"told"}},
        "tried": len(outcomes) == len(uses),
    }))
    await nc.close()

asyncio.run(main())
"""


def test_everything_inherited_tells_the_child(js_server: Server, driver: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, js_server.url],
        env={**os.environ, "FASTNATS_DRIVER": driver},
        capture_output=True,
        text=True,
        timeout=59,
    )
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert report == {"hung": 0, "connected": True, "untold": {}, "tried": True}
