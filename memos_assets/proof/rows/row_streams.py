"""The two sides of the proof: rows of a pinned SQLite table, rows of a PostgreSQL table."""

import sqlite3
import struct
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from psycopg import sql as pgsql

from memos_assets.catalog import Column, TableSpec
from memos_assets.postgres.connection import driver_of
from memos_assets.postgres.copy.decode import rows_of
from memos_assets.postgres.schema import tables
from memos_assets.proof.expected import values as canonical
from memos_assets.proof.expected.rejects import Judged, Rejects, dangling
from memos_assets.proof.expected.repairs import repaired
from memos_assets.sqlite import file as sqlite_file
from memos_assets.sqlite.batches import batched
from memos_assets.sqlite.file import quoted, rowid_name, unindexed
from memos_assets.sqlite.row_codec import Value, row_digest

__all__ = [
    "UNENCODABLE",
    "Fields",
    "SourceSide",
    "compared_columns",
    "joined",
    "judged_rows",
    "target_rows",
]

Fields = Sequence[bytes | None]

#: Errors of `SourceSide.fields` for a row that PostgreSQL cannot store.
UNENCODABLE = (ValueError, TypeError, AttributeError, ArithmeticError, struct.error)

#: Rows and bytes of values read from SQLite at a time; a single row may be larger.
_BATCH_ROWS, _BATCH_BYTES = 2_048, 1024 * 1024
#: Bytes of a row that enter a digest field by field: a longer one would be copied once more.
_JOINED_BYTES = 256 * 1024


def compared_columns(spec: TableSpec) -> list[str]:
    """Return the target columns that are compared, in the order of the fields of both sides."""
    return [column.name for column in spec.columns] + [
        name
        for vector in spec.vectors
        for name in (vector.name, vector.dimension_name, vector.reason_name)
    ]


def joined(rowid: int, fields: Fields) -> list[bytes]:
    """Return a row as it enters a digest: parts of it, one after the other."""
    parts = [b"%d:" % rowid]
    for value in fields:
        parts += (b"n",) if value is None else (b"%d:" % len(value), value)
    return [b"".join(parts)] if sum(map(len, parts)) <= _JOINED_BYTES else parts


class SourceSide:
    """Rows of one SQLite table, every column, and the fields that PostgreSQL must have for them."""

    def __init__(self, connection: sqlite3.Connection, spec: TableSpec) -> None:
        columns = sqlite_file.layout(connection)[spec.origin]
        self._connection, self.spec = connection, spec
        self._rowid = rowid_name(columns, spec.origin)
        self._columns = sorted(columns)
        self._identifying = spec.identifying_columns
        self._place = {name: number for number, name in enumerate(self._columns, start=1)}

    def batches(
        self, first: int = -(2**63), last: int = 2**63 - 1
    ) -> Iterator[list[tuple[Any, ...]]]:
        """Yield rows in the order of rowids, ``last`` included: the rowid, then every column."""
        names = ", ".join([self._rowid, *map(quoted, self._columns)])
        cursor = self._connection.execute(
            f"select {names} from {unindexed(self.spec.origin)} "
            f"where {self._rowid} between ? and ? order by {self._rowid}",
            (first, last),
        )
        yield from batched(cursor, most_rows=_BATCH_ROWS, most_bytes=_BATCH_BYTES)

    def value(self, row: Sequence[Value], origin: str | None) -> Value:
        """Return a column of a row; None where an older layout lacks it."""
        place = self._place.get(origin) if origin else None
        return None if place is None else row[place]

    def integral_reals(self, rows: Sequence[Sequence[Value]]) -> Counter[str]:
        """Return SQLite column -> REAL values of these rows that are read as integers."""
        found: Counter[str] = Counter()
        for origin in self.spec.integer_origins:
            if (place := self._place.get(origin)) is not None:
                reals = [row[place] for row in rows if type(row[place]) is float]
                found[origin] += sum(isinstance(canonical.whole(real), int) for real in reals)
        return +found

    def digest(self, row: Sequence[Value]) -> bytes:
        """Return the sha256 of a row as stored."""
        return row_digest(row[1:])

    def fields(self, row: Sequence[Value], rules: Mapping[str, str]) -> list[bytes | None]:
        """Return the bytes that PostgreSQL must have for a row, in the order of `compared_columns`.

        JSON is spelled as by jsonb, numbers with all their digits.

        Args:
            row: as `batches` yields it.
            rules: of its entry in the rejects, see `Rejected`.
        """
        found: list[bytes | None] = []
        for column in self.spec.columns:
            value = self.value(row, column.origin)
            if rules and value is not None:
                value = self._repaired(column, value, rules)
            if value is None:
                found.append(None)
            elif column.computed:
                found.append(canonical.COMPUTED[column.name](value))
            else:
                found.append(canonical.ENCODERS[column.kind](value))
        for vector in self.spec.vectors:
            found += canonical.vector_wires(
                vector, self.value(row, vector.origin), self.value(row, vector.dimension_origin)
            )
        return found

    def _repaired(self, column: Column, value: Value, rules: Mapping[str, str]) -> Value:
        if rules.get(dangling(column.name)) == "null_end" and column.name not in self.spec.key:
            return None
        if column.name in self._identifying:
            return value
        if column.computed:
            # It is computed from another column, after that one is repaired.
            same = (c for c in self.spec.columns if c.origin == column.origin and not c.computed)
            column = next(same, column)
        return repaired(column, value, rules)


