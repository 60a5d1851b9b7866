"""Ground truth of search: batches, ties, rejected rows, containment of JSON."""

import json
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.consolidate.sources.pins import Pin
from memos_assets.proof.search.queries import Query, choose
from memos_assets.proof.search.source_neighbours import compute_ground_truth
from memos_assets.proof.search.source_rows import Key, SourceRow, contains, source_rows
from memos_assets.search.exact import nearest_exact, nearest_in
from memos_assets_tests.consolidate import builders as b

SPEC = MEMOS.table("embeddings")
(VECTOR,) = SPEC.vectors
SOURCE = "mixed_precision_embeddings"


def rows_of(engine: sa.Engine, pin: Pin) -> list[SourceRow]:
    with engine.connect() as conn, source_rows(conn, SPEC, VECTOR, [pin]) as (reading,):
        return [row for batch in reading.batches() for row in batch]


def queries_of(engine: sa.Engine, pin: Pin) -> dict[int, list[Query]]:
    with engine.connect() as conn, source_rows(conn, SPEC, VECTOR, [pin]) as readings:
        return choose(readings, VECTOR.indexes(SPEC.name))


def test_rows_that_come_in_batches_have_the_same_neighbours_as_all_at_once() -> None:
    random = np.random.default_rng(3)
    vectors = random.standard_normal((500, 8)).astype(np.float32)
    vectors[7] = 0
    queries = random.standard_normal((5, 8))
    whole = nearest_exact(vectors, queries, 10)
    parts = nearest_in((vectors[i : i + 7] for i in range(0, 500, 7)), queries, 10)
    assert (whole.rows == parts.rows).all()
    assert np.allclose(whole.distances, parts.distances, atol=1e-15)
    lengths = np.linalg.norm(vectors.astype(float), axis=1) * np.linalg.norm(queries[0])
    with np.errstate(invalid="ignore"):
        plain = 1 - vectors @ queries[0] / lengths
    assert whole.rows[0].tolist() == np.argsort(plain)[:10].tolist()
    assert 7 not in whole.rows


@pytest.mark.parametrize(
    ("whole", "part", "expected"),
    [
        ({"a": 1, "b": [1, 2]}, {"a": 1}, True),
        ({"a": 1.0}, {"a": 1}, True),
        ({"a": True}, {"a": 1}, False),
        ({"a": 1}, {"a": True}, False),
        ({"a": "1"}, {"a": 1}, False),
        ({"a": {"b": 1, "c": 2}}, {"a": {"c": 2}}, True),
        ({"a": 1}, {"b": 1}, False),
        ({}, {}, True),
        ([], {}, False),
        (["x", "y"], ["y"], True),
        (["x"], ["y"], False),
        ([["x", "y"]], [["x"]], True),
        ([], [], True),
        (None, {}, False),
    ],
)
def test_json_contains_what_jsonb_says_it_contains(
    engine: sa.Engine, whole: object, part: object, *, expected: bool
) -> None:
    assert contains(whole, part) is expected
    ((said,),) = b.rows(
        engine,
        "select cast(:whole as jsonb) @> cast(:part as jsonb)",
        whole=json.dumps(whole),
        part=json.dumps(part),
    )
    assert said is expected


def test_search_need_not_find_rejected_rows(engine: sa.Engine, tmp_path: Path) -> None:
    pin = b.consolidate(
        engine,
        b.write_kind(
            tmp_path / "data",
            SOURCE,
            embeddings=[
                b.embedding(1),
                b.embedding(2, content="a\0b"),
                b.embedding(3, metadata="{"),
                b.embedding(4, fp16_data=bytes(2 * 768)),
                b.embedding(5, fp16_data=b"\0"),
            ],
        ),
    )
    found = {row.key: (row.dimension, row.reason) for row in rows_of(engine, pin)}
    assert found == {
        (SOURCE, "doc-1"): (768, None),
        (SOURCE, "doc-4"): (None, "zero"),
        (SOURCE, "doc-5"): (None, "wrong_length"),
    }


