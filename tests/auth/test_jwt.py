"""Operator mode: credentials files in every form, users that expire, are revoked or limited."""

from __future__ import annotations

import asyncio
import base64
import os
import time
from pathlib import Path
from typing import Any

import nats
import pytest
from nats import errors
from nats.aio.client import RawCredentials
from nats.aio.errors import ErrInvalidUserCredentials
from nats.embedded import Server
from support.connecting import Connect
from support.fake_server import FakeServer
from support.jwts import Operator, User
from support.waiting import EAGER, Events, within

pytestmark = pytest.mark.usefixtures("driver")

ONCE: dict[str, Any] = {"allow_reconnect": False, "connect_timeout": 5}

FORMS = ("str", "Path", "raw", "tuple", "tuple of paths", "CRLF", "no last line end", "callbacks")


def given(form: str, user: User, directory: Path) -> dict[str, Any]:
    """Connect options with a user's credentials in one of the forms."""
    file = user.write(directory / "user.creds")
    jwt, seed = directory / "user.jwt", directory / "user.nk"
    jwt.write_text(user.jwt + "\n")
    user.key.write_seed(seed)
    windows = directory / "windows.creds"
    windows.write_bytes(user.credentials("\r\n").encode())
    cut = directory / "cut.creds"
    cut.write_text(user.credentials().partition("\n------END USER")[0])

    def sign(nonce: str) -> bytes:
        return base64.b64encode(user.key.sign(nonce.encode()))

    forms: dict[str, dict[str, Any]] = {
        "str": {"user_credentials": str(file)},
        "Path": {"user_credentials": file},
        "raw": {"user_credentials": RawCredentials(user.credentials())},
        "tuple": {"user_credentials": (str(jwt), str(seed))},
        "tuple of paths": {"user_credentials": (jwt, seed)},
        "CRLF": {"user_credentials": str(windows)},
        "no last line end": {"user_credentials": str(cut)},
        "callbacks": {"user_jwt_cb": lambda: bytearray(user.jwt.encode()), "signature_cb": sign},
    }
    return forms[form]


@pytest.mark.parametrize("form", FORMS)
async def test_credentials_in_every_form(connect: Connect, tmp_path: Path, form: str) -> None:
    operator, events = Operator(), Events()
    options = given(form, operator.user(), tmp_path)
    async with Server(config=operator.config()) as server:
        nc = await connect(server.url, **options, **events.callbacks, **EAGER)
        await within(nc.flush())
        await server.arestart()
        await events.wait("reconnected")
        await within(nc.flush())


async def test_files_are_read_anew_when_reconnecting(connect: Connect, tmp_path: Path) -> None:
    first, second, events = Operator(), Operator(), Events()
    file = first.user().write(tmp_path / "user.creds")
    async with Server(config=first.config()) as server:
        nc = await connect(server.url, user_credentials=file, **events.callbacks, **EAGER)
        await server.astop()
        second.user().write(file)
        async with Server(port=server.port, config=second.config()):
            await events.wait("reconnected")
            await within(nc.flush())


async def test_callbacks_are_called_for_every_connection(connect: Connect) -> None:
    operator, events = Operator(), Events()
    users: list[User] = []

    def jwt() -> bytes:
        return users[-1].jwt.encode()

    def sign(nonce: str) -> bytes:
        users.append(operator.user())
        return base64.b64encode(users[-1].key.sign(nonce.encode()))

    async with Server(config=operator.config()) as server:
        await connect(server.url, user_jwt_cb=jwt, signature_cb=sign, **events.callbacks, **EAGER)
        await server.arestart()
        await events.wait("reconnected")
    assert len(users) >= 2


async def test_a_token_goes_along_for_authorization_callouts(
    connect: Connect, tmp_path: Path
) -> None:
    user = Operator().user()
    async with FakeServer(info={"nonce": "abc", "auth_required": True}) as server:
        options = given("str", user, tmp_path)
        await connect(server, token=lambda: "t0k3n", **options)
        sent = server.connections[0].connect_options
        signature = base64.b64encode(user.key.sign(b"abc")).decode()
        assert (sent["jwt"], sent["sig"], sent["auth_token"]) == (user.jwt, signature, "t0k3n")


