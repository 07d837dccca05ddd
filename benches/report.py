"""Medians, ratios and the Markdown table, from the raw measurements."""

import statistics
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from catalog import DRIVERS, LOOPS, ROWS, SECTIONS, WORKLOADS, Row, Variant

# workload -> variant name -> one result per repetition
Samples = dict[str, dict[str, list[dict[str, Any]]]]


@dataclass(frozen=True)
class Comparison:
    """One row on one loop and driver, with what it is compared to."""

    row: Row
    loop: str
    ours: float | None
    reference: float | None
    native: float | None

    def ratio(self, against: str) -> float | None:
        theirs = self.native if against == "native" else self.reference
        if not self.ours or not theirs:
            return None
        return self.row.ratio(self.ours, theirs)

    def verdict(self, against: str) -> str:
        bar, ratio = self.row.bar(against, self.loop), self.ratio(against)
        if bar is None:
            return "-"
        sign = "≤" if self.row.kind == "cost" else "≥"
        if ratio is None:
            return f"{sign} {bar:g}: not measured"
        return f"{sign} {bar:g}: {'met' if self.row.met(ratio, bar) else '**not met**'}"


def median(samples: Samples, workload: str, variant: Variant, metric: str) -> float | None:
    values = [run[metric] for run in samples[workload].get(variant.name, []) if metric in run]
    return statistics.median(values) if values else None


def compare(samples: Samples, driver: str) -> Iterator[Comparison]:
    loops = {workload.name: workload.loops for workload in WORKLOADS}
    for row in ROWS:
        if row.workload not in samples:
            continue
        for loop in LOOPS:
            if loop not in loops[row.workload]:
                continue
            ours = Variant("fastnats", loop, driver)
            yield Comparison(
                row,
                loop,
                median(samples, row.workload, ours, row.metric),
                median(samples, row.workload, Variant("nats-py", loop), row.metric),
                median(samples, row.workload, Variant("native"), row.metric),
            )


def tables(samples: Samples, driver: str) -> Iterator[str]:
    """A heading and a table for each section that was measured."""
    compared = list(compare(samples, driver))
    for title, rows in SECTIONS.items():
        if items := [item for item in compared if item.row in rows]:
            yield f"### {title}"
            yield table(items)


def table(items: list[Comparison]) -> str:
    lines = [
        "| workload | loop | unit | fastnats | nats-py | native | vs nats-py | bar "
        "| vs native | bar |",
        "|---|---|---|--:|--:|--:|--:|---|--:|---|",
    ]
    for item in items:
        values = (item.ours, item.reference, item.native)
        cells = [
            item.row.title,
            item.loop,
            item.row.unit,
            *(_number(value, item.row.scale) for value in values),
            _ratio(item.ratio("nats-py")),
            item.verdict("nats-py"),
            _ratio(item.ratio("native")),
            item.verdict("native"),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _number(value: float | None, scale: float) -> str:
    if value is None:
        return "-"
    value *= scale
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}".replace(",", " ")


def _ratio(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}x"


def markdown(samples: Samples, about: dict[str, Any], failures: list[str]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    parts = [
        "# Benchmark results",
        f"`{about['command']}` on {about['date']}, {about['cpus']} CPUs "
        f"(load {about['load_before']:.1f} before the run); {versions}.",
        f"Medians of {about['repeat']} interleaved repetitions. A ratio of a rate or a latency "
        "says how many times faster fastnats is; of a cost (CPU, RSS, import time) which part of "
        "the other's cost it needs. Every column but `native` ran on the same event loop.",
    ]
    if about["quick"]:
        parts.append("**A `--quick` run: it shows that everything works, not how fast it is.**")
    if "fastnats" not in about["versions"]:
        parts.append("fastnats was not installed: reference and native figures only.")
    titles = {"tokio": "## Default driver (tokio)", "asyncio": "## asyncio driver"}
    measured = {name for runs in samples.values() for name in runs}
    for driver in DRIVERS if "fastnats" in about["versions"] else DRIVERS[:1]:
        if driver == DRIVERS[0] or any(f"/{driver}/" in name for name in measured):
            parts += [titles[driver], *tables(samples, driver)]
    if failures:
        counted = Counter(failures).items()
        lines = [f"- {failure} ({times} of {about['repeat']})" for failure, times in counted]
        parts += ["## Failed runs", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"
