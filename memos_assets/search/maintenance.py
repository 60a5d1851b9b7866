"""What mends sick tables and indexes: one object at a time, while they are read and written.

Leftovers of broken rebuilds are dropped, tables vacuumed and analysed, indexes rebuilt beside the
old ones. Each stage is judged when it comes, because the one before may have mended more.
"""

import re
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Literal

import psycopg
import sqlalchemy as sa
from psycopg import sql

from memos_assets.catalog import TABLES, TableSpec, VectorIndex
from memos_assets.consolidate.progress import Progress, report
from memos_assets.errors import TargetError
from memos_assets.postgres.answers import first_line
from memos_assets.postgres.tables import data_schema
from memos_assets.search.builds import CONCURRENT_PATIENCE_SECONDS
from memos_assets.search.drift import sampled_recall
from memos_assets.search.health import (
    LEFTOVER,
    invalid_indexes,
    statistics_are_there,
    table_is_vacuumed,
)
from memos_assets.search.indexes import (
    SearchIndex,
    driver_of,
    rows_in,
    search_indexes,
    state_of,
)
from memos_assets.search.watch import BuildStep, Watch, watched

Action = Literal["drop", "vacuum", "analyze", "reindex"]


@dataclass(frozen=True, slots=True)
class Work:
    """What one object is due for, and why. ``table`` is the one that it is on, or itself."""

    action: Action
    schema: str
    name: str
    table: str
    why: str

    @property
    def what(self) -> str:
        """Name with its schema."""
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class Done:
    """What became of it; bytes of the table with all of its indexes, or of the index alone."""

    work: Work
    bytes_before: int
    bytes_after: int
    seconds: float
    error: TargetError | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """What maintenance may touch.

    Attributes:
        names: of tables and indexes; every one of the catalog if there are none.
        rebuild: rebuild the indexes that are named, or on tables that are, whatever their health.
    """

    names: frozenset[str] = frozenset()
    rebuild: bool = False

    def tables(self) -> list[TableSpec]:
        """Return the tables in the scope."""
        return [spec for spec in TABLES if not self.names or spec.name in self.names]

    def indexes(self) -> list[tuple[SearchIndex, VectorIndex | None]]:
        """Return the search indexes in the scope, with how they are searched by vectors."""
        found: list[tuple[SearchIndex, VectorIndex | None]] = []
        for spec in TABLES:
            by_vector = {index.name: index for index in spec.vector_indexes}
            found += [
                (index, by_vector.get(index.name))
                for index in search_indexes(spec)
                if not self.names or {spec.name, index.name} & self.names
            ]
        return found


def scope_of(names: Collection[str] = (), *, rebuild: bool = False) -> Scope:
    """Return the scope that a person names, with or without schema.

    Raises:
        TargetError: M360 a name is none of the catalog's, or a rebuild names nothing.
    """
    known = {spec.name for spec in TABLES}
    known |= {index.name for spec in TABLES for index in search_indexes(spec)}
    wanted = frozenset(name.rpartition(".")[2] for name in names)
    strange = sorted(wanted - known)
    if strange or (rebuild and not wanted):
        raise TargetError(
            "M360",
            "no table or search index of the catalog" if strange else "nothing to rebuild is named",
            where=", ".join(strange) or "maintain",
            fix="name tables or indexes as the report and memos/indexes/ in the UI do",
        )
    return Scope(wanted, rebuild)


def due(engine: sa.Engine, scope: Scope) -> list[Work]:
    """Return what would be done at this moment. A VACUUM may make a rebuild needless."""
    found: dict[str, Work] = {}
    for stage in _STAGES:
        for work in stage(engine, scope):
            # A VACUUM analyses, too.
            found.setdefault(work.what, work)
    return list(found.values())


def maintain(engine: sa.Engine, scope: Scope, *, maintenance_work_mem_mb: int) -> Iterator[Done]:
    """Do what is due, one object at a time; what fails does not stop the others.

    Tables are read and written meanwhile. Whatever it is interrupted in, the next call finds what
    is left and goes on from there.

    Args:
        engine: of the target database.
        scope: from `scope_of`.
        maintenance_work_mem_mb: memory of a rebuild or a VACUUM.

    Yields:
        What was done, as it is done; ``error`` is M361 the role does not own the table, M362 others
        held a lock too long, M363 PostgreSQL refused, M364 it was done and did not help.
    """
    for stage in _STAGES:
        for work in stage(engine, scope):
            yield _do(engine, work, maintenance_work_mem_mb)


def _leftovers(engine: sa.Engine, scope: Scope) -> Iterator[Work]:
    names = {spec.name for spec in scope.tables()} | {
        index.table for index, _ in scope.indexes() if scope.names
    }
    with engine.connect() as conn:
        found = invalid_indexes(conn)
        schema = data_schema(conn)
    for index in found:
        on_schema, _, table = index.table.partition(".")
        if index.leftover and on_schema == schema and table in names:
            why = "left by a REINDEX CONCURRENTLY that broke off"
            yield Work("drop", index.schema, index.name, table, why)


