"""TLS: whatever a context demands counts, and failures carry its reason."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import nats
import pytest
from nats import errors
from nats.embedded import Server
from support.connecting import Connect
from support.fake_server import FakeServer
from support.tls import HOSTS, ONCE, Certificates, local, round_trip
from support.waiting import Events, within

pytestmark = pytest.mark.usefixtures("driver")


def negotiated(nc: Any) -> ssl.SSLObject:
    """What was agreed on for a client's connection."""
    found: ssl.SSLObject = nc._fastnats.link._transport.get_extra_info("ssl_object")
    return found


@pytest.mark.parametrize("scheme", ["nats", "tls"])
async def test_a_server_that_requires_tls_gets_it(
    certificates: Certificates, connect: Connect, scheme: str
) -> None:
    async with Server(config=certificates.server_config(*HOSTS)) as server:
        nc = await connect(local(server, scheme), tls=certificates.context())
        await round_trip(nc)
        await round_trip(nc, bytes(1_000_000))


async def test_tls_that_is_offered_only_is_used_if_demanded(
    certificates: Certificates, connect: Connect
) -> None:
    config = certificates.server_config(*HOSTS) + "allow_non_tls: true\n"
    async with Server(config=config) as server:
        assert negotiated(await connect(local(server), tls=certificates.context()))
        plain = await connect(local(server))
        await round_trip(plain)


async def test_a_path_is_a_bundle_of_authorities(
    certificates: Certificates, connect: Connect
) -> None:
    async with Server(config=certificates.server_config(*HOSTS)) as server:
        for path in (certificates.bundle, str(certificates.bundle)):
            await round_trip(await connect(local(server), tls=path))


