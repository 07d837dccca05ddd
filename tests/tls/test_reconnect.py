"""TLS after the first connection: reconnecting, and servers that were discovered."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
from nats import errors
from nats.embedded import Cluster, Server
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer
from support.tls import HOSTS, Certificates, local, make_certificates, round_trip
from support.waiting import EAGER, Events, eventually, within

pytestmark = pytest.mark.usefixtures("driver")


async def test_reconnecting_is_secure_too(certificates: Certificates, connect: Connect) -> None:
    events = Events()
    async with Server(config=certificates.server_config(*HOSTS)) as server:
        nc = await connect(local(server), tls=certificates.context(), **events.callbacks, **EAGER)
        await round_trip(nc)
        for count in (1, 2):
            await server.arestart()
            await events.wait("reconnected", count)
            reply = await within(nc.request("echo", b"again", timeout=5))
            assert reply.data == b"again"
        assert nc._fastnats.link._transport.get_extra_info("ssl_object") is not None


async def test_what_was_published_meanwhile_arrives(
    certificates: Certificates, connect: Connect
) -> None:
    events = Events()
    async with Server(config=certificates.server_config(*HOSTS)) as server:
        nc = await connect(local(server), tls=certificates.context(), **events.callbacks, **EAGER)
        sub = await nc.subscribe("numbers")
        await within(nc.flush())
        await asyncio.to_thread(server.kill)
        await events.wait("disconnected")
        for number in range(100):
            await nc.publish("numbers", b"%d" % number)
        await server.astart()
        for number in range(100):
            assert (await sub.next_msg(timeout=10)).data == b"%d" % number


async def test_a_renewed_bundle_counts_for_the_next_connection(
    certificates: Certificates, connect: Connect, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = make_certificates(tmp_path / "other")
    events = Events()
    async with Server(config=certificates.server_config(*HOSTS)) as server:
        nc = await connect(local(server), tls=certificates.bundle, **events.callbacks, **EAGER)
        await server.astop()
        async with Server(port=server.port, config=other.server_config(*HOSTS)):
            await events.wait_error(ssl.SSLCertVerificationError)
            certificates.bundle.write_bytes(other.bundle.read_bytes())
            await events.wait("reconnected")
            await within(nc.flush())


async def test_a_server_with_another_authority_is_not_taken(
    certificates: Certificates, connect: Connect, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = make_certificates(tmp_path / "other")
    events = Events()
    async with Server(config=certificates.server_config(*HOSTS)) as server:
        nc = await connect(local(server), tls=certificates.context(), **events.callbacks, **EAGER)
        await server.astop()
        async with Server(port=server.port, config=other.server_config(*HOSTS)):
            await events.wait_error(ssl.SSLCertVerificationError)
            assert nc.is_reconnecting
        assert "reconnected" not in events.names


@pytest.mark.parametrize("scheme", ["nats", "tls"])
async def test_discovered_servers_keep_the_host_name(
    certificates: Certificates, connect: Connect, scheme: str
) -> None:
    """The cluster tells addresses; the certificates are for the name that was asked for."""
    events = Events()
    with Cluster(3, config=certificates.server_config("localhost")) as cluster:
        nc = await connect(
            local(cluster.servers[0], scheme),
            tls=certificates.context(),
            **events.callbacks,
            **EAGER,
        )
        assert {uri.hostname for uri in nc.discovered_servers} == {"127.0.0.1"}
        assert {uri.scheme for uri in nc.discovered_servers} == {scheme}
        await round_trip(nc)
        for count in (1, 2):
            gone = next(s for s in cluster.servers if s.port == nc.connected_url.port)
            await asyncio.to_thread(gone.kill)
            await events.wait("reconnected", count, seconds=20)
            assert nc.connected_url.port != gone.port
            reply = await within(nc.request("echo", b"again", timeout=5))
            assert reply.data == b"again"


async def test_discovered_servers_are_verified(
    certificates: Certificates, connect: Connect
) -> None:
    """With another name in its certificate, a discovered server isn't taken."""
    events = Events()
    async with Server(config=certificates.server_config("nats.example", name="b")) as impostor:

        async def handler(client: FakeConnection) -> None:
            urls = [f"127.0.0.1:{impostor.port}"]
            info = client.info(tls_required=True, connect_urls=urls)
            await client.start_tls(certificates.server_context("localhost"), info)
            await client.expect(b"CONNECT ")
            await client.expect(b"PING")
            await client.write(b"PONG\r\n")
            await client.expect(b"SUB")

        async with FakeServer(handler) as first:
            nc = await connect(
                f"nats://localhost:{first.port}",
                tls=certificates.context(),
                **events.callbacks,
                **{**EAGER, "max_reconnect_attempts": 1},
            )
            assert [uri.port for uri in nc.discovered_servers] == [impostor.port]
            await first.stop_accepting()
            await nc.subscribe("a")
            await events.wait("closed")
        refused = [e for e in events.errors if isinstance(e, ssl.SSLCertVerificationError)]
        assert refused
        assert all("localhost" in str(error) for error in refused)


async def test_what_came_in_the_clear_is_not_delivered(
    certificates: Certificates, connect: Connect
) -> None:
    """Messages that someone has put behind INFO, ahead of TLS."""
    context = certificates.server_context("localhost")

    async def handler(client: FakeConnection) -> None:
        forged = b"MSG a 1 6\r\nforged\r\nPONG\r\n-ERR 'forged'\r\n"
        await client.start_tls(context, client.info(tls_required=True), forged)
        await client.expect(b"CONNECT ")
        await client.expect(b"PING")
        await client.write(b"PONG\r\n")
        await client.expect(b"SUB")
        if client.index == 0:
            client.abort()
            return
        await client.write(b"MSG a 1 4\r\nreal\r\n")
        await client.serve()

    events = Events()
    async with FakeServer(handler) as server:
        nc = await connect(
            f"nats://localhost:{server.port}",
            tls=certificates.context(),
            **events.callbacks,
            **EAGER,
        )
        sub = await nc.subscribe("a")
        await events.wait("reconnected")
        assert (await within(sub.next_msg(timeout=5))).data == b"real"
        assert sub.pending_msgs == 0
        assert nc.stats["in_msgs"] == 1
        assert not any("forged" in str(error) for error in events.errors)
        await within(nc.close())


@pytest.mark.parametrize("given", ["tls", "nothing"])
async def test_a_server_known_for_tls_is_not_talked_to_in_the_clear(
    certificates: Certificates,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    given: str,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.bundle))
    options = {"tls": certificates.context()} if given == "tls" else {}
    heard: list[bytes] = []

    async def listen(client: FakeConnection) -> None:
        await client.send_info(auth_required=True)
        heard.append(await client.reader.read())

    events = Events()
    config = certificates.server_config(*HOSTS)
    config += 'authorization { user: "joe", password: "s3cr3t" }\n'
    async with Server(config=config) as server:
        nc = await connect(
            local(server), user="joe", password="s3cr3t", **options, **events.callbacks, **EAGER
        )
        await round_trip(nc)
        await server.astop()
        async with FakeServer(listen, port=server.port):
            await events.wait_error(errors.SecureConnWantedError)
            await eventually(lambda: len(heard) > 1)
        await within(nc.close())
    assert set(heard) == {b""}
