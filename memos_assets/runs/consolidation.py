"""One consolidation: observe the files, migrate each kind, index, check and report, as runs."""

import uuid
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import dagster as dg
import sqlalchemy as sa

from memos_assets.catalog import Catalog
from memos_assets.checklist import CHECKLIST
from memos_assets.consolidate.archive.records import adopt
from memos_assets.consolidate.loading import ledger
from memos_assets.consolidate.loading.reload import Reload
from memos_assets.consolidate.sources.discover import FoundFile, Root
from memos_assets.consolidate.sources.observe import register_files
from memos_assets.consolidate.sources.pinned import Pinned, pin_sources
from memos_assets.defs.dead_runs import process_of, running, settle_abandoned_runs
from memos_assets.defs.failures import said
from memos_assets.defs.jobs import FINISH, PLAN, REPORT, VERIFY, migrate
from memos_assets.defs.keys import Keys
from memos_assets.defs.location import location_of
from memos_assets.defs.observations import report_observed
from memos_assets.defs.partitions import chunk_key, chunks_name, contiguous_ranges, range_tags
from memos_assets.defs.tags import CONSOLIDATION_TAG, PROCESS_TAG, RELOAD_TAG, ROOTS_TAG
from memos_assets.postgres.target import open_target
from memos_assets.remediation_plan import plan_checks
from memos_assets.report.consolidation import Consolidation, new_consolidation
from memos_assets.report.evaluations import checklist_results
from memos_assets.report.outcomes import CheckResult
from memos_assets.settings import Settings, load_settings


def consolidate(
    instance: dg.DagsterInstance,
    engine: sa.Engine,
    settings: Settings,
    catalog: Catalog,
    roots: Sequence[Root],
    files: Sequence[FoundFile],
    *,
    reload: Reload | None = None,
) -> Consolidation:
    """Bring PostgreSQL to what the files hold now, and prove it.

    Args:
        instance: where the runs are recorded.
        engine: of the target database.
        settings: where state is.
        catalog: whose files they are.
        roots: recorded with the runs.
        files: from `find_files`; those to be consolidated are registered.
        reload: chunks that are loaded again although the ledger says that they are up to date.
    """
    done = new_consolidation(catalog.schema)
    adopt(engine, settings.archive_folder)
    done.notes = register_files(engine, files)
    pinned = pin_sources(engine, settings.pins_folder, catalog, done.id, roots, files)
    tags = tags_of(pinned)
    report_observed(instance, engine, catalog, pinned, settings.local_zone)
    load_stale(instance, engine, catalog, pinned, tags, done, reload=reload)
    run_job(instance, catalog, FINISH, tags, done)
    done.checklist = checklist(engine, catalog)
    return done


def tags_of(pinned: Pinned) -> dict[str, str]:
    """Return the tags that bind the runs of a consolidation together."""
    return {
        CONSOLIDATION_TAG: pinned.consolidation,
        ROOTS_TAG: "\n".join(f"{r.name}={r.path}" if r.name else str(r.path) for r in pinned.roots),
    }


def load_stale(
    instance: dg.DagsterInstance,
    engine: sa.Engine,
    catalog: Catalog,
    pinned: Pinned,
    tags: Mapping[str, str],
    done: Consolidation,
    *,
    reload: Reload | None = None,
) -> None:
    """Load the chunks that the tables do not hold as the pins do."""
    for kind in catalog.consolidated:
        with engine.connect() as conn:
            chunks = ledger.stale_chunks(conn, pinned.of_kind(kind), reload=reload)
        stale = {chunk_key(*chunk) for chunk in chunks}
        done.stale_chunks += len(stale)
        if stale:
            partitions = instance.get_dynamic_partitions(chunks_name(catalog.names, kind))
            extra = {RELOAD_TAG: reload.text} if reload is not None else {}
            for first, last in contiguous_ranges(partitions, stale):
                run_tags = {**tags, **extra, **range_tags(first, last)}
                run_job(instance, catalog, migrate(kind), run_tags, done)


