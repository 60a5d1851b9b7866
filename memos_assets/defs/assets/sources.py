"""Source assets: memOS's SQLite files as they are, observed and never written."""

import hashlib
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import dagster as dg
import sqlalchemy as sa

from memos_assets.asset_names import AssetNames
from memos_assets.catalog import Catalog, FileKind
from memos_assets.consolidate.loading import ledger
from memos_assets.consolidate.sources import registry
from memos_assets.consolidate.sources.census import take_census
from memos_assets.consolidate.sources.discover import FoundFile, find_files
from memos_assets.consolidate.sources.observe import (
    observable_sources,
    observe_source,
    pins_for,
    register_files,
)
from memos_assets.consolidate.sources.pins import Pin
from memos_assets.defs.failures import reported
from memos_assets.defs.keys import Keys
from memos_assets.defs.partitions import chunk_key, chunks_name, chunks_of
from memos_assets.defs.resources import Postgres
from memos_assets.defs.tags import consolidation_of, roots_of
from memos_assets.settings import Settings


def observe_kind(
    engine: sa.Engine,
    settings: Settings,
    instance: dg.DagsterInstance,
    consolidation: str,
    assets: AssetNames,
    kind: FileKind,
    names: Collection[str] | None = None,
) -> dict[str, str]:
    """Pin and describe registered files of a kind; return chunk key -> data version.

    Args:
        engine: of the target database.
        settings: where pins lie.
        instance: whose partition keys are added to.
        consolidation: that chooses the pins.
        assets: names of the partitions.
        kind: of the files.
        names: the sources meant; all of the kind where it is None.
    """
    with engine.connect() as conn:
        sources = [
            source
            for source in (
                observable_sources(conn, kind)
                if names is None
                else registry.registered_sources(conn, [kind])
            )
            if names is None or source.name in names
        ]
    pins = pins_for(engine, settings.pins_folder, consolidation, sources)
    return _versions(engine, instance, chunks_name(assets, kind), pins)


def pins_of_tick(
    engine: sa.Engine,
    settings: Settings,
    instance: dg.DagsterInstance,
    assets: AssetNames,
    kind: FileKind,
) -> list[Pin]:
    """Return current pins of a kind's registered files, outside of any run."""
    with engine.connect() as conn:
        sources = observable_sources(conn, kind)
    pins = [observe_source(engine, source, settings.pins_folder) for source in sources]
    _versions(engine, instance, chunks_name(assets, kind), pins)
    return pins


def stale_keys(engine: sa.Engine, pins: Iterable[Pin], *, reload: bool = False) -> set[str]:
    """Return the partition keys of chunks that some table does not hold as the pins do."""
    with engine.connect() as conn:
        return {
            chunk_key(task.source, task.chunk)
            for pin in pins
            for spec in registry.specs_in(pin)
            for task in ledger.stale_tasks(conn, spec, pin, reload=reload)
        }


def _versions(
    engine: sa.Engine, instance: dg.DagsterInstance, partitions: str, pins: Sequence[Pin]
) -> dict[str, str]:
    """Return chunk key -> data version; chunks that are new become partition keys.

    Keys are never removed: an empty chunk stays known, so that its rows go when it empties.
    """
    versions: dict[str, str] = {}
    for pin in pins:
        with engine.connect() as conn:
            numbers = ledger.chunk_numbers(conn, pin)
        versions |= {chunk_key(pin.source, chunk): pin.data_version(chunk) for chunk in numbers}
    known = set(instance.get_dynamic_partitions(partitions))
    new = [key for key in versions if key not in known]
    if new:
        instance.add_dynamic_partitions(partitions, new)
    return versions


