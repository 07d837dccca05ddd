"""What a scenario is given: servers to start and stop, clients that are watched, and ``say``.

A scenario runs under nats-py and under this package, and what it says has to be the same. So
anything that differs from run to run (ports, inboxes, addresses of objects) is made equal here.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, overload

from nats.aio.client import Client
from nats.errors import (
    BadSubjectError,
    ConnectionClosedError,
    NoRespondersError,
    NoServersError,
    OutboundBufferLimitError,
)
from parity.servers import ReservedPort, Server
from support.fake_server import FakeServer, Handler, handshake_and_serve

PATIENCE = 20.0


# Subclasses that only this package has: whoever handles nats-py's handles them.
NARROWER = ("KeyExistsError",)

# Error classes that only this package has.
ADDED = (
    *NARROWER,
    "ConsumerDeletedError",
    "ConsumerNotActiveError",
    "NotConnectedError",
    "WrongLoopError",
)

# Errors behind whose text more is told than nats-py does.
DETAILED = (
    *(BadSubjectError, ConnectionClosedError, NoRespondersError),
    *(NoServersError, OutboundBufferLimitError),
)


@dataclass(frozen=True)
class Scenario:
    """A function to run, and how its outcome here differs from nats-py's, if it does."""

    name: str
    run: Callable[[Context], Awaitable[None]]
    config: str
    start: bool
    differs: str
    expected: tuple[str, ...]


SCENARIOS: dict[str, Scenario] = {}

Body = TypeVar("Body", bound="Callable[[Context], Awaitable[None]]")


class Registering(Protocol):
    """A decorator, with arguments or without, that registers scenarios as ``file.function``."""

    @overload
    def __call__(self, function: Body, /) -> Body: ...

    @overload
    def __call__(
        self,
        *,
        config: str = ...,
        start: bool = True,
        differs: str = "",
        expected: Sequence[str] = (),
    ) -> Callable[[Body], Body]:
        """
        Args:
            config: Contents of the server's configuration file.
            start: Start the server before the scenario.
            differs: Why nats-py's behaviour is not wanted.
            expected: The lines to be said here instead.
        """
        ...


def registering(usual_config: str) -> Registering:
    """The decorator for scenarios whose servers have this configuration if they name no other."""

    def register(
        function: Any = None,
        *,
        config: str = usual_config,
        start: bool = True,
        differs: str = "",
        expected: Sequence[str] = (),
    ) -> Any:
        if function is None:
            return functools.partial(
                register, config=config, start=start, differs=differs, expected=expected
            )
        assert bool(differs) == bool(expected), "a difference needs both a reason and the lines"
        name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        assert name not in SCENARIOS, name
        SCENARIOS[name] = Scenario(name, function, config, start, differs, tuple(expected))
        return function

    return register


scenario = registering("")
jetstream_scenario = registering("jetstream {}\n")


def describe(value: Any) -> str:
    """Return an exception's class and text, and the repr of anything else."""
    if not isinstance(value, BaseException):
        return repr(value)
    if isinstance(value, DETAILED):
        value = type(value)()
    if isinstance(value, AssertionError):
        return "AssertionError"
    if isinstance(value, AttributeError):
        # Which of the two a value of a wrong type gives depends on what is done to it first.
        return "TypeError"
    cls = next(cls for cls in type(value).__mro__ if cls.__name__ not in NARROWER)
    name = cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__name__}"
    # Texts of Python's own errors tell how a function is written, not what it promises.
    own = not isinstance(value, OSError) and cls.__module__ == "builtins"
    return name if own else f"{name}: {without_details(value)}"


def without_details(error: BaseException) -> str:
    """Return an error's text without what only this package says in it: what the error is about,
    and the code where nats-py has none."""
    text = str(error)
    details = getattr(error, "details", "")
    if details:
        text = text.removesuffix(f"({details})")
    text = re.sub(r": code=\S+( err_code=None)?( description='None')?\s*$", "", text)
    return text.replace(" err_code=None", "").rstrip()


