"""wss:// - the context's rules as over TCP, and nothing in the clear."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from typing import Any

import nats
import pytest
from nats import errors
from nats.embedded import Cluster, Server
from support.connecting import Connect
from support.fake_server import FakeServer
from support.tls import Certificates, round_trip
from support.waiting import EAGER, Events, eventually
from support.ws_server import PLAIN, secure, secure_url_of, url_of

pytestmark = pytest.mark.usefixtures("driver")

ONCE: dict[str, Any] = {
    "max_reconnect_attempts": 1,
    "reconnect_time_wait": 0.01,
    "connect_timeout": 5,
}


@pytest.fixture
async def wss(certificates: Certificates, closed_port: int) -> AsyncIterator[Server]:
    """A server called localhost that speaks nothing but TLS on its WebSocket port."""
    async with Server(config=secure(certificates, "localhost", port=closed_port)) as server:
        yield server


async def failing(url: str, **options: Any) -> list[Exception]:
    """The errors of an attempt to connect that comes to nothing."""
    events = Events()
    kinds = (errors.NoServersError, errors.SecureConnWantedError, ssl.SSLCertVerificationError)
    with pytest.raises(kinds):
        await nats.connect(url, **events.callbacks, **{**ONCE, **options})
    assert events.errors
    return events.errors


async def test_a_private_authority(
    wss: Server, certificates: Certificates, connect: Connect
) -> None:
    for tls in (certificates.context(), certificates.bundle, str(certificates.bundle)):
        nc = await connect(secure_url_of(wss), tls=tls)
        await round_trip(nc)
        await round_trip(nc, bytes(1_000_000))


async def test_reconnecting_is_secure_too(
    wss: Server, certificates: Certificates, connect: Connect
) -> None:
    events = Events()
    nc = await connect(secure_url_of(wss), tls=certificates.context(), **events.callbacks, **EAGER)
    await wss.arestart()
    await events.wait("reconnected")
    await round_trip(nc)


async def test_an_unknown_authority_is_refused(wss: Server) -> None:
    for options in ({}, {"tls": ssl.create_default_context()}):
        for error in await failing(secure_url_of(wss), **options):
            assert isinstance(error, ssl.SSLCertVerificationError)


async def test_the_name_is_verified(
    wss: Server, certificates: Certificates, connect: Connect
) -> None:
    context, address = certificates.context(), secure_url_of(wss, "127.0.0.1")
    for error in await failing(address, tls=context):
        assert isinstance(error, ssl.SSLCertVerificationError)
    await round_trip(await connect(address, tls=context, tls_hostname="localhost"))
    for error in await failing(secure_url_of(wss), tls=context, tls_hostname="nats.example"):
        assert isinstance(error, ssl.SSLCertVerificationError)
    context.check_hostname = False
    await round_trip(await connect(address, tls=context))


async def test_client_certificates(certificates: Certificates, connect: Connect) -> None:
    chain, key = certificates.issue("client", "joe@example.org")
    async with Server(config=secure(certificates, "localhost", options="verify: true")) as server:
        for error in await failing(secure_url_of(server), tls=certificates.context()):
            assert isinstance(error, OSError)
        context = certificates.context()
        context.load_cert_chain(chain, key)
        await round_trip(await connect(secure_url_of(server), tls=context))


async def test_a_plain_port_is_refused(certificates: Certificates) -> None:
    async with Server(config=PLAIN) as server:
        for error in await failing(secure_url_of(server), tls=certificates.context()):
            assert isinstance(error, OSError)
            assert not isinstance(error, ConnectionRefusedError)


async def test_a_secure_port_is_no_plain_one(wss: Server) -> None:
    for error in await failing(url_of(wss, host="localhost")):
        assert isinstance(error, ConnectionError)


async def test_plain_urls_and_tls_do_not_go_together(certificates: Certificates) -> None:
    async with FakeServer() as server:
        for options in ({"tls": certificates.context()}, {"tls_handshake_first": True}):
            found = await failing(f"ws://127.0.0.1:{server.port}", **options)
            assert {type(error) for error in found} == {errors.SecureConnWantedError}
        assert server.connections == []


async def test_servers_of_a_cluster_are_called_by_the_name_that_was_asked_for(
    certificates: Certificates, connect: Connect
) -> None:
    async with Cluster(2, config=secure(certificates, "localhost")) as cluster:
        events = Events()
        nc = await connect(
            secure_url_of(cluster.servers[0]),
            tls=certificates.context(),
            **events.callbacks,
            **EAGER,
        )
        # The first one is known by its address, too.
        await eventually(lambda: len(nc.servers) == 3, "both servers are known")
        await cluster.servers[0].akill()
        await events.wait("reconnected")
        assert nc.connected_url.scheme == "wss"
        await round_trip(nc)
