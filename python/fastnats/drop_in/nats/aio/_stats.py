"""The counters behind `Client.stats`."""

from __future__ import annotations

_NATIVE = ("in_msgs", "out_msgs", "in_bytes", "out_bytes")


class Stats:
    """A dict of counters, to which the native ones are added when it is looked at."""

    def __init__(self) -> None:
        names: list[str] = [*_NATIVE, "reconnects", "errors_received"]
        self.counters: dict[str, int] = dict.fromkeys(names, 0)
        # What of the native counters is in the dict already.
        self._added = (0, 0, 0, 0)

    def add(self, native: tuple[int, int, int, int]) -> None:
        """Brings the dict up to date, keeping what an application has set in it."""
        for name, now, before in zip(_NATIVE, native, self._added, strict=True):
            self.counters[name] += now - before
        self._added = native

    def restart(self, native: tuple[int, int, int, int]) -> None:
        """Takes in the last of one native connection, before the next begins at zero."""
        self.add(native)
        self._added = (0, 0, 0, 0)
