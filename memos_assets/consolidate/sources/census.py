"""Count the rows of caches, which stay in place and are not changed."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from memos_assets.sqlite import file as sqlite_file
from memos_assets.sqlite.file import quoted, unindexed
from memos_assets.sqlite.row_codec import Value

#: Columns that count uses, in either cache.
_HIT_COLUMNS = ("hit_count", "access_count")
#: When a row was cached: Unix seconds in the content cache, naive local time in the scratchpad.
_TIME_COLUMNS = ("created_at", "cached_at")


@dataclass(frozen=True, slots=True)
class TableCensus:
    """One cache table.

    Attributes:
        rows: rows in it.
        expired: rows past their expiry; None where the table has none.
        hits: sum of its hit counter; None where the table has none.
        bytes: bytes of the stored values.
        oldest: when the first of the rows was cached, in UTC; None where none says so.
        newest: when the last of them was.
        unreadable: rows whose time is none.
    """

    rows: int
    expired: int | None
    hits: int | None
    bytes: int
    oldest: datetime | None
    newest: datetime | None
    unreadable: int


def take_census(
    path: Path, zone: ZoneInfo, at: datetime | None = None
) -> Mapping[str, TableCensus]:
    """Return a census of every table of a cache file.

    Args:
        path: the file; opened read-only. Opening it through memOS's classes would delete rows.
        zone: of times without an offset, which memOS writes in the zone of its server.
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
                f"{f'sum({hits})' if hits else 'null'}, sum({size}) from {unindexed(table)}",
                (moment if "expires_at" in columns else None,),
            ).fetchone()
            rows, expired, hit_count, size_bytes = row
            time = next((name for name in _TIME_COLUMNS if name in columns), None)
            times = _times(connection, table, time, zone) if time else []
            instants = [instant for instant in times if instant is not None]
            census[table] = TableCensus(
                rows,
                int(expired or 0) if "expires_at" in columns else None,
                int(hit_count or 0) if hits else None,
                int(size_bytes or 0),
                min(instants, default=None),
                max(instants, default=None),
                len(times) - len(instants),
            )
    return census


def _times(
    connection: sqlite3.Connection, table: str, column: str, zone: ZoneInfo
) -> list[datetime | None]:
    rows = connection.execute(f"select {quoted(column)} from {unindexed(table)}")
    return [_instant(value, zone) for (value,) in rows]


def _instant(value: Value, zone: ZoneInfo) -> datetime | None:
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None
