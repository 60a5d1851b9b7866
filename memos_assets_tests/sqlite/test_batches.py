"""Batches end with so many rows or so many bytes, and none is kept while the next one is read."""

import sqlite3
import weakref
from contextlib import closing

from memos_assets.sqlite.batches import batched


def test_a_batch_ends_with_so_many_rows_or_bytes() -> None:
    sizes = [1] * 10 + [500, 2, 2, 5_000, 1]
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("create table t (n integer, a text, b blob)")
        connection.executemany("insert into t values (7, 'a', zeroblob(?))", [(n,) for n in sizes])
        cursor = connection.execute("select n, a, b, null, 1.5 from t order by rowid")
        found = [[len(row[2]) for row in b] for b in batched(cursor, most_rows=8, most_bytes=400)]
    assert found == [[1] * 8, [1, 1, 500], [2, 2, 5_000], [1]]


def test_the_last_batch_is_gone_when_the_next_one_is_read() -> None:
    class Rows(list[object]):
        pass

    with closing(sqlite3.connect(":memory:")) as connection:
        cursor = connection.execute("values (1), (2), (3)")
        left: list[weakref.ref[Rows]] = []
        for batch in batched(cursor, most_rows=1, most_bytes=1):
            assert not [ref for ref in left if ref() is not None]
            rows = Rows(batch)
            left.append(weakref.ref(rows))
            del rows, batch
    assert len(left) == 3
