"""Points over two logarithmic axes, as lines or scattered, measured for drawing.

The template writes them as SVG. Bars are in `plots`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

#: Units of the drawing: the field, and the room around it for ticks, axis names and labels.
FIELD_WIDTH, FIELD_HEIGHT = 420, 260
LEFT, TOP, BELOW, LABEL_WIDTH = 70, 14, 44, 190
#: Told apart without colour, too: every series has its label beside its last point.
COLOURS = ("#c2452d", "#3c8a5f", "#5b7a99", "#b07d2b", "#7a5b99", "#8a8a8a")
_LINE_HEIGHT = 14


class Point(NamedTuple):
    """Two values above 0; ``about`` is the tooltip of the point."""

    x: float
    y: float
    about: str = ""


@dataclass(frozen=True, slots=True)
class Tick:
    """A power of ten on an axis: its place in the drawing, and its label."""

    place: float
    label: str


@dataclass(frozen=True, slots=True)
class LogAxis:
    """An axis from one power of ten to another.

    Attributes:
        low: power of ten at ``start``.
        high: power of ten at ``end``.
        start: place in the drawing.
        end: place in the drawing; of a vertical axis it is the smaller one.
    """

    low: int
    high: int
    start: float
    end: float

    def place(self, value: float) -> float:
        """Return where a value above 0 is drawn."""
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    @property
    def ticks(self) -> tuple[Tick, ...]:
        """Every power of ten."""
        powers = range(self.low, self.high + 1)
        return tuple(Tick(self.place(10.0**power), _label(power)) for power in powers)


@dataclass(frozen=True, slots=True)
class Series:
    """The points of one label in units of the drawing, and the height of the label."""

    label: str
    colour: str
    points: tuple[Point, ...]
    label_at: float

    @property
    def path(self) -> str:
        """The points as SVG writes a line."""
        return " ".join(f"{point.x:g},{point.y:g}" for point in self.points)


@dataclass(frozen=True, slots=True)
class Chart:
    """Several series on the same axes. ``about`` is the text for screen readers."""

    about: str
    across: str
    upwards: str
    columns: tuple[Tick, ...]
    lines: tuple[Tick, ...]
    series: tuple[Series, ...]
    joined: bool
    left: int = LEFT
    top: int = TOP
    right: int = LEFT + FIELD_WIDTH
    bottom: int = TOP + FIELD_HEIGHT
    width: int = LEFT + FIELD_WIDTH + LABEL_WIDTH
    height: int = TOP + FIELD_HEIGHT + BELOW


def log_chart(
    about: str,
    across: str,
    upwards: str,
    series: Mapping[str, Sequence[Point]],
    *,
    joined: bool,
) -> Chart:
    """Return a chart of points on logarithmic axes that span whole decades.

    Args:
        about: description of the chart, for screen readers.
        across: name of the horizontal axis.
        upwards: name of the vertical axis.
        series: label -> points; labels without points are left out.
        joined: draw a line through the points of a label.
    """
    drawn = {label: sorted(points) for label, points in series.items() if points}
    every = [point for points in drawn.values() for point in points]
    columns = _log_axis((point.x for point in every), LEFT, LEFT + FIELD_WIDTH)
    lines = _log_axis((point.y for point in every), TOP + FIELD_HEIGHT, TOP)
    placed = {
        label: tuple(Point(columns.place(x), lines.place(y), text) for x, y, text in points)
        for label, points in drawn.items()
    }
    beside = _apart({label: points[-1].y for label, points in placed.items()})
    return Chart(
        about=about,
        across=across,
        upwards=upwards,
        columns=columns.ticks,
        lines=lines.ticks,
        series=tuple(
            Series(label, COLOURS[number % len(COLOURS)], points, beside[label])
            for number, (label, points) in enumerate(placed.items())
        ),
        joined=joined,
    )


def _log_axis(values: Iterable[float], start: float, end: float) -> LogAxis:
    """Return the axis that values above 0 are on; it spans at least one decade."""
    powers = [math.log10(value) for value in values] or [0.0]
    # A power of ten is its own decade, whatever its logarithm was rounded to.
    low = math.floor(min(powers) + 1e-9)
    return LogAxis(low, max(math.ceil(max(powers) - 1e-9), low + 1), start, end)


def _label(power: int) -> str:
    return f"{10**power:,}" if power >= 0 else f"{10.0**power:g}"


def _apart(ends: Mapping[str, float]) -> dict[str, float]:
    """Return the heights of labels: beside the last points, but not on one another."""
    order = sorted(ends, key=lambda label: ends[label])
    places = {label: ends[label] for label in order}
    for above, below in pairwise(order):
        places[below] = max(places[below], places[above] + _LINE_HEIGHT)
    overhang = max(places.values(), default=0) - (TOP + FIELD_HEIGHT)
    for below, above in pairwise(reversed(order)):
        if overhang > 0 and below == order[-1]:
            places[below] -= overhang
        places[above] = min(places[above], places[below] - _LINE_HEIGHT)
    return places
