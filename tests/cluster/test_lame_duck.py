"""Every server of a cluster is replaced in turn, in order, while clients are at work."""

from __future__ import annotations

import pytest
from nats.embedded import Cluster
from support.lame_duck import CONFIG, Party, Way, rolling_restart_under_traffic
from support.tls import Certificates
from support.waiting import EAGER


async def test_rolling_restart_under_traffic() -> None:
    with Cluster(jetstream=True, config=CONFIG) as cluster:
        await rolling_restart_under_traffic(cluster)


@pytest.mark.parametrize("scheme", ["nats", "tls"])
async def test_rolling_restart_with_tls(certificates: Certificates, scheme: str) -> None:
    """The cluster tells addresses, the certificates are for the name alone: whoever gets to
    another server has verified it by the name that was asked for."""
    way = Way(scheme, host="localhost", options={"tls": certificates.context()})
    config = CONFIG + certificates.server_config("localhost")
    with Cluster(jetstream=True, config=config) as cluster:
        await rolling_restart_under_traffic(cluster, way)


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_rolling_restart_over_websocket(certificates: Certificates, scheme: str) -> None:
    """Servers come back on other ports, of which the clients are told."""
    chain, key = certificates.issue("server", "localhost")
    security = f'tls {{ cert_file: "{chain}", key_file: "{key}" }}'
    if scheme == "ws":
        security = "no_tls: true"
        way = Way("ws", "websocket")
    else:
        way = Way("wss", "websocket", "localhost", {"tls": certificates.context()})
    websocket = f'websocket {{ host: "127.0.0.1", port: -1, {security} }}'
    with Cluster(jetstream=True, config=f"{CONFIG}\n{websocket}\n") as cluster:
        await rolling_restart_under_traffic(cluster, way)


async def test_new_clients_are_sent_elsewhere() -> None:
    """A lame duck takes no connections any more; the next server of the list does."""
    with Cluster(2, config=CONFIG) as cluster:
        duck, other = cluster.servers
        witness = Party([], "tokio")
        await witness.client.connect(duck.url, **witness.events.callbacks, **EAGER)
        duck.signal("ldm")
        await witness.events.wait("lame duck")
        for driver in ("tokio", "asyncio"):
            party = Party([], driver)
            await party.client.connect(
                [duck.url, other.url], dont_randomize=True, **party.events.callbacks, **EAGER
            )
            assert party.client.connected_url.port == other.port  # type: ignore[union-attr]
            assert [type(error) for error in party.events.errors] == [ConnectionRefusedError]
            await party.client.close()
        await witness.client.close()
