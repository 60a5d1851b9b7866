"""Whose turn it is: builds and maintenance wait for each other, and loads wait for neither."""

from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.execution.api import create_execution_plan
from dagster._core.remote_origin import (
    InProcessCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.snap import snapshot_from_execution_plan
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import (
    QueuedRunCoordinatorDaemon,
)

from memos_assets.defs.assets import snapshots
from memos_assets.defs.assets.indexes import BUILD_POOL
from memos_assets.defs.assets.tables import WRITE_POOL
from memos_assets.defs.caches import CALIBRATE, CHECK
from memos_assets.defs.jobs import (
    FINISH,
    HEALTH,
    IMPACT,
    MAINTAIN,
    MEMORY,
    PLAN,
    VERIFY,
)
from memos_assets.defs.memory_models import EMBEDDER_POOL
from memos_assets.defs.research import ASK
from memos_assets.defs.tags import UPKEEP
from memos_assets.settings import PROJECT_ROOT
from memos_assets_tests.defs.world import World, location

QUEUED, STARTED = dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTED
LOADS = ("migrate_corpus", "migrate_meta_buffer")


class Queue:
    """Runs of our jobs in the instance of dagster.yaml, and its daemon's choice among them."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance

    def put(self, job_name: str, status: dg.DagsterRunStatus = QUEUED) -> None:
        job = location().resolve_job_def(job_name)
        origin = InProcessCodeLocationOrigin(LoadableTargetOrigin(), location_name="memos_assets")
        self.instance.create_run_for_job(
            job,
            execution_plan=create_execution_plan(job),
            status=status,
            tags=job.run_tags,
            remote_job_origin=RemoteJobOrigin(
                RemoteRepositoryOrigin(origin, "__repository__"), job_name
            ),
        )

    def next(self) -> list[str]:
        """Return the jobs that the daemon would start at this moment."""
        daemon = QueuedRunCoordinatorDaemon(interval_seconds=1)
        config = self.instance.get_concurrency_config()
        return [run.job_name for run in daemon._get_runs_to_dequeue(self.instance, config, None)]


@pytest.fixture
def queue(world: World) -> Iterator[Queue]:
    assert world
    with dg.DagsterInstance.from_config(str(PROJECT_ROOT)) as instance:
        yield Queue(instance)


@pytest.mark.parametrize("at_work", [FINISH, VERIFY, MAINTAIN])
def test_while_one_upkeep_is_at_work_the_other_place_is_left_to_a_load(
    queue: Queue, at_work: str
) -> None:
    queue.put(at_work, STARTED)
    for waiting in (MAINTAIN, FINISH, HEALTH):
        queue.put(waiting)
    assert queue.next() == []
    queue.put(LOADS[0])
    assert queue.next() == [LOADS[0]]


def test_while_a_load_is_at_work_a_build_has_its_turn_before_later_loads(queue: Queue) -> None:
    queue.put(LOADS[0], STARTED)
    queue.put(FINISH)
    queue.put(LOADS[1])
    assert queue.next() == [FINISH]


def test_a_build_by_hand_keeps_maintenance_waiting_without_a_place_of_its_own(
    queue: Queue,
) -> None:
    # An index that is materialised in the UI has no tag; it has the pool.
    slots = queue.instance.event_log_storage
    slots.initialize_concurrency_limit_to_default(BUILD_POOL)
    run_id = dg.DagsterRun(job_name="x").run_id
    queue.put(MAINTAIN)
    assert queue.next() == [MAINTAIN]
    assert slots.claim_concurrency_slot(BUILD_POOL, run_id, "search_indexes").is_claimed
    assert not slots.claim_concurrency_slot(BUILD_POOL, run_id, "maintain").is_claimed
    assert queue.next() == []
    queue.put(LOADS[0])
    assert queue.next() == [LOADS[0]]


def test_loads_and_builds_take_turns_in_pools_of_their_own() -> None:
    pools: dict[str, set[str | None]] = {}
    question = {"ops": {"ask": {"config": {"question": "why", "user": "u1"}}}}
    for job in location().get_repository_def().get_all_jobs():
        plan = create_execution_plan(job, question if job.name == ASK else None)
        for step in snapshot_from_execution_plan(plan, job.get_job_snapshot_id()).steps:
            pools.setdefault(step.key, set()).add(step.pool)
    assert {step for step, of in pools.items() if BUILD_POOL in of} == {
        "search_indexes",
        "maintain",
        "memos__impact",
    }
    loads = {step for step, of in pools.items() if WRITE_POOL in of}
    assert len(loads) == 16
    assert all(step.startswith("memos__") for step in loads)
    embedding = {step for step, of in pools.items() if EMBEDDER_POOL in of}
    assert embedding == {"memos__agent__outbox", "memos__agent__reembedding"}
    every = {pool for of in pools.values() for pool in of}
    assert every == {None, BUILD_POOL, WRITE_POOL, EMBEDDER_POOL, snapshots.POOL}


def test_what_takes_long_and_loads_nothing_is_upkeep() -> None:
    tagged = {
        job.name
        for job in location().get_repository_def().get_all_jobs()
        if job.run_tags.items() >= UPKEEP.items()
    }
    of_agents = {MEMORY, PLAN, CHECK, CALIBRATE, "check_boards", "check_snapshots"}
    assert tagged == {FINISH, VERIFY, HEALTH, MAINTAIN, IMPACT, *of_agents}
