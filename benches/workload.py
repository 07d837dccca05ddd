"""One workload on whichever `nats` the running interpreter has; prints one line of JSON.

    .venv/bin/python benches/workload.py publish --url nats://127.0.0.1:4222 --loop uvloop

Only nats-py's public API is used, so the same lines measure both implementations.
FASTNATS_DRIVER (tokio or asyncio) is read by fastnats alone.
"""

import argparse
import asyncio
import gc
import json
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import nats
from harness import WARM_UP, Bench, Stopwatch, counting, rss

YARDSTICK = Path(__file__).parents[1] / "target/release/yardstick"
# A receiver may fall behind the native feeder by the whole run; nothing may be dropped.
UNBOUNDED = {"pending_msgs_limit": 1 << 40, "pending_bytes_limit": 1 << 50}
HEADERS = {"Trace-Id": "0123456789abcdef", "Content-Type": "application/json"}


async def publish(bench: Bench, headers: dict[str, str] | None = None) -> dict[str, Any]:
    nc, subject, payload = bench.nc, bench.subject, bench.payload

    async def send(count: int) -> None:
        if headers is None:
            for _ in range(count):
                await nc.publish(subject, payload)
        else:
            for _ in range(count):
                await nc.publish(subject, payload, headers=headers)
        await nc.flush(timeout=60)

    await send(WARM_UP)
    watch = Stopwatch()
    await send(bench.count)
    return watch.report(bench.count, bench.args.size)


async def publish_headers(bench: Bench) -> dict[str, Any]:
    return await publish(bench, HEADERS)


async def pubsub(bench: Bench, turn_every: int) -> dict[str, Any]:
    """Both ends on one client. `turn_every` lets the loop run after so many messages.

    On asyncio nats-py is fastest without it at 128 B (0) and some 25 % faster with it at 16 KiB,
    where its buffer fills within a few hundred messages; on uvloop it makes no clear difference.
    Both implementations get what suits nats-py.
    """
    nc, payload, size = bench.nc, bench.payload, bench.args.size

    async def exchange(subject: str, count: int) -> dict[str, Any]:
        handler, done = counting(count, size)
        sub = await nc.subscribe(subject, cb=handler, **UNBOUNDED)
        await nc.flush()
        watch = Stopwatch()
        for start in range(0, count, turn_every or count):
            for _ in range(min(turn_every or count, count - start)):
                await nc.publish(subject, payload)
            await asyncio.sleep(0)
        await done.wait()
        result = watch.report(count, size)
        await sub.unsubscribe()
        return result

    await exchange(bench.subject + ".warm", WARM_UP)
    return await exchange(bench.subject, bench.count)


async def pubsub_callback(bench: Bench) -> dict[str, Any]:
    return await pubsub(bench, turn_every=0)


async def pubsub_16k(bench: Bench) -> dict[str, Any]:
    return await pubsub(bench, turn_every=100)


async def receive_callback(bench: Bench) -> dict[str, Any]:
    watch = Stopwatch()
    handler, done = counting(bench.count, bench.args.size, watch)
    await bench.nc.subscribe(bench.subject, cb=handler, **UNBOUNDED)
    await bench.nc.flush()
    with bench.feeder():
        await done.wait()
        return bench.received(watch)


async def receive_iter(bench: Bench) -> dict[str, Any]:
    sub = await bench.nc.subscribe(bench.subject, **UNBOUNDED)
    await bench.nc.flush()
    watch = Stopwatch()
    seen = seen_bytes = 0
    with bench.feeder():
        async for msg in sub.messages:
            if seen == 0:
                watch.restart()
            seen += 1
            seen_bytes += len(msg.data)
            if seen == bench.count:
                break
        result = bench.received(watch)
    assert seen_bytes == bench.count * bench.args.size
    return result


async def receive_next_msg(bench: Bench) -> dict[str, Any]:
    sub = await bench.nc.subscribe(bench.subject, **UNBOUNDED)
    await bench.nc.flush()
    with bench.feeder():
        seen_bytes = len((await sub.next_msg(timeout=30)).data)
        watch = Stopwatch()
        for _ in range(bench.count - 1):
            seen_bytes += len((await sub.next_msg(timeout=30)).data)
        result = bench.received(watch)
    assert seen_bytes == bench.count * bench.args.size
    return result


