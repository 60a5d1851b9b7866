"""Index assets follow their tables: what a load dropped, or made stale, is built after it."""

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import dagster as dg
import sqlalchemy as sa

from memos_assets.catalog import Catalog
from memos_assets.check import Checklist
from memos_assets.defs.checks.steps import check_keys
from memos_assets.defs.dead_runs import settle_abandoned_runs
from memos_assets.defs.failures import reported
from memos_assets.defs.jobs import FINISH, migrate_job_name
from memos_assets.defs.keys import Keys
from memos_assets.defs.tags import CONSOLIDATION_TAG, UPKEEP
from memos_assets.errors import TargetError
from memos_assets.indexes.definitions import SearchIndex, search_indexes, state_of
from memos_assets.postgres.target import open_consolidated
from memos_assets.search import checks as search
from memos_assets.settings import load_settings

#: A load may consist of several runs; its indexes are built when none of them ended just now.
QUIET_SECONDS = 60
#: What was asked for and failed is asked for again after this.
RETRY_SECONDS = 3_600
_NO_CONSOLIDATION = "M342"
_ACTIVE = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dataclass(frozen=True, slots=True)
class _Latest:
    """The latest materialisation of an asset: its number in the event log, and its time."""

    number: int = 0
    timestamp: float = 0.0


def build_due_indexes(catalog: Catalog) -> dg.SensorDefinition:
    """Return the sensor that asks for the indexes of a catalog's consolidated tables."""
    keys = Keys(catalog.names)
    indexes = [keys.index(index.name) for index, _ in _indexes(catalog)]
    cheap = [
        key
        for key in check_keys(Checklist.gather(search.CHECKS), catalog)
        if key.asset_key in set(indexes)
    ]

    @dg.sensor(
        name=catalog.names.job("build_due_indexes"),
        asset_selection=dg.AssetSelection.assets(*indexes),
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Builds the search indexes that a load dropped or that are missing, and shows "
        "the others of a loaded table as up to date, once no load is at work.",
    )
    def _sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        with reported():
            try:
                due, why = due_indexes(context.instance, catalog)
            except TargetError as error:
                if error.code != _NO_CONSOLIDATION:
                    raise
                # It is on by default, also beside a database that nobody has used yet.
                return dg.SkipReason(str(error))
        if not due:
            return dg.SkipReason(why)
        return dg.RunRequest(
            run_key=why,
            asset_selection=due,
            asset_check_keys=[key for key in cheap if key.asset_key in set(due)],
            tags=UPKEEP,
        )

    return _sensor


def due_indexes(instance: dg.DagsterInstance, catalog: Catalog) -> tuple[list[dg.AssetKey], str]:
    """Return the indexes to build, and what they are due by; or none, and why.

    Due is an index that is not built, for whatever reason, and one whose table was loaded since it
    was shown as built. Runs whose process is gone are ended first, so that a load that was killed
    holds up nothing.
    """
    keys = Keys(catalog.names)
    settings = load_settings()
    with open_consolidated(settings, "memos_assets:sensor") as engine:
        settle_abandoned_runs(instance, engine)
        at_work = next(_at_work(instance, catalog), None)
        if at_work is not None:
            return [], f"run {at_work} loads or builds"
        latest = _latest(instance, catalog)
        with engine.connect() as conn:
            missing = {one.name for one, _ in _indexes(catalog) if not _is_built(conn, one)}
    due: list[dg.AssetKey] = []
    states: list[str] = []
    for index, table in _indexes(catalog):
        loaded = latest.get(keys.table(table), _Latest())
        shown = latest.get(keys.index(index.name), _Latest())
        if not loaded.number or not (index.name in missing or shown.number < loaded.number):
            continue
        if time.time() - max(loaded.timestamp, shown.timestamp) < QUIET_SECONDS:
            return [], f"{table} was loaded less than {QUIET_SECONDS} seconds ago"
        due.append(keys.index(index.name))
        states.append(f"{index.name} {loaded.number} {shown.number}")
    period = int(time.time() // RETRY_SECONDS)
    state = hashlib.sha256("\n".join([*states, str(period)]).encode()).hexdigest()[:16]
    return due, state if due else "every index is built since its table was loaded"


def _indexes(catalog: Catalog) -> Iterator[tuple[SearchIndex, str]]:
    for spec in catalog.tables:
        for index in search_indexes(spec.as_table):
            yield index, spec.name


def _is_built(conn: sa.Connection, index: SearchIndex) -> bool:
    return index.is_built(state_of(conn, index.name, index.schema))


def _at_work(instance: dg.DagsterInstance, catalog: Catalog) -> Iterator[str]:
    """Yield the runs at work, or waiting for their turn, that load tables or build indexes."""
    keys = Keys(catalog.names)
    jobs = {migrate_job_name(catalog.names, kind) for kind in catalog.consolidated}
    jobs.add(catalog.names.job(FINISH))
    concerned = {keys.table(spec.name) for spec in catalog.tables}
    concerned |= {keys.index(index.name) for index, _ in _indexes(catalog)}
    for run in instance.get_runs(dg.RunsFilter(statuses=_ACTIVE)):
        if (
            CONSOLIDATION_TAG in run.tags
            or run.job_name in jobs
            or concerned & set(run.asset_selection or ())
        ):
            yield run.run_id


def _latest(instance: dg.DagsterInstance, catalog: Catalog) -> dict[dg.AssetKey, _Latest]:
    keys = Keys(catalog.names)
    asked: Sequence[dg.AssetKey] = [
        *(keys.table(spec.name) for spec in catalog.tables),
        *(keys.index(index.name) for index, _ in _indexes(catalog)),
    ]
    found = {}
    for record in instance.get_asset_records(asked):
        latest = record.asset_entry.last_materialization_record
        if latest is not None:
            found[record.asset_entry.asset_key] = _Latest(latest.storage_id, latest.timestamp)
    return found
