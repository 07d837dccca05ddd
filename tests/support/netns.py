"""A server in a network namespace of its own, with a link on which packets can get lost.

Needs root (or the capabilities for it) and iproute2; ``Namespace.__enter__`` raises
``NoNamespace`` where there is no way.
"""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path
from types import TracebackType

from nats.embedded import Server, find_server

# Makes everything, says so, and undoes it when its input ends: also when this process is killed.
# The names are taken by the first two commands, which fail where they exist already.
_SCRIPT = """
set -e
ip netns add "$1"
trap 'ip netns del "$1"' EXIT
ip link add "$2" address "$5" type veth peer name "$2" address "$6" netns "$1"
trap 'ip link del "$2"; ip netns del "$1"' EXIT
ip addr add "$3/30" dev "$2"
ip link set "$2" up
ip -n "$1" addr add "$4/30" dev "$2"
ip -n "$1" link set "$2" up
ip netns exec "$1" true
echo ready
read -r _ || true
"""

_OUR_MAC = "02:00:00:00:00:01"
_THEIR_MAC = "02:00:00:00:00:02"
_NOBODYS_MAC = "02:00:00:00:00:03"
# Names to try before giving up; each is free but for other runs on this machine.
_TRIES = 5


class NoNamespace(Exception):
    """No network namespace can be made here; says why."""


class Namespace:
    """A namespace at the other end of a link. Addresses are of the range for benchmarks."""

    def __init__(self) -> None:
        self.name = ""
        self.ours = ""
        """This end's IP address."""
        self.theirs = ""
        """The namespace's IP address."""
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Namespace:
        if shutil.which("ip") is None:
            raise NoNamespace("there is no `ip` (iproute2)")
        for _ in range(_TRIES):
            error = self._make(random.randrange(1 << 15))
            if not error:
                return self
            if "exists" not in error:
                break
        raise NoNamespace(f"a network namespace can't be made: {error.strip()}")

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.communicate()

    def server(self, directory: Path, jetstream: bool = False) -> Server:
        """A server in the namespace, not started yet; its ``url`` isn't where it can be reached.

        It listens on all of the namespace's addresses: the one it has can't be bound here, where
        the port is reserved.
        """
        program = directory / "nats-server"
        program.write_text(f'#!/bin/sh\nexec ip netns exec {self.name} "{find_server()}" "$@"\n')
        program.chmod(0o755)
        return Server(host="0.0.0.0", executable=program, jetstream=jetstream)

    def lose(self, to_server: bool, to_client: bool) -> None:
        """Have packets get lost without anybody being told, or arrive again."""
        self._lead_to(("neigh",), self.theirs, _NOBODYS_MAC if to_server else _THEIR_MAC)
        inside = ("-n", self.name, "neigh")
        self._lead_to(inside, self.ours, _NOBODYS_MAC if to_client else _OUR_MAC)

    def unplug(self) -> None:
        """Take the link down at the server's end."""
        self._ip("-n", self.name, "link", "set", self.name, "down")

    def plug_in(self) -> None:
        self._ip("-n", self.name, "link", "set", self.name, "up")

    def _lead_to(self, command: tuple[str, ...], address: str, mac: str) -> None:
        # A card drops frames that are for another one.
        self._ip(*command, "replace", address, "lladdr", mac, "dev", self.name, "nud", "permanent")

    def _ip(self, *arguments: str) -> None:
        subprocess.run(("ip", *arguments), check=True, timeout=10)

    def _make(self, number: int) -> str:
        """Returns what went wrong, or nothing."""
        self.name = f"chaos{number}"
        # Four addresses each of 198.18.0.0/15.
        high, low = divmod(4 * number, 256)
        prefix = f"198.{18 + high // 256}.{high % 256}"
        self.ours, self.theirs = f"{prefix}.{low + 1}", f"{prefix}.{low + 2}"
        names = (self.name, self.name, self.ours, self.theirs, _OUR_MAC, _THEIR_MAC)
        process = subprocess.Popen(
            ("sh", "-c", _SCRIPT, "sh", *names),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Ctrl-C is for the tests, which end what they have started.
            start_new_session=True,
        )
        assert process.stdout is not None
        if process.stdout.readline() == "ready\n":
            self._process = process
            return ""
        _, error = process.communicate()
        return error or "it doesn't say why"
