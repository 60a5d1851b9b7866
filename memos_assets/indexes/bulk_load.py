"""Search indexes and statistics around a bulk load."""

from collections.abc import Callable, Sequence

import psycopg
import sqlalchemy as sa
from psycopg import sql

from memos_assets.catalog import TableSpec
from memos_assets.indexes.definitions import drop_index, search_indexes, state_of
from memos_assets.postgres.connection import count_rows, driver_of
from memos_assets.postgres.schema.consolidated import table_of
from memos_assets.postgres.schema.tables import schema_in

#: Readers of a table wait behind a session that waits to drop an index of it.
DROP_PATIENCE_MS = 2_000
#: Fewer rows are inserted into the indexes as they are.
LEAST_ROWS = 1_000


def analyze(engine: sa.Engine, spec: TableSpec) -> None:
    """Refresh the planner's statistics of a table after a load."""
    with engine.begin() as conn:
        driver = driver_of(conn)
        table = sql.Identifier(schema_in(conn, spec.schema), spec.name)
        driver.execute(sql.SQL("analyze {}").format(table))


def drop_before_bulk_load(
    engine: sa.Engine,
    spec: TableSpec,
    incoming: int,
    announce: Callable[[Sequence[str]], None] = lambda _: None,
) -> list[str]:
    """Drop a table's search indexes when most of its rows are about to be written.

    Inserting into an HNSW graph costs many times what building it once costs. Index assets are
    downstream of the load and build them again. They stay where the table is in use for longer than
    a moment, such as by maintenance: a session that waits for that would keep every reader waiting.

    Args:
        engine: of the target database.
        spec: the table.
        incoming: rows that are about to be loaded.
        announce: is called with the names before anything is dropped, so that a process that is
            killed at any moment leaves no index missing that nobody was told of.

    Returns:
        Names of the dropped indexes.
    """
    names = [index.name for index in search_indexes(spec.as_table)]
    with engine.connect() as conn:
        present = [name for name in names if state_of(conn, name, spec.schema) is not None]
        if not present or incoming < LEAST_ROWS:
            return []
        if incoming * 2 < count_rows(conn, table_of(spec), sa.true()):
            return []
    announce(present)
    with engine.begin() as conn:
        conn.execute(
            sa.text("select set_config('lock_timeout', :patience, true)"),
            {"patience": f"{DROP_PATIENCE_MS}ms"},
        )
        try:
            for name in present:
                drop_index(conn, name, spec.schema)
        except psycopg.errors.LockNotAvailable:
            conn.rollback()
            return []
    return present
