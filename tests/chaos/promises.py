"""What the client has promised while everything around it failed, and whether it was kept.

The books are kept on what calls returned, never on what a server says about itself: a publish
that was acknowledged, a flush that came back, a drain that ended.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

KINDS = (
    "hangs",
    "lost_acked",
    "lost_flushed",
    "lost_by_draining",
    "torn_objects",
    "duplicates",
    "out_of_order",
    "deaf_subscriptions",
    "odd_errors",
)


class Book:
    """Counts what was promised, and notes each promise that was broken."""

    def __init__(self) -> None:
        self.made: Counter[str] = Counter()
        self.broken: Counter[str] = Counter(dict.fromkeys(KINDS, 0))
        self.notes: list[str] = []
        """One line for each broken promise."""

    def broke(self, kind: str, what: str) -> None:
        assert kind in KINDS, kind
        self.broken[kind] += 1
        self.notes.append(f"{kind}: {what}")

    def add(self, other: Book) -> None:
        self.made.update(other.made)
        for kind, count in other.broken.items():
            self.broken[kind] += count
        self.notes += other.notes

    def check(self) -> None:
        """Fail with all notes if there are any."""
        assert not self.notes, "\n".join(self.notes)


class Inbox:
    """What one subscription has received of numbered messages from several publishers.

    A publisher's numbers grow: each has to be greater than the one before it, which rules out
    duplicates as well as a changed order, whatever was lost with a server.
    """

    def __init__(self, name: str, book: Book) -> None:
        self.name = name
        self._book = book
        self._last: dict[str, int] = {}
        self._seen: set[tuple[str, int]] = set()
        self._promised: set[tuple[str, int]] = set()

    def note(self, data: bytes) -> None:
        publisher, text = data.decode().split()
        number = int(text)
        last = self._last.get(publisher, 0)
        if number == last or (publisher, number) in self._seen:
            self._book.broke("duplicates", f"{self.name} got {publisher} {number} again")
        elif number < last:
            self._book.broke("out_of_order", f"{self.name} got {publisher} {number} after {last}")
        self._last[publisher] = max(number, last)
        self._seen.add((publisher, number))

    def promise(self, publisher: str, number: int) -> None:
        """The message must have come by the next ``check``."""
        self._promised.add((publisher, number))
        self._book.made["flushed"] += 1

    def missing(self) -> set[tuple[str, int]]:
        return self._promised - self._seen

    def check(self) -> None:
        """Call when everything received has been handled; starts anew."""
        for publisher, number in sorted(self.missing()):
            self._book.broke("lost_flushed", f"{self.name} never got {publisher} {number}")
        self._promised.clear()
        self._seen.clear()


class Ledger:
    """Messages that a stream has acknowledged.

    Payloads are unique. Those published with ``Nats-Msg-Id`` may be published again and must be
    stored once; those without are published once, and must not be stored twice either: the
    client repeats only what no server can have received.
    """

    def __init__(self, book: Book) -> None:
        self._book = book
        self._acked: dict[int, bytes] = {}
        self._stored: dict[int, bytes] = {}
        self._where: dict[bytes, int] = {}
        self.read_up_to = 0
        """Sequence of the last message checked."""

    @property
    def stored(self) -> dict[int, bytes]:
        """Payloads by sequence, as far as they were read."""
        return self._stored

    def acknowledged(self, seq: int, payload: bytes) -> None:
        self._book.made["acked"] += 1
        other = self._acked.setdefault(seq, payload)
        if other != payload:
            self._book.broke("lost_acked", f"{seq} acknowledged for {other!r} and {payload!r}")

    def found(self, seq: int, payload: bytes) -> None:
        """The stream holds this message."""
        if payload in self._where:
            self._book.broke(
                "duplicates", f"{payload!r} is stored as {self._where[payload]} and {seq}"
            )
        self._where[payload] = seq
        self._stored[seq] = payload
        self.read_up_to = max(self.read_up_to, seq)

    def check(self) -> None:
        """Call when the stream was read to its end."""
        for seq, payload in self._acked.items():
            if seq not in self._stored:
                self._book.broke("lost_acked", f"{payload!r} was acknowledged as {seq}")
            elif self._stored[seq] != payload:
                self._book.broke(
                    "lost_acked", f"{seq} holds {self._stored[seq]!r} instead of {payload!r}"
                )
        # What was found once isn't looked at again.
        self._acked.clear()


class Values:
    """What a bucket has acknowledged: a key's revision never goes back."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._acked: dict[str, tuple[int, bytes]] = {}

    @property
    def keys(self) -> list[str]:
        return list(self._acked)

    def acknowledged(self, key: str, revision: int, value: bytes) -> None:
        self._book.made["acked"] += 1
        if revision > self._acked.get(key, (0, b""))[0]:
            self._acked[key] = (revision, value)

    def latest(self, key: str) -> tuple[int, bytes]:
        """Revision and value that a read which starts now has to find, or what came later."""
        return self._acked[key]

    def found(self, key: str, latest: tuple[int, bytes], entry: Any) -> None:
        """A read has brought this entry; ``latest`` is from before it."""
        revision, value = latest
        lost = entry is None or entry.revision < revision
        if lost or (entry.revision == revision and entry.value != value):
            self._book.broke("lost_acked", f"{key}: {value!r} at {revision}, found {entry!r}")


