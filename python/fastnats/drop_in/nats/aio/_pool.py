"""The servers that a client may connect to: which one next, and which are given up."""

from __future__ import annotations

import time
from collections.abc import Iterable
from random import shuffle
from typing import Any, Optional

from ._attempts import Attempts
from ._servers import Server, Srv, discovered_servers, parse_server_uri


class ServerPool:
    """The servers in the order in which they are tried, and the current one."""

    def __init__(self) -> None:
        self.servers: list[Srv] = []
        self.current: Optional[Srv] = None
        self.attempts = Attempts()

    def shuffle(self) -> None:
        """Has clients with the same list of servers spread over them."""
        shuffle(self.servers)

    def snapshot(self, servers: Optional[Iterable[Srv]] = None) -> list[Server]:
        """The servers as applications see them; all of the pool by default."""
        chosen = self.servers if servers is None else servers
        return [Server(uri=server.uri, reconnects=server.reconnects) for server in chosen]

    def has_credentials(self) -> bool:
        """Whether a URL holds a user or a password."""
        return any(server.uri.username or server.uri.password for server in self.servers)

    def discover(self, info: dict[str, Any], *, randomize: bool) -> list[Srv]:
        """Adds the servers that an INFO of the current server tells of.

        :param randomize: in any order.
        :returns: those that weren't in the pool.
        """
        assert self.current, "Client.connect must be called first"
        found = discovered_servers(info, self.current, self.servers, randomize=randomize)
        self.servers.extend(found)
        return found

    def replace(self, urls: Iterable[str], *, amid_handshake: bool) -> None:
        """Puts other servers in the place of all. Those that stay keep their attempt counts.

        :param amid_handshake: a connection to the current server is being set up.
        :raises nats.errors.Error: a URL can't be used; the pool stays as it was.
        """
        old = {server.uri.netloc: server for server in reversed(self.servers)}
        servers: list[Srv] = []
        for url in urls:
            server = Srv(parse_server_uri(url))
            known = old.get(server.uri.netloc)
            if known is not None:
                server.reconnects = known.reconnects
                server.did_connect = known.did_connect
                server.last_attempt = known.last_attempt
                server.tls_name = known.tls_name
                server.secured = known.secured
            servers.append(server)
        self.servers = servers
        current = self.current
        if current is not None and servers:
            same = (server for server in servers if server.uri.netloc == current.uri.netloc)
            # Amid a handshake another server's credentials would be sent.
            self.current = next(same, current if amid_handshake else servers[0])

    def take_next(self, max_attempts: float) -> Srv:
        """Returns the next server to try, and puts it at the end. Those that have used up their
        attempts leave the pool.

        :param max_attempts: attempts per server; negative for endless.
        :raises nats.errors.NoServersError: there is none left.
        """
        while self.servers:
            server = self.servers.pop(0)
            if not _is_used_up(server, max_attempts):
                self.servers.append(server)
                return server
        self.current = None
        raise self.attempts.no_servers_error()

    def eligible(self, max_attempts: float) -> list[Srv]:
        """The servers that haven't used up their attempts.

        :param max_attempts: attempts per server; negative for endless.
        :raises nats.errors.NoServersError: there is none.
        """
        eligible = [server for server in self.servers if not _is_used_up(server, max_attempts)]
        if not eligible:
            raise self.attempts.no_servers_error()
        return eligible

    def succeeded(self) -> None:
        """The current server has accepted the connection."""
        assert self.current
        self.current.reconnects = 0
        self.attempts.succeeded(self.current)

    def failed(
        self, server: Srv, error: Exception, *, is_answer: bool, keeps_refusing: bool
    ) -> None:
        """Counts a failed attempt. A server that refuses the same credentials again is given up.

        :param is_answer: the server was reached.
        :param keeps_refusing: one that refuses them again is not given up.
        """
        server.last_attempt = time.monotonic()
        server.reconnects += 1
        self.attempts.note(server, error, is_answer)
        is_refused_again = self.attempts.is_refused_again(server, error)
        if is_refused_again and not keeps_refusing and server in self.servers:
            self.servers.remove(server)

    def is_hopeless(self, *, once: bool) -> bool:
        """Whether no server is worth another attempt, though there are some.

        :param once: each server is tried once; those that another one has told of are for
            reconnecting then.
        """
        servers = [server for server in self.servers if not (once and server.discovered)]
        return self.attempts.are_over(servers, once)


def _is_used_up(server: Srv, max_attempts: float) -> bool:
    return 0 <= max_attempts < server.reconnects
