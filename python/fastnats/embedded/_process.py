"""What one embedded server takes from the operating system, and how it is given back."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

from ._ports import PortReservation

# Ends the server and removes its files when this process goes away without doing so itself
# (SIGKILL, os._exit, a fatal signal): its end of the pipe closes, and `read` fails.
_GUARD = 'read -r _ || { kill -9 "$1"; rm -rf -- "$2"; }'


class ServerProcess:
    """The process, its guard, port and directory.

    Refers to nothing that refers back to the public object, so that a finalizer can own it.
    """

    def __init__(self) -> None:
        self.popen: subprocess.Popen[bytes] | None = None
        self.directory: Path | None = None
        self.port: PortReservation | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._guard_lock = threading.Lock()
        self._owner = os.getpid()

    def spawn(self, command: Sequence[str], directory: Path, log: Path) -> None:
        """Starts the program, with its output appended to ``log``.

        :raises OSError: the program cannot be run.
        """
        self.poll()
        with open(log, "ab") as output:
            self.popen = subprocess.Popen(
                command,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C is for the program that uses the server, which may still want to drain.
                start_new_session=True,
            )
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "sh", str(self.popen.pid), str(directory)],
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def poll(self) -> int | None:
        """Returns the exit status, ``None`` while the process runs or if there was none."""
        if self.popen is None:
            return None
        status = self.popen.poll()
        if status is not None:
            self._dismiss_guard()
        return status

    def wait(self, timeout: float | None) -> int:
        """Waits up to ``timeout`` seconds for the process to end; returns its exit status.

        :raises TimeoutError: it still runs.
        """
        if self.popen is None:
            raise ValueError("no process")
        try:
            status = self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"nats-server still runs after {timeout} s") from None
        self._dismiss_guard()
        return status

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal; a process that has ended gets none."""
        if self.popen is not None and self.poll() is None:
            self.popen.send_signal(number)

    def terminate(self, timeout: float) -> None:
        """Shuts the server down in an orderly way, or kills it after ``timeout`` seconds."""
        if self.poll() is not None or self.popen is None:
            return
        self.signal(signal.SIGTERM)
        # A paused server would not see the first signal.
        self.signal(signal.SIGCONT)
        try:
            self.wait(timeout)
        except TimeoutError:
            self.kill()

    def kill(self) -> None:
        """Ends the process at once."""
        if self.popen is not None:
            self.signal(signal.SIGKILL)
            self.wait(None)

    def destroy(self) -> None:
        """Ends the process at once and gives everything back. May be called again."""
        # After a fork all of this still belongs to the parent.
        if os.getpid() != self._owner:
            return
        self.kill()
        if self.port is not None:
            self.port.release()
        if self.directory is not None:
            shutil.rmtree(self.directory, ignore_errors=True)
            self.directory = None

    def _dismiss_guard(self) -> None:
        # At once when the process is reaped: from then on its id may belong to another one.
        with self._guard_lock:
            guard, self._guard = self._guard, None
        if guard is None:
            return
        assert guard.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            guard.stdin.write(b"\n")
            guard.stdin.flush()
        with contextlib.suppress(BrokenPipeError):
            guard.stdin.close()
        guard.wait()
