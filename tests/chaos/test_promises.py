"""The books themselves: each kind of broken promise is noticed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from chaos.promises import Book, Inbox, Ledger, Objects, Values


@pytest.fixture
def book() -> Book:
    return Book()


def broken(book: Book) -> list[str]:
    return [kind for kind, count in book.broken.items() for _ in range(count)]


def test_what_was_kept(book: Book) -> None:
    inbox, ledger, values = Inbox("inbox", book), Ledger(book), Values(book)
    inbox.promise("a", 2)
    for data in (b"a 1", b"a 2", b"b 1", b"a 5"):
        inbox.note(data)
    inbox.check()
    ledger.acknowledged(1, b"x")
    ledger.acknowledged(1, b"x")
    ledger.found(1, b"x")
    ledger.found(2, b"never acknowledged")
    ledger.check()
    values.acknowledged("k", 1, b"v")
    values.found("k", values.latest("k"), SimpleNamespace(revision=2, value=b"later"))
    book.check()
    assert broken(book) == []
    assert book.made == {"flushed": 1, "acked": 3}


def test_inbox(book: Book) -> None:
    inbox = Inbox("inbox", book)
    inbox.promise("a", 4)
    for data in (b"a 1", b"a 3", b"a 3", b"a 2", b"a 1"):
        inbox.note(data)
    inbox.check()
    assert broken(book) == ["lost_flushed", "duplicates", "duplicates", "out_of_order"]
    with pytest.raises(AssertionError, match="never got a 4"):
        book.check()


def test_ledger(book: Book) -> None:
    ledger = Ledger(book)
    for seq, payload in enumerate((b"lost", b"another", b"good"), 1):
        ledger.acknowledged(seq, payload)
    ledger.acknowledged(3, b"at the same place")
    for seq, payload in ((2, b"else"), (3, b"good"), (4, b"good")):
        ledger.found(seq, payload)
    ledger.check()
    assert broken(book) == ["lost_acked"] * 3 + ["duplicates"]


@pytest.mark.parametrize(
    "entry",
    [None, SimpleNamespace(revision=1, value=b"v"), SimpleNamespace(revision=2, value=b"x")],
    ids=["gone", "older", "changed"],
)
def test_values(book: Book, entry: object) -> None:
    values = Values(book)
    values.acknowledged("k", 2, b"v")
    values.found("k", values.latest("k"), entry)
    assert broken(book) == ["lost_acked"]


def test_objects_that_are_as_they_should_be(book: Book) -> None:
    objects = Objects(book)
    first = objects.begin("o", 1, 10)
    before = objects.now()
    objects.found("o", before, None, 0)
    objects.broken("o", before)
    objects.acknowledged(first)
    second, third = objects.begin("o", 2, 10), objects.begin("o", 3, 10)
    objects.acknowledged(third)
    # They overlap; and a write that has failed may still happen.
    for number in (2, 3):
        objects.found("o", objects.now(), number, 10)
    # This read had started when the others were written.
    objects.found("o", before, 1, 10)
    objects.acknowledged(second)
    deletion = objects.begin("o", None)
    objects.broken("o", objects.now())
    objects.settle()
    objects.found("o", objects.now(), 2, 10)
    objects.found("o", objects.now(), 3, 10)
    objects.found("o", objects.now(), None, 0)
    objects.withdrawn(deletion)
    assert broken(book) == []
    assert book.made == {"objects": 3}


def test_objects_that_are_not(book: Book) -> None:
    objects = Objects(book)
    objects.acknowledged(objects.begin("o", 1, 10))
    objects.begin("o", 2, 10)
    objects.settle()
    objects.acknowledged(objects.begin("o", 3, 10))
    now = objects.now()
    for number, size in ((1, 10), (2, 10), (3, 9), (None, 0)):
        objects.found("o", now, number, size)
    objects.broken("o", now)
    objects.acknowledged(objects.begin("o", None))
    objects.found("o", objects.now(), 3, 10)
    assert broken(book) == ["lost_acked"] * 5 + ["torn_objects"]
    assert book.made["objects_deleted"] == 1
