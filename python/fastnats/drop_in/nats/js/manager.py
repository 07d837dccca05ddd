"""Management of streams and consumers."""

# ruff: noqa: UP006, UP035 -- public annotations keep the reference's spellings

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, Callable, Collection, Dict, Iterable, List, Optional

from nats._units import NO_MESSAGES_STATUS, NO_RESPONDERS_STATUS, NOT_FOUND, status_of
from nats.aio._types import NATS_HDR_LINE, NATS_HDR_LINE_SIZE
from nats.errors import NoRespondersError, TimeoutError
from nats.js import api
from nats.js.errors import (
    APIError,
    ConsumerInvalidResetError,
    NotFoundError,
    concerning,
)

from ._api_requests import (
    asked_about,
    consumer_operation,
    decode,
    encode,
    last_message_request,
    no_jetstream,
    stream_operation,
    validate_consumer_name,
)
from ._stored import raw_msg

if TYPE_CHECKING:
    from nats.aio.client import Client as NATS
    from nats.aio.msg import Msg

__all__ = ["NATS_HDR_LINE", "NATS_HDR_LINE_SIZE", "JetStreamManager"]

logger = logging.getLogger(__name__)

_CONSUMER_INVALID_RESET = 10204
# Seconds, whatever the timeout of the context: nats-py's.
_DELETE_MSG_TIMEOUT = 5.0
_LONG_AGO = "1970-01-01T00:00:00Z"


