"""One SQLite file while it is being written: layout first, then rows in streams, then its size.

The statements here are memOS's or are built from memOS's table and column names; nothing in this
room talks to PostgreSQL, which is why they are not under sql/.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from memos_assets.demo.defects import DefectPlacement
from memos_assets.demo.manifest import FileManifest, TableManifest

SqlValue = str | bytes | int | float | None


class DemoStore:
    """A file with memOS's page size, encoding and journal, written without any journal."""

    def __init__(self, path: Path, statements: Sequence[str]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._defects: dict[str, DefectPlacement] = {}
        self._conn = sqlite3.connect(path, isolation_level=None)
        # The folder becomes visible by one rename, so a torn file is never seen; and "off" is not
        # stored in the file: the next connection finds the rollback journal memOS uses.
        for pragma in ("page_size = 4096", "journal_mode = off", "synchronous = off"):
            self._conn.execute(f"pragma {pragma}")
        for statement in statements:
            self._conn.execute(statement)

    def defects(self, table: str, seed: str) -> DefectPlacement:
        """Return the defects of one table, whose counts go into the manifest."""
        return self._defects.setdefault(table, DefectPlacement(f"{seed}/{table}"))

    def insert(
        self, table: str, columns: Sequence[str], rows: Iterable[Sequence[SqlValue]]
    ) -> None:
        """Insert a stream of rows in one transaction; ``columns`` may begin with ``rowid``."""
        names = ", ".join(columns)
        marks = ", ".join("?" * len(columns))
        self._conn.execute("begin")
        self._conn.executemany(f"insert into {table} ({names}) values ({marks})", rows)
        self._conn.execute("commit")

    def store_bytes_as_text(self, table: str, column: str, values: Mapping[int, bytes]) -> None:
        """Replace a text by bytes of any encoding, by rowid; a bound ``str`` is always UTF-8."""
        self._conn.execute("begin")
        self._conn.executemany(
            f"update {table} set {column} = cast(? as text) where rowid = ?",
            ((value, rowid) for rowid, value in values.items()),
        )
        self._conn.execute("commit")

    def execute(self, statement: str) -> None:
        """Run one further layout statement, such as the ALTER of an older file."""
        self._conn.execute(statement)

    def close(self) -> None:
        """Close the file; also after a failure."""
        self._conn.close()

    def finish(self, relative: str) -> FileManifest:
        """Close the file and describe it, counting the rows that are really there."""
        names = [
            name
            for (name,) in self._conn.execute(
                "select name from sqlite_master where type = 'table' and name not like 'sqlite_%'"
            )
        ]
        tables = {
            name: TableManifest(
                rows=self._conn.execute(f"select count(*) from {name}").fetchone()[0],
                defects=dict(sorted(self._defects[name].counts.items()))
                if name in self._defects
                else {},
            )
            for name in names
        }
        self.close()
        return FileManifest(path=relative, bytes=self._path.stat().st_size, tables=tables)


def batches(indices: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """Cut ``indices`` into runs of at most ``size``."""
    for start in range(0, len(indices), size):
        yield indices[start : start + size]


def rowids_after_reindexing(total: int, moved: Sequence[int]) -> dict[int, int]:
    """Return the rowids of rows that INSERT OR REPLACE wrote again, in that order.

    Row ``i`` of ``total`` was first written at rowid ``i + 1``; writing it again leaves a gap there
    and puts it behind the last row.
    """
    return {index: total + 1 + order for order, index in enumerate(moved)}
