"""Counts of hits and misses, gathered in the process and added up in the database later.

A hit writes nothing: it is counted here, and some seconds later a call takes the counts along. What
a process has counted when it is killed is lost.
"""

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.cache.entries import act_for
from memos_assets.postgres.storable_text import is_storable

#: Seconds, and hits, after which the next call takes the counts along.
_SECONDS: Final = 5.0
_MOST: Final = 1_000
#: The namespace of calls whose own one cannot be stored as text.
_NO_NAME: Final = "(no name)"

_COUNT: Final = sa.text(
    """
    insert into agent.cache_counts as c (namespace, hour, outcome, reason, count)
    values (:namespace, pg_catalog.date_trunc('hour', pg_catalog.now()), :outcome, :reason, :count)
    on conflict (namespace, hour, outcome, reason) do update set count = c.count + excluded.count
    """
)
_USE: Final = sa.text(
    """
    insert into agent.cache_uses as u (entry, user_id, hits, used_at)
    select e.number, e.user_id, used.hits, pg_catalog.clock_timestamp()
    from unnest(:entries, :hits) used(entry, hits)
    join agent.cache_entries e on e.number = used.entry
    order by 1
    on conflict (entry) do update set hits = u.hits + excluded.hits, used_at = excluded.used_at
    """
).bindparams(
    sa.bindparam("entries", type_=sa.ARRAY(sa.BigInteger())),
    sa.bindparam("hits", type_=sa.ARRAY(sa.BigInteger())),
)


@dataclass(slots=True)
class Batch:
    """Counts that are on their way to the database.

    Attributes:
        outcomes: (namespace, outcome, reason) -> calls.
        uses: user -> entry -> hits.
    """

    outcomes: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    uses: dict[str | None, Counter[int]] = field(default_factory=dict)


class Counters:
    """What a process has counted since its last batch. Threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._batch, self._since, self._uses = Batch(), time.monotonic(), 0

    def note(self, namespace: str, outcome: str, reason: str) -> None:
        """Count a call: a ``hit`` by its origin, a ``miss`` by its reason."""
        if not is_storable(namespace):
            namespace = _NO_NAME
        with self._lock:
            self._batch.outcomes[namespace, outcome, reason] += 1

    def use(self, user: str | None, entry: int) -> None:
        """Count a hit of an entry."""
        with self._lock:
            self._batch.uses.setdefault(user, Counter())[entry] += 1
            self._uses += 1

    def take(self, *, now: bool = False) -> Batch | None:
        """Return the counts that wait, and begin anew; None: there is nothing yet.

        Args:
            now: whatever there is.
        """
        if not now and time.monotonic() - self._since < _SECONDS and self._uses < _MOST:
            return None
        with self._lock:
            batch, self._batch, self._since = self._batch, Batch(), time.monotonic()
            self._uses = 0
        return batch if batch.outcomes or batch.uses else None


def write(session: Session, batch: Batch) -> None:
    """Add counts up in the database; those of entries that are gone are dropped."""
    act_for(session, None, brief=True)
    for (namespace, outcome, reason), count in sorted(batch.outcomes.items()):
        values = {"namespace": namespace, "outcome": outcome, "reason": reason, "count": count}
        session.execute(_COUNT, values)
    for user, uses in sorted(batch.uses.items(), key=lambda one: one[0] or ""):
        act_for(session, user)
        listed = sorted(uses.items())
        entries, hits = [one for one, _ in listed], [count for _, count in listed]
        session.execute(_USE, {"entries": entries, "hits": hits})
