"""Child processes of the benchmark runner: the private server and one process per measurement.

Each child leads a process group of its own, and the whole group is killed when its work is over,
so that a crashed workload leaves no feeder or responder behind to disturb the next one.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

RUN_TIMEOUT = 180.0

# The limits keep the server from cutting off a receiver that is slower than the feeder.
SERVER_CONFIG = """
host: 127.0.0.1
port: -1
ports_file_dir: {directory}
max_pending: 2GB
write_deadline: "120s"
"""

# Added to it; a server for each kind of workload leaves the core ones as they were.
OPTIONS = {
    "core": "",
    "jetstream": """
jetstream: {{store_dir: {directory}, max_memory_store: 4GB, max_file_store: 1GB}}
""",
    "tls": """
tls: {{cert_file: "{files}/server.pem", key_file: "{files}/server.key"}}
""",
    "websocket": """
websocket: {{host: 127.0.0.1, port: -1, no_tls: true}}
""",
}


@dataclass(frozen=True)
class Endpoint:
    """Where a server is reached, and the file of the authority that vouches for it, if one does."""

    url: str
    authority: str = ""


class Failed(Exception):
    """A measurement that did not end with a result."""


@contextlib.contextmanager
def child(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, text=True, start_new_session=True, **options)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


@contextlib.contextmanager
def nats_server(binary: str, kind: str) -> Iterator[Endpoint]:
    """A server on a free port; yields where once it accepts connections."""
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory, "server.conf")
        text = SERVER_CONFIG + OPTIONS[kind]
        config.write_text(text.format(directory=json.dumps(directory), files=directory))
        authority = _certify(Path(directory)) if kind == "tls" else ""
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with child([binary, "-c", str(config)], **quiet) as process:
            ports = _wait_until_ready(process, Path(directory))
            url = ports["websocket" if kind == "websocket" else "nats"][0]
            yield Endpoint(url, authority)


def _certify(directory: Path) -> str:
    """Writes the server's certificate; returns the file of the authority that signed it."""
    import trustme

    authority, bundle = trustme.CA(), directory / "ca.pem"
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(bundle))
    certificate.cert_chain_pems[0].write_to_path(str(directory / "server.pem"))
    certificate.private_key_pem.write_to_path(str(directory / "server.key"))
    return str(bundle)


def _wait_until_ready(process: subprocess.Popen[str], directory: Path) -> dict[str, list[str]]:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Failed(f"nats-server ended with code {process.returncode}")
        # The ports file may be seen before it is complete.
        with contextlib.suppress(OSError, ValueError, IndexError, KeyError):
            found = next(iter(directory.glob("*.ports")), None)
            if found is not None:
                ports: dict[str, list[str]] = json.loads(found.read_text())
                address = urlsplit(ports["nats"][0])
                socket.create_connection((address.hostname, address.port), timeout=1).close()
                return ports
        time.sleep(0.02)
    raise Failed("nats-server did not become ready")


def run_json(command: Sequence[str], env: dict[str, str] | None = None) -> dict[str, Any]:
    """Runs a command to its end and returns the JSON of its last line."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with child(command, env={**os.environ, **(env or {})}, **pipes) as process:
        try:
            output, errors = process.communicate(timeout=RUN_TIMEOUT)
        except subprocess.TimeoutExpired:
            raise Failed(f"no result after {RUN_TIMEOUT:.0f} s") from None
    if process.returncode != 0:
        raise Failed((errors.strip() or f"exit code {process.returncode}").splitlines()[-1])
    return last_json(output)


def last_json(output: str) -> dict[str, Any]:
    try:
        result: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    except (ValueError, IndexError):
        raise Failed(f"not a result: {output[-200:]!r}") from None
    return result


@contextlib.contextmanager
def ready(command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """A child that has printed the line with which it says that it is ready."""
    with child(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise Failed(f"{Path(command[0]).name} {command[1]} did not start")
        yield process