@dataclass(eq=False)
class Write:
    """A put or a deletion of an object; times are those of a clock that counts events."""

    name: str
    number: int | None
    """What the content tells of itself; ``None`` is a deletion."""
    size: int
    """Bytes of the content."""
    start: int
    end: float = math.inf
    """When it was acknowledged, or by when it has happened if it ever does."""
    acknowledged: bool = False


class Objects:
    """What an object store may hold under each name.

    Writes overlap and fail, so a name can have several contents: of each write that isn't
    followed by an acknowledged one. A write that has failed may still happen until ``settle``:
    its last message can wait in the outbox.
    """

    def __init__(self, book: Book) -> None:
        self._book = book
        self._clock = itertools.count(1)
        self._writes: dict[str, list[Write]] = {}

    @property
    def names(self) -> list[str]:
        return list(self._writes)

    def now(self) -> int:
        return next(self._clock)

    def begin(self, name: str, number: int | None, size: int = 0) -> Write:
        """A write starts."""
        nothing = Write(name, None, 0, 0, 0, acknowledged=True)
        write = Write(name, number, size, self.now())
        self._writes.setdefault(name, [nothing]).append(write)
        return write

    def acknowledged(self, write: Write) -> None:
        self._book.made["objects" if write.number is not None else "objects_deleted"] += 1
        write.end = self.now()
        write.acknowledged = True

    def withdrawn(self, write: Write) -> None:
        """It turned out that there was nothing to write."""
        self._writes[write.name].remove(write)

    def settle(self) -> None:
        """Call when nobody writes and nothing is on its way: what has failed won't happen now."""
        now = self.now()
        for writes in self._writes.values():
            for write in writes:
                write.end = min(write.end, now)

    def found(self, name: str, start: int, number: int | None, size: int) -> None:
        """A read that started then has brought this content, which is whole."""
        possible = self._possible(name, start)
        if not any(write.number == number and write.size == size for write in possible):
            wanted = " or ".join(f"{write.number}" for write in possible)
            self._book.broke("lost_acked", f"object {name} is {number} instead of {wanted}")

    def broken(self, name: str, start: int) -> None:
        """A read that started then has failed, as the content wasn't what it should be: only
        where the object was written meanwhile."""
        if all(write.end <= start for write in self._writes[name]):
            self._book.broke("torn_objects", f"object {name} is there and can't be read")

    def _possible(self, name: str, start: int) -> list[Write]:
        """Writes whose outcome a read that starts then may find."""
        followers = [w for w in self._writes[name] if w.acknowledged and w.end < start]
        last = max((follower.start for follower in followers), default=-1)
        return [write for write in self._writes[name] if write.end >= last]
