"""Operator mode for tests: NKeys, JWTs as `nsc` signs them, credentials files, configurations.

Signed by a library of its own, so that the client's signatures are checked against another.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import struct
import time
from pathlib import Path
from typing import Any

from support.ed25519 import PrivateKey

# First byte of a public key of each kind, see ADR-14.
_OPERATOR, _ACCOUNT, _USER = 14 << 3, 0, 20 << 3
_SEED = 18 << 3

_UNLIMITED = {
    **dict.fromkeys(("subs", "data", "payload", "conn", "imports", "exports", "leaf"), -1),
    "wildcards": True,
}


def _text(raw: bytes) -> str:
    """The text form of a key or seed: with its checksum, in base32."""
    return base64.b32encode(raw + struct.pack("<H", binascii.crc_hqx(raw, 0))).decode().rstrip("=")


class Key:
    """An Ed25519 key in the forms that NATS uses."""

    def __init__(self, kind: int = _USER) -> None:
        secret = os.urandom(32)
        self._key = PrivateKey(secret)
        self.seed = _text(bytes([_SEED | (kind >> 5), (kind & 31) << 3]) + secret)
        self.public = _text(bytes([kind]) + self._key.public)

    def sign(self, data: bytes) -> bytes:
        """The raw signature."""
        return self._key.sign(data)

    def write_seed(self, path: Path, end: str = "\n") -> Path:
        path.write_text(self.seed + end)
        return path

    @property
    def config(self) -> str:
        """Configuration of a server that lets only this user in."""
        return f"authorization {{ users: [ {{ nkey: {self.public} }} ] }}\n"


def sign_jwt(issuer: Key, subject: Key, kind: str, nats: dict[str, Any], **claims: Any) -> str:
    """A JWT, version 2."""
    body: dict[str, Any] = {
        "iat": int(time.time()),
        "iss": issuer.public,
        "name": kind,
        "sub": subject.public,
        "nats": {"type": kind, "version": 2, **nats},
        **claims,
    }
    digest = hashlib.sha256(json.dumps(body).encode()).digest()
    body["jti"] = base64.b32encode(digest).decode().rstrip("=")
    header = {"typ": "JWT", "alg": "ed25519-nkey"}
    signed = ".".join(_base64(json.dumps(part).encode()) for part in (header, body))
    return f"{signed}.{_base64(issuer.sign(signed.encode()))}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class User:
    """A user's key and JWT."""

    def __init__(self, key: Key, jwt: str) -> None:
        self.key = key
        self.jwt = jwt

    def credentials(self, line_end: str = "\n") -> str:
        """The content of a credentials file."""
        lines = (
            "-----BEGIN NATS USER JWT-----",
            self.jwt,
            "------END NATS USER JWT------",
            "",
            "-----BEGIN USER NKEY SEED-----",
            self.key.seed,
            "------END USER NKEY SEED------",
            "",
        )
        return line_end.join(lines)

    def write(self, path: Path) -> Path:
        path.write_text(self.credentials())
        return path


class Operator:
    """An operator with one account for users and one for the system."""

    def __init__(self) -> None:
        self.key, self.account, self.system = Key(_OPERATOR), Key(_ACCOUNT), Key(_ACCOUNT)
        # Made once: a server that runs can't be given another one.
        self.jwt = sign_jwt(self.key, self.key, "operator", {})

    def user(self, *, permissions: dict[str, Any] | None = None, **claims: Any) -> User:
        """A new user of the account; ``claims`` such as ``exp``."""
        return self._user_of(self.account, permissions, claims)

    def system_user(self) -> User:
        """A new user of the system account."""
        return self._user_of(self.system, None, {})

    def _user_of(
        self, account: Key, permissions: dict[str, Any] | None, claims: dict[str, Any]
    ) -> User:
        key = Key()
        nats = {"subs": -1, "data": -1, "payload": -1, **(permissions or {})}
        return User(key, sign_jwt(account, key, "user", nats, **claims))

    def account_jwt(self, *revoked: User) -> str:
        """The JWT of the account for users."""
        return self._account_jwt(self.account, revoked)

    def _account_jwt(self, account: Key, revoked: tuple[User, ...]) -> str:
        revocations = {user.key.public: int(time.time()) for user in revoked}
        claims = {"limits": _UNLIMITED, "revocations": revocations}
        return sign_jwt(self.key, account, "account", claims)

    def config(self, *revoked: User, resolver: str = "MEMORY") -> str:
        """Configuration of a server that knows this operator's accounts."""
        accounts = {
            key.public: self._account_jwt(key, revoked) for key in (self.account, self.system)
        }
        preload = "\n".join(f"{public}: {jwt}" for public, jwt in accounts.items())
        return f"""
operator: {self.jwt}
system_account: {self.system.public}
resolver: {resolver}
resolver_preload {{ {preload} }}
"""
