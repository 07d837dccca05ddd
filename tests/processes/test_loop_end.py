"""A client whose event loop is closed, and calls from a loop that it doesn't belong to."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import nats
import pytest
from nats import errors
from nats.aio.client import Client
from nats.embedded import Server
from support.event_loops import new_uvloop
from support.waiting import EAGER, PATIENCE, eventually

# A loop that is closed leaves transports open, and says so.
pytestmark = [
    pytest.mark.usefixtures("driver"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]

Run = Callable[[Coroutine[Any, Any, Any]], Any]


async def end_tasks() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """As `asyncio.run`, on either loop."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    factory = new_uvloop if request.param == "uvloop" else asyncio.SelectorEventLoop

    def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
        loop = factory()
        try:
            return loop.run_until_complete(coroutine)
        finally:
            loop.run_until_complete(end_tasks())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    yield run
    # Here, and not in a test that expects no warnings.
    gc.collect()


async def member(server: Server) -> Any:
    """A client with a member of a queue group, left open."""
    nc = await nats.connect(server.url, **EAGER)

    async def handler(msg: Any) -> None:
        pass

    await nc.subscribe("jobs", "workers", cb=handler)
    await nc.subscribe("other")
    await nc.flush()
    return nc


async def share(server: Server, count: int = 100) -> int:
    """How many messages another member of the group gets."""
    nc = await nats.connect(server.url)
    sub = await nc.subscribe("jobs", "workers")
    await nc.flush()
    for _ in range(count):
        await nc.publish("jobs")
    await nc.flush()
    got = sub.delivered
    await nc.close()
    return int(got)


def test_its_subscriptions_end(server: Server, run: Run) -> None:
    nc = run(member(server))
    assert run(share(server)) == 100
    del nc


def test_its_subscriptions_end_when_the_loop_is_closed_with_tasks(
    server: Server, driver: str
) -> None:
    loop = asyncio.SelectorEventLoop()
    nc = loop.run_until_complete(member(server))
    loop.close()
    assert asyncio.run(share(server)) == 100
    del nc


async def received(server: Server, nc: Any) -> list[bytes]:
    other = await nats.connect(server.url)
    sub = await other.subscribe("data")
    await other.flush()
    for number in range(3):
        await nc.publish("data", b"%d" % number)
    await nc.publish("data", bytes(100_000))
    got = [(await sub.next_msg(PATIENCE)).data for _ in range(4)]
    await other.close()
    return [data[:1] for data in got]


def test_publishing_goes_on_for_a_while(server: Server, run: Run, driver: str) -> None:
    nc = run(member(server))
    if driver == "asyncio":
        # The transport has gone with its loop.
        with pytest.raises(errors.ConnectionClosedError):
            run(nc.publish("data"))
        assert nc.is_closed
        return
    assert run(received(server, nc)) == [b"0", b"1", b"2", b"\0"]
    assert not nc.is_closed


