"""Management of streams."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Optional

from nats._texts import with_details
from nats._units import NOT_FOUND
from nats.js import api
from nats.js.errors import NotFoundError

from ._api_client import ApiClient
from ._api_requests import stream_operation


class StreamManager(ApiClient):
    """The streams of an account."""

    async def find_stream_name_by_subject(self, subject: str) -> str:
        """Returns the name of the stream that stores a subject.

        :param subject: a subject, perhaps with wildcards.
        :raises nats.js.errors.NotFoundError: there is none.
        """
        resp = await self._api_call("STREAM.NAMES", {"subject": subject})
        if not resp["streams"]:
            raise with_details(
                NotFoundError(code=NOT_FOUND),
                f"no stream stores subject {subject!r}: add_stream() creates one",
            )
        name: str = resp["streams"][0]
        return name

    async def stream_info(self, name: str, subjects_filter: Optional[str] = None) -> api.StreamInfo:
        """Returns configuration and state of a stream.

        :param name: of the stream.
        :param subjects_filter: count the messages of each subject that matches this one, in
            ``state.subjects``. The server lists 100 000 subjects in one answer; for more it is
            asked again.
        """
        pages = await self._api_pages(
            stream_operation("STREAM.INFO", name),
            {"subjects_filter": subjects_filter} if subjects_filter else None,
            lambda page: page["state"].get("subjects"),
        )
        info = api.StreamInfo.from_response(pages[-1])
        if len(pages) > 1:
            subjects: dict[str, int] = {}
            for page in pages:
                subjects |= page["state"].get("subjects") or {}
            info.state.subjects = subjects
        return info

    async def add_stream(
        self, config: Optional[api.StreamConfig] = None, **params: Any
    ) -> api.StreamInfo:
        """Creates a stream; does nothing if it exists with the same configuration.

        :param config: what the stream is to be like.
        :param params: attributes of :class:`nats.js.api.StreamConfig`, over those of ``config``.
        :raises nats.js.errors.BadRequestError: it exists with another configuration, or
            overlaps with another stream, or the configuration is invalid.
        """
        return await self._configure_stream("CREATE", config, params)

    async def update_stream(
        self, config: Optional[api.StreamConfig] = None, **params: Any
    ) -> api.StreamInfo:
        """Replaces the configuration of a stream, all of it.

        :param config: what the stream is to be like.
        :param params: attributes of :class:`nats.js.api.StreamConfig`, over those of ``config``.
        """
        return await self._configure_stream("UPDATE", config, params)

    async def _configure_stream(
        self, verb: str, config: Optional[api.StreamConfig], params: dict[str, Any]
    ) -> api.StreamInfo:
        config = (api.StreamConfig() if config is None else config).evolve(**params)
        operation = stream_operation(f"STREAM.{verb}", config.name)
        resp = await self._api_call(operation, config.as_dict())
        return api.StreamInfo.from_response(resp)

    async def delete_stream(self, name: str) -> bool:
        """Deletes a stream with its messages and consumers; returns ``True``.

        :param name: of the stream.
        """
        resp = await self._api_call(stream_operation("STREAM.DELETE", name))
        return bool(resp["success"])

    async def purge_stream(
        self,
        name: str,
        seq: Optional[int] = None,
        subject: Optional[str] = None,
        keep: Optional[int] = None,
    ) -> bool:
        """Removes messages from a stream: all, or those that fit all arguments.

        :param name: of the stream.
        :param seq: only messages before this sequence.
        :param subject: only messages whose subject matches this one.
        :param keep: how many of the last ones stay; not together with ``seq``.
        """
        operation = stream_operation("STREAM.PURGE", name)
        purge = api.StreamPurgeRequest(seq=seq or None, filter=subject or None, keep=keep or None)
        resp = await self._api_call(operation, purge.as_dict())
        return bool(resp["success"])

    async def streams_info(self, offset: int = 0) -> list[api.StreamInfo]:
        """Returns the streams of the account.

        :param offset: how many to leave out at the beginning.
        """
        pages = await self._api_pages(
            "STREAM.LIST", {"offset": offset}, lambda page: page["streams"]
        )
        return [
            api.StreamInfo.from_response(stream) for page in pages for stream in page["streams"]
        ]

    async def streams_info_iterator(self, offset: int = 0) -> Iterable[api.StreamInfo]:
        """Returns a :class:`nats.js.api.StreamsListIterator` over one page of the list, at most
        256 streams; its ``total`` tells whether there are more.

        :param offset: how many to leave out at the beginning.
        """
        resp = await self._api_call("STREAM.LIST", {"offset": offset})
        return api.StreamsListIterator(resp["offset"], resp["total"], resp["streams"])
