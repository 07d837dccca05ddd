"""Unique identifiers (NUIDs): a random prefix and a sequence with a random step."""

from __future__ import annotations

import os
from random import Random
from sys import maxsize as MaxInt

__all__ = [
    "BASE",
    "DIGITS",
    "INC",
    "MAX_INC",
    "MAX_SEQ",
    "MIN_INC",
    "NUID",
    "PREFIX_LENGTH",
    "SEQ_LENGTH",
    "TOTAL_LENGTH",
    "MaxInt",
    "Random",
]

DIGITS = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
BASE = 62
PREFIX_LENGTH = 12
SEQ_LENGTH = 10
MAX_SEQ = 839299365868340224  # BASE**SEQ_LENGTH
MIN_INC = 33
MAX_INC = 333
INC = MAX_INC - MIN_INC
TOTAL_LENGTH = PREFIX_LENGTH + SEQ_LENGTH


class NUID:
    """Generates identifiers of 22 base-62 digits; not for concurrent use by threads."""

    def __init__(self) -> None:
        self._prand = Random(int.from_bytes(os.urandom(8), "big") % MaxInt)
        self._seq = self._prand.randint(0, MAX_SEQ)
        self._inc = MIN_INC + self._prand.randint(BASE + 1, INC)
        self._prefix = bytearray()
        self.randomize_prefix()

    def next(self) -> bytearray:
        """Returns the next identifier."""
        self._seq += self._inc
        if self._seq >= MAX_SEQ:
            self.randomize_prefix()
            self.reset_sequential()
        rest = self._seq
        suffix = bytearray(SEQ_LENGTH)
        for place in range(SEQ_LENGTH - 1, -1, -1):
            rest, digit = divmod(rest, BASE)
            suffix[place] = DIGITS[digit]
        return self._prefix + suffix

    def randomize_prefix(self) -> None:
        """Chooses a new prefix from the system's entropy."""
        self._prefix = bytearray(DIGITS[byte % BASE] for byte in os.urandom(PREFIX_LENGTH))

    def reset_sequential(self) -> None:
        """Chooses a new start and step of the sequence."""
        self._seq = self._prand.randint(0, MAX_SEQ)
        self._inc = MIN_INC + self._prand.randint(0, INC)
