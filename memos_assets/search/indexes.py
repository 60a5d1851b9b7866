"""Build the search indexes, each in a transaction of its own, and look at what is there."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import psycopg
import sqlalchemy as sa
from psycopg import sql

from memos_assets.catalog import TABLES, TableSpec
from memos_assets.catalog.tables import SEARCH_TEXT
from memos_assets.consolidate.progress import Progress, report
from memos_assets.errors import TargetError
from memos_assets.postgres import tables
from memos_assets.postgres.answers import count_rows, first_line
from memos_assets.postgres.tables import data_schema
from memos_assets.search.queries import create_gin, create_hnsw, create_text_index, gin_name

#: A concurrent build waits this long for transactions that are older than itself.
CONCURRENT_PATIENCE_SECONDS = 600


class Create(Protocol):
    """Composes the statement that builds an index, for the schema of its table."""

    def __call__(self, schema: str, *, concurrently: bool) -> sql.Composed:
        """Return ``create index``."""
        ...


@dataclass(frozen=True, slots=True)
class SearchIndex:
    """An index of either method.

    Attributes:
        name: of the index.
        table: that it is on.
        strategy: in words.
        create: composes the statement that builds it.
        schema: of the table; None is the one that holds the consolidated tables.
        concurrently: the table is live: it is read and written while the index is built.
        serves: condition of the rows that are in the index; None is every row.
    """

    name: str
    table: str
    strategy: str
    create: Create
    schema: str | None = None
    concurrently: bool = False
    serves: sql.Composable | None = field(default=None, hash=False)

    def schema_in(self, bind: sa.Connection | sa.Engine) -> str:
        """Return the schema of its table for this engine or connection."""
        return self.schema or data_schema(bind)


@dataclass(frozen=True, slots=True)
class IndexState:
    """An index as PostgreSQL has it; ``builder`` is the process at work on it."""

    valid: bool
    definition: str
    bytes: int
    builder: int | None = None


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
        SearchIndex(
            index.name,
            spec.name,
            index.strategy,
            partial(create_hnsw, index),
            serves=sql.SQL("{} = {} and {} is null").format(
                sql.Identifier(vector.dimension_name),
                sql.Literal(index.dimension),
                sql.Identifier(vector.reason_name),
            ),
        )
        for vector in spec.vectors
        for index in vector.indexes(spec.name)
    ]
    found += [
        SearchIndex(
            gin_name(spec.name, column),
            spec.name,
            f"GIN on {column.name} (jsonb {column.searched})",
            partial(create_gin, spec.name, column),
            serves=sql.SQL("{} is not null").format(sql.Identifier(column.name)),
        )
        for column in spec.searched
    ]
    if spec.text_index:
        found.append(
            SearchIndex(
                spec.text_index,
                spec.name,
                f"GIN on {SEARCH_TEXT} (full text)",
                partial(create_text_index, spec.text_index, spec.name),
            )
        )
    return found


@contextmanager
def driver_of(conn: sa.Connection) -> Iterator[psycopg.Connection]:
    """Yield the psycopg connection of a SQLAlchemy one, inside its transaction."""
    driver = conn.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    yield driver


def state_of(conn: sa.Connection, name: str, schema: str | None = None) -> IndexState | None:
    """Return an index as it is, None when there is none.

    Args:
        conn: to the target database.
        name: of the index.
        schema: that it is in; None is the one that holds the consolidated tables.
    """
    row = conn.execute(
        sa.text(
            "select i.indisvalid and i.indisready as valid, pg_get_indexdef(c.oid) as definition, "
            "pg_relation_size(c.oid) as bytes, (select min(p.pid) "
            "from pg_stat_progress_create_index p where p.index_relid = c.oid) as builder "
            "from pg_class c join pg_index i on i.indexrelid = c.oid "
            "join pg_namespace n on n.oid = c.relnamespace "
            "where n.nspname = :schema and c.relname = :name"
        ),
        {"schema": schema or data_schema(conn), "name": name},
    ).first()
    if row is None:
        return None
    return IndexState(row.valid, row.definition, row.bytes, row.builder)


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
        index: from `search_indexes`, or described by hand.
        maintenance_work_mem_mb: memory of the build; past it an HNSW graph goes to disk.
        parallel_workers: of PostgreSQL, beside the backend that builds.

    Raises:
        TargetError: M320 when PostgreSQL cannot build it, the table is as it was; M321 when
            another session is building it; M322 when a concurrent build breaks off, which leaves
            an invalid index for the next call to replace; M323 when the table is locked.
    """
    started = time.monotonic()
    report(Progress("index", index.name))
    settings = {
        "maintenance_work_mem": f"{maintenance_work_mem_mb}MB",
        "max_parallel_maintenance_workers": str(parallel_workers),
    }
    build = _build_concurrently if index.concurrently else _build_in_transaction
    with _refusals(engine, index):
        built = build(engine, index, settings)
        with engine.begin() as conn:
            state = state_of(conn, index.name, index.schema)
            assert state is not None
            rows = rows_in(conn, index)
    report(Progress("index", index.name, rows=rows, bytes=state.bytes, done=True))
    return BuiltIndex(index.name, built, time.monotonic() - started, state.bytes, rows)


