"""Seeded queries for measuring search: the same rows of the same files give the same queries."""

import json
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from memos_assets.catalog import VectorIndex
from memos_assets.proof.search.source_rows import SourceRow, SourceRows, parsed
from memos_assets.search.exact import directions

#: Seed of every random choice below.
SEED = 20261124
#: Rows per dimension that queries are made from, and the most candidates that are read for them.
SEEDS, CANDIDATES = 24, 64
#: Distance of a query from the row that it is near to, in lengths of that row.
NEARBY = 0.2
#: Queries per index: near a row, a row as it is, between two rows; and for each filter.
NEAR, AS_STORED, BETWEEN, FILTERED = 8, 2, 6, 2
#: Share of the row that a query between two is nearer to. Half way between two topics there is no
#: nearest topic: HNSW finds one of them (recall 0.88 with 150 such queries over 8,497 rows).
NEARER = 2 / 3


@dataclass(frozen=True, slots=True)
class Query:
    """One query.

    Attributes:
        about: description for people.
        vector: ``(dimension,)``, float64, of values that the column's type holds exactly.
        filters: column -> value that found rows must have or contain: a source, or parsed JSON.
    """

    about: str
    vector: npt.NDArray[np.float64] = field(repr=False)
    filters: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def text(self) -> str:
        """The vector in pgvector's text form; reading it gives the same elements."""
        return "[" + ",".join(map(repr, self.vector.tolist())) + "]"

    @property
    def filter_text(self) -> str:
        """The filters in words, for people."""
        if not self.filters:
            return "none"
        return ", ".join(f"{column} {_shown(value)}" for column, value in self.filters.items())


def choose(
    readings: Sequence[SourceRows], indexes: Sequence[VectorIndex]
) -> dict[int, list[Query]]:
    """Return the queries for each dimension that an index serves; none where it has no rows.

    Args:
        readings: every source of one table, for one embedding column.
        indexes: of that column.
    """
    sampled = _sampled(readings, {index.dimension for index in indexes})
    rows = {
        index.dimension: list(_usable(readings, sampled[index.dimension], index.dimension))
        for index in indexes
    }
    pairs = _pairs([row for found in rows.values() for row in found])
    return {
        index.dimension: list(_queries(index, rows[index.dimension], pairs))
        for index in indexes
        if rows[index.dimension]
    }


def _random(*of: object) -> np.random.Generator:
    return np.random.default_rng([SEED, zlib.crc32(" ".join(map(str, of)).encode())])


def _sampled(
    readings: Sequence[SourceRows], dimensions: set[int]
) -> dict[int, list[tuple[int, int]]]:
    """Return for each dimension up to `CANDIDATES` places, (reading, rowid), each as likely."""
    places: dict[int, list[tuple[int, int]]] = {dimension: [] for dimension in dimensions}
    seen: Counter[int] = Counter()
    random = {dimension: _random("rows", dimension) for dimension in dimensions}
    for number, reading in enumerate(readings):
        for rowid, dimension in reading.dimensions():
            if dimension not in dimensions:
                continue
            seen[dimension] += 1
            kept = places[dimension]
            if len(kept) < CANDIDATES:
                kept.append((number, rowid))
            elif (place := int(random[dimension].integers(seen[dimension]))) < CANDIDATES:
                kept[place] = (number, rowid)
    return places


def _usable(
    readings: Sequence[SourceRows], places: Sequence[tuple[int, int]], dimension: int
) -> Iterator[SourceRow]:
    """Yield rows in a random order that have an embedding of the dimension, `SEEDS` at most."""
    left = SEEDS
    for choice in _random("order", dimension).permutation(len(places)):
        number, rowid = places[choice]
        row = readings[number].at(rowid)
        if row.dimension == dimension:
            yield row
            left -= 1
        if not left:
            return


def _queries(
    index: VectorIndex, rows: Sequence[SourceRow], pairs: Mapping[str, Sequence[Any]]
) -> Iterator[Query]:
    """Yield the queries of one index; where there are few rows, each serves several times."""
    random = _random("probes", index.name)
    element = np.float16 if index.stored == "halfvec" else np.float32

    def row(number: int) -> SourceRow:
        return rows[number % len(rows)]

    def query(
        about: str, vector: npt.NDArray[np.float64], **filters: Any
    ) -> Query:  # rounded as PostgreSQL would round it
        return Query(about, vector.astype(element).astype(np.float64), filters)

    def near(number: int, **filters: Any) -> Query:
        stored = _wide(row(number))
        noise = random.standard_normal(len(stored))
        length = NEARBY * np.linalg.norm(stored) / np.linalg.norm(noise)
        return query(f"near {_named(row(number))}", stored + length * noise, **filters)

    yield from (near(number) for number in range(NEAR))
    for number in range(NEAR, NEAR + AS_STORED):
        yield query(f"as {_named(row(number))}", _wide(row(number)))
    for number in range(BETWEEN):
        one, other = row(2 * number), row(2 * number + 1)
        ends = directions(np.stack([_wide(one), _wide(other)]))
        yield query(f"between {_named(one)} and {_named(other)}", [NEARER, 1 - NEARER] @ ends)
    sources = sorted({found.key[0] for found in rows})
    for source in dict.fromkeys([sources[0], sources[-1]]) if len(sources) > 1 else ():
        yield from (near(number, source=source) for number in range(FILTERED))
    for column, parts in pairs.items():
        for part in parts:
            yield from (near(NEAR + number, **{column: part}) for number in range(FILTERED))


def _pairs(rows: Sequence[SourceRow]) -> dict[str, list[Any]]:
    """Return per JSON column the filters that the most and the fewest of these rows pass."""
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        for column, text in row.json.items():
            parts = {json.dumps(part, sort_keys=True) for part in _parts(parsed(text))}
            counts.setdefault(column, Counter()).update(parts)
    return {
        column: [json.loads(part) for part in dict.fromkeys([min(ranked)[1], max(ranked)[1]])]
        for column, counted in counts.items()
        if (ranked := [(-count, part) for part, count in counted.items()])
    }


def _parts(whole: Any) -> Iterator[Any]:
    """Yield the smallest filters that JSON passes: one key with its value, or one element."""
    if isinstance(whole, dict):
        plain = {key: value for key, value in whole.items() if _is_plain(value)}
        yield from ({key: value} for key, value in plain.items())
    elif isinstance(whole, list):
        yield from ([item] for item in whole if _is_plain(item))
    if whole in ({}, []):
        yield whole


def _is_plain(value: object) -> bool:
    # jsonb compares other numbers by their decimal digits.
    return isinstance(value, str | bool) or (isinstance(value, int) and abs(value) < 2**53)


def _wide(row: SourceRow) -> npt.NDArray[np.float64]:
    assert row.elements is not None
    return row.elements.astype(np.float64)


def _named(row: SourceRow) -> str:
    return "/".join(row.key)


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
