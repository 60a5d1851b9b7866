"""The rejects as a to-do list: count them, show one row as it was, export all of them."""

import base64
import json
import math
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from memos_assets.catalog import Catalog, TableSpec
from memos_assets.consolidate.decoding.repair_rules import fitting_rules
from memos_assets.errors import UsageError
from memos_assets.files import write_private
from memos_assets.postgres.schema import tables
from memos_assets.postgres.schema.tables import DROP
from memos_assets.sqlite.file import quoted, rowid_name
from memos_assets.sqlite.row_codec import Value, row_values

#: (source, table, rowid) -> reason and resolution.
States = Mapping[tuple[str, str, int], tuple[str, str | None]]

#: Table of an exported SQLite file with the reason of each row.
WHY = "memos_rejects"
_AT_A_TIME = 64


@dataclass(frozen=True, slots=True)
class Selection:
    """A filter of rejects of a catalog's tables; None matches everything."""

    catalog: Catalog
    source: str | None = None
    table: str | None = None
    reason: str | None = None
    only_open: bool = False

    def condition(self, conn: sa.Connection) -> sa.ColumnElement[bool]:
        """Return the filter as a condition on the rejects of the connection's schema."""
        entry = tables.rejects.c
        parts = [entry.target == tables.schema_in(conn, self.catalog.schema)]
        for column, wanted in (
            (entry.source, self.source),
            (entry.table_name, self.table),
            (entry.reason, self.reason),
        ):
            if wanted is not None:
                parts.append(column == wanted)
        if self.only_open:
            parts.append(entry.resolution.is_(None))
        return sa.and_(*parts)


