"""Maintenance of tables and indexes: one object at a time, while they are read and written.

Leftovers of broken rebuilds are dropped, tables vacuumed and analysed, indexes rebuilt beside the
old ones. Each stage looks for its work when it starts, because earlier work may have sufficed.
"""

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psycopg
import sqlalchemy as sa
from psycopg import sql

from memos_assets.errors import TargetError
from memos_assets.indexes.build import CONCURRENT_PATIENCE_SECONDS, built_with, first_step
from memos_assets.indexes.build_progress import Watch, watched
from memos_assets.indexes.build_settings import BuildSettings, settings_for
from memos_assets.indexes.definitions import forecast_by_rate, measured
from memos_assets.maintenance.health import LEFTOVER, invalid_indexes, table_is_vacuumed
from memos_assets.maintenance.pending import STAGES, Action, Scope, Work
from memos_assets.postgres.connection import (
    autocommit_connection,
    driver_of,
    first_line,
    put_in_force,
)
from memos_assets.progress import Progress, report


@dataclass(frozen=True, slots=True)
class Done:
    """The outcome of one piece of work; bytes of a table with all its indexes, or of an index."""

    work: Work
    bytes_before: int
    bytes_after: int
    seconds: float
    error: TargetError | None = None


@dataclass(frozen=True, slots=True)
class _Means:
    """The scope that one piece of work belongs to, and the most resources that it may use."""

    scope: Scope
    memory_mb: int
    parallel_workers: int


def maintain(
    engine: sa.Engine,
    scope: Scope,
    *,
    maintenance_work_mem_mb: int,
    parallel_workers: int | None = None,
) -> Iterator[Done]:
    """Do the pending work, one object at a time; a failure does not stop the rest.

    Tables are read and written meanwhile. After an interruption the next call finds the remaining
    work and continues there.

    Args:
        engine: of the target database.
        scope: from `scope_of`.
        maintenance_work_mem_mb: memory of a VACUUM, and the most that a rebuild takes.
        parallel_workers: the most that a rebuild uses beside the process that builds; None is one
            on each other core.

    Yields:
        The outcome of each piece of work; ``error`` is M361 the role does not own the table, M362
        other transactions kept a lock too long, M363 PostgreSQL refused, M364 it did not help.
    """
    if parallel_workers is None:
        parallel_workers = (os.cpu_count() or 1) - 1
    means = _Means(scope, maintenance_work_mem_mb, parallel_workers)
    for stage in STAGES:
        for work in stage(engine, scope):
            yield _do(engine, work, means)


def _do(engine: sa.Engine, work: Work, means: _Means) -> Done:
    """Do one piece of work in a session of its own, and check its effect."""
    report(Progress("maintain", work.what))
    began, error = time.monotonic(), None
    before = _bytes(engine, work)
    try:
        _refuse_other_owner(engine, work)
        with _target_errors(work), _session(engine, work, means.memory_mb) as conn:
            _STATEMENTS[work.action](engine, conn, work, means)
    except TargetError as raised:
        error = raised
    if error is None:
        error = _without_effect(engine, means.scope, work)
    done = Done(work, before, _bytes(engine, work), time.monotonic() - began, error)
    report(Progress("maintain", work.what, done=True, note=described(done)))
    return done


def described(done: Done) -> str:
    """Return the outcome in one line: action, object, reason, bytes and seconds."""
    work = done.work
    sizes = f"{done.bytes_before:,} -> {done.bytes_after:,} bytes"
    failed = f"; {done.error.code}" if done.error else ""
    return f"{work.action} {work.what}: {work.why}; {sizes} in {done.seconds:.2f} s{failed}"


_DROP = "drop index concurrently if exists {}"


def _execute(conn: sa.Connection, statement: str, work: Work) -> None:
    driver_of(conn).execute(sql.SQL(statement).format(sql.Identifier(work.schema, work.name)))


def _drop(_: sa.Engine, conn: sa.Connection, work: Work, __: _Means) -> None:
    _execute(conn, _DROP, work)


def _vacuum(_: sa.Engine, conn: sa.Connection, work: Work, __: _Means) -> None:
    # By default VACUUM skips indexes while few pages of the table have dead rows.
    _execute(conn, "vacuum (analyze, index_cleanup on) {}", work)


def _analyze(_: sa.Engine, conn: sa.Connection, work: Work, __: _Means) -> None:
    _execute(conn, "analyze {}", work)


