"""Source assets: memOS's SQLite files as they are, observed and never written."""

import warnings

import dagster as dg

from memos_assets.catalog import Catalog, FileKind
from memos_assets.consolidate.archive.records import adopt
from memos_assets.consolidate.sources.discover import FoundFile, find_files
from memos_assets.consolidate.sources.in_place import census_of, other_files
from memos_assets.consolidate.sources.observe import (
    observable_sources,
    pins_for,
    register_files,
)
from memos_assets.defs.failures import reported
from memos_assets.defs.keys import Keys
from memos_assets.defs.observations import chunk_versions, observed_in_place
from memos_assets.defs.partitions import chunks_of
from memos_assets.defs.resources import Postgres
from memos_assets.defs.tags import consolidation_of, roots_of
from memos_assets.settings import Settings


def _found(catalog: Catalog, run: dg.DagsterRun, settings: Settings) -> list[FoundFile]:
    roots = roots_of(run, settings)
    return find_files(catalog, roots) if roots else []


def _consolidated_source(catalog: Catalog, kind: FileKind) -> dg.SourceAsset:
    names = catalog.names

    @dg.observable_source_asset(
        key=Keys(names).source(kind),
        group_name=names.job("sources"),
        description=f"{kind.about} Usually {', '.join(f'`{n}`' for n in kind.usual_names)}. "
        "Observing pins a consistent copy; the data version of a chunk is its content.",
        partitions_def=chunks_of(names, kind),
        tags={"dagster/kind/sqlite": ""},
        metadata={"disposition": kind.disposition, "chunk_rows": kind.chunk_rows},
    )
    def _observe(context: dg.OpExecutionContext, postgres: Postgres) -> dg.DataVersionsByPartition:
        with reported():
            engine, settings = postgres.engine, postgres.settings
            declared = postgres.declared(catalog)
            adopt(engine, settings.archive_folder)
            register_files(engine, _found(declared, context.run, settings))
            with engine.connect() as conn:
                sources = observable_sources(conn, declared.kind(kind.name))
            pins = pins_for(engine, settings.pins_folder, consolidation_of(context.run), sources)
            versions = chunk_versions(engine, context.instance, names, kind, pins)
            with warnings.catch_warnings():
                # As @observable_source_asset below.
                warnings.simplefilter("ignore", dg.BetaWarning)
                return dg.DataVersionsByPartition(versions)

    return _observe


def _kept_source(catalog: Catalog, kind: FileKind) -> dg.SourceAsset:
    @dg.observable_source_asset(
        key=Keys(catalog.names).source(kind),
        group_name=catalog.names.job("sources"),
        description=f"{kind.about} Its census counts rows, expired rows, hits and bytes, "
        "and says since when; times without an offset are in the zone `MEMOS_LOCAL_ZONE`.",
        tags={"dagster/kind/sqlite": ""},
        metadata={"disposition": kind.disposition},
    )
    def _observe(context: dg.OpExecutionContext, postgres: Postgres) -> dg.ObserveResult:
        with reported():
            settings = postgres.settings
            files = _found(catalog, context.run, settings)
            return observed_in_place(census_of(kind, files, settings.local_zone))

    return _observe


def _other_files(catalog: Catalog) -> dg.SourceAsset:
    @dg.observable_source_asset(
        key=Keys(catalog.names).other_files,
        group_name=catalog.names.job("sources"),
        description="Every other SQLite file under the roots: test and legacy files, foreign "
        "ones, unusable ones. Never written; `memos-assets retire` moves test and legacy files.",
        tags={"dagster/kind/sqlite": ""},
        metadata={"disposition": "list"},
    )
    def _observe(context: dg.OpExecutionContext, postgres: Postgres) -> dg.ObserveResult:
        with reported():
            return observed_in_place(other_files(_found(catalog, context.run, postgres.settings)))

    return _observe


def source_assets(catalog: Catalog) -> list[dg.SourceAsset]:
    """Return the sources of a catalog."""
    with warnings.catch_warnings():
        # @observable_source_asset is marked beta in dagster 1.13.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return [
            *(_consolidated_source(catalog, kind) for kind in catalog.consolidated),
            *(_kept_source(catalog, kind) for kind in catalog.kept),
            _other_files(catalog),
        ]
