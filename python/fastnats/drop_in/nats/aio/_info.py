"""Reading INFO, which comes from a server that may be broken or hostile."""

from __future__ import annotations

from typing import Any, cast

from nats import errors

_MAX_PAYLOAD = 2**63 - 1
_TEXTS = ("server_id", "server_name", "version", "nonce", "client_ip")


def parse_info(text: bytes) -> dict[str, Any]:
    """The settings in an INFO; ``max_payload``, if there is one, is a size in bytes.

    :raises nats.errors.Error: this isn't a JSON object, or a field the client relies on has a
        value that makes no sense.
    """
    import json

    try:
        info: Any = json.loads(text.decode())
        # Also deep nesting (RecursionError) and numbers beyond all limits.
        return _checked(info)
    except Exception:
        raise errors.Error("nats: info message, json parse error") from None


def _checked(decoded: Any) -> dict[str, Any]:
    if not isinstance(decoded, dict):
        raise ValueError("INFO is not an object")
    info = cast("dict[str, Any]", decoded)
    if "max_payload" in info:
        # As the reference does, which takes a number in a string as well.
        info["max_payload"] = max_payload = int(info["max_payload"])
        if not 0 <= max_payload <= _MAX_PAYLOAD:
            raise ValueError("max_payload is no size")
    for name in _TEXTS:
        if not isinstance(info.get(name, ""), str | None):
            raise ValueError(f"{name} is not a string")
    if not isinstance(info.get("connect_urls") or [], list):
        raise ValueError("connect_urls is not a list")
    urls: list[Any] = info.get("connect_urls") or []
    if urls:
        info["connect_urls"] = [url for url in urls if isinstance(url, str)]
    return info