async def test_a_user_of_another_account_is_refused(tmp_path: Path) -> None:
    stranger = Operator().user().write(tmp_path / "user.creds")
    async with Server(config=Operator().config()) as server:
        with pytest.raises(errors.Error, match=r"^nats: 'Authorization Violation'$"):
            await nats.connect(server.url, user_credentials=stranger, **ONCE)


@pytest.mark.parametrize("why", ["expired", "revoked"])
async def test_a_user_that_is_not_valid_any_more_is_refused(tmp_path: Path, why: str) -> None:
    operator = Operator()
    expired: dict[str, Any] = {"exp": int(time.time()) - 10} if why == "expired" else {}
    user = operator.user(**expired)
    config = operator.config(*([user] if why == "revoked" else []))
    async with Server(config=config) as server:
        with pytest.raises(errors.Error, match="Authorization Violation"):
            await nats.connect(
                server.url, user_credentials=user.write(tmp_path / "user.creds"), **ONCE
            )


async def test_a_user_that_expires_and_is_renewed(connect: Connect, tmp_path: Path) -> None:
    """The file is read anew for the next connection; subscriptions go on there."""
    operator, events = Operator(), Events()
    file = operator.user(exp=int(time.time()) + 3).write(tmp_path / "user.creds")
    async with Server(config=operator.config()) as server:
        nc = await connect(server.url, user_credentials=file, **events.callbacks, **EAGER)
        sub = await nc.subscribe("a")
        await within(nc.flush())
        operator.user().write(file)
        await events.wait("reconnected", seconds=30)
        await nc.publish("a", b"still there")
        assert (await sub.next_msg(5)).data == b"still there"
        assert [str(error) for error in events.errors] == ["nats: user authentication expired"]
        assert events.names == ["disconnected", "reconnected"]


async def test_users_that_expire_one_after_the_other(connect: Connect) -> None:
    """Each has been of use: this is no refusal twice in a row."""
    operator, events = Operator(), Events()
    users: list[User] = []

    def sign(nonce: str) -> bytes:
        users.append(operator.user(exp=int(time.time()) + 3))
        return base64.b64encode(users[-1].key.sign(nonce.encode()))

    async with Server(config=operator.config()) as server:
        nc = await connect(
            server.url,
            user_jwt_cb=lambda: users[-1].jwt.encode(),
            signature_cb=sign,
            **events.callbacks,
            **EAGER,
        )
        await events.wait("reconnected", 3, seconds=40)
        await within(nc.flush())
        assert {str(error) for error in events.errors} == {"nats: user authentication expired"}


async def test_a_user_that_expires_for_good(connect: Connect, tmp_path: Path) -> None:
    operator, events = Operator(), Events()
    user = operator.user(exp=int(time.time()) + 3)
    async with Server(config=operator.config()) as server:
        nc = await connect(
            server.url,
            user_credentials=user.write(tmp_path / "user.creds"),
            max_reconnect_attempts=-1,
            **events.callbacks,
            **EAGER,
        )
        await events.wait("closed", seconds=30)
        assert nc.is_closed
        # The server may hang up before it has read everything, which resets the connection.
        told = [str(error) for error in events.errors[:-1] if not isinstance(error, OSError)]
        assert told[0] == "nats: user authentication expired"
        # Refused twice the same way, which is enough. Within the second of the expiry the server
        # may let it in again and again, only to throw it out.
        assert told[-2:] == [told[-1]] * 2
        assert len(told) <= 2 + 1 / EAGER["reconnect_time_wait"]
        assert events.errors[-1] is nc.last_error
        assert isinstance(nc.last_error, errors.NoServersError)
        assert events.names[-1] == "closed"
        assert set(events.names[:-1]) == {"disconnected"}


