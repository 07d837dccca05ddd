"""TLS contexts."""

from __future__ import annotations

import os
import ssl
from typing import Any


class NoHandshakeFirst(ssl.SSLError):
    """A server begins in the clear where `tls_handshake_first` wants TLS."""


def check_tls_option(tls: Any) -> None:
    """
    :raises TypeError: what is given as the option ``tls`` is no context and no path.
    :raises OSError: there is no CA bundle at the path, or none that can be used.
    """
    if tls and not isinstance(tls, (ssl.SSLContext, str, os.PathLike)):
        raise TypeError(f"nats: tls must be an ssl.SSLContext or a path, not {type(tls).__name__}")
    if tls:
        context_of(tls)


def context_of(tls: Any) -> ssl.SSLContext:
    """The context itself, or a default client context that trusts the CA bundle at a path.

    The file is read each time: a bundle that was renewed counts for the next connection.
    """
    if isinstance(tls, (str, os.PathLike)):
        return ssl.create_default_context(cafile=os.fspath(tls))
    context: ssl.SSLContext = tls
    return context