class JetStreamManager:
    """Creates, changes, inspects and deletes streams and consumers.

    Each method asks the server and raises, besides what it says itself:

    - :class:`ValueError` for names of streams or consumers that can't exist,
    - :class:`nats.js.errors.APIError`, or the subclass for its code, if the server refuses:
      :class:`~nats.js.errors.NotFoundError` for a stream or consumer that doesn't exist,
    - :class:`nats.js.errors.ServiceUnavailableError` if JetStream isn't available,
    - :class:`nats.errors.TimeoutError` if no answer comes within ``timeout`` seconds.
    """

    def __init__(
        self,
        conn: NATS,
        prefix: str = api.DEFAULT_PREFIX,
        timeout: float = 5,
    ) -> None:
        self._prefix = prefix
        self._nc = conn
        self._timeout = timeout

    async def account_info(self) -> api.AccountInfo:
        """Returns what the account uses of JetStream, and its limits."""
        return api.AccountInfo.from_response(await self._call("INFO"))

    async def find_stream_name_by_subject(self, subject: str) -> str:
        """Returns the name of the stream that stores a subject.

        :raises nats.js.errors.NotFoundError: there is none.
        """
        resp = await self._call("STREAM.NAMES", {"subject": subject})
        if not resp["streams"]:
            raise concerning(
                NotFoundError(code=NOT_FOUND),
                f"no stream stores subject {subject!r}: add_stream() creates one",
            )
        name: str = resp["streams"][0]
        return name

    async def stream_info(self, name: str, subjects_filter: Optional[str] = None) -> api.StreamInfo:
        """Returns configuration and state of a stream.

        :param subjects_filter: count the messages of each subject that matches this one, in
            ``state.subjects``. The server gives 100 000 subjects in one answer; for more it is
            asked again.
        """
        pages = await self._list(
            stream_operation("STREAM.INFO", name),
            {"subjects_filter": subjects_filter} if subjects_filter else None,
            lambda page: page["state"].get("subjects"),
        )
        info = api.StreamInfo.from_response(pages[-1])
        if len(pages) > 1:
            subjects: Dict[str, int] = {}
            for page in pages:
                subjects |= page["state"].get("subjects") or {}
            info.state.subjects = subjects
        return info

    async def add_stream(
        self, config: Optional[api.StreamConfig] = None, **params: Any
    ) -> api.StreamInfo:
        """Creates a stream; does nothing if it exists with the same configuration.

        :param params: attributes of :class:`nats.js.api.StreamConfig`, over those of ``config``.
        :raises nats.js.errors.BadRequestError: it exists with another configuration, or
            overlaps with another stream, or the configuration is invalid.
        """
        return await self._configure_stream("CREATE", config, params)

    async def update_stream(
        self, config: Optional[api.StreamConfig] = None, **params: Any
    ) -> api.StreamInfo:
        """Changes the configuration of a stream, as a whole.

        :param params: attributes of :class:`nats.js.api.StreamConfig`, over those of ``config``.
        """
        return await self._configure_stream("UPDATE", config, params)

    async def _configure_stream(
        self, verb: str, config: Optional[api.StreamConfig], params: Dict[str, Any]
    ) -> api.StreamInfo:
        config = (api.StreamConfig() if config is None else config).evolve(**params)
        operation = stream_operation(f"STREAM.{verb}", config.name)
        resp = await self._call(operation, config.as_dict())
        return api.StreamInfo.from_response(resp)

    async def delete_stream(self, name: str) -> bool:
        """Deletes a stream with its messages and consumers; returns ``True``."""
        resp = await self._call(stream_operation("STREAM.DELETE", name))
        return _success(resp)

    async def purge_stream(
        self,
        name: str,
        seq: Optional[int] = None,
        subject: Optional[str] = None,
        keep: Optional[int] = None,
    ) -> bool:
        """Removes messages from a stream: all, or those that fit all arguments.

        :param seq: only messages before this sequence.
        :param subject: only messages whose subject matches this one.
        :param keep: not the last so many; excludes ``seq``.
        """
        operation = stream_operation("STREAM.PURGE", name)
        purge = api.StreamPurgeRequest(seq=seq or None, filter=subject or None, keep=keep or None)
        resp = await self._call(operation, purge.as_dict())
        return _success(resp)

    async def streams_info(self, offset: int = 0) -> List[api.StreamInfo]:
        """Returns the streams of the account from ``offset`` on, all of them."""
        pages = await self._list("STREAM.LIST", {"offset": offset}, lambda page: page["streams"])
        return [
            api.StreamInfo.from_response(stream) for page in pages for stream in page["streams"]
        ]

    async def streams_info_iterator(self, offset: int = 0) -> Iterable[api.StreamInfo]:
        """Returns an :class:`nats.js.api.StreamsListIterator` over one page of the list, at most
        256 streams from ``offset`` on; its ``total`` tells whether there are more."""
        resp = await self._call("STREAM.LIST", {"offset": offset})
        return api.StreamsListIterator(resp["offset"], resp["total"], resp["streams"])

    async def _list(
        self,
        operation: str,
        request: Optional[Dict[str, Any]],
        items: Callable[[Dict[str, Any]], Optional[Collection[Any]]],
    ) -> List[Dict[str, Any]]:
        """Asks until the server has nothing more to list; returns its answers, the pages.

        :param items: what an answer lists.
        """
        pages: List[Dict[str, Any]] = []
        offset: int = (request or {}).get("offset") or 0
        while True:
            page = await self._call(operation, request)
            pages.append(page)
            missing = page.get("missing") or ()
            if missing:
                logger.warning("nats: the servers of %s don't answer", ", ".join(missing))
            count = len(items(page) or ()) + len(missing)
            offset += count
            if count == 0 or offset >= page.get("total", 0):
                return pages
            request = {**(request or {}), "offset": offset}

    async def consumer_info(
        self, stream: str, consumer: str, timeout: Optional[float] = None
    ) -> api.ConsumerInfo:
        """Returns configuration and state of a consumer."""
        operation = consumer_operation("CONSUMER.INFO", stream, consumer)
        resp = await self._call(operation, timeout=timeout)
        return api.ConsumerInfo.from_response(resp)

    async def add_consumer(
        self,
        stream: str,
        config: Optional[api.ConsumerConfig] = None,
        timeout: Optional[float] = None,
        **params: Any,
    ) -> api.ConsumerInfo:
        """Creates a consumer, or changes it if it exists.

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
        """
        :param action: ``create`` for a consumer that mustn't exist with another configuration;
            nats-server 2.10 or newer heeds it.
        """
        operation = self._create_consumer_operation(stream, config)
        request: Dict[str, Any] = {"stream_name": stream, "config": config.as_dict()}
        if action is not None:
            request["action"] = action
        resp = await self._call(operation, request, timeout=timeout or None)
        return api.ConsumerInfo.from_response(resp)

    def _create_consumer_operation(self, stream: str, config: api.ConsumerConfig) -> str:
        create = stream_operation("CONSUMER.CREATE", stream)
        for name in (config.name, config.durable_name):
            if name:
                validate_consumer_name(name)
        version = self._nc.connected_server_version
        # nats-server 2.9 brought names of consumers apart from durable ones, with the filter in
        # the subject so that permissions can depend on it.
        if config.name and (version.major, version.minor) >= (2, 9):
            has_filter = config.filter_subject and config.filter_subject != ">"
            named = f"{create}.{config.name}"
            return f"{named}.{config.filter_subject}" if has_filter else named
        if config.durable_name:
            return consumer_operation("CONSUMER.DURABLE.CREATE", stream, config.durable_name)
        return create

    async def delete_consumer(self, stream: str, consumer: str) -> bool:
        """Deletes a consumer; returns ``True``."""
        resp = await self._call(consumer_operation("CONSUMER.DELETE", stream, consumer))
        return _success(resp)

    async def pause_consumer(
        self,
        stream: str,
        consumer: str,
        pause_until: str,
        timeout: Optional[float] = None,
    ) -> api.ConsumerPause:
        """Makes a consumer deliver nothing for a time; nats-server 2.11 or newer.

        :param pause_until: when it goes on by itself, RFC 3339 such as ``2030-01-31T12:00:00Z``.
        """
        operation = consumer_operation("CONSUMER.PAUSE", stream, consumer)
        resp = await self._call(operation, {"pause_until": pause_until}, timeout)
        return api.ConsumerPause.from_response(resp)

    async def resume_consumer(
        self,
        stream: str,
        consumer: str,
        timeout: Optional[float] = None,
    ) -> api.ConsumerPause:
        """Ends the pause of a consumer; nats-server 2.11 or newer."""
        return await self.pause_consumer(stream, consumer, _LONG_AGO, timeout)

    async def reset_consumer(
        self,
        stream: str,
        consumer: str,
        seq: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> api.ConsumerReset:
        """Forgets what a consumer has delivered (ADR-60); nats-server 2.14 or newer.

        :param seq: stream sequence to go on from; by default, and if it is 0, the one behind
            the last that is acknowledged together with all before it.
        :raises nats.js.errors.ConsumerInvalidResetError: ``seq`` isn't possible with the
            ``DeliverPolicy``: before its start, or it isn't one of ``all``,
            ``by_start_sequence`` and ``by_start_time``.
        """
        operation = consumer_operation("CONSUMER.RESET", stream, consumer)
        try:
            resp = await self._call(operation, {"seq": seq} if seq else None, timeout)
        except APIError as error:
            if error.err_code != _CONSUMER_INVALID_RESET:
                raise
            raise concerning(
                ConsumerInvalidResetError(error.code, error.description, error.err_code),
                error.details,
            ) from error
        return api.ConsumerReset.from_response(resp)

    async def consumers_info(
        self, stream: str, offset: Optional[int] = None
    ) -> List[api.ConsumerInfo]:
        """Returns the consumers of a stream from ``offset`` on, all of them."""
        pages = await self._list(
            stream_operation("CONSUMER.LIST", stream),
            None if offset is None else {"offset": offset},
            lambda page: page["consumers"],
        )
        return [
            api.ConsumerInfo.from_response(consumer)
            for page in pages
            for consumer in page["consumers"]
        ]

    async def get_msg(
        self,
        stream_name: str,
        seq: Optional[int] = None,
        subject: Optional[str] = None,
        direct: Optional[bool] = False,
        next: Optional[bool] = False,
    ) -> api.RawStreamMsg:
        """Reads one message from a stream.

        :param seq: the message with this sequence.
        :param subject: the last message with this subject.
        :param direct: let any replica answer, which needs ``allow_direct`` (ADR-31). Faster,
            but can miss what has just been published.
        :param next: the first message with ``subject`` at ``seq`` or after it.
        :raises nats.js.errors.NotFoundError: there is no such message.
        :raises nats.errors.NoRespondersError: ``direct`` isn't allowed.
        """
        operation = stream_operation("DIRECT.GET" if direct else "STREAM.MSG.GET", stream_name)
        request: Dict[str, Any] = {}
        if next:
            request = {"seq": seq, "next_by_subj": subject}
        elif subject:
            request = {"last_by_subj": subject}
        elif seq:
            request = {"seq": seq}
        if not direct:
            return raw_msg(await self._call(operation, request))
        if subject and seq is None:
            operation, payload = last_message_request(stream_name, subject, direct)
        else:
            payload = encode(request)
        answer = await self._request(f"{self._prefix}.{operation}", payload, self._timeout)
        try:
            return self._lift_msg_to_raw_msg(answer)
        except APIError as error:
            raise concerning(error, f"stream {stream_name!r}, {json.dumps(request)}") from None

    def _stored_msg(self, answer: Msg, direct: bool) -> api.RawStreamMsg:
        """As :meth:`get_msg`, of an answer that is there already."""
        if status_of(answer.headers) == NO_RESPONDERS_STATUS:
            raise NoRespondersError if direct else no_jetstream()
        if direct:
            return self._lift_msg_to_raw_msg(answer)
        return raw_msg(decode(answer.data))

    @classmethod
    def _lift_msg_to_raw_msg(cls, msg: Any) -> api.RawStreamMsg:
        """Makes the message of a stream of the answer to a direct get (ADR-31)."""
        if not msg.data:
            msg.data = None
            status = status_of(msg.headers)
            if status == NO_MESSAGES_STATUS:
                raise NotFoundError(code=NOT_FOUND)
            if status:
                APIError.from_msg(msg)
        seq = msg.headers.get("Nats-Sequence")
        time = msg.headers.get("Nats-Time-Stamp")
        return api.RawStreamMsg(
            subject=msg.headers["Nats-Subject"],
            seq=int(seq) if seq else None,
            data=msg.data,
            headers=msg.headers,
            time=api.Base._parse_utc_iso(time) if time else None,
        )

    async def delete_msg(self, stream_name: str, seq: int) -> bool:
        """Deletes the message with this sequence from a stream; returns ``True``."""
        operation = stream_operation("STREAM.MSG.DELETE", stream_name)
        resp = await self._call(operation, {"seq": seq}, _DELETE_MSG_TIMEOUT)
        return _success(resp)

    async def get_last_msg(
        self,
        stream_name: str,
        subject: str,
        direct: Optional[bool] = False,
    ) -> api.RawStreamMsg:
        """Reads the last message with a subject, see :meth:`get_msg`."""
        return await self.get_msg(stream_name, subject=subject, direct=direct)

    async def _call(
        self,
        operation: str,
        request: Optional[Dict[str, Any]] = None,
        timeout: Optional[float] = None,
    ) -> Dict[str, Any]:
        """Makes a request of the API.

        :param operation: the subject without the API's prefix.
        :param timeout: seconds; the context's own if not given.
        """
        return await self._api_request(
            f"{self._prefix}.{operation}",
            encode(request),
            timeout=self._timeout if timeout is None else timeout,
        )

    async def _api_request(
        self,
        req_subject: str,
        req: bytes = b"",
        timeout: float = 5,
    ) -> Dict[str, Any]:
        try:
            answer = await self._request(req_subject, req, timeout)
        except NoRespondersError:
            raise no_jetstream(req_subject) from None
        try:
            return decode(answer.data)
        except APIError as error:
            raise concerning(error, asked_about(req_subject.removeprefix(self._prefix))) from None

    async def _request(self, subject: str, payload: bytes, timeout: float) -> Msg:
        try:
            return await self._nc.request(subject, payload, timeout=timeout)
        except TimeoutError as error:
            concerning(error, f"no answer to {subject}")
            raise


def _success(resp: Dict[str, Any]) -> bool:
    success: bool = resp["success"]
    return success
