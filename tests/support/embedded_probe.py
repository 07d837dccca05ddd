"""Looking at an embedded server without a client: raw sockets and the process table."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any

import psutil
from nats.embedded import Server


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


def comes_true(check: Callable[[], bool], timeout: float = 30.0) -> bool:
    deadline = time.monotonic() + timeout
    while not check():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.01)
    return True


def stream(name: str, **options: Any) -> dict[str, Any]:
    return {"name": name, "subjects": [f"{name}.>"], "storage": "file", **options}
