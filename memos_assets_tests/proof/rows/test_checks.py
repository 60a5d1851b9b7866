"""Each check of loaded rows, and the broken worlds in which it fails."""

import json
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from memos_assets.catalog import (
    MEMOS,
    TableSpec,
)
from memos_assets.consolidate.sources.pins import Pin
from memos_assets.finding import Finding
from memos_assets.proof.rows import checks
from memos_assets.proof.rows.checks import CHECKS
from memos_assets.proof.rows.compare import SourceProof, prove_table
from memos_assets_tests.consolidate import builders as b

V01 = "v01_row_counts_match"
V02 = "v02_rows_match_bit_for_bit"
V03 = "v03_derived_columns_recompute"
V04 = "v04_embedded_rows_match"
V10 = "v10_embeddings_are_indexed"
SOURCE = "mixed_precision_embeddings"


def zeroed(number: int) -> dict[str, object]:
    """The columns that memOS stores when the embedding service failed."""
    tiers = {"fp16_data": 2 * 768, "residual_data": 2 * 768, "int8_data": 768, "binary_data": 96}
    zeros = {column: bytes(size) for column, size in tiers.items()}
    return b.embedding(number) | zeros | {"scale": 1.0}


def world(engine: sa.Engine, folder: Path, **changes: object) -> Pin:
    """Five embeddings: 2 is a reject, 3 has no embedding; `changes` are made to number 4."""
    return b.consolidate(
        engine,
        b.write_kind(
            folder / "data",
            SOURCE,
            embeddings=[
                b.embedding(1),
                b.embedding(2, content="a\0b"),
                zeroed(3),
                b.embedding(4) | changes,
                b.embedding(5, dim=1_024),
            ],
            anchors=[b.anchor("servo")],
        ),
    )


def broken(engine: sa.Engine, check: str, *statements: str, **values: object) -> Finding:
    """Break the world by SQL and return the finding of a check."""
    b.execute(engine, *statements, **values)
    finding = b.findings(engine, "embeddings")[check]
    assert finding.passed is False
    return finding


@pytest.mark.smoke
def test_every_check_passes_in_an_untouched_world(engine: sa.Engine, tmp_path: Path) -> None:
    pin = world(engine, tmp_path)
    assert b.red(engine, pin) == {}
    found = b.findings(engine, "embeddings")
    seen = {name: (finding.expected, finding.observed) for name, finding in found.items()}
    expected = {
        V01: ("5 rows", "4 loaded + 1 rejected"),
        V02: ("4 rows equal on both sides", "digests equal"),
        V03: (
            "5 rows recomputed without a difference",
            "0 differ; 0 without a usable float16, not judged",
        ),
        V04: ("3 embeddings", "3 non-NULL and non-zero"),
        V10: ("0 embeddings of a dimension without an index", "0 without, 3 served"),
        "v12_rejects_are_settled": ("0 open", "1 open: nul_character 1; 0 dropped, 0 repaired"),
    }
    assert seen | expected == seen
    assert found[V04].evidence["null_by_reason"] == {"zero": 1}


def test_every_check_is_about_something() -> None:
    assert [check.label for check in CHECKS if not list(check.subjects(MEMOS))] == []


def test_every_check_passes_on_empty_files(engine: sa.Engine, tmp_path: Path) -> None:
    for kind in b.LAYOUTS:
        b.consolidate(engine, b.write_kind(tmp_path / "data", kind))
    for spec in MEMOS.tables:
        found = b.findings(engine, spec.name)
        assert {V01, V02} < set(found)
        assert all(finding.passed for finding in found.values())


