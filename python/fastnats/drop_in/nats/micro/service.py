"""Services: endpoints that can be discovered and monitored (ADR-32)."""

from __future__ import annotations

import asyncio
import json
from asyncio import Event
from datetime import datetime, timezone
from enum import Enum
from types import TracebackType

# The bases of the class are nats-py's.
from typing import Any, AsyncContextManager, Optional  # noqa: UP035

from nats import errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.nuid import NUID

from ._config import (
    NAME_REGEX,
    SEMVER_REGEX,
    SUBJECT_REGEX,
    EndpointConfig,
    GroupConfig,
    ServiceConfig,
    StatsHandler,
)
from ._drain import drain_all
from ._endpoint import DEFAULT_QUEUE_GROUP, Endpoint
from ._group import EndpointManager, EndpointParent, Group, GroupManager
from ._schema import (
    INFO_RESPONSE_TYPE,
    PING_RESPONSE_TYPE,
    STATS_RESPONSE_TYPE,
    EndpointInfo,
    EndpointStats,
    ServiceIdentity,
    ServiceInfo,
    ServicePing,
    ServiceStats,
)
from .request import Handler, Request, ServiceError

# Names that nats-py's module has; some are only re-exported here.
__all__ = [
    "DEFAULT_PREFIX",
    "DEFAULT_QUEUE_GROUP",
    "INFO_RESPONSE_TYPE",
    "NAME_REGEX",
    "PING_RESPONSE_TYPE",
    "SEMVER_REGEX",
    "STATS_RESPONSE_TYPE",
    "SUBJECT_REGEX",
    "Client",
    "Endpoint",
    "EndpointConfig",
    "EndpointInfo",
    "EndpointManager",
    "EndpointStats",
    "Group",
    "GroupConfig",
    "GroupManager",
    "Handler",
    "Msg",
    "Request",
    "Service",
    "ServiceConfig",
    "ServiceError",
    "ServiceIdentity",
    "ServiceInfo",
    "ServicePing",
    "ServiceStats",
    "ServiceVerb",
    "StatsHandler",
    "Subscription",
    "control_subject",
]

# Applications find them here, and pickles of nats-py name this module.
for _public in (
    Endpoint,
    EndpointConfig,
    EndpointInfo,
    EndpointManager,
    EndpointStats,
    Group,
    GroupConfig,
    GroupManager,
    ServiceConfig,
    ServiceIdentity,
    ServiceInfo,
    ServicePing,
    ServiceStats,
):
    _public.__module__ = __name__
del _public

DEFAULT_PREFIX = "$SRV"
"""First token of the subjects on which services are discovered and monitored."""


class ServiceVerb(str, Enum):
    """What a service can be asked on its monitoring subjects."""

    PING = "PING"
    STATS = "STATS"
    INFO = "INFO"


def _now() -> datetime:
    """The time in UTC, without a time zone as in nats-py."""
    return datetime.now(timezone.utc).replace(tzinfo=None)


async def _respond(msg: Msg, answer: dict[str, Any]) -> None:
    await msg.respond(data=json.dumps(answer).encode())


