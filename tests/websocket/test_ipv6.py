"""ws:// and wss:// to IPv6 addresses."""

from __future__ import annotations

import ssl
from urllib.parse import urlparse

import pytest
from nats.aio.transport import WebSocketTransport
from nats.embedded import Server
from support.connecting import Connect
from support.fake_server import FakeServer
from support.tls import Certificates, round_trip
from support.waiting import EAGER, Events, eventually, within
from support.ws_fake import FramedConnection, websocket, ws_url
from support.ws_server import PLAIN, url_of

pytestmark = pytest.mark.usefixtures("driver", "ipv6")


def config(security: str = "no_tls: true") -> str:
    return f'websocket {{ host: "::1", port: -1, {security} }}'


def url(server: Server, scheme: str = "ws") -> str:
    return url_of(server, scheme, "[::1]")


async def test_a_server(connect: Connect) -> None:
    events = Events()
    async with Server(config=config()) as server:
        nc = await connect(url(server), **events.callbacks, **EAGER)
        assert nc.connected_url.hostname == "::1"
        assert nc.client_ip == "::1"
        await round_trip(nc)
        await nc.force_reconnect()
        await events.wait("reconnected")
        assert (await nc.request("echo", b"again", timeout=5)).data == b"again"


async def test_a_user_a_path_and_the_host_header(connect: Connect) -> None:
    seen: list[tuple[str, list[str], list[str]]] = []

    @websocket
    async def handler(client: FramedConnection) -> None:
        await client.accept()
        seen.append((client.request_line, client.header("host"), client.header("authorization")))
        await client.handshake()
        await client.serve()

    async with FakeServer(handler, host="::1") as server:
        nc = await connect(ws_url(server, "/a?b=c", "joe:secret@"))
        await nc.close()
        assert seen == [("GET /a?b=c HTTP/1.1", [server.address], ["Basic am9lOnNlY3JldA=="])]


async def test_servers_that_refuse_and_servers_of_both_kinds(connect: Connect) -> None:
    events = Events()
    async with Server(config=config()) as six, Server(config=PLAIN) as other:
        nc = await connect(
            [url(six), url_of(other)],
            dont_randomize=True,
            **events.callbacks,
            **EAGER,
        )
        assert nc.connected_url.hostname == "::1"
        await six.akill()
        await events.wait("reconnected")
        assert nc.connected_url.hostname == "127.0.0.1"
        assert await nc.rtt() > 0


async def test_servers_that_are_discovered(connect: Connect) -> None:
    """The addresses of an INFO are written as those of URLs."""
    events = Events()
    async with Server(config=config()) as second:
        urls = [url(second).removeprefix("ws://")]

        @websocket
        async def handler(client: FramedConnection) -> None:
            await client.accept()
            await client.handshake(connect_urls=urls)
            await client.serve()

        async with FakeServer(handler) as first:
            nc = await connect(ws_url(first), **events.callbacks, **EAGER, dont_randomize=True)
            assert [uri.geturl() for uri in nc.discovered_servers] == [url(second)]
            await first.stop_accepting()
            first.connections[0].abort()
            await events.wait("reconnected")
            assert nc.connected_url.geturl() == url(second)
            await round_trip(nc)


async def test_certificates_name_the_address(certificates: Certificates, connect: Connect) -> None:
    def security(name: str, identity: str) -> str:
        chain, key = certificates.issue(name, identity)
        return f'tls {{ cert_file: "{chain}", key_file: "{key}" }}'

    context = certificates.context()
    async with (
        Server(config=config(security("six", "::1"))) as six,
        Server(config=config(security("other", "localhost"))) as other,
    ):
        await round_trip(await connect(url(six, "wss"), tls=context))
        events = Events()
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect(url(other, "wss"), tls=context, **events.callbacks, **EAGER)
        assert [type(error) for error in events.errors] == [ssl.SSLCertVerificationError]
        await round_trip(await connect(url(other, "wss"), tls=context, tls_hostname="localhost"))


async def test_the_transport_of_nats_py(certificates: Certificates) -> None:
    chain, key = certificates.issue("six", "::1")
    secure = config(f'tls {{ cert_file: "{chain}", key_file: "{key}" }}')
    async with Server(config=config()) as plain, Server(config=secure) as server:
        transport = WebSocketTransport()
        await transport.connect(urlparse(url(plain)), 32768, 5)
        assert (await within(transport.readline())).startswith(b"INFO ")
        transport.close()
        await within(transport.wait_closed())
        transport = WebSocketTransport()
        await transport.connect_tls(url(server, "wss"), certificates.context(), 32768, 5)
        assert (await within(transport.readline())).startswith(b"INFO ")
        transport.close()
        await within(transport.wait_closed())
        await eventually(transport.at_eof)
