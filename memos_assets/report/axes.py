"""Logarithmic axes of a drawing, over whole decades."""

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tick:
    """A power of ten on an axis: its place in the drawing, and what is written there."""

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


def log_axis(values: Iterable[float], start: float, end: float) -> LogAxis:
    """Return the axis that values above 0 lie on; it spans at least one decade."""
    powers = [math.log10(value) for value in values] or [0.0]
    # A power of ten is its own decade, whatever its logarithm was rounded to.
    low = math.floor(min(powers) + 1e-9)
    return LogAxis(low, max(math.ceil(max(powers) - 1e-9), low + 1), start, end)


def _label(power: int) -> str:
    return f"{10**power:,}" if power >= 0 else f"{10.0**power:g}"
