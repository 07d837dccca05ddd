"""One embedded nats-server."""

from __future__ import annotations

import json
import os
import shutil
import signal as signals
import tempfile
import threading
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar, cast

from ._binary import find_server
from ._config import Config
from ._errors import EmbeddedError, ServerStartError
from ._ports import PortReservation
from ._process import ServerProcess
from ._startable import Startable
from ._threads import run_blocking

_Server = TypeVar("_Server", bound="Server")

_POLL_INTERVAL = 0.005

# WNOWAIT keeps the answer for the next look: pausing twice must not wait for a second stop.
_STOPPED = os.WSTOPPED | os.WNOHANG | os.WNOWAIT

# The names that `nats-server --signal` knows.
_SIGNALS = {
    "ldm": "SIGUSR2",
    "reopen": "SIGUSR1",
    "reload": "SIGHUP",
    "quit": "SIGINT",
    "term": "SIGTERM",
    "stop": "SIGKILL",
}


class Server(Startable):
    """A nats-server that lives no longer than the ``with`` body or this process.

    ``with Server() as server`` and ``async with Server() as server`` start it and stop it;
    ``start``/``stop`` and ``astart``/``astop`` do the same by hand. The methods that start with
    ``a`` wait in a thread and leave the event loop free.

    The port, the log and JetStream's files outlive ``restart``, ``shutdown`` and ``kill``, and end
    with ``stop``. One object may be used from several threads.
    """

    def __init__(
        self,
        jetstream: bool = False,
        config: str | os.PathLike[str] | None = None,
        port: int = 0,
        *,
        host: str = "127.0.0.1",
        name: str | None = None,
        args: Sequence[str] = (),
        monitor: bool = False,
        executable: str | os.PathLike[str] | None = None,
        startup_timeout: float = 30.0,
    ) -> None:
        """Describes a server; nothing is started yet.

        :param jetstream: enable JetStream, with its files in ``directory``.
        :param config: a configuration file, or the text of one. Its client address, store
            directory and log file give way to this object's.
        :param port: the port for clients. 0 picks a free one at the first start and stays with it.
        :param host: the IP address to listen on.
        :param name: the server's name; by default the server makes one up.
        :param args: more command-line arguments. They come last and win over the ones made here.
        :param monitor: serve the HTTP monitoring endpoints on a free port, see ``monitor_url``.
        :param executable: the program to run instead of the one ``find_server`` finds.
        :param startup_timeout: seconds a start may take.
        :raises FileNotFoundError: ``config`` is a path where there is no file.
        """
        self.host = host
        self.name = name
        self.jetstream = jetstream
        self.args = tuple(args)
        self.startup_timeout = startup_timeout
        self._config = None if config is None else Config(config)
        self._port = port
        self._monitor = monitor
        self._executable = executable
        self._listeners: dict[str, list[str]] = {}
        self._last_log = ""
        self._lock = threading.RLock()
        self._process = ServerProcess()
        # Runs at interpreter exit as well, when neither __del__ nor the with body is sure to.
        self._finalizer = weakref.finalize(self, self._process.destroy)

    def __repr__(self) -> str:
        state = "running" if self.running else "stopped"
        return f"<fastnats.embedded.Server {self.host}:{self.port} {state}>"

    @property
    def port(self) -> int:
        """The port for clients; 0 before the first start unless one was asked for."""
        return self._port

    @property
    def url(self) -> str:
        """The URL that clients connect to, ``nats://HOST:PORT``.

        :raises EmbeddedError: the port is not known before the first start.
        """
        if not self._port:
            raise EmbeddedError("the server has no port before it is started")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"nats://{host}:{self._port}"

    @property
    def listeners(self) -> dict[str, list[str]]:
        """The URLs that the server listens on, by kind such as ``nats`` or ``monitoring``."""
        return {kind: list(urls) for kind, urls in self._listeners.items()}

    @property
    def monitor_url(self) -> str | None:
        """The URL of the HTTP monitoring endpoints, ``None`` if there are none."""
        urls = self._listeners.get("monitoring")
        return urls[0] if urls else None

    @property
    def directory(self) -> Path | None:
        """The private directory, from the first start until ``stop``."""
        return self._process.directory

    @property
    def pid(self) -> int | None:
        """The process id while the server runs."""
        popen = self._process.popen
        return popen.pid if popen is not None and self.running else None

    @property
    def running(self) -> bool:
        """Whether the process exists; true for a paused server, too."""
        return self._process.popen is not None and self._process.poll() is None

    @property
    def returncode(self) -> int | None:
        """The last process's exit status, negative for a signal; ``None`` while it runs or
        before."""
        return self._process.poll()

    @property
    def log(self) -> str:
        """All the server has logged, over all its restarts; kept after ``stop``."""
        directory = self.directory
        if directory is None:
            return self._last_log
        try:
            return _log_file(directory).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return self._last_log

    def start(self: _Server) -> _Server:
        """Starts the server and waits until it accepts clients. A running server is left alone.

        :raises ServerNotFoundError: no nats-server program is installed.
        :raises ServerStartError: the port is taken, or the server ended or was not ready within
            ``startup_timeout`` seconds; the message has its log.
        """
        with self._lock:
            if self.running:
                return self
            fresh = self.directory is None
            try:
                self._start()
            except BaseException:
                # A server that has run before keeps its files for another try.
                if fresh:
                    self._clean_up()
                else:
                    self._process.kill()
                raise
            return self

    def stop(self, timeout: float = 10.0) -> None:
        """Shuts the server down, or kills it after ``timeout`` seconds, and removes its files.

        The port is given back to the system, though another ``start`` asks for the same one.
        Stopping a server that does not run is allowed.
        """
        with self._lock:
            self._process.terminate(timeout)
            self._clean_up()

    def shutdown(self, timeout: float = 10.0) -> None:
        """As ``stop``, but keeps port and files for the next ``start``.

        :param timeout: seconds after which the server is killed.
        """
        with self._lock:
            self._process.terminate(timeout)

    def kill(self) -> None:
        """Ends the server without notice (SIGKILL); port and files stay."""
        with self._lock:
            self._process.kill()

    def restart(self, timeout: float = 10.0) -> None:
        """``shutdown`` and ``start``: a new process with the same port, files and settings.

        :param timeout: seconds after which the server is killed.
        :raises ServerStartError: as for ``start``.
        """
        with self._lock:
            self.shutdown(timeout)
            self.start()

    def wait(self, timeout: float | None = None) -> int:
        """Waits until the server ends by itself; returns its exit status.

        :param timeout: seconds; ``None`` waits for ever.
        :raises TimeoutError: it still runs.
        :raises EmbeddedError: it was never started.
        """
        if self._process.popen is None:
            raise EmbeddedError("the server was not started")
        return self._process.wait(timeout)

    async def ashutdown(self, timeout: float = 10.0) -> None:
        """``shutdown`` without blocking the event loop.

        :param timeout: seconds, as for ``shutdown``.
        """
        await run_blocking(lambda: self.shutdown(timeout))

    async def akill(self) -> None:
        """``kill`` without blocking the event loop."""
        await run_blocking(self.kill)

    async def arestart(self, timeout: float = 10.0) -> None:
        """``restart`` without blocking the event loop.

        :param timeout: seconds, as for ``restart``.
        """
        await run_blocking(lambda: self.restart(timeout))

    async def await_exit(self, timeout: float | None = None) -> int:
        """``wait`` without blocking the event loop.

        :param timeout: seconds, as for ``wait``.
        """
        return await run_blocking(lambda: self.wait(timeout))

    def signal(self, which: str | signals.Signals) -> None:
        """Sends a signal.

        ``"ldm"`` starts lame duck mode: clients are told to leave, then the server ends.

        :param which: the signal, or the name that ``nats-server --signal`` has for it.
        :raises EmbeddedError: the server does not run.
        :raises ValueError: there is no signal of that name.
        """
        if isinstance(which, str):
            try:
                which = signals.Signals[_SIGNALS[which]]
            except KeyError:
                raise ValueError(f"unknown signal {which!r}, use one of {list(_SIGNALS)}") from None
        self._require_running()
        self._process.signal(which)

    def pause(self) -> None:
        """Freezes the process (SIGSTOP): connections stay open and nothing answers.

        :raises EmbeddedError: the server does not run.
        """
        pid = self._require_running()
        self._process.signal(signals.SIGSTOP)
        # The signal is only on its way when the call returns; answers could still come.
        while self.running and os.waitid(os.P_PID, pid, _STOPPED) is None:
            time.sleep(_POLL_INTERVAL)

    def resume(self) -> None:
        """Lets a paused process go on (SIGCONT).

        :raises EmbeddedError: the server does not run.
        """
        self.signal(signals.SIGCONT)

    def reload(self, config: str | os.PathLike[str] | None = None, timeout: float = 10.0) -> None:
        """Reloads the configuration (SIGHUP), with ``config`` in place of its text if given.

        :param timeout: seconds.
        :raises EmbeddedError: the server does not run, has no configuration, rejected the new
            one, or did not finish within ``timeout`` seconds.
        """
        with self._lock:
            self._require_running()
            directory = self.directory
            if directory is None or self._config is None:
                raise EmbeddedError("the server was started without a configuration")
            if config is not None:
                replacement = Config(config)
                if self._config.path is not None or replacement.text is None:
                    raise EmbeddedError("only configuration text can be replaced, and by text")
                self._config = replacement
            self._config.materialize(directory)
            seen = len(self.log)
            self.signal("reload")
            deadline = time.monotonic() + timeout
            while True:
                news = self.log[seen:]
                if "Reloaded server configuration" in news:
                    return
                failed = "Failed to reload server configuration" in news
                if failed or not self.running or time.monotonic() >= deadline:
                    raise EmbeddedError(f"the server did not reload its configuration\n{news}")
                time.sleep(_POLL_INTERVAL)

    def _require_running(self) -> int:
        pid = self.pid
        if pid is None:
            raise EmbeddedError("the server does not run")
        return pid

    def _start(self) -> None:
        process = self._process
        executable = Path(self._executable).absolute() if self._executable else find_server()
        try:
            if process.port is None:
                process.port = PortReservation(self.host, self._port)
            process.port.hold()
        except OSError as error:
            raise ServerStartError(f"cannot use {self.host}:{self._port}: {error}") from error
        self._port = process.port.port
        if process.directory is None:
            process.directory = Path(tempfile.mkdtemp(prefix="nats-embedded-"))
        directory = process.directory
        process.port.lend()
        try:
            process.spawn(self._command(executable, directory), directory, _log_file(directory))
        except OSError as error:
            raise ServerStartError(f"cannot run {executable}: {error}") from error
        self._listeners = self._await_ready(directory)

    def _command(self, executable: Path, directory: Path) -> list[str]:
        ports = directory / "ports"
        # A killed server leaves its file behind.
        shutil.rmtree(ports, ignore_errors=True)
        ports.mkdir()
        command = [str(executable), "-a", self.host, "-p", str(self._port)]
        command += ["-l", str(_log_file(directory)), "--ports_file_dir", str(ports)]
        # Without JetStream as well: a configuration may enable it, and the server's default is a
        # directory shared by all servers of the machine.
        command += ["-sd", str(directory / "store")]
        if self.jetstream:
            command.append("-js")
        if self.name is not None:
            command += ["-n", self.name]
        if self._monitor:
            command += ["-m", "-1"]
        if self._config is not None:
            command += ["-c", str(self._config.materialize(directory))]
        return [*command, *self.args]

    def _await_ready(self, directory: Path) -> dict[str, list[str]]:
        """Waits for the file in which the server lists its addresses once it listens on them."""
        deadline = time.monotonic() + self.startup_timeout
        pid = self._require_started()
        while True:
            # The server's status comes first: its file may appear between the two looks.
            status = self._process.poll()
            listeners = _read_ports(directory / "ports", pid)
            if listeners is not None:
                return listeners
            if status is not None:
                raise ServerStartError(f"nats-server ended with status {status}", self.log)
            if time.monotonic() >= deadline:
                raise ServerStartError(
                    f"nats-server was not ready within {self.startup_timeout} s", self.log
                )
            time.sleep(_POLL_INTERVAL)

    def _require_started(self) -> int:
        assert self._process.popen is not None
        return self._process.popen.pid

    def _clean_up(self) -> None:
        self._last_log = self.log
        self._listeners = {}
        self._process.destroy()


def _log_file(directory: Path) -> Path:
    return directory / "nats-server.log"


def _read_ports(directory: Path, pid: int) -> dict[str, list[str]] | None:
    for path in directory.glob(f"*_{pid}.ports"):
        try:
            content: object = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            # Being written right now, or gone with a server that ended.
            return None
        if isinstance(content, dict):
            return cast("dict[str, list[str]]", content)
    return None