def test_a_row_that_a_rule_changed_is_filtered_by_what_it_became(
    engine: sa.Engine, tmp_path: Path
) -> None:
    path = b.write_kind(
        tmp_path / "data", SOURCE, embeddings=[b.embedding(1), b.embedding(2, metadata="{")]
    )
    pin = b.observe(engine, path)
    b.execute(
        engine,
        "insert into memos_ops.repairs (source, table_name, reason, rule, decided_by) "
        f"values ('{SOURCE}', 'embeddings', 'json_malformed', 'null_value', 'a test')",
    )
    b.load_stale(engine, pin)
    assert [row.json["metadata"] for row in rows_of(engine, pin)] == ['{"code_number": 1}', None]


def test_the_same_rows_give_the_same_queries(engine: sa.Engine, tmp_path: Path) -> None:
    rows = [b.embedding(n, metadata=json.dumps({"kind": "ab"[n % 2], "n": n})) for n in range(90)]
    pin = b.consolidate(engine, b.write_kind(tmp_path / "data", SOURCE, embeddings=rows))
    found, again = queries_of(engine, pin), queries_of(engine, pin)
    assert list(found) == [768]
    assert [query.text for query in found[768]] == [query.text for query in again[768]]
    assert len(found[768]) == 20
    assert len({query.text for query in found[768]}) == 20
    # Values that halfvec holds exactly, so that PostgreSQL searches for the same vector.
    for query in found[768]:
        assert (query.vector == query.vector.astype(np.float16)).all()
    filters = {query.filter_text for query in found[768]} - {"none"}
    (broad,) = filters & {'metadata {"kind": "a"}', 'metadata {"kind": "b"}'}
    (selective,) = filters - {broad}
    assert selective.startswith('metadata {"n": ')
    with engine.connect() as conn, source_rows(conn, SPEC, VECTOR, [pin]) as readings:
        returned = {768: [frozenset[Key]()] * 20}
        ground_truth = compute_ground_truth(readings, found, returned, 10).dimensions[768]
    matching = dict(zip((p.filter_text for p in found[768]), ground_truth.matching, strict=True))
    assert matching == {"none": 90, broad: 45, selective: 1}
    assert [len(near) for near in ground_truth.nearest] == [10] * 18 + [1] * 2


def test_ground_truth_reads_a_declared_encoding(
    engine: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMOS_ENCODINGS", "bge_m3_hybrid.documents.dense_embedding=float16")
    halves = [b.document(n, dense_embedding=b.float16(n, 1_024)) for n in range(1, 4)]
    pin = b.consolidate(engine, b.write_kind(tmp_path / "data", "hybrid", documents=halves))
    spec = MEMOS.table("hybrid_documents")
    with engine.connect() as conn, source_rows(conn, spec, spec.vectors[0], [pin]) as readings:
        found = choose(readings, spec.vector_indexes)
        rows = [row for batch in readings[0].batches() for row in batch]
    assert [row.dimension for row in rows] == [1_024] * 3
    assert list(found) == [1_024]


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
def test_embeddings_as_json_in_a_blob_are_counted_in_files_of_every_encoding(
    encoding: str, engine: sa.Engine, tmp_path: Path
) -> None:
    layout, name = b.LAYOUTS["meta_buffer"]
    pin = b.consolidate(
        engine,
        b.write_file(
            tmp_path / "data" / name,
            [f"pragma encoding = '{encoding}'", *layout],
            templates=[b.template(1), b.template(2, query_embedding=b"[]"), b.template(3)],
        ),
    )
    spec = MEMOS.table("thought_templates")
    (vector,) = spec.vectors
    with engine.connect() as conn, source_rows(conn, spec, vector, [pin]) as (reading,):
        assert [place for place in reading.dimensions() if place[1] > 1] == [(1, 768), (3, 768)]
