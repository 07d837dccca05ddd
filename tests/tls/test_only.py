"""Where TLS is demanded, nothing is ever said in the clear: checked on the wire."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import nats
import pytest
from nats import errors
from nats.embedded import Server
from support.fake_server import FakeConnection, FakeServer
from support.tls import ONCE, local, make_certificates
from support.waiting import Events, eventually, within

pytestmark = pytest.mark.usefixtures("driver")

SECRETS = {"user": "joe", "password": "s3cr3t", "name": "n4me"}
TELLTALE = (b"CONNECT", b"s3cr3t", b"joe", b"n4me", b"PING", b"SUB")

# First bytes of a TLS record with a ClientHello.
CLIENT_HELLO = b"\x16\x03"


@pytest.fixture
def context(tmp_path: Path) -> ssl.SSLContext:
    return make_certificates(tmp_path).context()


class Listener:
    """A server that writes down what clients say, after a greeting."""

    def __init__(self, greeting: Any = None, answer: bytes | None = None) -> None:
        self.heard: list[bytes] = []
        self._greeting = greeting
        self._answer = answer

    async def __call__(self, client: FakeConnection) -> None:
        if self._greeting is not None:
            await client.send_info(auth_required=True, nonce="abc", **self._greeting)
        heard = bytearray()
        self.heard.append(b"")
        try:
            while data := await client.reader.read(65536):
                heard += data
                self.heard[-1] = bytes(heard)
                if self._answer is not None:
                    await client.write(self._answer)
                    if not self._answer:
                        return
        except ConnectionError:
            pass

    def assert_nothing_told(self) -> None:
        assert self.heard
        for heard in self.heard:
            assert not heard or heard.startswith(CLIENT_HELLO)
            assert not any(telltale in heard for telltale in TELLTALE), heard


def demanding(how: str, context: ssl.SSLContext, server: FakeServer) -> tuple[str, dict[str, Any]]:
    """A URL and options that demand TLS."""
    scheme = "tls" if how == "url" else "nats"
    options: dict[str, Any] = {"tls": context} if how != "url" else {}
    if how == "first":
        options["tls_handshake_first"] = True
    return f"{scheme}://localhost:{server.port}", {**options, **SECRETS}


@pytest.mark.parametrize("how", ["url", "tls"])
@pytest.mark.parametrize("greeting", [{}, {"tls_required": False}], ids=["absent", "false"])
async def test_a_server_without_tls_is_told_nothing(
    context: ssl.SSLContext, how: str, greeting: dict[str, Any]
) -> None:
    listener = Listener(greeting)
    async with FakeServer(listener) as server:
        url, options = demanding(how, context, server)
        with pytest.raises(errors.SecureConnWantedError, match="secure connection not available"):
            await within(nats.connect(url, **options, **ONCE))
        events = Events()
        # At once, though reconnecting is allowed.
        with pytest.raises(errors.SecureConnWantedError, match="allow_plaintext=True") as refused:
            await within(nats.connect(url, **options, **events.callbacks))
        assert events.errors == [refused.value]
    listener.assert_nothing_told()
    assert set(listener.heard) == {b""}


@pytest.mark.parametrize("how", ["url", "tls"])
async def test_a_real_server_without_tls(server: Server, context: ssl.SSLContext, how: str) -> None:
    options = {"tls": context} if how == "tls" else {}
    with pytest.raises(errors.SecureConnWantedError):
        await nats.connect(local(server, "tls" if how == "url" else "nats"), **options, **ONCE)


async def test_a_real_server_that_greets_first(server: Server, context: ssl.SSLContext) -> None:
    """It doesn't become another one by being asked again."""
    events = Events()
    options: dict[str, Any] = {"tls": context, "tls_handshake_first": True, **events.callbacks}
    with pytest.raises(ssl.SSLError, match=r"in the clear.*handshake_first") as refused:
        await within(nats.connect(local(server), max_reconnect_attempts=-1, **options))
    assert refused.value.reason == "WRONG_VERSION_NUMBER"
    assert events.errors == [refused.value]
    assert f":{server.port} " in str(refused.value)


@pytest.mark.parametrize("how", ["url", "tls", "first", "server"])
@pytest.mark.parametrize(
    "answer",
    [
        b"\x00" * 100,
        b"-ERR 'what?'\r\n",
        b'INFO {"server_id":"x"}\r\nPONG\r\n',
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"",
    ],
    ids=["zeros", "error", "info", "http", "end"],
)
async def test_nonsense_in_place_of_a_handshake(
    context: ssl.SSLContext, how: str, answer: bytes
) -> None:
    listener = Listener({"tls_required": True} if how != "first" else None, answer)
    async with FakeServer(listener) as server:
        url, options = demanding(how, context, server)
        if how == "server":
            options = dict(SECRETS)
        with pytest.raises(ssl.SSLError if answer else (OSError,)):
            await within(nats.connect(url, **options, **ONCE))
    listener.assert_nothing_told()
    assert listener.heard[-1].startswith(CLIENT_HELLO)


@pytest.mark.parametrize("how", ["url", "tls", "first", "server"])
async def test_silence_in_place_of_a_handshake(context: ssl.SSLContext, how: str) -> None:
    listener = Listener({"tls_required": True} if how != "first" else None)
    async with FakeServer(listener) as server:
        url, options = demanding(how, context, server)
        if how == "server":
            options = dict(SECRETS)
        with pytest.raises(asyncio.TimeoutError):
            await within(nats.connect(url, **options, **{**ONCE, "connect_timeout": 0.5}))
    listener.assert_nothing_told()


@pytest.mark.parametrize("how", ["tls", "first"])
async def test_a_certificate_that_is_refused(
    tmp_path: Path, context: ssl.SSLContext, how: str
) -> None:
    (tmp_path / "other").mkdir()
    stranger = make_certificates(tmp_path / "other").server_context("localhost")
    secure = FakeServer(tls=stranger)

    async def upgrade(client: FakeConnection) -> None:
        await client.start_tls(stranger, client.info(tls_required=True))
        await client.read_line()

    async with secure if how == "first" else FakeServer(upgrade) as server:
        url, options = demanding(how, context, server)
        with pytest.raises(ssl.SSLCertVerificationError):
            await within(nats.connect(url, **options, **ONCE))
        assert not any(client.lines for client in server.connections)


async def test_cancelling_a_handshake_leaves_nothing(context: ssl.SSLContext) -> None:
    listener = Listener({"tls_required": True})
    async with FakeServer(listener) as server:
        url, options = demanding("tls", context, server)
        connecting = asyncio.ensure_future(nats.connect(url, **options))
        client = await server.wait_connections(1)
        await asyncio.sleep(0.1)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await within(connecting)
        await eventually(lambda: client.reader.at_eof() or client.reader.exception())
    listener.assert_nothing_told()
