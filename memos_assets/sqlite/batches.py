"""Read rows of a cursor in batches that are bounded by bytes: rows have any size."""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

_SIZED = (str, bytes)


def batched(
    cursor: sqlite3.Cursor, *, most_rows: int, most_bytes: int
) -> Iterator[list[tuple[Any, ...]]]:
    """Yield rows in batches that end with so many rows or so many bytes, whichever comes first.

    A batch is larger than ``most_bytes`` by at most its last row. None is referred to here while
    its consumer works on it.
    """
    rows: list[tuple[Any, ...]] = []
    size = 0
    for row in cursor:
        rows.append(row)
        size += size_of(row)
        if size >= most_bytes or len(rows) >= most_rows:
            del row
            full, rows, size = [rows], [], 0
            yield full.pop()
    if rows:
        full, rows = [rows], []
        yield full.pop()


def size_of(row: Sequence[Any]) -> int:
    """Return the characters and bytes of the values of a row, numbers left aside."""
    return sum([len(value) for value in row if isinstance(value, _SIZED)])
