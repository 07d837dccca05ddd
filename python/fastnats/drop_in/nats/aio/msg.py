"""Messages and their acknowledgement."""

from __future__ import annotations

import copyreg
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Optional, SupportsIndex, Union

from nats._compat import AckTexts, NoReplySubjectError
from nats._core import Message
from nats._units import NANOSECONDS, to_nanoseconds
from nats.errors import Error, MsgAlreadyAckdError, NotJSMessageError

if TYPE_CHECKING:
    import datetime

    from nats.aio.client import Client as NATS

__all__ = [
    "Error",
    "Msg",
    "MsgAlreadyAckdError",
    "NotJSMessageError",
]

# Reply subject of a JetStream message (ADR-15), without and with domain:
# $JS.ACK.<stream>.<consumer>.<delivered>.<sseq>.<cseq>.<time>.<pending>
# $JS.ACK.<domain>.<account hash>.<stream>.<consumer>.<delivered>.<sseq>.<cseq>.<time>.<pending>
# with a random token behind it in some versions.
_V1_TOKEN_COUNT = 9
_V2_MIN_TOKEN_COUNT = 11


@dataclass
class Msg(Message):
    """A message: received, or made to be passed to code that expects one.

    ``subject``, ``reply`` (empty if none is wanted), ``data`` and ``headers`` (a dict, or
    ``None``) may be read and assigned. Of a received message they are made when first read.
    """

    # `field()`: the native attribute of this name is no default.
    _client: NATS = field()
    subject: str = ""
    reply: str = ""
    data: bytes = b""
    headers: Optional[dict[str, str]] = None

    _metadata: Optional[Metadata] = None
    _ackd: bool = False
    _sid: Optional[int] = None

    class Ack(AckTexts):
        """Acknowledgement payloads, and the places of the tokens in a reply subject."""

        Ack = b"+ACK"
        Nak = b"-NAK"
        Progress = b"+WPI"
        Term = b"+TERM"

        Prefix0 = "$JS"
        Prefix1 = "ACK"
        Domain = 2
        AccHash = 3
        Stream = 4
        Consumer = 5
        NumDelivered = 6
        StreamSeq = 7
        ConsumerSeq = 8
        Timestamp = 9
        NumPending = 10

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        """Copies and pickles by the values of the fields, wherever they are kept."""
        state = {name: getattr(self, name) for name in _NATIVE_FIELDS} | vars(self)
        return copyreg.__newobj__, (type(self),), state  # type: ignore[attr-defined]

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)

    @property
    def header(self) -> Optional[dict[str, str]]:
        """The headers, as ``headers``."""
        return self.headers

    @property
    def is_acked(self) -> bool:
        """Whether a final acknowledgement has been sent (``in_progress`` isn't final)."""
        return self._ackd

    @property
    def sid(self) -> int:
        """Id of the subscription that received the message.

        :raises nats.errors.Error: the message wasn't received.
        """
        if self._sid is None:
            raise Error("sid not set")
        return self._sid

    async def respond(self, data: bytes) -> None:
        """Publishes ``data`` to the reply subject, with the headers of this message.

        :raises nats.errors.Error: there is no reply subject (``NoReplySubjectError``, also a
            :class:`ValueError`), or no client to send with.
        """
        if not self.reply:
            raise NoReplySubjectError("no reply subject available")
        if not self._client:
            raise Error("client not set")
        await self._client.publish(self.reply, data, headers=self.headers)

    async def ack(self) -> None:
        """Acknowledges a JetStream message; doesn't wait for the server.

        :raises nats.errors.NotJSMessageError: the message has no reply subject.
        :raises nats.errors.MsgAlreadyAckdError: it has been acknowledged.
        """
        sent = self._acknowledge(b"")
        if sent is not True:
            await self._finish(sent)

    async def ack_sync(self, timeout: float = 1.0) -> Msg:
        """Acknowledges a JetStream message and waits for the server's confirmation.

        :param timeout: seconds.
        :raises nats.errors.TimeoutError: no confirmation in time.
        """
        self._check_reply()
        confirmation = await self._client.request(self.reply, timeout=timeout)
        self._ackd = True
        return confirmation

    async def nak(self, delay: Union[int, float, None] = None) -> None:
        """Asks for redelivery.

        :param delay: seconds to wait before it; at once if not given.
        """
        payload = Msg.Ack.Nak
        if delay:
            import json

            payload += b" " + json.dumps({"delay": to_nanoseconds(delay)}).encode()
        sent = self._acknowledge(payload)
        if sent is not True:
            await self._finish(sent, payload)

    async def in_progress(self) -> None:
        """Tells the server that the message is still being worked on; may be repeated.

        :raises nats.errors.NotJSMessageError: the message has no reply subject.
        """
        if self.reply is None or self.reply == "":
            raise NotJSMessageError
        await self._client.publish(self.reply, Msg.Ack.Progress)

    async def term(self) -> None:
        """Ends redelivery of the message, handled or not."""
        sent = self._acknowledge(Msg.Ack.Term)
        if sent is not True:
            await self._finish(sent, Msg.Ack.Term)

    async def _finish(self, sent: Any, *payload: Any) -> None:
        """Publishes a final acknowledgement that the core has left to us, or waits until there
        is room for what it has sent."""
        if sent is not None:
            await self._client._fastnats.requests.wait_for_room(sent)
            return
        self._check_reply()
        await self._client.publish(self.reply, *payload)
        self._ackd = True

    @property
    def metadata(self) -> Metadata:
        """What JetStream tells about the message, parsed from the reply subject.

        :raises nats.errors.NotJSMessageError: no stream has delivered this message.
        """
        if self._metadata is None:
            self._metadata = Msg.Metadata._from_reply(self.reply)
        return self._metadata

    def _get_metadata_fields(self, reply: Optional[str]) -> list[str]:
        return Msg.Metadata._get_metadata_fields(reply)

    def _check_reply(self) -> None:
        if self.reply is None or self.reply == "":
            raise NotJSMessageError
        if self._ackd:
            raise MsgAlreadyAckdError(self)

    @dataclass(frozen=True)
    class Metadata:
        """Where a JetStream message stands in its stream and consumer (ADR-15).

        ``num_pending`` counts the messages behind it that the consumer still has to deliver,
        ``num_delivered`` the deliveries of this one, ``timestamp`` is when it was stored.
        """

        sequence: SequencePair
        num_pending: int
        num_delivered: int
        timestamp: datetime.datetime
        stream: str
        consumer: str
        domain: Optional[str] = None

        @dataclass(frozen=True)
        class SequencePair:
            """Sequence numbers of one message in its consumer and in its stream."""

            consumer: int
            stream: int

        @classmethod
        def _get_metadata_fields(cls, reply: Optional[str]) -> list[str]:
            if not reply:
                raise NotJSMessageError
            tokens = reply.split(".")
            count = len(tokens)
            if (count == _V1_TOKEN_COUNT or count >= _V2_MIN_TOKEN_COUNT) and tokens[:2] == [
                Msg.Ack.Prefix0,
                Msg.Ack.Prefix1,
            ]:
                return tokens
            raise NotJSMessageError

        @classmethod
        def _from_reply(cls, reply: str) -> Msg.Metadata:
            import datetime

            tokens = cls._get_metadata_fields(reply)
            domain: Optional[str] = None
            if len(tokens) == _V1_TOKEN_COUNT:
                # Aligns the positions with those of the longer form.
                tokens = [*tokens[:2], "", "", *tokens[2:]]
            else:
                domain = tokens[Msg.Ack.Domain]
                # The server writes "_" where there is no domain.
                if domain == "_":
                    domain = ""
            ack = Msg.Ack
            return cls(
                sequence=Msg.Metadata.SequencePair(
                    stream=int(tokens[ack.StreamSeq]),
                    consumer=int(tokens[ack.ConsumerSeq]),
                ),
                num_delivered=int(tokens[ack.NumDelivered]),
                num_pending=int(tokens[ack.NumPending]),
                # Divided as floats, as the reference does: that decides on the last microsecond.
                timestamp=datetime.datetime.fromtimestamp(
                    int(tokens[ack.Timestamp]) / float(NANOSECONDS), datetime.timezone.utc
                ),
                stream=tokens[ack.Stream],
                consumer=tokens[ack.Consumer],
                domain=domain,
            )


def _uncover_native_attributes() -> None:
    """Removes the class attributes that dataclass keeps for defaults: they hide the
    attributes of `Message`, which is where the values are."""
    for native in fields(Msg):
        if native.name in vars(Msg):
            delattr(Msg, native.name)


_uncover_native_attributes()
_NATIVE_FIELDS = tuple(native.name for native in fields(Msg))
