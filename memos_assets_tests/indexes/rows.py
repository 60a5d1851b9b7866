"""Rows with clustered embeddings, written straight into a table."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
import sqlalchemy as sa
from psycopg import sql

from memos_assets.catalog import (
    MEMOS,
    TableSpec,
    VectorIndex,
)
from memos_assets.indexes.definitions import SearchIndex, search_indexes
from memos_assets.postgres.connection import driver_of
from memos_assets.postgres.copy.arrow_schema import table_schema
from memos_assets.postgres.copy.decode import read_batches
from memos_assets.postgres.schema.consolidated import table_of

EVERY_INDEX = {index.name: index for spec in MEMOS.tables for index in spec.vector_indexes}


@dataclass(frozen=True, slots=True)
class Stored:
    """Embeddings as PostgreSQL holds them; ``vectors`` has shape (n, dimension), float64."""

    names: Sequence[str]
    vectors: npt.NDArray[np.float64]

    def nearest(self, query: npt.NDArray[np.float64], k: int) -> list[str]:
        """Return the k nearest by cosine distance, nearest first, by plain arithmetic."""
        lengths = np.linalg.norm(self.vectors, axis=1) * np.linalg.norm(query)
        distances = 1 - self.vectors @ query / lengths
        return [self.names[place] for place in np.argsort(distances)[:k]]


def search_index(name: str) -> SearchIndex:
    """Return an index of the catalog by name."""
    return next(
        index
        for spec in MEMOS.tables
        for index in search_indexes(spec.as_table)
        if index.name == name
    )


def name_column(spec: TableSpec) -> str:
    """Return the last column of a table's key, which tells test rows apart."""
    return spec.key[-1]


def put_clusters(
    engine: sa.Engine, index: VectorIndex, *, clusters: int = 10, each: int = 30, seed: int = 7
) -> None:
    """Insert clustered rows of one dimension, and rows without an embedding for two reasons."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((clusters, index.dimension))
    vectors = np.repeat(centres, each, axis=0)
    vectors += 0.5 * random.standard_normal(vectors.shape)
    texts: list[str | None] = [json.dumps(row.round(3).tolist()) for row in vectors]
    put(engine, index, [*texts, None, None])


def put(engine: sa.Engine, index: VectorIndex, texts: Sequence[str | None]) -> None:
    """Insert one row per embedding in pgvector's text form; None is a row without one."""
    spec = MEMOS.table(index.table)
    vector = next(vector for vector in spec.vectors if vector.name == index.column)
    others = [v for v in spec.vectors if v is not vector]
    columns = ["source", *spec.key, vector.name, vector.dimension_name, vector.reason_name]
    columns += [v.reason_name for v in others]
    columns += ["chunk", "source_rowid"]
    statement = sql.SQL("copy {} ({}) from stdin").format(
        sql.Identifier("memos", spec.name), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with engine.begin() as conn, driver_of(conn).cursor() as cursor:
        start = _count(cursor, spec)
        with cursor.copy(statement) as copy:
            for number, text in enumerate(texts, start):
                dimension = None if text is None else index.dimension
                reason = ["zero", "missing"][number % 2] if text is None else None
                row: list[Any] = ["test", *[f"r{number}"] * len(spec.key), text, dimension, reason]
                copy.write_row([*row, *["missing"] * len(others), 0, number])
        cursor.execute("select pg_stat_force_next_flush()")


def _count(cursor: psycopg.Cursor, spec: TableSpec) -> int:
    counted = cursor.execute(
        sql.SQL("select count(*) from {}").format(sql.Identifier("memos", spec.name))
    ).fetchone()
    assert counted is not None
    return int(counted[0])


def stored(engine: sa.Engine, index: VectorIndex) -> Stored:
    """Read the embeddings of an index's dimension back from PostgreSQL."""
    spec = MEMOS.table(index.table)
    schema = table_schema(spec)
    query = sql.SQL("select {} from {}").format(
        sql.SQL(", ").join(map(sql.Identifier, schema.names)), sql.Identifier("memos", spec.name)
    )
    names: list[str] = []
    vectors: list[npt.NDArray[np.float64]] = []
    with engine.begin() as conn:
        driver = driver_of(conn)
        for batch in read_batches(driver, query, schema):
            column = batch.column(index.column)
            for place, name in enumerate(batch.column(name_column(spec)).to_pylist()):
                if column[place].is_valid and len(column[place]) == index.dimension:
                    names.append(name)
                    values = column[place].values.to_numpy(zero_copy_only=False)
                    vectors.append(values.astype(np.float64))
    return Stored(names, np.array(vectors))


def put_texts(engine: sa.Engine, table: str, texts: Mapping[str, str]) -> None:
    """Insert one row per text, without an embedding; its key is the text's name."""
    spec = MEMOS.table(table)
    rows = [
        {
            "source": "test",
            spec.key[-1]: name,
            spec.texts[-1]: text,
            "embedding_reason": "missing",
            "chunk": 0,
            "source_rowid": 1_000_000 + number,
        }
        for number, (name, text) in enumerate(texts.items())
    ]
    with engine.begin() as conn:
        conn.execute(sa.insert(table_of(MEMOS.table(table))), rows)
