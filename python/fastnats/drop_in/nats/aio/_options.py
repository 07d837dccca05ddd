"""The options of `connect()`: their types, what they stand for, and the dict that nats-py has."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, NamedTuple, Optional

from ._callbacks import check_callbacks
from ._credentials import Signing, signing_of_credentials, signing_of_seed
from ._limits import whole
from ._link.tls import check_tls_option
from ._servers import ReconnectToServerHandler
from ._types import DEFAULT_PENDING_SIZE, DEFAULT_RECONNECT_TIME_WAIT

# Headers are for proxies that ask who comes.
_SECRETS = ("password", "token", "ws_connection_headers", "ws_proxy")

# Those that the dict always has; the order is nats-py's.
_KEPT = (
    "verbose",
    "pedantic",
    "name",
    "allow_reconnect",
    "dont_randomize",
    "reconnect_time_wait",
    "max_reconnect_attempts",
    "ping_interval",
    "max_outstanding_pings",
    "no_echo",
    "user",
    "password",
    "token",
    "connect_timeout",
    "drain_timeout",
    "tls_handshake_first",
    "ws_connection_headers",
    "skip_subject_validation",
)


class ConnectOptions(dict[str, Any]):
    """The dict that nats-py has for what `connect()` was told. It shows no secrets."""

    def __repr__(self) -> str:
        shown = {
            name: "***" if name in _SECRETS and value is not None else value
            for name, value in self.items()
        }
        return repr(shown)


@dataclass
class ConnectSettings:
    """What `connect()` was told that isn't in the dict."""

    signing: Signing = field(default_factory=Signing)
    has_credentials: bool = False
    """Whether an option holds what proves who the client is."""
    pending_size: int = 0
    """Bytes of output that may wait."""
    flush_timeout: Optional[float] = 0
    """Seconds that a publisher waits for room; ``None`` for any time."""
    reconnect_to_server_handler: Optional[ReconnectToServerHandler] = None


def settings_of(given: Mapping[str, Any]) -> ConnectSettings:
    """Returns what the arguments of a `connect()` say, but for the dict.

    :raises nats.errors.InvalidUserCredentialsError: a seed or credentials file is malformed.
    :raises OSError: a file can't be read.
    :raises TypeError: what is given for a file is neither its name nor its content.
    :raises ValueError: the content is given for the name of a file, or ``pending_size`` is no
        number.
    """
    signing = _signing(given)
    has_credentials = bool(
        given["user"]
        or given["password"]
        or given["token"]
        or signing.public_nkey
        or given["user_credentials"] is not None
    )
    return ConnectSettings(
        signing,
        has_credentials,
        whole(_meant("pending_size", given["pending_size"])),
        given["flush_timeout"],
        given["reconnect_to_server_handler"],
    )


def kept_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what the arguments of a `connect()` put into the dict."""
    kept = {name: _meant(name, given[name]) for name in _KEPT}
    kept.update((name, given[name]) for name in ("tls", "tls_hostname") if given[name])
    kept.update(
        (name, True) for name in ("ignore_auth_error_abort", "allow_plaintext") if given[name]
    )
    if os.environ.get("FASTNATS_ALLOW_PLAINTEXT") == "1":
        kept["allow_plaintext"] = True
    if given["ws_proxy"] is not None:
        kept["ws_proxy"] = given["ws_proxy"]
    return kept


def check_options(given: Mapping[str, Any]) -> None:
    """Looks at the arguments of a `connect()` but for the servers and credentials, which are
    checked where they are read.

    :raises TypeError: one is of a wrong type.
    :raises nats.errors.InvalidCallbackTypeError: a callback isn't a coroutine function.
    :raises OSError: there is no CA bundle at the path that is given as ``tls``.
    """
    _check_types(given)
    check_callbacks(given)
    check_tls_option(given["tls"])


def _signing(given: Mapping[str, Any]) -> Signing:
    if given["user_credentials"] is not None:
        return signing_of_credentials(given["user_credentials"])
    if given["nkeys_seed"] is not None or given["nkeys_seed_str"] is not None:
        return signing_of_seed(given["nkeys_seed"], given["nkeys_seed_str"])
    return Signing(given["signature_cb"], given["user_jwt_cb"])


class _Kind(NamedTuple):
    """What an option may be."""

    words: str
    is_valid: Callable[[Any], bool]
    is_optional: bool = False


def _is_number(value: Any) -> bool:
    return isinstance(value, Real)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_text_or_function(value: Any) -> bool:
    return isinstance(value, str) or callable(value)


def _is_text_or_bytes(value: Any) -> bool:
    return isinstance(value, (str, bytes))


def _is_flag(value: Any) -> bool:
    return isinstance(value, int)


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping)


_NUMBER = _Kind("a number", _is_number)
_NUMBER_OR_NONE = _Kind("a number or None", _is_number, is_optional=True)
_FLAG = _Kind("a bool", _is_flag, is_optional=True)
_TEXT = _Kind("a str or None", _is_text, is_optional=True)
_SECRET = _Kind("a str, a function or None", _is_text_or_function, is_optional=True)
_FUNCTION = _Kind("a function or None", callable, is_optional=True)

_KINDS = {
    "max_reconnect_attempts": _NUMBER,
    **dict.fromkeys(
        (
            "reconnect_time_wait",
            "ping_interval",
            "max_outstanding_pings",
            "flusher_queue_size",
            "pending_size",
            "connect_timeout",
            "drain_timeout",
            "flush_timeout",
        ),
        _NUMBER_OR_NONE,
    ),
    **dict.fromkeys(
        (
            "pedantic",
            "verbose",
            "allow_reconnect",
            "dont_randomize",
            "no_echo",
            "tls_handshake_first",
            "skip_subject_validation",
            "ignore_auth_error_abort",
            "allow_plaintext",
        ),
        _FLAG,
    ),
    **dict.fromkeys(("name", "tls_hostname", "nkeys_seed_str", "ws_proxy"), _TEXT),
    **dict.fromkeys(("user", "password", "token"), _SECRET),
    **dict.fromkeys(("signature_cb", "user_jwt_cb", "reconnect_to_server_handler"), _FUNCTION),
    "inbox_prefix": _Kind("a str or bytes", _is_text_or_bytes),
    "ws_connection_headers": _Kind("a dict or None", _is_mapping, is_optional=True),
}

# What `None` stands for. nats-py, too, then sends no PINGs and finds no connection stale.
_NONE_MEANS = {
    "ping_interval": math.inf,
    "max_outstanding_pings": math.inf,
    "reconnect_time_wait": DEFAULT_RECONNECT_TIME_WAIT,
    "pending_size": DEFAULT_PENDING_SIZE,
}


def _check_types(options: Mapping[str, Any]) -> None:
    """Looks at the options that are known here; servers, callbacks and files are checked where
    they are used.

    :raises TypeError: an option is of a wrong type. Its value, which may be a secret, isn't shown.
    """
    for name, kind in _KINDS.items():
        value = options[name]
        if value is None and kind.is_optional:
            continue
        if not kind.is_valid(value):
            raise TypeError(f"nats: {name} must be {kind.words}, not {type(value).__name__}")


def _meant(name: str, value: Any) -> Any:
    """What an option stands for."""
    return _NONE_MEANS.get(name) if value is None else value
