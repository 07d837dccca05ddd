"""What a client tells about itself and its servers."""

from __future__ import annotations

import ssl
from typing import Optional
from urllib.parse import ParseResult

from nats import errors

from ._connecting import Connecting
from ._link.tls import context_of
from ._servers import Server, ServerVersion, Srv, parse_server_uri


class ClientState(Connecting):
    """The properties of a client, and its server pool."""

    @property
    def connected_url(self) -> Optional[ParseResult]:
        """URL of the server connected to; ``None`` while there is none."""
        if self._current_server and self.is_connected:
            return self._current_server.uri
        return None

    @property
    def servers(self) -> list[ParseResult]:
        """URLs of the pool."""
        return [server.uri for server in self._server_pool]

    @property
    def discovered_servers(self) -> list[ParseResult]:
        """URLs of the pool that the cluster has told of."""
        return [server.uri for server in self._server_pool if server.discovered]

    @property
    def server_pool(self) -> list[Server]:
        """A copy of the pool."""
        return [Server(uri=srv.uri, reconnects=srv.reconnects) for srv in self._server_pool]

    def set_server_pool(self, servers: list[str]) -> None:
        """Replaces the pool; used from the next reconnect attempt on.

        Servers that stay keep their attempt counts.

        :raises nats.errors.ConnectionClosedError: the client is closed.
        :raises nats.errors.Error: a URL can't be used; the pool stays as it was.
        """
        if self.is_closed:
            raise self._core.closed_error()
        old = {server.uri.netloc: server for server in reversed(self._server_pool)}
        pool: list[Srv] = []
        for url in servers:
            server = Srv(parse_server_uri(url))
            known = old.get(server.uri.netloc)
            if known is not None:
                server.reconnects = known.reconnects
                server.did_connect = known.did_connect
                server.last_attempt = known.last_attempt
                server.tls_name = known.tls_name
                server.secured = known.secured
            pool.append(server)
        self._server_pool = pool
        current = self._current_server
        if current is not None and pool:
            same = (server for server in pool if server.uri.netloc == current.uri.netloc)
            # Amid a handshake another server's credentials would be sent.
            self._current_server = next(same, current if self.is_connecting else pool[0])

    @property
    def stats(self) -> dict[str, int]:
        """Counters: ``in_msgs``, ``out_msgs``, ``in_bytes``, ``out_bytes`` (payload bytes),
        ``reconnects``, ``errors_received``. One dict, brought up to date on each access."""
        self._stats.add(self._core.counters())
        return self._stats.counters

    @property
    def max_payload(self) -> int:
        """Bytes that the server accepts in one payload."""
        return self._core.max_payload

    @property
    def client_id(self) -> Optional[int]:
        """The server's number for this connection."""
        return self._server_info.get("client_id")

    @property
    def client_ip(self) -> Optional[str]:
        """Our address as the server sees it."""
        return self._server_info.get("client_ip")

    @property
    def last_error(self) -> Optional[Exception]:
        """The last error of the connection."""
        return self._err

    @property
    def pending_data_size(self) -> int:
        """Bytes of output that haven't been written to the socket."""
        return self._core.pending_size

    @property
    def connected_server_version(self) -> ServerVersion:
        """Version of the server connected to; ``0.0.0-unknown`` before the first."""
        server = self._current_server
        # `set_server_pool` replaces what is known of the server, the connection stays.
        version = server and (server.server_version or self._server_info.get("version"))
        return ServerVersion(version or "0.0.0-unknown")

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """The TLS context of this client, a default one if none was given."""
        tls = self.options["tls"] if "tls" in self.options else ssl.create_default_context()
        if tls is None:
            raise errors.Error("nats: no ssl context provided")
        return context_of(tls)
