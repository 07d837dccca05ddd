"""Adding endpoints, and groups of them whose subjects begin alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Optional, Protocol, overload

import nats

from ._config import EndpointConfig, GroupConfig
from .request import Handler

if TYPE_CHECKING:
    import nats.micro.service


class EndpointManager(Protocol):
    """What endpoints can be added to: a service or a group."""

    @overload
    async def add_endpoint(self, config: EndpointConfig) -> None: ...

    @overload
    async def add_endpoint(
        self,
        *,
        name: str,
        handler: Handler,
        queue_group: Optional[str] = None,
        subject: Optional[str] = None,
        metadata: Optional[dict[str, str]] = None,
    ) -> None: ...

    async def add_endpoint(self, config: Optional[EndpointConfig] = None, **kwargs: Any) -> None:
        """Adds an endpoint.

        :param config: what the endpoint is made from.
        :param kwargs: fields of :class:`EndpointConfig`, instead of ``config`` or over it.
        """
        ...


class GroupManager(Protocol):
    """What groups can be added to: a service or a group."""

    @overload
    def add_group(self, *, name: str, queue_group: Optional[str] = None) -> Group: ...

    @overload
    def add_group(self, config: GroupConfig) -> Group: ...

    def add_group(self, config: Optional[GroupConfig] = None, **kwargs: Any) -> Group:
        """Adds a group.

        :param config: what the group is made from.
        :param kwargs: fields of :class:`GroupConfig`, instead of ``config`` or over it.
        """
        ...


class EndpointParent(ABC):
    """What endpoints and groups are added to: a service, or a group of it."""

    _queue_group: Optional[str]

    @overload
    async def add_endpoint(self, config: EndpointConfig) -> None: ...

    @overload
    async def add_endpoint(
        self,
        *,
        name: str,
        handler: Handler,
        queue_group: Optional[str] = None,
        subject: Optional[str] = None,
        metadata: Optional[dict[str, str]] = None,
    ) -> None: ...

    async def add_endpoint(self, config: Optional[EndpointConfig] = None, **kwargs: Any) -> None:
        """Adds an endpoint, which takes requests from now on. In a group, its subject begins with
        the group's name.

        :param config: what the endpoint is made from.
        :param kwargs: fields of :class:`EndpointConfig`, instead of ``config`` or over it.
        :raises ValueError: a value isn't well formed.
        :raises nats.errors.Error: as :meth:`nats.aio.client.Client.subscribe`.
        """
        config = EndpointConfig(**kwargs) if config is None else replace(config, **kwargs)
        await self._start_endpoint(
            replace(config, queue_group=config.queue_group or self._queue_group)
        )

    @overload
    def add_group(self, *, name: str, queue_group: Optional[str] = None) -> Group: ...

    @overload
    def add_group(self, config: GroupConfig) -> Group: ...

    def add_group(self, config: Optional[GroupConfig] = None, **kwargs: Any) -> Group:
        """Makes a group of endpoints whose subjects begin with its name; in a group, behind the
        name of that.

        :param config: what the group is made from.
        :param kwargs: fields of :class:`GroupConfig`, instead of ``config`` or over it.
        """
        config = GroupConfig(**kwargs) if config is None else replace(config, **kwargs)
        return self._make_group(
            replace(config, queue_group=config.queue_group or self._queue_group)
        )

    @abstractmethod
    async def _start_endpoint(self, config: EndpointConfig) -> None:
        """Makes an endpoint that takes requests."""

    @abstractmethod
    def _make_group(self, config: GroupConfig) -> Group:
        """Makes a group."""


class Group(EndpointParent, GroupManager, EndpointManager):
    """Endpoints whose subjects begin with the group's name; see :meth:`Service.add_group`."""

    def __init__(self, service: nats.micro.service.Service, config: GroupConfig) -> None:
        self._service = service
        self._prefix = config.name
        self._queue_group = config.queue_group

    async def _start_endpoint(self, config: EndpointConfig) -> None:
        subject = f"{self._prefix.strip('.')}.{config.subject or config.name}"
        await self._service.add_endpoint(replace(config, subject=subject.strip(".")))

    def _make_group(self, config: GroupConfig) -> Group:
        return Group(self._service, replace(config, name=f"{self._prefix}.{config.name}"))
