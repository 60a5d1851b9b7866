"""Lines over two logarithmic axes, measured for drawing: the template writes them as SVG."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from memos_assets.report.axes import Tick, log_axis

Points = Sequence[tuple[float, float]]

#: Units of the drawing: the field, and the room around it for ticks, axis names and labels.
FIELD_WIDTH, FIELD_HEIGHT = 420, 260
LEFT, TOP, BELOW, LABEL_WIDTH = 70, 14, 44, 190
#: Told apart without colour, too: every line has its label at its end.
COLOURS = ("#c2452d", "#3c8a5f", "#5b7a99", "#b07d2b", "#7a5b99", "#8a8a8a")
_LINE_HEIGHT = 14


@dataclass(frozen=True, slots=True)
class Curve:
    """One line: corners in units of the drawing, and where its label stands."""

    label: str
    colour: str
    corners: tuple[tuple[float, float], ...]
    label_at: float

    @property
    def path(self) -> str:
        """The corners as SVG writes them."""
        return " ".join(f"{x:g},{y:g}" for x, y in self.corners)


@dataclass(frozen=True, slots=True)
class Curves:
    """Several lines on the same axes. ``about`` is read out where the drawing is not seen."""

    about: str
    across: str
    upwards: str
    columns: tuple[Tick, ...]
    lines: tuple[Tick, ...]
    curves: tuple[Curve, ...]
    left: int = LEFT
    top: int = TOP
    right: int = LEFT + FIELD_WIDTH
    bottom: int = TOP + FIELD_HEIGHT
    width: int = LEFT + FIELD_WIDTH + LABEL_WIDTH
    height: int = TOP + FIELD_HEIGHT + BELOW


def curves(about: str, across: str, upwards: str, series: Mapping[str, Points]) -> Curves:
    """Lay lines out on logarithmic axes that span whole decades.

    Args:
        about: what is shown.
        across: name of the horizontal axis.
        upwards: name of the vertical axis.
        series: label -> points, both coordinates above 0; lines without points are left out.
    """
    drawn = {label: sorted(points) for label, points in series.items() if points}
    every = [point for points in drawn.values() for point in points]
    columns = log_axis((x for x, _ in every), LEFT, LEFT + FIELD_WIDTH)
    lines = log_axis((y for _, y in every), TOP + FIELD_HEIGHT, TOP)
    corners = {
        label: tuple((columns.place(x), lines.place(y)) for x, y in points)
        for label, points in drawn.items()
    }
    beside = _apart({label: line[-1][1] for label, line in corners.items()})
    return Curves(
        about=about,
        across=across,
        upwards=upwards,
        columns=columns.ticks,
        lines=lines.ticks,
        curves=tuple(
            Curve(label, COLOURS[number % len(COLOURS)], line, beside[label])
            for number, (label, line) in enumerate(corners.items())
        ),
    )


def _apart(ends: Mapping[str, float]) -> dict[str, float]:
    """Return where labels stand: beside the ends of their lines, but not on one another."""
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
