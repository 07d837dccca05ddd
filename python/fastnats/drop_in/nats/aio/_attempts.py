"""Attempts to reach a server: what failed where, and what no further attempt can mend."""

from __future__ import annotations

import math
import ssl
import time
from collections.abc import Mapping
from typing import Any

from nats import errors

from ._link.tls import NoHandshakeFirst
from ._servers import Srv, address_of

# What a server says of credentials that it doesn't take, or not any more.
_REFUSALS = ("authorization violation", "authentication expired", "authentication revoked")
# Seconds after which a connection has been of use: a server that sooner finds that credentials
# have expired has refused them as well.
_OF_USE = 1.0


class Attempts:
    """What happened at each server since the client began to look for one."""

    def __init__(self) -> None:
        # By address, the last one of each server; the last of all comes last.
        self._failures: dict[str, Exception] = {}
        # How which credentials were refused, by address.
        self._refusals: dict[str, tuple[str, int]] = {}
        self._presented = 0
        # Whether the last failure is the answer of a server that was reached.
        self._is_answer = False
        self._connected_at = -math.inf

    def clear(self) -> None:
        """Forgets what happened before."""
        self._failures.clear()
        self._refusals.clear()

    def succeeded(self, server: Srv) -> None:
        """A connection is in service."""
        self._failures.clear()
        address = address_of(server.uri)
        self._refusals = {at: how for at, how in self._refusals.items() if at == address}
        self._connected_at = time.monotonic()

    def was_of_use(self) -> bool:
        """Whether the last connection has lasted long enough to start counting anew."""
        return time.monotonic() - self._connected_at >= _OF_USE

    def note(self, server: Srv, error: Exception, is_answer: bool) -> None:
        """Keeps a failure.

        :param is_answer: the server was reached.
        """
        address = address_of(server.uri)
        self._failures.pop(address, None)
        self._failures[address] = error
        self._is_answer = is_answer

    def present(self, credentials: Mapping[str, Any]) -> None:
        """Notes which credentials a server is shown now, without keeping them."""
        # The signature is of the server's nonce: another one each time.
        lasting = [(name, value) for name, value in credentials.items() if name != "sig"]
        self._presented = hash(repr(lasting))

    def is_refused_again(self, server: Srv, error: Exception) -> bool:
        """Whether the server refuses the same credentials the way it did before."""
        text = str(error)
        if not isinstance(error, errors.AuthorizationError) and not (
            isinstance(error, errors.Error) and is_refusal(text)
        ):
            return False
        address = address_of(server.uri)
        before = self._refusals.get(address)
        refusal = self._refusals[address] = text, self._presented
        return refusal == before

    def are_over(self, pool: list[Srv], once: bool) -> bool:
        """Whether no server of the pool is worth another attempt, though there are some.

        :param once: each server is tried once; else as long as another attempt may succeed.
        """
        failures = [self._failures.get(address_of(server.uri)) for server in pool]
        return bool(pool) and all(error and (once or is_beyond_retry(error)) for error in failures)

    def final_error(self) -> Exception:
        """What `connect()` raises at the end: a lone server's own answer, or that none is left."""
        if len(self._failures) == 1:
            (error,) = self._failures.values()
            if self._is_answer or is_beyond_retry(error) or isinstance(error, ssl.SSLError):
                return error
        return self.no_servers_error()

    def no_servers_error(self) -> errors.NoServersError:
        """That there is no server left, and why."""
        error = errors.NoServersError()
        if self._failures:
            error.failures = dict(self._failures)
            error.__cause__ = next(reversed(self._failures.values()))
        return error


def is_refusal(text: str) -> bool:
    """Whether an `-ERR` is about credentials that others may take the place of."""
    lowered = text.lower()
    return any(known in lowered for known in _REFUSALS)


def is_unreadable_file(error: Exception) -> bool:
    """Whether a file of credentials or certificates is missing or can't be read."""
    # Errors of sockets name no file.
    return isinstance(error, OSError) and error.filename is not None


def is_beyond_retry(error: Exception) -> bool:
    """Whether the server, or what is asked of it, has to change before another attempt.

    So it has where a certificate can't be trusted, which is a `ValueError`, too.
    """
    kinds = (ValueError, TypeError, errors.SecureConnWantedError, NoHandshakeFirst)
    return isinstance(error, kinds) or is_unreadable_file(error)
