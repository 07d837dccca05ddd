"""Signal handlers that raise, as those do that limit time."""

from __future__ import annotations

import signal
from types import FrameType


class Alarm(Exception):
    """What a signal handler raises."""


class Alarms:
    """The alarms of this process."""

    def __init__(self) -> None:
        self.rung = 0

    def ring(self, number: int, frame: FrameType | None) -> None:
        self.rung += 1
        raise Alarm

    def set(self, seconds: float) -> None:
        signal.setitimer(signal.ITIMER_REAL, seconds)
