"""The server pool by itself: no server is needed to decide which one is next."""

from __future__ import annotations

import pytest
from nats import errors
from nats.aio._pool import ServerPool
from nats.aio._servers import Srv, parse_server_option


def pool_of(*urls: str) -> ServerPool:
    pool = ServerPool()
    pool.servers.extend(parse_server_option(list(urls)))
    return pool


def hosts(servers: list[Srv]) -> list[str | None]:
    return [server.uri.hostname for server in servers]


def test_servers_take_turns() -> None:
    pool = pool_of("a", "b", "c")
    assert hosts([pool.take_next(2) for _ in range(4)]) == ["a", "b", "c", "a"]
    assert hosts(pool.servers) == ["b", "c", "a"]


def test_one_that_has_used_up_its_attempts_leaves_the_pool() -> None:
    pool = pool_of("a", "b")
    pool.servers[0].reconnects = 3
    assert pool.take_next(2).uri.hostname == "b"
    assert hosts(pool.servers) == ["b"]
    assert hosts(pool.eligible(2)) == ["b"]


def test_attempts_without_end() -> None:
    pool = pool_of("a")
    pool.servers[0].reconnects = 10**6
    assert pool.take_next(-1).uri.hostname == "a"
    assert pool.eligible(-1) == pool.servers


def test_an_empty_pool_says_what_failed() -> None:
    pool = pool_of("a")
    server = pool.current = pool.take_next(0)
    failure = ConnectionRefusedError("refused")
    pool.failed(server, failure, is_answer=False, keeps_refusing=False)
    for ask in (pool.take_next, pool.eligible):
        with pytest.raises(errors.NoServersError) as caught:
            ask(0)
        assert caught.value.failures == {"a:4222": failure}
    assert pool.current is None


@pytest.mark.parametrize("keeps_refusing", [False, True])
def test_a_server_that_refuses_the_same_credentials_again(keeps_refusing: bool) -> None:
    pool = pool_of("a", "b")
    server = pool.servers[0]
    for attempt in (1, 2):
        pool.attempts.present({"user": "u", "sig": str(attempt)})
        error = errors.AuthorizationError()
        pool.failed(server, error, is_answer=True, keeps_refusing=keeps_refusing)
        assert (server in pool.servers) is (attempt == 1 or keeps_refusing)


def test_other_credentials_are_refused_anew() -> None:
    pool = pool_of("a")
    for password in ("first", "second"):
        pool.attempts.present({"user": "u", "pass": password})
        pool.failed(
            pool.servers[0], errors.AuthorizationError(), is_answer=True, keeps_refusing=False
        )
    assert hosts(pool.servers) == ["a"]


def test_success_forgets_the_failures_of_before() -> None:
    pool = pool_of("a")
    pool.current = server = pool.take_next(60)
    pool.failed(server, OSError("x"), is_answer=False, keeps_refusing=False)
    pool.succeeded()
    assert server.reconnects == 0
    assert pool.attempts.no_servers_error().failures == {}


def test_discovery() -> None:
    pool = pool_of("a", "b")
    pool.current = pool.servers[0]
    found = pool.discover({"connect_urls": ["b:4222", "c:4222"]}, randomize=False)
    assert hosts(found) == ["c"]
    assert hosts(pool.servers) == ["a", "b", "c"]
    assert pool.discover({"connect_urls": ["c:4222"]}, randomize=False) == []
    with pytest.raises(AssertionError):
        ServerPool().discover({}, randomize=False)


def test_those_that_were_discovered_are_for_reconnecting() -> None:
    pool = pool_of("a")
    pool.current = server = pool.servers[0]
    pool.discover({"connect_urls": ["b:4222"]}, randomize=False)
    pool.failed(server, OSError("x"), is_answer=False, keeps_refusing=False)
    assert pool.is_hopeless(once=True)
    assert not pool.is_hopeless(once=False)


@pytest.mark.parametrize("amid_handshake", [False, True])
def test_replacing_the_servers(amid_handshake: bool) -> None:
    pool = pool_of("a", "b")
    pool.current = before = pool.servers[0]
    pool.servers[1].reconnects = 2
    pool.servers[1].secured = True
    pool.replace(["b", "c"], amid_handshake=amid_handshake)
    assert hosts(pool.servers) == ["b", "c"]
    assert (pool.servers[0].reconnects, pool.servers[0].secured) == (2, True)
    # Amid a handshake the server that is being talked to stays the current one.
    assert pool.current is (before if amid_handshake else pool.servers[0])
    with pytest.raises(errors.Error):
        pool.replace(["d", "nats://:bad"], amid_handshake=False)
    assert hosts(pool.servers) == ["b", "c"]


def test_a_snapshot_is_a_copy() -> None:
    pool = pool_of("a", "b")
    shown = pool.snapshot()
    shown[0].reconnects = 5
    assert pool.servers[0].reconnects == 0
    assert [server.uri.hostname for server in pool.snapshot(pool.servers[1:])] == ["b"]
