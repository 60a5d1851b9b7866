"""A run whose process was killed ends as failed, and no other run waits for its slot."""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator

import dagster as dg
import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.defs.assets.tables import WRITE_POOL
from memos_assets.defs.dead_runs import process_of, running, settle_abandoned_runs
from memos_assets.defs.jobs import migrate_job_name
from memos_assets.defs.tags import PROCESS_TAG
from memos_assets.postgres.server.embedded import EmbeddedServer
from memos_assets.settings import PROJECT_ROOT
from memos_assets_tests.conftest import copied_database
from memos_assets_tests.defs.world import KIND, World, write_templates

JOB = migrate_job_name(MEMOS.names, KIND)
STEP = "memos__thought_templates"


@pytest.fixture
def stored(world: World) -> Iterator[World]:
    """A world whose instance is the one of dagster.yaml, slots included."""
    with dg.DagsterInstance.from_config(str(PROJECT_ROOT)) as instance:
        world.instance = instance
        yield world


def started_run(world: World, run_id: str, tag: str = "") -> None:
    """Leave what a killed process leaves: a started run, and the slot of its step."""
    world.instance.add_run(
        dg.DagsterRun(
            job_name=JOB,
            run_id=run_id,
            status=dg.DagsterRunStatus.STARTED,
            tags={PROCESS_TAG: tag or process_of(world.engine, run_id)},
        )
    )
    slots = world.instance.event_log_storage
    slots.initialize_concurrency_limit_to_default(WRITE_POOL)
    assert slots.claim_concurrency_slot(WRITE_POOL, run_id, STEP).is_claimed


def status_of(world: World, run_id: str) -> dg.DagsterRunStatus:
    run = world.instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def test_a_run_takes_over_from_one_that_was_killed_in_the_step_that_it_waits_for(
    stored: World,
) -> None:
    write_templates(stored.data / "a.db", [1])
    stored.observe()
    killed = dg.DagsterRun(job_name=JOB).run_id
    started_run(stored, killed)
    result = stored.run(JOB, partition_key="a/000")
    assert result.success
    assert stored.tags_of(result.run_id)[PROCESS_TAG] == process_of(stored.engine, result.run_id)
    assert status_of(stored, killed) == dg.DagsterRunStatus.FAILURE
    (event,) = stored.instance.all_logs(killed, of_type=dg.DagsterEventType.RUN_FAILURE)
    assert event.dagster_event is not None
    assert f"Its process ({platform.node()}:{os.getpid()}) is gone" in str(
        event.dagster_event.message
    )
    assert "Fix: run it again" in str(event.dagster_event.message)


def test_a_run_at_work_is_left_alone(stored: World) -> None:
    at_work = dg.DagsterRun(job_name=JOB).run_id
    started_run(stored, at_work)
    with running(stored.engine, at_work):
        assert settle_abandoned_runs(stored.instance, stored.engine) == []
    assert status_of(stored, at_work) == dg.DagsterRunStatus.STARTED
    assert settle_abandoned_runs(stored.instance, stored.engine) == [at_work]
    assert settle_abandoned_runs(stored.instance, stored.engine) == []


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING])
def test_a_run_whose_process_was_killed_before_it_started_ends_too(
    stored: World, status: dg.DagsterRunStatus
) -> None:
    killed = dg.DagsterRun(job_name=JOB).run_id
    stored.instance.add_run(
        dg.DagsterRun(
            job_name=JOB,
            run_id=killed,
            status=status,
            tags={PROCESS_TAG: process_of(stored.engine, killed)},
        )
    )
    with running(stored.engine, killed):
        assert settle_abandoned_runs(stored.instance, stored.engine) == []
    assert settle_abandoned_runs(stored.instance, stored.engine) == [killed]
    assert status_of(stored, killed) == dg.DagsterRunStatus.FAILURE


def test_a_run_that_starts_from_the_tags_of_another_is_left_alone(stored: World) -> None:
    again = dg.DagsterRun(
        job_name=JOB,
        status=dg.DagsterRunStatus.STARTED,
        tags={PROCESS_TAG: "its-parent here:1"},
    )
    stored.instance.add_run(again)
    assert settle_abandoned_runs(stored.instance, stored.engine) == []


def test_a_run_of_another_database_on_the_same_instance_is_left_alone(
    stored: World, server: EmbeddedServer, template: str
) -> None:
    run_id = dg.DagsterRun(job_name=JOB).run_id
    with copied_database(server, template) as elsewhere:
        other = sa.create_engine(elsewhere)
        started_run(stored, run_id, process_of(other, run_id))
        # Its lock is in its own database, where this one cannot see it.
        with running(other, run_id):
            assert settle_abandoned_runs(stored.instance, stored.engine) == []
        assert settle_abandoned_runs(stored.instance, stored.engine) == []
        assert status_of(stored, run_id) == dg.DagsterRunStatus.STARTED
        assert settle_abandoned_runs(stored.instance, other) == [run_id]
        other.dispose()


def test_a_run_of_a_former_checkout_is_judged_by_its_process_on_this_host(stored: World) -> None:
    dead, alive, remote = (dg.DagsterRun(job_name=JOB).run_id for _ in range(3))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for run_id, process in (
        (dead, f"{platform.node()}:{gone.pid}"),
        (alive, f"{platform.node()}:{os.getpid()}"),
        (remote, "elsewhere:1"),
    ):
        stored.instance.add_run(
            dg.DagsterRun(
                job_name=JOB,
                run_id=run_id,
                status=dg.DagsterRunStatus.STARTED,
                tags={PROCESS_TAG: f"{run_id} {process}"},
            )
        )
    assert settle_abandoned_runs(stored.instance, stored.engine) == [dead]


def test_a_lock_ends_with_its_process(stored: World, database_url: sa.URL) -> None:
    run_id = dg.DagsterRun(job_name=JOB).run_id
    started_run(stored, run_id)
    hold = (
        "import sys, sqlalchemy as sa\n"
        "from memos_assets.defs.dead_runs import running\n"
        "with running(sa.create_engine(sys.argv[1]), sys.argv[2]):\n"
        "    print('locked', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    url = database_url.render_as_string(hide_password=False)
    holder = subprocess.Popen(
        [sys.executable, "-c", hold, url, run_id],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        assert settle_abandoned_runs(stored.instance, stored.engine) == []
        holder.kill()
    for _ in range(200):
        if settle_abandoned_runs(stored.instance, stored.engine) == [run_id]:
            break
        time.sleep(0.05)
    assert status_of(stored, run_id) == dg.DagsterRunStatus.FAILURE
