"""Fixtures for all tests: servers, clients, event loops and I/O drivers (see support.matrix)."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib.util
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from nats.embedded import Cluster, Server
from support import matrix
from support.connecting import CLOSE_TIMEOUT, Connect, HasUrl
from support.tls import Certificates, make_certificates


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return matrix.LOOPS


def pytest_addoption(parser: pytest.Parser) -> None:
    matrix.add_options(parser)
    parser.addoption(
        "--tools", action="store_true", help="run the tests that install other tools and packages"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "tools: installs other tools and packages (--tools)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    def is_chosen(item: pytest.Item) -> bool:
        if item.get_closest_marker("tools") and not config.getoption("--tools"):
            return False
        return matrix.is_chosen(item, config)

    chosen = {item: is_chosen(item) for item in items}
    config.hook.pytest_deselected(items=[item for item in items if not chosen[item]])
    items[:] = [item for item in items if chosen[item]]
    if importlib.util.find_spec("uvloop") is not None:
        return
    # By a mark: a factory that skips breaks pytest-asyncio's set-up of the tests after it.
    for item in items:
        if matrix.loop_of(item) == "uvloop":
            item.add_marker(pytest.mark.skip(reason="uvloop is not installed"))


def pytest_collection_finish(session: pytest.Session) -> None:
    # Tests that look for garbage would look through thousands of tests each time.
    gc.collect()
    gc.freeze()


@pytest.fixture(params=matrix.DRIVERS)
def driver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test once on each I/O driver; its name."""
    from nats.aio.client import Client

    name: str = request.param
    monkeypatch.setattr(Client, "_driver", name)
    return name


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of the test's own, without JetStream."""
    with Server() as server:
        yield server


@pytest.fixture
def js_server() -> Iterator[Server]:
    """A server of the test's own, with JetStream."""
    with Server(jetstream=True) as server:
        yield server


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Three servers with routes between them, without JetStream."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    """An authority of the test's own."""
    return make_certificates(tmp_path)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of 127.0.0.1 that refuses connections and stays that way."""
    with socket.socket() as sock:
        # Bound and not listening: connections are refused, and nobody else is given the port,
        # though a server started on it by number can take it.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@pytest.fixture
def ipv6() -> None:
    """Skip the test where there is no IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")


@pytest.fixture
async def quiet_loop() -> AsyncIterator[None]:
    """Nothing is reported to the event loop, not even of futures that nobody asked."""
    found: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: found.append(context))
    yield
    gc.collect()
    await asyncio.sleep(0)
    assert found == []


@pytest.fixture
async def connect(request: pytest.FixtureRequest) -> AsyncIterator[Connect]:
    """``await connect(server_or_url=None, **options)`` gives a client closed after the test.

    The first argument is a URL, a list of URLs or an object with a ``url``. By default it is the
    test's ``server``, ``js_server`` or ``cluster``, or a server started for this client.
    """
    import nats

    # Asked for here so that they outlive the clients, which are closed by this fixture.
    if "driver" in request.fixturenames:
        request.getfixturevalue("driver")
    names = [name for name in ("server", "js_server", "cluster") if name in request.fixturenames]
    default: HasUrl | None = request.getfixturevalue(names[0]) if names else None
    clients: list[Any] = []

    with contextlib.ExitStack() as stack:

        async def connect(
            server_or_url: HasUrl | str | list[str] | None = None, **options: Any
        ) -> Any:
            nonlocal default
            if server_or_url is None:
                if default is None:
                    default = stack.enter_context(Server())
                server_or_url = default
            if isinstance(server_or_url, Cluster):
                urls: str | list[str] = server_or_url.urls
            elif isinstance(server_or_url, str | list):
                urls = server_or_url
            else:
                urls = server_or_url.url
            client = await nats.connect(urls, **options)
            clients.append(client)
            return client

        yield connect
        await _close_all(clients)


async def _close_all(clients: list[Any]) -> None:
    results = await asyncio.gather(
        *(asyncio.wait_for(client.close(), CLOSE_TIMEOUT) for client in clients),
        return_exceptions=True,
    )
    for result in results:
        if isinstance(result, asyncio.TimeoutError):
            pytest.fail(f"close did not end within {CLOSE_TIMEOUT} s")
        elif isinstance(result, BaseException):
            raise result
