"""Servers reached over plain TCP, TLS or WebSocket, for tests of what all have in common."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from nats.embedded import Server

from support.tls import HOSTS, local, make_certificates
from support.ws_server import PLAIN, url_of

CARRIERS = ["tcp", "tls", "ws"]


@contextlib.asynccontextmanager
async def carrier(way: str, directory: Path) -> AsyncIterator[tuple[Server, str, dict[str, Any]]]:
    """A server, the URL under which it is reached in this way, and connect options for that.

    Args:
        way: One of ``CARRIERS``.
        directory: Where certificates may be written.
    """
    if way == "tls":
        certificates = make_certificates(directory)
        async with Server(config=certificates.server_config(*HOSTS)) as server:
            yield server, local(server), {"tls": certificates.context()}
    elif way == "ws":
        async with Server(config=PLAIN) as server:
            yield server, url_of(server), {}
    else:
        async with Server() as server:
            yield server, server.url, {}
