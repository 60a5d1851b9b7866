"""Namespaces: how long their answers live, what is compared by meaning, and how large they get."""

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

#: Share of a life that it is longer or shorter, so that entries of one moment end at many.
JITTER: Final = 0.1
#: Bytes of JSON from which on a value is not stored.
MOST_BYTES: Final = 4_000_000
#: Seconds: ten years. Longer lives are these.
_LONGEST: Final = 315_576_000.0


@dataclass(frozen=True, slots=True)
class Namespace:
    """The rules of a namespace.

    Attributes:
        name: of it.
        ttl: seconds that an answer lives.
        negative_ttl: seconds that the fact lives that nothing was found.
        grace: seconds after its life in which an answer is served while one caller computes anew.
        semantic: whether a reworded query may have the answer of another one.
        most_wait: seconds that a caller waits for another one that computes.
        lease: seconds without a sign of life after which a holder counts as dead.
        rows: most entries; the least recently used go first.
        bytes: most bytes of queries and values.
    """

    name: str
    ttl: float = 900.0
    negative_ttl: float = 30.0
    grace: float = 60.0
    semantic: bool = True
    most_wait: float = 30.0
    lease: float = 5.0
    rows: int = 1_000_000
    bytes: int = 2_000_000_000

    def life(self, ttl: float | None, *, negative: bool, rng: Callable[[], float]) -> float:
        """Return seconds that an entry lives: its TTL, 10 % more or less.

        Args:
            ttl: in place of the namespace's; at most that of negative answers for one of them.
            negative: whether nothing was found.
            rng: uniform in [0, 1).

        Returns:
            More than 0; 0: it is not stored (a TTL of 0 or less, or NaN or not a number at all).
        """
        try:
            base = self.ttl if ttl is None else float(ttl)
        except (TypeError, ValueError, OverflowError):
            return 0.0
        if negative:
            base = min(base, self.negative_ttl)
        if math.isnan(base) or base <= 0:
            return 0.0
        return min(base, _LONGEST) * (1 - JITTER + 2 * JITTER * rng())


#: memOS's lives: an hour for pages, a quarter of one for answers. Namespaces that are not here have
#: the rules of `Namespace`.
NAMESPACES: Final[Mapping[str, Namespace]] = {
    one.name: one
    for one in (
        Namespace("answers"),
        Namespace("results"),
        Namespace("queries"),
        Namespace("content", ttl=3_600.0, semantic=False),
        Namespace("findings", ttl=604_800.0),
        Namespace("subqueries", ttl=604_800.0),
        Namespace("missions", ttl=604_800.0, semantic=False),
    )
}


def namespace_of(name: str, known: Mapping[str, Namespace] = NAMESPACES) -> Namespace:
    """Return the rules of a namespace by its name."""
    return known.get(name) or Namespace(name)


default_rng: Callable[[], float] = random.SystemRandom().random
