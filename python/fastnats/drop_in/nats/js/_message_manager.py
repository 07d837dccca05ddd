"""Management of single messages in streams."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Optional

from nats._texts import with_details
from nats._units import NO_RESPONDERS_STATUS, status_of
from nats.errors import NoRespondersError
from nats.js import api
from nats.js.errors import APIError

from ._api_client import ApiClient
from ._api_requests import decode, encode, last_message_request, no_jetstream, stream_operation
from ._stored import direct_msg, raw_msg

if TYPE_CHECKING:
    from nats.aio.msg import Msg

# Seconds, whatever the timeout of the context is: so it is with nats-py.
_DELETE_MSG_TIMEOUT = 5


class MessageManager(ApiClient):
    """The messages in streams."""

    async def get_msg(
        self,
        stream_name: str,
        seq: Optional[int] = None,
        subject: Optional[str] = None,
        direct: Optional[bool] = False,
        next: Optional[bool] = False,
    ) -> api.RawStreamMsg:
        """Reads one message from a stream.

        :param stream_name: name of the stream.
        :param seq: the message with this sequence.
        :param subject: the last message with this subject.
        :param direct: let any replica answer, which needs ``allow_direct`` (ADR-31). Faster,
            but can miss what has just been published.
        :param next: the first message with ``subject`` at ``seq`` or after it.
        :raises nats.js.errors.NotFoundError: there is no such message.
        :raises nats.errors.NoRespondersError: ``direct`` isn't allowed.
        """
        operation = stream_operation("DIRECT.GET" if direct else "STREAM.MSG.GET", stream_name)
        request: dict[str, Any] = {}
        if next:
            request = {"seq": seq, "next_by_subj": subject}
        elif subject:
            request = {"last_by_subj": subject}
        elif seq:
            request = {"seq": seq}
        if not direct:
            return raw_msg(await self._api_call(operation, request))
        if subject and seq is None:
            operation, payload = last_message_request(stream_name, subject, direct)
        else:
            payload = encode(request)
        answer = await self._api_answer(f"{self._prefix}.{operation}", payload, self._timeout)
        try:
            return self._lift_msg_to_raw_msg(answer)
        except APIError as error:
            raise with_details(error, f"stream {stream_name!r}, {json.dumps(request)}") from None

    async def get_last_msg(
        self,
        stream_name: str,
        subject: str,
        direct: Optional[bool] = False,
    ) -> api.RawStreamMsg:
        """Reads the last message with a subject, as :meth:`get_msg`.

        :param stream_name: name of the stream.
        :param subject: the subject.
        :param direct: let any replica answer.
        """
        return await self.get_msg(stream_name, subject=subject, direct=direct)

    def _stored_msg(self, answer: Msg, direct: bool) -> api.RawStreamMsg:
        """Returns the message in an answer to a request for one.

        :param direct: whether any replica was asked.
        :raises nats.js.errors.Error: as :meth:`get_msg`.
        """
        if status_of(answer.headers) == NO_RESPONDERS_STATUS:
            raise NoRespondersError if direct else no_jetstream()
        if direct:
            return self._lift_msg_to_raw_msg(answer)
        return raw_msg(decode(answer.data))

    @classmethod
    def _lift_msg_to_raw_msg(cls, msg: Any) -> api.RawStreamMsg:
        """Returns the message in the answer to a direct get; nats-py's name for it."""
        return direct_msg(msg)

    async def delete_msg(self, stream_name: str, seq: int) -> bool:
        """Deletes a message from a stream; returns ``True``.

        :param stream_name: name of the stream.
        :param seq: sequence of the message in the stream.
        """
        operation = stream_operation("STREAM.MSG.DELETE", stream_name)
        resp = await self._api_call(operation, {"seq": seq}, _DELETE_MSG_TIMEOUT)
        return bool(resp["success"])