async def test_a_user_that_is_revoked_while_connected(connect: Connect, tmp_path: Path) -> None:
    operator, events = Operator(), Events()
    user, other = operator.user(), operator.user()
    async with Server(config=operator.config()) as server:
        nc = await connect(
            server.url,
            user_credentials=user.write(tmp_path / "user.creds"),
            **events.callbacks,
            **{**EAGER, "max_reconnect_attempts": -1},
        )
        kept = await connect(server.url, user_credentials=other.write(tmp_path / "other.creds"))
        sub = await nc.subscribe("a")
        await within(nc.flush())
        waiting = asyncio.ensure_future(sub.next_msg(timeout=20))
        await asyncio.to_thread(server.reload, operator.config(user))
        await events.wait("closed", seconds=20)
        assert nc.is_closed
        assert str(events.errors[0]) == "nats: user authentication revoked"
        with pytest.raises(errors.ConnectionClosedError):
            await within(waiting)
        await within(kept.flush())
        assert kept.is_connected


async def test_permissions_of_a_jwt(connect: Connect, tmp_path: Path) -> None:
    operator, events = Operator(), Events()
    open_only = {"allow": ["open.>", "_INBOX.>"]}
    user = operator.user(permissions={"pub": open_only, "sub": open_only})
    file = user.write(tmp_path / "user.creds")
    async with Server(config=operator.config()) as server:
        nc = await connect(server.url, user_credentials=file, **events.callbacks)
        closed = await nc.subscribe("closed.a")
        await within(nc.flush())
        await events.wait_error(errors.Error, 'violation for subscription to "closed.a"')
        await nc.publish("closed.b")
        await within(nc.flush())
        await events.wait_error(errors.Error, 'violation for publish to "closed.b"')
        assert nc._subs[closed._id] is closed
        sub = await nc.subscribe("open.a")
        await nc.publish("open.a", b"come in")
        assert (await sub.next_msg(timeout=5)).data == b"come in"
        assert events.names == []


@pytest.mark.parametrize(
    "content",
    [
        "",
        "nothing",
        "-----BEGIN NATS USER JWT-----",
        "-----BEGIN NATS USER JWT-----\na.b.c\n",
        "-----BEGIN USER NKEY SEED-----\nSUABC\n",
        "-----BEGIN NATS USER JWT-----\na.b.c\n-----BEGIN USER NKEY SEED-----\n",
        "-----BEGIN NATS USER JWT-----\na.b.c\n-----BEGIN USER NKEY SEED-----\nSUABC\n",
    ],
)
async def test_files_without_credentials(tmp_path: Path, content: str) -> None:
    file = tmp_path / "user.creds"
    file.write_text(content)
    async with FakeServer(info={"nonce": "abc", "auth_required": True}) as server:
        for credentials in (file, RawCredentials(content)):
            # Not tried again, though that is allowed.
            with pytest.raises(ErrInvalidUserCredentials):
                await within(nats.connect(server.url, user_credentials=credentials))
        with pytest.raises(FileNotFoundError):
            await nats.connect(server.url, user_credentials=tmp_path / "none", **ONCE)
        assert not any(client.lines for client in server.connections)


async def test_the_content_for_the_name_of_a_file_is_not_shown(tmp_path: Path) -> None:
    user = Operator().user()
    file, seed = str(user.write(tmp_path / "user.creds")), user.key.seed
    async with FakeServer(info={"nonce": "abc", "auth_required": True}) as server:
        for options in (
            {"user_credentials": user.credentials()},
            {"user_credentials": (file, seed)},
            {"nkeys_seed": seed},
            {"nkeys_seed": Path(seed)},
            {"nkeys_seed": f" {seed[:-1]}\n"},
        ):
            with pytest.raises(ValueError, match="name of a file is wanted") as refused:
                await nats.connect(server.url, **options, **ONCE)
            assert seed[:-1] not in f"{refused.value!r}"


@pytest.mark.parametrize("option", ["user_credentials", "nkeys_seed"])
async def test_a_number_is_no_name_of_a_file(tmp_path: Path, option: str) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        async with FakeServer(info={"nonce": "abc", "auth_required": True}) as server:
            with pytest.raises(TypeError, match=f"^{option}: "):
                await nats.connect(server.url, **{option: descriptor}, **ONCE)
        # Still open.
        os.fstat(descriptor)
    finally:
        os.close(descriptor)
