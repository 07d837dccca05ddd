"""The CONNECT command, and what it proves with who the client is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional
from urllib.parse import unquote

from nats._core import __version__

from ._credentials import Signing
from ._servers import Srv
from ._types import CONNECT_OP, PROTOCOL, __lang__


def connect_command(
    options: Mapping[str, Any], info: dict[str, Any], credentials: dict[str, Any]
) -> bytes:
    """The CONNECT command."""
    fields: dict[str, Any] = {
        "verbose": options["verbose"],
        "pedantic": options["pedantic"],
        "lang": __lang__,
        "version": f"{__version__}+fastnats",
        "protocol": PROTOCOL,
    }
    if "headers" in info:
        fields["headers"] = info["headers"]
        fields["no_responders"] = info["headers"]
    fields.update(credentials)
    if options["name"] is not None:
        fields["name"] = options["name"]
    if options["no_echo"] is not None:
        fields["echo"] = not options["no_echo"]
    import json

    return CONNECT_OP + b" " + json.dumps(fields, sort_keys=True).encode() + b"\r\n"


def credentials_for(
    server: Optional[Srv], options: Mapping[str, Any], info: dict[str, Any], signing: Signing
) -> dict[str, Any]:
    """What CONNECT proves with who the client is; functions are asked and files read anew."""
    if signing.signature_cb is not None and "nonce" in info:
        return _signature(options, info["nonce"], signing)
    return _credentials(options, server)


def _value(option: Any) -> Any:
    return option() if callable(option) else option


def _signature(options: Mapping[str, Any], nonce: str, signing: Signing) -> dict[str, Any]:
    """The signed nonce; a token may come with it, for authorization callouts."""
    assert signing.signature_cb
    fields: dict[str, Any] = {"sig": signing.signature_cb(nonce).decode()}
    if signing.user_jwt_cb is not None:
        fields["jwt"] = signing.user_jwt_cb().decode()
    elif signing.public_nkey is not None:
        fields["nkey"] = signing.public_nkey
    if options["token"] is not None:
        fields["auth_token"] = _value(options["token"])
    return fields


def _credentials(options: Mapping[str, Any], server: Optional[Srv]) -> dict[str, Any]:
    """User and password before a token, options before what the URL holds.

    A server that another one told of is given what the other one's URL holds.
    """
    if options["user"] is not None and options["password"] is not None:
        return {"user": _value(options["user"]), "pass": _value(options["password"])}
    if options["token"] is not None:
        return {"auth_token": _value(options["token"])}
    if server is None:
        return {}
    uri = server.credentials_of or server.uri
    if uri.username is None:
        return {}
    if uri.password is None:
        return {"auth_token": unquote(uri.username)}
    return {"user": unquote(uri.username), "pass": unquote(uri.password)}
