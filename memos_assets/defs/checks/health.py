"""V20 to V24: whether tables and indexes stay as fast as a load leaves them, in one step."""

from collections.abc import Collection, Iterator

import dagster as dg
import sqlalchemy as sa

from memos_assets.catalog import Catalog, Table
from memos_assets.defs.checks.checklist import check_spec
from memos_assets.defs.checks.recording import evaluated
from memos_assets.defs.failures import reported
from memos_assets.defs.keys import Keys
from memos_assets.defs.resources import Postgres
from memos_assets.finding import Finding
from memos_assets.indexes.definitions import search_indexes
from memos_assets.maintenance.health import (
    index_is_used,
    no_index_is_left_invalid,
    statistics_are_there,
    table_is_vacuumed,
)
from memos_assets.maintenance.recall_drift import recall_has_not_drifted
from memos_assets.report.evaluations import evidence_of, health_claims_made

_OF_TABLES = {
    "v20_tables_are_vacuumed": table_is_vacuumed,
    "v23_statistics_are_there": statistics_are_there,
}
_INVALID, _DRIFT, _USE = (
    "v22_no_index_is_left_invalid",
    "v21_recall_has_not_drifted",
    "v24_indexes_are_used",
)


def health_check(catalog: Catalog) -> dg.AssetChecksDefinition:
    """Return the checks of the health of a catalog's tables and indexes."""

    @dg.multi_asset_check(
        name=catalog.names.job("health_checks"),
        specs=[
            check_spec(claim, dg.AssetKey(asset.split("/")))
            for asset, claim in health_claims_made(catalog)
        ],
        can_subset=True,
    )
    def _health(
        context: dg.AssetCheckExecutionContext, postgres: Postgres
    ) -> Iterator[dg.AssetCheckResult]:
        """Read what PostgreSQL counts; search for a sample of stored rows by every HNSW index."""
        wanted = context.selected_asset_check_keys
        with reported():
            yield from evaluated(
                context, postgres.engine, catalog, _findings(postgres.engine, catalog, wanted)
            )

    return _health


def _findings(
    engine: sa.Engine, catalog: Catalog, wanted: Collection[dg.AssetCheckKey]
) -> Iterator[tuple[dg.AssetKey, str, Finding]]:
    """Yield what the run asks for; a table or index of which nothing is asked is not read."""
    keys = Keys(catalog.names)
    if dg.AssetCheckKey(keys.live_version, _INVALID) in wanted:
        with engine.connect() as conn:
            finding = no_index_is_left_invalid(conn, catalog.every_table)
            yield keys.live_version, _INVALID, finding
    for spec in catalog.maintained:
        for claim, judge in _OF_TABLES.items():
            if dg.AssetCheckKey(keys.table(spec.name), claim) in wanted:
                with engine.connect() as conn:
                    yield keys.table(spec.name), claim, judge(conn, spec)
        yield from _index_findings(engine, catalog, spec, wanted)


def _index_findings(
    engine: sa.Engine, catalog: Catalog, spec: Table, wanted: Collection[dg.AssetCheckKey]
) -> Iterator[tuple[dg.AssetKey, str, Finding]]:
    keys = Keys(catalog.names)
    by_vector = {index.name: index for index in spec.vector_indexes}
    for held in search_indexes(spec):
        key = keys.index(held.name)
        with engine.connect() as conn:
            if dg.AssetCheckKey(key, _USE) in wanted:
                former = evidence_of(conn, catalog, _USE).get(key.to_user_string(), {})
                yield key, _USE, index_is_used(conn, held, former)
            if held.name in by_vector and dg.AssetCheckKey(key, _DRIFT) in wanted:
                yield key, _DRIFT, recall_has_not_drifted(conn, spec, by_vector[held.name], held)
