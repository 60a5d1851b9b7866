"""Rows of the pinned SQLite files that search must find, as the proof reads them.

Rows that are rejected and not loaded are left out; V01 compares every reject with the file. The
bytes of an embedding are read by `proof.expected.values`, which shares no code with the loader.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy.typing as npt
import sqlalchemy as sa

from memos_assets.catalog import Column, TableSpec, VectorColumn
from memos_assets.consolidate.sources.encodings import as_declared
from memos_assets.consolidate.sources.pins import Pin
from memos_assets.proof.expected import values as canonical
from memos_assets.proof.expected.rejects import Rejected, rejected_rows
from memos_assets.proof.expected.repairs import repaired
from memos_assets.sqlite import file as sqlite_file
from memos_assets.sqlite.batches import batched
from memos_assets.sqlite.file import quoted, rowid_name, unindexed
from memos_assets.sqlite.row_codec import Value

#: The source, then the values of the key, as PostgreSQL returns them.
Key = tuple[str, ...]

#: Bytes of values that are read at a time, about, and the most rows; float64 takes eight times as
#: much at most.
_BATCH_BYTES = 1024 * 1024
_BATCH_ROWS = 1_024


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One row that PostgreSQL must contain.

    Attributes:
        key: of the row.
        elements: its embedding, ``(dimension,)``, float16 or float32; None where it has none.
        reason: why it has none.
        json: filter column -> JSON text, or None where PostgreSQL has NULL.
    """

    key: Key
    elements: npt.NDArray[Any] | None
    reason: str | None
    json: Mapping[str, Value]

    @property
    def dimension(self) -> int | None:
        """Elements of its embedding."""
        return None if self.elements is None else len(self.elements)


class SourceRows:
    """One table of one pinned file, and one of its embedding columns."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        spec: TableSpec,
        column: str,
        source: str,
        rejected: dict[int, Rejected],
    ) -> None:
        self.source = source
        self._connection, self._rejected = connection, rejected
        self._spec = spec
        self.vector = next(vector for vector in self._spec.vectors if vector.name == column)
        self._layout = sqlite_file.layout(connection)[spec.origin]
        self._rowid = rowid_name(self._layout, spec.origin)

    @cached_property
    def filters(self) -> tuple[Column, ...]:
        """JSON columns that a search can filter by."""
        return tuple(c for c in self._spec.columns if c.searched == "containment")

    def dimensions(self) -> Iterator[tuple[int, int]]:
        """Yield (rowid, estimated dimension) of loaded rows; no embedding is decoded.

        The estimate is the number of commas plus 1 in JSON, or follows from the length of a BLOB.
        """
        column = quoted(self.vector.origin)
        size = self.vector.element_bytes
        stated = self.vector.dimension_origin
        if stated is not None:
            seems = quoted(stated)
        elif size is not None:
            seems = f"length({column}) / {size}"
        else:
            # The commas are counted here: SQLite takes a BLOB for text of the file's encoding,
            # which may be UTF-16.
            seems = column
        for rowid, seen in self._connection.execute(
            f"select {self._rowid}, {seems} from {unindexed(self._spec.origin)} "
            f"where {column} is not null order by {self._rowid}"
        ):
            dimension = canonical.whole(_counted(seen) if stated is None else seen)
            if isinstance(dimension, int) and not self._is_left_out(rowid):
                yield rowid, dimension

    def at(self, rowid: int) -> SourceRow:
        """Return the row with this rowid."""
        cursor = self._connection.execute(f"{self._select} where {self._rowid} = ?", (rowid,))
        return self._row(cursor.fetchone())

    def batches(self) -> Iterator[list[SourceRow]]:
        """Yield loaded rows in the order of rowids; memory does not grow with the table."""
        cursor = self._connection.execute(f"{self._select} order by {self._rowid}")
        for rows in batched(cursor, most_rows=_BATCH_ROWS, most_bytes=_BATCH_BYTES):
            yield [self._row(row) for row in rows if not self._is_left_out(row[0])]
            del rows

    def _is_left_out(self, rowid: int) -> bool:
        entry = self._rejected.get(rowid)
        return entry is not None and not entry.is_loaded

    @cached_property
    def _select(self) -> str:
        stated = self.vector.dimension_origin
        names = [
            self._rowid,
            *(quoted(self._spec.column(name).origin) for name in self._spec.key),
            quoted(self.vector.origin),
            quoted(stated) if stated else "null",
            *(quoted(c.origin) if c.origin in self._layout else "null" for c in self.filters),
        ]
        return f"select {', '.join(names)} from {unindexed(self._spec.origin)}"

    def _row(self, row: Sequence[Any]) -> SourceRow:
        rowid, *values = row
        end = len(self._spec.key)
        key, (stored, stated, *texts) = values[:end], values[end:]
        elements, reason = canonical.embedding(self.vector, stored, stated)
        entry = self._rejected.get(rowid)
        if entry is not None:
            texts = [
                None if text is None else repaired(column, text, entry.rules)
                for column, text in zip(self.filters, texts, strict=True)
            ]
        names = (column.name for column in self.filters)
        json_texts: dict[str, Value] = dict(zip(names, texts, strict=True))
        return SourceRow((self.source, *key), elements, reason, json_texts)


def _counted(seen: Value) -> Value:
    """Return a dimension that SQLite computed, or count the numbers of JSON."""
    if isinstance(seen, bytes):
        return seen.count(b",") + 1
    if isinstance(seen, str):
        return seen.count(",") + 1
    return seen


@contextmanager
def source_rows(
    conn: sa.Connection, spec: TableSpec, vector: VectorColumn, pins: Sequence[Pin]
) -> Iterator[list[SourceRows]]:
    """Yield a reading of each pin that has the table.

    Args:
        conn: to the target database, whose rejects name the rows that are not loaded.
        spec: the table.
        vector: the embedding column.
        pins: of the registered sources of its kind.
    """
    with ExitStack() as files:
        yield [
            SourceRows(
                files.enter_context(sqlite_file.opened(pin.path)),
                as_declared(spec, pin.source, pin.kind.encodings),
                vector.name,
                pin.source,
                rejected_rows(conn, spec, pin.source),
            )
            for pin in pins
            if spec.origin in pin.rows
        ]


def contains(whole: Any, part: Any) -> bool:
    """Whether parsed JSON contains another as jsonb's ``@>`` means it.

    An array that contains a bare scalar is not covered: no query here has such a filter.
    """
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(
            key in whole and contains(whole[key], value) for key, value in part.items()
        )
    if isinstance(part, list):
        return isinstance(whole, list) and all(
            any(contains(item, value) for item in whole) for value in part
        )
    return isinstance(whole, bool) == isinstance(part, bool) and bool(whole == part)


def parsed(text: Value) -> Any:
    """Return JSON as Python values; None for NULL."""
    return json.loads(text) if isinstance(text, str) else None
