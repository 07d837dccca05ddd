"""What is known of servers that a cluster has told of."""

from __future__ import annotations

from typing import Any

import pytest
from nats.aio._servers import Srv, discovered_servers, parse_server_uri


def discover(current: Srv, *urls: str) -> dict[str, Srv]:
    info: dict[str, Any] = {"connect_urls": list(urls)}
    found = discovered_servers(info, current, [current], randomize=False)
    return {server.uri.netloc: server for server in found}


def test_addresses_are_verified_by_the_name_that_was_asked_for() -> None:
    current = Srv(parse_server_uri("tls://a.example:4222"), secured=True)
    found = discover(current, "10.0.0.2:4222", "[fd00::2]:4222", "b.example:4222")
    names = {netloc: server.tls_name for netloc, server in found.items()}
    assert names == {
        "10.0.0.2:4222": "a.example",
        "[fd00::2]:4222": "a.example",
        "b.example:4222": None,
    }
    assert all(server.secured and server.discovered for server in found.values())
    assert {server.uri.scheme for server in found.values()} == {"tls"}


def test_the_name_is_passed_on() -> None:
    first = Srv(parse_server_uri("nats://a.example:4222"), secured=True)
    second = discover(first, "10.0.0.2:4222")["10.0.0.2:4222"]
    third = discover(second, "10.0.0.3:4222")["10.0.0.3:4222"]
    assert third.tls_name == "a.example"
    assert third.uri.scheme == "nats"


def test_an_address_is_no_name_for_another() -> None:
    current = Srv(parse_server_uri("tls://10.0.0.1:4222"), secured=True)
    assert discover(current, "10.0.0.2:4222")["10.0.0.2:4222"].tls_name is None


def test_without_tls_there_is_no_name() -> None:
    current = Srv(parse_server_uri("nats://a.example:4222"))
    found = discover(current, "10.0.0.2:4222")["10.0.0.2:4222"]
    assert found.tls_name is None
    assert not found.secured


@pytest.mark.parametrize(
    ("url", "netloc"),
    [
        ("nats://joe:s3cr3t@a.example:1", "***@a.example:1"),
        ("nats://t0k3n@a.example:1", "***@a.example:1"),
        ("nats://:s3cr3t@a.example", "***@a.example:4222"),
        ("joe:s3cr3t@a.example:1", "***@a.example:1"),
        ("nats://a.example:1", "a.example:1"),
    ],
)
def test_urls_hide_credentials_when_shown(url: str, netloc: str) -> None:
    uri = parse_server_uri(url)
    shown = repr(Srv(uri))
    assert f"ParseResult(scheme='nats', netloc='{netloc}', path=''" in shown
    assert "s3cr3t" not in shown
    assert "t0k3n" not in shown
    assert (
        uri.geturl().rpartition("@")[0]
        == f"nats://{url}".replace("nats://nats://", "nats://").rpartition("@")[0]
    )
