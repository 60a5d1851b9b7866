"""Bars, measured for drawing: the template writes them as SVG."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from memos_assets.report.formatting import number, seconds
from memos_assets.report.tree import Report

Colour = Literal["plain", "good", "bad"]

#: Units of the drawing, which is scaled to the page: labels, bars, and the notes beside them.
LABEL_WIDTH, BAR_WIDTH, NOTE_WIDTH, LINE_HEIGHT = 190, 330, 200, 18
#: Least width of a part, so that a small one is visible.
_LEAST = 1.5


@dataclass(frozen=True, slots=True)
class Part:
    """One stretch of a bar."""

    start: float
    width: float
    colour: Colour


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of a plot."""

    label: str
    note: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Plot:
    """Horizontal bars on one scale. ``about`` is the text for screen readers."""

    about: str
    bars: tuple[Bar, ...]
    label_width: int = LABEL_WIDTH
    line_height: int = LINE_HEIGHT

    @property
    def width(self) -> int:
        """Width of the drawing."""
        return self.label_width + BAR_WIDTH + NOTE_WIDTH

    @property
    def height(self) -> int:
        """Height of the drawing."""
        return self.line_height * len(self.bars)


def bar_plot(about: str, lines: Sequence[tuple[str, str, list[tuple[float, Colour]]]]) -> Plot:
    """Return bars on one scale: label, note, and the parts of each with their colours."""
    longest = max((sum(value for value, _ in parts) for _, _, parts in lines), default=0) or 1
    bars = []
    for label, note, parts in lines:
        drawn: list[Part] = []
        start = 0.0
        for value, colour in parts:
            if value:
                width = max(value / longest * BAR_WIDTH, _LEAST)
                drawn.append(Part(round(start, 2), round(width, 2), colour))
                start += width
        bars.append(Bar(label, note, tuple(drawn)))
    return Plot(about, tuple(bars))


def rows_plot(report: Report) -> Plot:
    """Return rows loaded and rejected of every table with rows, the largest first."""
    loaded: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    for row in report.tables:
        loaded[row.table] += row.rows
        rejected[row.table] += row.rejected
    names = sorted(loaded, key=lambda name: (-loaded[name] - rejected[name], name))
    return bar_plot(
        "Rows loaded and rejected, by table",
        [
            (
                name,
                f"{number(loaded[name])} loaded, {number(rejected[name])} rejected",
                [(loaded[name], "good"), (rejected[name], "bad")],
            )
            for name in names
        ],
    )


def reasons_plot(report: Report) -> Plot:
    """Return rejected rows by reason, the most frequent first."""
    counts = sorted(
        (reason for reason in report.reasons if reason.what == "rejected"),
        key=lambda reason: (-reason.rows, reason.reason),
    )
    return bar_plot(
        "Rejected rows, by reason",
        [
            (
                reason.reason,
                f"{number(reason.rows)} rejected, {number(reason.rows - reason.settled)} open",
                [(reason.settled, "plain"), (reason.rows - reason.settled, "bad")],
            )
            for reason in counts
        ],
    )


def phases_plot(report: Report) -> Plot:
    """Return the seconds that each phase took, in their order."""
    return bar_plot(
        "Seconds, by phase",
        [
            (phase.phase, seconds(phase.seconds), [(phase.seconds, "plain")])
            for phase in report.timings.phases
        ],
    )
