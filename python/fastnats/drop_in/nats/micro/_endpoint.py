"""Endpoints: a handler, its subscription and its statistics."""

from __future__ import annotations

import asyncio
import time
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

import nats
from nats.aio._waits import is_being_cancelled
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from ._config import EndpointConfig
from ._schema import EndpointInfo, EndpointStats
from .request import Request, ServiceError

if TYPE_CHECKING:
    import nats.micro.service

DEFAULT_QUEUE_GROUP = "q"
"""The queue group of endpoints for which there is no other."""

# The request whose handler the running code belongs to.
_current_request: ContextVar[Optional[Request]] = ContextVar("nats_micro_request", default=None)


@dataclass
class _Counters:
    """What an endpoint has counted; times in nanoseconds."""

    num_requests: int = 0
    num_errors: int = 0
    processing_time: int = 0
    average_processing_time: int = 0
    last_error: Optional[str] = None


def _counter(name: str) -> property:
    """Returns a property for a counter, which nats-py has as an attribute of the endpoint."""

    def get(endpoint: Endpoint) -> Any:
        return getattr(endpoint._counters, name)

    def set(endpoint: Endpoint, value: Any) -> None:
        setattr(endpoint._counters, name, value)

    return property(get, set)


class Endpoint:
    """One handler of a service; made by :meth:`Service.add_endpoint`."""

    # Programs that answer requests in tasks of their own count them with these.
    _num_requests = _counter("num_requests")
    _num_errors = _counter("num_errors")
    _processing_time = _counter("processing_time")
    _average_processing_time = _counter("average_processing_time")
    _last_error = _counter("last_error")

    def __init__(self, service: nats.micro.service.Service, config: EndpointConfig) -> None:
        self._service = service
        self._name = config.name
        self._subject = config.subject or config.name
        self._queue_group = config.queue_group or DEFAULT_QUEUE_GROUP
        self._handler = config.handler
        self._metadata = config.metadata or {}
        self._counters = _Counters()
        self._in_hand: set[Request] = set()
        self._subscription: Optional[Subscription] = None

    async def _start(self) -> None:
        self._subscription = await self._service._client.subscribe(
            subject=self._subject,
            queue=self._queue_group,
            cb=self._handle_request,
        )

    def _reset(self) -> None:
        # A request being handled keeps the old counters, or half of it would count in the new ones.
        self._counters = _Counters()

    def _is_caller(self) -> bool:
        """Whether the running code was called by this endpoint's handler."""
        return _current_request.get() in self._in_hand

    def _info(self) -> EndpointInfo:
        return EndpointInfo(
            name=self._name,
            subject=self._subject,
            queue_group=self._queue_group,
            metadata=self._metadata,
        )

    def _stats(self) -> EndpointStats:
        return EndpointStats(
            name=self._name,
            subject=self._subject,
            queue_group=self._queue_group,
            num_requests=self._counters.num_requests,
            num_errors=self._counters.num_errors,
            last_error=self._counters.last_error,
            processing_time=self._counters.processing_time,
            average_processing_time=self._counters.average_processing_time,
        )

    async def _handle_request(self, msg: Msg) -> None:
        start = time.perf_counter_ns()
        counters = self._counters
        counters.num_requests += 1
        request = Request(msg)
        self._in_hand.add(request)
        token = _current_request.set(request)
        try:
            await self._run_handler(request, counters)
        finally:
            _current_request.reset(token)
            self._in_hand.discard(request)
            counters.processing_time += time.perf_counter_ns() - start
            counters.average_processing_time = counters.processing_time // counters.num_requests

    async def _run_handler(self, request: Request, counters: _Counters) -> None:
        try:
            await self._handler(request)
        except (Exception, asyncio.CancelledError) as error:
            # A cancellation of something that the handler was waiting for is a failure of it.
            if isinstance(error, asyncio.CancelledError) and is_being_cancelled():
                raise
            counters.num_errors += 1
            counters.last_error = repr(error)
            if isinstance(error, ServiceError):
                await request.respond_error(error.code, error.description)
            else:
                await request.respond_error("500", repr(error))
