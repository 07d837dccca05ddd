"""The package around the client: names, versions, identifiers, errors, transports."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import subprocess
import sys
from collections import UserString
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import ParseResult, urlparse

import nats
import nats.aio.errors
import nats.errors
import pytest
from nats import nuid
from nats.aio.client import RawCredentials, ServerVersion
from nats.aio.transport import TcpTransport, Transport, WebSocketTransport
from nats.nuid import NUID
from support.waiting import within


def python(*arguments: str, **environment: str) -> str:
    """Run an interpreter that must not complain, and return its output."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


# The package


def test_version() -> None:
    from importlib.metadata import version

    assert nats.__version__ == version("fastnats")
    assert [part.isdigit() for part in nats.__version__.split(".")[:2]] == [True, True]


def test_exported_names() -> None:
    from nats.aio.client import Client

    assert nats.NATS is Client
    assert inspect.iscoroutinefunction(nats.connect)
    assert set(nats.__all__) == {"NATS", "__version__", "connect"}


def test_other_distributions_may_install_into_the_package(tmp_path: Path) -> None:
    portion = tmp_path / "other" / "nats"
    portion.mkdir(parents=True)
    (portion / "something.py").write_text("VALUE = 42\n")
    (portion / "errors.py").write_text("raise AssertionError('this one is not ours')\n")
    unrelated = tmp_path / "empty"
    unrelated.mkdir()
    script = (
        "import nats, nats.errors, nats.aio.client\n"
        "from nats.something import VALUE\n"
        "assert nats.errors.Error\n"
        "print(VALUE)\n"
        "print(*nats.__path__, sep='\\n')\n"
    )
    # A directory after the package's own: one before it would hide the package itself.
    home = str(Path(nats.__file__).parents[1])
    search = os.pathsep.join([home, str(unrelated), str(portion.parent)])
    value, *path = python("-c", script, PYTHONPATH=search).splitlines()
    assert value == "42"
    assert path[0] == os.path.join(home, "nats")
    assert str(portion) in path
    assert len(path) == len(set(path))
    assert str(unrelated / "nats") not in path


# Identifiers


def test_nuids_are_unique() -> None:
    generator, other = NUID(), NUID()
    made = {bytes(generator.next()) for _ in range(50_000)}
    made |= {bytes(other.next()) for _ in range(50_000)}
    assert len(made) == 100_000


def test_nuids_are_22_digits_of_base_62() -> None:
    generator = NUID()
    for _ in range(1000):
        made = generator.next()
        assert type(made) is bytearray
        assert len(made) == nuid.TOTAL_LENGTH == 22
        assert set(made) <= set(nuid.DIGITS)
    assert len(set(nuid.DIGITS)) == nuid.BASE == 62


def test_nuids_of_one_generator_share_a_prefix_and_step_up() -> None:
    generator = NUID()
    generator._seq = 0
    made = [bytes(generator.next()) for _ in range(100)]
    assert len({one[: nuid.PREFIX_LENGTH] for one in made}) == 1
    values = [[nuid.DIGITS.index(digit) for digit in one[nuid.PREFIX_LENGTH :]] for one in made]
    assert values == sorted(values)
    assert len({tuple(value) for value in values}) == 100


def test_a_sequence_that_is_used_up_gets_a_new_prefix() -> None:
    assert nuid.MAX_SEQ == nuid.BASE**nuid.SEQ_LENGTH
    generator = NUID()
    generator._seq = nuid.MAX_SEQ - 1 - generator._inc
    last = generator.next()
    assert last[nuid.PREFIX_LENGTH :] == b"z" * nuid.SEQ_LENGTH
    after = generator.next()
    assert len(after) == nuid.TOTAL_LENGTH
    assert after[: nuid.PREFIX_LENGTH] != last[: nuid.PREFIX_LENGTH]
    assert 0 <= generator._seq < nuid.MAX_SEQ
    assert nuid.MIN_INC <= generator._inc <= nuid.MAX_INC
    assert generator.next()[: nuid.PREFIX_LENGTH] == after[: nuid.PREFIX_LENGTH]


# Errors


@pytest.mark.parametrize(
    "name", ["TimeoutError", "FlushTimeoutError", "DrainTimeoutError"], ids=str
)
def test_timeouts_are_both_kinds(name: str) -> None:
    error = getattr(nats.errors, name)
    assert issubclass(error, nats.errors.TimeoutError)
    assert issubclass(error, nats.errors.Error)
    assert issubclass(error, asyncio.TimeoutError)
    with pytest.raises(asyncio.TimeoutError, match=r"^nats: "):
        raise error


def test_all_errors_have_one_base() -> None:
    found = [
        kind
        for _, kind in inspect.getmembers(nats.errors, inspect.isclass)
        if kind.__module__ == "nats.errors"
    ]
    assert len(found) > 25
    for kind in found:
        assert issubclass(kind, nats.errors.Error), kind
        assert issubclass(kind, Exception)
    assert issubclass(nats.errors.UnexpectedEOF, nats.errors.StaleConnectionError)


