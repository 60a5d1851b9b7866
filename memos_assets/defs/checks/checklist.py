"""The checklist as asset checks: one step per kind of file for its rows, one for its indexes."""

from collections.abc import Iterator, Sequence

import dagster as dg
import sqlalchemy as sa

from memos_assets.catalog import Catalog, FileKind, Table
from memos_assets.checklist import CLAIMS
from memos_assets.consolidate.sources import registry
from memos_assets.consolidate.sources.pins import Pin
from memos_assets.defs.checks.recording import evaluated
from memos_assets.defs.failures import reported
from memos_assets.defs.keys import Keys
from memos_assets.defs.resources import Postgres
from memos_assets.finding import Finding
from memos_assets.indexes.ddl import gin_name
from memos_assets.indexes.definitions import rows_in, search_indexes
from memos_assets.proof.rows import checks as claims
from memos_assets.report.evaluations import claims_about_indexes
from memos_assets.search.plans import (
    containment_uses_index,
    index_is_valid,
    nearest_uses_index,
    text_search_uses_index,
)

_ABOUT_SOURCES = {
    "v08_source_unchanged_since_pin": claims.source_unchanged,
    "v09_source_is_accounted_for": claims.source_accounted_for,
}


def check_spec(name: str, asset: dg.AssetKey) -> dg.AssetCheckSpec:
    """Return a claim as a check of an asset."""
    claim = CLAIMS[name]
    return dg.AssetCheckSpec(
        name=name,
        asset=asset,
        description=f"{claim.label}: {claim.claim}",
        blocking=claim.blocking,
        metadata={"fix": claim.fix},
    )


def row_checks(catalog: Catalog, kind: FileKind) -> dg.AssetChecksDefinition:
    """Return the checks of a kind's sources and tables; each table is read once for all of its."""
    keys = Keys(catalog.names)
    source = keys.source(kind)
    specs = [check_spec(name, source) for name in _ABOUT_SOURCES]
    specs += [
        check_spec(name, keys.table(spec.name))
        for spec in kind.tables
        for name in claims.claims_about(spec)
    ]

    @dg.multi_asset_check(name=catalog.names.job(f"{kind.name}_rows"), specs=specs, can_subset=True)
    def _checks(
        context: dg.AssetCheckExecutionContext, postgres: Postgres
    ) -> Iterator[dg.AssetCheckResult]:
        with reported():
            declared = postgres.declared(catalog)
            found = _row_findings(context, postgres, declared, declared.kind(kind.name))
            yield from evaluated(context, postgres.engine, catalog, found)

    return _checks


def _row_findings(
    context: dg.AssetCheckExecutionContext, postgres: Postgres, catalog: Catalog, kind: FileKind
) -> Iterator[tuple[dg.AssetKey, str, Finding]]:
    """Yield what the run asks for; a table of which nothing is asked is not read."""
    selected, keys = context.selected_asset_check_keys, Keys(catalog.names)
    for spec in kind.tables:
        key = keys.table(spec.name)
        names = [n for n in claims.claims_about(spec) if dg.AssetCheckKey(key, n) in selected]
        if names:
            findings = claims.findings_about(postgres.engine, kind, spec)
            yield from ((key, name, findings[name]) for name in names)
    pins = _pins(postgres.engine, kind)
    for name, judge in _ABOUT_SOURCES.items():
        if dg.AssetCheckKey(keys.source(kind), name) in selected:
            yield keys.source(kind), name, judge(pins)


def _pins(engine: sa.Engine, kind: FileKind) -> list[Pin]:
    with engine.connect() as conn:
        return [
            registry.pin_required(conn, source)
            for source in registry.registered_sources(conn, [kind])
        ]


def _index_findings(engine: sa.Engine, spec: Table) -> Iterator[tuple[str, str, Finding]]:
    """Yield claim, index and finding for every index of a table."""
    with engine.connect() as conn:
        listed = {index.name: index for index in search_indexes(spec)}
        for name, index in listed.items():
            yield "v06_index_is_valid", name, index_is_valid(conn, index)
        for vector_index in spec.vector_indexes:
            rows = rows_in(conn, listed[vector_index.name])
            finding = nearest_uses_index(conn, spec, vector_index, rows)
            yield "v07_nearest_uses_index", vector_index.name, finding
        for column in spec.searched:
            name = gin_name(spec.name, column)
            finding = containment_uses_index(conn, spec, column)
            yield "v11_containment_uses_index", name, finding
        if spec.text_index:
            finding = text_search_uses_index(conn, spec)
            yield "v19_text_search_uses_index", spec.text_index, finding


def index_checks(catalog: Catalog, name: str, tables: Sequence[Table]) -> dg.AssetChecksDefinition:
    """Return the checks of the indexes of tables, as one step called by their kind of file."""
    keys = Keys(catalog.names)
    specs = [
        check_spec(claim, keys.index(index))
        for spec in tables
        for index, claim in claims_about_indexes(spec)
    ]

    @dg.multi_asset_check(
        name=catalog.names.job(f"{name}_indexes_checks"), specs=specs, can_subset=True
    )
    def _checks(
        context: dg.AssetCheckExecutionContext, postgres: Postgres
    ) -> Iterator[dg.AssetCheckResult]:
        with reported():
            yield from evaluated(
                context,
                postgres.engine,
                catalog,
                (
                    (keys.index(index), claim, finding)
                    for spec in tables
                    for claim, index, finding in _index_findings(postgres.engine, spec)
                ),
            )

    return _checks


def checks(catalog: Catalog) -> list[dg.AssetChecksDefinition]:
    """Return the checks of rows and indexes."""
    by_kind = [(kind.name, catalog.described(kind.tables)) for kind in catalog.consolidated]
    by_kind.append(("application", catalog.described(catalog.application_tables)))
    return [
        *(row_checks(catalog, kind) for kind in catalog.consolidated),
        *(
            index_checks(catalog, name, [table for table in tables if search_indexes(table)])
            for name, tables in by_kind
            if any(search_indexes(table) for table in tables)
        ),
    ]
