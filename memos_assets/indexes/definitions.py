"""The search indexes: their definitions, and their state in PostgreSQL."""

import hashlib
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

import sqlalchemy as sa
from psycopg import sql

from memos_assets.catalog import Table, VectorIndex
from memos_assets.catalog.tables import SEARCH_TEXT
from memos_assets.indexes.corpus import NOTED, CorpusStatistics, corpus_statistics
from memos_assets.indexes.ddl import create_gin, create_hnsw, create_text_index, gin_name
from memos_assets.indexes.forecast import (
    Graph,
    IndexForecast,
    forecast_gin,
    forecast_graph,
    graph_of,
)
from memos_assets.postgres.connection import driver_of
from memos_assets.postgres.schema.tables import schema_in
from memos_assets.postgres.shape.indexes import described_index, read_index
from memos_assets.postgres.shape.scratch import SCRATCH


class Create(Protocol):
    """Composes the statement that builds an index, for the schema of its table."""

    def __call__(self, schema: str, *, concurrently: bool) -> sql.Composed:
        """Return ``create index``."""
        ...


#: Begins the comment of every index of ours; a digest of its definition follows.
_MARK = "memos-assets "


@dataclass(frozen=True, slots=True)
class IndexState:
    """An index as PostgreSQL has it.

    Attributes:
        valid: PostgreSQL searches it.
        definition: as PostgreSQL writes it.
        bytes: on disk.
        builder: the process at work on it.
        mark: `SearchIndex.mark` when it was built; None: not by us, or before there were marks.
        corpus: of a full-text index, see `indexes.corpus`; None: not written down.
    """

    valid: bool
    definition: str
    bytes: int
    builder: int | None = None
    mark: str | None = None
    corpus: CorpusStatistics | None = None


@dataclass(frozen=True, slots=True)
class SearchIndex:
    """An index of either method.

    Attributes:
        name: of the index.
        table: that it is on.
        strategy: in words.
        create: composes the statement that builds it.
        schema: of the table.
        concurrently: the table is live: it is read and written while the index is built.
        serves: condition of the rows that are in the index; None is every row.
        graph: its elements and links; None for an index without a graph.
        reads: columns that the statement names; the first is what is indexed.
    """

    name: str
    table: str
    strategy: str
    create: Create
    schema: str
    concurrently: bool = False
    serves: sql.Composable | None = field(default=None, hash=False)
    graph: Graph | None = None
    reads: tuple[str, ...] = ()

    @property
    def live(self) -> bool:
        """Whether its table is live."""
        return self.concurrently

    @property
    def condition(self) -> sql.Composable:
        """Return the condition of its rows."""
        return self.serves or sql.SQL("true")

    @property
    def mark(self) -> str:
        """Comment of the index in PostgreSQL: a digest of its definition without its schema."""
        definition = self.create("", concurrently=False).as_string()
        return _MARK + hashlib.sha256(definition.encode()).hexdigest()[:16]

    def is_built(self, state: IndexState | None) -> bool:
        """Whether it is there and valid, and as it is defined today."""
        return state is not None and state.valid and state.mark == self.mark

    def schema_in(self, bind: sa.Connection | sa.Engine) -> str:
        """Return the schema of its table for this engine or connection."""
        return schema_in(bind, self.schema)


def search_indexes(table: Table) -> list[SearchIndex]:
    """Return every search index of a table."""
    found = [
        hnsw_index(index, table.schema, serves=_rows_of(index)) for index in table.vector_indexes
    ]
    found += [
        SearchIndex(
            gin_name(table.name, column),
            table.name,
            f"GIN on {column.name} (jsonb {column.searched})",
            partial(create_gin, table.name, column),
            table.schema,
            serves=sql.SQL("{} is not null").format(sql.Identifier(column.name)),
            reads=(column.name,),
        )
        for column in table.searched
    ]
    if table.text_index:
        found.append(
            SearchIndex(
                table.text_index,
                table.name,
                f"GIN on {SEARCH_TEXT} (full text)",
                partial(create_text_index, table.text_index, table.name),
                table.schema,
                reads=(SEARCH_TEXT,),
            )
        )
    return [replace(index, concurrently=table.live) for index in found]


def _rows_of(index: VectorIndex) -> sql.Composed:
    """Return the condition of the rows that an HNSW index serves."""
    embedded = sql.SQL("{} is not null").format(sql.Identifier(index.column))
    if index.dimension_name is None:
        return embedded
    return sql.SQL("{} = {} and {}").format(
        sql.Identifier(index.dimension_name), sql.Literal(index.dimension), embedded
    )


