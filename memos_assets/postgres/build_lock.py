"""Whose turn it is on a table: a load waits until an index that is being built on it is there."""

import time

import psycopg
import sqlalchemy as sa
from psycopg import sql

from memos_assets.postgres.connection import driver_of

#: A build of a large index takes minutes. A session that waits to write does not stop readers.
PATIENCE_SECONDS = 1_800

_BUILT = sa.text(
    "select exists(select from pg_stat_progress_create_index "
    "where datname = current_database() and relid = to_regclass(:table))"
)


def wait_for_build(conn: sa.Connection, schema: str, table: str) -> None:
    """Take the lock of a writer on a table, for as long as an index is built on it at most.

    A plain build takes no writes. Without one the wait is as long as the session's lock_timeout.

    Raises:
        psycopg.errors.LockNotAvailable: somebody else holds the table, or the build does not end.
    """
    name = sql.Identifier(schema, table)
    driver = driver_of(conn)
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        savepoint = conn.begin_nested()
        try:
            driver.execute(sql.SQL("lock table {} in row exclusive mode").format(name))
        except psycopg.errors.LockNotAvailable:
            savepoint.rollback()
            built = conn.execute(_BUILT, {"table": name.as_string(driver)}).scalar_one()
            if not built or time.monotonic() > until:
                raise
        else:
            savepoint.commit()
            return
