"""A consolidation into a shadow: loaded beside the live tables, proven there, swapped in whole."""

from collections.abc import Sequence

import dagster as dg
import sqlalchemy as sa

from memos_assets.catalog import Catalog
from memos_assets.consolidate.archive.records import adopt
from memos_assets.consolidate.sources import registry
from memos_assets.consolidate.sources.discover import FoundFile, Root
from memos_assets.consolidate.sources.observe import register_files
from memos_assets.consolidate.sources.pinned import Pinned, pin_sources
from memos_assets.defs.assets.version import report_exchange
from memos_assets.defs.jobs import FINISH
from memos_assets.defs.observations import report_observed
from memos_assets.defs.tags import INTO_TAG
from memos_assets.errors import TargetError
from memos_assets.postgres.schema.tables import in_schema
from memos_assets.postgres.versions.dependents import refuse_hanging
from memos_assets.postgres.versions.swap import restore_pins, swap
from memos_assets.postgres.versions.versions import (
    create_shadow,
    prune,
    sole_swap,
    version_is_complete,
)
from memos_assets.report.consolidation import Consolidation, new_consolidation
from memos_assets.runs.consolidation import (
    checklist,
    load_stale,
    run_job,
    tags_of,
    verify,
)
from memos_assets.settings import Settings


def consolidate_and_swap(
    instance: dg.DagsterInstance,
    engine: sa.Engine,
    settings: Settings,
    catalog: Catalog,
    roots: Sequence[Root],
    files: Sequence[FoundFile],
) -> Consolidation:
    """Load every registered source into a shadow, and swap it in if every check passes there.

    Readers keep the live tables as they are until then. A shadow that is not proven stays for
    inspection, and the live tables are checked again, since what Dagster shows last is about it.

    Args:
        instance: where the runs are recorded.
        engine: of the target database.
        settings: where state is, and for how long versions are kept.
        catalog: whose tables.
        roots: recorded with the runs.
        files: from `find_files`; those to be consolidated are registered.

    Raises:
        TargetError: M330 another one is at it; M331 objects of others hang on the live tables; M337
            the file of a registered source is gone. Nothing was loaded.
    """
    done = new_consolidation(catalog.schema)
    with sole_swap(engine):
        with engine.connect() as conn:
            refuse_hanging(conn, catalog)
            _refuse_gone(conn, catalog, files)
        adopt(engine, settings.archive_folder)
        done.notes = register_files(engine, files)
        try:
            pinned = pin_sources(
                engine, settings.pins_folder, catalog, done.id, roots, files, every_source=True
            )
            done.notes += _pruned(engine, catalog, settings)
            create_shadow(engine, catalog, done.id)
            done.schema = catalog.shadow
            _fill(instance, engine, settings, catalog, pinned, done)
        finally:
            if done.exchange is None:
                with engine.begin() as conn:
                    restore_pins(conn, catalog)
        if done.exchange is None:
            done.run_ids += verify(instance, engine, catalog).run_ids
    return done


def _fill(
    instance: dg.DagsterInstance,
    engine: sa.Engine,
    settings: Settings,
    catalog: Catalog,
    pinned: Pinned,
    done: Consolidation,
) -> None:
    """Fill the shadow, prove it, and swap it in if nothing speaks against it."""
    shadow = in_schema(engine, catalog.schema, catalog.shadow)
    tags = {**tags_of(pinned), INTO_TAG: catalog.shadow}
    report_observed(instance, shadow, catalog, pinned, settings.local_zone)
    load_stale(instance, shadow, catalog, pinned, tags, done)
    with engine.connect() as conn:
        filled_at = conn.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    run_job(instance, catalog, FINISH, tags, done)
    done.checklist = checklist(shadow, catalog)
    if not done.proven:
        done.notes.append(
            f"not swapped: readers keep what they had; what was loaded stays in {catalog.shadow} "
            "until the next --swap"
        )
        return
    try:
        done.exchange = swap(
            engine,
            catalog,
            done.id,
            filled_at=filled_at,
            timeout_seconds=settings.swap_timeout_seconds,
        )
    except TargetError as error:
        done.failures.append(str(error))
        return
    done.schema = catalog.schema
    report_exchange(instance, engine, settings, catalog, done.exchange)
    with engine.connect() as conn:
        finding = version_is_complete(conn, catalog)
    if not finding.passed:
        where = catalog.names.live_version
        done.failures.append(f"V14 failed on {where}: observed {finding.observed}")


def _refuse_gone(conn: sa.Connection, catalog: Catalog, files: Sequence[FoundFile]) -> None:
    """Refuse at once what V08 would refuse after the load: a source whose file is gone."""
    found = {file.source for file in files if file.treatment == "consolidate"}
    gone = [
        source
        for source in registry.registered_sources(conn, catalog.consolidated)
        if source.name not in found and not source.location.exists()
    ]
    if gone:
        raise TargetError(
            "M337",
            f"its file is gone ({gone[0].location}), so a version with its rows cannot be proven",
            where=", ".join(source.name for source in gone),
            fix="bring the file back, or memos-assets forget NAME, then swap; or consolidate "
            "without --swap, which leaves its rows as they are",
        )


def _pruned(engine: sa.Engine, catalog: Catalog, settings: Settings) -> list[str]:
    """Drop versions that were kept long enough; one that is stuck does not stop the swap."""
    try:
        dropped = prune(engine, catalog, settings.keep_versions_days)
    except TargetError as error:
        return [str(error)]
    return [f"version {number} was kept long enough and is dropped" for number in dropped]
