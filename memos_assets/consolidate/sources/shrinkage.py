"""Tables of a source that lost most of their rows since it was last pinned.

memOS makes a file anew, empty, where one is missing. Loaded like any other change, that would take
the rows out of PostgreSQL, too; so somebody has to accept the count first.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from memos_assets.catalog import FileKind
from memos_assets.consolidate.sources.pins import Pin
from memos_assets.consolidate.sources.registry import source_named
from memos_assets.errors import SourceError, UsageError
from memos_assets.postgres.schema import tables
from memos_assets.postgres.upsert import upsert
from memos_assets.sqlite import file as sqlite_file

#: A table that keeps less than this share of its rows is not loaded before somebody accepts it.
KEPT_AT_LEAST = 0.5
_ACCEPTANCE = re.compile(r"(?P<source>[^=]+)\.(?P<table>[^=.]+)=(?P<rows>[0-9]{1,18})")
_PIN_DIGEST = re.compile(r"-[0-9a-f]{16}\.db$")


@dataclass(frozen=True, slots=True)
class Shrunken:
    """A SQLite table, its rows when its source was last pinned, and its rows now."""

    source: str
    table: str
    former: int
    rows: int

    def __str__(self) -> str:
        """Return it as people read it."""
        return (
            f"{self.table} had {self.former:,} rows when it was last pinned, and has {self.rows:,}"
        )

    @property
    def acceptance(self) -> str:
        """The option by which somebody accepts the count."""
        return f"--accept-rows {self.source}.{self.table}={self.rows}"


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The count of rows that somebody accepts for one table of a source."""

    source: str
    table: str
    rows: int

    @classmethod
    def parse(cls, argument: str) -> "Acceptance":
        """Read ``SOURCE.TABLE=ROWS``.

        Raises:
            UsageError: M562 it is written otherwise.
        """
        found = _ACCEPTANCE.fullmatch(argument)
        if found is None:
            raise UsageError(
                "M562",
                "the accepted count of a table is written SOURCE.TABLE=ROWS",
                where=argument,
                fix="write it as the message did: --accept-rows semantic_memory.memories=0",
            )
        return cls(found["source"], found["table"], int(found["rows"]))


def shrunken(
    source: str, kind: FileKind, former: Mapping[str, int], now: Mapping[str, int]
) -> list[Shrunken]:
    """Return the consolidated tables that lost more than half of their rows, or all of them.

    Args:
        source: name of the source.
        kind: of the file.
        former: SQLite table -> rows at the last pin.
        now: the same of the file as it is.
    """
    counts = ((spec.origin, former.get(spec.origin, 0)) for spec in kind.tables)
    return [
        Shrunken(source, table, rows, now.get(table, 0))
        for table, rows in counts
        if now.get(table, 0) < rows * KEPT_AT_LEAST
    ]


def refuse_shrinkage(conn: sa.Connection, former: Pin, pin: Pin) -> None:
    """Refuse a pin in which a table lost most of its rows, unless the count was accepted.

    Raises:
        UsageError: M561.
    """
    accepted = _accepted(conn, pin.source)
    lost = [
        table
        for table in shrunken(pin.source, pin.kind, former.rows, pin.rows)
        if accepted.get(table.table) != table.rows
    ]
    if lost:
        options = " ".join(table.acceptance for table in lost)
        raise UsageError(
            "M561",
            f"{'; '.join(map(str, lost))}; what is loaded stays",
            where=str(pin.origin),
            fix="put the former file back, or, if the rows are meant to go: memos-assets "
            f"consolidate --data {pin.source}={pin.origin} {options}",
        )


def accept(
    conn: sa.Connection, kinds: Sequence[FileKind], acceptances: Iterable[Acceptance], by: str
) -> None:
    """Store the counts that somebody accepts, each for one table of a registered source.

    Raises:
        UsageError: M526 a source is not registered; M565 its kind has no such table.
    """
    for acceptance in acceptances:
        kind = source_named(conn, kinds, acceptance.source).kind
        origins = [spec.origin for spec in kind.tables]
        if acceptance.table not in origins:
            raise UsageError(
                "M565",
                f"{kind.name} has no table {acceptance.table}; it has {', '.join(origins)}",
                where=acceptance.source,
                fix="write the table as the message did: --accept-rows SOURCE.TABLE=ROWS",
            )
        conn.execute(
            upsert(tables.accepted_counts, "rows", "accepted_by", "accepted_at"),
            {
                "source": acceptance.source,
                "origin_table": acceptance.table,
                "rows": acceptance.rows,
                "accepted_by": by,
            },
        )


def use_up(conn: sa.Connection, source: str) -> None:
    """Forget what was accepted for a source: another loss needs another acceptance."""
    counts = tables.accepted_counts
    conn.execute(sa.delete(counts).where(counts.c.source == source))


def _accepted(conn: sa.Connection, source: str) -> dict[str, int]:
    counts = tables.accepted_counts.c
    statement = sa.select(counts.origin_table, counts.rows).where(counts.source == source)
    return {row.origin_table: row.rows for row in conn.execute(statement)}


def last_pinned(folder: Path, source: str, kind: FileKind) -> Mapping[str, int] | None:
    """Return table -> rows of the newest pinned copy of a source in a folder; needs no database.

    None where there is none, or it cannot be read.
    """
    copies = [
        path
        for path in folder.glob("*.db")
        if _PIN_DIGEST.sub("", path.name) == source and _PIN_DIGEST.search(path.name)
    ]
    if not copies:
        return None
    newest = max(copies, key=lambda path: path.stat().st_mtime_ns)
    try:
        with sqlite_file.opened(newest) as connection:
            layout = sqlite_file.layout(connection)
            there = (spec.origin for spec in kind.tables if spec.origin in layout)
            return sqlite_file.row_counts(connection, there)
    except SourceError:
        return None
