"""Locate the differences in a chunk whose digests differ: row, column, place in the value."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import sqlalchemy as sa

from memos_assets.catalog import TableSpec
from memos_assets.catalog.columns import VectorColumn
from memos_assets.consolidate.sources.chunks import chunk_bounds
from memos_assets.consolidate.sources.pins import Pin
from memos_assets.proof.expected.rejects import Rejects
from memos_assets.proof.rows.row_streams import (
    UNENCODABLE,
    Fields,
    SourceSide,
    compared_columns,
    joined,
    judged_rows,
    target_rows,
)
from memos_assets.sqlite import file as sqlite_file

#: Characters or bytes of a value that are shown from the first difference on.
_SHOWN = 24


@dataclass(frozen=True, slots=True)
class DifferingChunk:
    """A chunk of a table in a pinned copy whose digests differ, and the rejects of the table."""

    spec: TableSpec
    pin: Pin
    chunk: int
    rejects: Rejects


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that differs, as people and programs read it.

    Attributes:
        table: in PostgreSQL, without its schema.
        source: name of the source.
        key: of the row, and its rowid in SQLite.
        column: of the value.
        place: where in the value both begin to differ; empty where one of them is NULL.
        in_sqlite: the value, from there on.
        in_postgresql: as above.
        more: what else is known of the difference.
    """

    table: str
    source: str
    key: str
    column: str
    place: str
    in_sqlite: str
    in_postgresql: str
    more: str = ""

    @property
    def what(self) -> str:
        """The difference in words, without table and source."""
        place = f"{self.place} " if self.place else ""
        return (
            f"{self.key} {self.column}: {place}{self.in_sqlite} in SQLite, "
            f"{self.in_postgresql} in PostgreSQL{self.more}"
        )


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of one row; ``difference`` where a value differs."""

    kind: Literal["missing", "extra", "rejected and loaded", "differs"]
    what: str
    difference: Difference | None = None


def locate_differences(
    conn: sa.Connection,
    where: DifferingChunk,
    here: Callable[[Sequence[bytes]], None],
    there: Callable[[Sequence[bytes]], None],
) -> Iterator[Fault]:
    """Read a chunk on both sides again, side by side, and yield every fault.

    Args:
        conn: to the target database.
        where: the chunk.
        here: called with every row in SQLite, for a digest.
        there: called with every row in PostgreSQL.
    """
    names = compared_columns(where.spec)
    with target_rows(conn, where.spec, where.pin.source, chunks=[where.chunk]) as stored:
        for row, found in _pairs(where, stored):
            expected = row.fields
            key = _key(where.spec, names, expected or found, row.rowid)
            if found is not None and row.is_left_out:
                yield Fault("rejected and loaded", key)
            if found is None:
                assert expected is not None
                here(joined(row.rowid, expected))
                yield Fault("missing", key)
            elif expected is None:
                there(joined(row.rowid, found))
                if not row.is_left_out:
                    yield Fault("extra", key)
            else:
                here(joined(row.rowid, expected))
                there(joined(row.rowid, found))
                for place, name in enumerate(names):
                    if expected[place] != found[place]:
                        values = _difference(where.spec, name, expected[place], found[place])
                        one = Difference(where.spec.name, where.pin.source, key, name, *values)
                        yield Fault("differs", one.what, one)


@dataclass(frozen=True, slots=True)
class _Expected:
    """A row that SQLite has, or that only PostgreSQL has.

    ``fields`` are None for one that must not be loaded; ``is_left_out``: because it is a reject.
    """

    rowid: int
    fields: list[bytes | None] | None = None
    is_left_out: bool = False


def _pairs(
    where: DifferingChunk, stored: Iterator[tuple[int, int, list[bytes | None]]]
) -> Iterator[tuple[_Expected, list[bytes | None] | None]]:
    """Merge both sides by rowid: the expected row, and found fields, None where there are none."""
    ahead = next(stored, None)
    for row in _expected_rows(where):
        while ahead is not None and ahead[1] < row.rowid:
            yield _Expected(ahead[1]), ahead[2]
            ahead = next(stored, None)
        if ahead is not None and ahead[1] == row.rowid:
            yield row, ahead[2]
            ahead = next(stored, None)
        elif row.fields is not None:
            yield row, None
    while ahead is not None:
        yield _Expected(ahead[1]), ahead[2]
        ahead = next(stored, None)


def _expected_rows(where: DifferingChunk) -> Iterator[_Expected]:
    """Yield the rows of SQLite in the chunk."""
    spec, pin = where.spec, where.pin
    bounds = chunk_bounds(where.chunk, pin.chunk_rows)
    with sqlite_file.opened(pin.path) as connection:
        if spec.origin not in sqlite_file.layout(connection):
            return
        side = SourceSide(connection, spec)
        where.rejects.start(*bounds)
        for batch in side.batches(*bounds):
            judged, _ = judged_rows(side, batch, where.rejects)
            for row in batch:
                entry = judged[row[0]].entry if row[0] in judged else None
                if entry is not None and not entry.is_loaded:
                    yield _Expected(row[0], is_left_out=True)
                    continue
                try:
                    yield _Expected(row[0], side.fields(row, entry.rules if entry else {}))
                except UNENCODABLE:
                    # `_SourceReading` already reported it as a row that cannot be loaded.
                    yield _Expected(row[0], [None] * len(compared_columns(spec)))


def _key(spec: TableSpec, names: Sequence[str], fields: Fields | None, rowid: int) -> str:
    """Name a row by its key and its rowid in SQLite."""
    assert fields is not None
    parts = [fields[names.index(name)] for name in spec.key]
    shown = ", ".join("NULL" if part is None else part.decode("utf-8", "replace") for part in parts)
    return f"{shown[:120]} (rowid {rowid})"


def _difference(
    spec: TableSpec, name: str, expected: bytes | None, found: bytes | None
) -> Sequence[str]:
    """Return where two values differ, both from there on, and what else is known.

    The place is an element and its bits, or the byte from which on they differ.
    """
    if expected is None or found is None:
        return "", _whole(spec, name, expected), _whole(spec, name, found)
    vector = next((vector for vector in spec.vectors if vector.name == name), None)
    if vector is not None:
        return _element(vector, expected, found)
    length = min(len(expected), len(found))
    place = next((i for i in range(length) if expected[i] != found[i]), length)
    return (
        f"from byte {place}:",
        _part(spec, name, expected, place),
        _part(spec, name, found, place),
    )


def _element(vector: VectorColumn, expected: bytes, found: bytes) -> Sequence[str]:
    """Return the first differing element of two vectors in wire form, with the bits of both."""
    size = 2 if vector.stored == "halfvec" else 4
    lengths = [(len(value) - 4) // size for value in (expected, found)]
    if lengths[0] != lengths[1]:
        return "", f"{lengths[0]} elements", f"{lengths[1]}"
    bits = [np.frombuffer(value, f">u{size}", offset=4) for value in (expected, found)]
    places = np.flatnonzero(bits[0] != bits[1])
    first = int(places[0])
    numbers = [np.frombuffer(value, f">f{size}", offset=4)[first] for value in (expected, found)]
    shown = [
        f"{float(number)!r} (0x{int(pattern[first]):0{2 * size}x})"
        for number, pattern in zip(numbers, bits, strict=True)
    ]
    flipped = int(bits[0][first]) ^ int(bits[1][first])
    where = ", ".join(str(bit) for bit in range(8 * size) if flipped >> bit & 1)
    others = f"; {len(places)} elements differ" if len(places) > 1 else ""
    return f"element {first} of {lengths[0]} is", *shown, f", bit {where}{others}"


def _whole(spec: TableSpec, name: str, value: bytes | None) -> str:
    return "NULL" if value is None else _part(spec, name, value, 0)


def _part(spec: TableSpec, name: str, value: bytes, start: int) -> str:
    """Show a value from a byte on: text as text, anything else in hexadecimal."""
    part = bytes(value[start : start + _SHOWN])
    if not part:
        return "nothing"
    texts = {column.name for column in spec.columns if column.kind in ("text", "json")}
    texts |= {vector.reason_name for vector in spec.vectors}
    return repr(part.decode("utf-8", "replace")) if name in texts else f"0x{part.hex()}"