def judged_rows(
    side: SourceSide, batch: Sequence[Sequence[Any]], rejects: Rejects
) -> tuple[dict[int, Judged], list[int]]:
    """Judge the rejects up to the end of a batch of rows; batches come in the order of rowids.

    Returns:
        Rowid -> the judged reject, and rowids of rejects of which the file has no row.
    """
    found = dict(rejects.until(batch[-1][0]))
    if not found:
        return {}, []
    rows = {row[0]: row for row in batch if row[0] in found}
    strangers = [rowid for rowid in found if rowid not in rows]
    entries = {rowid: found[rowid] for rowid in rows}
    judged = rejects.judge(entries, lambda rowid, origin: side.value(rows[rowid], origin))
    return judged, strangers


@contextmanager
def target_rows(
    conn: sa.Connection, spec: TableSpec, source: str, *, chunks: Collection[int] | None = None
) -> Iterator[Iterator[tuple[int, int, list[bytes | None]]]]:
    """Yield (chunk, source_rowid, fields) of a source's rows in PostgreSQL, in that order.

    Fields are PostgreSQL's binary wire form, long ones a view of it; JSON is its text.

    Args:
        conn: to the target database; busy until the block ends.
        spec: the table.
        source: the source of the rows.
        chunks: only these.
    """
    statement = pgsql.SQL(
        "copy (select {} from {} where source = {}{}{} order by chunk, source_rowid) "
        "to stdout (format binary)"
    ).format(
        pgsql.SQL(", ").join(
            map(pgsql.Identifier, ["chunk", "source_rowid", *compared_columns(spec)])
        ),
        pgsql.Identifier(tables.schema_in(conn, spec.schema), spec.name),
        pgsql.Literal(source),
        pgsql.SQL("" if chunks is None else " and chunk = any({})").format(
            pgsql.Literal(sorted(chunks or ()))
        ),
        pgsql.SQL(" and not reversed" if spec.mirrored else ""),
    )
    json_places = [
        place
        for place, column in enumerate(spec.columns, start=2)
        if column.postgres_type == "jsonb"
    ]

    def placed(fields: list[Any]) -> tuple[int, int, list[bytes | None]]:
        for place in json_places:
            if fields[place] is not None:
                # The first byte is the version of jsonb's wire form.
                fields[place] = fields[place][1:]
        number, rowid = (int.from_bytes(field, "big", signed=True) for field in fields[:2])
        return number, rowid, fields[2:]

    driver = driver_of(conn)
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        yield map(placed, rows_of(copy))
        # An early exit would cancel the COPY, so the remaining rows are read and ignored.
        for _ in copy:
            pass
