"""Requests to the JetStream API over a client."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Optional

from nats._texts import with_details
from nats.errors import NoRespondersError, TimeoutError
from nats.js.errors import APIError

from ._api_requests import decode, encode, no_jetstream, request_text

if TYPE_CHECKING:
    from nats.aio.client import Client as NATS
    from nats.aio.msg import Msg

logger = logging.getLogger("nats.js.manager")


class ApiClient:
    """What all managers have in common: whom to ask, and how."""

    def __init__(self, conn: NATS, prefix: str, timeout: float) -> None:
        self._prefix = prefix
        self._nc = conn
        self._timeout = timeout

    async def _api_call(
        self,
        operation: str,
        request: Optional[dict[str, Any]] = None,
        timeout: Optional[float] = None,
    ) -> dict[str, Any]:
        """Makes a request and returns the answer.

        :param operation: the subject without the API's prefix.
        :param request: the JSON object to send, if any.
        :param timeout: seconds; the context's own if not given.
        """
        return await self._api_request(
            f"{self._prefix}.{operation}",
            encode(request),
            timeout=self._timeout if timeout is None else timeout,
        )

    async def _api_pages(
        self,
        operation: str,
        request: Optional[dict[str, Any]],
        items: Callable[[dict[str, Any]], Optional[Collection[Any]]],
    ) -> list[dict[str, Any]]:
        """Asks until the server has nothing more to list; returns its answers, the pages.

        :param items: returns what an answer lists.
        """
        pages: list[dict[str, Any]] = []
        offset: int = (request or {}).get("offset") or 0
        while True:
            page = await self._api_call(operation, request)
            pages.append(page)
            missing = page.get("missing") or ()
            if missing:
                logger.warning("nats: the servers of %s don't answer", ", ".join(missing))
            count = len(items(page) or ()) + len(missing)
            offset += count
            if count == 0 or offset >= page.get("total", 0):
                return pages
            request = {**(request or {}), "offset": offset}

    async def _api_request(
        self,
        req_subject: str,
        req: bytes = b"",
        timeout: float = 5,
    ) -> dict[str, Any]:
        """Makes a request and returns the answer; nats-py's name for it.

        :param req_subject: the subject.
        :param req: the payload.
        :param timeout: seconds.
        """
        try:
            answer = await self._api_answer(req_subject, req, timeout)
        except NoRespondersError:
            raise no_jetstream(req_subject) from None
        try:
            return decode(answer.data)
        except APIError as error:
            raise with_details(
                error, request_text(req_subject.removeprefix(self._prefix))
            ) from None

    async def _api_answer(self, subject: str, payload: bytes, timeout: float) -> Msg:
        try:
            return await self._nc.request(subject, payload, timeout=timeout)
        except TimeoutError as error:
            with_details(error, f"no answer to {subject}")
            raise
