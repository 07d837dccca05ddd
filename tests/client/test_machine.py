"""A client's life as a state machine: random steps against a model of what has to arrive.

The steps are the same in every run (``derandomize``); a failure prints them as a script.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

import nats
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from nats import errors
from nats.embedded import Server
from support.connecting import CLOSE_TIMEOUT
from support.event_loops import new_uvloop
from support.handlers import echo
from support.waiting import eventually, within

SUBJECTS = ["machine.a", "machine.b"]
# Restarts take most of the time of a run.
MAX_RESTARTS = 2

picks = st.integers(min_value=0, max_value=1000)


class Expectation:
    """What the model knows of one subscription."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.sub: Any = None
        self.has_handler = False
        self.expected: list[bytes] = []
        self.got: list[bytes] = []
        self.limit = 0

    async def handle(self, msg: Any) -> None:
        self.got.append(msg.data)

    def publish(self, subject: str, payload: bytes) -> None:
        matches = self.pattern in (subject, "machine.*")
        if matches and not self.is_complete:
            self.expected.append(payload)

    @property
    def is_complete(self) -> bool:
        return 0 < self.limit <= len(self.expected)


class ClientMachine(RuleBasedStateMachine):
    """One client after the other, on one server."""

    server: ClassVar[Server]
    new_loop: ClassVar[Callable[[], asyncio.AbstractEventLoop]]

    def __init__(self) -> None:
        super().__init__()
        self.loop = type(self).new_loop()
        self.nc: Any = None
        self.live: list[Expectation] = []
        self.published = 0
        self.restarts = 0
        self.errors: list[Exception] = []
        self.closed_calls = 0

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Nothing may take longer than this: that is the invariant that nothing hangs."""
        return self.loop.run_until_complete(within(coroutine, 15))

    def teardown(self) -> None:
        if self.nc is not None:
            self.loop.run_until_complete(within(self.nc.close(), CLOSE_TIMEOUT))
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()

    @property
    def is_open(self) -> bool:
        return self.nc is not None and not self.nc.is_closed

    def pick(self, number: int) -> Expectation:
        return self.live[number % len(self.live)]

    async def settle(self) -> None:
        """Everything published has been delivered and, where there is a handler, handled."""
        await self.nc.flush()
        for item in self.live:
            if item.has_handler:
                await eventually(lambda item=item: item.got == item.expected, item.pattern)
            else:
                assert item.sub.pending_msgs == len(item.expected) - len(item.got)

    async def take(self, item: Expectation, count: int) -> None:
        for _ in range(min(count, len(item.expected) - len(item.got))):
            item.got.append((await item.sub.next_msg(5)).data)
        assert item.got == item.expected[: len(item.got)]

    async def take_all(self, item: Expectation) -> None:
        await self.settle()
        if not item.has_handler:
            await self.take(item, len(item.expected))
        assert item.got == item.expected

    # Coming and going

    @precondition(lambda self: not self.is_open)
    @rule()
    def connect(self) -> None:
        async def error_cb(error: Exception) -> None:
            self.errors.append(error)

        async def closed_cb() -> None:
            self.closed_calls += 1

        async def connect() -> None:
            self.nc = await nats.connect(
                self.server.url,
                error_cb=error_cb,
                closed_cb=closed_cb,
                reconnect_time_wait=0.02,
                max_reconnect_attempts=-1,
            )

            await self.nc.subscribe("echo", cb=echo)

        self.live = []
        self.closed_calls = 0
        self.run(connect())

    @precondition(lambda self: self.is_open)
    @rule()
    def close(self) -> None:
        self.run(self.nc.close())
        assert self.closed_calls == 1

    @precondition(lambda self: self.is_open)
    @rule()
    def drain(self) -> None:
        async def drain() -> None:
            for item in self.live:
                await self.take_all(item)
            await self.nc.drain()

        self.run(drain())
        assert self.nc.is_closed
        assert self.closed_calls == 1
        for item in self.live:
            assert item.got == item.expected

    @precondition(lambda self: self.nc is not None and self.nc.is_closed)
    @rule()
    def use_a_closed_client(self) -> None:
        async def use() -> None:
            await self.nc.close()
            for attempt in (
                lambda: self.nc.publish("machine.a", b""),
                lambda: self.nc.subscribe("machine.a"),
                lambda: self.nc.request("echo", b"", timeout=1),
                self.nc.flush,
                self.nc.drain,
            ):
                with pytest.raises(errors.ConnectionClosedError):
                    await attempt()

        self.run(use())
        assert self.closed_calls == 1

    @precondition(lambda self: self.is_open and self.restarts < MAX_RESTARTS)
    @rule(kill=st.booleans(), count=st.integers(min_value=0, max_value=3))
    def restart_server(self, kill: bool, count: int) -> None:
        """What is published while the server is away arrives when it is back."""

        async def restart() -> None:
            await self.settle()
            await (self.server.akill() if kill else self.server.ashutdown())
            await eventually(lambda: not self.nc.is_connected, "disconnected")
            for _ in range(count):
                await self.publish_one("machine.a")
            await self.server.astart()
            await eventually(lambda: self.nc.is_connected, "connected")
            await self.settle()

        self.restarts += 1
        self.run(restart())

    # Messages

    async def publish_one(self, subject: str) -> None:
        self.published += 1
        payload = str(self.published).encode()
        await self.nc.publish(subject, payload)
        for item in self.live:
            item.publish(subject, payload)

    @precondition(lambda self: self.is_open)
    @rule(subject=st.sampled_from(SUBJECTS), count=st.integers(min_value=1, max_value=300))
    def publish(self, subject: str, count: int) -> None:
        async def publish() -> None:
            for _ in range(count):
                await self.publish_one(subject)

        self.run(publish())

    @precondition(lambda self: self.is_open)
    @rule()
    def flush(self) -> None:
        self.run(self.settle())
        assert self.nc.pending_data_size == 0

    @precondition(lambda self: self.is_open)
    @rule(payload=st.binary(max_size=100), count=st.integers(min_value=1, max_value=20))
    def request(self, payload: bytes, count: int) -> None:
        async def request() -> None:
            replies = await asyncio.gather(
                *(self.nc.request("echo", payload, timeout=5) for _ in range(count))
            )
            assert [reply.data for reply in replies] == [payload] * count

        self.run(request())

    @precondition(lambda self: self.is_open)
    @rule()
    def request_of_nobody(self) -> None:
        async def request() -> None:
            with pytest.raises(errors.NoRespondersError):
                await self.nc.request("nobody", b"", timeout=5)

        self.run(request())

    # Subscriptions

    @precondition(lambda self: self.is_open and len(self.live) < 6)
    @rule(pattern=st.sampled_from([*SUBJECTS, "machine.*"]), has_handler=st.booleans())
    def subscribe(self, pattern: str, has_handler: bool) -> None:
        async def subscribe() -> None:
            item = Expectation(pattern)
            item.has_handler = has_handler
            item.sub = await self.nc.subscribe(pattern, cb=item.handle if has_handler else None)
            self.live.append(item)

        self.run(subscribe())

    @precondition(lambda self: self.is_open and self.live)
    @rule(number=picks, count=st.integers(min_value=1, max_value=50))
    def consume(self, number: int, count: int) -> None:
        item = self.pick(number)
        if not item.has_handler:
            self.run(self.take(item, count))

    @precondition(lambda self: self.is_open and self.live)
    @rule(number=picks)
    def unsubscribe(self, number: int) -> None:
        async def unsubscribe() -> None:
            item = self.pick(number)
            await self.take_all(item)
            if not item.is_complete:
                await item.sub.unsubscribe()
                with pytest.raises(errors.BadSubscriptionError):
                    await item.sub.unsubscribe()
            self.live.remove(item)

        self.run(unsubscribe())

    @precondition(lambda self: self.is_open and self.live)
    @rule(number=picks, more=st.integers(min_value=1, max_value=100))
    def unsubscribe_later(self, number: int, more: int) -> None:
        async def unsubscribe() -> None:
            item = self.pick(number)
            if item.limit > 0:
                return
            await self.settle()
            item.limit = len(item.expected) + more
            await item.sub.unsubscribe(limit=item.limit)

        self.run(unsubscribe())

    @precondition(lambda self: self.is_open and self.live)
    @rule(number=picks)
    def drain_subscription(self, number: int) -> None:
        async def drain() -> None:
            item = self.pick(number)
            await self.settle()
            if item.is_complete:
                return
            draining = asyncio.ensure_future(item.sub.drain())
            with contextlib.suppress(asyncio.TimeoutError):
                # An iterator's messages have to be taken for the drain to end.
                await asyncio.wait_for(asyncio.shield(draining), 0.01)
            if not item.has_handler:
                await self.take(item, len(item.expected))
            await draining
            assert item.got == item.expected
            self.live.remove(item)

        self.run(drain())

    # What always holds

    @invariant()
    def flags_are_consistent(self) -> None:
        if self.nc is None:
            return
        assert self.nc.is_connected != self.nc.is_closed
        assert not self.nc.is_connecting
        assert not self.nc.is_reconnecting
        assert not self.nc.is_draining

    @invariant()
    def nothing_is_left_waiting(self) -> None:
        if self.is_open:
            requests, deadlines, _, pongs = self.nc._core.census()
            assert (requests, deadlines, pongs) == (0, 0, 0)

    @invariant()
    def nothing_has_failed(self) -> None:
        unexpected = [e for e in self.errors if not isinstance(e, OSError | errors.UnexpectedEOF)]
        assert unexpected == []

    @invariant()
    def order_is_kept(self) -> None:
        for item in self.live:
            assert item.got == item.expected[: len(item.got)]


# A busy machine must not cut it short: Hypothesis would report something else then.
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "new_loop", [asyncio.SelectorEventLoop, new_uvloop], ids=["asyncio", "uvloop"]
)
def test_a_clients_life(server: Server, driver: str, new_loop: Any) -> None:
    class Machine(ClientMachine):
        pass

    Machine.server = server
    Machine.new_loop = staticmethod(new_loop)
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Machine,
        settings=settings(
            derandomize=True,
            database=None,
            deadline=None,
            max_examples=40,
            stateful_step_count=40,
            suppress_health_check=list(HealthCheck),
        ),
    )
