"""The catalog's nearest and containment queries, against plain arithmetic."""

import json

import numpy as np
import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.indexes.build import ensure_index
from memos_assets.postgres.connection import driver_of
from memos_assets.search.queries import containing, nearest
from memos_assets_tests.indexes.rows import EVERY_INDEX, put, put_clusters, search_index, stored

# One per strategy: halfvec of a vector and as stored, sign bits of a halfvec and of a vector.
STRATEGIES = [
    "thought_templates_embedding_768_hnsw",
    "embeddings_embedding_1024_hnsw",
    "embeddings_embedding_4096_hnsw",
    "domain_embeddings_embedding_4096_hnsw",
]


@pytest.mark.parametrize("name", STRATEGIES)
def test_nearest_by_the_index_are_the_exact_neighbours(engine: sa.Engine, name: str) -> None:
    index = EVERY_INDEX[name]
    put_clusters(engine, index, clusters=8, each=25)
    ensure_index(engine, search_index(name), maintenance_work_mem_mb=64)
    found = stored(engine, index)
    assert found.vectors.shape == (200, index.dimension)
    random = np.random.default_rng(11)
    with engine.begin() as conn:
        driver = driver_of(conn)
        driver.execute("set local hnsw.ef_search = 400")
        driver.execute("set local enable_seqscan = off")
        for place in (0, 90, 199):
            query = found.vectors[place] + 0.1 * random.standard_normal(index.dimension)
            text = json.dumps(query.round(4).tolist())
            rows = driver.execute(
                nearest(MEMOS.table(index.table).as_table, index), {"embedding": text, "k": 10}
            ).fetchall()
            assert [row[-2] for row in rows] == found.nearest(np.array(json.loads(text)), 10)
            distances = [row[-1] for row in rows]
            assert distances == sorted(distances)
            assert 0 <= distances[0] < distances[-1] < 0.5


def test_rows_without_an_embedding_and_of_another_dimension_never_surface(
    engine: sa.Engine,
) -> None:
    index = EVERY_INDEX["semantic_memories_embedding_768_hnsw"]
    other = EVERY_INDEX["semantic_memories_embedding_1024_hnsw"]
    put(engine, index, [json.dumps([1.0, *[0.0] * 767]), None, None])
    put(engine, other, [json.dumps([1.0] * 1_024)])
    for is_built in (False, True):
        if is_built:
            for name in (index.name, other.name):
                ensure_index(engine, search_index(name), maintenance_work_mem_mb=64)
        with engine.begin() as conn:
            driver = driver_of(conn)
            if is_built:
                driver.execute("set local enable_seqscan = off")
            values = {"embedding": json.dumps([1.0] * 768), "k": 100}
            rows = driver.execute(
                nearest(MEMOS.table(index.table).as_table, index), values
            ).fetchall()
        assert [row[:2] for row in rows] == [("test", "r0")]


@pytest.mark.parametrize("size", [1e-9, 1e9])
def test_values_that_half_precision_does_not_hold_are_indexed_and_found(
    engine: sa.Engine, size: float
) -> None:
    index = EVERY_INDEX["thought_templates_embedding_768_hnsw"]
    random = np.random.default_rng(5)
    vectors = size * random.standard_normal((60, 768))
    put(engine, index, [json.dumps(vector.tolist()) for vector in vectors[:30]])
    ensure_index(engine, search_index(index.name), maintenance_work_mem_mb=64)
    put(engine, index, [json.dumps(vector.tolist()) for vector in vectors[30:]])
    found = stored(engine, index)
    with engine.begin() as conn:
        driver = driver_of(conn)
        driver.execute("set local enable_seqscan = off")
        for place in (3, 33):
            values = {"embedding": json.dumps(vectors[place].tolist()), "k": 10}
            rows = driver.execute(
                nearest(MEMOS.table(index.table).as_table, index), values
            ).fetchall()
            assert [row[-2] for row in rows] == found.nearest(vectors[place], 10)
            assert rows[0][-1] == pytest.approx(0, abs=1e-6)


def test_containment_finds_the_rows_that_hold_the_part(engine: sa.Engine) -> None:
    spec = MEMOS.table("thought_templates")
    with engine.begin() as conn:
        driver = driver_of(conn)
        for number, hints in enumerate(['{"a": 1, "b": 2}', '{"a": 2}', '["a"]', None]):
            driver.execute(
                "insert into memos.thought_templates (source, id, domain_hints, embedding_reason, "
                "chunk, source_rowid) values ('s', %s, %s, 'missing', 0, %s)",
                (f"r{number}", hints, number),
            )
        found = driver.execute(
            containing(spec.as_table, spec.column("domain_hints")), {"part": '{"a": 1}'}
        ).fetchall()
    assert found == [("s", "r0")]
