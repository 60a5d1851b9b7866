"""Rows of a COPY in chunks: those that the driver reads, and the server's own error."""

import psycopg
import pyarrow as pa
import pytest
from psycopg import sql

from memos_assets.postgres.copy import bulk
from memos_assets.postgres.copy.arrow_schema import typed_field
from memos_assets.postgres.copy.bulk import read_chunks, read_table
from memos_assets.postgres.copy.encode import HEADER, TRAILER

QUERIES = (
    "select n, n::text from generate_series(1, 5000) n",
    "select 1 where false",
    "select null, null",
    "select repeat(n::text, 20000) from generate_series(1, 40) n",
    "select pg_sleep(0.01), n from generate_series(1, 5) n",
)


@pytest.mark.parametrize("query", QUERIES)
def test_chunks_have_the_rows_that_the_driver_reads(
    driver: psycopg.Connection, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "CHUNK_ROWS", 700)
    statement = sql.SQL("copy ({}) to stdout (format binary)").format(sql.SQL(query))
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        expected = b"".join(map(bytes, copy))
    chunks = list(read_chunks(driver, sql.SQL(query)))
    data = b"".join(chunk.data for chunk in chunks)
    assert HEADER + data + TRAILER == expected
    counted = driver.execute(sql.SQL("select count(*) from ({}) t").format(sql.SQL(query)))
    assert counted.fetchone() == (sum(chunk.rows for chunk in chunks),)
    driver.rollback()


def test_a_query_that_fails_in_the_midst_raises_the_error_of_the_server(
    driver: psycopg.Connection,
) -> None:
    failing = sql.SQL("select n, 1 / (3000 - n) from generate_series(1, 5000) n")
    with pytest.raises(psycopg.errors.DivisionByZero), driver.transaction():
        list(read_chunks(driver, failing))
    assert driver.execute("select 1").fetchone() == (1,)
    driver.rollback()


def test_a_reader_that_stops_early_leaves_a_usable_connection(driver: psycopg.Connection) -> None:
    rows = sql.SQL("select n, repeat('x', 1000) from generate_series(1, 100000) n")
    with driver.transaction():
        next(read_chunks(driver, rows))
        raise psycopg.Rollback
    assert driver.execute("select 1").fetchone() == (1,)
    driver.rollback()


def test_rows_of_one_length_and_of_others_are_read_alike(driver: psycopg.Connection) -> None:
    schema = pa.schema(
        [typed_field("n", "bigint"), typed_field("u", "uuid"), typed_field("t", "text")]
    )
    rows = "select n::bigint, lpad(n::text, 32, '0')::uuid, {} from generate_series(1000, 1999) n"
    of_one, others = (
        pa.Table.from_batches(read_table(driver, sql.SQL(rows.format(text)), schema))
        for text in ("n::text", "case when n % 3 = 0 then repeat('x', n % 50) end")
    )
    driver.rollback()
    assert of_one["n"].to_pylist() == list(range(1000, 2000))
    assert of_one["t"].to_pylist() == [str(n) for n in range(1000, 2000)]
    assert of_one.select(["n", "u"]).equals(others.select(["n", "u"]))