def test_old_names_derive_from_the_new_ones() -> None:
    old = [
        kind
        for _, kind in inspect.getmembers(nats.aio.errors, inspect.isclass)
        if kind.__module__ == "nats.aio.errors"
    ]
    assert len(old) == 20
    for kind in old:
        new = kind.__bases__[0]
        if kind is nats.aio.errors.NatsError:
            assert new is nats.errors.Error
            continue
        assert new is getattr(nats.errors, kind.__name__.removeprefix("Err") + "Error"), kind
        if kind is not nats.aio.errors.ErrSlowConsumer:
            assert str(kind()) == str(new())
    assert issubclass(nats.aio.errors.ErrTimeout, asyncio.TimeoutError)


# Credentials and versions


def test_raw_credentials_are_text() -> None:
    text = "-----BEGIN NATS USER JWT-----\nabc\n------END NATS USER JWT------\n"
    raw = RawCredentials(text)
    assert isinstance(raw, UserString)
    assert not isinstance(raw, str)
    assert raw == text
    assert str(raw) == raw.data == text
    assert raw.splitlines()[1] == "abc"


@pytest.mark.parametrize(
    ("text", "numbers", "prerelease", "build", "dev"),
    [
        ("2.10.7", (2, 10, 7), "", "", ""),
        ("0.0.0", (0, 0, 0), "", "", ""),
        ("2.11.0-RC.1", (2, 11, 0), "RC.1", "", "RC.1"),
        ("2.11.0-dev.2+abc.5", (2, 11, 0), "dev.2", "abc.5", "dev.2+abc.5"),
        ("10.20.30+build", (10, 20, 30), "", "build", "build"),
    ],
)
def test_server_version(
    text: str, numbers: tuple[int, int, int], prerelease: str, build: str, dev: str
) -> None:
    version = ServerVersion(text)
    assert (version.major, version.minor, version.patch) == numbers
    assert (version.prerelease, version.build, version.dev) == (prerelease, build, dev)
    assert repr(version) == f"<nats server v{text}>"


@pytest.mark.parametrize("text", ["", "2", "2.10", "v2.10.7", "2.010.7", "2.10.7-", "2.10.7 x"])
@pytest.mark.parametrize("part", ["major", "minor", "patch", "prerelease", "build", "dev"])
def test_invalid_server_version(text: str, part: str) -> None:
    version = ServerVersion(text)
    with pytest.raises(ValueError, match="is not a valid Semantic Version"):
        getattr(version, part)


# Transports


@contextlib.asynccontextmanager
async def echo_server() -> AsyncIterator[ParseResult]:
    """Echoes lines until it gets ``bye``."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (line := await reader.readline()) not in (b"", b"bye\r\n"):
                writer.write(line)
                await writer.drain()
            writer.close()
            await writer.wait_closed()
        except ConnectionError:
            pass
        finally:
            ended.set()

    ended = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield urlparse(f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await within(ended.wait())
    finally:
        server.close()
        await within(server.wait_closed())


async def test_tcp_transport() -> None:
    transport = TcpTransport()
    assert isinstance(transport, Transport)
    assert not transport
    assert transport.at_eof()
    async with echo_server() as uri:
        await transport.connect(uri, buffer_size=65536, connect_timeout=5)
        assert transport
        assert not transport.at_eof()
        transport.write(b"one\r\n")
        await within(transport.drain())
        assert await within(transport.readline()) == b"one\r\n"
        transport.writelines([b"two\r\n", b"th", b"ree\r\n"])
        await within(transport.drain())
        assert await within(transport.readline()) == b"two\r\n"
        assert await within(transport.read(100)) == b"three\r\n"
        assert not transport.at_eof()
        transport.write(b"bye\r\n")
        await within(transport.drain())
        assert await within(transport.read(100)) == b""
        assert transport.at_eof()
        transport.close()
        await within(transport.wait_closed())


async def test_tcp_transport_closes_from_its_own_side() -> None:
    transport = TcpTransport()
    async with echo_server() as uri:
        await transport.connect(uri, buffer_size=1024, connect_timeout=5)
        transport.close()
        await within(transport.wait_closed())


async def test_tcp_transport_is_refused(closed_port: int) -> None:
    transport = TcpTransport()
    with pytest.raises(ConnectionRefusedError):
        await transport.connect(urlparse(f"nats://127.0.0.1:{closed_port}"), 1024, 5)
    assert not transport
    # Nothing to close is no reason to fail.
    transport.close()
    await within(transport.wait_closed())


async def test_an_unconnected_transport_says_so() -> None:
    transport = TcpTransport()
    with pytest.raises(AssertionError, match=r"TcpTransport\.connect must be called first"):
        transport.write(b"x")
    with pytest.raises(AssertionError, match=r"TcpTransport\.connect must be called first"):
        await transport.readline()


async def test_an_unconnected_websocket_says_so() -> None:
    transport = WebSocketTransport()
    with pytest.raises(AssertionError, match=r"WebSocketTransport\.connect must be called first"):
        await transport.readline()
    with pytest.raises(AssertionError, match=r"WebSocketTransport\.connect must be called first"):
        await transport.drain()
    assert transport.at_eof()
    transport.close()
    await transport.wait_closed()


def test_transport_is_an_interface() -> None:
    with pytest.raises(TypeError):
        Transport()  # type: ignore[abstract]
