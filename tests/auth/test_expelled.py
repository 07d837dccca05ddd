"""A server that says of a connection in service that its credentials aren't valid any more."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from nats import errors
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer
from support.waiting import EAGER, Events, eventually, within

pytestmark = pytest.mark.usefixtures("driver")

REASONS = (
    "User Authentication Expired",
    "User Authentication Revoked",
    "Account Authentication Expired",
    "Authorization Violation",
)


def text_of(reason: str) -> str:
    return {"Authorization Violation": "nats: authorization failed"}.get(
        reason, f"nats: {reason.lower()}"
    )


def expelling(reason: str, times: float) -> Any:
    """A server that expels so many connections right after the first subscription."""

    async def handler(client: FakeConnection) -> None:
        await client.handshake(auth_required=True)
        await client.expect(b"SUB")
        if client.index < times:
            await client.write(f"-ERR '{reason}'\r\n".encode())
            await client.wait_closed()
        else:
            await client.serve()

    return handler


@pytest.mark.parametrize("reason", REASONS)
async def test_the_client_comes_back_with_fresh_credentials(connect: Connect, reason: str) -> None:
    tokens, events = itertools.count(), Events()
    async with FakeServer(expelling(reason, 1)) as server:
        nc = await connect(
            server, token=lambda: f"token-{next(tokens)}", **events.callbacks, **EAGER
        )
        await nc.subscribe("a")
        await events.wait("reconnected")
        sent = [client.connect_options["auth_token"] for client in server.connections]
        assert sent == ["token-0", "token-1"]
        assert [str(error) for error in events.errors] == [text_of(reason)]
        assert events.names == ["disconnected", "reconnected"]
        await nc.close()


@pytest.mark.parametrize("reason", REASONS)
async def test_twice_in_a_row_is_the_end(connect: Connect, reason: str) -> None:
    events = Events()
    async with FakeServer(expelling(reason, 10)) as server:
        nc = await connect(server, token="t", **events.callbacks, **EAGER)
        await nc.subscribe("a")
        await events.wait("closed")
        assert len(server.connections) == 2
        assert [str(error) for error in events.errors[:2]] == [text_of(reason)] * 2
        assert events.errors[2:] == [nc.last_error]
        assert isinstance(nc.last_error, errors.NoServersError)
        assert text_of(reason).removeprefix("nats: ") in str(nc.last_error)


async def test_fresh_credentials_each_time_are_no_second_refusal(connect: Connect) -> None:
    tokens, events = itertools.count(), Events()
    async with FakeServer(expelling(REASONS[0], 4)) as server:
        nc = await connect(
            server, token=lambda: f"token-{next(tokens)}", **events.callbacks, **EAGER
        )
        await nc.subscribe("a")
        await eventually(lambda: len(server.connections) == 5)
        await events.wait("reconnected")
        assert [str(error) for error in events.errors].count(text_of(REASONS[0])) == 4
        await nc.close()


async def test_refusals_may_be_ignored(connect: Connect) -> None:
    """A service that says who may connect, and is down for a while."""
    events = Events()
    async with FakeServer(expelling(REASONS[3], 4)) as server:
        nc = await connect(
            server,
            token="t",
            ignore_auth_error_abort=True,
            max_reconnect_attempts=-1,
            **events.callbacks,
            **EAGER,
        )
        await nc.subscribe("a")
        await eventually(lambda: len(server.connections) == 5)
        await events.wait("reconnected")
        await nc.close()


async def test_another_server_may_take_the_client(connect: Connect) -> None:
    events = Events()
    async with FakeServer(expelling(REASONS[0], 10)) as one, FakeServer() as two:
        urls = [one.url, two.url]
        nc = await connect(urls, dont_randomize=True, **events.callbacks, **EAGER)
        await nc.subscribe("a")
        await events.wait("reconnected")
        assert nc.connected_url.port == two.port
        await nc.close()


async def test_without_reconnecting_it_is_the_end(connect: Connect) -> None:
    events = Events()
    async with FakeServer(expelling(REASONS[0], 1)) as server:
        nc = await connect(server, token="t", allow_reconnect=False, **events.callbacks)
        await nc.subscribe("a")
        await events.wait("closed")
        assert [str(error) for error in events.errors] == [text_of(REASONS[0])]
        assert nc.last_error is events.errors[0]
        assert len(server.connections) == 1


async def test_error_cb_may_connect_with_other_credentials(connect: Connect) -> None:
    events = Events()
    async with FakeServer(expelling(REASONS[0], 1)) as server:

        async def error_cb(error: Exception) -> None:
            events.errors.append(error)
            if len(events.errors) > 1:
                return
            await nc.connect(server.url, token="other", **callbacks, **EAGER)

        callbacks = {**events.callbacks, "error_cb": error_cb}
        nc = await connect(server, token="t", **callbacks, **EAGER)
        await nc.subscribe("a")
        await eventually(lambda: len(server.connections) > 1 and nc.is_connected)
        await within(nc.flush())
        assert server.connections[1].connect_options["auth_token"] == "other"
        assert events.names == []
        await nc.close()
