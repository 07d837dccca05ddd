"""What the fixture ``connect`` is given and gives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

CLOSE_TIMEOUT = 30.0


class HasUrl(Protocol):
    """A ``Server``, ``Cluster``, ``FakeServer`` or ``Proxy``."""

    @property
    def url(self) -> str: ...


Connect = Callable[..., Awaitable[Any]]
