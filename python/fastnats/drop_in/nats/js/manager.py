"""Management of streams, their messages and consumers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nats.aio._types import NATS_HDR_LINE, NATS_HDR_LINE_SIZE
from nats.errors import NoRespondersError
from nats.js import api
from nats.js.errors import (
    APIError,
    ConsumerInvalidResetError,
    NotFoundError,
    ServiceUnavailableError,
)

from ._consumer_manager import ConsumerManager
from ._message_manager import MessageManager
from ._stream_manager import StreamManager

if TYPE_CHECKING:
    from nats.aio.client import Client as NATS

# Names that nats-py's module has; some are only re-exported here.
__all__ = [
    "NATS_HDR_LINE",
    "NATS_HDR_LINE_SIZE",
    "APIError",
    "ConsumerInvalidResetError",
    "JetStreamManager",
    "NoRespondersError",
    "NotFoundError",
    "ServiceUnavailableError",
    "api",
]


class JetStreamManager(StreamManager, ConsumerManager, MessageManager):
    """Creates, changes, inspects and deletes streams and consumers.

    Each method asks the server and raises, besides what its description says:

    - :class:`ValueError` for names of streams or consumers that can't exist,
    - :class:`nats.js.errors.APIError`, or the subclass for its code, if the server refuses:
      :class:`~nats.js.errors.NotFoundError` for a stream or consumer that doesn't exist,
    - :class:`nats.js.errors.ServiceUnavailableError` if JetStream isn't available,
    - :class:`nats.errors.TimeoutError` if no answer comes in time.

    :param conn: the client.
    :param prefix: first tokens of the API's subjects.
    :param timeout: seconds for each request to the server.
    """

    def __init__(
        self,
        conn: NATS,
        prefix: str = api.DEFAULT_PREFIX,
        timeout: float = 5,
    ) -> None:
        super().__init__(conn, prefix, timeout)

    async def account_info(self) -> api.AccountInfo:
        """Returns how much of JetStream the account uses, and its limits."""
        return api.AccountInfo.from_response(await self._api_call("INFO"))
