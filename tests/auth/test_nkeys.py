"""NKeys: seeds as text and in files, and what is no seed."""

from __future__ import annotations

import base64
import itertools
from pathlib import Path
from typing import Any

import nats
import pytest
from nats import errors
from nats._core import public_nkey, sign_with_nkey
from nats.aio.errors import ErrInvalidUserCredentials
from nats.embedded import Server
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer
from support.jwts import Key
from support.waiting import EAGER, Events, eventually, within

pytestmark = pytest.mark.usefixtures("driver")

ONCE: dict[str, Any] = {"allow_reconnect": False, "connect_timeout": 5}


async def test_seed_as_text_or_file(connect: Connect, tmp_path: Path) -> None:
    key = Key()
    file = key.write_seed(tmp_path / "user.nk")
    bare = key.write_seed(tmp_path / "bare.nk", end="")
    async with Server(config=key.config) as server:
        for options in (
            {"nkeys_seed_str": key.seed},
            {"nkeys_seed_str": f"  {key.seed}\n"},
            {"nkeys_seed": str(file)},
            {"nkeys_seed": file},
            {"nkeys_seed": str(bare)},
        ):
            nc = await connect(server.url, **options)
            await within(nc.flush())


async def test_callbacks_sign(connect: Connect) -> None:
    key = Key()

    def sign(nonce: str) -> bytes:
        return base64.b64encode(key.sign(nonce.encode()))

    async with FakeServer(info={"nonce": "abc", "auth_required": True}) as fake:
        await connect(fake, signature_cb=sign)
        assert fake.connections[0].connect_options["sig"] == sign("abc").decode()


async def test_another_key_is_refused() -> None:
    async with Server(config=Key().config) as server:
        with pytest.raises(errors.Error, match="Authorization Violation"):
            await nats.connect(server.url, nkeys_seed_str=Key().seed, **ONCE)


async def test_another_server_gets_the_public_key_only(connect: Connect) -> None:
    """The default user of a server isn't taken by accident, nor is the seed sent."""
    key = Key()
    async with FakeServer(info={"nonce": "abc"}) as server:
        await connect(server, nkeys_seed_str=key.seed)
        sent = server.connections[0].connect_options
        assert sent["nkey"] == key.public
        assert sent["sig"] == base64.b64encode(key.sign(b"abc")).decode()
        assert key.seed not in str(server.connections[0].lines)


async def test_each_connection_signs_the_nonce_it_got(connect: Connect, tmp_path: Path) -> None:
    keys = [Key(), Key()]
    file = keys[0].write_seed(tmp_path / "user.nk")
    nonces = itertools.count()
    sent: list[dict[str, Any]] = []

    async def handler(client: FakeConnection) -> None:
        await client.handshake(auth_required=True, nonce=f"nonce-{next(nonces)}")
        sent.append(client.connect_options)
        if client.index == 0:
            return
        await client.serve()

    async with FakeServer(handler) as server:
        nc = await connect(server, nkeys_seed=str(file), **EAGER)
        await eventually(lambda: len(sent) == 2)
        for number, fields in enumerate(sent):
            signature = base64.b64encode(keys[0].sign(b"nonce-%d" % number)).decode()
            assert fields["sig"] == signature
        await within(nc.close())


async def test_reconnecting(connect: Connect) -> None:
    key, events = Key(), Events()
    async with Server(config=key.config) as server:
        nc = await connect(server.url, nkeys_seed_str=key.seed, **events.callbacks, **EAGER)
        await server.arestart()
        await events.wait("reconnected")
        await within(nc.flush())


@pytest.mark.parametrize(
    "seed", ["", " ", "SU", "SUABC", "\N{SNOWMAN}", "cut", "public", "flipped"]
)
@pytest.mark.parametrize("form", ["text", "file"])
async def test_what_is_no_seed_is_refused_without_showing_it(
    server: Server, seed: str, form: str, tmp_path: Path
) -> None:
    key = Key()
    made = {
        "cut": key.seed[:-1],
        "public": key.public,
        "flipped": key.seed[:30] + ("A" if key.seed[30] != "A" else "B") + key.seed[31:],
    }
    seed = made.get(seed, seed)
    file = tmp_path / "bad.nk"
    file.write_text(seed)
    options = {"nkeys_seed_str": seed} if form == "text" else {"nkeys_seed": str(file)}
    with pytest.raises(ErrInvalidUserCredentials) as refused:
        await nats.connect(server.url, **options, **ONCE)
    assert not seed.strip() or seed not in f"{refused.value!r}{refused.value}"
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


async def test_a_file_that_is_missing(server: Server, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await nats.connect(server.url, nkeys_seed=str(tmp_path / "none.nk"), **ONCE)


def test_signatures_are_those_of_another_library() -> None:
    for _ in range(20):
        key = Key()
        assert public_nkey(bytearray(key.seed.encode())) == key.public
        assert sign_with_nkey(bytearray(key.seed.encode()), b"data") == key.sign(b"data")


@pytest.mark.parametrize("seed", [b"", b"\xff\xfe", b"SU" + b"A" * 56, b"A" * 10_000])
def test_seeds_that_are_malformed(seed: bytes) -> None:
    for use in (public_nkey, lambda given: sign_with_nkey(given, b"data")):
        with pytest.raises(ValueError, match=r"^not the seed of an NKey$"):
            use(bytearray(seed))
