"""V16, V17 and V18 on loaded files: green, and turned red when a search is broken."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.check import CheckContext
from memos_assets.consolidate.sources.pins import Pin
from memos_assets.finding import Finding
from memos_assets.indexes.build import ensure_index
from memos_assets.indexes.definitions import search_indexes
from memos_assets.proof.search.checks import CHECKS
from memos_assets.proof.search.measurement import tolerance
from memos_assets.search import api
from memos_assets.search.functions import install
from memos_assets.search.queries import SEARCH_SETTINGS
from memos_assets.settings import Settings
from memos_assets_tests.consolidate import builders as b
from memos_assets_tests.indexes.rows import search_index

V16, V17, V18 = (check.name for check in CHECKS)
SOURCE = "mixed_precision_embeddings"
HNSW = "embeddings_embedding_768_hnsw"
ZEROS = "('[' || repeat('0,', 767) || '0]')::halfvec"


def load(engine: sa.Engine, folder: Path, *numbers: int, **changes: Any) -> Pin:
    """Load one row per number, 3 with a zero vector, and build the indexes of the table."""
    rows = [b.embedding(number, **changes) for number in numbers]
    for row in rows:
        if row["rowid"] == 3:
            row["fp16_data"] = bytes(2 * 768)
    pin = b.consolidate(engine, b.write_kind(folder / "data", SOURCE, embeddings=rows))
    for index in search_indexes(MEMOS.table("embeddings").as_table):
        ensure_index(engine, index, maintenance_work_mem_mb=64)
    return pin


def judged(engine: sa.Engine, *tables: str) -> dict[tuple[str, str], Finding]:
    """Return (check, index) -> finding; the files of a table are read once."""
    context = CheckContext(engine, MEMOS, Settings())
    return {
        (check.name, subject.value[1]): check.judge(context, subject.value)
        for check in CHECKS
        for subject in check.subjects(MEMOS)
        if subject.value[0].name in tables
    }


def found(engine: sa.Engine, table: str = "embeddings", index: str = HNSW) -> dict[str, Finding]:
    """Return check -> finding about one index."""
    return {check: seen for (check, name), seen in judged(engine, table).items() if name == index}


def red(findings: Mapping[str, Finding]) -> list[str]:
    return [check for check, finding in findings.items() if not finding.passed]


def rebuilt(engine: sa.Engine, m: int, ef_construction: int) -> None:
    b.execute(
        engine,
        f"drop index memos.{HNSW}",
        f"create index {HNSW} on memos.embeddings using hnsw ((embedding::halfvec(768)) "
        f"halfvec_cosine_ops) with (m = {m}, ef_construction = {ef_construction}) "
        "where dimension = 768",
    )


def test_search_is_as_good_as_the_files_and_says_how_it_was_measured(
    engine: sa.Engine, tmp_path: Path
) -> None:
    pin = load(engine, tmp_path, *range(1, 61))
    findings = found(engine)
    assert red(findings) == []
    recall, distances, surfacing = (findings[name] for name in (V16, V17, V18))
    assert recall.expected == "recall@10 >= 0.99"
    assert recall.observed == "1.0000 over 20 queries on 59 rows"
    assert recall.evidence["settings"] == SEARCH_SETTINGS
    assert recall.evidence["pins"] == {SOURCE: pin.digest}
    assert recall.evidence["by_filter"][0]["filter"] == "none"
    assert {group["matching_rows"] for group in recall.evidence["by_filter"]} == {59, 1}
    assert len(recall.evidence["queries"]) == 20
    assert recall.evidence["queries"][0]["query"].startswith(f"near {SOURCE}/doc-")
    for way in ("search", "scan"):
        assert 0 < recall.evidence[f"{way}_p50_ms"] <= recall.evidence[f"{way}_p95_ms"]
    assert distances.evidence["compared"] > 160
    assert distances.evidence["worst_difference"] < tolerance(768) / 10
    assert surfacing.evidence["without_in_sqlite"] == {"zero": 1}
    assert surfacing.evidence["without_in_postgresql"] == {"zero": 1}
    assert surfacing.observed.endswith("59 embedded, all of them found by k = 201")
    json.dumps([finding.evidence for finding in findings.values()])


def test_an_index_without_rows_has_nothing_to_find(engine: sa.Engine, tmp_path: Path) -> None:
    load(engine, tmp_path, 1, 2)
    findings = found(engine, index="embeddings_embedding_4096_hnsw")
    assert red(findings) == []
    assert findings[V16].observed == "no rows"
    assert findings[V17].observed == "no rows"
    assert red(found(engine, "corpus_chunks", "corpus_chunks_embedding_768_hnsw")) == []


def test_no_row_that_cosine_cannot_compare_is_found(engine: sa.Engine, tmp_path: Path) -> None:
    # Of a norm near 32; pgvector's sum of squares leaves float32 at either end.
    scales = [1e20, 1e37, 2.0**59, 2.0**57, 1.0, 2.0**-54, 2.0**-56, 1e-25, 1e-40]
    made = [
        b.document(n, dense_embedding=(b.vector(n, 1_024) * np.float32(scale)).tobytes())
        for n, scale in enumerate([*scales, *[1.0] * 20], start=1)
    ]
    made.append(b.document(50, dense_embedding=np.full(1_024, 1e-45, "<f4").tobytes()))
    made.append(b.document(51, dense_embedding=np.eye(1, 1_024, dtype="<f4").tobytes()))
    made.append(b.document(52, dense_embedding=(3e38 * np.eye(1, 1_024)).astype("<f4").tobytes()))
    b.consolidate(engine, b.write_kind(tmp_path / "data", "hybrid", documents=made))
    spec = MEMOS.table("hybrid_documents")
    for index in search_indexes(spec.as_table):
        ensure_index(engine, index, maintenance_work_mem_mb=64)
    with engine.begin() as conn:
        install(conn, MEMOS.schema, [spec.as_table])
        outside = conn.execute(
            sa.text(
                "select source_rowid from memos.hybrid_documents where embedding is null "
                "and embedding_reason = 'out_of_range' and content is not null order by 1"
            )
        ).scalars()
        assert list(outside) == [1, 2, 3, 7, 8, 9, 50, 52]
        for n in (4, 5, 6, 10, 29):
            first, second = api.search(conn, spec.name, b.vector(n, 1_024), 2)
            assert first.key["doc_id"] == f"doc-{n}"
            assert first.distance is not None
            assert second.distance is not None
            assert first.distance < 1e-6 < 0.5 < second.distance < 1.5
    findings = found(engine, spec.name, "hybrid_documents_embedding_1024_hnsw")
    assert red(findings) == []
    assert findings[V18].evidence["without_in_sqlite"] == {"out_of_range": 8}


def test_of_rows_that_are_equally_near_any_is_right(engine: sa.Engine, tmp_path: Path) -> None:
    # memOS gives memories that share 500 leading characters one vector.
    twins = {"fp16_data": b.float16(1)}
    pin = load(engine, tmp_path, *range(1, 41), **twins)
    assert pin.rows["embeddings"] == 40
    findings = found(engine)
    assert red(findings) == []
    assert findings[V16].evidence["recall"] == 1


def test_rejected_rows_are_not_missed(engine: sa.Engine, tmp_path: Path) -> None:
    rows = [b.embedding(n, content="a\0b" if n % 2 else "text") for n in range(1, 31)]
    b.consolidate(engine, b.write_kind(tmp_path / "data", SOURCE, embeddings=rows))
    findings = found(engine)
    assert red(findings) == []
    assert findings[V16].evidence["rows"] == 15


def test_v16_recall_is_exact_enough_fails_when_the_graph_is_poor(
    engine: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(engine, tmp_path, *range(1, 301))
    assert red(found(engine)) == []
    rebuilt(engine, m=2, ef_construction=4)
    monkeypatch.setitem(SEARCH_SETTINGS, "hnsw.ef_search", "10")
    monkeypatch.setitem(SEARCH_SETTINGS, "hnsw.iterative_scan", "off")
    findings = found(engine)
    assert red(findings) == [V16]
    evidence = findings[V16].evidence
    assert evidence["recall"] < 0.9
    assert evidence["worst_query"] in findings[V16].observed
    worst = min(evidence["queries"], key=lambda query: query["recall"])
    wanted = min(10, worst["matching_rows"])
    assert len(evidence["missed"]) == round((1 - evidence["worst_recall"]) * wanted)
    assert evidence["missed"][0]["source"] == SOURCE
    assert evidence["missed"][0]["key"].startswith("doc-")


def test_v16_recall_is_exact_enough_fails_when_a_filter_leaves_fewer_than_there_are(
    engine: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(engine, tmp_path, *range(1, 301))
    b.execute(engine, "drop index memos.embeddings_metadata_gin")
    monkeypatch.setitem(SEARCH_SETTINGS, "hnsw.iterative_scan", "off")
    monkeypatch.setitem(SEARCH_SETTINGS, "hnsw.ef_search", "40")
    monkeypatch.setitem(SEARCH_SETTINGS, "enable_sort", "off")
    findings = found(engine)
    assert V16 in red(findings)
    groups = findings[V16].evidence["by_filter"]
    assert [g["recall"] for g in groups if g["filter"] == "none"] == [1.0]
    assert min(group["recall"] for group in groups) < 1


def test_v16_recall_is_exact_enough_fails_when_rows_are_gone(
    engine: sa.Engine, tmp_path: Path
) -> None:
    load(engine, tmp_path, *range(1, 31))
    b.execute(engine, "delete from memos.embeddings where doc_id in ('doc-7', 'doc-8')")
    findings = found(engine)
    assert red(findings) == [V16, V18]
    assert {row["key"] for row in findings[V16].evidence["missed"]} <= {"doc-7", "doc-8"}
    assert "29 embeddings in the files, 27 in PostgreSQL" in findings[V18].observed
    assert findings[V18].evidence["never_found"] == 2


def test_v16_recall_is_exact_enough_fails_when_the_table_is_empty(
    engine: sa.Engine, tmp_path: Path
) -> None:
    load(engine, tmp_path, *range(1, 6))
    b.execute(engine, "truncate memos.embeddings")
    findings = found(engine)
    assert V16 in red(findings)
    assert findings[V16].evidence["recall"] == 0


def test_v17_distances_match_the_source_fails_when_a_vector_is_another(
    engine: sa.Engine, tmp_path: Path
) -> None:
    load(engine, tmp_path, *range(10, 20))
    vector = b.vector(12).astype(np.float16)
    # The length is nothing to a cosine; V02 compares it.
    longer = json.dumps((2 * vector).astype(float).tolist())
    change = "update memos.embeddings set embedding = cast(:v as halfvec) where doc_id = 'doc-12'"
    b.execute(engine, change, v=longer)
    assert red(found(engine)) == []
    turned = vector.copy()
    turned[0] += 0.25
    b.execute(engine, change, v=json.dumps(turned.astype(float).tolist()))
    findings = found(engine)
    assert red(findings) == [V17]
    evidence = findings[V17].evidence
    assert evidence["worst_row"] == f"{SOURCE}/doc-12"
    assert tolerance(768) < evidence["worst_difference"] < 1e-3
    assert abs(evidence["distance"] - evidence["exact_distance"]) == evidence["worst_difference"]
    assert f"{SOURCE}/doc-12" in findings[V17].observed


def test_v18_zero_and_null_never_surface_fails_when_a_zero_vector_is_stored(
    engine: sa.Engine, tmp_path: Path
) -> None:
    load(engine, tmp_path, *range(1, 6))
    b.execute(
        engine,
        f"update memos.embeddings set embedding = {ZEROS}, embedding_reason = null "
        "where doc_id = 'doc-3'",
    )
    findings = found(engine)
    assert red(findings) == [V18]
    assert "1 zero vectors in PostgreSQL" in findings[V18].observed
    assert findings[V18].evidence["surfaced"] == 0
    # The index leaves it out; without one it is found, at no distance.
    b.execute(engine, f"drop index memos.{HNSW}")
    findings = found(engine)
    assert findings[V18].evidence["surfaced"] == 1
    assert f"zero: {SOURCE}/doc-3" in findings[V18].observed


def test_v18_zero_and_null_never_surface_fails_when_a_row_is_in_no_file(
    engine: sa.Engine, tmp_path: Path
) -> None:
    load(engine, tmp_path, *range(1, 6))
    b.execute(
        engine,
        "insert into memos.embeddings (source, doc_id, embedding, dimension, chunk, source_rowid) "
        "select source, 'from nowhere', embedding, dimension, 0, 99 from memos.embeddings "
        "where doc_id = 'doc-1'",
    )
    findings = found(engine)
    assert V18 in red(findings)
    assert f"no such embedding in the files: {SOURCE}/from nowhere" in findings[V18].observed


def test_v18_zero_and_null_never_surface_fails_when_the_index_lost_a_row(
    engine: sa.Engine, tmp_path: Path
) -> None:
    load(engine, tmp_path, *range(1, 41))
    ready = "update pg_index set indisready = {} where indexrelid = 'memos." + HNSW + "'::regclass"
    # As an update that the index did not see.
    b.execute(
        engine,
        ready.format("false"),
        "update memos.embeddings set content = 'moved' where doc_id in ('doc-8', 'doc-9')",
        ready.format("true"),
    )
    findings = found(engine)
    assert V18 in red(findings)
    assert findings[V18].evidence["never_found"] == 2
    assert f"never found: {SOURCE}/doc-8" in findings[V18].evidence["faults"]


def test_rows_that_state_a_dimension_and_have_no_embedding_pass_no_filter(
    engine: sa.Engine, tmp_path: Path
) -> None:
    load(engine, tmp_path, *range(1, 8), metadata='{"kind": "same"}')
    assert b.rows(engine, "select dimension from memos.embeddings where embedding is null") == [
        (768,)
    ]
    findings = found(engine)
    assert red(findings) == []
    groups = {g["filter"]: g["matching_rows"] for g in findings[V16].evidence["by_filter"]}
    assert groups == {"none": 6, 'metadata {"kind": "same"}': 6}


def test_every_table_of_the_samples_is_searched_as_exactly_as_its_files_say(
    engine: sa.Engine, samples: Path, tmp_path: Path
) -> None:
    shutil.copytree(samples, tmp_path / "data", copy_function=shutil.copyfile)
    for file in b.found(tmp_path / "data"):
        if file.treatment == "consolidate":
            b.consolidate(engine, file.path)
    searched = set()
    for spec in MEMOS.tables:
        for index in search_indexes(spec.as_table):
            if index.name in {one.name for one in spec.vector_indexes}:
                ensure_index(engine, search_index(index.name), maintenance_work_mem_mb=64)
    for (check, index_name), finding in judged(
        engine, *(spec.name for spec in MEMOS.tables)
    ).items():
        assert finding.passed, (check, index_name, finding.observed, finding.evidence)
        if check == V16 and finding.evidence["rows"]:
            searched.add(index_name)
    assert len(searched) > 7
