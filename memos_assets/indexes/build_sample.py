"""Time the build of an index on a few of its rows, to forecast the time of all of them."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import psycopg
import sqlalchemy as sa
from psycopg import sql

from memos_assets.postgres.connection import driver_of

#: Fewer rows are built in a second or two: 200 of 5,000 took up to 14 % of the build (2026-11-22).
SAMPLED_FROM_ROWS = 10_000
#: An eightieth of the rows takes 1 to 4 % of the time that the build takes.
_SHARE = 80
_LEAST_ROWS, _MOST_ROWS = 200, 1_000


def sample_rows(rows: int) -> int:
    """Return how many rows are worth building first, 0 for none."""
    if rows < SAMPLED_FROM_ROWS:
        return 0
    return min(_MOST_ROWS, max(_LEAST_ROWS, rows // _SHARE))


def sampled_seconds(
    engine: sa.Engine,
    table: sql.Identifier,
    name: str,
    columns: Sequence[str],
    serves: sql.Composable,
    create: Callable[[str], sql.Composed],
    *,
    rows: int,
    sample: int,
) -> tuple[float, int] | None:
    """Build an index on some rows of a table, in a temporary copy that is rolled back.

    Args:
        engine: of the target database.
        table: with its schema.
        name: of the table, which the copy has in the schema of temporary tables.
        columns: that the index reads.
        serves: condition of its rows.
        create: composes the statement for a schema.
        rows: that the condition holds for.
        sample: how many to take.

    Returns:
        Seconds and rows of the build; None where the server refuses
        it; then the forecast by rate is used.
    """
    copy = sql.SQL(
        "create temporary table {} on commit drop as "
        "select {} from {} tablesample bernoulli ({}) repeatable (1) where {} limit {}"
    ).format(
        sql.Identifier(name),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        table,
        sql.Literal(min(100.0, 120.0 * sample / rows)),
        serves,
        sql.Literal(sample),
    )
    with (
        suppress(psycopg.Error, sa.exc.DBAPIError),
        engine.connect() as conn,
        conn.begin() as whole,
    ):
        driver = driver_of(conn)
        taken = driver.execute(copy).rowcount
        conn.execute(
            sa.text(
                "select set_config('maintenance_work_mem', '64MB', true), "
                "set_config('max_parallel_maintenance_workers', '0', true)"
            )
        )
        started = time.monotonic()
        driver.execute(create("pg_temp"))
        seconds = time.monotonic() - started
        whole.rollback()
        if taken >= sample // 2:
            return seconds, taken
    return None
