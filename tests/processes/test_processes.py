"""Loops, threads and processes that come and go, and what they leave behind."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import nats
import pytest
from nats.embedded import Server
from support.event_loops import new_uvloop
from support.waiting import PATIENCE, eventually

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": new_uvloop}


@pytest.fixture(params=["asyncio", "uvloop"])
def loop_factory(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    """For tests that run loops themselves."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    return LOOPS[request.param]


@pytest.fixture(params=["asyncio", "uvloop"])
def loop_lines(request: pytest.FixtureRequest) -> str:
    """Lines at the start of a script that choose its loops."""
    if request.param == "asyncio":
        return "import asyncio\n"
    pytest.importorskip("uvloop")
    # As `uvloop.install`, which is deprecated where there are loop factories.
    return (
        "import asyncio, uvloop\n"
        "asyncio.new_event_loop = asyncio.events.new_event_loop = uvloop.new_event_loop\n"
    )


def script(source: str, url: str, driver: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own; a hang is a failure."""
    return subprocess.run(
        [sys.executable, "-W", "error", *options, "-c", source, url],
        env={**os.environ, "FASTNATS_DRIVER": driver},
        capture_output=True,
        text=True,
        timeout=40,
    )


def run_in(loop: asyncio.AbstractEventLoop, main: Awaitable[Any]) -> Any:
    """As `asyncio.run`, with a loop that is given."""
    try:
        return loop.run_until_complete(main)
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


# One process, several loops

RUN_TWICE = """
import sys, nats

async def main(number, close):
    nc = await nats.connect(sys.argv[1], allow_reconnect=False)
    sub = await nc.subscribe("data")
    await nc.publish("data", b"run %d" % number)
    print((await sub.next_msg(5)).data.decode())
    if close:
        await nc.close()

for number in range(3):
    asyncio.run(main(number, CLOSE))
"""


@pytest.mark.parametrize("close", [True, False], ids=["closed", "left open"])
def test_asyncio_run_again_and_again(
    server: Server, driver: str, loop_lines: str, close: bool
) -> None:
    source = loop_lines + RUN_TWICE.replace("CLOSE", str(close))
    # Left open, the asyncio driver's transport is garbage with a socket: asyncio warns of that.
    options = [] if close else ["-W", "ignore::ResourceWarning"]
    done = script(source, server.url, driver, *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("\n") == ["run 0", "run 1", "run 2", ""]


ONE_CLIENT = """
import sys, nats
from nats.aio.client import Client

nc = Client()

async def main(number):
    async def error_cb(error):
        print(error)

    # Without a wait between attempts: each connect() adds the server to the pool once more.
    await nc.connect(sys.argv[1], error_cb=error_cb, reconnect_time_wait=0)
    sub = await nc.subscribe("data")
    await nc.publish("data", b"run %d" % number)
    print((await sub.next_msg(5)).data.decode())

for number in range(3):
    asyncio.run(main(number))
"""


def test_one_client_connects_on_loop_after_loop(
    server: Server, driver: str, loop_lines: str
) -> None:
    """Left open by each of them."""
    options = ["-W", "ignore::ResourceWarning"]
    done = script(loop_lines + ONE_CLIENT, server.url, driver, *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("\n") == ["run 0", "run 1", "run 2", ""]


LOOP_CLOSED = """
import gc, sys, nats

async def connect():
    nc = await nats.connect(sys.argv[1])
    await nc.subscribe("data")
    await nc.flush()
    return nc

async def flood():
    other = await nats.connect(sys.argv[1])
    sub = await other.subscribe("data")
    for _ in range(5000):
        await other.publish("data", bytes(100))
    for _ in range(5000):
        await sub.next_msg(5)
    await other.close()

loop = asyncio.new_event_loop()
nc = loop.run_until_complete(connect())
pending = asyncio.all_tasks(loop)
for task in pending:
    task.cancel()
loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
loop.run_until_complete(loop.shutdown_default_executor())
loop.close()
# Its messages still arrive, with no loop to go to.
asyncio.run(flood())
assert nc.is_connected or nc._driver != "tokio"
try:
    asyncio.run(asyncio.wait_for(nc.publish("data", b""), 5))
except (RuntimeError, nats.errors.Error) as error:
    print(type(error).__name__)
else:
    print("published")
del nc, loop, pending, task
gc.collect()
asyncio.run(flood())
print("goes on")
"""


def test_a_loop_closed_under_an_open_client(server: Server, driver: str, loop_lines: str) -> None:
    done = script(loop_lines + LOOP_CLOSED, server.url, driver, "-W", "ignore::ResourceWarning")
    assert (done.returncode, done.stderr) == (0, "")
    # A transport has gone with its loop, the I/O thread goes on serving publishers.
    told = "published" if driver == "tokio" else "ConnectionClosedError"
    assert done.stdout.splitlines() == [told, "goes on"]


@pytest.mark.usefixtures("driver")
def test_clients_in_threads_with_loops_of_their_own(
    server: Server, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    count, each = 4, 500
    together = threading.Barrier(count, timeout=PATIENCE)

    async def exchange(place: int) -> dict[int, list[int]]:
        nc = await nats.connect(server.url)
        received: dict[int, list[int]] = {}

        async def handler(msg: Any) -> None:
            sender, number = map(int, msg.data.split())
            received.setdefault(sender, []).append(number)

        async def answer(msg: Any) -> None:
            await msg.respond(msg.data + b" from %d" % place)

        await nc.subscribe(f"to.{place}", cb=handler)
        await nc.subscribe(f"ask.{place}", cb=answer)
        await nc.flush()
        await asyncio.to_thread(together.wait)
        for number in range(each):
            for other in range(count):
                await nc.publish(f"to.{other}", b"%d %d" % (place, number))
        reply = await nc.request(f"ask.{(place + 1) % count}", b"hi", timeout=5)
        assert reply.data == b"hi from %d" % ((place + 1) % count)
        await eventually(
            lambda: sum(map(len, received.values())) == count * each, "all messages are here"
        )
        await asyncio.to_thread(together.wait)
        await nc.close()
        return received

    with ThreadPoolExecutor(count) as pool:
        runs = [pool.submit(run_in, loop_factory(), exchange(place)) for place in range(count)]
        results = [run.result(timeout=40) for run in runs]
    assert results == [{sender: list(range(each)) for sender in range(count)}] * count


# Fork

FORK = """
import asyncio, json, os, signal, sys, nats
from nats.errors import Error

URL = sys.argv[1]

async def attempt(what):
    try:
        await asyncio.wait_for(what, 5)
    except Error as error:
        return str(error)
    return "no error"

def in_child(nc, echo):
    tried = {}
    for name, use in (
        ("publish", lambda: nc.publish("data", b"from the child")),
        ("headers", lambda: nc.publish("data", b"from the child", headers={"A": "b"})),
        ("subscribe", lambda: nc.subscribe("other")),
        ("request", lambda: nc.request("echo", b"from the child", timeout=2)),
        ("flush", lambda: nc.flush(timeout=2)),
    ):
        tried[name] = asyncio.run(attempt(use()))

    async def afresh():
        fresh = await nats.connect(URL)
        reply = await fresh.request("echo", b"child", timeout=5)
        sub = await fresh.subscribe("mine")
        await fresh.publish("mine", b"message")
        message = await sub.next_msg(5)
        await fresh.close()
        return [reply.data.decode(), message.data.decode()]

    tried["afresh"] = asyncio.run(afresh())
    return tried

def read_all(fd):
    with open(fd, "rb") as pipe:
        return pipe.read()

async def main():
    problems = []

    async def note(error=None):
        problems.append(repr(error))

    async def forward(msg):
        received.append(msg.data)

    async def echo(msg):
        await msg.respond(msg.data.upper())

    received = []
    nc = await nats.connect(URL, error_cb=note, disconnected_cb=note, reconnected_cb=note)
    await nc.subscribe("data", cb=forward)
    await nc.subscribe("echo", cb=echo)
    await nc.flush()
    client_id = nc.client_id
    for round in range(3):
        for number in range(200):
            await nc.publish("data", b"before")
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                signal.alarm(25)
                os.write(writer, json.dumps(in_child(nc, echo)).encode())
                status = 0
            except BaseException as error:
                os.write(writer, json.dumps({"failed": repr(error)}).encode())
            finally:
                os._exit(status)
        os.close(writer)
        report = await asyncio.wait_for(asyncio.to_thread(read_all, reader), 30)
        status = await asyncio.to_thread(os.waitpid, child, 0)
        for number in range(200):
            await nc.publish("data", b"after")
        await nc.flush()
        assert (await nc.request("echo", b"parent", timeout=5)).data == b"PARENT"
        print(json.dumps({"status": status[1], "report": json.loads(report or b"null")}))
    async def all_here():
        while len(received) < 1200:
            await asyncio.sleep(0.01)
    await asyncio.wait_for(all_here(), 10)
    print(json.dumps({
        "received": len(received),
        "kinds": sorted({data.decode() for data in received}),
        "problems": problems,
        "same": nc.client_id == client_id and nc.is_connected,
    }))
    await nc.close()

asyncio.run(main())
"""


def test_fork(server: Server, driver: str) -> None:
    done = script(FORK, server.url, driver, "-W", "ignore::DeprecationWarning")
    assert (done.returncode, done.stderr) == (0, "")
    *children, parent = map(json.loads, done.stdout.splitlines())
    assert len(children) == 3
    for child in children:
        report = child["report"]
        assert report.pop("afresh", report) == ["CHILD", "message"]
        assert set(report) == {"publish", "headers", "subscribe", "request", "flush"}
        for name, text in report.items():
            assert "connection was made before a fork" in text, name
        assert child["status"] == 0
    assert parent == {
        "received": 1200,
        "kinds": ["after", "before"],
        "problems": [],
        "same": True,
    }


FORK_CLOSE = """
import asyncio, os, signal, sys, time, nats

async def main():
    nc = await nats.connect(sys.argv[1])
    sub = await nc.subscribe("data")
    await nc.flush()
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(15)
            asyncio.run(nc.close())
        except BaseException:
            pass
        finally:
            os._exit(0)
    await asyncio.to_thread(os.waitpid, child, 0)
    for number in range(5):
        await nc.publish("data", b"%d" % number)
        assert (await sub.next_msg(5)).data == b"%d" % number
    assert nc.is_connected
    await nc.close()
    print("undisturbed")

asyncio.run(main())
"""


def test_closing_in_the_child_does_not_disturb_the_parent(server: Server, driver: str) -> None:
    done = script(FORK_CLOSE, server.url, driver, "-W", "ignore::DeprecationWarning")
    assert (done.returncode, done.stdout, done.stderr) == (0, "undisturbed\n", "")


# Exit

EXIT = """
import sys, threading, time, nats

async def connect():
    nc = await nats.connect(sys.argv[1])
    await nc.subscribe("flood")
    await nc.flush()
    return nc

async def returns():
    await connect()

async def floods():
    nc = await connect()
    for _ in range(20_000):
        await nc.publish("flood", bytes(200))

async def exits():
    await connect()
    sys.exit(0)

async def several():
    clients = [await connect() for _ in range(10)]
    for nc in clients:
        await nc.publish("flood", b"x")

async def dials():
    for _ in range(50):
        asyncio.ensure_future(connect())
    await asyncio.sleep(0)

def thread():
    done = threading.Event()
    async def keep():
        nc = await connect()
        done.set()
        await asyncio.sleep(3600)
    threading.Thread(target=lambda: asyncio.run(keep()), daemon=True).start()
    assert done.wait(10)

try:
    if sys.argv[2] == "thread":
        thread()
    else:
        asyncio.run(globals()[sys.argv[2]]())
finally:
    print(time.time(), flush=True)
"""


def assert_ends_at_once(source: str, server: Server, driver: str) -> None:
    done = script(source, server.url, driver, "-W", "ignore::ResourceWarning")
    ended = time.time()
    assert (done.returncode, done.stderr) == (0, "")
    assert ended - float(done.stdout) < 3


@pytest.mark.parametrize("how", ["returns", "floods", "exits", "several", "thread"])
def test_exit_with_open_connections(server: Server, driver: str, loop_lines: str, how: str) -> None:
    source = loop_lines + EXIT.replace("sys.argv[2]", repr(how))
    assert_ends_at_once(source, server, driver)


def test_exit_while_connecting(server: Server, driver: str, loop_lines: str) -> None:
    source = loop_lines + EXIT.replace("sys.argv[2]", repr("dials"))
    # Several times: it is a race between the interpreter's end and the answers.
    for _ in range(10):
        assert_ends_at_once(source, server, driver)
