"""Management of consumers."""

from __future__ import annotations

from typing import Any, Optional

from nats._texts import with_details
from nats.js import api
from nats.js.errors import APIError, ConsumerInvalidResetError

from ._api_client import ApiClient
from ._api_requests import consumer_operation, stream_operation
from ._error_codes import CONSUMER_INVALID_RESET
from ._names import check_consumer_name

_LONG_AGO = "1970-01-01T00:00:00Z"


class ConsumerManager(ApiClient):
    """The consumers of streams."""

    async def consumer_info(
        self, stream: str, consumer: str, timeout: Optional[float] = None
    ) -> api.ConsumerInfo:
        """Returns configuration and state of a consumer.

        :param stream: name of the stream.
        :param consumer: name of the consumer.
        :param timeout: seconds; the context's own if not given.
        """
        operation = consumer_operation("CONSUMER.INFO", stream, consumer)
        resp = await self._api_call(operation, timeout=timeout)
        return api.ConsumerInfo.from_response(resp)

    async def add_consumer(
        self,
        stream: str,
        config: Optional[api.ConsumerConfig] = None,
        timeout: Optional[float] = None,
        **params: Any,
    ) -> api.ConsumerInfo:
        """Creates a consumer, or changes it if it exists.

        :param stream: name of the stream.
        :param config: what the consumer is to be like.
        :param timeout: seconds; the context's own if not given.
        :param params: attributes of :class:`nats.js.api.ConsumerConfig`, over those of
            ``config``.
        """
        config = (api.ConsumerConfig() if config is None else config).evolve(**params)
        return await self._create_consumer(stream, config, timeout)

    async def _create_consumer(
        self,
        stream: str,
        config: api.ConsumerConfig,
        timeout: Optional[float] = None,
        action: Optional[str] = None,
    ) -> api.ConsumerInfo:
        """Creates a consumer, as :meth:`add_consumer`.

        :param action: ``create`` for a consumer that mustn't exist with another configuration;
            from nats-server 2.10 on.
        """
        operation = self._create_consumer_operation(stream, config)
        request: dict[str, Any] = {"stream_name": stream, "config": config.as_dict()}
        if action is not None:
            request["action"] = action
        resp = await self._api_call(operation, request, timeout=timeout or None)
        return api.ConsumerInfo.from_response(resp)

    def _create_consumer_operation(self, stream: str, config: api.ConsumerConfig) -> str:
        create = stream_operation("CONSUMER.CREATE", stream)
        for name in (config.name, config.durable_name):
            if name:
                check_consumer_name(name)
        version = self._nc.connected_server_version
        # From nats-server 2.9 on, consumers that aren't durable can have names, too. The filter is
        # in the subject so that permissions can depend on it.
        if config.name and (version.major, version.minor) >= (2, 9):
            has_filter = config.filter_subject and config.filter_subject != ">"
            named = f"{create}.{config.name}"
            return f"{named}.{config.filter_subject}" if has_filter else named
        if config.durable_name:
            return consumer_operation("CONSUMER.DURABLE.CREATE", stream, config.durable_name)
        return create

    async def delete_consumer(self, stream: str, consumer: str) -> bool:
        """Deletes a consumer; returns ``True``.

        :param stream: name of the stream.
        :param consumer: name of the consumer.
        """
        resp = await self._api_call(consumer_operation("CONSUMER.DELETE", stream, consumer))
        return bool(resp["success"])

    async def pause_consumer(
        self,
        stream: str,
        consumer: str,
        pause_until: str,
        timeout: Optional[float] = None,
    ) -> api.ConsumerPause:
        """Has a consumer deliver nothing for a time; nats-server 2.11 or newer.

        :param stream: name of the stream.
        :param consumer: name of the consumer.
        :param pause_until: when the pause ends, RFC 3339 such as ``2030-01-31T12:00:00Z``.
        :param timeout: seconds; the context's own if not given.
        """
        operation = consumer_operation("CONSUMER.PAUSE", stream, consumer)
        resp = await self._api_call(operation, {"pause_until": pause_until}, timeout)
        return api.ConsumerPause.from_response(resp)

    async def resume_consumer(
        self,
        stream: str,
        consumer: str,
        timeout: Optional[float] = None,
    ) -> api.ConsumerPause:
        """Ends the pause of a consumer; nats-server 2.11 or newer.

        :param stream: name of the stream.
        :param consumer: name of the consumer.
        :param timeout: seconds; the context's own if not given.
        """
        return await self.pause_consumer(stream, consumer, _LONG_AGO, timeout)

    async def reset_consumer(
        self,
        stream: str,
        consumer: str,
        seq: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> api.ConsumerReset:
        """Forgets what a consumer has delivered (ADR-60); nats-server 2.14 or newer.

        :param stream: name of the stream.
        :param consumer: name of the consumer.
        :param seq: stream sequence to continue from; by default, and for 0, the first one that
            isn't acknowledged.
        :param timeout: seconds; the context's own if not given.
        :raises nats.js.errors.ConsumerInvalidResetError: ``seq`` isn't possible with the
            ``DeliverPolicy``: before its start, or it isn't one of ``all``,
            ``by_start_sequence`` and ``by_start_time``.
        """
        operation = consumer_operation("CONSUMER.RESET", stream, consumer)
        try:
            resp = await self._api_call(operation, {"seq": seq} if seq else None, timeout)
        except APIError as error:
            if error.err_code != CONSUMER_INVALID_RESET:
                raise
            raise with_details(
                ConsumerInvalidResetError(error.code, error.description, error.err_code),
                error.details,
            ) from error
        return api.ConsumerReset.from_response(resp)

    async def consumers_info(
        self, stream: str, offset: Optional[int] = None
    ) -> list[api.ConsumerInfo]:
        """Returns the consumers of a stream.

        :param stream: name of the stream.
        :param offset: how many to leave out at the beginning.
        """
        pages = await self._api_pages(
            stream_operation("CONSUMER.LIST", stream),
            None if offset is None else {"offset": offset},
            lambda page: page["consumers"],
        )
        return [
            api.ConsumerInfo.from_response(consumer)
            for page in pages
            for consumer in page["consumers"]
        ]
