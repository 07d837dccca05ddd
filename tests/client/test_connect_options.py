"""The options of `connect()` by themselves."""

from __future__ import annotations

import inspect
import math
from typing import Any

import pytest
from nats import errors
from nats.aio._options import ConnectOptions, check_options, kept_options, settings_of
from nats.aio.client import Client

DEFAULTS: dict[str, Any] = {
    name: parameter.default
    for name, parameter in inspect.signature(Client.connect).parameters.items()
    if parameter.default is not inspect.Parameter.empty
}
SEED = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"


def given(**options: Any) -> dict[str, Any]:
    return {**DEFAULTS, **options}


def kept(**options: Any) -> dict[str, Any]:
    return kept_options(given(**options))


def test_what_none_stands_for() -> None:
    options = kept(ping_interval=None, max_outstanding_pings=None, reconnect_time_wait=None)
    assert options["ping_interval"] == options["max_outstanding_pings"] == math.inf
    assert options["reconnect_time_wait"] == 2
    assert settings_of(given(pending_size=None)).pending_size == DEFAULTS["pending_size"]


def test_options_that_are_not_given_are_not_there() -> None:
    names = {"tls", "tls_hostname", "ignore_auth_error_abort", "allow_plaintext", "ws_proxy"}
    assert not names & kept().keys()
    options = kept(tls_hostname="h", ignore_auth_error_abort=True, allow_plaintext=True)
    assert names & options.keys() == {"tls_hostname", "ignore_auth_error_abort", "allow_plaintext"}
    # Empty for none, whatever the environment says.
    assert kept(ws_proxy="")["ws_proxy"] == ""


def test_plaintext_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTNATS_ALLOW_PLAINTEXT", "1")
    assert kept()["allow_plaintext"] is True


def test_secrets_are_not_shown() -> None:
    secret = kept(user="u", password="secret", token="secret", ws_proxy="http://u:secret@h")
    shown = repr(ConnectOptions(secret))
    assert "secret" not in shown
    assert "'user': 'u'" in shown
    assert "'password': None" in repr(ConnectOptions(kept()))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, False),
        ({"user": "u"}, True),
        ({"token": "t"}, True),
        ({"nkeys_seed_str": SEED}, True),
        # Only a server that asks gets it signed.
        ({"signature_cb": lambda nonce: nonce}, False),
    ],
)
def test_whether_there_are_credentials(options: dict[str, Any], expected: bool) -> None:
    assert settings_of(given(**options)).has_credentials is expected


async def test_options_that_cannot_be_used_change_nothing() -> None:
    nc = Client()
    for options in ({"nkeys_seed_str": "no seed"}, {"pending_size": math.nan}):
        with pytest.raises((errors.InvalidUserCredentialsError, ValueError)):
            await nc.connect("nats://127.0.0.1:1", name="after", **options)
    assert nc.options == {}
    assert nc.servers == []


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"name": 1}, TypeError),
        ({"max_reconnect_attempts": None}, TypeError),
        ({"tls": 1}, TypeError),
        ({"tls": "/no/such/bundle"}, OSError),
        ({"error_cb": print}, errors.InvalidCallbackTypeError),
        ({"lame_duck_mode_cb": print}, errors.InvalidCallbackTypeError),
    ],
)
def test_what_is_refused(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        check_options(given(**options))
    check_options(given())
