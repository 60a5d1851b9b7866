"""V20 to V24, checks in one step: tables and indexes stay as fast as a load leaves them."""

from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from memos_assets.catalog import Catalog, Table, VectorIndex
from memos_assets.check import AnyCheck, Check, CheckContext, Subject
from memos_assets.finding import Finding
from memos_assets.indexes.definitions import SearchIndex, search_indexes
from memos_assets.maintenance.health import (
    index_is_used,
    no_index_is_left_invalid,
    statistics_are_there,
    table_is_vacuumed,
)
from memos_assets.maintenance.recall_drift import recall_has_not_drifted
from memos_assets.postgres.application.presence import (
    absent_finding,
    application_is_absent,
    where_present,
)
from memos_assets.postgres.schema import tables

_STEP = "health_checks"
_USE = "v24_indexes_are_used"


def _tables(catalog: Catalog) -> Iterator[Subject[Table]]:
    for spec in catalog.maintained:
        yield Subject(catalog.names.table(spec.name), spec, _STEP)


def _vector_indexes(catalog: Catalog) -> Iterator[Subject[tuple[Table, VectorIndex, SearchIndex]]]:
    """Yield every HNSW index as it is searched and as it is built."""
    for spec in catalog.maintained:
        built = {index.name: index for index in search_indexes(spec)}
        for index in spec.vector_indexes:
            value = (spec, index, built[index.name])
            yield Subject(catalog.names.index(index.name), value, _STEP)


def _indexes(catalog: Catalog) -> Iterator[Subject[SearchIndex]]:
    for spec in catalog.maintained:
        for index in search_indexes(spec):
            yield Subject(catalog.names.index(index.name), index, _STEP)


def _database(catalog: Catalog) -> Iterator[Subject[None]]:
    yield Subject(catalog.names.live_version, None, _STEP)


def _left_invalid(context: CheckContext, _: None) -> Finding:
    with context.engine.connect() as conn:
        return no_index_is_left_invalid(conn, context.catalog.every_table)


def _recall(conn: sa.Connection, value: tuple[Table, VectorIndex, SearchIndex]) -> Finding:
    return recall_has_not_drifted(conn, *value)


def _use(context: CheckContext, index: SearchIndex) -> Finding:
    with context.engine.connect() as conn:
        if index.live and application_is_absent(conn):
            return absent_finding()
        return index_is_used(conn, index, former_use(conn, context.catalog, index.name))


def former_use(conn: sa.Connection, catalog: Catalog, index: str) -> Mapping[str, Any]:
    """Return the evidence of the latest evaluation of V24; empty where there is none."""
    entry = tables.evaluations.c
    found: Mapping[str, Any] | None = conn.execute(
        sa.select(entry.evidence).where(
            entry.target == tables.schema_in(conn, catalog.schema),
            entry["claim"] == _USE,
            entry.asset == catalog.names.index(index),
        )
    ).scalar()
    return found or {}


CHECKS: tuple[AnyCheck, ...] = (
    Check(
        number=20,
        name="v20_tables_are_vacuumed",
        title="Few row versions of the table are dead; an HNSW index keeps theirs until VACUUM.",
        fix="memos-assets maintain vacuums it; if it comes back, see why autovacuum does not",
        where="each consolidated table, and `public.memories`",
        reads="PostgreSQL's count of dead row versions: at most 20 %, or fewer than 50",
        when_failed="`memos-assets maintain`; if it comes back, autovacuum does not keep up.",
        subjects=_tables,
        judge=where_present(table_is_vacuumed),
        group="health",
    ),
    Check(
        number=21,
        name="v21_recall_has_not_drifted",
        title="Searches by the index find what exact scans of the table find, on a sample of its "
        "rows.",
        fix="memos-assets maintain vacuums the table, or rebuilds the index beside its readers",
        where="each HNSW index",
        reads="20 stored rows searched for by the index and by exact scans: recall@10 of 0.95, and "
        "no short result",
        when_failed="`memos-assets maintain` vacuums, and rebuilds if that does not help.",
        subjects=_vector_indexes,
        judge=where_present(_recall),
        group="health",
    ),
    Check(
        number=22,
        name="v22_no_index_is_left_invalid",
        title="No build and no rebuild that broke off left an index that is written and never "
        "read.",
        fix="memos-assets maintain drops leftovers and rebuilds ours; drop those of others by hand",
        where="the database",
        reads="invalid indexes in all schemas of ours and on the tables of memOS, leftovers of "
        "broken rebuilds included",
        when_failed="`memos-assets maintain` drops leftovers and rebuilds ours.",
        subjects=_database,
        judge=_left_invalid,
        group="health",
    ),
    Check(
        number=23,
        name="v23_statistics_are_there",
        title="The planner has statistics of every column, and few rows changed since.",
        fix="memos-assets maintain analyses it; if it comes back, see why autovacuum does not",
        where="each consolidated table, and `public.memories`",
        reads="statistics of every column; rows changed since: at most 20 %, or fewer than 50",
        when_failed="`memos-assets maintain`.",
        subjects=_tables,
        judge=where_present(statistics_are_there),
        group="health",
    ),
    Check(
        number=24,
        name=_USE,
        title="Somebody searched by the index within 30 days, and no other index does the same.",
        fix="drop the index that does the same; one that nobody searches costs room and every "
        "write",
        where="each search index",
        reads="scans since the former evaluation, without those of the checks; indexes of others "
        "that do the same",
        when_failed="A warning: drop the index that does the same; ask who should search by one "
        "that nobody used for 30 days.",
        subjects=_indexes,
        judge=_use,
        severity="warning",
        group="health",
        left_to_do="unused",
    ),
)
