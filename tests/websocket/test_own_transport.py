"""A class that an application has assigned to ``nats.aio.client.WebSocketTransport``."""

from __future__ import annotations

from typing import Any

import nats
import nats.aio.client
import pytest
from nats import errors
from nats.aio.transport import WebSocketTransport
from nats.embedded import Server
from support.connecting import Connect
from support.tls import Certificates, round_trip
from support.waiting import EAGER, Events, eventually, within
from support.ws_server import secure, secure_url_of, url_of

pytestmark = pytest.mark.usefixtures("driver")


class Own(WebSocketTransport):
    """Notes how it is used."""

    made: list[Own]
    failing = False

    def __init__(self, ws_headers: Any = None) -> None:
        super().__init__(ws_headers)
        self.headers = ws_headers
        self.calls: list[str] = []
        self.received = self.sent = 0
        self.made.append(self)

    async def connect(self, uri: Any, buffer_size: int, connect_timeout: int) -> None:
        self.calls.append("connect")
        if self.failing:
            raise ConnectionRefusedError("not today")
        await super().connect(uri, buffer_size=buffer_size, connect_timeout=connect_timeout)

    async def connect_tls(
        self, uri: Any, ssl_context: Any, buffer_size: int, connect_timeout: int
    ) -> None:
        self.calls.append("connect_tls")
        await super().connect_tls(uri, ssl_context, buffer_size, connect_timeout)

    def write(self, payload: bytes) -> None:
        self.sent += len(payload)
        super().write(payload)

    async def readline(self) -> bytes:
        data = await super().readline()
        self.received += len(data)
        return data

    async def wait_closed(self) -> None:
        await super().wait_closed()
        self.calls.append("closed")


@pytest.fixture(autouse=True)
def own(monkeypatch: pytest.MonkeyPatch) -> list[Own]:
    """The transports that are made."""
    monkeypatch.setattr(Own, "made", [], raising=False)
    monkeypatch.setattr(nats.aio.client, "WebSocketTransport", Own)
    return Own.made


async def test_it_carries_the_connection(plain: Server, own: list[Own], connect: Connect) -> None:
    nc = await connect(url_of(plain), ws_connection_headers={"A": ["b"]})
    await round_trip(nc)
    await round_trip(nc, bytes(900_000))
    (transport,) = own
    assert transport.headers == {"A": ["b"]}
    assert transport.sent > 1_800_000
    assert transport.received > 1_800_000
    sub = await nc.subscribe("flood")
    for number in range(2000):
        await nc.publish("flood", b"%d" % number + bytes(1000))
    await within(nc.flush())
    await within(nc.flush())
    datas = [(await sub.next_msg(5)).data for _ in range(2000)]
    assert [int(data.partition(b"\0")[0]) for data in datas] == list(range(2000))
    await within(nc.close())
    assert transport.calls == ["connect", "closed"]


async def test_what_was_published_is_sent_before_it_closes(
    plain: Server, own: list[Own], connect: Connect
) -> None:
    other = await connect(plain.url)
    sub = await other.subscribe("a")
    await other.flush()
    nc = await connect(url_of(plain))
    for number in range(1000):
        await nc.publish("a", b"%d" % number + bytes(500))
    await within(nc.close())
    await eventually(lambda: sub.pending_msgs == 1000)
    assert own


async def test_reconnecting(plain: Server, own: list[Own], connect: Connect) -> None:
    events = Events()
    nc = await connect(url_of(plain), **events.callbacks, **EAGER)
    await round_trip(nc)
    await nc.force_reconnect()
    await events.wait("reconnected")
    await round_trip(nc)
    assert len(own) == 2
    assert own[0].calls == ["connect", "closed"]
    await plain.akill()
    await events.wait("disconnected", 2)
    await events.wait_error(ConnectionRefusedError)


async def test_it_fails_to_connect(plain: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Own, "failing", True)
    with pytest.raises(errors.NoServersError, match="not today"):
        await within(nats.connect(url_of(plain), allow_reconnect=False))


async def test_tls(certificates: Certificates, own: list[Own], connect: Connect) -> None:
    async with Server(config=secure(certificates, "localhost")) as server:
        url = secure_url_of(server)
        await round_trip(await connect(url, tls=certificates.context()), bytes(300_000))
        assert own[0].calls == ["connect_tls"]
