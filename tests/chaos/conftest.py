"""Each of these tests runs on both loops and both drivers, but not on each pair of them."""

from __future__ import annotations

import zlib

import pytest

DRIVERS = ("tokio", "asyncio")


def on_uvloop(request: pytest.FixtureRequest) -> bool:
    return "uvloop" in request.node.name


@pytest.fixture
def driver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """One driver on asyncio and the other on uvloop, half of the tests the other way round."""
    from nats.aio.client import Client

    turn = zlib.crc32(request.node.originalname.encode()) + on_uvloop(request)
    name = DRIVERS[turn % 2]
    monkeypatch.setattr(Client, "_driver", name)
    return name


@pytest.fixture
def half(request: pytest.FixtureRequest) -> slice:
    """Every second of a list of cases: one half on asyncio, the other on uvloop."""
    return slice(int(on_uvloop(request)), None, 2)
