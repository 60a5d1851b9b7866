"""A code location of one or more catalogs; everything in it is built from them."""

from collections.abc import Iterator, Sequence

import dagster as dg

from memos_assets.catalog import Catalog
from memos_assets.checklist import CHECKLIST
from memos_assets.defs.assets.application import application_assets
from memos_assets.defs.assets.archive import archive_assets
from memos_assets.defs.assets.boards import board_assets
from memos_assets.defs.assets.caches import cache_assets
from memos_assets.defs.assets.impact import impact
from memos_assets.defs.assets.indexes import index_assets
from memos_assets.defs.assets.memory import memory_assets
from memos_assets.defs.assets.report import report
from memos_assets.defs.assets.search import search_functions
from memos_assets.defs.assets.snapshot_diff import snapshot_diff_assets
from memos_assets.defs.assets.snapshots import snapshot_assets
from memos_assets.defs.assets.sources import source_assets
from memos_assets.defs.assets.tables import table_assets
from memos_assets.defs.assets.version import live_version
from memos_assets.defs.checks.steps import check_steps
from memos_assets.defs.index_sensor import build_due_indexes
from memos_assets.defs.io_managers import table_io_manager
from memos_assets.defs.jobs import jobs_of
from memos_assets.defs.memory_models import memory_model_assets
from memos_assets.defs.resources import Postgres, Webhook
from memos_assets.defs.schedules import schedules_of
from memos_assets.defs.sensors import post_failed_checks
from memos_assets.defs.snapshots import IO_MANAGER, SnapshotIOManager


def location_of(*catalogs: Catalog) -> dg.Definitions:
    """Return the definitions of catalogs that share one database, the one of the settings.

    Loading them opens neither the database nor a file.

    Raises:
        ValueError: two catalogs share a schema, a prefix of names, or the name of a kind of file.
    """
    _refuse_shared(catalogs)
    postgres = Postgres()
    return dg.Definitions(
        assets=[asset for catalog in catalogs for asset in assets_of(catalog)],
        asset_checks=[check for catalog in catalogs for check in check_steps(CHECKLIST, catalog)],
        jobs=[job for catalog in catalogs for job in jobs_of(catalog)],
        schedules=[schedule for catalog in catalogs for schedule in schedules_of(catalog)],
        sensors=[post_failed_checks(catalogs), *map(build_due_indexes, catalogs)],
        resources={
            "postgres": postgres,
            "postgres_table": table_io_manager(postgres, catalogs),
            IO_MANAGER: SnapshotIOManager(),
            "webhook": Webhook(),
        },
        # A fresh interpreter per step costs seconds; parallelism is between runs.
        executor=dg.in_process_executor,
    )


def assets_of(catalog: Catalog) -> Iterator[dg.AssetsDefinition | dg.SourceAsset]:
    """Yield the assets of a catalog."""
    yield from source_assets(catalog)
    yield from table_assets(catalog)
    yield from application_assets(catalog)
    yield index_assets(catalog)
    yield from archive_assets(catalog)
    yield live_version(catalog)
    yield search_functions(catalog)
    yield report(catalog)
    yield impact(catalog)
    if catalog.application:
        # The memory of agents is the application's; schema `agent` is there once.
        yield from memory_assets(catalog)
        yield from memory_model_assets(catalog.names)
        yield from cache_assets(catalog)
        yield from board_assets(catalog.names)
        yield from snapshot_assets(catalog.names)
        yield from snapshot_diff_assets(catalog.names)


def _refuse_shared(catalogs: Sequence[Catalog]) -> None:
    """Refuse catalogs whose rows, names or bookkeeping could not be told apart."""
    names = [
        *(f"schema {catalog.schema}" for catalog in catalogs),
        *(f"prefix {catalog.prefix}" for catalog in catalogs),
        *(f"kind of file {kind.name}" for catalog in catalogs for kind in catalog.kinds),
    ]
    shared = sorted({name for name in names if names.count(name) > 1})
    if shared:
        raise ValueError(f"more than one catalog has {', '.join(shared)}")
