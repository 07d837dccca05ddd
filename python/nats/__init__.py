"""NATS client for asyncio: the API of nats-py on a native data path."""

from __future__ import annotations

from pkgutil import extend_path
from typing import Any, Union

# Other distributions install packages into `nats.*`; they have to stay importable.
__path__ = extend_path(__path__, __name__)

from ._core import __version__
from .aio.client import Client as NATS

__all__ = ["NATS", "__version__", "connect"]


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
