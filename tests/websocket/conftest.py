"""Fixtures for the tests of WebSocket connections."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from nats.embedded import Server
from support.ws_server import PLAIN


@pytest.fixture
def plain() -> Iterator[Server]:
    """A server that speaks WebSocket without TLS, on a port of its own."""
    with Server(config=PLAIN) as server:
        yield server
