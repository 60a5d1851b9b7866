"""Runs whose process is gone: they end as failed, and what they held is free again.

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

#: A run that a process began and has not ended; Dagster writes it down before it starts it.
_BEGUN = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]
#: First half of the key of a run's lock; the second is made of its id.
_RUN_LOCK = 0x6D656D6F


def process_of(run_id: str) -> str:
    """Return what the tag of a run in this process says.

    It begins with the run, because a run that is executed again takes over the tags of the first.
    """
    return f"{run_id} {platform.node()}:{os.getpid()}"


@contextmanager
def running(engine: sa.Engine, run_id: str) -> Iterator[None]:
    """Hold the lock of a run; PostgreSQL drops it when this process is gone."""
    with _sessions(engine) as conn:
        conn.execute(sa.select(sa.func.pg_try_advisory_lock(*_lock_of(run_id))))
        try:
            yield
        finally:
            with suppress(sa.exc.DBAPIError):
                conn.execute(sa.select(sa.func.pg_advisory_unlock(*_lock_of(run_id))))


@contextmanager
def known_to_run(
    engine: sa.Engine, instance: dg.DagsterInstance, run: dg.DagsterRun
) -> Iterator[None]:
    """Hold the lock of a run that Dagster started, unless whoever started it here holds it."""
    if run.tags.get(PROCESS_TAG) == process_of(run.run_id):
        yield
        return
    with running(engine, run.run_id):
        instance.add_run_tags(run.run_id, {PROCESS_TAG: process_of(run.run_id)})
        yield


def settle_abandoned_runs(instance: dg.DagsterInstance, engine: sa.Engine) -> list[str]:
    """End begun runs that lost their lock, free their slots, and return their ids."""
    suspects = [
        run
        for run in instance.get_runs(dg.RunsFilter(statuses=_BEGUN))
        if run.tags.get(PROCESS_TAG, "").startswith(run.run_id)
    ]
    gone = []
    with _sessions(engine) as conn:
        for run in suspects:
            if _is_running(conn, run.run_id):
                continue
            free_pool_slots(instance, run.run_id)
            instance.report_run_failed(
                run,
                f"Its process ({run.tags[PROCESS_TAG].removeprefix(run.run_id).strip()}) is gone: "
                "it was killed, or the machine or the database went down. Chunks in the ledger "
                "stay. Fix: run it again; only the others are copied",
            )
            gone.append(run.run_id)
    return gone


@contextmanager
def _sessions(engine: sa.Engine) -> Iterator[sa.Connection]:
    # No transaction may stay open for as long as a run lasts.
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        yield conn


def _is_running(conn: sa.Connection, run_id: str) -> bool:
    lock = _lock_of(run_id)
    free = conn.execute(sa.select(sa.func.pg_try_advisory_lock(*lock))).scalar_one()
    if free:
        conn.execute(sa.select(sa.func.pg_advisory_unlock(*lock)))
    return not free


def _lock_of(run_id: str) -> tuple[int, sa.Function[int]]:
    return _RUN_LOCK, sa.func.hashtext(run_id)
