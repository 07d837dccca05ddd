"""What comes with the package ``nats`` of fastnats: how it is found, and a server to embed.

Programs write ``import nats``; nothing of this package is needed for that::

    python -m fastnats      # which implementation `import nats` gives here, and why
    fastnats.activate()     # where interpreters read no .pth files
    fastnats.embedded       # a real nats-server for tests and examples
"""

from __future__ import annotations

from ._activation import activate

__all__ = ["__version__", "activate"]

__version__: str


def __getattr__(name: str) -> str:
    # Reading a distribution's metadata takes longer than all the rest of this package.
    if name == "__version__":
        from importlib.metadata import version

        return version("fastnats")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
