"""Source assets: memOS's SQLite files as they are, observed and never written."""

import warnings

import dagster as dg

from memos_assets.catalog import CONSOLIDATED_KINDS, KINDS, FileKind
from memos_assets.consolidate.sources.discover import FoundFile, find_files
from memos_assets.consolidate.sources.in_place import census_of, other_files
from memos_assets.consolidate.sources.observe import (
    observable_sources,
    pins_for,
    register_files,
)
from memos_assets.defs.failures import reported
from memos_assets.defs.keys import OTHER_FILES, source_key
from memos_assets.defs.observations import chunk_versions, observed_in_place
from memos_assets.defs.partitions import CHUNKS
from memos_assets.defs.resources import Postgres
from memos_assets.defs.tags import consolidation_of, roots_of
from memos_assets.settings import Settings


def _found(run: dg.DagsterRun, settings: Settings) -> list[FoundFile]:
    roots = roots_of(run, settings)
    return find_files(roots) if roots else []


def _consolidated_source(kind: FileKind) -> dg.SourceAsset:
    @dg.observable_source_asset(
        key=source_key(kind),
        group_name="sources",
        description=f"{kind.about} Usually {', '.join(f'`{n}`' for n in kind.usual_names)}. "
        "Observing pins a consistent copy; the data version of a chunk is its content.",
        partitions_def=CHUNKS[kind.name],
        tags={"dagster/kind/sqlite": ""},
        metadata={"disposition": kind.disposition, "chunk_rows": kind.chunk_rows},
    )
    def _observe(context: dg.OpExecutionContext, postgres: Postgres) -> dg.DataVersionsByPartition:
        with reported():
            engine, settings = postgres.engine, postgres.settings
            register_files(engine, _found(context.run, settings))
            with engine.connect() as conn:
                sources = observable_sources(conn, kind.name)
            pins = pins_for(engine, settings.pins_folder, consolidation_of(context.run), sources)
            versions = chunk_versions(engine, context.instance, kind, pins)
            with warnings.catch_warnings():
                # As @observable_source_asset below.
                warnings.simplefilter("ignore", dg.BetaWarning)
                return dg.DataVersionsByPartition(versions)

    return _observe


def _kept_source(kind: FileKind) -> dg.SourceAsset:
    @dg.observable_source_asset(
        key=source_key(kind),
        group_name="sources",
        description=f"{kind.about} Its census counts rows, expired rows, hits and bytes, "
        "and says since when; times without an offset are in the zone `MEMOS_LOCAL_ZONE`.",
        tags={"dagster/kind/sqlite": ""},
        metadata={"disposition": kind.disposition},
    )
    def _observe(context: dg.OpExecutionContext, postgres: Postgres) -> dg.ObserveResult:
        with reported():
            settings = postgres.settings
            files = _found(context.run, settings)
            return observed_in_place(census_of(kind, files, settings.local_zone))

    return _observe


def _other_files() -> dg.SourceAsset:
    @dg.observable_source_asset(
        key=OTHER_FILES,
        group_name="sources",
        description="Every other SQLite file under the roots: test and legacy files, foreign "
        "ones, unusable ones. Never written; `memos-assets retire` moves test and legacy files.",
        tags={"dagster/kind/sqlite": ""},
        metadata={"disposition": "list"},
    )
    def _observe(context: dg.OpExecutionContext, postgres: Postgres) -> dg.ObserveResult:
        with reported():
            return observed_in_place(other_files(_found(context.run, postgres.settings)))

    return _observe


with warnings.catch_warnings():
    # @observable_source_asset is marked beta in dagster 1.13.
    warnings.simplefilter("ignore", dg.BetaWarning)
    #: Sources that are observed where they are and never consolidated.
    sources_in_place = [
        *(_kept_source(kind) for kind in KINDS if kind.disposition == "keep"),
        _other_files(),
    ]
    source_assets = [
        *(_consolidated_source(kind) for kind in CONSOLIDATED_KINDS),
        *sources_in_place,
    ]