async def request(bench: Bench, inflight: int) -> dict[str, Any]:
    nc, subject, payload = bench.nc, bench.subject, bench.payload
    clock = time.perf_counter_ns
    nanos: list[int] = []
    left = 0

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            asked = clock()
            reply = await nc.request(subject, payload, timeout=5)
            nanos.append(clock() - asked)
            assert len(reply.data) == len(payload)

    async def run(count: int) -> None:
        nonlocal left
        left = count
        nanos.clear()
        await asyncio.gather(*(worker() for _ in range(inflight)))

    with bench.native("respond", "--one-thread"):
        await run(100)
        watch = Stopwatch()
        await run(bench.count)
        result = watch.report(bench.count, bench.args.size)
    nanos.sort()
    for percent in (50, 99):
        result[f"p{percent}_us"] = nanos[len(nanos) * percent // 100] / 1e3
    return result


async def request_1(bench: Bench) -> dict[str, Any]:
    return await request(bench, 1)


async def request_64(bench: Bench) -> dict[str, Any]:
    return await request(bench, 64)


async def rss_pending(bench: Bench) -> dict[str, Any]:
    """Memory held by messages that nobody has read yet."""
    sub = await bench.nc.subscribe(bench.subject, **UNBOUNDED)
    await bench.nc.flush()
    gc.collect()
    before = rss()
    with bench.feeder():
        # A counter is all there is to watch.
        while sub.pending_msgs < bench.count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    gc.collect()
    return {"rss": rss(), "rss_growth": rss() - before, "messages": bench.count}


async def rss_idle(args: argparse.Namespace) -> dict[str, Any]:
    gc.collect()
    before = rss()
    nc = await nats.connect(args.url)
    await nc.flush()
    await asyncio.sleep(0.3)
    gc.collect()
    result = {"rss": rss(), "rss_growth": rss() - before}
    await nc.close()
    return result


def import_time(args: argparse.Namespace) -> dict[str, Any]:
    """What `import nats` adds to a fresh interpreter; the first pair only warms the caches."""
    seconds: dict[str, list[float]] = {"pass": [], "import nats": []}
    for _ in range(args.count + 1):
        for code, samples in seconds.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            samples.append(time.perf_counter() - started)
    bare, full = (statistics.median(samples[1:]) for samples in seconds.values())
    return {"import_seconds": full - bare, "bare_seconds": bare, "repetitions": args.count}


WORKLOADS: dict[str, Callable[[Bench], Awaitable[dict[str, Any]]]] = {
    workload.__name__: workload
    for workload in (
        publish,
        publish_headers,
        pubsub_callback,
        pubsub_16k,
        receive_callback,
        receive_iter,
        receive_next_msg,
        request_1,
        request_64,
        rss_pending,
    )
}


def find(name: str) -> Callable[[Bench], Awaitable[dict[str, Any]]]:
    """JetStream is imported for its own workloads only: others measure the memory of a process.

    Another kind of connection makes no other workload.
    """
    name = name.removesuffix("_tls").removesuffix("_ws")
    if name in WORKLOADS:
        return WORKLOADS[name]
    from workload_jetstream import WORKLOADS as JETSTREAM

    if name not in JETSTREAM:
        sys.exit(f"unknown workload {name!r}: see catalog.py")
    return JETSTREAM[name]


async def measure(args: argparse.Namespace) -> dict[str, Any]:
    if args.workload == "rss_idle":
        return await rss_idle(args)
    # A dropped message or a lost connection would make the numbers meaningless, or the workload
    # wait for ever: the first error ends it.
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def on_error(error: Exception) -> None:
        if not failed.done():
            failed.set_exception(error)

    workload = find(args.workload)
    options: dict[str, Any] = {}
    if args.authority:
        options["tls"] = ssl.create_default_context(cafile=args.authority)
    nc = await nats.connect(args.url, allow_reconnect=False, error_cb=on_error, **options)
    work = asyncio.ensure_future(workload(Bench(nc, args)))
    both: set[asyncio.Future[Any]] = {work, failed}
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    if failed.done():
        failed.result()
    await nc.close()
    return work.result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", help="a name in catalog.py")
    parser.add_argument("--url", default="nats://127.0.0.1:4222")
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--yardstick", type=Path, default=YARDSTICK)
    parser.add_argument("--authority", help="the file of the one that vouches for the server")
    args = parser.parse_args()

    if args.workload == "import_time":
        result = import_time(args)
    elif args.loop == "uvloop":
        import uvloop

        result = uvloop.run(measure(args))
    else:
        result = asyncio.run(measure(args))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
