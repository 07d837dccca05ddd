"""WebSocket connections through an HTTP proxy, of the environment or given."""

from __future__ import annotations

import asyncio
import base64
import logging
from typing import Any
from urllib.parse import ParseResult, urlparse

import nats
import pytest
from nats import errors
from nats.aio._link.http_proxy import proxy_of
from nats.embedded import Server
from support.connecting import Connect
from support.http_proxy import HttpProxy
from support.tls import Certificates, round_trip
from support.waiting import EAGER, Events, within
from support.ws_server import secure, secure_url_of, url_of

pytestmark = pytest.mark.usefixtures("driver")

NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ws_proxy", "wss_proxy")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Without any proxy."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


def elsewhere(server: Server) -> str:
    """The server's URL under a name that only the proxy knows."""
    return url_of(server, host="nats.example")


@pytest.mark.parametrize("how", ["option", "without scheme", "HTTP_PROXY", "all_proxy", "WS_PROXY"])
async def test_a_plain_connection(
    plain: Server, connect: Connect, environment: pytest.MonkeyPatch, how: str
) -> None:
    async with HttpProxy() as proxy:
        options: dict[str, Any] = {}
        if how == "option":
            options["ws_proxy"] = proxy.url
        elif how == "without scheme":
            options["ws_proxy"] = proxy.url.partition("://")[2]
        else:
            environment.setenv(how, proxy.url)
        nc = await connect(elsewhere(plain), **options)
        await round_trip(nc)
        await round_trip(nc, bytes(500_000))
        (request,) = proxy.requests
        target = elsewhere(plain).partition("://")[2].encode()
        assert request == b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (target, target)
        await nc.close()


@pytest.mark.parametrize("how", ["option", "https_proxy"])
async def test_a_secure_connection(
    certificates: Certificates, connect: Connect, environment: pytest.MonkeyPatch, how: str
) -> None:
    """The proxy carries TLS between the server and us, whose certificate is verified."""
    async with Server(config=secure(certificates, "nats.example")) as server, HttpProxy() as proxy:
        url = secure_url_of(server, "nats.example")
        options: dict[str, Any] = {"ws_proxy": proxy.url} if how == "option" else {}
        if how != "option":
            environment.setenv(how, proxy.url)
        nc = await connect(url, tls=certificates.context(), **options)
        await round_trip(nc, bytes(500_000))
        assert proxy.requests[0].startswith(b"CONNECT nats.example:")
        with pytest.raises(OSError, match="certificate verify failed"):
            await within(nats.connect(url, allow_reconnect=False, **options))
        await nc.close()


async def test_reconnecting_goes_through_it_again(plain: Server, connect: Connect) -> None:
    events = Events()
    async with HttpProxy() as proxy:
        options: dict[str, Any] = {**events.callbacks, **EAGER}
        nc = await connect(url_of(plain), ws_proxy=proxy.url, **options)
        await nc.force_reconnect()
        await events.wait("reconnected")
        await round_trip(nc)
        assert len(proxy.requests) == 2
        await nc.close()


async def test_user_and_password(plain: Server, connect: Connect) -> None:
    async with HttpProxy() as proxy:
        given = proxy.url.replace("://", "://jo%40e:s%3Acret@")
        nc = await connect(url_of(plain), ws_proxy=given)
        credentials = base64.b64encode(b"jo@e:s:cret")
        assert b"\r\nProxy-Authorization: Basic %b\r\n" % credentials in proxy.requests[0]
        assert "cret" not in repr(nc.options)
        await nc.close()


def environments_proxy(url: str) -> ParseResult | None:
    uri = urlparse(url)
    return proxy_of(uri, uri.port or 80, None)


