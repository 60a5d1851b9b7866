"""What a caller gets: the value, where it is from, and what is known about that."""

import json
from dataclasses import dataclass, replace
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
        reason: why it is not from the cache, in a few words; "" where it is.
        similarity: cosine of the query and the nearest one; None: none was looked for.
        matched: the query that the value was computed for; of a computed value, the nearest one
            that was not served; None: there is none.
        age: seconds since the value was stored.
        gate: what the gate said of the two queries; "" where it was not asked.
        entry: for `feedback`.
        refused: why a computed value was not stored; "" where it was, or nothing was tried.
    """

    value: Any
    origin: Origin
    reason: str
    similarity: float | None
    matched: str | None
    age: float
    gate: str
    entry: Ref
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Miss:
    """Why a query has no answer so far.

    Attributes:
        reason: in a few words, by which misses are counted.
        similarity: cosine of the nearest query; None: none was looked for.
        matched: that query.
        gate: what the gate said.
    """

    reason: str
    similarity: float | None = None
    matched: str | None = None
    gate: str = ""


def from_entry(key: Key, entry: Entry, origin: Origin = "exact") -> Answer:
    """Return the answer that an entry of this very query is."""
    ref = Ref(entry.number, key, entry.query)
    value = json.loads(entry.text)
    return Answer(value, origin, "", None, entry.query, entry.age, "", ref)


def by_meaning(key: Key, entry: Entry, similarity: float, model: str, gate: str) -> Answer:
    """Return the answer that an entry of another query is."""
    ref = Ref(entry.number, key, entry.query, similarity, model)
    value = json.loads(entry.text)
    return Answer(value, "semantic", "", similarity, entry.query, entry.age, gate, ref)


def computed(key: Key, value: Any, miss: Miss, number: int | None, refused: str = "") -> Answer:
    """Return the answer that was computed just now."""
    return Answer(
        value,
        "computed",
        miss.reason,
        miss.similarity,
        miss.matched,
        0.0,
        miss.gate,
        Ref(number, key, key.query),
        refused,
    )


def shared(answer: Answer, text: str) -> Answer:
    """Return the answer of another caller of the same key, with a value of its own.

    Args:
        answer: of the caller who led.
        text: of the value, as JSON.
    """
    value = json.loads(text)
    if answer.origin != "computed":
        return replace(answer, value=value)
    return replace(
        answer, value=value, origin="exact", reason="", similarity=None, gate="",
        matched=answer.entry.matched,
    )  # fmt: skip
