"""How large the cache is, and how it does: read, never written, by those who may see it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session


@dataclass(slots=True)
class NamespaceStats:
    """One namespace.

    Attributes:
        entries: that are stored.
        valid: of them, that live.
        embedded: of them, that can be found by meaning.
        negative: of them, that say that nothing was found.
        bytes: of queries and values.
        uses: hits of the entries that are stored.
        hits: origin -> calls in the last hours.
        misses: reason -> calls.
        refused: reason -> computed values that were not stored.
    """

    entries: int = 0
    valid: int = 0
    embedded: int = 0
    negative: int = 0
    bytes: int = 0
    uses: int = 0
    hits: dict[str, int] = field(default_factory=dict)
    misses: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)

    @property
    def hit_rate(self) -> float | None:
        """Share of calls that were hits; None: there was no call."""
        hits, misses = sum(self.hits.values()), sum(self.misses.values())
        return hits / (hits + misses) if hits + misses else None


_SIZES: Final = sa.text(
    """
    select e.namespace, count(*) as entries,
        count(*) filter (where e.expires_at > pg_catalog.clock_timestamp()) as valid,
        count(v.entry) as embedded, count(*) filter (where e.negative) as negative,
        sum(e.bytes)::bigint as bytes, coalesce(sum(u.hits), 0)::bigint as uses
    from agent.cache_entries e
    left join agent.cache_embeddings v on v.entry = e.number
    left join agent.cache_uses u on u.entry = e.number
    group by 1 order by 1
    """
)
_COUNTS: Final = sa.text(
    """
    select namespace, outcome, reason, sum(count)::bigint from agent.cache_counts
    where hour > pg_catalog.clock_timestamp() - pg_catalog.make_interval(hours => :hours)
    group by 1, 2, 3 order by 1, 2, 3
    """
)


def statistics(bind: Session | sa.Connection, hours: int = 24) -> dict[str, NamespaceStats]:
    """Return namespace -> its statistics. Nothing is written, and nothing deleted.

    Args:
        bind: who sees the entries; the owner of the tables sees all of them.
        hours: back from now, of calls.
    """
    found: dict[str, NamespaceStats] = {}
    for row in bind.execute(_SIZES):
        found[row.namespace] = NamespaceStats(*row[1:])
    for namespace, outcome, reason, count in counts(bind, hours):
        stats = found.setdefault(namespace, NamespaceStats())
        places: Mapping[str, dict[str, int]] = {
            "hit": stats.hits,
            "miss": stats.misses,
            "refused": stats.refused,
        }
        # Outcomes of another version of this project are left out.
        places.get(outcome, {})[reason] = count
    return found


def counts(bind: Session | sa.Connection, hours: int) -> Iterator[tuple[str, str, str, int]]:
    """Yield namespace, outcome, reason and how many calls, of the last hours."""
    for row in bind.execute(_COUNTS, {"hours": hours}):
        yield row[0], row[1], row[2], row[3]