def test_no_proxy(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    environment.setenv("NO_PROXY", "example.org,nats.example:90")
    assert environments_proxy("ws://nats.example:80") == urlparse("http://127.0.0.1:1")
    assert environments_proxy("ws://nats.example:90") is None
    assert environments_proxy("ws://nats.example.org:80") is None
    assert proxy_of(urlparse("ws://nats.example:80"), 80, "") is None


async def test_tcp_takes_none(
    plain: Server, connect: Connect, environment: pytest.MonkeyPatch
) -> None:
    async with HttpProxy() as proxy:
        environment.setenv("HTTP_PROXY", proxy.url)
        environment.setenv("ALL_PROXY", proxy.url)
        await round_trip(await connect(plain.url, ws_proxy=proxy.url))
        assert proxy.requests == []


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_this_machine_takes_none_of_the_environment(
    plain: Server, connect: Connect, environment: pytest.MonkeyPatch, host: str
) -> None:
    async with HttpProxy() as proxy:
        for name in ("http_proxy", "ALL_PROXY", "WS_PROXY"):
            environment.setenv(name, proxy.url)
        await round_trip(await connect(url_of(plain, host=host)))
        assert proxy.requests == []
        await round_trip(await connect(url_of(plain), ws_proxy=proxy.url))
        assert len(proxy.requests) == 1


def test_what_this_machine_is(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    for host in ("127.9.9.9", "[::1]", "localhost", "LocalHost."):
        assert environments_proxy(f"ws://{host}:80") is None
    for host in ("128.0.0.1", "[2001:db8::1]", "localhost.example", "nats.example"):
        assert environments_proxy(f"ws://{host}:80") is not None


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407 Proxy Auth"),
        (b"HTTP/1.0 403 Forbidden\r\nA: b\r\n\r\n<html>", "403 Forbidden"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "doesn't speak HTTP"),
        (b"x" * 100_000, "no end"),
        (b"HTTP/1.1 200 OK\r\n\r\nINFO {}\r\n", "more than an answer"),
        (b"", "closed the connection"),
    ],
    ids=["407", "403", "no HTTP", "endless", "more", "end"],
)
async def test_a_proxy_that_refuses(plain: Server, answer: bytes, text: str) -> None:
    async with HttpProxy(answer) as proxy:
        with pytest.raises(errors.NoServersError, match=text) as raised:
            await within(nats.connect(url_of(plain), ws_proxy=proxy.url, allow_reconnect=False))
        assert f"proxy 127.0.0.1:{proxy.port}" in str(raised.value)


async def test_a_proxy_that_is_not_there(plain: Server, closed_port: int) -> None:
    proxy = f"http://joe:s3cr3t@127.0.0.1:{closed_port}"
    with pytest.raises(errors.NoServersError, match=f"proxy 127.0.0.1:{closed_port}: ") as raised:
        await within(nats.connect(url_of(plain), ws_proxy=proxy, allow_reconnect=False))
    assert isinstance(raised.value.__cause__, ConnectionRefusedError)
    assert "s3cr3t" not in str(raised.value)


async def test_a_proxy_that_says_nothing(plain: Server) -> None:
    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        writer.close()

    silent = await asyncio.start_server(hold, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}"
    with pytest.raises(errors.NoServersError, match="timed out"):
        await within(
            nats.connect(url_of(plain), ws_proxy=url, allow_reconnect=False, connect_timeout=0.2)
        )
    silent.close()


@pytest.mark.parametrize("bad", ["socks5://127.0.0.1:1080", "https://127.0.0.1", "http://", "a:b"])
async def test_what_is_no_proxy(plain: Server, bad: str) -> None:
    with pytest.raises(ValueError, match=r"ws_proxy|[Pp]ort"):
        await within(nats.connect(url_of(plain), ws_proxy=bad))


def test_another_kind_of_proxy_in_the_environment(
    environment: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is meant for other programs; the log tells that it isn't used."""
    environment.setenv("ALL_PROXY", "socks5://joe:s3cr3t@127.0.0.1:1")
    caplog.set_level(logging.WARNING, "nats")
    assert environments_proxy("ws://nats.example:80") is None
    assert "socks5:// isn't" in caplog.text
    assert "s3cr3t" not in caplog.text
