"""The plot of the ratios to nats-py; needs matplotlib."""

from pathlib import Path
from typing import Any

import matplotlib
from catalog import DRIVERS, LOOPS
from report import Comparison, Samples, compare

COLOURS = {"asyncio": "#3b75af", "uvloop": "#ef8636"}


def draw(samples: Samples, path: Path) -> bool:
    """Whether there was anything to draw."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    groups = {
        "times faster than nats-py (log scale)": ("rate", "latency"),
        "part of nats-py's cost": ("cost",),
    }
    compared = [item for item in compare(samples, DRIVERS[0]) if item.ratio("nats-py")]
    panels = {
        title: [item for item in compared if item.row.kind in kinds]
        for title, kinds in groups.items()
    }
    panels = {title: items for title, items in panels.items() if items}
    if not panels:
        return False
    rows = [len({item.row.title for item in items}) for items in panels.values()]
    figure, axes = pyplot.subplots(
        len(panels),
        figsize=(9, 1.6 + 0.55 * sum(rows)),
        gridspec_kw={"height_ratios": rows},
        squeeze=False,
    )
    for axis, (title, items) in zip(axes[:, 0], panels.items(), strict=True):
        _panel(axis, title, items)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    return True


def _panel(axis: Any, title: str, items: list[Comparison]) -> None:
    names = list(dict.fromkeys(item.row.title for item in items))
    height = 0.38
    for item in items:
        ratio, bar = item.ratio("nats-py"), item.row.bar("nats-py", item.loop)
        assert ratio is not None
        place = names.index(item.row.title) + height * (LOOPS.index(item.loop) - 0.5)
        axis.barh(place, ratio, height, color=COLOURS[item.loop])
        axis.annotate(f" {ratio:.2f}x", (ratio, place), va="center", fontsize=8)
        if bar is not None:
            axis.vlines(bar, place - height / 2, place + height / 2, color="black", linewidth=2)
    if "log" in title:
        axis.set_xscale("log")
        axis.set_xlim(left=0.5)
    axis.axvline(1, color="grey", linewidth=0.8, linestyle=":")
    axis.margins(x=0.15)
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.set_xlabel(title)
    for loop, colour in COLOURS.items():
        axis.barh(0, 0, color=colour, label=loop)
    axis.plot([], [], color="black", linewidth=2, label="bar")
    axis.legend(loc="upper right", fontsize=8)
