"""Ports that stay with one server, whether it is up or down."""

from __future__ import annotations

import socket
import sys


class PortReservation:
    """A TCP port that nobody else is given while the reservation is held.

    The port is bound but not listened on. Linux then refuses connections to it, never hands it to
    another program, and still lets a server that sets SO_REUSEADDR (as Go's do) listen on it. A
    server that is down for a while therefore finds its port free when it comes back.
    """

    def __init__(self, host: str, port: int = 0) -> None:
        """Reserves ``port`` of ``host``, or any free one for 0.

        :raises OSError: the port is in use, or the host is not an address of this machine.
        """
        self.host = host
        self.port = port
        self._socket: socket.socket | None = None
        self.hold()

    def hold(self) -> None:
        """Takes the port, unless it is held already."""
        if self._socket is not None:
            return
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((self.host, self.port))
            self.port = int(sock.getsockname()[1])
        except BaseException:
            sock.close()
            raise
        self._socket = sock

    def lend(self) -> None:
        """Makes way for the server that is about to listen on the port."""
        # Elsewhere a bound socket keeps others from listening even with SO_REUSEADDR.
        if sys.platform != "linux":
            self.release()

    def release(self) -> None:
        """Gives the port back to the system."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
