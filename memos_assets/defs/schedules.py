"""Schedules: load only chunks that are missing or changed; check rows and health daily."""

from collections.abc import Iterator

import dagster as dg

from memos_assets.catalog import Catalog, FileKind
from memos_assets.consolidate.archive.records import adopt
from memos_assets.consolidate.loading import ledger
from memos_assets.consolidate.sources.observe import Look, look_at_files
from memos_assets.defs.assets.snapshots import snapshot_schedules
from memos_assets.defs.boards import board_schedules
from memos_assets.defs.caches import cache_schedules
from memos_assets.defs.dagster_internals import request_backfill
from memos_assets.defs.failures import failed_by, reported
from memos_assets.defs.jobs import FINISH, HEALTH, MEMORY, migrate_job_name
from memos_assets.defs.keys import Keys
from memos_assets.defs.memory_models import memory_model_schedules
from memos_assets.defs.observations import chunk_versions, report_changed
from memos_assets.defs.partitions import chunk_key, chunks_name, contiguous_ranges, range_tags
from memos_assets.postgres.target import open_consolidated
from memos_assets.settings import load_settings


def due_keys(
    instance: dg.DagsterInstance, catalog: Catalog, kind: FileKind
) -> tuple[list[str], Look]:
    """Return the chunks of a kind that are missing or changed in content or code, and the look.

    Files are looked at first, each for itself; what changed is pinned and observed, and new chunks
    become partition keys.
    """
    settings = load_settings()
    declared = catalog.with_encodings(settings.declared_encodings)
    with open_consolidated(settings, "memos_assets:schedule") as engine:
        adopt(engine, settings.archive_folder)
        look = look_at_files(engine, settings.pins_folder, declared.kind(kind.name))
        versions = chunk_versions(engine, instance, catalog.names, kind, look.pins)
        report_changed(instance, catalog.names, kind, versions)
        with engine.connect() as conn:
            stale = ledger.stale_chunks(conn, look.pins)
    return sorted(chunk_key(*chunk) for chunk in stale), look


def backfill_schedule(catalog: Catalog, kind: FileKind) -> dg.ScheduleDefinition:
    """Return the schedule that keeps the tables of a kind up to date.

    A tick with files that cannot be read fails, and names them all. Such a tick can request no
    runs, so what is due of the other files is requested as a backfill before it fails.
    """
    partitions = chunks_name(catalog.names, kind)
    name = catalog.names.job(f"backfill_{kind.name}")

    @dg.schedule(
        name=name,
        cron_schedule="*/15 * * * *",
        job_name=migrate_job_name(catalog.names, kind),
        description=f"Loads only the missing or changed chunks of {kind.name} files.",
    )
    def _schedule(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        with reported():
            stale, look = due_keys(context.instance, catalog, kind)
        if look.unreadable:
            if stale:
                request_backfill(context, Keys(catalog.names).tables(kind), stale, name)
            raise failed_by(look.unreadable)
        if not stale:
            yield dg.SkipReason(_nothing_due(look))
            return
        known = context.instance.get_dynamic_partitions(partitions)
        for first, last in contiguous_ranges(known, stale):
            # Dagster wants keys where a tick asks for several runs; they count within the tick.
            yield dg.RunRequest(run_key=f"{first}...{last}", tags=range_tags(first, last))

    return _schedule


def _nothing_due(look: Look) -> str:
    if not look.gone:
        return "every chunk is loaded as its file holds it"
    gone = ", ".join(f"{source.name} ({source.location})" for source in look.gone)
    return (
        f"nothing is loaded of files that are gone: {gone}; their rows are as they were loaded "
        "last, and every chunk of the other files as its file holds it. Fix: bring the file back, "
        "or memos-assets forget NAME"
    )


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
        *_of_memory(catalog),
    ]


def _of_memory(catalog: Catalog) -> Iterator[dg.ScheduleDefinition]:
    if catalog.application:
        yield from memory_model_schedules(catalog.names)
        yield from cache_schedules(catalog)
        yield from board_schedules(catalog)
        yield from snapshot_schedules(catalog.names)
        yield dg.ScheduleDefinition(
            name=catalog.names.job("check_memory_daily"),
            cron_schedule="20 6 * * *",
            job_name=catalog.names.job(MEMORY),
            description="Counts what agents remember, asks the golden queries, runs every check "
            "of memory.",
        )
