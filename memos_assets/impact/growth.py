"""How times grow with rows: fits over measured row counts, and where two of them part."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Fit:
    """Milliseconds over row counts: ``fixed + slope * growth``, growth being rows, or their log."""

    fixed: float
    slope: float
    logarithmic: bool

    def at(self, rows: float) -> float:
        """Return the milliseconds at a row count."""
        return self.fixed + self.slope * (math.log(rows) if self.logarithmic else rows)


def fit(rows: Sequence[int], milliseconds: Sequence[float], *, logarithmic: bool) -> Fit:
    """Fit a line by least squares of relative errors; it does not fall, nor begin below 0.

    Args:
        rows: row counts, at least two different ones.
        milliseconds: beside each of them.
        logarithmic: over the logarithm of the row counts.
    """
    times = np.asarray(milliseconds, dtype=np.float64)
    growth = np.asarray(rows, dtype=np.float64)
    growth = np.log(growth) if logarithmic else growth
    # Divided by the time itself, so that a small table counts as much as a large one.
    terms = np.stack([np.ones_like(growth), growth], axis=1) / times[:, np.newaxis]
    fixed, slope = np.linalg.lstsq(terms, np.ones_like(times), rcond=None)[0].tolist()
    if slope < 0:
        return Fit(float(np.mean(times)), 0.0, logarithmic)
    if fixed < 0 and not logarithmic:
        return Fit(0.0, float(1 / np.mean(growth / times)), logarithmic)
    return Fit(fixed, slope, logarithmic)


def rows_where(scanned: Fit, searched: Fit, ratio: float, *, least: int) -> float | None:
    """Return the row count from which a scan takes ``ratio`` times as long as a search.

    Args:
        scanned: of the scan.
        searched: of the search.
        ratio: requested, scan to search.
        least: row count at which the fits begin to hold.

    Returns:
        Rows, from ``least`` to ten to the fifteenth; None where they do not reach it.
    """
    low, high = float(least), 1e15

    def reached(rows: float) -> bool:
        return scanned.at(rows) >= ratio * searched.at(rows)

    if not reached(high):
        return None
    if reached(low):
        return low
    while high / low > 1.0001:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high
