"""One consolidation: observe the files, migrate each kind, index, check and report, as runs."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import dagster as dg
import sqlalchemy as sa
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.execution.plan.objects import StepFailureData

from memos_assets.catalog import CONSOLIDATED_KINDS, KINDS, FileKind
from memos_assets.consolidate import ledger
from memos_assets.consolidate.discover import FoundFile, Root
from memos_assets.consolidate.observe import register_files
from memos_assets.defs.assets.report import check_keys
from memos_assets.defs.assets.sources import (
    CONSOLIDATION_TAG,
    OTHER_FILES,
    ROOTS_TAG,
    observe_kept,
    observe_kind,
    observe_others,
    pins_for,
    source_key,
    stale_keys,
)
from memos_assets.defs.assets.tables import RELOAD_TAG
from memos_assets.defs.evaluations import ClaimOutcome, latest_evaluations, outcomes
from memos_assets.defs.jobs import finish_job, migrate_job_name, verify_job
from memos_assets.defs.partitions import CHUNKS, contiguous_ranges, range_tags
from memos_assets.settings import Settings

_DATA_VERSION_TAG = "dagster/data_version"


@dataclass(slots=True)
class Consolidation:
    """What a consolidation did.

    Attributes:
        id: value of the tag that its runs carry.
        run_ids: its runs, in order.
        failures: one line per failed step, ours with code and fix.
        stale_chunks: chunks that were missing or changed and were loaded.
        checklist: the outcome of every claim.
        notes: what else a person should know.
    """

    id: str
    run_ids: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    stale_chunks: int = 0
    checklist: list[ClaimOutcome] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def proven(self) -> bool:
        """Whether nothing failed and every claim holds."""
        return not self.failures and all(outcome.proven for outcome in self.checklist)


def new_consolidation() -> Consolidation:
    """Return a consolidation with an id that sorts by time."""
    return Consolidation(f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}")


def consolidate(
    instance: dg.DagsterInstance,
    engine: sa.Engine,
    settings: Settings,
    roots: Sequence[Root],
    files: Sequence[FoundFile],
    *,
    reload: bool = False,
) -> Consolidation:
    """Bring PostgreSQL to what the files hold now, and prove it.

    Args:
        instance: where the runs are recorded.
        engine: of the target database.
        settings: where state lies.
        roots: recorded with the runs.
        files: from `find_files`; those to be consolidated are registered.
        reload: load chunks again although the ledger says that they are up to date.
    """
    done = new_consolidation()
    tags = {
        CONSOLIDATION_TAG: done.id,
        ROOTS_TAG: "\n".join(f"{r.name}={r.path}" if r.name else str(r.path) for r in roots),
    }
    done.notes = register_files(engine, files)
    observe_files(instance, engine, settings, done.id, files)
    names = {file.source for file in files if file.treatment == "consolidate"}
    for kind in CONSOLIDATED_KINDS:
        stale = _stale_keys(engine, settings, done.id, kind, names, reload=reload)
        done.stale_chunks += len(stale)
        if stale:
            partitions = instance.get_dynamic_partitions(str(CHUNKS[kind.name].name))
            extra = {RELOAD_TAG: "true"} if reload else {}
            for first, last in contiguous_ranges(partitions, stale):
                run_tags = {**tags, **extra, **range_tags(first, last)}
                _run(instance, migrate_job_name(kind), run_tags, done)
    _run(instance, finish_job.name, tags, done)
    done.checklist = checklist(instance)
    return done


def verify(instance: dg.DagsterInstance) -> Consolidation:
    """Run the whole checklist and nothing else."""
    done = new_consolidation()
    _run(instance, verify_job.name, {CONSOLIDATION_TAG: done.id}, done)
    done.checklist = checklist(instance)
    return done


def checklist(instance: dg.DagsterInstance) -> list[ClaimOutcome]:
    """Return the latest outcome of every claim."""
    keys = check_keys()
    return outcomes(keys, latest_evaluations(instance, keys))


def observe_files(
    instance: dg.DagsterInstance,
    engine: sa.Engine,
    settings: Settings,
    consolidation: str,
    files: Sequence[FoundFile],
) -> None:
    """Pin the registered files and report every source asset as observed."""
    named = {
        file.source: file.kind.name
        for file in files
        if file.kind and file.treatment == "consolidate"
    }
    for kind in KINDS:
        if kind.disposition == "keep":
            _report(instance, source_key(kind), observe_kept(kind, files))
        elif kind.name in named.values():
            # Other files of the kind may be gone by now; they are nothing to this run.
            versions = observe_kind(engine, settings, instance, consolidation, kind, named)
            for key, version in versions.items():
                instance.report_runless_asset_event(
                    dg.AssetObservation(
                        source_key(kind), partition=key, tags={_DATA_VERSION_TAG: version}
                    )
                )
    _report(instance, OTHER_FILES, observe_others(files))


def _report(instance: dg.DagsterInstance, key: dg.AssetKey, result: dg.ObserveResult) -> None:
    assert result.data_version is not None
    instance.report_runless_asset_event(
        dg.AssetObservation(
            key, metadata=result.metadata, tags={_DATA_VERSION_TAG: result.data_version.value}
        )
    )


def _stale_keys(
    engine: sa.Engine,
    settings: Settings,
    consolidation: str,
    kind: FileKind,
    names: set[str],
    *,
    reload: bool,
) -> set[str]:
    with engine.connect() as conn:
        sources = [s for s in ledger.registered_sources(conn, kind.name) if s.name in names]
    return stale_keys(engine, pins_for(engine, settings, consolidation, sources), reload=reload)


def _run(
    instance: dg.DagsterInstance, job_name: str, tags: dict[str, str], done: Consolidation
) -> None:
    from memos_assets.definitions import defs

    job = defs().resolve_job_def(job_name)
    result = job.execute_in_process(
        instance=instance,
        tags=tags,
        raise_on_error=False,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    done.run_ids.append(result.run_id)
    said = [_said(event) for event in result.all_events if event.is_step_failure]
    if not result.success and not said:
        # No step failed: a resource could not be made, and that says which.
        said = [_said(event) for event in result.all_events if event.is_run_failure]
    if any(DagsterExecutionInterruptedError.__name__ in line for line in said):
        # Dagster takes Ctrl+C for a failed run; to the person it is Ctrl+C.
        raise KeyboardInterrupt
    done.failures += said


def _said(event: dg.DagsterEvent) -> str:
    """Return what a failure says, on one line: ours as it is, any other by its first cause."""
    data = event.step_failure_data if event.is_step_failure else event.job_failure_data
    if isinstance(data, StepFailureData) and data.user_failure_data is not None:
        return str(data.user_failure_data.description)
    error = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return " ".join(error.message.split()) if error is not None else f"{event.job_name} failed"