def until_refused(publish: Callable[[], Any]) -> None:
    """Publishes until the client is closed."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            publish()
        except errors.ConnectionClosedError:
            return
        time.sleep(0.01)
    raise AssertionError("publishing goes on")


def test_publishing_ends(
    server: Server, run: Run, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Client, "_publish_time_after_loop", 0.05)
    nc = run(member(server))
    until_refused(lambda: run(nc.publish("data")))
    assert nc.is_closed
    with pytest.raises(errors.ConnectionClosedError):
        run(nc.publish("data", bytes(100_000)))


def test_publishing_ends_with_the_server(run: Run) -> None:
    with Server() as server:
        nc = run(member(server))
    until_refused(lambda: run(nc.publish("data")))
    assert nc.is_closed


def test_without_a_connection(run: Run) -> None:
    async def lose() -> Any:
        with Server() as server:
            nc = await nats.connect(server.url, max_reconnect_attempts=-1, **EAGER)
        await eventually(lambda: nc.is_reconnecting)
        return nc

    nc = run(lose())
    # Nobody looks for another server any more.
    with pytest.raises(errors.ConnectionClosedError):
        run(nc.publish("data"))


async def called(nc: Any) -> dict[str, str]:
    """What calls say that aren't possible here."""
    js = nc.jetstream()
    calls: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
        "subscribe": lambda: nc.subscribe("a"),
        "flush": nc.flush,
        "rtt": nc.rtt,
        "request": lambda: nc.request("a"),
        "old style": lambda: nc.request("a", old_style=True),
        "js.publish": lambda: js.publish("a"),
        "publish_async": lambda: js.publish_async("a"),
        "stream_info": lambda: js.stream_info("S"),
        "js.subscribe": lambda: js.subscribe("a", stream="S"),
        "drain": nc.drain,
        "force_reconnect": nc.force_reconnect,
    }
    for sub in list(nc._subs.values()):
        if sub._cb is None:
            calls["next_msg"] = sub.next_msg
            calls["unsubscribe"] = sub.unsubscribe
            calls["sub.drain"] = sub.drain
    if not nc._loop.is_closed():
        calls["close"] = nc.close
        calls["async with"] = lambda: nc.__aexit__(None, None, None)
    told = {}
    for name, call in calls.items():
        with pytest.raises(errors.WrongLoopError) as raised:
            await asyncio.wait_for(call(), PATIENCE)
        assert isinstance(raised.value, errors.Error)
        assert isinstance(raised.value, RuntimeError)
        told[name] = str(raised.value)
    return told


@pytest.mark.parametrize("requested", [False, True])
def test_calls_from_another_loop(server: Server, run: Run, requested: bool) -> None:
    done = threading.Event()
    ready = threading.Event()
    clients: list[Any] = []

    async def live() -> None:
        nc = await member(server)
        if requested:
            with pytest.raises(errors.NoRespondersError):
                await nc.request("nobody", timeout=PATIENCE)
        clients.append(nc)
        ready.set()
        await eventually(done.is_set)
        # Nothing of what was refused has had an effect.
        assert nc.is_connected
        assert len(nc._subs) == 2 + requested
        sub = await nc.subscribe("data")
        await nc.publish("data", b"x")
        assert (await sub.next_msg(PATIENCE)).data == b"x"
        await nc.close()

    failures: list[BaseException] = []

    def other_thread() -> None:
        try:
            run(live())
        except BaseException as error:
            failures.append(error)
            ready.set()

    thread = threading.Thread(target=other_thread)
    thread.start()
    assert ready.wait(PATIENCE)
    try:
        told = run(called(clients[0]))
        run(clients[0].publish("data"))
    finally:
        done.set()
        thread.join(PATIENCE)
    assert failures == []
    assert set(told.values()) == {
        "nats: the client belongs to another event loop; run this there, with "
        "asyncio.run_coroutine_threadsafe(), or connect a client in this one"
    }


def test_calls_after_the_end_of_the_loop(
    server: Server, run: Run, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nc = run(member(server))
    if driver == "asyncio":
        # Closed with its loop.
        with pytest.raises(errors.ConnectionClosedError):
            run(nc.subscribe("a"))
        run(nc.close())
        return
    told = run(called(nc))
    assert set(told.values()) == {
        "nats: the event loop that the client belongs to is closed; connect() again in this one"
    }
    # Nobody else could.
    run(nc.close())
    assert nc.is_closed
    with pytest.raises(errors.ConnectionClosedError):
        run(nc.publish("data"))


def test_connecting_again_in_another_loop(server: Server, run: Run) -> None:
    nc = run(member(server))

    async def again() -> None:
        await nc.connect(server.url, **EAGER)
        assert not nc._subs
        sub = await nc.subscribe("data")
        await nc.publish("data", b"x")
        assert (await sub.next_msg(PATIENCE)).data == b"x"
        await nc.close()

    run(again())


def test_no_timer_is_left_by_clients_that_are_closed(server: Server) -> None:
    async def connect_and_close() -> int:
        loop: Any = asyncio.get_running_loop()
        for _ in range(20):
            nc = await nats.connect(server.url)
            await nc.close()
        soon = loop.time() + 1000
        return sum(not timer.cancelled() and timer.when() > soon for timer in loop._scheduled)

    loop = asyncio.SelectorEventLoop()
    assert loop.run_until_complete(connect_and_close()) == 0
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
