"""The embedded server's process: it never outlives its owner; signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest
from nats.embedded import EmbeddedError, Server
from support.embedded_probe import Raw, comes_true, is_alive


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
    # Ignored by what a shell has started in the background, unless it says otherwise.
    "SIGINT": "signal.signal(signal.SIGINT, signal.default_int_handler);"
    " os.kill(os.getpid(), signal.SIGINT); time.sleep(60)",
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
    assert comes_true(lambda: not is_alive(int(pid)))
    assert comes_true(lambda: not os.path.exists(directory))


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