def test_a_table_is_read_once_for_all_of_its_checks(
    engine: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world(engine, tmp_path)
    read: list[str] = []

    def counted(conn: sa.Connection, spec: TableSpec, pin: Pin) -> SourceProof:
        read.append(spec.name)
        return prove_table(conn, spec, pin)

    monkeypatch.setattr(checks, "prove_table", counted)
    b.findings(engine, "embeddings")
    assert read == ["embeddings"]


def test_v01_row_counts_match_fails_when_a_row_is_gone(engine: sa.Engine, tmp_path: Path) -> None:
    world(engine, tmp_path)
    finding = broken(engine, V01, "delete from memos.embeddings where doc_id = 'doc-4'")
    assert finding.expected == "5 rows"
    assert finding.observed == "3 loaded + 1 rejected, 2 faults"
    assert finding.evidence["faults"] == [
        f"{SOURCE}: missing: doc-4 (rowid 4)",
        f"{SOURCE}: ledger: {SOURCE}/000: 3 rows in PostgreSQL, the ledger says 4",
    ]


def test_v01_row_counts_match_fails_when_a_row_is_too_many(
    engine: sa.Engine, tmp_path: Path
) -> None:
    world(engine, tmp_path)
    finding = broken(
        engine,
        V01,
        "insert into memos.embeddings (source, doc_id, embedding_reason, chunk, source_rowid) "
        f"values ('{SOURCE}', 'extra', 'missing', 0, 99)",
    )
    assert finding.observed == "5 loaded + 1 rejected, 2 faults"
    assert finding.evidence["faults"] == [
        f"{SOURCE}: extra: extra (rowid 99)",
        f"{SOURCE}: ledger: {SOURCE}/000: 5 rows in PostgreSQL, the ledger says 4",
    ]


def test_v01_row_counts_match_fails_when_one_row_is_there_twice_and_another_is_not(
    engine: sa.Engine, tmp_path: Path
) -> None:
    world(engine, tmp_path)
    finding = broken(
        engine, V01, "update memos.embeddings set source_rowid = 1 where doc_id = 'doc-4'"
    )
    assert finding.observed == "4 loaded + 1 rejected, 2 faults"
    assert finding.evidence["faults"] == [
        f"{SOURCE}: missing: doc-4 (rowid 4)",
        f"{SOURCE}: extra: doc-4 (rowid 1)",
    ]


def test_v01_row_counts_match_fails_when_rows_belong_to_no_source(
    engine: sa.Engine, tmp_path: Path
) -> None:
    world(engine, tmp_path)
    finding = broken(engine, V01, "update memos_ops.sources set kind = 'hybrid'")
    assert finding.observed == "0 loaded + 0 rejected, 4 of no registered source"


REJECT = (
    "insert into memos_ops.rejects (source, table_name, source_rowid, chunk, key, reason, detail, "
    "row_digest, run_id, columns, row) select source, table_name, {}, chunk, key, reason, detail, "
    "row_digest, run_id, columns, row from memos_ops.rejects"
)


def test_v01_row_counts_match_fails_when_a_loaded_row_is_in_the_rejects(
    engine: sa.Engine, tmp_path: Path
) -> None:
    world(engine, tmp_path)
    finding = broken(engine, V01, REJECT.format(4))
    assert finding.observed == "4 loaded + 2 rejected, 2 faults"
    assert finding.evidence["faults"] == [
        f"{SOURCE}: rejected and loaded: doc-4 (rowid 4)",
        f"{SOURCE}: reject of another row: rowid 4",
    ]


def test_v01_row_counts_match_fails_when_a_reject_is_of_no_row(
    engine: sa.Engine, tmp_path: Path
) -> None:
    world(engine, tmp_path)
    finding = broken(engine, V01, "update memos_ops.rejects set source_rowid = 77")
    assert finding.evidence["faults"] == [
        f"{SOURCE}: missing: doc-2 (rowid 2)",
        f"{SOURCE}: reject of another row: rowid 77 is not in the source",
    ]


@pytest.mark.parametrize(
    "falsehood",
    [
        "update memos_ops.chunks set source_rows = 6, rows = 5",
        "update memos_ops.chunks set chunk = 7",
        "update memos_ops.chunks set rows = 5, rejected = 0",
        "delete from memos_ops.chunks",
    ],
)
def test_v01_row_counts_match_fails_when_the_ledger_is_falsified(
    falsehood: str, engine: sa.Engine, tmp_path: Path
) -> None:
    world(engine, tmp_path)
    finding = broken(engine, V01, f"{falsehood} where table_name = 'embeddings'")
    assert finding.observed.startswith("4 loaded + 1 rejected, ")
    faults = " ".join(finding.evidence["faults"])
    assert f"{SOURCE}: ledger: {SOURCE}/000: " in faults
    assert "rows, the ledger says " in faults or "rows in PostgreSQL, the ledger says " in faults


def test_v01_row_counts_match_fails_when_rows_name_another_chunk(
    engine: sa.Engine, tmp_path: Path
) -> None:
    world(engine, tmp_path)
    finding = broken(engine, V01, "update memos.embeddings set chunk = 1")
    assert f"{SOURCE}: ledger: {SOURCE}/001: 4 rows in PostgreSQL, the ledger says 0" in " ".join(
        finding.evidence["faults"]
    )


def test_v02_rows_match_bit_for_bit_fails_when_one_bit_of_a_vector_is_flipped(
    engine: sa.Engine, tmp_path: Path
) -> None:
    world(engine, tmp_path)
    wire = b.rows(engine, "select halfvec_send(embedding) from memos.embeddings where chunk = 0")
    value = bytearray(wire[0][0])
    value[4 + 2 * 100 + 1] ^= 1
    numbers = np.frombuffer(bytes(value[4:]), ">f2").astype(float).tolist()
    finding = broken(
        engine,
        V02,
        "update memos.embeddings set embedding = cast(:value as halfvec) where doc_id = 'doc-1'",
        value=json.dumps(numbers),
    )
    assert finding.expected == "4 rows equal on both sides"
    assert finding.observed == "digests differ, 1 values differ"
    (fault,) = finding.evidence["faults"]
    stored = int.from_bytes(value[4 + 200 : 4 + 202], "big")
    assert fault.startswith(f"{SOURCE}: differs: doc-1 (rowid 1) embedding: element 100 of 768 is ")
    assert f"(0x{stored ^ 1:04x}) in SQLite, " in fault
    assert fault.endswith(f"(0x{stored:04x}) in PostgreSQL, bit 0")


@pytest.mark.parametrize(
    ("column", "value", "fault"),
    [
        ("content", "'text 5'", "content: from byte 5: '4' in SQLite, '5' in PostgreSQL"),
        ("content", "null", "content: 'text 4' in SQLite, NULL in PostgreSQL"),
        ("metadata", """'{"code_number": 5}'""", "metadata: from byte"),
        ("metadata", """'{"code_number": true}'""", "metadata: from byte"),
        ("metadata", "null", "metadata: '{\"code_number\": 1}' in SQLite, NULL in PostgreSQL"),
        ("model", "'qwen3'", "model: NULL in SQLite, 'qwen3' in PostgreSQL"),
        ("created_at", "created_at + interval '1 microsecond'", "created_at: from byte 7: 0x"),
        ("doc_id", "'doc-44'", "doc_id: from byte 5: nothing in SQLite, '4' in PostgreSQL"),
    ],
)
def test_v02_rows_match_bit_for_bit_fails_when_a_value_is_another(
    column: str, value: str, fault: str, engine: sa.Engine, tmp_path: Path
) -> None:
    world(engine, tmp_path, metadata='{"code_number": 1}')
    with engine.begin() as conn:
        conn.exec_driver_sql(
            f"update memos.embeddings set {column} = {value} where source_rowid = 4"
        )
    finding = b.findings(engine, "embeddings")[V02]
    assert finding.passed is False
    assert finding.observed == "digests differ, 1 values differ"
    (named,) = finding.evidence["faults"]
    assert named.startswith(f"{SOURCE}: differs: doc-4 (rowid 4) {fault}")


def test_v02_rows_match_bit_for_bit_fails_when_a_row_is_too_many(
    engine: sa.Engine, tmp_path: Path
) -> None:
    world(engine, tmp_path)
    finding = broken(
        engine,
        V02,
        "insert into memos.embeddings (source, doc_id, embedding_reason, chunk, source_rowid) "
        f"values ('{SOURCE}', 'extra', 'missing', 0, 99)",
    )
    assert finding.observed == "digests differ, 0 values differ"
    assert finding.evidence["faults"] == [f"{SOURCE}: extra: extra (rowid 99)"]


def test_json_may_be_spelled_as_jsonb_does(engine: sa.Engine, tmp_path: Path) -> None:
    world(engine, tmp_path, metadata='{"b": 1.50, "a": [1e2, true, "\\u00e9"]}')
    assert b.rows(
        engine, "select cast(metadata as text) from memos.embeddings where source_rowid = 4"
    ) == [('{"a": [100, true, "\u00e9"], "b": 1.50}',)]
    assert b.findings(engine, "embeddings")[V02].passed


def flipped(column: str) -> dict[str, object]:
    row = b.embedding(4)
    value = bytearray(row[column])
    value[1] ^= 1
    return {column: bytes(value)}


def test_v02_rows_match_bit_for_bit_fails_when_words_for_search_are_not_of_the_text(
    engine: sa.Engine, tmp_path: Path
) -> None:
    """Put there by another function for a moment: the shape is that of before."""
    world(engine, tmp_path)
    ((body,),) = b.rows(
        engine, "select pg_get_functiondef('memos.search_document(text, integer)'::regprocedure)"
    )
    other = (
        "create or replace function memos.search_document(value text, most integer) returns "
        "tsvector language sql immutable as 'select null::tsvector'"
    )
    touch = "update memos.embeddings set content = content where doc_id = 'doc-4'"
    finding = broken(engine, V02, other, touch, body.replace(":", "\\:"))
    assert finding.observed == "digests equal, 1 rows with other words for search"
    assert finding.evidence["faults"] == [f"{SOURCE}: differs: rowid 4 search_text"]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (flipped("int8_data"), "rowid 4 int8_data: expected 768 bytes, at 1: "),
        (flipped("binary_data"), "rowid 4 binary_data: expected 96 bytes, at 1: "),
        (flipped("residual_data"), "rowid 4 residual_data: expected 1536 bytes, at 1: "),
        (flipped("scale"), "rowid 4 scale: expected "),
        ({"scale": 0.5}, "rowid 4 scale: expected "),
        ({"scale": None}, "rowid 4 scale: expected "),
        ({"zero_point": 1}, "rowid 4 zero_point: expected 0, observed 1"),
        ({"int8_data": None}, "rowid 4 int8_data: expected 768 bytes, at 0: "),
        ({"binary_data": b"short"}, "rowid 4 binary_data: expected 96 bytes, at "),
    ],
    ids=lambda value: str(value)[:24],
)
def test_v03_derived_columns_recompute_fails_when_one_is_another(
    changes: dict[str, object], fault: str, engine: sa.Engine, tmp_path: Path
) -> None:
    b.consolidate(
        engine,
        b.write_kind(
            tmp_path / "data", SOURCE, embeddings=[b.embedding(1), b.embedding(4) | changes]
        ),
    )
    finding = b.findings(engine, "embeddings")[V03]
    assert finding.passed is False
    assert finding.expected == "2 rows recomputed without a difference"
    assert finding.observed == "1 differ; 0 without a usable float16, not judged"
    (named,) = finding.evidence["faults"]
    assert named.startswith(fault)


