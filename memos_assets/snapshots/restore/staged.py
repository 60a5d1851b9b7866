"""Rows of a snapshot in a table beside the live one, and the live rows made equal to them.

Nothing but rows changes: readers go on, and owners, triggers, indexes and policies stay.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
import pyarrow as pa
import sqlalchemy as sa
from psycopg import sql

from memos_assets.errors import SnapshotError
from memos_assets.postgres.connection import driver_of, first_line
from memos_assets.snapshots.differences import Counts
from memos_assets.snapshots.manifest import TableEntry
from memos_assets.snapshots.restore.load import copy_in

#: The session's own schema: what is staged there is gone with the session.
_TEMPORARY: Final = "pg_temp"
_MOST_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class Staged:
    """Rows of a snapshot beside a live table.

    Attributes:
        entry: of the manifest.
        schema, name: of the table where they are.
        condition: of the live rows, as ``l``, that are compared with them; `values` are bound.
        values: of the condition.
    """

    entry: TableEntry
    schema: str
    name: str
    condition: str = "true"
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def live(self) -> sql.Identifier:
        """The live table."""
        return sql.Identifier(self.entry.schema, self.entry.name)

    def _filled(self, text: str) -> sql.Composed:
        columns = [name for name, _ in self.entry.columns]
        others = [name for name in columns if name not in self.entry.key]
        return sql.SQL(text).format(
            live=self.live,
            staged=sql.Identifier(self.schema, self.name),
            matched=sql.SQL(" and ").join(
                sql.SQL("l.{0} = s.{0}").format(sql.Identifier(name)) for name in self.entry.key
            ),
            condition=sql.SQL(self.condition),
            first=sql.Identifier(self.entry.key[0]),
            columns=_listed("", columns),
            others=_listed("", others),
            others_staged=_listed("s.", others),
            of_live=_listed("l.", columns),
            of_staged=_listed("s.", columns),
        )

    def counts(self, conn: sa.Connection) -> Counts:
        """Count what `remove` and `put` would do."""
        query = self._filled(
            "select count(*) filter (where l.{first} is null), "
            "count(*) filter (where s.{first} is null), "
            "count(*) filter (where pg_catalog.record_image_ne(row({of_live}), row({of_staged}))"
            " and l.{first} is not null and s.{first} is not null) "
            "from (select * from {live} l where {condition}) l full join {staged} s on {matched}"
        )
        row = driver_of(conn).execute(query, self.values or None).fetchone()
        assert row is not None
        return Counts(*row)

    def remove(self, conn: sa.Connection) -> int:
        """Delete live rows that are not staged; return how many."""
        statement = self._filled(
            "delete from {live} l where {condition} "
            "and not exists (select from {staged} s where {matched})"
        )
        return driver_of(conn).execute(statement, self.values or None).rowcount

    def put(self, conn: sa.Connection) -> tuple[int, int]:
        """Insert and update live rows to be as they are staged; return added and changed."""
        driver = driver_of(conn)
        changed = 0
        if len(self.entry.columns) > len(self.entry.key):
            changed = driver.execute(
                self._filled(
                    "update {live} l set ({others}) = row({others_staged}) from {staged} s "
                    "where {matched} "
                    "and pg_catalog.record_image_ne(row({of_live}), row({of_staged}))"
                )
            ).rowcount
        added = driver.execute(
            self._filled(
                "insert into {live} ({columns}) overriding system value select {of_staged} "
                "from {staged} s where not exists (select from {live} l where {matched})"
            )
        ).rowcount
        return added, changed


def _listed(alias: str, columns: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.SQL(alias) + sql.Identifier(name) for name in columns)


def stage(
    conn: sa.Connection,
    entry: TableEntry,
    batches: Iterable[pa.RecordBatch],
    condition: str = "true",
    values: Mapping[str, Any] | None = None,
) -> Staged:
    """Put rows into a temporary table beside the live one.

    Args:
        conn: in a transaction; its session keeps the table.
        entry: of the manifest.
        batches: rows of the table.
        condition, values: of `Staged`.
    """
    driver = driver_of(conn)
    name = f"{entry.schema}__{entry.name}"
    table = sql.Identifier(_TEMPORARY, name)
    live = sql.Identifier(entry.schema, entry.name)
    driver.execute(sql.SQL("create table {} (like {})").format(table, live))
    copy_in(driver, table, [name for name, _ in entry.columns], batches)
    driver.execute(
        sql.SQL("alter table {} add primary key ({})").format(table, _listed("", entry.key))
    )
    driver.execute(sql.SQL("analyze {}").format(table))
    return Staged(entry, _TEMPORARY, name, condition, values or {})


def refused(error: psycopg.Error, where: str) -> SnapshotError:
    """Return M819 for rows that a constraint or an object of others does not let be restored."""
    said = first_line(error)
    if isinstance(error, psycopg.errors.DependentObjectsStillExist):
        # Names objects; the details of other errors name values.
        said = "; ".join((error.diag.message_detail or said).splitlines()[:_MOST_NAMED])
    return SnapshotError(
        "M819",
        f"PostgreSQL refuses it ({said})",
        where=where,
        fix="change or drop what hangs on those rows or tables, then run again; nothing was "
        "changed",
    )


def refused_for(hanging: Sequence[str]) -> SnapshotError:
    """Return M819 for objects of others that an exchange of tables would drop."""
    return SnapshotError(
        "M819",
        f"{', '.join(hanging)}: would be dropped with the live tables",
        where="schema agent",
        fix="drop them, restore, and create them again",
    )
