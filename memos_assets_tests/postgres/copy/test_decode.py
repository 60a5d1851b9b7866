"""Rows of a COPY as fields, long ones where the driver has them."""

import psycopg
import pytest
from psycopg import sql

from memos_assets.postgres.copy import decode
from memos_assets.postgres.copy.decode import rows_of

#: Rows of a table without one, the first of them long, short, or of no field at all.
QUERIES = (
    "values (1, repeat('ä', 400), null, ''), (2, 'short', repeat('x', 99), null)",
    "values (1, 'short', null, ''), (2, repeat('x', 101), repeat('y', 500), null), (3, '', '', '')",
    "select number, null, repeat('x', number), 'y' from generate_series(95, 105) number",
    "select 1 where false",
    "select null",
    "select",
)


@pytest.mark.parametrize("query", QUERIES)
def test_rows_are_those_of_the_driver(
    driver: psycopg.Connection, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "_LONG_BYTES", 100)
    statement = sql.SQL("copy ({}) to stdout (format binary)").format(sql.SQL(query))
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        expected = list(copy.rows())
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        found = list(rows_of(copy))
    assert [tuple(row) for row in found] == expected
    long = [isinstance(field, memoryview) for row in found for field in row if field is not None]
    assert long == [len(field) > 100 for row in expected for field in row if field is not None]
    driver.rollback()
