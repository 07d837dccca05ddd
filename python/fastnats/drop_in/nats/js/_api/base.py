"""What all JetStream API objects share: reading the server's JSON, and writing it."""

from __future__ import annotations

import copy
import datetime
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any, Optional, TypeVar, Union, cast

from nats._units import to_nanoseconds, to_seconds

_MICROSECOND_DIGITS = 6
_DIGITS = "0123456789"

_B = TypeVar("_B", bound="Base")


class _Attributes(dict[str, Any]):
    """The `vars()` of an object, and beside them those fields of the server's JSON that its
    attributes don't hold."""

    rest: dict[str, Any]


def _slots(cls: type) -> list[str]:
    """Returns the slots that subclasses in an application have."""
    found: list[str] = []
    for base in cls.__mro__:
        names: Union[str, Iterable[str]] = vars(base).get("__slots__", ())
        for name in [names] if isinstance(names, str) else names:
            if name.startswith("__") and not name.endswith("__"):
                found.append(f"_{base.__name__.lstrip('_')}{name}")
            elif name not in ("__dict__", "__weakref__"):
                found.append(name)
    return found


@dataclass
class Base:
    """A JSON object of the JetStream API.

    Durations are in seconds, where the server has nanoseconds. Strings are as good as members of
    the enumerations, and are what responses hold. Attributes may be assigned.

    Fields that there are no attributes for are kept and sent back, so that a configuration which
    is read, changed and written loses nothing that a newer server knows. They count neither for
    equality nor in the ``repr``.
    """

    def __getstate__(self) -> Any:
        attributes = dict(vars(self))
        if rest := self._rest():
            attributes["_received"] = rest
        slots = {name: getattr(self, name) for name in _slots(type(self)) if hasattr(self, name)}
        return (attributes, slots) if slots else attributes

    def __setstate__(
        self, state: Union[dict[str, Any], tuple[dict[str, Any], dict[str, Any]]]
    ) -> None:
        attributes, slots = state if isinstance(state, tuple) else (state, {})
        attributes = dict(attributes)
        rest = attributes.pop("_received", None)
        vars(self).update(attributes)
        for name, value in slots.items():
            setattr(self, name, value)
        if rest:
            self._receive(rest)

    @staticmethod
    def _convert(resp: dict[str, Any], field: str, type: type[Base]) -> None:
        """Turns a field, or each item if it is a list, into an object of the type, in place."""
        value = resp.get(field)
        if isinstance(value, list):
            items = cast("list[dict[str, Any]]", value)
            resp[field] = [type.from_response(item) for item in items]
        else:
            resp[field] = None if value is None else type.from_response(value)

    @staticmethod
    def _convert_nanoseconds(resp: dict[str, Any], field: str) -> None:
        """Turns a field from nanoseconds into seconds, in place."""
        value = resp.get(field)
        resp[field] = None if value is None else to_seconds(value)

    @staticmethod
    def _to_nanoseconds(val: Optional[float]) -> int:
        """Returns seconds as nanoseconds, 0 for ``None``."""
        return to_nanoseconds(val)

    @staticmethod
    def _convert_utc_iso(resp: dict[str, Any], field: str) -> None:
        """Turns an RFC 3339 text field, if it isn't empty, into a datetime in place."""
        value = resp.get(field)
        if value:
            resp[field] = Base._parse_utc_iso(value)

    @staticmethod
    def _to_utc_iso(date: datetime.datetime) -> str:
        """Returns RFC 3339 text in UTC. Without time zone the date is in UTC; text stays as is."""
        if isinstance(date, str):
            return date
        if date.tzinfo is None:
            date = date.replace(tzinfo=datetime.timezone.utc)
        return date.astimezone(datetime.timezone.utc).isoformat().replace("+00:00", "Z")

    @staticmethod
    def _parse_utc_iso(time_string: str) -> datetime.datetime:
        """Parses RFC 3339 text with up to nanoseconds, which are cut to microseconds."""
        seconds, point, rest = time_string.replace("Z", "+00:00").partition(".")
        zone = rest.lstrip(_DIGITS)
        if point:
            fraction = rest[: len(rest) - len(zone)]
            # Before Python 3.11, `fromisoformat` takes three or six digits only.
            point += fraction[:_MICROSECOND_DIGITS].ljust(_MICROSECOND_DIGITS, "0")
        parsed = datetime.datetime.fromisoformat(seconds + point + zone)
        return parsed.astimezone(datetime.timezone.utc)

    @classmethod
    def _convert_fields(cls, resp: dict[str, Any]) -> None:
        """Turns values of the server's JSON into those of the attributes, in place."""

    @classmethod
    def from_response(cls: type[_B], resp: dict[str, Any]) -> _B:
        """Returns the object for the server's JSON.

        Fields that this version doesn't know are kept for :meth:`as_dict`, here and in nested
        objects.

        :param resp: the JSON object; it isn't changed.
        """
        converted = dict(resp)
        cls._convert_fields(converted)
        known = {
            field.name: converted.pop(field.name)
            for field in fields(cls)
            if field.name in converted
        }
        made = cls(**known)
        for name, value in known.items():
            if isinstance(value, datetime.datetime):
                # Kept for the server's nanoseconds.
                converted[name] = resp[name]
        if converted:
            made._receive(converted)
        return made

    def _receive(self, rest: dict[str, Any]) -> None:
        """Keeps fields of the server's JSON that there are no attributes for."""
        attributes = _Attributes(vars(self))
        attributes.rest = rest
        self.__dict__ = attributes

    def evolve(self: _B, **params: Any) -> _B:
        """Returns a copy with other values for some attributes.

        :param params: attributes and their new values.
        :raises TypeError: there is no such attribute.
        """
        evolved = replace(self, **params)
        rest = self._rest()
        if rest:
            evolved._receive(copy.deepcopy(rest))
        return evolved

    def _rest(self) -> dict[str, Any]:
        """Returns those fields of the server's JSON that the attributes don't hold."""
        rest: dict[str, Any] = getattr(vars(self), "rest", {})
        return rest

    def _time_to_send(self, field: str) -> Optional[str]:
        """Returns a time as RFC 3339 text: the server's own, to the nanosecond, unless it has
        been changed."""
        value = getattr(self, field)
        if value is None:
            return None
        received: Optional[str] = self._rest().get(field)
        if received is not None and self._parse_utc_iso(received) == value:
            return received
        return self._to_utc_iso(value)

    def as_dict(self) -> dict[str, object]:
        """Returns the JSON object to send: without attributes that are ``None``, and with the
        fields of the server's JSON that there are no attributes for."""
        result: dict[str, object] = {}
        rest = dict(self._rest())
        for field in fields(self):
            rest.pop(field.name, None)
            value = getattr(self, field.name)
            if value is not None:
                result[field.name] = _as_json(value)
        return {**result, **rest}


def _as_json(value: Any) -> Any:
    if isinstance(value, Base):
        return value.as_dict()
    if isinstance(value, (list, tuple)):
        return [_as_json(item) for item in cast("list[Any]", value)]
    return value