def hnsw_index(index: VectorIndex, schema: str, *, serves: sql.Composable) -> SearchIndex:
    """Return the index that a strategy asks for, on the rows for which a condition holds."""
    told_apart = (index.dimension_name,) if index.dimension_name else ()
    return SearchIndex(
        index.name,
        index.table,
        index.strategy,
        partial(create_hnsw, index),
        schema,
        serves=serves,
        graph=graph_of(index),
        reads=(index.column, *told_apart),
    )


def state_of(conn: sa.Connection, name: str, schema: str) -> IndexState | None:
    """Return an index as it is, None when there is none.

    Args:
        conn: to the target database.
        name: of the index.
        schema: that it is in, or the one that this connection puts another in the place of.
    """
    row = conn.execute(
        sa.text(
            "select i.indisvalid and i.indisready as valid, pg_get_indexdef(c.oid) as definition, "
            "pg_relation_size(c.oid) as bytes, (select min(p.pid) "
            "from pg_stat_progress_create_index p where p.index_relid = c.oid) as builder, "
            "obj_description(c.oid, 'pg_class') as mark "
            "from pg_class c join pg_index i on i.indexrelid = c.oid "
            "join pg_namespace n on n.oid = c.relnamespace "
            "where n.nspname = :schema and c.relname = :name"
        ),
        {"schema": schema_in(conn, schema), "name": name},
    ).first()
    if row is None:
        return None
    mark, _, noted = (row.mark or "").partition(NOTED)
    return IndexState(
        row.valid,
        row.definition,
        row.bytes,
        row.builder,
        mark or None,
        CorpusStatistics.parse(noted),
    )


def is_as_described(conn: sa.Connection, index: SearchIndex) -> bool:
    """Whether PostgreSQL has an index as its statement would make it on its table today.

    The mark says by which definition it was built, and a comment is easily written.
    """
    schema = index.schema_in(conn)
    statement = index.create(SCRATCH, concurrently=False)
    described = described_index(conn, schema, index.table, index.name, statement)
    return described is not None and read_index(conn, schema, index.name) == described


def drop_index(conn: sa.Connection, name: str, schema: str, *, concurrently: bool = False) -> None:
    """Drop an index if it is there.

    Args:
        conn: to the target database; in no transaction if ``concurrently``.
        name: of the index.
        schema: that it is in, see `state_of`.
        concurrently: let its table be written meanwhile.
    """
    statement = (
        "drop index concurrently if exists {}" if concurrently else "drop index if exists {}"
    )
    index = sql.Identifier(schema_in(conn, schema), name)
    driver_of(conn).execute(sql.SQL(statement).format(index))


def put_mark(conn: sa.Connection, index: SearchIndex) -> None:
    """Write down by which definition an index was built, and what a full-text index is about."""
    schema = index.schema_in(conn)
    mark = index.mark
    if index.reads == (SEARCH_TEXT,):
        mark += f"{NOTED}{corpus_statistics(conn, sql.Identifier(schema, index.table))}"
    comment = sql.SQL("comment on index {} is {}")
    name = sql.Identifier(schema, index.name)
    driver_of(conn).execute(comment.format(name, sql.Literal(mark)))


def rows_in(conn: sa.Connection, index: SearchIndex) -> int:
    """Count rows that an index serves, or would serve: those its condition holds for."""
    return measured(conn, replace(index, reads=()))[0]


def forecast_by_rate(index: SearchIndex, rows: int, column_bytes: int) -> IndexForecast:
    """Forecast a build from what `measured` returns."""
    if index.graph is None:
        return forecast_gin(rows, column_bytes)
    return forecast_graph(index.graph, rows)


def measured(conn: sa.Connection, index: SearchIndex) -> tuple[int, int]:
    """Return how many rows an index serves, and the bytes of their indexed values.

    Bytes as stored: compressed, and without reading values that are stored outside of their row.
    """
    table = sql.Identifier(index.schema_in(conn), index.table)
    size = (
        sql.SQL("sum(pg_column_size({}))").format(sql.Identifier(index.reads[0]))
        if (index.reads)
        else sql.SQL("null")
    )
    counted = (
        driver_of(conn)
        .execute(
            sql.SQL("select count(*), {} from {} where {}").format(size, table, index.condition)
        )
        .fetchone()
    )
    assert counted is not None
    return int(counted[0]), int(counted[1] or 0)