def test_derived_columns_may_come_from_either_numpy_and_lack_the_residual(
    engine: sa.Engine, tmp_path: Path
) -> None:
    four, six = (np.abs(b.vector(number).astype(np.float16)).max() for number in (4, 6))
    pin = b.consolidate(
        engine,
        b.write_kind(
            tmp_path / "data",
            SOURCE,
            embeddings=[
                b.embedding(1, residual_data=None),
                b.embedding(4, scale=float(np.float64(four) / 127.0)),
                b.embedding(6, scale=float(six / np.float16(127.0))),
                b.embedding(7, fp16_data=None),
            ],
        ),
    )
    finding = b.all_findings(engine, pin)["embeddings", V03]
    assert finding.observed == (
        "0 differ; 1 without a usable float16, not judged, 1 of them with derived values that the "
        "file alone holds"
    )
    assert finding.passed


def test_v04_embedded_rows_match_fails_when_embeddings_are_nulled_with_a_reason(
    engine: sa.Engine, tmp_path: Path
) -> None:
    world(engine, tmp_path)
    finding = broken(
        engine, V04, "update memos.embeddings set embedding = null, embedding_reason = 'missing'"
    )
    assert finding.expected == "3 embeddings"
    assert finding.observed == "0 non-NULL and non-zero"
    assert finding.evidence["null_by_reason"] == {"missing": 4}


