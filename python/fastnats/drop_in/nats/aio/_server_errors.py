"""What a server says with ``-ERR``."""

from __future__ import annotations

import re
from typing import NamedTuple, Optional

from nats.protocol.parser import PERMISSIONS_ERR

# After these the server goes on; after everything else it closes the connection.
_PASSING = (
    PERMISSIONS_ERR,
    "maximum subscriptions exceeded",
    "invalid subject",
    "invalid publish subject",
)

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_CASELESS = re.compile(rf'{_QUOTED}|[^"]+|"')
_VIOLATION = re.compile(
    rf"{PERMISSIONS_ERR} for (publish with reply of|publish to|subscription to) ({_QUOTED}|\S+)",
    re.IGNORECASE,
)
_KINDS = {
    "publish to": "publish",
    "publish with reply of": "reply",
    "subscription to": "subscription",
}


class Violation(NamedTuple):
    """Something that the connection's user has no permission for."""

    kind: str
    """``publish``, ``reply`` (a publish, because of its reply subject) or ``subscription``."""
    subject: str


def text_of(error: str) -> str:
    """The text of an error, in lower case as programs compare it, but for what stands in quotes:
    subjects and queue groups have their case."""

    def lowered(part: re.Match[str]) -> str:
        text = part.group()
        return text if text.startswith('"') else text.lower()

    return _CASELESS.sub(lowered, error).strip("'")


def is_passing(text: str) -> bool:
    """Whether the server goes on after this error."""
    return text.startswith(_PASSING)


def violation_of(error: str) -> Optional[Violation]:
    """What the server has refused, if that is what the error says."""
    found = _VIOLATION.match(error.strip("'"))
    if found is None:
        return None
    kind, subject = found.groups()
    if subject.startswith('"'):
        subject = re.sub(r"\\(.)", r"\1", subject[1:-1])
    return Violation(_KINDS[kind.lower()], subject)
