"""NATS client for asyncio: the API of nats-py on a native data path."""

from __future__ import annotations

import os
import sys
from typing import Any, Union

from ._core import __version__
from .aio.client import Client as NATS

__all__ = ["NATS", "__version__", "connect"]

# Other distributions install packages into `nats.*`; they have to stay importable.
# `pkgutil.extend_path` does the same, but importing pkgutil takes a twentieth of the time that
# importing this package does.
for _entry in sys.path:
    _portion = os.path.join(_entry, __name__)
    if _portion not in __path__ and os.path.isdir(_portion):
        __path__.append(_portion)


def __getattr__(name: str) -> Any:
    # nats-py imports these with the package; JetStream alone would double the import time.
    if name in ("js", "micro"):
        from importlib import import_module

        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


async def connect(servers: Union[str, list[str]] = "nats://localhost:4222", **options: Any) -> NATS:
    """Connects to a NATS server and returns the client.

    :param servers: one URL or a list of them, see :meth:`nats.aio.client.Client.connect`.
    :param options: any other option of :meth:`nats.aio.client.Client.connect`.
    :raises nats.errors.NoServersError: no server could be reached in the allowed attempts.

    ::

        nc = await nats.connect("nats://localhost:4222")
        await nc.publish("greet.joe", b"hello")
        await nc.drain()
    """
    nc = NATS()
    await nc.connect(servers, **options)
    return nc