def test_v04_embedded_rows_match_fails_when_an_embedding_is_zeroed(
    engine: sa.Engine, tmp_path: Path
) -> None:
    world(engine, tmp_path)
    zeros = json.dumps([0] * 768)
    finding = broken(
        engine,
        V04,
        "update memos.embeddings set embedding = cast(:zeros as halfvec) where doc_id = 'doc-4'",
        zeros=zeros,
    )
    assert finding.observed == "2 non-NULL and non-zero"


def test_v04_embedded_rows_match_fails_when_a_row_is_gone(
    engine: sa.Engine, tmp_path: Path
) -> None:
    world(engine, tmp_path)
    finding = broken(engine, V04, "delete from memos.embeddings where doc_id = 'doc-4'")
    assert (finding.expected, finding.observed) == ("3 embeddings", "2 non-NULL and non-zero")


def test_v10_embeddings_are_indexed_fails_when_a_dimension_has_no_index(
    engine: sa.Engine, tmp_path: Path
) -> None:
    world(engine, tmp_path, **b.embedding(4, dim=512))
    finding = b.findings(engine, "embeddings")[V10]
    assert finding.passed is False
    assert finding.expected == "0 embeddings of a dimension without an index"
    assert finding.observed == "1 without, 2 served"
    assert finding.evidence["without_index"] == {"embedding 512": 1}
