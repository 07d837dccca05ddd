"""What TLS and wss have in common: handshakes that break off, versions, sizes, certificates."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import nats
import pytest
from nats import errors
from nats.embedded import Server
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer
from support.proxy import Proxy
from support.tls import Certificates, round_trip
from support.waiting import EAGER, Events, eventually, within
from support.ws_fake import FramedConnection
from support.ws_server import url_of

pytestmark = pytest.mark.usefixtures("driver", "quiet_loop")

WAYS = ("nats", "first", "wss")
LARGE = bytes(range(256)) * (32 * 1024)


def config(certificates: Certificates, way: str, options: str = "") -> str:
    """A server called localhost that speaks TLS on the port of this way to connect."""
    limits = "max_payload: 16MB\nmax_pending: 64MB\n"
    if way == "first":
        options += "\nhandshake_first: true"
    secure = certificates.server_config("localhost", options=options)
    if way == "wss":
        # Without a time for the handshake, which this block doesn't have.
        secure = secure.replace("timeout: 5", "")
        secure = f'websocket {{ host: "127.0.0.1", port: -1, {secure} }}'
    return limits + secure


def port(server: Server, way: str) -> int:
    return int(url_of(server).rpartition(":")[2]) if way == "wss" else server.port


def url(port: int, way: str) -> str:
    return f"{'wss' if way == 'wss' else 'nats'}://localhost:{port}"


def options_of(way: str, context: ssl.SSLContext) -> dict[str, Any]:
    return {"tls": context, "tls_handshake_first": way == "first"}


async def failures(address: str, options: dict[str, Any]) -> list[Exception]:
    """Why attempts to connect come to nothing; empty if they don't."""
    events = Events()
    few = {"max_reconnect_attempts": 1, "reconnect_time_wait": 0.01, "connect_timeout": 5}
    try:
        nc = await within(nats.connect(address, **options, **few, **events.callbacks), 20)
    except errors.NoServersError:
        assert len(events.errors) == 2
        return events.errors
    await nc.close()
    return []


@pytest.mark.parametrize("way", WAYS)
async def test_a_handshake_that_breaks_off_anywhere(
    certificates: Certificates, connect: Connect, way: str
) -> None:
    """Wherever the server hangs up, the attempt fails with the reason, and the next one works."""
    options = options_of(way, certificates.context())
    async with (
        Server(config=config(certificates, way)) as server,
        Proxy(f"nats://127.0.0.1:{port(server, way)}") as proxy,
    ):
        nc = await connect(url(proxy.port, way), **options)
        complete = proxy.bytes_to_client
        await nc.close()
        for count in range(1, complete, 97):
            proxy.cut_after = count
            found = await failures(url(proxy.port, way), options)
            if not found:
                # What the server says last, a PING or what it tells of its account, isn't needed.
                assert count > complete // 2
                break
            for error in found:
                assert isinstance(error, (OSError, errors.Error)), (count, error)
                assert not isinstance(error, asyncio.TimeoutError), count
        proxy.cut_after = None
        await round_trip(await connect(url(proxy.port, way), **options))


@pytest.mark.parametrize("way", WAYS)
async def test_reconnecting_gets_over_handshakes_that_break_off(
    certificates: Certificates, connect: Connect, way: str
) -> None:
    options = options_of(way, certificates.context())
    events = Events()
    async with (
        Server(config=config(certificates, way)) as server,
        Proxy(f"nats://127.0.0.1:{port(server, way)}") as proxy,
    ):
        nc = await connect(
            url(proxy.port, way),
            max_reconnect_attempts=-1,
            **options,
            **events.callbacks,
            **EAGER,
        )
        await round_trip(nc)
        complete = proxy.bytes_to_client
        for count in (1, complete // 4, complete // 2):
            before = len(events.errors)
            proxy.cut_after = count
            proxy.cut()
            await eventually(lambda before=before: len(events.errors) > before, "attempts fail")
        proxy.cut_after = None
        await events.wait("reconnected")
        assert (await nc.request("echo", b"again", timeout=5)).data == b"again"


VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("way", WAYS)
async def test_servers_of_one_version(
    certificates: Certificates, connect: Connect, way: str, version: str
) -> None:
    """A client that speaks both does, one that speaks the other only is refused, not held."""
    context = certificates.server_context("localhost")
    context.minimum_version = context.maximum_version = VERSIONS[version]

    async def handler(client: FakeConnection) -> None:
        if way == "wss":
            framed = FramedConnection(client)
            await framed.accept()
            await framed.handshake()
            await framed.serve()
        elif way == "nats":
            try:
                await client.start_tls(context, client.info(tls_required=True))
            except ssl.SSLError:
                return
            await client.expect(b"CONNECT ")
            await client.expect(b"PING")
            await client.write(b"PONG\r\n")
        else:
            await client.handshake()
        await client.serve()

    async with FakeServer(handler, tls=None if way == "nats" else context) as server:
        nc = await connect(url(server.port, way), **options_of(way, certificates.context()))
        await within(nc.flush())
        assert (
            nc._fastnats.link._transport.get_extra_info("ssl_object").version() == f"TLSv{version}"
        )
        await nc.close()
        other = certificates.context()
        if version == "1.2":
            other.minimum_version = ssl.TLSVersion.TLSv1_3
        else:
            other.maximum_version = ssl.TLSVersion.TLSv1_2
        # asyncio's servers hang up without an alert.
        refusals = await failures(url(server.port, way), options_of(way, other))
        assert refusals
        for error in refusals:
            assert isinstance(error, (ssl.SSLError, ConnectionError))


@pytest.mark.parametrize("way", WAYS)
async def test_large_messages_in_both_directions(
    certificates: Certificates, connect: Connect, way: str
) -> None:
    async with Server(config=config(certificates, way)) as server:
        address = url(port(server, way), way)
        options = options_of(way, certificates.context())
        nc = await connect(address, **options)
        other = await connect(address, **options)
        sub = await other.subscribe("large")
        await within(other.flush())
        for number in range(3):
            await nc.publish("large", LARGE, headers={"n": str(number)})
        for number in range(3):
            msg = await sub.next_msg(timeout=20)
            assert msg.headers == {"n": str(number)}
            assert msg.data == LARGE
        await round_trip(nc, LARGE)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("way", WAYS)
async def test_a_client_certificate_that_is_absent(
    certificates: Certificates, connect: Connect, way: str, version: str
) -> None:
    """With TLS 1.3 the server refuses after the client's handshake has succeeded."""
    chain, key = certificates.issue("client", "joe@example.org")
    context = certificates.context()
    context.minimum_version = context.maximum_version = VERSIONS[version]
    async with Server(config=config(certificates, way, "verify: true")) as server:
        address = url(port(server, way), way)
        refusals = await failures(address, options_of(way, context))
        assert refusals
        for error in refusals:
            # The alert may be overtaken by the end of the connection.
            assert isinstance(error, (ssl.SSLError, ConnectionError))
            if isinstance(error, ssl.SSLError):
                assert "ALERT" in error.reason
        context.load_cert_chain(chain, key)
        await round_trip(await connect(address, **options_of(way, context)))
