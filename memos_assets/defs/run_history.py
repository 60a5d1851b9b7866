"""What Dagster recorded of one consolidation, for its report."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import sqlalchemy as sa

from memos_assets.catalog import Catalog
from memos_assets.checklist import CHECKLIST
from memos_assets.defs.assets.application import application_step
from memos_assets.defs.assets.indexes import index_step, indexes_of
from memos_assets.defs.dagster_internals import StepEventStatus
from memos_assets.defs.failures import said
from memos_assets.defs.keys import Keys
from memos_assets.defs.tags import CONSOLIDATION_TAG, consolidation_of
from memos_assets.report.compose import Recorded
from memos_assets.report.evaluations import checklist_results
from memos_assets.report.formatting import moment
from memos_assets.report.indexes import Build
from memos_assets.report.tree import Becomes, OtherFile, Step

#: Builds of an index that are looked through for one that built; the others found it built.
_MATERIALIZATIONS = 25
_BECOMES: dict[str, Becomes] = {"list": "left alone", "unusable": "unusable"}


def _about(step: str) -> str:
    """Return what a step of checks works on, in words."""
    about, _, part = step.removesuffix("_checks").rpartition("_")
    of_a_kind = part in ("rows", "indexes", "recall")
    return f"{about}: {part}" if of_a_kind else f"{about} {part}".replace("_", " ").strip()


def _steps(catalog: Catalog) -> dict[str, tuple[str, str]]:
    """Return step -> phase and what it works on."""
    names, keys = catalog.names, Keys(catalog.names)
    return {
        **{
            keys.table(spec.name).to_python_identifier(): ("load", spec.qualified)
            for spec in catalog.tables
        },
        index_step(names): ("index", "search indexes"),
        keys.search_functions.to_python_identifier(): ("index", "search functions"),
        application_step(names): ("check", "tables of memOS"),
        **{names.job(step): ("check", _about(step)) for step in CHECKLIST.steps(catalog)},
    }


def recorded(
    instance: dg.DagsterInstance, engine: sa.Engine, catalog: Catalog, run: dg.DagsterRun
) -> Recorded:
    """Return what is on record of the consolidation that ``run`` belongs to, so far."""
    records = _run_records(instance, run)
    runs = [record.dagster_run.run_id for record in records]
    stats = {run_id: instance.get_run_step_stats(run_id) for run_id in runs}
    failed = [
        run_id
        for run_id, steps in stats.items()
        if any(step.status is StepEventStatus.FAILURE for step in steps)
    ]
    with engine.connect() as conn:
        standing = checklist_results(conn, catalog)
    known = _steps(catalog)
    return Recorded(
        consolidation=consolidation_of(run),
        runs=runs,
        first_run_at=min(record.create_timestamp.timestamp() for record in records),
        checklist=standing,
        steps=[_step(known, run_id, one) for run_id, one in _ended(stats)],
        failures=[what for run_id in failed for what in _failures(instance, run_id)],
        builds=dict(_builds(instance, catalog)),
        other_files=list(_other_files(instance, catalog)),
    )


def _run_records(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Sequence[dg.RunRecord]:
    """Return the runs of a consolidation, oldest first; a run by itself is one."""
    tag = run.tags.get(CONSOLIDATION_TAG)
    wanted = dg.RunsFilter(tags={CONSOLIDATION_TAG: tag}) if tag else None
    return instance.get_run_records(
        wanted or dg.RunsFilter(run_ids=[run.run_id]), ascending=True, order_by="id"
    )


def _ended(stats: Mapping[str, Sequence[Any]]) -> list[tuple[str, Any]]:
    """Return the steps that have ended, with their runs, in the order in which they began."""
    ended = [(run_id, one) for run_id, steps in stats.items() for one in steps if one.end_time]
    return sorted(ended, key=lambda step: step[1].start_time)


def _step(known: Mapping[str, tuple[str, str]], run_id: str, stats: Any) -> Step:
    phase, what = known.get(stats.step_key, ("other", stats.step_key))
    return Step(
        phase=phase,
        what=what,
        started_at=moment(stats.start_time),
        seconds=round(stats.end_time - stats.start_time, 3),
        run=run_id,
    )


def _failures(instance: dg.DagsterInstance, run_id: str) -> Iterator[str]:
    for record in instance.get_records_for_run(
        run_id, of_type=dg.DagsterEventType.STEP_FAILURE
    ).records:
        event = record.event_log_entry.dagster_event
        if event is not None:
            yield said(event)


def _builds(instance: dg.DagsterInstance, catalog: Catalog) -> Iterator[tuple[str, Build]]:
    """Yield the latest build of every index that has rows; most runs find them built."""
    indexes = indexes_of(catalog)
    for record in instance.get_asset_records(list(indexes)):
        latest = record.asset_entry.last_materialization_record
        if latest is None or not _value(latest, "rows_served"):
            continue
        key = record.asset_entry.asset_key
        built = latest if _value(latest, "built") else _former_build(instance, key)
        if built is not None:
            seconds = float(_value(built, "build_seconds") or 0)
            forecast = _value(built, "forecast_seconds")
            yield indexes[key].name, Build(seconds, built.timestamp, forecast)


def _former_build(instance: dg.DagsterInstance, key: dg.AssetKey) -> dg.EventLogRecord | None:
    found = instance.fetch_materializations(key, limit=_MATERIALIZATIONS).records
    return next((record for record in found if _value(record, "built")), None)


def _value(record: dg.EventLogRecord, name: str) -> Any:
    materialization = record.asset_materialization
    value = materialization.metadata.get(name) if materialization is not None else None
    return None if value is None else value.value


def _other_files(instance: dg.DagsterInstance, catalog: Catalog) -> Iterator[OtherFile]:
    """Yield the files that the latest observations saw beside those to be consolidated."""
    keys = Keys(catalog.names)
    for kind in catalog.kept:
        files: dict[str, list[dict[str, Any]]] = {}
        rows, seen_at = _observed(instance, keys.source(kind))
        for row in rows:
            files.setdefault(row["file"], []).append(row)
        for file, counted in files.items():
            tables = ", ".join(f"{int(row['rows']):,} {row['table']}" for row in counted)
            size = sum(int(row["bytes"]) for row in counted)
            yield OtherFile(file, "kept in place", f"{kind.name}: {tables}", size, seen_at)
    rows, seen_at = _observed(instance, keys.other_files)
    for row in rows:
        becomes = _BECOMES.get(row["treatment"], "left alone")
        yield OtherFile(row["file"], becomes, row["why"], int(row["bytes"]), seen_at)


def _observed(instance: dg.DagsterInstance, key: dg.AssetKey) -> tuple[list[dict[str, Any]], str]:
    """Return the census of the latest observation of a source, and when that was."""
    for record in instance.fetch_observations(key, limit=1).records:
        observation = record.asset_observation
        census = observation.metadata.get("census") if observation is not None else None
        if isinstance(census, dg.TableMetadataValue):
            return [dict(row.data) for row in census.records], moment(record.timestamp)
    return [], ""