def _reindex(engine: sa.Engine, conn: sa.Connection, work: Work, means: _Means) -> None:
    """Rebuild an index with the memory that it needs, and report its progress."""
    index = means.scope.index_named(work.name).index
    forecast = forecast_by_rate(index, *measured(conn, index))

    def within(workers: int) -> BuildSettings:
        return settings_for(forecast, budget_mb=means.memory_mb, workers=workers)

    settings = within(means.parallel_workers)
    watch = Watch(first_step(index, forecast, settings), tell=None)

    def rebuild(chosen: BuildSettings) -> None:
        put_in_force(conn, chosen.as_settings(), local=False)
        try:
            with watched(engine, driver_of(conn), watch):
                _execute(conn, "reindex index concurrently {}", work)
        except BaseException:
            _drop_leftovers(engine, means.scope, work)
            raise

    watch.begin()
    built_with(settings, lambda: within(0), watch, rebuild)
    watch.end(_bytes(engine, work))


_STATEMENTS: dict[Action, Callable[[sa.Engine, sa.Connection, Work, _Means], None]] = {
    "drop": _drop,
    "vacuum": _vacuum,
    "analyze": _analyze,
    "reindex": _reindex,
}


@contextmanager
def _session(engine: sa.Engine, work: Work, memory_mb: int) -> Iterator[sa.Connection]:
    """Yield a connection outside of any transaction, closed at the end with its settings."""
    with autocommit_connection(engine) as conn:
        conn.detach()
        settings = {"maintenance_work_mem": f"{memory_mb}MB"}
        if work.action in ("drop", "reindex"):
            # They wait for older transactions; while they wait, they block no other session.
            settings["lock_timeout"] = f"{CONCURRENT_PATIENCE_SECONDS}s"
        put_in_force(conn, settings, local=False)
        yield conn


@contextmanager
def _target_errors(work: Work) -> Iterator[None]:
    try:
        yield
    except psycopg.errors.LockNotAvailable as error:
        raise TargetError(
            "M362",
            f"{work.action} waited too long for other transactions on {work.table} "
            f"({first_line(error)})",
            where=work.what,
            fix="end transactions that are open for long (pg_stat_activity), then run "
            "memos-assets maintain again",
        ) from error
    except (psycopg.Error, sa.exc.DBAPIError) as error:
        raise TargetError(
            "M363",
            f"{work.action} broke off ({first_line(error)})",
            where=work.what,
            fix="free disk space or raise MEMOS_MAINTENANCE_WORK_MEM_MB if the message says so, "
            "then run memos-assets maintain again; the former table or index stays in use",
        ) from error


def _refuse_other_owner(engine: sa.Engine, work: Work) -> None:
    """Refuse work on a table of another owner, which VACUUM would skip with a warning."""
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
            f"{work.name} belongs to {row.name}, and this role may not {work.action} it",
            where=work.what,
            fix=f"run memos-assets maintain as {row.name}, or make this role a member of it",
        )


def _without_effect(engine: sa.Engine, scope: Scope, work: Work) -> TargetError | None:
    """Return M364 where the work did not remove its reason."""
    with engine.connect() as conn:
        if work.action == "vacuum":
            table = next(table for table in scope.maintained if table.name == work.table)
            finding = table_is_vacuumed(conn, table)
            if finding.passed:
                return None
            return TargetError(
                "M364",
                f"still {finding.observed}; {_keeper_of_dead_rows(conn)}",
                where=work.what,
                fix="end that transaction or drop that slot, then run memos-assets maintain again",
            )
        if work.action == "reindex":
            sample = scope.index_named(work.name).sampled(conn)
            if sample is not None and sample.drifted:
                return TargetError(
                    "M364",
                    f"recall is {sample.recall:.3f} after the rebuild too, so it had not drifted",
                    where=work.what,
                    fix="raise ef_search, or m and ef_construction, of its column in "
                    "memos_assets/catalog, and build it again",
                )
    return None


def _keeper_of_dead_rows(conn: sa.Connection) -> str:
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


def _drop_leftovers(engine: sa.Engine, scope: Scope, work: Work) -> None:
    """Drop the leftovers of an interrupted rebuild; the next maintenance finds those that stay."""
    with suppress(sa.exc.DBAPIError, psycopg.Error), engine.connect() as conn:
        found = invalid_indexes(conn, scope.maintained)
        conn.rollback()
        table = f"{work.schema}.{work.table}"
        for index in found:
            if index.table == table and re.search(LEFTOVER, index.name):
                left = Work("drop", index.schema, index.name, work.table, "")
                with _session(engine, left, 1) as alone:
                    _execute(alone, _DROP, left)


def _bytes(engine: sa.Engine, work: Work) -> int:
    size = sa.text(
        "select coalesce(max(pg_total_relation_size(c.oid)), 0) from pg_class c "
        "join pg_namespace n on n.oid = c.relnamespace "
        "where n.nspname = :schema and c.relname = :name"
    )
    with engine.connect() as conn:
        return int(conn.execute(size, {"schema": work.schema, "name": work.name}).scalar_one())
