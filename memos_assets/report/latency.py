"""How long searches take beside exact scans, measured for drawing on logarithmic scales."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from memos_assets.report.tree import IndexUse
from memos_assets.report.words import number

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
class Tick:
    """A power of ten on an axis."""

    place: float
    label: str


@dataclass(frozen=True, slots=True)
class LatencyPlot:
    """Medians of searches and of exact scans over rows, one point of each per index."""

    about: str
    points: tuple[Point, ...]
    rows: tuple[Tick, ...]
    milliseconds: tuple[Tick, ...]
    left: int = LEFT
    top: int = TOP
    right: int = LEFT + WIDTH
    bottom: int = TOP + HEIGHT
    width: int = LEFT + WIDTH + RIGHT
    height: int = TOP + HEIGHT + BOTTOM


def latency_plot(indexes: Iterable[IndexUse]) -> LatencyPlot:
    """Return the medians of every index that was measured; without one there are no points."""
    measured = list(_measured(indexes))
    columns = _decades([rows for rows, *_ in measured])
    lines = _decades([ms for _, ms, *_ in measured])

    def x(rows: float) -> float:
        return round(LEFT + WIDTH * _share(rows, columns), 1)

    def y(milliseconds: float) -> float:
        return round(TOP + HEIGHT * (1 - _share(milliseconds, lines)), 1)

    return LatencyPlot(
        about="Median milliseconds of a search and of an exact scan, over rows of the index",
        points=tuple(
            Point(x(rows), y(milliseconds), series, about)
            for rows, milliseconds, series, about in measured
        ),
        rows=tuple(Tick(x(10.0**n), _label(n)) for n in range(columns[0], columns[1] + 1)),
        milliseconds=tuple(Tick(y(10.0**n), _label(n)) for n in range(lines[0], lines[1] + 1)),
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


def _decades(values: list[int] | list[float]) -> tuple[int, int]:
    """Return the powers of ten that values lie between; at least one decade."""
    if not values:
        return 0, 1
    low = math.floor(math.log10(min(values)))
    return low, max(math.ceil(math.log10(max(values))), low + 1)


def _share(value: float, decades: tuple[int, int]) -> float:
    low, high = decades
    return (math.log10(value) - low) / (high - low)


def _label(power: int) -> str:
    return f"{10**power:,}" if power >= 0 else f"{10.0**power:g}"