def verify(instance: dg.DagsterInstance, engine: sa.Engine, catalog: Catalog) -> Consolidation:
    """Run the whole checklist and write the report; nothing is loaded."""
    done = new_consolidation(catalog.schema)
    run_job(instance, catalog, VERIFY, {CONSOLIDATION_TAG: done.id}, done)
    done.checklist = checklist(engine, catalog)
    return done


def verify_plan(instance: dg.DagsterInstance, engine: sa.Engine, catalog: Catalog) -> Consolidation:
    """Run the checks that answer the remediation plan; nothing is loaded, no report is written."""
    done = new_consolidation(catalog.schema)
    run_job(instance, catalog, PLAN, {CONSOLIDATION_TAG: done.id}, done)
    with engine.connect() as conn:
        done.checklist = checklist_results(conn, catalog, checklist=plan_checks(CHECKLIST))
    return done


def checklist(engine: sa.Engine, catalog: Catalog) -> list[CheckResult]:
    """Return the latest result of every check."""
    with engine.connect() as conn:
        return checklist_results(conn, catalog)


def run_job(
    instance: dg.DagsterInstance,
    catalog: Catalog,
    job_name: str,
    tags: dict[str, str],
    done: Consolidation,
    ops: Mapping[str, Any] | None = None,
) -> None:
    """Run a job in this process, and note its run and what failed.

    Where that kept the job's report from being written, a run of its own writes it.

    Args:
        instance: where the run is recorded.
        catalog: whose job it is.
        job_name: of the job, as memOS's is called.
        tags: of the run, beside the job's own.
        done: takes the notes.
        ops: configuration of its ops by name, where they have one.
    """
    job, run_id = _job(catalog, job_name), str(uuid.uuid4())
    with open_target(load_settings(), f"memos_assets:{run_id[:8]}") as engine:
        with running(engine, run_id):
            result = job.execute_in_process(
                instance=instance,
                tags={**tags, PROCESS_TAG: process_of(engine, run_id)},
                raise_on_error=False,
                run_config={
                    "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                    **({"ops": dict(ops)} if ops else {}),
                },
                run_id=run_id,
            )
        # Once more after the one at its start: the server notices some time after a process is
        # killed that nobody listens to its session any more.
        settle_abandoned_runs(instance, engine)
    done.run_ids.append(result.run_id)
    failures = [said(event) for event in result.all_events if event.is_step_failure]
    if not result.success and not failures:
        # No step failed: a resource could not be made, and that says which.
        failures = [said(event) for event in result.all_events if event.is_run_failure]
    if any(dg.DagsterExecutionInterruptedError.__name__ in line for line in failures):
        # Dagster takes Ctrl+C for a failed run; to the person it is Ctrl+C.
        raise KeyboardInterrupt
    done.failures += failures
    if _stopped_report(catalog, job, result):
        # What failed before it is what a person must read of.
        run_job(instance, catalog, REPORT, tags, done)


@lru_cache(maxsize=32)
def _job(catalog: Catalog, name: str) -> dg.JobDefinition:
    """Return a job of a catalog, which is the same in every location that has the catalog.

    A load leaves its check out: the consolidation that it is part of compares whole tables.
    """
    job = location_of(catalog).resolve_job_def(catalog.names.job(name))
    for kind in catalog.consolidated:
        if name == migrate(kind):
            tables = frozenset(Keys(catalog.names).tables(kind))
            return job.get_subset(asset_selection=tables, asset_check_selection=frozenset())
    return job


def _stopped_report(
    catalog: Catalog, job: dg.JobDefinition, result: dg.ExecuteInProcessResult
) -> bool:
    """Whether a step failed that the job's report comes after; Dagster has no event for that."""
    started = {event.step_key for event in result.all_events if event.is_step_start}
    failed = any(event.is_step_failure for event in result.all_events)
    report = Keys(catalog.names).report.to_python_identifier()
    return failed and report in job.graph.node_dict and report not in started
