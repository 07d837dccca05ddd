"""The options of `connect()` by themselves."""

from __future__ import annotations

import inspect
import math
from typing import Any

import pytest
from nats import errors
from nats.aio._options import ConnectOptions, check_options
from nats.aio.client import Client

DEFAULTS: dict[str, Any] = {
    name: parameter.default
    for name, parameter in inspect.signature(Client.connect).parameters.items()
    if parameter.default is not inspect.Parameter.empty
}
SEED = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"


def given(**options: Any) -> dict[str, Any]:
    return {**DEFAULTS, **options}


def taken(**options: Any) -> ConnectOptions:
    result = ConnectOptions()
    result.take(given(**options))
    return result


def test_what_none_stands_for() -> None:
    options = taken(ping_interval=None, max_outstanding_pings=None, reconnect_time_wait=None)
    assert options["ping_interval"] == options["max_outstanding_pings"] == math.inf
    assert options["reconnect_time_wait"] == 2
    assert taken(pending_size=None).pending_size == DEFAULTS["pending_size"]


def test_options_that_are_not_given_are_not_there() -> None:
    names = {"tls", "tls_hostname", "ignore_auth_error_abort", "allow_plaintext", "ws_proxy"}
    assert not names & taken().keys()
    options = taken(tls_hostname="h", ignore_auth_error_abort=True, allow_plaintext=True)
    assert names & options.keys() == {"tls_hostname", "ignore_auth_error_abort", "allow_plaintext"}
    # Empty for none, whatever the environment says.
    assert taken(ws_proxy="")["ws_proxy"] == ""


def test_plaintext_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTNATS_ALLOW_PLAINTEXT", "1")
    assert taken()["allow_plaintext"] is True


def test_secrets_are_not_shown() -> None:
    shown = repr(taken(user="u", password="secret", token="secret", ws_proxy="http://u:secret@h"))
    assert "secret" not in shown
    assert "'user': 'u'" in shown
    assert "'password': None" in repr(taken())


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
    assert taken(**options).has_credentials is expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, False),
        ({"allow_reconnect": False}, True),
        ({"max_reconnect_attempts": 0}, True),
        ({"max_reconnect_attempts": -1}, False),
    ],
)
def test_whether_each_server_is_tried_once(options: dict[str, Any], expected: bool) -> None:
    assert taken(**options).tries_once is expected


def test_credentials_that_cannot_be_used_change_nothing() -> None:
    options = taken(name="before")
    with pytest.raises(errors.InvalidUserCredentialsError):
        options.take(given(name="after", nkeys_seed_str="no seed"))
    assert options["name"] == "before"


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
