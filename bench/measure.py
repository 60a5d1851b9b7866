"""Seconds of contestants that alternate within rounds."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rich.console import Console

#: Progress goes to stderr; stdout has the tables alone.
progress = Console(stderr=True, highlight=False)


class BenchError(Exception):
    """A race that cannot be run or written down."""


@dataclass(slots=True)
class Spread:
    """Seconds of one contestant, one per round."""

    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return statistics.median(self.seconds)

    def times(self, factor: float) -> "Spread":
        """Return the time for ``factor`` times as many rows at the same pace."""
        return Spread([seconds * factor for seconds in self.seconds])


def seconds_of(work: Callable[[], object]) -> float:
    """Run ``work`` and return its seconds."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def alternate(contestants: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, Spread]:
    """Run every contestant once a round; each round begins with the next one.

    Args:
        contestants: name -> what prepares, runs, and returns the seconds of the running alone.
        rounds: how often each one runs.
    """
    spreads = {name: Spread() for name in contestants}
    order = list(contestants)
    for number in range(rounds):
        start = number % len(order)
        for name in order[start:] + order[:start]:
            spreads[name].seconds.append(contestants[name]())
            progress.print(
                f"  round {number + 1} of {rounds}: {name}: {spreads[name].seconds[-1]:.3g} s",
                markup=False,
                soft_wrap=True,
            )
    return spreads
