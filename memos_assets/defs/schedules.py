"""Schedules: load only chunks that are missing or changed; check rows and health daily."""

from collections.abc import Iterator

import dagster as dg

from memos_assets.catalog import CONSOLIDATED_KINDS, FileKind
from memos_assets.consolidate.loading import ledger
from memos_assets.consolidate.sources.observe import current_pins
from memos_assets.defs.failures import reported
from memos_assets.defs.jobs import finish_job, health_job, migrate_jobs
from memos_assets.defs.observations import chunk_versions
from memos_assets.defs.partitions import CHUNKS, chunk_key, contiguous_ranges, range_tags
from memos_assets.postgres.target import open_target
from memos_assets.settings import load_settings


def due_keys(instance: dg.DagsterInstance, kind: FileKind) -> list[str]:
    """Return the chunks of a kind that are missing or whose content or code changed.

    Files are looked at first; what changed is pinned, and new chunks become partition keys.
    """
    settings = load_settings()
    with open_target(settings, "memos_assets:schedule") as engine:
        pins = current_pins(engine, settings.pins_folder, kind.name)
        chunk_versions(engine, instance, kind, pins)
        with engine.connect() as conn:
            return sorted(chunk_key(*chunk) for chunk in ledger.stale_chunks(conn, pins))


def backfill_schedule(kind: FileKind) -> dg.ScheduleDefinition:
    """Return the schedule that keeps the tables of a kind up to date."""

    @dg.schedule(
        name=f"backfill_{kind.name}",
        cron_schedule="*/15 * * * *",
        job=migrate_jobs[kind.name],
        description=f"Loads only the missing or changed chunks of {kind.name} files.",
    )
    def _schedule(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        with reported():
            stale = due_keys(context.instance, kind)
        if not stale:
            yield dg.SkipReason("every chunk is loaded as its file holds it")
            return
        name = CHUNKS[kind.name].name
        assert name is not None
        for first, last in contiguous_ranges(context.instance.get_dynamic_partitions(name), stale):
            # Dagster wants keys where a tick asks for several runs; they count within the tick.
            yield dg.RunRequest(run_key=f"{first}...{last}", tags=range_tags(first, last))

    return _schedule


checklist_schedule = dg.ScheduleDefinition(
    name="check_daily",
    cron_schedule="30 4 * * *",
    job=finish_job,
    description="Builds indexes that are missing, runs the whole checklist, writes the report.",
)

health_schedule = dg.ScheduleDefinition(
    name="check_health_daily",
    cron_schedule="50 5 * * *",
    job=health_job,
    description="Looks for dead rows, drift, leftovers, old statistics, indexes nobody uses.",
)

schedules = [
    *(backfill_schedule(kind) for kind in CONSOLIDATED_KINDS),
    checklist_schedule,
    health_schedule,
]