@dataclass(frozen=True, slots=True)
class RejectGroup:
    """Rejects of one source, table and reason.

    Attributes:
        source: name of the source.
        table: table in PostgreSQL, without its schema.
        reason: of `REJECT_REASONS`.
        open: rows that wait for a repair or a decision.
        dropped: rows that stay out by decision.
        repaired: rows that are loaded as a rule changed them.
        decided: the rule in force, None where nothing is decided.
        rules: rules that fit.
    """

    source: str
    table: str
    reason: str
    open: int
    dropped: int
    repaired: int
    decided: str | None
    rules: Sequence[str]


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that could not be loaded as it was, and everything that is known of it.

    ``values``: SQLite column -> its value; bytes of a TEXT that are not UTF-8 are lone surrogates.
    ``key``: the values of its key, a BLOB as hexadecimal digits.
    """

    source: str
    spec: TableSpec
    rowid: int
    chunk: int
    key: Sequence[Any]
    reason: str
    detail: str
    values: Mapping[str, Value]
    resolution: str | None
    run_id: str
    rejected_at: datetime
    path: str | None

    @property
    def table(self) -> str:
        """The table in PostgreSQL that it should be in, without its schema."""
        return self.spec.name

    @property
    def origin(self) -> str:
        """The SQLite table that it is a row of."""
        return self.spec.origin

    @property
    def offending(self) -> Sequence[str]:
        """The SQLite columns that the reason is about."""
        spec = self.spec
        if self.reason in ("null_key", "key_too_long", "duplicate_key"):
            return [spec.column(name).origin for name in spec.key]
        if self.reason == "dangling_end":
            return [
                spec.column(link.column).origin
                for link in spec.links
                if self.detail.startswith(f"{link.column} ")
            ]
        return [self.detail.partition(": ")[0]]


def groups(conn: sa.Connection, selection: Selection) -> list[RejectGroup]:
    """Count the rejects by source, table and reason."""
    entry, repair = tables.rejects.c, tables.repairs.c
    decided = {
        (row.source, row.table_name, row.reason): row.rule
        for row in conn.execute(
            sa.select(repair.source, repair.table_name, repair.reason, repair.rule)
        )
    }
    known = {spec.name: spec for spec in selection.catalog.tables}
    place = (entry.source, entry.table_name, entry.reason)
    opened = sa.func.count().filter(entry.resolution.is_(None))
    dropped = sa.func.count().filter(entry.resolution == DROP)
    repaired = sa.func.count().filter(entry.resolution != DROP)
    return [
        RejectGroup(
            source,
            table,
            reason,
            opened_rows,
            dropped_rows,
            repaired_rows,
            decided.get((source, table, reason)),
            fitting_rules(known[table], reason) if table in known else (),
        )
        for source, table, reason, opened_rows, dropped_rows, repaired_rows in conn.execute(
            sa.select(*place, opened, dropped, repaired)
            .where(selection.condition(conn))
            .group_by(*place)
            .order_by(*place)
        )
    ]


def sources_with_rejects(conn: sa.Connection, selection: Selection) -> list[str]:
    """Return the sources that have such rejects, or decisions about some."""
    entry, repair = tables.rejects.c, tables.repairs.c
    found = sa.select(entry.source).where(selection.condition(conn))
    decided = sa.select(repair.source)
    if selection.source is not None:
        decided = decided.where(repair.source == selection.source)
    if selection.table is not None:
        decided = decided.where(repair.table_name == selection.table)
    return sorted(conn.execute(sa.union(found, decided)).scalars())


def rows_by_state(conn: sa.Connection, catalog: Catalog, sources: Sequence[str]) -> States:
    """Return (source, table, rowid) -> reason and resolution of every row of the sources."""
    entry = tables.rejects.c
    return {
        (row.source, row.table_name, row.source_rowid): (row.reason, row.resolution)
        for row in conn.execute(
            sa.select(
                entry.source, entry.table_name, entry.source_rowid, entry.reason, entry.resolution
            ).where(Selection(catalog).condition(conn), entry.source.in_(sources))
        )
    }


def rejected_row(conn: sa.Connection, selection: Selection, name: str) -> RejectedRow:
    """Return one row of a source and a table by its rowid, or its key.

    A key of several columns is given as its values with commas between.

    Raises:
        UsageError: M545 when there is none, or several rows have that key.
    """
    entry = tables.rejects.c
    by_rowid = (
        entry.source_rowid == int(name)
        if name.removeprefix("-").isdecimal() and abs(int(name)) < 2**63
        else sa.false()
    )
    source, table = selection.source, selection.table
    whose = selection.condition(conn)
    rowids = set(conn.execute(sa.select(entry.source_rowid).where(whose, by_rowid)).scalars())
    if not rowids:
        # Keys are compared in Python: PostgreSQL cannot unescape those with NUL.
        for rowid, key in conn.execute(sa.select(entry.source_rowid, entry.key).where(whose)):
            if ",".join(map(str, json.loads(key))) == name:
                rowids.add(rowid)
    if len(rowids) != 1:
        known = ", ".join(map(str, sorted(rowids)[:10]))
        raise UsageError(
            "M545",
            f"several rows have this key: rowids {known}"
            if rowids
            else "no such row in the rejects",
            where=f"{source} {table} {name}",
            fix="pass its rowid"
            if rowids
            else f"memos-assets rejects export FILE.db --source {source} --table {table} "
            "writes all of them",
        )
    (row,) = _rows(conn, selection.catalog, sa.and_(whose, entry.source_rowid == rowids.pop()))
    return row


def rejected_rows(conn: sa.Connection, selection: Selection) -> Iterator[RejectedRow]:
    """Yield the rows one by one, by source, table and rowid."""
    return _rows(conn, selection.catalog, selection.condition(conn))


def _rows(
    conn: sa.Connection, catalog: Catalog, condition: sa.ColumnElement[bool]
) -> Iterator[RejectedRow]:
    entry = tables.rejects.c
    statement = (
        sa.select(tables.rejects, tables.sources.c.path)
        .join(tables.sources, tables.sources.c.source == entry.source, isouter=True)
        .where(condition)
        .order_by(entry.source, entry.table_name, entry.source_rowid)
    )
    with conn.execute(statement, execution_options={"yield_per": _AT_A_TIME}) as rows:
        for row in rows:
            yield RejectedRow(
                source=row.source,
                spec=catalog.table(row.table_name),
                rowid=row.source_rowid,
                chunk=row.chunk,
                key=json.loads(row.key),
                reason=row.reason,
                detail=row.detail,
                values=dict(zip(row.columns, row_values(row.row), strict=True)),
                resolution=row.resolution,
                run_id=row.run_id,
                rejected_at=row.rejected_at,
                path=row.path,
            )


def export(conn: sa.Connection, selection: Selection, path: Path) -> int:
    """Write rejected rows to a file that is not there yet; return how many.

    ``.db``: a SQLite file with the original tables and columns, without declared types, so that
    SQLite converts nothing: storage classes, BLOBs and bytes that are not UTF-8 are as they were.
    `memos_rejects` says why each row is there. ``.jsonl``: one object per row.

    Raises:
        UsageError: M546 when the name ends otherwise, the file exists, or it cannot be written.
    """
    writers = {".db": _write_database, ".jsonl": _write_lines}
    if path.suffix not in writers:
        raise _unwritable(path, "the name says no format", "pass FILE.db or FILE.jsonl")
    if path.exists() or path.is_symlink():
        raise _unwritable(path, "it exists, and nothing is overwritten", "pass another name")
    partial = path.with_name(f"{path.name}.part")
    try:
        partial.unlink(missing_ok=True)
        count = writers[path.suffix](partial, rejected_rows(conn, selection))
        partial.replace(path)
    except (OSError, sqlite3.Error) as error:
        fix = "pass a file in a folder that exists, may be written and has room"
        raise _unwritable(path, f"it cannot be written ({error})", fix) from error
    finally:
        partial.unlink(missing_ok=True)
    return count


def _unwritable(path: Path, what: str, fix: str) -> UsageError:
    return UsageError("M546", what, where=str(path), fix=fix)


def _write_database(path: Path, rows: Iterator[RejectedRow]) -> int:
    names: dict[tuple[str, str], str] = {}
    columns: dict[str, list[str]] = {}
    count = 0
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            f"create table {WHY} (source, table_name, row_id, reason, detail, key, resolution, "
            "origin_table)"
        )
        for row in rows:
            place = (row.source, row.origin)
            if place not in names:
                taken = row.origin in columns
                names[place] = f"{row.source}.{row.origin}" if taken else row.origin
            name = names[place]
            if name not in columns:
                columns[name] = list(row.values)
                listed = ", ".join(map(quoted, row.values))
                connection.execute(f"create table {quoted(name)} ({listed})")
            for column in row.values.keys() - columns[name]:
                connection.execute(f"alter table {quoted(name)} add column {quoted(column)}")
                columns[name].append(column)
            rowid = rowid_name(frozenset(columns[name]), name)
            _insert(connection, name, {rowid: row.rowid, **row.values})
            _insert(
                connection,
                WHY,
                {
                    "source": row.source,
                    "table_name": name,
                    "row_id": row.rowid,
                    "reason": row.reason,
                    "detail": row.detail,
                    "key": json.dumps(row.key),
                    "resolution": row.resolution,
                    "origin_table": row.origin,
                },
            )
            count += 1
    return count


def _insert(connection: sqlite3.Connection, table: str, values: Mapping[str, Value]) -> None:
    marks = ["cast(? as text)" if isinstance(value, str) else "?" for value in values.values()]
    connection.execute(
        f"insert into {quoted(table)} ({', '.join(map(quoted, values))}) "
        f"values ({', '.join(marks)})",
        [
            value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
            for value in values.values()
        ],
    )


def _write_lines(path: Path, rows: Iterator[RejectedRow]) -> int:
    count = 0
    with write_private(path) as file:
        for row in rows:
            file.write(json.dumps(as_json(row), allow_nan=False) + "\n")
            count += 1
    return count


def as_json(row: RejectedRow) -> dict[str, Any]:
    """Return a row for machines: a value that JSON lacks is an object that names its kind."""
    return {
        "source": row.source,
        "table": row.table,
        "origin_table": row.origin,
        "rowid": row.rowid,
        "chunk": row.chunk,
        "key": list(row.key),
        "reason": row.reason,
        "detail": row.detail,
        "resolution": row.resolution,
        "run_id": row.run_id,
        "rejected_at": row.rejected_at.isoformat(),
        "values": {name: _json_value(value) for name, value in row.values.items()},
    }


def _json_value(value: Value) -> Any:
    if isinstance(value, bytes):
        return {"blob_base64": base64.b64encode(value).decode()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"real": repr(value)}
    if isinstance(value, str):
        raw = value.encode("utf-8", "surrogateescape")
        try:
            raw.decode()
        except UnicodeDecodeError:
            return {"text_base64": base64.b64encode(raw).decode()}
    return value
