"""The embedded server, whose home is :mod:`fastnats.embedded`."""

from fastnats.embedded import (
    Cluster,
    EmbeddedError,
    Server,
    ServerNotFoundError,
    ServerStartError,
    find_server,
)

__all__ = [
    "Cluster",
    "EmbeddedError",
    "Server",
    "ServerNotFoundError",
    "ServerStartError",
    "find_server",
]
