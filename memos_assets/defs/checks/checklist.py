"""The checklist as asset checks: one step per kind of file for its rows, one for its indexes."""

from collections.abc import Iterator, Sequence

import dagster as dg
import sqlalchemy as sa

from memos_assets.catalog import (
    APPLICATION_TABLES,
    CONSOLIDATED_KINDS,
    FileKind,
    IndexedTable,
)
from memos_assets.checklist import CLAIMS
from memos_assets.consolidate.sources import registry
from memos_assets.consolidate.sources.pins import Pin
from memos_assets.defs.checks.recording import evaluated
from memos_assets.defs.failures import reported
from memos_assets.defs.keys import index_key, source_key, table_key
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
from memos_assets.search.searchable import SEARCHABLES

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


def row_checks(kind: FileKind) -> dg.AssetChecksDefinition:
    """Return the checks of a kind's sources and tables; each table is read once for all of its."""
    source = source_key(kind)
    specs = [check_spec(name, source) for name in _ABOUT_SOURCES]
    specs += [
        check_spec(name, table_key(spec))
        for spec in kind.tables
        for name in claims.claims_about(spec)
    ]

    @dg.multi_asset_check(name=f"{kind.name}_rows", specs=specs, can_subset=True)
    def _checks(
        context: dg.AssetCheckExecutionContext, postgres: Postgres
    ) -> Iterator[dg.AssetCheckResult]:
        with reported():
            yield from evaluated(context, postgres.engine, _row_findings(context, postgres, kind))

    return _checks


def _row_findings(
    context: dg.AssetCheckExecutionContext, postgres: Postgres, kind: FileKind
) -> Iterator[tuple[dg.AssetKey, str, Finding]]:
    """Yield what the run asks for; a table of which nothing is asked is not read."""
    selected = context.selected_asset_check_keys
    for spec in kind.tables:
        key = table_key(spec)
        names = [n for n in claims.claims_about(spec) if dg.AssetCheckKey(key, n) in selected]
        if names:
            findings = claims.findings_about(postgres.engine, spec)
            yield from ((key, name, findings[name]) for name in names)
    pins = _pins(postgres.engine, kind)
    for name, judge in _ABOUT_SOURCES.items():
        if dg.AssetCheckKey(source_key(kind), name) in selected:
            yield source_key(kind), name, judge(pins)


def _pins(engine: sa.Engine, kind: FileKind) -> list[Pin]:
    with engine.connect() as conn:
        return [
            registry.pin_required(conn, source)
            for source in registry.registered_sources(conn, kind.name)
        ]


def _index_findings(engine: sa.Engine, spec: IndexedTable) -> Iterator[tuple[str, str, Finding]]:
    """Yield claim, index and finding for every index of a table."""
    with engine.connect() as conn:
        listed = {index.name: index for index in search_indexes(spec)}
        for name, index in listed.items():
            yield "v06_index_is_valid", name, index_is_valid(conn, index)
        for vector_index in spec.vector_indexes:
            rows = rows_in(conn, listed[vector_index.name])
            finding = nearest_uses_index(conn, vector_index, rows)
            yield "v07_nearest_uses_index", vector_index.name, finding
        for column in spec.searched:
            name = gin_name(spec.name, column)
            finding = containment_uses_index(conn, spec, column)
            yield "v11_containment_uses_index", name, finding
        if spec.text_index:
            finding = text_search_uses_index(conn, SEARCHABLES[spec.name])
            yield "v19_text_search_uses_index", spec.text_index, finding


def index_checks(name: str, tables: Sequence[IndexedTable]) -> dg.AssetChecksDefinition:
    """Return the checks of the indexes of tables, as one step called by their kind of file."""
    specs = [
        check_spec(claim, index_key(index))
        for spec in tables
        for index, claim in claims_about_indexes(spec)
    ]

    @dg.multi_asset_check(name=f"{name}_indexes_checks", specs=specs, can_subset=True)
    def _checks(
        context: dg.AssetCheckExecutionContext, postgres: Postgres
    ) -> Iterator[dg.AssetCheckResult]:
        with reported():
            yield from evaluated(
                context,
                postgres.engine,
                (
                    (index_key(index), claim, finding)
                    for spec in tables
                    for claim, index, finding in _index_findings(postgres.engine, spec)
                ),
            )

    return _checks


checks = [
    *(row_checks(kind) for kind in CONSOLIDATED_KINDS),
    *(
        index_checks(kind.name, kind.tables)
        for kind in CONSOLIDATED_KINDS
        if any(search_indexes(spec) for spec in kind.tables)
    ),
    index_checks("application", [table for table in APPLICATION_TABLES if search_indexes(table)]),
]
