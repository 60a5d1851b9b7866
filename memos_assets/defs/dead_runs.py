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
from memos_assets.postgres.connection import autocommit_connection

#: A run that a process began and has not ended; Dagster writes it down before it starts it.
_BEGUN = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def process_of(run_id: str) -> str:
    """Return what the tag of a run in this process says.

    It begins with the run, because a run that is executed again takes over the tags of the first.
    """
    return f"{run_id} {platform.node()}:{os.getpid()}"


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
    with autocommit_connection(engine) as conn:
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


def _is_running(conn: sa.Connection, run_id: str) -> bool:
    free = advisory_locks.RUN.tried(conn, run_id)
    if free:
        advisory_locks.RUN.release(conn, run_id)
    return not free