def _consolidated_source(catalog: Catalog, kind: FileKind) -> dg.SourceAsset:
    @dg.observable_source_asset(
        key=Keys(catalog.names).source(kind),
        group_name=catalog.names.job("sources"),
        description=f"{kind.about} Usually {', '.join(f'`{n}`' for n in kind.usual_names)}. "
        "Observing pins a consistent copy; the data version of a chunk is its content.",
        partitions_def=chunks_of(catalog.names, kind),
        tags={"dagster/kind/sqlite": ""},
        metadata={"disposition": kind.disposition, "chunk_rows": kind.chunk_rows},
    )
    def _observe(context: dg.OpExecutionContext, postgres: Postgres) -> dg.DataVersionsByPartition:
        with reported():
            declared = postgres.declared(catalog)
            roots = roots_of(context.run, postgres.settings)
            if roots:
                register_files(postgres.engine, find_files(declared, roots))
            return dg.DataVersionsByPartition(
                observe_kind(
                    postgres.engine,
                    postgres.settings,
                    context.instance,
                    consolidation_of(context.run),
                    catalog.names,
                    declared.kind(kind.name),
                )
            )

    return _observe


def _found(catalog: Catalog, run: dg.DagsterRun, settings: Settings) -> list[FoundFile]:
    roots = roots_of(run, settings)
    return find_files(catalog, roots) if roots else []


def observe_kept(kind: FileKind, files: Sequence[FoundFile], zone: str) -> dg.ObserveResult:
    """Return the census of the cache files of a kind; ``zone`` is that of times without offset."""
    records: list[Mapping[str, str | int]] = [
        {
            "file": file.path.name,
            "table": table,
            "rows": census.rows,
            "expired": "no expiry" if census.expired is None else census.expired,
            "hits": "not counted" if census.hits is None else census.hits,
            "bytes": census.bytes,
            "oldest": _shown(census.oldest),
            "newest": _shown(census.newest),
            "without a time": census.unreadable,
        }
        for file in files
        if file.kind is not None and file.kind.name == kind.name and file.treatment == "keep"
        for table, census in take_census(file.path, ZoneInfo(zone)).items()
    ]
    totals = {
        name: sum(value for record in records if isinstance(value := record[name], int))
        for name in ("rows", "expired", "hits", "bytes")
    }
    return _observed(records, totals)


def _shown(instant: datetime | None) -> str:
    return "none" if instant is None else f"{instant:%Y-%m-%d %H:%M:%S} UTC"


def observe_others(files: Sequence[FoundFile]) -> dg.ObserveResult:
    """List the files that nothing is done with."""
    others = [file for file in files if file.treatment in ("list", "unusable")]
    records: list[Mapping[str, str | int]] = [
        {
            "file": str(file.path.relative_to(file.root) if file.root.is_dir() else file.path),
            "treatment": file.treatment,
            "why": file.why,
            "bytes": file.bytes,
        }
        for file in others
    ]
    return _observed(records, {"files": len(others)})


def _observed(
    records: Sequence[Mapping[str, str | int]], totals: Mapping[str, int]
) -> dg.ObserveResult:
    table = [dg.TableRecord({key: str(value) for key, value in r.items()}) for r in records]
    metadata: dict[str, dg.MetadataValue | int] = dict(totals)
    if table:
        metadata["census"] = dg.MetadataValue.table(table)
    version = hashlib.sha256(repr(records).encode()).hexdigest()[:32]
    return dg.ObserveResult(data_version=dg.DataVersion(version), metadata=metadata)


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
            return observe_kept(
                kind, _found(catalog, context.run, postgres.settings), postgres.settings.local_zone
            )

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
            return observe_others(_found(catalog, context.run, postgres.settings))

    return _observe


def sources_in_place(catalog: Catalog) -> list[dg.SourceAsset]:
    """Return the sources that are observed where they are and never consolidated."""
    with warnings.catch_warnings():
        # @observable_source_asset is marked beta in dagster 1.13.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return [*(_kept_source(catalog, kind) for kind in catalog.kept), _other_files(catalog)]


def source_assets(catalog: Catalog) -> list[dg.SourceAsset]:
    """Return the sources of a catalog."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        consolidated = [_consolidated_source(catalog, kind) for kind in catalog.consolidated]
    return [*consolidated, *sources_in_place(catalog)]
