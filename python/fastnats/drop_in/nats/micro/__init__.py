"""Services on NATS: request handlers that can be discovered and monitored (ADR-32)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Optional

from nats.aio.client import Client

from .request import Handler as Handler
from .request import Request as Request
from .service import Service, ServiceConfig

__all__ = ["add_service"]


async def add_service(nc: Client, config: Optional[ServiceConfig] = None, **kwargs: Any) -> Service:
    """Makes a service and starts it. Endpoints are added to it afterwards.

    :param nc: the client that carries the service.
    :param config: what the service is made from.
    :param kwargs: fields of :class:`nats.micro.service.ServiceConfig`, instead of ``config`` or
        over it.
    :raises ValueError: a value isn't well formed.
    :raises nats.errors.Error: as :meth:`nats.aio.client.Client.subscribe`.

    ::

        async def double(request):
            await request.respond(str(int(request.data) * 2).encode())

        service = await add_service(nc, name="math", version="1.0.0")
        await service.add_endpoint(name="double", handler=double)
    """
    config = ServiceConfig(**kwargs) if config is None else replace(config, **kwargs)
    service = Service(nc, config)
    await service.start()
    return service
