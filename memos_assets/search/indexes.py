"""Build the search indexes, each in a transaction of its own, and look at what is there."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import psycopg
import sqlalchemy as sa
from psycopg import sql

from memos_assets.catalog import TABLES, TableSpec
from memos_assets.consolidate.progress import Progress, report
from memos_assets.errors import TargetError
from memos_assets.postgres import tables
from memos_assets.postgres.answers import count_rows, first_line
from memos_assets.postgres.tables import data_schema
from memos_assets.search.queries import create_gin, create_hnsw, gin_name


@dataclass(frozen=True, slots=True)
class SearchIndex:
    """An index of the catalog, of either method; ``create`` takes the schema of its table."""

    name: str
    table: str
    strategy: str
    create: Callable[[str], sql.Composed]


@dataclass(frozen=True, slots=True)
class IndexState:
    """An index as PostgreSQL has it."""

    valid: bool
    definition: str
    bytes: int


@dataclass(frozen=True, slots=True)
class BuiltIndex:
    """The outcome of asking for an index."""

    name: str
    built: bool
    seconds: float
    bytes: int
    rows: int


def search_indexes(spec: TableSpec) -> list[SearchIndex]:
    """Return every search index of a table."""
    found = [
        SearchIndex(index.name, spec.name, index.strategy, partial(create_hnsw, index))
        for index in spec.vector_indexes
    ]
    found += [
        SearchIndex(
            gin_name(spec.name, column),
            spec.name,
            f"GIN on {column.name} (jsonb containment)",
            partial(create_gin, spec.name, column),
        )
        for column in spec.searched
    ]
    return found


@contextmanager
def driver_of(conn: sa.Connection) -> Iterator[psycopg.Connection]:
    """Yield the psycopg connection of a SQLAlchemy one, inside its transaction."""
    driver = conn.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    yield driver


def state_of(conn: sa.Connection, name: str) -> IndexState | None:
    """Return an index of a consolidated table as it is, None when there is none."""
    row = conn.execute(
        sa.text(
            "select i.indisvalid and i.indisready as valid, pg_get_indexdef(c.oid) as definition, "
            "pg_relation_size(c.oid) as bytes "
            "from pg_class c join pg_index i on i.indexrelid = c.oid "
            "join pg_namespace n on n.oid = c.relnamespace "
            "where n.nspname = :schema and c.relname = :name"
        ),
        {"schema": data_schema(conn), "name": name},
    ).first()
    return None if row is None else IndexState(row.valid, row.definition, row.bytes)


def ensure_index(
    engine: sa.Engine,
    index: SearchIndex,
    *,
    maintenance_work_mem_mb: int,
    parallel_workers: int = 1,
) -> BuiltIndex:
    """Build an index unless a valid one is there; an invalid one is dropped first.

    Args:
        engine: of the target database.
        index: from `search_indexes`.
        maintenance_work_mem_mb: memory of the build; past it an HNSW graph goes to disk.
        parallel_workers: of PostgreSQL, beside the backend that builds.

    Raises:
        TargetError: M320 when PostgreSQL cannot build it; the table is as it was.
    """
    started = time.monotonic()
    report(Progress("index", index.name))
    try:
        with engine.begin() as conn, driver_of(conn) as driver:
            state = state_of(conn, index.name)
            built = state is None or not state.valid
            if state is not None and not state.valid:
                drop_index(conn, index.name)
            if built:
                # `set` takes no bind parameters; set_config does.
                conn.execute(
                    sa.text(
                        "select set_config('maintenance_work_mem', :size, true), "
                        "set_config('max_parallel_maintenance_workers', :workers, true)"
                    ),
                    {"size": f"{maintenance_work_mem_mb}MB", "workers": str(parallel_workers)},
                )
                driver.execute(index.create(data_schema(conn)))
        with engine.begin() as conn:
            state = state_of(conn, index.name)
            assert state is not None
            rows = rows_served(conn, index.name)
    except (sa.exc.DBAPIError, psycopg.Error) as error:
        raise TargetError(
            "M320",
            f"the index cannot be built ({first_line(error)})",
            where=f"{data_schema(engine)}.{index.name}",
            fix="free disk space or raise MEMOS_MAINTENANCE_WORK_MEM_MB, then run again",
        ) from error
    report(Progress("index", index.name, rows=rows, bytes=state.bytes, done=True))
    return BuiltIndex(index.name, built, time.monotonic() - started, state.bytes, rows)


def build_costs(engine: sa.Engine, indexes: Sequence[SearchIndex]) -> dict[str, int]:
    """Estimate what building each index costs: rows it serves times the elements it compares."""
    elements = {index.name: index.dimension for spec in TABLES for index in spec.vector_indexes}
    with engine.connect() as conn:
        return {
            index.name: rows_served(conn, index.name) * elements.get(index.name, 64)
            for index in indexes
        }


def analyze(engine: sa.Engine, spec: TableSpec) -> None:
    """Refresh the planner's statistics of a table after a load."""
    with engine.begin() as conn, driver_of(conn) as driver:
        table = sql.Identifier(data_schema(conn), spec.name)
        driver.execute(sql.SQL("analyze {}").format(table))


def drop_index(conn: sa.Connection, name: str) -> None:
    """Drop an index of a consolidated table if it is there."""
    with driver_of(conn) as driver:
        index = sql.Identifier(data_schema(conn), name)
        driver.execute(sql.SQL("drop index if exists {}").format(index))


def drop_before_bulk_load(engine: sa.Engine, spec: TableSpec, incoming: int) -> list[str]:
    """Drop a table's search indexes when most of its rows are about to be written.

    Inserting into an HNSW graph costs many times what building it once costs. Index assets are
    downstream of the load and build them again.

    Args:
        engine: of the target database.
        spec: the table.
        incoming: rows that are about to be loaded.

    Returns:
        Names of the dropped indexes.
    """
    names = [index.name for index in search_indexes(spec)]
    with engine.begin() as conn:
        present = [name for name in names if state_of(conn, name) is not None]
        if not present or incoming < 1_000:
            return []
        if incoming * 2 < count_rows(conn, tables.CONSOLIDATED[spec.name], sa.true()):
            return []
        for name in present:
            drop_index(conn, name)
    return present


def rows_served(conn: sa.Connection, name: str) -> int:
    """Count rows that an index of the catalog serves.

    Args:
        conn: to the target database.
        name: of the index; embedded rows of its dimension count, or rows with JSON in its column.
    """
    for spec in TABLES:
        table = tables.CONSOLIDATED[spec.name]
        for vector in spec.vectors:
            for index in vector.indexes(spec.name):
                if index.name == name:
                    served = sa.and_(
                        table.c[vector.dimension_name] == index.dimension,
                        table.c[vector.reason_name].is_(None),
                    )
                    return count_rows(conn, table, served)
        for column in spec.searched:
            if gin_name(spec.name, column) == name:
                return count_rows(conn, table, table.c[column.name].is_not(None))
    raise KeyError(name)