class Context:
    """One run of one scenario."""

    def __init__(self, scenario: Scenario, program: str, directory: Path, lines: list[str]) -> None:
        self.lines = lines
        self.clients: list[Client] = []
        self._program = program
        self.directory = directory
        """For files of the scenario, removed after it."""
        self._servers: list[Server] = []
        self._ports: list[ReservedPort] = []
        self._names: list[tuple[re.Pattern[str], str]] = []
        self._fakes = 0
        self._muted = False
        self.rename(re.escape(str(directory)), "<directory>")
        self.server = self.new_server(scenario.config)

    @property
    def url(self) -> str:
        """The URL of the scenario's own server."""
        return self.server.url

    def new_server(self, config: str = "") -> Server:
        """Return one more server, not started yet, on a port of its own."""
        port = self.reserve_port()
        server = Server(self._program, self.directory / f"server{port.number}", port, config)
        self._servers.append(server)
        return server

    def reserve_port(self) -> ReservedPort:
        """Return a port that refuses connections unless a server is started on it."""
        port = ReservedPort()
        self._ports.append(port)
        self.rename(rf"\b{port.number}\b", f"<port{len(self._ports)}>")
        return port

    def rename(self, pattern: str, name: str) -> None:
        """Show ``name`` for whatever matches ``pattern``."""
        self._names.append((re.compile(pattern), name))

    def say(self, *parts: Any) -> None:
        """Record a line: strings as they are, exceptions with class and text, others by repr."""
        if not self._muted:
            self.lines.append(self._line(parts))

    def say_once(self, *parts: Any) -> None:
        """Record a line unless it repeats the last one."""
        line = self._line(parts)
        if not self._muted and self.lines[-1:] != [line]:
            self.lines.append(line)

    def _line(self, parts: tuple[Any, ...]) -> str:
        line = " ".join(part if isinstance(part, str) else describe(part) for part in parts)
        for pattern, name in self._names:
            line = pattern.sub(name, line)
        line = re.sub(r"_INBOX\.[0-9A-Za-z]{22}\.[0-9A-Za-z]+", "<inbox>.<token>", line)
        line = re.sub(r"_INBOX\.[0-9A-Za-z]{22}\b", "<inbox>", line)
        line = re.sub(r"0x[0-9a-f]+", "0x0", line)
        return "".join(char if char.isprintable() else repr(char)[1:-1] for char in line)

    async def attempt(self, what: str, action: Any) -> Any:
        """Await or call ``action``; say what came of it and return that, or the exception."""
        try:
            result = action() if callable(action) else action
            if inspect.isawaitable(result):
                result = await result
        except Exception as error:
            self.say(what, "raises", error)
            return error
        shown = result if isinstance(result, bool | int | str | bytes | None) else type(result)
        self.say(what, "gives", shown.__qualname__ if isinstance(shown, type) else shown)
        return result

    def callbacks(
        self, label: str = "", *, once: bool = False, ignore: tuple[type[Exception], ...] = ()
    ) -> dict[str, Any]:
        """Return connect options whose callbacks say that they were called, with what.

        Args:
            label: Beginning of the lines.
            once: Don't repeat what the last callback said, whatever else was said since; how
                often a connection is refused depends on how fast the server starts.
            ignore: Errors that depend on who is faster, the server or the client.
        """
        prefix = f"{label}: " if label else ""
        last = ""

        def say(*parts: Any) -> None:
            nonlocal last
            line = self._line(parts)
            if not (once and line == last):
                self.say(*parts)
            last = line

        async def error_cb(error: Exception) -> None:
            if not isinstance(error, ignore):
                say(f"{prefix}error_cb", error)

        def plain(name: str) -> Callable[[], Awaitable[None]]:
            async def callback() -> None:
                say(f"{prefix}{name}")

            return callback

        names = ("disconnected", "closed", "discovered_server", "reconnected", "lame_duck_mode")
        return {"error_cb": error_cb, **{f"{name}_cb": plain(f"{name}_cb") for name in names}}

    def client(self) -> Any:
        """Return a client that is closed after the scenario.

        Without a type: scenarios try what nats-py takes beyond its annotations.
        """
        client = Client()
        self.clients.append(client)
        return client

    async def connect(self, servers: str | list[str] | None = None, **options: Any) -> Any:
        """Connect to the scenario's server, or others; watched if there is no ``error_cb``."""
        client = self.client()
        if "error_cb" not in options:
            options = {**self.callbacks(), **options}
        await client.connect(servers or self.url, **options)
        return client

    async def until(self, what: str, condition: Callable[..., Any]) -> None:
        """Wait for a condition; only says something if it does not come true."""
        for _ in range(int(PATIENCE / 0.005)):
            if condition():
                return
            await asyncio.sleep(0.005)
        self.say("waited in vain until", what)

    async def until_said(self, line: str, times: int = 1) -> None:
        """Wait until a line that begins so has been said so often."""

        def said() -> bool:
            return sum(1 for known in self.lines if known.startswith(line)) >= times

        await self.until(f"{line!r} was said", said)

    @contextlib.asynccontextmanager
    async def fake_server(
        self, handler: Handler = handshake_and_serve, **options: Any
    ) -> AsyncIterator[FakeServer]:
        """Run a scripted server; the clients are closed before it ends, so that none notices."""
        async with FakeServer(handler, **options) as server:
            self._fakes += 1
            self.rename(rf"\b{server.port}\b", f"<fake{self._fakes}>")
            try:
                yield server
            finally:
                await self._close_clients()

    async def clean_up(self) -> None:
        """Close whatever the scenario left open, without saying anything."""
        for server in self._servers:
            server.resume()
        await self._close_clients()
        for server in self._servers:
            server.kill()
        for port in self._ports:
            port.release()

    async def _close_clients(self) -> None:
        self._muted = True
        for client in self.clients:
            # nats-py's close is cancelled by a reconnection that was cancelled while it waited.
            with contextlib.suppress(Exception, asyncio.CancelledError):
                await asyncio.wait_for(client.close(), 2)
        self.clients.clear()
        self._muted = False


async def settle(client: Client) -> None:
    """Return when the server's answers to everything sent so far have been read.

    nats-py's ``flush`` sends its PING ahead of publications that still wait to be written, so
    only the second one comes after them.
    """
    await client.flush()
    await client.flush()


async def run(scenario: Scenario, program: str, directory: Path, lines: list[str]) -> None:
    """Run a scenario and add what it says to ``lines``, whether it succeeds or not."""
    context = Context(scenario, program, directory, lines)
    try:
        if scenario.start:
            await context.server.start()
        await scenario.run(context)
    finally:
        await context.clean_up()
