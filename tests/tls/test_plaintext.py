"""Going on in the clear where TLS is asked for and the server has none, if that is allowed."""

from __future__ import annotations

import ssl
from typing import Any

import nats
import pytest
from nats import errors
from nats.embedded import Server
from support.connecting import Connect
from support.tls import HOSTS, Certificates, local, round_trip
from support.waiting import EAGER, Events, within
from support.ws_server import PLAIN, url_of

pytestmark = pytest.mark.usefixtures("driver")


def demanding(how: str, server: Server, certificates: Certificates) -> tuple[str, dict[str, Any]]:
    if how == "url":
        return local(server, "tls"), {}
    return local(server), {"tls": certificates.context()}


@pytest.fixture(params=["option", "environment"])
def allowed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Options for `connect()`."""
    if request.param == "option":
        return {"allow_plaintext": True}
    monkeypatch.setenv("FASTNATS_ALLOW_PLAINTEXT", "1")
    return {}


@pytest.mark.parametrize("how", ["url", "tls"])
async def test_allowed(
    server: Server,
    certificates: Certificates,
    connect: Connect,
    how: str,
    allowed: dict[str, Any],
) -> None:
    events = Events()
    url, options = demanding(how, server, certificates)
    nc = await connect(url, **options, **allowed, **events.callbacks, **EAGER)
    await round_trip(nc)
    await server.arestart()
    await events.wait("reconnected")
    await within(nc.flush())


async def test_anything_else_in_the_environment_is_no_permission(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value in ("", "0", "no"):
        monkeypatch.setenv("FASTNATS_ALLOW_PLAINTEXT", value)
        with pytest.raises(errors.SecureConnWantedError):
            await within(nats.connect(local(server, "tls")))


@pytest.mark.parametrize("how", ["url", "tls"])
@pytest.mark.parametrize("options", ["", "allow_non_tls: true"])
async def test_tls_is_taken_where_it_is(certificates: Certificates, how: str, options: str) -> None:
    """And its certificate is verified all the same."""
    config = certificates.server_config(*HOSTS).strip() + f"\n{options}\n"
    async with Server(config=config) as server:
        url, given = demanding(how, server, certificates)
        if how == "url":
            with pytest.raises(ssl.SSLCertVerificationError):
                await within(nats.connect(url, allow_plaintext=True))
            given = {"tls": certificates.context()}
        nc = await within(nats.connect(url, **given, allow_plaintext=True))
        await round_trip(nc)
        with pytest.raises(ssl.SSLCertVerificationError):
            await within(nats.connect(url, allow_plaintext=True, tls=ssl.create_default_context()))
        await nc.close()


async def test_a_websocket(certificates: Certificates, connect: Connect) -> None:
    async with Server(config=PLAIN) as server:
        url = url_of(server)
        context = certificates.context()
        with pytest.raises(errors.SecureConnWantedError, match="wss://"):
            await within(nats.connect(url, tls=context))
        await round_trip(await connect(url, tls=context, allow_plaintext=True))


async def test_a_handshake_that_comes_first_needs_tls(
    server: Server, certificates: Certificates
) -> None:
    with pytest.raises(ssl.SSLError):
        await within(
            nats.connect(
                local(server),
                tls=certificates.context(),
                tls_handshake_first=True,
                allow_plaintext=True,
                allow_reconnect=False,
            )
        )
