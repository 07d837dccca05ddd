"""Types of the options of `connect()`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any, NamedTuple, Optional, Union

from ._types import DEFAULT_PENDING_SIZE, DEFAULT_RECONNECT_TIME_WAIT


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

_MOST = 2**63 - 1
# Messages that a server counts up to; it takes a larger limit for none that is left.
MOST_MESSAGES = 999_999_999


def check_option_types(options: Mapping[str, Any]) -> None:
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


def meant(name: str, value: Optional[float]) -> float:
    """The number that an option stands for."""
    return _NONE_MEANS[name] if value is None else value


def whole(limit: Union[int, float]) -> int:
    """A limit as the core counts it, which knows neither fractions nor infinity."""
    if limit >= _MOST:
        return _MOST
    return -_MOST if limit <= -_MOST else int(limit)
