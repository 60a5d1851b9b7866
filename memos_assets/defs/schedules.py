"""Schedules: load only chunks that are missing or changed; check rows and health daily."""

from collections.abc import Iterator

import dagster as dg

from memos_assets.catalog import Catalog, FileKind
from memos_assets.consolidate.archive.records import adopt
from memos_assets.consolidate.loading import ledger
from memos_assets.consolidate.sources.observe import current_pins
from memos_assets.defs.failures import reported
from memos_assets.defs.jobs import FINISH, HEALTH, migrate_job_name
from memos_assets.defs.observations import chunk_versions
from memos_assets.defs.partitions import chunk_key, chunks_name, contiguous_ranges, range_tags
from memos_assets.postgres.target import open_target
from memos_assets.settings import load_settings


def due_keys(instance: dg.DagsterInstance, catalog: Catalog, kind: FileKind) -> list[str]:
    """Return the chunks of a kind that are missing or whose content or code changed.

    Files are looked at first; what changed is pinned, and new chunks become partition keys.
    """
    settings = load_settings()
    declared = catalog.with_encodings(settings.declared_encodings)
    with open_target(settings, "memos_assets:schedule") as engine:
        adopt(engine, settings.archive_folder)
        pins = current_pins(engine, settings.pins_folder, declared.kind(kind.name))
        chunk_versions(engine, instance, catalog.names, kind, pins)
        with engine.connect() as conn:
            return sorted(chunk_key(*chunk) for chunk in ledger.stale_chunks(conn, pins))


def backfill_schedule(catalog: Catalog, kind: FileKind) -> dg.ScheduleDefinition:
    """Return the schedule that keeps the tables of a kind up to date."""
    partitions = chunks_name(catalog.names, kind)

    @dg.schedule(
        name=catalog.names.job(f"backfill_{kind.name}"),
        cron_schedule="*/15 * * * *",
        job_name=migrate_job_name(catalog.names, kind),
        description=f"Loads only the missing or changed chunks of {kind.name} files.",
    )
    def _schedule(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        with reported():
            stale = due_keys(context.instance, catalog, kind)
        if not stale:
            yield dg.SkipReason("every chunk is loaded as its file holds it")
            return
        known = context.instance.get_dynamic_partitions(partitions)
        for first, last in contiguous_ranges(known, stale):
            # Dagster wants keys where a tick asks for several runs; they count within the tick.
            yield dg.RunRequest(run_key=f"{first}...{last}", tags=range_tags(first, last))

    return _schedule


def schedules_of(catalog: Catalog) -> list[dg.ScheduleDefinition]:
    """Return the schedules of a catalog."""
    names = catalog.names
    return [
        *(backfill_schedule(catalog, kind) for kind in catalog.consolidated),
        dg.ScheduleDefinition(
            name=names.job("check_daily"),
            cron_schedule="30 4 * * *",
            job_name=names.job(FINISH),
            description="Builds indexes that are missing, runs the whole checklist, writes the "
            "report.",
        ),
        dg.ScheduleDefinition(
            name=names.job("check_health_daily"),
            cron_schedule="50 5 * * *",
            job_name=names.job(HEALTH),
            description="Looks for dead rows, drift, leftovers, old statistics, indexes nobody "
            "uses.",
        ),
    ]
