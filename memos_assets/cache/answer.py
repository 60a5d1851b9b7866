"""What a caller gets: the value, where it is from, and what is known about that."""

import json
from dataclasses import dataclass
from typing import Any, Literal

from memos_assets.cache.entries import Entry
from memos_assets.cache.key import Key

Origin = Literal["exact", "semantic", "computed", "stale"]


@dataclass(frozen=True, slots=True)
class Ref:
    """An entry as feedback names it: with the query that was asked, after the row is gone, too.

    Attributes:
        number: of the row; None: the value was computed, and not stored.
        key: of the query that was asked.
        matched: query that the row was computed for.
        similarity: cosine of the two; None: they are the same.
        model: that embedded them; "" where none did.
    """

    number: int | None
    key: Key
    matched: str
    similarity: float | None = None
    model: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a cache.

    Attributes:
        value: as it was computed; as JSON gives it back where it was stored.
        origin: ``exact``: of this query; ``semantic``: of another query that asks the same;
            ``computed``: just now; ``stale``: past its life while another caller computes.
        reason: why it is not from the cache; "" where it is.
        similarity: cosine of the query and the one that was found; None: there is none.
        matched: query that the value was computed for; None: none was found.
        age: seconds since the value was stored.
        gate: what the gate said of the pair; "" where none was judged.
        entry: for `feedback`.
    """

    value: Any
    origin: Origin
    reason: str
    similarity: float | None
    matched: str | None
    age: float
    gate: str
    entry: Ref


def from_entry(key: Key, entry: Entry, origin: Origin = "exact") -> Answer:
    """Return the answer that an entry of this very query is."""
    return Answer(
        json.loads(entry.text),
        origin,
        "",
        None,
        entry.query,
        entry.age,
        "",
        Ref(entry.number, key, entry.query),
    )


def computed(key: Key, value: Any, reason: str, number: int | None) -> Answer:
    """Return the answer that was computed just now."""
    return Answer(value, "computed", reason, None, None, 0.0, "", Ref(number, key, key.query))
