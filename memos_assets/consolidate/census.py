"""Count what is in the caches that stay where they are, without touching them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from memos_assets.consolidate import sqlite_file
from memos_assets.consolidate.sqlite_file import quoted

#: Columns that count uses, in either cache.
_HIT_COLUMNS = ("hit_count", "access_count")


@dataclass(frozen=True, slots=True)
class TableCensus:
    """One cache table.

    Attributes:
        rows: rows in it.
        expired: rows past their expiry; None where the table has none.
        hits: sum of its hit counter; None where the table has none.
        bytes: bytes of the stored values.
    """

    rows: int
    expired: int | None
    hits: int | None
    bytes: int


def take_census(path: Path, at: datetime | None = None) -> Mapping[str, TableCensus]:
    """Return a census of every table of a cache file.

    Args:
        path: the file; opened read-only. Opening it through memOS's classes would delete rows.
        at: the moment at which rows count as expired; now where it is None.
    """
    moment = (at or datetime.now(UTC)).timestamp()
    census = {}
    with sqlite_file.opened(path) as connection:
        for table, columns in sorted(sqlite_file.layout(connection).items()):
            hits = next((name for name in _HIT_COLUMNS if name in columns), None)
            size = " + ".join(
                f"coalesce(length(cast({quoted(name)} as blob)), 0)" for name in sorted(columns)
            )
            row = connection.execute(
                f"select count(*), {'sum(expires_at < ?)' if 'expires_at' in columns else '?'}, "
                f"{f'sum({hits})' if hits else 'null'}, sum({size}) from {quoted(table)}",
                (moment if "expires_at" in columns else None,),
            ).fetchone()
            rows, expired, hit_count, size_bytes = row
            census[table] = TableCensus(
                rows,
                int(expired or 0) if "expires_at" in columns else None,
                int(hit_count or 0) if hits else None,
                int(size_bytes or 0),
            )
    return census
