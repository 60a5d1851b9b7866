"""V06, V07, V11, V15 and V19: indexes and functions are there, and PostgreSQL uses them.

An index of an application table is checked like one of a consolidated table.
"""

from collections.abc import Iterator

import sqlalchemy as sa

from memos_assets.catalog import Catalog, Column, Table, VectorIndex
from memos_assets.check import AnyCheck, Check, CheckContext, Subject
from memos_assets.finding import Finding
from memos_assets.indexes.ddl import gin_name
from memos_assets.indexes.definitions import SearchIndex, rows_in, search_indexes
from memos_assets.postgres.application.presence import where_present
from memos_assets.search.functions import functions_are_ours
from memos_assets.search.plans import (
    containment_uses_index,
    index_is_valid,
    nearest_uses_index,
    text_search_uses_index,
)


def _step(catalog: Catalog, table: Table) -> str:
    of = "application" if table.live else catalog.kind_of_table(table.name).name
    return f"{of}_indexes_checks"


def _indexes(catalog: Catalog) -> Iterator[Subject[SearchIndex]]:
    for spec in catalog.indexed:
        for index in search_indexes(spec):
            yield Subject(catalog.names.index(index.name), index, _step(catalog, spec))


def _vector_indexes(catalog: Catalog) -> Iterator[Subject[tuple[Table, VectorIndex, SearchIndex]]]:
    """Yield every HNSW index as it is searched and as it is built."""
    for spec in catalog.indexed:
        built = {index.name: index for index in search_indexes(spec)}
        for index in spec.vector_indexes:
            value = (spec, index, built[index.name])
            yield Subject(catalog.names.index(index.name), value, _step(catalog, spec))


def _json_columns(catalog: Catalog) -> Iterator[Subject[tuple[Table, Column]]]:
    for spec in catalog.indexed:
        for column in spec.searched:
            name = catalog.names.index(gin_name(spec.name, column))
            yield Subject(name, (spec, column), _step(catalog, spec))


def _texts(catalog: Catalog) -> Iterator[Subject[Table]]:
    for spec in catalog.indexed:
        if spec.text_index:
            yield Subject(catalog.names.index(spec.text_index), spec, _step(catalog, spec))


def _functions(catalog: Catalog) -> Iterator[Subject[None]]:
    yield Subject(catalog.names.search_functions, None, "search_functions_checks")


def _nearest(conn: sa.Connection, value: tuple[Table, VectorIndex, SearchIndex]) -> Finding:
    table, index, built = value
    return nearest_uses_index(conn, table, index, rows_in(conn, built))


def _containment(conn: sa.Connection, value: tuple[Table, Column]) -> Finding:
    return containment_uses_index(conn, *value)


def _ours(context: CheckContext, _: None) -> Finding:
    catalog = context.catalog
    with context.engine.connect() as conn:
        return functions_are_ours(conn, catalog.schema, catalog.searchable)


CHECKS: tuple[AnyCheck, ...] = (
    Check(
        number=6,
        name="v06_index_is_valid",
        title="The index exists, is valid, and matches the catalog's definition.",
        fix="materialise the index asset again; an invalid or outdated index is dropped and "
        "rebuilt",
        where="each search index",
        reads="`pg_index`, and the digest of its definition in its comment",
        when_failed="Materialise the index asset; an index that is invalid, or built by another "
        "definition, is dropped and rebuilt.",
        subjects=_indexes,
        judge=where_present(index_is_valid),
    ),
    Check(
        number=7,
        name="v07_nearest_uses_index",
        title="EXPLAIN of the catalog's k-nearest query names this index.",
        fix="run ANALYZE on the table; if it stays, drop the index and materialise its asset",
        where="each HNSW index",
        reads="`EXPLAIN` of the statement that search sends, under its settings, without a filter "
        "and with each that is offered: the index must be usable always, and chosen from 1,000 "
        "rows on where nothing is filtered",
        when_failed="`ANALYZE` the table; then rebuild the index.",
        subjects=_vector_indexes,
        judge=where_present(_nearest),
    ),
    Check(
        number=11,
        name="v11_containment_uses_index",
        title="EXPLAIN of a search by containment, or by keys, names this GIN index.",
        fix="drop the index and materialise its asset again",
        where="each GIN index on jsonb",
        reads="`EXPLAIN` of a containment search",
        when_failed="Rebuild the index.",
        subjects=_json_columns,
        judge=where_present(_containment),
    ),
    Check(
        number=15,
        name="v15_search_functions_are_ours",
        title="The SQL functions for search are exactly those of this checkout.",
        fix="materialise memos/search_functions, or consolidate again",
        where="the search functions",
        reads="source, settings and arguments of every `memos.search_*`, `match_*` and `hybrid_*`",
        when_failed="A function was changed, or is of another checkout: materialise "
        "`memos/search_functions`.",
        subjects=_functions,
        judge=_ours,
    ),
    Check(
        number=19,
        name="v19_text_search_uses_index",
        title="EXPLAIN of the full-text query that search sends names this GIN index.",
        fix="drop the index and materialise its asset again",
        where="each full-text index",
        reads="`EXPLAIN` of the full-text query that search sends",
        when_failed="Rebuild the index.",
        subjects=_texts,
        judge=where_present(text_search_uses_index),
    ),
)
