"""Runs whose process is gone: they end as failed, and their locks and slots are free again.

Dagster frees the pool slots of a step that ends. A process that is killed ends nothing: its run
stays started, and the next run would wait for its slot for ever.
"""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import dagster as dg
import sqlalchemy as sa

from memos_assets.defs.dagster_internals import free_pool_slots
from memos_assets.defs.tags import PROCESS_TAG
from memos_assets.postgres import advisory_locks
from memos_assets.postgres.connection import autocommit_connection, database_identity

#: A run that a process began and has not ended; Dagster writes it down before it starts it.
_BEGUN = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def process_of(engine: sa.Engine, run_id: str) -> str:
    """Return what the tag of a run in this process says: run, process, and database.

    It begins with the run, because a run that is executed again takes over the tags of the first.
    It ends with the database that the run's lock is in, because one Dagster instance may record
    runs of several, and a lock that is free in one says nothing about another.
    """
    with engine.connect() as conn:
        return f"{run_id} {platform.node()}:{os.getpid()} {database_identity(conn)}"


@contextmanager
def running(engine: sa.Engine, run_id: str) -> Iterator[None]:
    """Hold the lock of a run; PostgreSQL drops it when this process is gone."""
    with autocommit_connection(engine) as conn:
        advisory_locks.RUN.tried(conn, run_id)
        try:
            yield
        finally:
            with suppress(sa.exc.DBAPIError):
                advisory_locks.RUN.release(conn, run_id)


@contextmanager
def known_to_run(
    engine: sa.Engine, instance: dg.DagsterInstance, run: dg.DagsterRun
) -> Iterator[None]:
    """Hold the lock of a run that Dagster started, unless its own process holds it."""
    process = process_of(engine, run.run_id)
    if run.tags.get(PROCESS_TAG) == process:
        yield
        return
    with running(engine, run.run_id):
        instance.add_run_tags(run.run_id, {PROCESS_TAG: process})
        yield


def settle_abandoned_runs(instance: dg.DagsterInstance, engine: sa.Engine) -> list[str]:
    """End begun runs of this database that lost their lock, free their slots, return their ids.

    Runs of other databases on the same Dagster instance are left alone: their locks are elsewhere.
    """
    gone = []
    with autocommit_connection(engine) as conn:
        here = database_identity(conn)
        for run in instance.get_runs(dg.RunsFilter(statuses=_BEGUN)):
            owner, _, rest = run.tags.get(PROCESS_TAG, "").partition(" ")
            process, _, database = rest.partition(" ")
            if owner != run.run_id or not (database == here or _died_here(process, database)):
                continue
            if _is_running(conn, run.run_id):
                continue
            free_pool_slots(instance, run.run_id)
            instance.report_run_failed(
                run,
                f"Its process ({process}) is gone: "
                "it was killed, or the machine or the database went down. Chunks in the ledger "
                "stay. Fix: run it again; only the others are copied",
            )
            gone.append(run.run_id)
    return gone


def _died_here(process: str, database: str) -> bool:
    """Whether a run of a former checkout, which names no database, lost its process on this host.

    Without the database only the process itself is left to judge by.
    """
    host, _, number = process.rpartition(":")
    if database or host != platform.node() or not number.isdecimal():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _is_running(conn: sa.Connection, run_id: str) -> bool:
    free = advisory_locks.RUN.tried(conn, run_id)
    if free:
        advisory_locks.RUN.release(conn, run_id)
    return not free