def _build_in_transaction(
    engine: sa.Engine, index: SearchIndex, settings: Mapping[str, str]
) -> bool:
    """Drop what is invalid and build, both or neither; the table takes no writes meanwhile."""
    with engine.begin() as conn, driver_of(conn) as driver:
        state = _unless_others_build(conn, index)
        if state is not None and state.valid:
            return False
        if state is not None:
            drop_index(conn, index.name, index.schema)
        _set(conn, settings, local=True)
        driver.execute(index.create(index.schema_in(conn), concurrently=False))
    return True


def _build_concurrently(engine: sa.Engine, index: SearchIndex, settings: Mapping[str, str]) -> bool:
    """Drop what is invalid and build beside readers and writers of the table.

    Outside of a transaction, as PostgreSQL demands. It waits for transactions that are older than
    the build, and holds nobody up while it does: it may be patient.
    """
    settings = {**settings, "lock_timeout": f"{CONCURRENT_PATIENCE_SECONDS}s"}
    alone = engine.execution_options(isolation_level="AUTOCOMMIT")
    with alone.connect() as conn, driver_of(conn) as driver:
        state = _unless_others_build(conn, index)
        if state is not None and state.valid:
            return False
        _set(conn, settings, local=False)
        try:
            if state is not None:
                drop_index(conn, index.name, index.schema, concurrently=True)
            driver.execute(index.create(index.schema_in(conn), concurrently=True))
        finally:
            # The connection goes back to its pool, or is lost.
            with suppress(psycopg.Error):
                for name in settings:
                    driver.execute(sql.SQL("reset {}").format(sql.Identifier(name)))
    return True


def _unless_others_build(conn: sa.Connection, index: SearchIndex) -> IndexState | None:
    state = state_of(conn, index.name, index.schema)
    if state is not None and not state.valid and state.builder is not None:
        raise TargetError(
            "M321",
            f"another session is building it, process {state.builder} of PostgreSQL",
            where=f"{index.schema_in(conn)}.{index.name}",
            fix="wait for it, then run again",
        )
    return state


def _set(conn: sa.Connection, settings: Mapping[str, str], *, local: bool) -> None:
    # `set` takes no bind parameters; set_config does.
    for name, value in settings.items():
        conn.execute(
            sa.text("select set_config(:name, :value, :local)"),
            {"name": name, "value": value, "local": local},
        )


@contextmanager
def _refusals(engine: sa.Engine, index: SearchIndex) -> Iterator[None]:
    """Turn what PostgreSQL says to a build into our errors."""
    try:
        yield
    except (sa.exc.DBAPIError, psycopg.Error) as error:
        said, where = first_line(error), f"{index.schema_in(engine)}.{index.name}"
        cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        if _left_invalid(engine, index):
            raise TargetError(
                "M322",
                f"the concurrent build broke off and left an invalid index ({said})",
                where=where,
                fix="run again: it is dropped and built from the start",
            ) from error
        if isinstance(cause, psycopg.errors.LockNotAvailable):
            raise TargetError(
                "M323",
                f"the table {index.table} is locked by another session ({said})",
                where=where,
                fix="let loads and other builds on the table end, then run again; "
                "MEMOS_LOCK_TIMEOUT_MS says how long to wait",
            ) from error
        raise TargetError(
            "M320",
            f"the index cannot be built ({said})",
            where=where,
            fix="free disk space or raise MEMOS_MAINTENANCE_WORK_MEM_MB, then run again",
        ) from error


def _left_invalid(engine: sa.Engine, index: SearchIndex) -> bool:
    """Whether a concurrent build is known to have left something behind."""
    if not index.concurrently:
        return False
    with suppress(sa.exc.DBAPIError), engine.connect() as conn:
        state = state_of(conn, index.name, index.schema)
        return state is not None and not state.valid
    return False


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


def drop_index(
    conn: sa.Connection, name: str, schema: str | None = None, *, concurrently: bool = False
) -> None:
    """Drop an index if it is there.

    Args:
        conn: to the target database; in no transaction if ``concurrently``.
        name: of the index.
        schema: that it is in; None is the one that holds the consolidated tables.
        concurrently: let its table be written meanwhile.
    """
    statement = (
        "drop index concurrently if exists {}" if concurrently else "drop index if exists {}"
    )
    with driver_of(conn) as driver:
        index = sql.Identifier(schema or data_schema(conn), name)
        driver.execute(sql.SQL(statement).format(index))


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
        for index in search_indexes(spec):
            if index.name == name:
                return rows_in(conn, index)
    raise KeyError(name)


def rows_in(conn: sa.Connection, index: SearchIndex) -> int:
    """Count rows that an index serves, or would serve."""
    table = sql.Identifier(index.schema_in(conn), index.table)
    with driver_of(conn) as driver:
        counted = driver.execute(
            sql.SQL("select count(*) from {} where {}").format(
                table, index.serves or sql.SQL("true")
            )
        ).fetchone()
    assert counted is not None
    return int(counted[0])
