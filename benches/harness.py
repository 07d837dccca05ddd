"""What the workloads share: the clock, the parameters of a run, and its native other end."""

import argparse
import asyncio
import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import psutil

WARM_UP = 1_000


class Stopwatch:
    """Wall-clock time and CPU time of the whole process: every thread, user and system."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self._cpu = time.process_time()
        self._wall = time.perf_counter()

    def report(self, count: int, size: int) -> dict[str, Any]:
        seconds = time.perf_counter() - self._wall
        cpu = time.process_time() - self._cpu
        return {
            "seconds": seconds,
            "messages": count,
            "rate": count / seconds,
            "mb_per_second": count * size / seconds / 1e6,
            "cpu_seconds": cpu,
            "cpu_per_million": cpu / count * 1e6,
            "rss": rss(),
        }


def rss() -> int:
    return psutil.Process().memory_info().rss


class Bench:
    """The connection and the parameters of one run."""

    def __init__(self, nc: Any, args: argparse.Namespace) -> None:
        self.nc = nc
        self.args = args
        self.count: int = args.count
        self.payload = b"x" * args.size
        self.subject = f"bench.{os.getpid()}"
        self.name = f"bench_{os.getpid()}"

    @contextlib.contextmanager
    def native(self, mode: str, *options: str) -> Iterator[None]:
        """A native process at the other end; `respond` says when it is ready."""
        command = [str(self.args.yardstick), mode, "--url", self.args.url]
        command += ["--subject", self.subject, *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            try:
                if mode == "respond":
                    assert process.stdout is not None
                    assert process.stdout.readline(), "the responder did not start"
                yield
                if mode == "feed":
                    process.communicate(timeout=30)
                    assert process.returncode == 0, "the feeder failed"
            finally:
                process.kill()

    def feeder(self) -> contextlib.AbstractContextManager[None]:
        return self.native("feed", "--count", str(self.count), "--size", str(self.args.size))

    def fill(self, subject: str, count: int, numbered: bool = False) -> None:
        """Stores messages natively and waits for the acks; numbered ones go to subject.0, …

        It holds the event loop up: nothing is measured meanwhile.
        """
        command = [str(self.args.yardstick), "js-fill", "--url", self.args.url]
        command += ["--subject", subject, "--count", str(count), "--size", str(self.args.size)]
        subprocess.run([*command, *(["--numbered"] if numbered else [])], check=True)

    def received(self, watch: Stopwatch) -> dict[str, Any]:
        """The first message starts the clock, so it is not counted."""
        return watch.report(self.count - 1, self.args.size)


def counting(total: int, size: int, watch: Stopwatch | None = None) -> tuple[Any, asyncio.Event]:
    """A handler that looks at each message's data and an event for the last one.

    Given a stopwatch, the first message restarts it.
    """
    done = asyncio.Event()
    seen = 0
    wanted = total * size
    seen_bytes = 0

    async def handler(msg: Any) -> None:
        nonlocal seen, seen_bytes
        if seen == 0 and watch is not None:
            watch.restart()
        seen += 1
        seen_bytes += len(msg.data)
        if seen == total:
            assert seen_bytes == wanted
            done.set()

    return handler, done