def _dead_rows(engine: sa.Engine, scope: Scope) -> Iterator[Work]:
    for spec in scope.tables():
        with engine.connect() as conn:
            finding, schema = table_is_vacuumed(conn, spec.name), data_schema(conn)
        if not finding.passed and "dead_rows" in finding.evidence:
            yield Work("vacuum", schema, spec.name, spec.name, finding.observed)


def _old_statistics(engine: sa.Engine, scope: Scope) -> Iterator[Work]:
    for spec in scope.tables():
        with engine.connect() as conn:
            finding, schema = statistics_are_there(conn, spec.name), data_schema(conn)
        if not finding.passed and "changed_rows" in finding.evidence:
            yield Work("analyze", schema, spec.name, spec.name, f"statistics: {finding.observed}")


def _sick_indexes(engine: sa.Engine, scope: Scope) -> Iterator[Work]:
    for index, by_vector in scope.indexes():
        with engine.connect() as conn:
            state, schema = state_of(conn, index.name, index.schema), index.schema_in(conn)
            if state is None or state.builder is not None:
                # Building what is missing is the asset's; what is being built is not sick.
                continue
            why = ""
            if not state.valid:
                why = "invalid"
            elif scope.rebuild:
                why = "asked for"
            elif by_vector is not None:
                sample = sampled_recall(conn, by_vector, index)
                why = f"recall {sample.recall:.3f}" if sample.drifted else ""
        if why:
            yield Work("reindex", schema, index.name, index.table, why)


Stage = Callable[[sa.Engine, Scope], Iterator[Work]]
_STAGES: Sequence[Stage] = (_leftovers, _dead_rows, _old_statistics, _sick_indexes)


def _do(engine: sa.Engine, work: Work, memory_mb: int) -> Done:
    """Do one thing in a session of its own, and look at what it came to."""
    report(Progress("maintain", work.what))
    began, error = time.monotonic(), None
    before = _bytes(engine, work)
    try:
        _refuse_strangers(engine, work)
        with _refusals(work), _session(engine, work, memory_mb) as driver:
            _STATEMENTS[work.action](engine, driver, work)
    except TargetError as refused:
        error = refused
        if work.action == "reindex":
            _drop_leftovers(engine, work)
    except BaseException:
        if work.action == "reindex":
            _drop_leftovers(engine, work)
        raise
    if error is None:
        error = _without_effect(engine, work)
    done = Done(work, before, _bytes(engine, work), time.monotonic() - began, error)
    report(Progress("maintain", work.what, done=True, note=described(done)))
    return done


def described(done: Done) -> str:
    """Return what was done in one line: the object, why, bytes and seconds."""
    work = done.work
    sizes = f"{done.bytes_before:,} -> {done.bytes_after:,} bytes"
    failed = f"; {done.error.code}" if done.error else ""
    return f"{work.action} {work.what}: {work.why}; {sizes} in {done.seconds:.2f} s{failed}"


def _drop(_: sa.Engine, driver: psycopg.Connection, work: Work) -> None:
    statement = sql.SQL("drop index concurrently if exists {}")
    driver.execute(statement.format(sql.Identifier(work.schema, work.name)))


def _vacuum(_: sa.Engine, driver: psycopg.Connection, work: Work) -> None:
    # Left to itself, VACUUM passes indexes by while few pages of the table hold dead rows.
    statement = sql.SQL("vacuum (analyze, index_cleanup on) {}")
    driver.execute(statement.format(sql.Identifier(work.schema, work.name)))


def _analyze(_: sa.Engine, driver: psycopg.Connection, work: Work) -> None:
    driver.execute(sql.SQL("analyze {}").format(sql.Identifier(work.schema, work.name)))


def _reindex(engine: sa.Engine, driver: psycopg.Connection, work: Work) -> None:
    """Rebuild an index, and report how far it is."""
    with engine.connect() as conn:
        rows = rows_in(conn, _index_named(work.name)[0])
    watch = Watch(
        BuildStep(work.name, "rebuild", 0, rows, seconds=0, expected_seconds=0), tell=None
    )
    statement = sql.SQL("reindex index concurrently {}")
    watch.begin()
    with watched(engine, driver, watch):
        driver.execute(statement.format(sql.Identifier(work.schema, work.name)))
    watch.end(_bytes(engine, work))


_STATEMENTS: dict[Action, Callable[[sa.Engine, psycopg.Connection, Work], None]] = {
    "drop": _drop,
    "vacuum": _vacuum,
    "analyze": _analyze,
    "reindex": _reindex,
}


