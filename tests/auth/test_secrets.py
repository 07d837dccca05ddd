"""No secret shows in reprs, errors, tracebacks, logs or the command line, nor stays in memory."""

from __future__ import annotations

import asyncio
import gc
import logging
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nats
import pytest
from nats import errors
from nats.aio import _credentials
from nats.aio.client import RawCredentials
from nats.embedded import Server
from support.connecting import Connect
from support.jwts import Key, Operator
from support.waiting import EAGER, Events, within

pytestmark = pytest.mark.usefixtures("driver")

Given = tuple[str, dict[str, Any], list[str]]


def by_password(server: Server, directory: Path) -> Given:
    return server.url, {"user": "joe", "password": "s3cr3t"}, ["s3cr3t"]


def by_functions(server: Server, directory: Path) -> Given:
    return server.url, {"user": lambda: "joe", "password": lambda: "s3cr3t"}, ["s3cr3t"]


def by_url(server: Server, directory: Path) -> Given:
    return f"nats://joe:s3cr3t@127.0.0.1:{server.port}", {}, ["s3cr3t"]


def by_token(server: Server, directory: Path) -> Given:
    return server.url, {"token": "t0k3n"}, ["t0k3n"]


def by_token_in_url(server: Server, directory: Path) -> Given:
    return f"nats://t0k3n@127.0.0.1:{server.port}", {}, ["t0k3n"]


def by_seed(server: Server, directory: Path) -> Given:
    key = Key()
    return server.url, {"nkeys_seed_str": key.seed}, [key.seed]


def by_seed_file(server: Server, directory: Path) -> Given:
    key = Key()
    return server.url, {"nkeys_seed": key.write_seed(directory / "user.nk")}, [key.seed]


def by_credentials(server: Server, directory: Path) -> Given:
    user = Operator().user()
    raw = RawCredentials(user.credentials())
    return server.url, {"user_credentials": raw}, [user.jwt, user.key.seed]


def by_credentials_file(server: Server, directory: Path) -> Given:
    user = Operator().user()
    file = user.write(directory / "user.creds")
    return server.url, {"user_credentials": file}, [user.jwt, user.key.seed]


WAYS = [by_password, by_functions, by_url, by_token, by_token_in_url, by_seed, by_seed_file]
WAYS += [by_credentials, by_credentials_file]


def shown(nc: Any) -> str:
    """All that a client shows of itself."""
    parts = [nc, str(nc), nc.options, nc.server_pool, nc.servers, nc.connected_url]
    parts += [
        nc._server_pool,
        nc._current_server,
        nc._fastnats.settings.signing,
        nc._core,
        nc.last_error,
        nc.stats,
    ]
    return "".join(f"{part!r}" for part in parts)


def assert_hidden(text: str, secrets: list[str]) -> None:
    for secret in secrets:
        assert secret not in text


@pytest.mark.parametrize("way", WAYS)
async def test_a_client_that_is_connected(
    server: Server,
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    way: Callable[[Server, Path], Given],
) -> None:
    url, options, secrets = way(server, tmp_path)
    caplog.set_level(logging.DEBUG)
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    # Every callback is logged, with its arguments.
    loop.slow_callback_duration = 0
    events = Events()
    try:
        nc = await connect(url, **options, **events.callbacks, **EAGER)
        text = shown(nc)
        await server.arestart()
        await events.wait("reconnected")
        text += shown(nc)
        await within(nc.close())
    finally:
        loop.set_debug(False)
    assert_hidden(text + shown(nc) + repr(events.errors) + caplog.text, secrets)


@pytest.mark.parametrize("way", WAYS)
async def test_a_client_that_is_refused(
    caplog: pytest.LogCaptureFixture, tmp_path: Path, way: Callable[[Server, Path], Given]
) -> None:
    caplog.set_level(logging.DEBUG)
    strange = Operator().config() if "credentials" in way.__name__ else Key().config
    async with Server(config=strange) as server:
        url, options, secrets = way(server, tmp_path)
        with pytest.raises(errors.Error) as refused:
            await nats.connect(url, **options, allow_reconnect=False)
        nc = nats.NATS()
        with pytest.raises(errors.NoServersError):
            await nc.connect(url, **options, **EAGER, max_reconnect_attempts=1)
    text = "".join(traceback.format_exception(refused.value)) + shown(nc) + caplog.text
    assert_hidden(text, secrets)


