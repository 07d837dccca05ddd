"""What is measured: the workloads with their sizes, the implementations, and the bars."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["rate", "latency", "cost"]
Server = Literal["core", "jetstream", "tls", "websocket"]


@dataclass(frozen=True)
class Variant:
    """One implementation in one configuration; `driver` is set for fastnats only."""

    implementation: Literal["fastnats", "nats-py", "native"]
    loop: str = ""
    driver: str = ""

    @property
    def name(self) -> str:
        return "/".join(part for part in (self.implementation, self.driver, self.loop) if part)


@dataclass(frozen=True)
class Workload:
    """Counts differ so that every run lasts a second or three: rates are what is compared."""

    name: str
    fastnats: int
    nats_py: int
    native: int = 0  # 0: the yardstick has no such workload
    size: int = 128
    loops: tuple[str, ...] = ("asyncio", "uvloop")
    scales: bool = True  # --quick may shrink the count

    @property
    def server(self) -> Server:
        """The one it runs against."""
        if self.name.startswith(("js_", "kv_", "object_")):
            return "jetstream"
        if self.name.endswith("_tls"):
            return "tls"
        return "websocket" if self.name.endswith("_ws") else "core"

    def count(self, variant: Variant, quick: bool) -> int:
        counts = {"fastnats": self.fastnats, "nats-py": self.nats_py, "native": self.native}
        count = counts[variant.implementation]
        return max(count // 10, 5) if quick and self.scales else count


@dataclass(frozen=True)
class Row:
    """One line of the table. Ratios of a "cost" must stay below the bar, the others above it.

    A rate's ratio is ours/theirs and a latency's is theirs/ours, so both say "times faster".
    """

    title: str
    workload: str
    metric: str
    kind: Kind
    unit: str
    scale: float = 1.0
    reference_bar: dict[str, float] | float | None = None
    native_bar: float | None = None

    def bar(self, against: str, loop: str) -> float | None:
        if against == "native":
            return self.native_bar
        if isinstance(self.reference_bar, dict):
            return self.reference_bar[loop]
        return self.reference_bar

    def ratio(self, ours: float, theirs: float) -> float:
        return theirs / ours if self.kind == "latency" else ours / theirs

    def met(self, ratio: float, bar: float) -> bool:
        return ratio <= bar if self.kind == "cost" else ratio >= bar


LOOPS = ("asyncio", "uvloop")
DRIVERS = ("tokio", "asyncio")  # the first one is fastnats' default

# The order in which one round visits them.
VARIANTS = (
    Variant("fastnats", "asyncio", "tokio"),
    Variant("nats-py", "asyncio"),
    Variant("fastnats", "uvloop", "tokio"),
    Variant("nats-py", "uvloop"),
    Variant("fastnats", "asyncio", "asyncio"),
    Variant("fastnats", "uvloop", "asyncio"),
    Variant("native"),
)

WORKLOADS = (
    Workload("publish", 3_000_000, 600_000, 3_000_000),
    Workload("publish_headers", 1_500_000, 250_000, 1_000_000),
    Workload("pubsub_callback", 1_000_000, 200_000, 1_000_000),
    Workload("receive_callback", 1_500_000, 250_000, 1_500_000),
    Workload("receive_iter", 1_500_000, 100_000),
    Workload("receive_next_msg", 800_000, 60_000),
    Workload("request_1", 10_000, 5_000, 10_000),
    Workload("request_64", 120_000, 40_000, 120_000),
    Workload("pubsub_16k", 60_000, 40_000, 60_000, size=16 * 1024),
    Workload("rss_idle", 1, 1, scales=False),
    Workload("rss_pending", 100_000, 100_000, scales=False),
    Workload("import_time", 20, 20, loops=("asyncio",)),
    Workload("js_publish", 12_000, 8_000, 12_000),
    Workload("js_publish_async", 200_000, 60_000, 200_000),
    Workload("js_fetch", 100_000, 30_000, 100_000),
    Workload("js_push", 100_000, 60_000, 100_000),
    # The same count: nats-py answers flow control four times a second, in windows that grow.
    Workload("js_ordered", 200_000, 200_000, 200_000),
    Workload("kv_put", 10_000, 5_000, 10_000),
    Workload("kv_get", 10_000, 5_000, 10_000),
    Workload("kv_get_64", 40_000, 15_000, 40_000),
    # Rounds over the 50 000 keys of one bucket.
    Workload("kv_keys", 200_000, 50_000, 200_000),
    Workload("kv_watch", 150_000, 50_000, 150_000),
    Workload("object_put", 8, 3, 8, size=64 << 20, scales=False),
    # Once: nats-py copies what it has read so far for every further chunk.
    Workload("object_get", 8, 1, 8, size=64 << 20, scales=False),
    Workload("publish_tls", 1_500_000, 400_000),
    Workload("pubsub_callback_tls", 600_000, 150_000),
    Workload("publish_ws", 1_500_000, 150_000),
    Workload("pubsub_callback_ws", 600_000, 80_000),
)

MEGA = 1e-6
CORE = (
    Row("publish, then flush", "publish", "rate", "rate", "k msg/s", 1e-3, 8, 0.9),
    Row("publish with 2 headers", "publish_headers", "rate", "rate", "k msg/s", 1e-3, 6),
    Row("publish → callback", "pubsub_callback", "rate", "rate", "k msg/s", 1e-3, 6, 0.8),
    Row("receive, callback", "receive_callback", "rate", "rate", "k msg/s", 1e-3, 6),
    Row("receive, async for", "receive_iter", "rate", "rate", "k msg/s", 1e-3, 12),
    Row("receive, next_msg", "receive_next_msg", "rate", "rate", "k msg/s", 1e-3, 8),
    Row(
        "request p50, 1 in flight",
        "request_1",
        "p50_us",
        "latency",
        "µs",
        reference_bar={"asyncio": 2, "uvloop": 1.3},
        native_bar=0.75,
    ),
    Row("request p99, 1 in flight", "request_1", "p99_us", "latency", "µs"),
    Row("request, 64 in flight", "request_64", "rate", "rate", "k req/s", 1e-3, 3),
    Row("publish → callback, 16 KiB", "pubsub_16k", "mb_per_second", "rate", "MB/s", 1, 2),
    Row("CPU, publish", "publish", "cpu_per_million", "cost", "s/M msg", 1, 0.35),
    Row("CPU, receive", "receive_callback", "cpu_per_million", "cost", "s/M msg", 1, 0.35),
    Row("RSS, idle connection", "rss_idle", "rss", "cost", "MB", MEGA, 1),
    Row("RSS growth by connecting", "rss_idle", "rss_growth", "cost", "MB", MEGA),
    Row("RSS growth, 100 000 pending", "rss_pending", "rss_growth", "cost", "MB", MEGA, 1),
    Row("import nats", "import_time", "import_seconds", "cost", "ms", 1e3, 0.6),
)


def rate(
    title: str, workload: str, unit: str, bar: dict[str, float] | float, metric: str = "rate"
) -> Row:
    """Rates in thousands, but MB/s as they are; async-nats has all of these operations, too."""
    scale = 1e-3 if metric == "rate" else 1
    return Row(title, workload, metric, "rate", unit, scale, bar, 0.7)


JETSTREAM = (
    rate("publish, 1 at a time", "js_publish", "k msg/s", {"asyncio": 2, "uvloop": 1.3}),
    rate("publish_async, window 4000", "js_publish_async", "k msg/s", 10),
    rate("fetch(500), ack each", "js_fetch", "k msg/s", 8),
    rate("push, callback, ack each", "js_push", "k msg/s", 6),
    rate("ordered push, callback", "js_ordered", "k msg/s", 5),
)
STORES = (
    rate("KV put, 1 at a time", "kv_put", "k op/s", {"asyncio": 2.5, "uvloop": 1.3}),
    rate("KV get, 1 at a time", "kv_get", "k op/s", {"asyncio": 2.5, "uvloop": 1.3}),
    rate("KV get, 64 in flight", "kv_get_64", "k op/s", 4),
    rate("KV keys(), 50 000 keys", "kv_keys", "k key/s", 8),
    rate("KV watchall(), 50 000 keys", "kv_watch", "k key/s", 8),
    rate("object put, 64 MiB", "object_put", "MB/s", 5, "mb_per_second"),
    rate("object get, 64 MiB", "object_get", "MB/s", 40, "mb_per_second"),
)
CONNECTIONS = (
    Row("publish, TLS", "publish_tls", "rate", "rate", "k msg/s", 1e-3, 3),
    Row("publish → callback, TLS", "pubsub_callback_tls", "rate", "rate", "k msg/s", 1e-3, 3),
    Row("publish, WebSocket", "publish_ws", "rate", "rate", "k msg/s", 1e-3, 3),
    Row("publish → callback, WebSocket", "pubsub_callback_ws", "rate", "rate", "k msg/s", 1e-3, 3),
)
SECTIONS = {
    "Core": CORE,
    "JetStream": JETSTREAM,
    "Key-value and object store": STORES,
    "TLS and WebSocket": CONNECTIONS,
}
ROWS = tuple(row for rows in SECTIONS.values() for row in rows)
