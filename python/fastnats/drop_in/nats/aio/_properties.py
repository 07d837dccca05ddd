"""What a client tells about itself and its servers."""

from __future__ import annotations

import ssl
from typing import Any, Optional, Union
from urllib.parse import ParseResult

from nats import errors
from nats._core import Connection

from ._link.tls import context_of
from ._servers import Server, ServerVersion
from ._session import Session
from ._unconnected import Unconnected


class ClientProperties:
    """The properties of a client, and its server pool. The state is the owners'."""

    options: dict[str, Any]
    _core: Union[Connection, Unconnected]
    _fastnats: Session

    @property
    def is_closed(self) -> bool:
        """Closed for good."""
        return self._fastnats.is_closed

    @property
    def is_reconnecting(self) -> bool:
        """Disconnected, and trying to change that."""
        return self._fastnats.is_reconnecting

    @property
    def is_connected(self) -> bool:
        """Connected, draining or not."""
        return self._fastnats.is_connected

    @property
    def is_connecting(self) -> bool:
        """A connection is being set up."""
        return self._fastnats.is_connecting

    @property
    def is_draining(self) -> bool:
        """:meth:`Client.drain` is under way."""
        return self._fastnats.closing.drains and not self.is_closed

    @property
    def is_draining_pubs(self) -> bool:
        """The subscriptions are drained; publishing isn't possible any more."""
        return self._fastnats.is_draining_pubs

    @property
    def connected_url(self) -> Optional[ParseResult]:
        """URL of the server connected to; ``None`` while there is none."""
        if self._fastnats.pool.current and self.is_connected:
            return self._fastnats.pool.current.uri
        return None

    @property
    def servers(self) -> list[ParseResult]:
        """URLs of the pool."""
        return [server.uri for server in self._fastnats.pool.servers]

    @property
    def discovered_servers(self) -> list[ParseResult]:
        """URLs of the pool that the cluster has told of."""
        return [server.uri for server in self._fastnats.pool.servers if server.discovered]

    @property
    def server_pool(self) -> list[Server]:
        """A copy of the pool."""
        return self._fastnats.pool.snapshot()

    def set_server_pool(self, servers: list[str]) -> None:
        """Replaces the pool by ``servers``; used from the next reconnect attempt on.

        Servers that stay keep their attempt counts.

        :param servers: URLs, as ``connect()`` takes them.
        :raises nats.errors.ConnectionClosedError: the client is closed.
        :raises nats.errors.Error: a URL can't be used; the pool stays as it was.
        """
        if self.is_closed:
            raise self._core.closed_error()
        self._fastnats.pool.replace(servers, amid_handshake=self.is_connecting)

    @property
    def stats(self) -> dict[str, int]:
        """Counters: ``in_msgs``, ``out_msgs``, ``in_bytes``, ``out_bytes`` (payload bytes),
        ``reconnects``, ``errors_received``. One dict, brought up to date on each access."""
        stats = self._fastnats.stats
        stats.add(self._core.counters())
        return stats.counters

    @property
    def max_payload(self) -> int:
        """Bytes that the server accepts in one payload."""
        return self._core.max_payload

    @property
    def client_id(self) -> Optional[int]:
        """The server's number for this connection."""
        return self._fastnats.server_info.get("client_id")

    @property
    def client_ip(self) -> Optional[str]:
        """Our address as the server sees it."""
        return self._fastnats.server_info.get("client_ip")

    @property
    def last_error(self) -> Optional[Exception]:
        """The last error of the connection."""
        return self._fastnats.last_error

    @property
    def pending_data_size(self) -> int:
        """Bytes of output that haven't been written to the socket."""
        return self._core.pending_size

    @property
    def connected_server_version(self) -> ServerVersion:
        """Version of the server connected to; ``0.0.0-unknown`` before the first."""
        server = self._fastnats.pool.current
        # `set_server_pool` replaces what is known of the server, the connection stays.
        version = server and (server.server_version or self._fastnats.server_info.get("version"))
        return ServerVersion(version or "0.0.0-unknown")

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """The TLS context of this client, a default one if none was given.

        :raises nats.errors.Error: the option ``tls`` is there, and ``None``.
        :raises OSError: the CA bundle that was given can't be read any more.
        """
        tls = self.options["tls"] if "tls" in self.options else ssl.create_default_context()
        if tls is None:
            raise errors.Error("nats: no ssl context provided")
        return context_of(tls)