@pytest.mark.parametrize("given", ["nats://joe:s3cr3t@host:port", "nats://joe:s3cr3t@none"])
async def test_a_url_that_is_refused(given: str) -> None:
    with pytest.raises(errors.Error) as refused:
        await nats.connect(given)
    assert_hidden("".join(traceback.format_exception(refused.value)), ["s3cr3t"])


async def test_a_seed_that_is_damaged(server: Server, tmp_path: Path) -> None:
    seed = Key().seed
    damaged = f"{seed[:-1]}!"
    file = tmp_path / "user.creds"
    text = f"-----BEGIN NATS USER JWT-----\na.b.c\n-----BEGIN USER NKEY SEED-----\n{damaged}\n"
    file.write_text(text)
    for sign in (
        _credentials.signing_of_credentials(file).signature_cb,
        _credentials.signing_of_credentials(RawCredentials(text)).signature_cb,
    ):
        assert sign is not None
        with pytest.raises(errors.Error) as refused:
            sign("nonce")
        assert_hidden("".join(traceback.format_exception(refused.value)), [damaged, seed])


async def test_headers_of_a_websocket(server: Server, connect: Connect) -> None:
    """They are for proxies, which may ask for a password, too."""
    headers = {"Authorization": ["Bearer s3cr3t"]}
    nc = await connect(ws_connection_headers=headers)
    assert_hidden(shown(nc) + f"{nc.options}", ["s3cr3t"])
    assert nc.options["ws_connection_headers"] == headers
    assert "ws_connection_headers" in repr(nc.options)


def test_the_values_are_still_there(server: Server) -> None:
    """Hidden from sight, not from the program."""

    async def main() -> None:
        nc: Any = await nats.connect(
            f"nats://joe:s3cr3t@127.0.0.1:{server.port}", user="u", password="p4ss", token="t0k"
        )
        assert (nc.options["password"], nc.options["token"]) == ("p4ss", "t0k")
        assert isinstance(nc.options, dict)
        assert "p4ss" not in f"{nc.options}" and "'user': 'u'" in f"{nc.options}"  # noqa: PT018
        assert nc.connected_url.password == "s3cr3t"
        assert nc.connected_url.geturl() == f"nats://joe:s3cr3t@127.0.0.1:{server.port}"
        assert f"netloc='***@127.0.0.1:{server.port}'" in repr(nc.servers)
        await nc.close()

    asyncio.run(main())


@pytest.mark.parametrize("form", ["seed file", "seed", "credentials file", "pair", "raw"])
async def test_seeds_are_wiped(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """After connecting, no buffer that the seed was read into holds it any more."""
    operator = Operator()
    user = operator.user()
    seed_file = user.key.write_seed(tmp_path / "user.nk")
    (tmp_path / "user.jwt").write_text(user.jwt)
    options: Any = {
        "seed file": {"nkeys_seed": seed_file},
        "seed": {"nkeys_seed_str": user.key.seed},
        "credentials file": {"user_credentials": user.write(tmp_path / "user.creds")},
        "pair": {"user_credentials": (tmp_path / "user.jwt", seed_file)},
        "raw": {"user_credentials": RawCredentials(user.credentials())},
    }[form]
    buffers: list[bytearray] = []
    read = _credentials._read

    def noting(source: Any) -> bytearray:
        buffers.append(read(source))
        return buffers[-1]

    monkeypatch.setattr(_credentials, "_read", noting)
    config = user.key.config if "seed" in form else operator.config()
    async with Server(config=config) as server:
        nc = await connect(server.url, **options)
        await within(nc.flush())
    seed = user.key.seed.encode()
    assert buffers or form == "seed"
    assert not any(seed in buffer for buffer in buffers)
    gc.collect()
    # Also those that conftest.py has put aside.
    gc.unfreeze()
    holders = gc.get_objects()
    gc.freeze()
    # Bytearrays are no containers, so that only those that something refers to are found.
    left = [
        thing
        for holder in holders
        if type(holder) in (list, tuple, dict)
        for thing in gc.get_referents(holder)
        if type(thing) is bytearray and seed in thing
    ]
    assert left == []


def test_the_command_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nats"],
        capture_output=True,
        text=True,
        env={"PATH": "", "NATS_PASSWORD": "s3cr3t", "NATS_URL": "nats://joe:s3cr3t@host"}
        | {"PYTHONPATH": str(Path(nats.__file__).parents[1])},
        timeout=30,
        check=True,
    )
    assert "fastnats" in done.stdout
    assert_hidden(done.stdout + done.stderr, ["s3cr3t"])