class Service(EndpointParent, AsyncContextManager["Service"]):
    """One instance of a service; made by :func:`nats.micro.add_service`.

    ::

        async def double(request):
            await request.respond(str(int(request.data) * 2).encode())

        async with await add_service(nc, name="math", version="1.0.0") as service:
            await service.add_endpoint(name="double", handler=double)
            await service.stopped.wait()
    """

    def __init__(self, client: Client, config: ServiceConfig) -> None:
        self._id = NUID().next().decode()
        self._name = config.name
        self._version = config.version
        self._description = config.description
        self._metadata = config.metadata or {}
        self._queue_group = config.queue_group
        self._stats_handler = config.stats_handler
        self._client = client
        self._subscriptions: dict[str, Subscription] = {}
        self._endpoints: list[Endpoint] = []
        self._started = _now()
        self._stopping: Optional[asyncio.Task[None]] = None
        self._stopped = Event()
        self._prefix = DEFAULT_PREFIX

    @property
    def id(self) -> str:
        """The id of this instance, among all of the same name."""
        return self._id

    async def start(self) -> None:
        """Makes the service visible: from now on it answers PING, INFO and STATS.

        Does nothing if it has been started.

        :raises nats.errors.Error: as :meth:`nats.aio.client.Client.subscribe`.
        """
        if self._subscriptions:
            return
        self._stopped.clear()
        for verb, handler in (
            (ServiceVerb.PING, self._handle_ping_request),
            (ServiceVerb.INFO, self._handle_info_request),
            (ServiceVerb.STATS, self._handle_stats_request),
        ):
            for name, id in ((None, None), (self._name, None), (self._name, self._id)):
                subject = control_subject(verb, name=name, id=id, prefix=self._prefix)
                self._subscriptions[subject] = await self._client.subscribe(subject, cb=handler)
        self._started = _now()
        await self._client.flush()

    async def _start_endpoint(self, config: EndpointConfig) -> None:
        endpoint = Endpoint(self, config)
        await endpoint._start()
        self._endpoints.append(endpoint)

    def _make_group(self, config: GroupConfig) -> Group:
        return Group(self, config)

    def stats(self) -> ServiceStats:
        """Returns the statistics of all endpoints, as STATS tells them.

        :raises Exception: as the stats handler.
        """
        stats = ServiceStats(
            id=self._id,
            name=self._name,
            version=self._version,
            metadata=self._metadata,
            endpoints=[endpoint._stats() for endpoint in self._endpoints],
            started=self._started,
        )
        if self._stats_handler:
            for endpoint in stats.endpoints:
                endpoint.data = self._stats_handler(endpoint)
        return stats

    def info(self) -> ServiceInfo:
        """Returns the description of the service and its endpoints, as INFO tells it."""
        return ServiceInfo(
            id=self._id,
            name=self._name,
            version=self._version,
            metadata=self._metadata,
            description=self._description,
            endpoints=[endpoint._info() for endpoint in self._endpoints],
        )

    async def reset(self) -> None:
        """Sets the statistics of all endpoints to zero, and the time of the start to now.

        Requests that are being handled don't count in the new statistics.
        """
        for endpoint in self._endpoints:
            endpoint._reset()
        self._started = _now()

    async def stop(self) -> None:
        """Takes no more requests, waits until those received are answered, then ends monitoring.

        Handlers have the client's ``drain_timeout``; those that take longer are cancelled, and
        ``error_cb`` gets a :class:`nats.errors.DrainTimeoutError`. If this call is cancelled,
        stopping goes on. In a handler of the service this returns at once, as the handler has to
        end first; see :attr:`stopped`.

        :raises nats.errors.ConnectionClosedError: the client is closed.
        :raises nats.errors.ConnectionDrainingError: the client drains.
        """
        if self._stopped.is_set():
            return
        if self._stopping is None:
            self._stopping = asyncio.get_running_loop().create_task(self._stop())
        if not any(endpoint._is_caller() for endpoint in self._endpoints):
            await asyncio.shield(self._stopping)

    async def _stop(self) -> None:
        try:
            timeout: float = self._client.options["drain_timeout"]
            endpoints = [each._subscription for each in self._endpoints if each._subscription]
            in_time = await drain_all(endpoints, timeout)
            in_time &= await drain_all(self._subscriptions.values(), timeout)
            self._endpoints = []
            self._subscriptions = {}
            self._stopped.set()
            if not in_time:
                await self._client._fastnats.callbacks.report(errors.DrainTimeoutError())
        finally:
            self._stopping = None

    @property
    def stopped(self) -> Event:
        """Set once the service has stopped."""
        return self._stopped

    async def __aenter__(self) -> Service:
        """Starts the service, unless it has been started."""
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: Optional[type[BaseException]],
        exc: Optional[BaseException],
        tb: Optional[TracebackType],
    ) -> None:
        """Stops the service."""
        await self.stop()

    async def _handle_ping_request(self, msg: Msg) -> None:
        ping = ServicePing(
            id=self._id, name=self._name, version=self._version, metadata=self._metadata
        )
        await _respond(msg, ping.to_dict())

    async def _handle_info_request(self, msg: Msg) -> None:
        await _respond(msg, self.info().to_dict())

    async def _handle_stats_request(self, msg: Msg) -> None:
        await _respond(msg, self.stats().to_dict())


def control_subject(
    verb: ServiceVerb,
    name: Optional[str] = None,
    id: Optional[str] = None,
    prefix: str = DEFAULT_PREFIX,
) -> str:
    """Returns the subject for a question to services (ADR-32).

    :param verb: the question.
    :param name: only services of this name; all if not given.
    :param id: only the instance with this id, of the service called ``name``.
    :param prefix: first token, or tokens, of the subject.
    """
    if name is None and id is None:
        return f"{prefix}.{verb.value}"
    if id is None:
        return f"{prefix}.{verb.value}.{name}"
    return f"{prefix}.{verb.value}.{name}.{id}"
