"""Credentials that are signed with: NKey seeds and credentials files (ADR-14)."""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections import UserString
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, NamedTuple, Optional, Union, cast

from nats._core import public_nkey, sign_with_nkey

from ._types import JWTCallback, SignatureCallback
from .errors import ErrInvalidUserCredentials

_JWT_MARK = b"BEGIN NATS USER JWT"
_SEED_MARK = b"BEGIN USER NKEY SEED"
_BLANKS = b" \t\r"
# What names of files don't look like: a credentials file's text, a seed.
_SECRET = re.compile(r"-----BEGIN|^\s*S[A-Z2-7]{50}")

_Source = Union[str, "os.PathLike[str]", UserString]


class Signing(NamedTuple):
    """How a client proves who it is, asked anew for each connection."""

    signature_cb: Optional[SignatureCallback] = None
    user_jwt_cb: Optional[JWTCallback] = None
    public_nkey: Optional[str] = None


def signing_of_credentials(credentials: Any) -> Signing:
    """Of a credentials file, its text (`RawCredentials`), or a pair of files: JWT and seed.

    :raises nats.aio.errors.ErrInvalidUserCredentials: it is empty.
    :raises TypeError: it is none of these.
    :raises ValueError: the content is given for the name of a file.
    """
    if not credentials:
        raise ErrInvalidUserCredentials
    if isinstance(credentials, tuple):
        pair = cast("tuple[_Source, ...]", credentials)
        if len(pair) != 2:
            raise TypeError("user_credentials: a pair of files has to be two, JWT and seed")
        jwt_file, seed_file = pair
        _check_source("user_credentials", jwt_file)
        _check_source("user_credentials", seed_file)

        def read_jwt() -> bytearray:
            return _read(jwt_file).strip()

        def read_seed() -> bytearray:
            return _read(seed_file)

    else:
        _check_source("user_credentials", credentials)

        def read_jwt() -> bytearray:
            return _line_behind(_JWT_MARK, credentials)

        def read_seed() -> bytearray:
            return _line_behind(_SEED_MARK, credentials)

    return Signing(_signer(read_seed), read_jwt)


def signing_of_seed(seed_file: Any, seed: Optional[str]) -> Signing:
    """Of an NKey's seed, given as text or as the name of a file.

    :raises nats.aio.errors.ErrInvalidUserCredentials: it is no seed.
    :raises OSError: the file can't be read.
    :raises TypeError: neither is of such a type.
    :raises ValueError: the seed is given for the name of a file.
    """
    if not seed and not seed_file:
        raise ErrInvalidUserCredentials
    if not seed:
        _check_source("nkeys_seed", seed_file)

    def read_seed() -> bytearray:
        return bytearray(seed.encode()) if seed else _read(seed_file)

    with _wiped(read_seed()) as secret:
        try:
            public = public_nkey(secret)
        except ValueError:
            raise ErrInvalidUserCredentials from None
    return Signing(_signer(read_seed), None, public)


def _signer(read_seed: Callable[[], bytearray]) -> SignatureCallback:
    def sign(nonce: str) -> bytes:
        with _wiped(read_seed()) as seed:
            try:
                return b64encode(sign_with_nkey(seed, nonce.encode()))
            except ValueError:
                raise ErrInvalidUserCredentials from None

    return sign


@contextmanager
def _wiped(secret: bytearray) -> Generator[bytearray, None, None]:
    try:
        yield secret
    finally:
        secret[:] = bytes(len(secret))


def _check_source(option: str, source: Any) -> None:
    """Checks what is to be read from, before anything is.

    :raises TypeError: it is neither the name of a file nor text in its place. `open` would take
        a number for a descriptor, and close that.
    :raises ValueError: it is what belongs into the file. `open` would show it in its error.
    """
    if isinstance(source, UserString):
        return
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(f"{option}: the name of a file is no {type(source).__name__}")
    if _SECRET.search(os.fsdecode(cast("str | os.PathLike[str]", source))):
        raise ValueError(f"{option}: the name of a file is wanted, not what is in it")


def _read(source: _Source) -> bytearray:
    if isinstance(source, UserString):
        return bytearray(source.data.encode())
    with open(source, "rb", buffering=0) as file:
        content = bytearray(os.fstat(file.fileno()).st_size)
        file.readinto(content)
        return content


def _line_behind(mark: bytes, source: _Source) -> bytearray:
    """The line that follows the one with the mark, without blanks around it.

    :raises nats.aio.errors.ErrInvalidUserCredentials: there is none.
    """
    with _wiped(_read(source)) as content:
        start = content.find(mark)
        begin = content.find(b"\n", start) + 1
        if start < 0 or begin == 0 or begin == len(content):
            raise ErrInvalidUserCredentials
        end = content.find(b"\n", begin)
        end = end if end >= 0 else len(content)
        # `strip` would make a copy that nobody wipes.
        while begin < end and content[end - 1] in _BLANKS:
            end -= 1
        while begin < end and content[begin] in _BLANKS:
            begin += 1
        return content[begin:end]
