"""Which class received messages have."""

from __future__ import annotations

from typing import Any, Optional

from nats._core import Connection

from ._session import Session
from .msg import Msg

# The constructor that the core may skip for received messages.
_MSG_INIT: Any = Msg.__init__


class MessageClass:
    """Makes received messages objects of ``msg_class``."""

    _fastnats: Session

    msg_class: type[Msg] = Msg

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        # A subclass may assign it before it calls our `__init__`.
        if name == "msg_class" and isinstance(vars(self).get("_core"), Connection):
            self._choose_message_class()

    def _choose_message_class(self) -> None:
        """Has received messages made the way that `msg_class` and overrides ask for."""
        core = self._fastnats.native()
        cls = self.msg_class
        if type(self)._build_message is not MessageClass._build_message:
            core.set_message_class(self._rebuild_message, False)
        else:
            native = (
                issubclass(cls, Msg)
                and getattr(cls, "__init__", None) is _MSG_INIT
                and cls.__new__ is Msg.__new__
            )
            core.set_message_class(cls, native)

    def _build_message(
        self,
        sid: int,
        subject: bytes,
        reply: bytes,
        data: bytes,
        headers: Optional[dict[str, str]],
    ) -> Msg:
        """Makes a received message; nats-py's hook for subclasses, called only if replaced."""
        client: Any = self
        return self.msg_class(
            subject=subject.decode(),
            reply=reply.decode(),
            data=data,
            headers=headers,
            _client=client,
            _sid=sid,
        )

    def _rebuild_message(
        self,
        subject: str,
        reply: str,
        data: bytes,
        headers: Optional[dict[str, str]],
        _client: Any,
        _sid: int,
    ) -> Msg:
        return self._build_message(_sid, subject.encode(), reply.encode(), data, headers)