async def test_a_bundle_that_is_missing_or_empty(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    async with FakeServer() as server:
        with pytest.raises(FileNotFoundError):
            await within(nats.connect(server.url, tls=str(tmp_path / "none.pem")))
        with pytest.raises(ssl.SSLError):
            await within(nats.connect(server.url, tls=empty))
        assert server.connections == []


async def test_what_is_no_context_is_refused(server: Server) -> None:
    with pytest.raises(TypeError, match=r"ssl\.SSLContext or a path, not int"):
        await nats.connect(server.url, tls=1)


async def test_addresses_are_verified(certificates: Certificates, connect: Connect) -> None:
    async with Server(config=certificates.server_config("127.0.0.1")) as server:
        await round_trip(await connect(server.url, tls=certificates.context()))
        with pytest.raises(ssl.SSLCertVerificationError):
            await nats.connect(local(server), tls=certificates.context(), **ONCE)


async def test_ipv6_addresses_are_verified(certificates: Certificates, connect: Connect) -> None:
    async with Server(host="::1", config=certificates.server_config("::1")) as server:
        await round_trip(await connect(server.url, tls=certificates.context()))


async def test_an_unknown_authority_is_refused(certificates: Certificates) -> None:
    async with Server(config=certificates.server_config(*HOSTS)) as server:
        for scheme in ("nats", "tls"):
            for options in ({}, {"tls": ssl.create_default_context()}):
                events = Events()
                with pytest.raises(ssl.SSLCertVerificationError) as refused:
                    await nats.connect(local(server, scheme), **options, **ONCE, **events.callbacks)
                assert refused.value.verify_code
                assert events.errors == [refused.value]


async def test_an_untrusted_certificate_is_told_at_once(certificates: Certificates) -> None:
    """Another attempt wouldn't help, however many are allowed."""
    events = Events()
    async with Server(config=certificates.server_config(*HOSTS)) as server:
        with pytest.raises(ssl.SSLCertVerificationError) as refused:
            await within(nats.connect(local(server, "tls"), **events.callbacks))
    assert events.errors == [refused.value]


async def test_the_name_to_verify_can_be_given(
    certificates: Certificates, connect: Connect
) -> None:
    async with Server(config=certificates.server_config("nats.example")) as server:
        context = certificates.context()
        with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
            await nats.connect(server.url, tls=context, **ONCE)
        nc = await connect(server.url, tls=context, tls_hostname="nats.example")
        await round_trip(nc)


async def test_without_a_check_of_the_name_the_authority_still_counts(
    certificates: Certificates, connect: Connect
) -> None:
    context = certificates.context()
    context.check_hostname = False
    async with Server(config=certificates.server_config("nats.example")) as server:
        await round_trip(await connect(server.url, tls=context))
        strangers = ssl.create_default_context()
        strangers.check_hostname = False
        with pytest.raises(ssl.SSLCertVerificationError):
            await nats.connect(server.url, tls=strangers, **ONCE)


async def test_verification_is_the_contexts_business(
    certificates: Certificates, connect: Connect
) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    async with Server(config=certificates.server_config("nats.example")) as server:
        await round_trip(await connect(server.url, tls=context))


async def test_client_certificates(certificates: Certificates, connect: Connect) -> None:
    chain, key = certificates.issue("client", "joe@example.org")
    config = certificates.server_config(*HOSTS, options="verify: true")
    async with Server(config=config) as server:
        context = certificates.context()
        # The alert may be overtaken by the end of the connection.
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await nats.connect(local(server), tls=context, **ONCE)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await nats.connect(local(server), tls=context, **ONCE)
        context = certificates.context()
        context.load_cert_chain(chain, key)
        await round_trip(await connect(local(server), tls=context))


async def test_a_chain_of_client_certificates(
    certificates: Certificates, connect: Connect, tmp_path: Path
) -> None:
    """The server knows the root alone; the context sends what lies between."""
    between = certificates.authority.create_child_ca()
    leaf = between.issue_cert("joe@example.org")
    chain = tmp_path / "chain.pem"
    chain.write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
    alone = tmp_path / "alone.pem"
    alone.write_bytes(leaf.cert_chain_pems[0].bytes())
    key = tmp_path / "leaf.key"
    key.write_bytes(leaf.private_key_pem.bytes())
    config = certificates.server_config(*HOSTS, options="verify: true")
    async with Server(config=config) as server:
        context = certificates.context()
        context.load_cert_chain(chain, key)
        await round_trip(await connect(local(server), tls=context))
        context = certificates.context()
        context.load_cert_chain(alone, key)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await nats.connect(local(server), tls=context, **ONCE)


async def test_users_known_by_their_certificates(
    certificates: Certificates, connect: Connect
) -> None:
    chain, key = certificates.issue("client", "joe@example.org")
    config = certificates.server_config(*HOSTS, options="verify_and_map: true")
    config += 'authorization { users: [ { user: "joe@example.org" } ] }\n'
    async with Server(config=config) as server:
        context = certificates.context()
        context.load_cert_chain(chain, key)
        await round_trip(await connect(local(server), tls=context))


async def test_versions_are_the_contexts(certificates: Certificates, connect: Connect) -> None:
    config = certificates.server_config(*HOSTS, options='min_version: "1.3"')
    async with Server(config=config) as server:
        context = certificates.context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
            await nats.connect(local(server), tls=context, **ONCE)
        context = certificates.context()
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        nc = await connect(local(server), tls=context)
        assert negotiated(nc).version() == "TLSv1.3"


async def test_the_lowest_version_is_the_contexts(certificates: Certificates) -> None:
    old = certificates.server_context(*HOSTS)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    context = certificates.context()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    async with FakeServer(tls=old) as server:
        # asyncio's servers hang up without an alert.
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await nats.connect(server.url, tls=context, tls_handshake_first=True, **ONCE)
        assert not any(client.lines for client in server.connections)


async def test_ciphers_are_the_contexts(certificates: Certificates, connect: Connect) -> None:
    chosen = "ECDHE-ECDSA-AES256-GCM-SHA384"
    context = certificates.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(chosen)
    async with Server(config=certificates.server_config(*HOSTS)) as server:
        nc = await connect(local(server), tls=context)
        cipher = negotiated(nc).cipher()
        assert cipher is not None
        assert cipher[0] == chosen
    other = 'cipher_suites: ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]'
    async with Server(config=certificates.server_config(*HOSTS, options=other)) as server:
        with pytest.raises(ssl.SSLError):
            await nats.connect(local(server), tls=context, **ONCE)


async def test_tls_can_come_first(certificates: Certificates, connect: Connect) -> None:
    config = certificates.server_config(*HOSTS, options="handshake_first: true")
    async with Server(config=config) as server:
        for scheme in ("nats", "tls"):
            nc = await connect(
                local(server, scheme), tls=certificates.context(), tls_handshake_first=True
            )
            await round_trip(nc)
        # A server that waits for the client, and a client that waits for the server.
        with pytest.raises((OSError, errors.Error, asyncio.TimeoutError)):
            await nats.connect(
                local(server), tls=certificates.context(), **{**ONCE, "connect_timeout": 1}
            )


async def test_info_may_come_with_the_handshake(
    certificates: Certificates, connect: Connect
) -> None:
    async with FakeServer(tls=certificates.server_context("127.0.0.1")) as server:
        for _ in range(20):
            nc = await connect(
                server, tls=certificates.context(), tls_handshake_first=True, connect_timeout=5
            )
            await within(nc.close())


async def test_tls_first_needs_a_server_that_knows(certificates: Certificates) -> None:
    """Either its INFO disturbs the handshake, or no INFO comes after it."""
    async with Server(config=certificates.server_config(*HOSTS)) as server:
        with pytest.raises((ssl.SSLError, asyncio.TimeoutError)):
            await nats.connect(
                local(server),
                tls=certificates.context(),
                tls_handshake_first=True,
                **{**ONCE, "connect_timeout": 2},
            )


async def test_many_messages(certificates: Certificates, connect: Connect) -> None:
    async with Server(config=certificates.server_config(*HOSTS)) as server:
        nc = await connect(local(server), tls=certificates.context())
        sub = await nc.subscribe("numbers")
        for number in range(20_000):
            await nc.publish("numbers", b"%d" % number)
        for number in range(20_000):
            assert (await sub.next_msg(timeout=5)).data == b"%d" % number


async def test_drain_delivers_everything(certificates: Certificates, connect: Connect) -> None:
    got: list[bytes] = []

    async def note(msg: Any) -> None:
        got.append(msg.data)

    async with Server(config=certificates.server_config(*HOSTS)) as server:
        nc = await connect(local(server), tls=certificates.context())
        await nc.subscribe("numbers", cb=note)
        for number in range(5_000):
            await nc.publish("numbers", b"%d" % number)
        await within(nc.drain())
    assert got == [b"%d" % number for number in range(5_000)]


SYSTEM_ROOTS = """
import asyncio, sys
import nats

async def main(url):
    nc = await nats.connect(url, allow_reconnect=False)
    await nc.flush()
    print("connected over", nc._fastnats.link._transport.get_extra_info("ssl_object").version())
    await nc.close()

if sys.argv[2] == "uvloop":
    import uvloop
    uvloop.install()
asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("scheme", ["nats", "tls"])
def test_without_a_context_the_systems_roots_count(
    certificates: Certificates, driver: str, scheme: str, loop: str
) -> None:
    with Server(config=certificates.server_config(*HOSTS)) as server:

        def run(**environment: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, "-c", SYSTEM_ROOTS, local(server, scheme), loop],
                env={**os.environ, "FASTNATS_DRIVER": driver, **environment},
                capture_output=True,
                text=True,
                timeout=30,
            )

        trusting = run(SSL_CERT_FILE=str(certificates.bundle))
        assert "connected over TLSv1" in trusting.stdout, trusting.stderr
        wary = run()
        assert "SSLCertVerificationError" in wary.stderr
        assert "connected" not in wary.stdout
