"""What commands run in Dagster. Imported by those that do, because Dagster takes a second to."""

import gc
from collections.abc import Sequence

import dagster as dg
import sqlalchemy as sa

from memos_assets.catalog import Catalog
from memos_assets.consolidate.archive.records import adopt
from memos_assets.consolidate.loading.reload import Reload
from memos_assets.consolidate.sources.discover import FoundFile, Root
from memos_assets.consolidate.sources.observe import register_files
from memos_assets.consolidate.sources.pinned import pin_sources
from memos_assets.defs.jobs import MAINTAIN
from memos_assets.defs.maintenance import maintain_step
from memos_assets.defs.observations import report_observed
from memos_assets.postgres.versions.swap import Exchange
from memos_assets.report.consolidation import Consolidation, new_consolidation
from memos_assets.runs import consolidation
from memos_assets.runs.dagster_home import prepare_dagster_home
from memos_assets.runs.swap import consolidate_and_swap
from memos_assets.runs.swap import swap_loaded as swap_in
from memos_assets.settings import Settings, batch_dagster_events


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """Open the Dagster instance that the UI and the daemon use.

    Raises:
        UsageError: M503 as `prepare_dagster_home`.
    """
    home = prepare_dagster_home(settings)
    batch_dagster_events()
    return dg.DagsterInstance.from_config(str(home))


def observe(
    engine: sa.Engine,
    settings: Settings,
    catalog: Catalog,
    roots: Sequence[Root],
    files: Sequence[FoundFile],
) -> None:
    """Register and pin the files, and report the source assets as observed."""
    with open_instance(settings) as instance:
        adopt(engine, settings.archive_folder)
        register_files(engine, files)
        observed = new_consolidation(catalog.schema).id
        pinned = pin_sources(engine, settings.pins_folder, catalog, observed, roots, files)
        report_observed(instance, engine, catalog, pinned, settings.local_zone)


def consolidate(
    engine: sa.Engine,
    settings: Settings,
    catalog: Catalog,
    roots: Sequence[Root],
    files: Sequence[FoundFile],
    *,
    reload: Reload | None,
    swap: bool,
) -> Consolidation:
    """Run a consolidation into the live tables, or into a shadow that is swapped in."""
    # Some 200,000 objects of imported modules need not be looked at again by the collector.
    gc.freeze()
    with open_instance(settings) as instance:
        if swap:
            return consolidate_and_swap(instance, engine, settings, catalog, roots, files)
        return consolidation.consolidate(
            instance, engine, settings, catalog, roots, files, reload=reload
        )


def swap_loaded(engine: sa.Engine, settings: Settings, catalog: Catalog) -> Exchange:
    """Make the proven shadow live that a consolidation left behind."""
    with open_instance(settings) as instance:
        return swap_in(instance, engine, settings, catalog)


def maintain(
    settings: Settings, catalog: Catalog, names: Sequence[str], *, rebuild: bool
) -> Consolidation:
    """Run the maintenance; it takes its turn among the builds of indexes."""
    done = new_consolidation(catalog.schema)
    config = {maintain_step(catalog.names): {"config": {"names": list(names), "rebuild": rebuild}}}
    with open_instance(settings) as instance:
        consolidation.run_job(instance, catalog, MAINTAIN, {}, done, config)
    return done


def verify(engine: sa.Engine, settings: Settings, catalog: Catalog) -> Consolidation:
    """Run the whole checklist, and write the report."""
    with open_instance(settings) as instance:
        return consolidation.verify(instance, engine, catalog)


def verify_plan(engine: sa.Engine, settings: Settings, catalog: Catalog) -> Consolidation:
    """Run the checks that answer the remediation plan."""
    with open_instance(settings) as instance:
        return consolidation.verify_plan(instance, engine, catalog)
