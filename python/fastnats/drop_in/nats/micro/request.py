"""Requests to a service, and the errors it answers with (ADR-32)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Optional

from nats.aio.msg import Msg

__all__ = ["ERROR_CODE_HEADER", "ERROR_HEADER", "Handler", "Msg", "Request", "ServiceError"]

# Headers that make a reply an error.
ERROR_HEADER = "Nats-Service-Error"
ERROR_CODE_HEADER = "Nats-Service-Error-Code"


class Request:
    """A request that a service's handler has to answer."""

    _msg: Msg

    def __init__(self, msg: Msg) -> None:
        self._msg = msg

    @property
    def subject(self) -> str:
        """The subject that the request was sent to."""
        return self._msg.subject

    @property
    def headers(self) -> Optional[dict[str, str]]:
        """The headers of the request, ``None`` if it has none."""
        return self._msg.headers

    @property
    def data(self) -> bytes:
        """The payload of the request."""
        return self._msg.data

    async def respond(self, data: bytes = b"", headers: Optional[dict[str, str]] = None) -> None:
        """Sends a reply.

        :param data: the payload.
        :param headers: the headers; those of the request aren't repeated.
        :raises ValueError: the sender wants no reply.
        :raises nats.errors.Error: as :meth:`nats.aio.client.Client.publish`.
        """
        if not self._msg.reply:
            raise ValueError("no reply subject set")
        await self._msg._client.publish(self._msg.reply, data, headers=headers)

    async def respond_error(
        self,
        code: str,
        description: str,
        data: bytes = b"",
        headers: Optional[dict[str, str]] = None,
    ) -> None:
        """Sends a reply that two headers mark as an error (ADR-32).

        It doesn't count in the statistics; to have it counted, raise :class:`ServiceError`.

        :param code: for programs, often a number as in HTTP.
        :param description: for people; line ends in it become spaces.
        :param data: the payload.
        :param headers: further headers.
        :raises ValueError: the sender wants no reply.
        :raises nats.errors.Error: as :meth:`nats.aio.client.Client.publish`.
        """
        error = {ERROR_HEADER: description, ERROR_CODE_HEADER: code}
        await self.respond(data, headers={**(headers or {}), **error})


Handler = Callable[[Request], Awaitable[None]]
"""Answers one request; an exception that it raises is sent as an error."""


@dataclass
class ServiceError(Exception):
    """Raised by a handler to answer with an error of its own code and description."""

    code: str
    description: str

    def __repr__(self) -> str:
        return f"{self.code}:{self.description}"

    def to_dict(self) -> dict[str, Any]:
        """The error as a JSON object."""
        return {"code": self.code, "description": self.description}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ServiceError:
        """The error of a JSON object.

        :param data: the object; what is missing becomes empty.
        """
        return cls(code=data.get("code", ""), description=data.get("description", ""))
