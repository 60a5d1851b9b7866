"""What is in the cache, and what became of those who asked it; counts alone, no text and no id."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from memos_assets.cache.replay import NAMESPACE as REPLAYED
from memos_assets.cache.statistics import counts
from memos_assets.postgres.schema.agent_cache import cache_counts, cache_entries, cache_pairs

#: Hours of counts that are shown.
HOURS: Final = 24
_HIT: Final = "hit"


@dataclass(frozen=True, slots=True)
class Content:
    """Answers of a namespace.

    Attributes:
        rows: that are stored.
        bytes: of queries and values.
        stale: past their life, still served while one caller computes.
        expired: served no more, until they are evicted.
        negative: that say that nothing was found.
    """

    rows: int = 0
    bytes: int = 0
    stale: int = 0
    expired: int = 0
    negative: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """What became of those who asked a namespace.

    Attributes:
        hits: origin -> how many were answered from the cache.
        misses: reason -> how many were not.
        others: outcome and reason -> how many, of what is neither.
        wrong: answers that people said are wrong.
        labelled: answers that people, or comparisons with a computed one, judged.
    """

    hits: Counter[str] = field(default_factory=Counter)
    misses: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    wrong: int = 0
    labelled: int = 0

    @property
    def asks(self) -> int:
        """Asks that were counted."""
        return self.hits.total() + self.misses.total()

    @property
    def hit_rate(self) -> float | None:
        """Share of asks that were answered from the cache; None of none."""
        return self.hits.total() / self.asks if self.asks else None

    @property
    def wrong_rate(self) -> float | None:
        """Share of hits that people said are wrong; None without hits."""
        return self.wrong / self.hits.total() if self.hits.total() else None


@dataclass(frozen=True, slots=True)
class Census:
    """The cache at one moment.

    Attributes:
        content: namespace -> its answers.
        asked: namespace -> those who asked in the last `HOURS` hours.
        hours: aware hour -> hits and asks of all namespaces, the oldest first.
    """

    content: Mapping[str, Content]
    asked: Mapping[str, Asked]
    hours: Mapping[datetime, tuple[int, int]]

    @property
    def namespaces(self) -> list[str]:
        """Every namespace that has answers or was asked."""
        return sorted(self.content.keys() | self.asked.keys())

    @property
    def total(self) -> Asked:
        """All namespaces together."""
        added = Asked(
            wrong=sum(one.wrong for one in self.asked.values()),
            labelled=sum(one.labelled for one in self.asked.values()),
        )
        for one in self.asked.values():
            for mine, theirs in (
                (added.hits, one.hits),
                (added.misses, one.misses),
                (added.others, one.others),
            ):
                mine.update(theirs)
        return added


def census(conn: sa.Connection) -> Census:
    """Count what is stored and what was asked; needs the owner of the tables, who sees every row.

    What checks replay is left out.
    """
    return Census(dict(_content(conn)), _asked(conn), _hours(conn))


def _content(conn: sa.Connection) -> Iterator[tuple[str, Content]]:
    c = cache_entries.c
    now = sa.func.clock_timestamp()
    stale = sa.and_(c.expires_at <= now, c.stale_until > now)
    rows = conn.execute(
        sa.select(
            c.namespace,
            sa.func.count(),
            sa.cast(sa.func.coalesce(sa.func.sum(c.bytes), 0), sa.BigInteger),
            sa.func.count().filter(stale),
            sa.func.count().filter(c.stale_until <= now),
            sa.func.count().filter(c.negative),
        )
        .where(c.namespace != REPLAYED)
        .group_by(c.namespace)
    )
    for namespace, *sums in rows:
        yield namespace, Content(*sums)


def _since() -> sa.ColumnElement[bool]:
    return cache_counts.c.hour > sa.func.now() - sa.func.make_interval(0, 0, 0, 0, HOURS)


def _asked(conn: sa.Connection) -> dict[str, Asked]:
    asked = dict[str, Asked]()
    for namespace, outcome, reason, count in counts(conn, HOURS):
        if namespace == REPLAYED:
            continue
        one = asked.setdefault(namespace, Asked())
        if outcome == _HIT:
            one.hits[reason] += count
        elif outcome == "miss":
            one.misses[reason] += count
        else:
            one.others[f"{outcome}: {reason}" if reason else outcome] += count
    for row in conn.execute(_labels()):
        before = asked.get(row.namespace, Asked())
        labels = row.wrong, row.labelled
        asked[row.namespace] = Asked(before.hits, before.misses, before.others, *labels)
    return asked


def _labels() -> sa.Select[Any]:
    """Of the same hours as the counts, which the wrong ones are a share of."""
    c = cache_pairs.c
    said_wrong = sa.func.count().filter(c.wrong, c.origin == "feedback")
    since = sa.func.now() - sa.func.make_interval(0, 0, 0, 0, HOURS)
    return (
        sa.select(c.namespace, said_wrong.label("wrong"), sa.func.count().label("labelled"))
        .where(c.namespace != REPLAYED, c.said_at > since)
        .group_by(c.namespace)
    )


def _hours(conn: sa.Connection) -> dict[datetime, tuple[int, int]]:
    c = cache_counts.c
    total = sa.cast(sa.func.sum(c.count), sa.BigInteger)
    hits = sa.cast(
        sa.func.coalesce(sa.func.sum(c.count).filter(c.outcome == _HIT), 0), sa.BigInteger
    )
    rows = conn.execute(
        sa.select(c.hour, hits, total)
        .where(c.namespace != REPLAYED, c.outcome.in_((_HIT, "miss")), _since())
        .group_by(c.hour)
        .order_by(c.hour)
    )
    return {hour: (hit, asks) for hour, hit, asks in rows}
