"""Credentials: given as values or functions, wrong ones, and permissions."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import nats
import pytest
from nats import errors
from nats.embedded import Server
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer
from support.waiting import EAGER, Events, eventually, within

pytestmark = pytest.mark.usefixtures("driver")

USER = 'authorization { user: "joe", password: "s3cr3t" }'
TOKEN = 'authorization { token: "t0k3n" }'
PERMISSIONS = """
authorization {
  users = [
    { user: "joe", password: "s3cr3t",
      permissions: { publish: ["open.>", "_INBOX.>"], subscribe: ["open.>", "_INBOX.>"] } }
    { user: "ann", password: "s3cr3t" }
  ]
}
"""


@pytest.mark.parametrize(
    ("config", "options"),
    [
        (USER, {"user": "joe", "password": "s3cr3t"}),
        (USER, {"user": lambda: "joe", "password": lambda: "s3cr3t"}),
        (USER, {"user": "joe", "password": lambda: "s3cr3t"}),
        (TOKEN, {"token": "t0k3n"}),
        (TOKEN, {"token": lambda: "t0k3n"}),
    ],
    ids=["values", "functions", "mixed", "token", "token function"],
)
async def test_right_credentials(connect: Connect, config: str, options: Any) -> None:
    with Server(config=config) as server:
        nc = await connect(server, allow_reconnect=False, **options)
        await nc.flush()


async def test_options_come_before_the_url(connect: Connect) -> None:
    with Server(config=USER) as server:
        url = f"nats://nobody:nothing@127.0.0.1:{server.port}"
        await connect(url, user="joe", password="s3cr3t", allow_reconnect=False)


@pytest.mark.parametrize(
    ("config", "options"),
    [
        (USER, {"user": "joe", "password": "wrong"}),
        (USER, {"token": "t0k3n"}),
        (USER, {}),
        (TOKEN, {"token": "wrong"}),
        (TOKEN, {}),
    ],
)
@pytest.mark.parametrize("verbose", [False, True])
async def test_wrong_credentials(config: str, options: Any, verbose: bool) -> None:
    with Server(config=config) as server:
        events = Events()
        with pytest.raises(errors.Error) as raised:
            await within(
                nats.connect(
                    server.url,
                    allow_reconnect=False,
                    verbose=verbose,
                    **options,
                    **events.callbacks,
                )
            )
        assert str(raised.value) == "nats: 'Authorization Violation'"
        assert events.errors == [raised.value]
        assert events.names == []


async def test_second_server_takes_the_credentials(server: Server, connect: Connect) -> None:
    with Server(config=USER) as picky:
        nc = await connect([picky.url, server.url], dont_randomize=True, **EAGER)
        assert nc.connected_url.port == server.port


async def test_functions_are_called_for_every_connection(connect: Connect) -> None:
    asked: list[dict[str, Any]] = []

    async def handler(client: FakeConnection) -> None:
        await client.handshake(auth_required=True)
        asked.append(client.connect_options)
        if client.index < 2:
            return
        await client.serve()

    users, passwords = itertools.count(), itertools.count(100)
    async with FakeServer(handler) as server:
        events = Events()
        nc = await connect(
            server,
            user=lambda: f"user-{next(users)}",
            password=lambda: f"pass-{next(passwords)}",
            **events.callbacks,
            **EAGER,
        )
        await eventually(lambda: len(asked) == 3)
        assert [(each["user"], each["pass"]) for each in asked] == [
            *(("user-0", "pass-100"), ("user-1", "pass-101"), ("user-2", "pass-102"))
        ]
        await within(nc.close())


async def test_token_function_is_called_for_every_connection(connect: Connect) -> None:
    tokens = itertools.count()
    asked: list[str] = []

    async def handler(client: FakeConnection) -> None:
        await client.handshake(auth_required=True)
        asked.append(client.connect_options["auth_token"])
        if client.index == 0:
            return
        await client.serve()

    async with FakeServer(handler) as server:
        nc = await connect(server, token=lambda: f"token-{next(tokens)}", **EAGER)
        await eventually(lambda: len(asked) == 2)
        assert asked == ["token-0", "token-1"]
        await within(nc.close())


async def test_credentials_are_not_sent_without_being_configured(connect: Connect) -> None:
    async with FakeServer() as server:
        nc = await connect(server)
        sent = server.connections[0].connect_options
        assert not {"user", "pass", "auth_token"} & set(sent)
        await nc.close()


async def test_function_that_raises_ends_connecting() -> None:
    def token() -> str:
        raise LookupError("no token today")

    async with FakeServer() as server:
        with pytest.raises(LookupError, match="no token today"):
            await within(nats.connect(server.url, token=token))
        assert server.connections[0].lines == []


async def test_permission_violations_leave_the_connection_alone(connect: Connect) -> None:
    with Server(config=PERMISSIONS) as server:
        events = Events()
        nc = await connect(server, user="joe", password="s3cr3t", **events.callbacks)
        await nc.publish("closed.door", b"knock")
        await nc.flush()
        error = await events.wait_error(errors.Error)
        assert str(error) == 'nats: permissions violation for publish to "closed.door"'
        assert nc.last_error is error

        await nc.subscribe("closed.room")
        await nc.flush()
        error = await events.wait_error(errors.Error, "subscription")
        assert 'permissions violation for subscription to "closed.room"' in str(error)

        sub = await nc.subscribe("open.house")
        await nc.publish("open.house", b"come in")
        assert (await sub.next_msg(timeout=5)).data == b"come in"
        assert events.names == []
        assert nc.is_connected


async def test_revoked_credentials_end_in_a_closed_client(connect: Connect) -> None:
    with Server(config=PERMISSIONS) as server:
        events = Events()
        nc = await connect(
            server,
            user="joe",
            password="s3cr3t",
            **events.callbacks,
            **EAGER,
        )
        sub = await nc.subscribe("open.house")
        await nc.flush()
        waiting = asyncio.create_task(sub.next_msg(timeout=10))
        await asyncio.to_thread(server.reload, PERMISSIONS.replace('"joe"', '"jim"'))
        await events.wait("closed")
        # The server only hangs up; what is wrong shows when the client comes back.
        texts = [str(error) for error in events.errors]
        assert texts[0] == "nats: unexpected EOF"
        assert texts[1:3] == ["nats: 'Authorization Violation'"] * 2
        assert events.errors[3:] == [nc.last_error]
        assert events.names == ["disconnected", "disconnected", "closed"]
        assert nc.is_closed
        assert isinstance(nc.last_error, errors.NoServersError)
        with pytest.raises(errors.ConnectionClosedError):
            await within(waiting)


async def test_changed_password_is_picked_up_by_a_function(connect: Connect) -> None:
    password = "s3cr3t"
    with Server(config=USER) as server:
        events = Events()
        nc = await connect(
            server, user="joe", password=lambda: password, **events.callbacks, **EAGER
        )
        await asyncio.to_thread(server.kill)
        await events.wait("disconnected")
        password = "changed"
        with Server(config=USER.replace("s3cr3t", "changed"), port=0) as other:
            nc.set_server_pool([other.url])
            await events.wait("reconnected")
            await nc.flush()
            assert nc.connected_url.port == other.port
            await nc.close()
