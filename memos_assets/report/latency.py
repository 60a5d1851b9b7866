"""How long searches take beside exact scans, measured for drawing on logarithmic scales."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from memos_assets.report.axes import Tick, log_axis
from memos_assets.report.formatting import number
from memos_assets.report.tree import IndexUse

Series = Literal["search", "scan"]

#: Units of the drawing: the space of the points, and the margins with what is written there.
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 480, 220, 48, 34, 22, 28


@dataclass(frozen=True, slots=True)
class Point:
    """One index; ``about`` is shown when it is pointed at."""

    x: float
    y: float
    series: Series
    about: str


@dataclass(frozen=True, slots=True)
class LatencyPlot:
    """Medians of searches and of exact scans over rows, one point of each per index."""

    about: str
    points: tuple[Point, ...]
    columns: tuple[Tick, ...]
    lines: tuple[Tick, ...]
    left: int = LEFT
    top: int = TOP
    right: int = LEFT + WIDTH
    bottom: int = TOP + HEIGHT
    width: int = LEFT + WIDTH + RIGHT
    height: int = TOP + HEIGHT + BOTTOM


def latency_plot(indexes: Iterable[IndexUse]) -> LatencyPlot:
    """Return the medians of every index that was measured; without one there are no points."""
    measured = list(_measured(indexes))
    across = log_axis((rows for rows, *_ in measured), LEFT, LEFT + WIDTH)
    upwards = log_axis((ms for _, ms, *_ in measured), TOP + HEIGHT, TOP)
    return LatencyPlot(
        about="Median milliseconds of a search and of an exact scan, over rows of the index",
        points=tuple(
            Point(across.place(rows), upwards.place(milliseconds), series, about)
            for rows, milliseconds, series, about in measured
        ),
        columns=across.ticks,
        lines=upwards.ticks,
    )


def _measured(indexes: Iterable[IndexUse]) -> Iterator[tuple[int, float, Series, str]]:
    for index in indexes:
        if not index.rows:
            continue
        name = f"{index.index}, {number(index.rows)} rows"
        if index.scan_p50_ms:
            yield index.rows, index.scan_p50_ms, "scan", f"{name}: scan {index.scan_p50_ms} ms"
        if index.search_p50_ms:
            text = f"{name}: search {index.search_p50_ms} ms"
            yield index.rows, index.search_p50_ms, "search", text
