"""V20 to V24: whether tables and indexes stay as fast as a load leaves them, in one step."""

from collections.abc import Collection, Iterator

import dagster as dg
import sqlalchemy as sa

from memos_assets.catalog import MAINTAINED, IndexedTable
from memos_assets.defs.checks.checklist import check_spec
from memos_assets.defs.checks.recording import evaluated
from memos_assets.defs.failures import reported
from memos_assets.defs.keys import LIVE_VERSION, index_key, table_key
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


@dg.multi_asset_check(
    name="health_checks",
    specs=[
        check_spec(claim, dg.AssetKey(asset.split("/"))) for asset, claim in health_claims_made()
    ],
    can_subset=True,
)
def health_check(
    context: dg.AssetCheckExecutionContext, postgres: Postgres
) -> Iterator[dg.AssetCheckResult]:
    """Read what PostgreSQL counts, and search for a sample of stored rows by every HNSW index."""
    wanted = context.selected_asset_check_keys
    with reported():
        yield from evaluated(context, postgres.engine, _findings(postgres.engine, wanted))


def _findings(
    engine: sa.Engine, wanted: Collection[dg.AssetCheckKey]
) -> Iterator[tuple[dg.AssetKey, str, Finding]]:
    """Yield what the run asks for; a table or index of which nothing is asked is not read."""
    if dg.AssetCheckKey(LIVE_VERSION, _INVALID) in wanted:
        with engine.connect() as conn:
            yield LIVE_VERSION, _INVALID, no_index_is_left_invalid(conn)
    for spec in MAINTAINED:
        for claim, judge in _OF_TABLES.items():
            if dg.AssetCheckKey(table_key(spec), claim) in wanted:
                with engine.connect() as conn:
                    yield table_key(spec), claim, judge(conn, spec.name, spec.schema)
        yield from _index_findings(engine, spec, wanted)


def _index_findings(
    engine: sa.Engine, spec: IndexedTable, wanted: Collection[dg.AssetCheckKey]
) -> Iterator[tuple[dg.AssetKey, str, Finding]]:
    by_vector = {index.name: index for index in spec.vector_indexes}
    for held in search_indexes(spec):
        key = index_key(held.name)
        with engine.connect() as conn:
            if dg.AssetCheckKey(key, _USE) in wanted:
                former = evidence_of(conn, _USE).get(key.to_user_string(), {})
                yield key, _USE, index_is_used(conn, held, former)
            if held.name in by_vector and dg.AssetCheckKey(key, _DRIFT) in wanted:
                yield key, _DRIFT, recall_has_not_drifted(conn, by_vector[held.name], held)
