"""A nats-server process that can be stopped and started again on the same port."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from pathlib import Path

START_TIMEOUT = 30.0


class ReservedPort:
    """A port of 127.0.0.1 nobody else is given, connections to which are refused.

    It is bound and not listening; a server told to take this port can do so all the same.
    """

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.number: int = self._socket.getsockname()[1]

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.number}"

    def release(self) -> None:
        self._socket.close()


class Server:
    """One server, its port and its configuration.

    What JetStream keeps in files is there again after a restart.
    """

    def __init__(self, program: str, directory: Path, port: ReservedPort, config: str) -> None:
        self.port = port.number
        self.url = port.url
        self.address = f"127.0.0.1:{port.number}"
        self.config = config
        self._program = program
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self, config: str | None = None) -> None:
        """Start it and wait until it accepts clients."""
        if config is not None:
            self.config = config
        self._directory.mkdir(parents=True, exist_ok=True)
        process = self._process = self._spawn()
        # Not found out by connecting, which would be counted in the ids of clients.
        for _ in range(int(START_TIMEOUT / 0.01)):
            if any(self._directory.glob("*.ports")):
                return
            if process.poll() is not None:
                break
            await asyncio.sleep(0.01)
        raise RuntimeError((self._directory / "server.log").read_text())

    def _spawn(self) -> subprocess.Popen[bytes]:
        for stale in self._directory.glob("*.ports"):
            stale.unlink()
        (self._directory / "server.conf").write_text(self.config or "debug: false\n")
        with open(self._directory / "server.log", "ab") as log:
            return subprocess.Popen(
                [
                    self._program,
                    *("-a", "127.0.0.1", "-p", str(self.port)),
                    *("-c", str(self._directory / "server.conf")),
                    *("--ports_file_dir", str(self._directory)),
                    *("-sd", str(self._directory / "store")),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def lame_duck(self) -> None:
        """Announce that the server is about to stop."""
        self._signal(signal.SIGUSR2)

    def pause(self) -> None:
        """Freeze the process, and wait until it is; its sockets stay open."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGSTOP)
            os.waitpid(self._process.pid, os.WUNTRACED)

    def resume(self) -> None:
        """Undo ``pause``."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it in order, and wait."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, and wait."""
        self._end(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def _end(self, number: int) -> None:
        self._signal(number)
        if self._process is not None:
            self._process.wait(10)
            self._process = None
