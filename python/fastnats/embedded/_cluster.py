"""A cluster of embedded servers."""

from __future__ import annotations

import http.client
import json
import os
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from ._errors import EmbeddedError, ServerStartError
from ._ports import PortReservation
from ._server import Server
from ._startable import Startable
from ._threads import run_blocking

_Cluster = TypeVar("_Cluster", bound="Cluster")

_HOST = "127.0.0.1"
_POLL_INTERVAL = 0.02
_HTTP_TIMEOUT = 2.0


class Cluster(Startable):
    """Several nats-servers with routes between all of them.

    Used like ``Server``: as a context manager of either kind, or by ``start``/``stop`` and
    ``astart``/``astop``. Each of ``servers`` can be killed and started again, on the same ports;
    ``wait_ready`` then waits until the cluster is whole.
    """

    def __init__(
        self,
        size: int = 3,
        jetstream: bool = False,
        *,
        config: str | os.PathLike[str] | None = None,
        name: str = "embedded",
        args: Sequence[str] = (),
        executable: str | os.PathLike[str] | None = None,
        startup_timeout: float = 60.0,
    ) -> None:
        """Describes a cluster; nothing is started yet.

        :param size: how many servers.
        :param jetstream: enable JetStream; replicas need a majority of the servers.
        :param config: configuration for every server, as for ``Server``.
        :param name: the cluster's name; the servers are called ``NAME-0``, ``NAME-1``, ...
        :param args: more command-line arguments for every server.
        :param executable: as for ``Server``.
        :param startup_timeout: seconds until all servers run and know each other.
        :raises ValueError: ``size`` is not positive.
        """
        if size < 1:
            raise ValueError("a cluster has at least one server")
        self.size = size
        self.name = name
        self.jetstream = jetstream
        self.startup_timeout = startup_timeout
        self._config = config
        self._args = tuple(args)
        self._executable = executable
        self._servers: list[Server] = []
        self._routes: list[PortReservation] = []
        self._finalizer = weakref.finalize(self, _release, self._routes)

    @property
    def servers(self) -> list[Server]:
        """The servers, from the start until ``stop``."""
        return list(self._servers)

    @property
    def urls(self) -> list[str]:
        """The URLs that clients connect to, one for each server."""
        return [server.url for server in self._servers]

    @property
    def url(self) -> str:
        """The first server's URL.

        :raises EmbeddedError: the cluster was not started.
        """
        if not self._servers:
            raise EmbeddedError("the cluster was not started")
        return self._servers[0].url

    def start(self: _Cluster) -> _Cluster:
        """Starts all servers and waits until they form a cluster. A started one is left alone.

        :raises ServerNotFoundError: no nats-server program is installed.
        :raises ServerStartError: a server did not start, or the cluster did not form within
            ``startup_timeout`` seconds.
        """
        if self._servers:
            return self
        try:
            self._start()
        except BaseException:
            self.stop(timeout=0)
            raise
        return self

    def stop(self, timeout: float = 10.0) -> None:
        """Stops all servers, each within ``timeout`` seconds, and removes their files."""
        try:
            for server in self._servers:
                server.stop(timeout)
        finally:
            self._servers.clear()
            _release(self._routes)

    def wait_ready(self, timeout: float | None = None) -> None:
        """Waits until the running servers are connected to each other.

        With JetStream, they also have a leader that finds all of them up to date.

        :param timeout: seconds; ``startup_timeout`` by default.
        :raises ServerStartError: it took longer; the message has the servers' logs.
        """
        limit = self.startup_timeout if timeout is None else timeout
        deadline = time.monotonic() + limit
        checks: list[Callable[[], bool]] = [self._has_routes]
        if self.jetstream:
            checks.append(self._has_leader)
        for check in checks:
            while not check():
                if time.monotonic() >= deadline:
                    logs = "\n".join(f"{server!r}\n{server.log}" for server in self._servers)
                    raise ServerStartError(f"the cluster did not form within {limit} s", logs)
                time.sleep(_POLL_INTERVAL)

    async def await_ready(self, timeout: float | None = None) -> None:
        """``wait_ready`` without blocking the event loop.

        :param timeout: seconds, as for ``wait_ready``.
        """
        await run_blocking(lambda: self.wait_ready(timeout))

    def _start(self) -> None:
        # All route ports are known before the first start, as JetStream derives the size of its
        # quorum from the routes a server is configured with.
        self._routes.extend(PortReservation(_HOST) for _ in range(self.size))
        urls = [f"nats://{_HOST}:{route.port}" for route in self._routes]
        for index in range(self.size):
            others = [url for other, url in enumerate(urls) if other != index]
            arguments: list[str] = []
            # JetStream refuses to run in a cluster without routes.
            if others:
                arguments += ["--cluster", urls[index], "--cluster_name", self.name]
                arguments += ["--routes", ",".join(others)]
            self._servers.append(
                Server(
                    self.jetstream,
                    self._config,
                    host=_HOST,
                    name=f"{self.name}-{index}",
                    args=(*arguments, *self._args),
                    monitor=True,
                    executable=self._executable,
                    startup_timeout=self.startup_timeout,
                )
            )
        for route, server in zip(self._routes, self._servers, strict=True):
            route.lend()
            server.start()
        self.wait_ready()

    def _has_routes(self) -> bool:
        running = [server for server in self._servers if server.running]
        for server in running:
            cluster = _fetch(server, "/varz").get("cluster", {})
            routes: list[dict[str, Any]] = _fetch(server, "/routez").get("routes") or []
            # Accounts are spread over a pool of connections; each must be there.
            pool = max(1, cluster.get("pool_size", 1))
            for other in running:
                count = sum(route.get("remote_name") == other.name for route in routes)
                if other is not server and count < pool:
                    return False
        return True

    def _has_leader(self) -> bool:
        if self.size == 1:
            return True
        running = [server for server in self._servers if server.running]
        names = {str(server.name) for server in running}
        leaders: set[object] = set()
        up_to_date: set[object] = set()
        for server in running:
            meta: dict[str, Any] = _fetch(server, "/jsz").get("meta_cluster") or {}
            leaders.add(meta.get("leader"))
            if meta.get("leader") == server.name:
                peers: list[dict[str, Any]] = meta.get("replicas") or []
                up_to_date = {peer.get("name") for peer in peers if _is_current(peer)}
        # The servers must agree: one that was just started may not have heard of the leader yet.
        return len(leaders) == 1 and leaders <= names and names - up_to_date == leaders


def _is_current(peer: dict[str, Any]) -> bool:
    return bool(peer.get("current")) and not peer.get("offline")


def _fetch(server: Server, path: str) -> dict[str, Any]:
    """Returns a monitoring endpoint's answer, empty if there is none at the moment."""
    address = urlsplit(server.monitor_url or "")
    if address.hostname is None:
        return {}
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=_HTTP_TIMEOUT)
    try:
        connection.request("GET", path)
        content: object = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError):
        return {}
    finally:
        connection.close()
    return cast("dict[str, Any]", content) if isinstance(content, dict) else {}


def _release(routes: list[PortReservation]) -> None:
    for route in routes:
        route.release()
    routes.clear()