@contextmanager
def _session(engine: sa.Engine, work: Work, memory_mb: int) -> Iterator[psycopg.Connection]:
    """Yield a connection outside of any transaction, closed at the end with its settings."""
    alone = engine.execution_options(isolation_level="AUTOCOMMIT")
    with alone.connect() as conn, driver_of(conn) as driver:
        conn.detach()
        driver.execute("select set_config('maintenance_work_mem', %s, false)", (f"{memory_mb}MB",))
        if work.action in ("drop", "reindex"):
            # They wait for older transactions, and hold nobody up while they do.
            patience = f"{CONCURRENT_PATIENCE_SECONDS}s"
            driver.execute("select set_config('lock_timeout', %s, false)", (patience,))
        yield driver


@contextmanager
def _refusals(work: Work) -> Iterator[None]:
    try:
        yield
    except psycopg.errors.LockNotAvailable as error:
        raise TargetError(
            "M362",
            f"{work.action} waited too long for others on {work.table} ({first_line(error)})",
            where=work.what,
            fix="end transactions that are open for long (pg_stat_activity), then run "
            "memos-assets maintain again",
        ) from error
    except psycopg.Error as error:
        raise TargetError(
            "M363",
            f"{work.action} broke off ({first_line(error)})",
            where=work.what,
            fix="free disk space or raise MEMOS_MAINTENANCE_WORK_MEM_MB if it says so, then run "
            "memos-assets maintain again; what was there before serves on",
        ) from error


def _refuse_strangers(engine: sa.Engine, work: Work) -> None:
    """Refuse what PostgreSQL passes over with a warning: VACUUM of a table of somebody else."""
    owner = sa.text(
        "select pg_get_userbyid(c.relowner) as name, pg_has_role(c.relowner, 'usage') as ours "
        "from pg_class c join pg_namespace n on n.oid = c.relnamespace "
        "where n.nspname = :schema and c.relname = :name"
    )
    with engine.connect() as conn:
        row = conn.execute(owner, {"schema": work.schema, "name": work.name}).first()
    if row is not None and not row.ours:
        raise TargetError(
            "M361",
            f"it belongs to {row.name}, and this role may not {work.action} it",
            where=work.what,
            fix=f"run it as {row.name}, or make this role a member of {row.name}",
        )


def _without_effect(engine: sa.Engine, work: Work) -> TargetError | None:
    """Return M364 where what was done did not mend what it was done for."""
    with engine.connect() as conn:
        if work.action == "vacuum":
            finding = table_is_vacuumed(conn, work.name)
            if finding.passed:
                return None
            return TargetError(
                "M364",
                f"still {finding.observed}; {_who_holds(conn)}",
                where=work.what,
                fix="end it, then run memos-assets maintain again",
            )
        if work.action == "reindex":
            index, by_vector = _index_named(work.name)
            sample = by_vector and sampled_recall(conn, by_vector, index)
            if sample and sample.drifted:
                return TargetError(
                    "M364",
                    f"recall is {sample.recall:.3f} after the rebuild too, so it had not drifted",
                    where=work.what,
                    fix="raise ef_search, or m and ef_construction, of its column in "
                    "memos_assets/catalog, and build it again",
                )
    return None


def _who_holds(conn: sa.Connection) -> str:
    """Name the session whose snapshot keeps dead rows from being removed."""
    row = conn.execute(
        sa.text(
            "select pid, application_name, xact_start from pg_stat_activity "
            "where backend_xmin is not null and pid <> pg_backend_pid() "
            "order by age(backend_xmin) desc limit 1"
        )
    ).first()
    if row is None:
        return "a prepared transaction or a replication slot keeps them"
    since = f"{row.xact_start:%Y-%m-%d %H:%M:%S} UTC" if row.xact_start else "long ago"
    return f"process {row.pid} ({row.application_name}) keeps them, in a transaction since {since}"


def _index_named(name: str) -> tuple[SearchIndex, VectorIndex | None]:
    return Scope(frozenset({name})).indexes()[0]


def _drop_leftovers(engine: sa.Engine, work: Work) -> None:
    """Drop what a rebuild that broke off left; what stays is found by the next maintenance."""
    with suppress(sa.exc.DBAPIError, psycopg.Error), engine.connect() as conn:
        found = invalid_indexes(conn)
        conn.rollback()
        table = f"{work.schema}.{work.table}"
        for index in found:
            if index.table == table and re.search(LEFTOVER, index.name):
                left = Work("drop", index.schema, index.name, work.table, "")
                with _session(engine, left, 1) as driver:
                    _drop(engine, driver, left)


def _bytes(engine: sa.Engine, work: Work) -> int:
    size = sa.text(
        "select coalesce(max(pg_total_relation_size(c.oid)), 0) from pg_class c "
        "join pg_namespace n on n.oid = c.relnamespace "
        "where n.nspname = :schema and c.relname = :name"
    )
    with engine.connect() as conn:
        return int(conn.execute(size, {"schema": work.schema, "name": work.name}).scalar_one())
