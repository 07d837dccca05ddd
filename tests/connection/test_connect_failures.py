"""Connecting that fails: how often it is tried, what is raised and what is written to the log."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path
from typing import Any

import nats
import pytest
from nats import errors
from nats.aio.client import Client
from nats.embedded import Server
from support.fake_server import FakeConnection, FakeServer
from support.jwts import Operator
from support.tls import HOSTS, local, make_certificates
from support.waiting import EAGER, Events, eventually, within

pytestmark = pytest.mark.usefixtures("driver")

USER = 'authorization { user: "joe", password: "s3cr3t" }'

# Both mean that nothing is tried twice; another attempt would come after a minute only.
ONCE: tuple[dict[str, Any], ...] = (
    {"allow_reconnect": False, "reconnect_time_wait": 60},
    {"max_reconnect_attempts": 0, "reconnect_time_wait": 60},
)
once = pytest.mark.parametrize("options", ONCE, ids=["not allowed", "no attempts"])


def url_of(port: int) -> str:
    return f"nats://127.0.0.1:{port}"


@once
async def test_a_server_that_refuses_is_tried_once(
    closed_port: int, options: dict[str, Any]
) -> None:
    events = Events()
    with pytest.raises(errors.NoServersError) as raised:
        await within(nats.connect(url_of(closed_port), **options, **events.callbacks))
    (refused,) = events.errors
    assert isinstance(refused, ConnectionRefusedError)
    assert raised.value.__cause__ is refused
    assert raised.value.failures == {f"127.0.0.1:{closed_port}": refused}
    assert str(raised.value) == (
        f"nats: no servers available for connection: 127.0.0.1:{closed_port}: {refused}"
    )


@once
async def test_a_lone_server_has_its_own_error_raised(options: dict[str, Any]) -> None:
    async with Server(config=USER) as server:
        events = Events()
        nc = Client()
        connecting = nc.connect(
            server.url, user="joe", password="wrong", **options, **events.callbacks
        )
        with pytest.raises(errors.Error, match=r"^nats: 'Authorization Violation'$") as raised:
            await within(connecting)
    assert events.errors == [raised.value]
    assert nc.last_error is raised.value


@once
async def test_each_of_several_servers_is_tried_once(
    closed_port: int, options: dict[str, Any]
) -> None:
    async with Server(config=USER) as picky:
        events = Events()
        with pytest.raises(errors.NoServersError) as raised:
            await within(
                nats.connect(
                    [url_of(closed_port), f"nats://joe:wrong@127.0.0.1:{picky.port}"],
                    dont_randomize=True,
                    **options,
                    **events.callbacks,
                )
            )
    refused, violation = events.errors
    assert raised.value.failures == {
        f"127.0.0.1:{closed_port}": refused,
        f"127.0.0.1:{picky.port}": violation,
    }
    assert raised.value.__cause__ is violation
    assert f"127.0.0.1:{picky.port}: 'Authorization Violation'" in str(raised.value)
    assert "wrong" not in str(raised.value)


@once
async def test_the_next_server_may_take_the_connection(
    closed_port: int, server: Server, options: dict[str, Any]
) -> None:
    async with Server(config=USER) as picky:
        servers = [url_of(closed_port), picky.url, server.url]
        nc = await within(nats.connect(servers, dont_randomize=True, **options))
        assert nc.connected_url is not None
        assert nc.connected_url.port == server.port
        await nc.close()


async def test_attempts_are_counted_as_in_nats_py_where_reconnecting_is_allowed(
    closed_port: int,
) -> None:
    events = Events()
    with pytest.raises(errors.NoServersError) as raised:
        await within(
            nats.connect(url_of(closed_port), max_reconnect_attempts=2, **EAGER, **events.callbacks)
        )
    assert [type(error) for error in events.errors] == [ConnectionRefusedError] * 3
    assert raised.value.__cause__ is events.errors[-1]


async def test_many_servers_make_no_endless_text() -> None:
    servers = [f"nats://no-such-host-{number}.invalid" for number in range(14)]
    with pytest.raises(errors.NoServersError, match=r"; and 4 more$") as raised:
        await within(nats.connect(servers, allow_reconnect=False), 60)
    assert len(raised.value.failures) == 14


async def test_one_line_for_each_attempt(
    closed_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "nats")
    url = f"nats://joe:s3cr3t@127.0.0.1:{closed_port}"
    with pytest.raises(errors.NoServersError):
        await within(nats.connect(url, max_reconnect_attempts=1, **EAGER))
    # A look-up of a test before, given up, may still have something to say to asyncio's logger.
    records = [record for record in caplog.records if record.name.startswith("nats")]
    lines = [(record.levelname, record.getMessage()) for record in records]
    assert len(lines) == 2
    for level, line in lines:
        assert level == "WARNING"
        assert line.startswith(f"nats: connecting to 127.0.0.1:{closed_port} failed: [Errno 111] ")
    assert "Traceback" not in caplog.text
    assert "s3cr3t" not in caplog.text


async def test_credentials_files_that_are_missing_are_told_at_once(tmp_path: Path) -> None:
    async with FakeServer(info={"nonce": "abc", "auth_required": True}) as server:
        for options in (
            {"user_credentials": tmp_path / "missing"},
            {"user_credentials": (tmp_path / "missing", tmp_path / "missing")},
            {"user_credentials": tmp_path},
            {"nkeys_seed": tmp_path / "missing"},
        ):
            with pytest.raises((FileNotFoundError, IsADirectoryError)):
                await within(nats.connect([server.url, server.url], **options))


async def test_certificates_that_no_server_has_trusted_are_told_at_once(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    config = certificates.server_config(*HOSTS)
    async with Server(config=config) as one, Server(config=config) as two:
        events = Events()
        with pytest.raises(errors.NoServersError) as raised:
            await within(nats.connect([local(one), local(two)], **events.callbacks))
        kinds = {type(error) for error in raised.value.failures.values()}
        assert kinds == {ssl.SSLCertVerificationError}
        assert len(raised.value.failures) == len(events.errors) == 2


async def test_a_server_that_can_be_waited_for_is(
    tmp_path: Path, closed_port: int, driver: str
) -> None:
    """One certificate that isn't trusted doesn't end the search while others may come up."""
    certificates = make_certificates(tmp_path)
    async with Server(config=certificates.server_config(*HOSTS)) as untrusted:
        events = Events()
        servers = [local(untrusted), url_of(closed_port)]
        connecting = asyncio.ensure_future(nats.connect(servers, **EAGER, **events.callbacks))
        for kind in (ssl.SSLCertVerificationError, ConnectionRefusedError):
            await events.wait_error(kind)
        async with Server(port=closed_port) as server:
            nc = await within(connecting)
            assert nc.connected_url is not None
            assert nc.connected_url.port == server.port
            await nc.close()


async def test_credentials_that_are_refused_twice_in_a_row() -> None:
    async with Server(config=USER) as server:
        events = Events()
        options: dict[str, Any] = {"user": "joe", "password": "wrong", **EAGER}
        with pytest.raises(errors.NoServersError, match="Authorization Violation"):
            await within(
                nats.connect(server.url, max_reconnect_attempts=-1, **options, **events.callbacks)
            )
        texts = [str(error) for error in events.errors]
        assert texts == ["nats: 'Authorization Violation'"] * 2


async def test_credentials_that_are_good_the_second_time() -> None:
    passwords = iter(["old", "s3cr3t"])
    async with Server(config=USER) as server:
        nc = await within(
            nats.connect(server.url, user="joe", password=lambda: next(passwords), **EAGER)
        )
        await within(nc.flush())
        await nc.close()


async def test_fresh_credentials_start_anew() -> None:
    passwords = iter(["old", "older", "oldest", "s3cr3t"])
    async with Server(config=USER) as server:
        events = Events()
        nc = await within(
            nats.connect(
                server.url,
                user="joe",
                password=lambda: next(passwords),
                **EAGER,
                **events.callbacks,
            )
        )
        await nc.close()
    assert len(events.errors) == 3


async def test_fresh_credentials_in_a_file(tmp_path: Path) -> None:
    """Each refusal has somebody write another file."""
    operator, events = Operator(), Events()
    stale, expired, good = (operator.user() for _ in range(3))
    file = stale.write(tmp_path / "user.creds")
    rest = iter([expired, good])

    async def error_cb(error: Exception) -> None:
        events.errors.append(error)
        next(rest).write(file)

    options = {**events.callbacks, "error_cb": error_cb}
    async with Server(config=operator.config(stale, expired)) as server:
        nc = await within(nats.connect(server.url, user_credentials=file, **EAGER, **options))
        await nc.close()
    assert len(events.errors) == 2


async def test_refusals_may_be_ignored() -> None:
    passwords = iter(["old", "old", "old", "s3cr3t"])
    async with Server(config=USER) as server:
        nc = await within(
            nats.connect(
                server.url,
                user="joe",
                password=lambda: next(passwords),
                ignore_auth_error_abort=True,
                **EAGER,
            )
        )
        await nc.close()


async def test_ignored_refusals_are_attempts() -> None:
    async with Server(config=USER) as server:
        events = Events()
        options: dict[str, Any] = {"user": "joe", "password": "wrong", **EAGER, **events.callbacks}
        with pytest.raises(errors.NoServersError):
            await within(
                nats.connect(
                    server.url, ignore_auth_error_abort=True, max_reconnect_attempts=3, **options
                )
            )
    assert len(events.errors) == 4


async def test_ignored_refusals_for_ever() -> None:
    """A callout service that is down comes back."""
    async with Server(config=USER) as server:
        events, password = Events(), "wrong"
        connecting = asyncio.ensure_future(
            nats.connect(
                server.url,
                user="joe",
                password=lambda: password,
                ignore_auth_error_abort=True,
                max_reconnect_attempts=-1,
                reconnect_time_wait=0.01,
                **events.callbacks,
            )
        )
        await eventually(lambda: len(events.errors) >= 5)
        password = "s3cr3t"
        nc = await within(connecting)
        await nc.close()


async def test_two_servers_may_refuse_once_each() -> None:
    """Each is asked a second time, and one of them then agrees."""

    async def handler(client: FakeConnection) -> None:
        await client.send_info(auth_required=True)
        await client.expect(b"CONNECT ")
        if client.index == 0:
            await client.write(b"-ERR 'Authorization Violation'\r\n")
            return
        await client.expect(b"PING")
        await client.write(b"PONG\r\n")
        await client.serve()

    async with FakeServer(handler) as one, FakeServer(handler) as two:
        events = Events()
        nc = await within(nats.connect([one.url, two.url], token="t", **EAGER, **events.callbacks))
        assert len(events.errors) == 2
        await nc.close()


@pytest.mark.parametrize("kind", [OSError, errors.Error, asyncio.TimeoutError, KeyError])
async def test_what_error_cb_raises_is_raised(
    server: Server, closed_port: int, kind: type[Exception]
) -> None:
    """It is no failure of a server."""
    told: list[Exception] = []

    async def error_cb(error: Exception) -> None:
        told.append(error)
        raise kind("my own")

    with pytest.raises(kind, match="my own"):
        await within(
            nats.connect(
                [url_of(closed_port), server.url], error_cb=error_cb, dont_randomize=True, **EAGER
            )
        )
    assert [type(error) for error in told] == [ConnectionRefusedError]
