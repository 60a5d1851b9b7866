"""How the proof names a difference: the row by its key, the column, the place in the value."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS, tables
from memos_assets.catalog.columns import ColumnKind
from memos_assets.consolidate.decoding.values import DECODERS
from memos_assets.consolidate.sources.pins import Pin
from memos_assets.demo import corpus
from memos_assets.proof.expected.json_texts import jsonb_text
from memos_assets.proof.rows.compare import SourceProof, prove_table
from memos_assets_tests.consolidate import builders as b

CHUNK = 2_048


def proven(engine: sa.Engine, pin: Pin, table: str) -> SourceProof:
    with engine.connect() as conn:
        return prove_table(conn, MEMOS.table(table), pin)


def test_one_flipped_bit_among_100_000_vectors_is_found_and_named(
    engine: sa.Engine, tmp_path: Path
) -> None:
    path = b.write_kind(tmp_path / "data", "mixed_precision_embeddings")
    vectors = np.random.default_rng(7).standard_normal((100_000, 8)).astype("<f2")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            "insert into anchors (category, embedding, dimension) values (?, ?, 8)",
            ((f"category-{n}", row.tobytes()) for n, row in enumerate(vectors)),
        )
    pin = b.consolidate(engine, path)
    flipped = vectors[77_777].copy()
    flipped.view("<u2")[5] ^= 1 << 3
    b.execute(
        engine,
        "update memos.embedding_anchors set embedding = cast(:value as halfvec) "
        "where category = 'category-77777'",
        value=str(flipped.astype(float).tolist()),
    )
    proof = proven(engine, pin, "embedding_anchors")
    chunk = 77_778 // pin.chunk_rows
    assert proof.reread_chunks == [chunk]
    assert [number for number, (one, other) in proof.chunks.items() if one != other] == [chunk]
    assert len(proof.chunks) > 40
    here, there = (
        f"{float(vector[5])!r} (0x{int(vector.view('<u2')[5]):04x})"
        for vector in (vectors[77_777], flipped)
    )
    (named,) = proof.faults["differs"]
    assert named == (
        "category-77777 (rowid 77778) embedding: element 5 of 8 is "
        f"{here} in SQLite, {there} in PostgreSQL, bit 3"
    )


def test_only_the_chunks_that_differ_are_read_again(engine: sa.Engine, tmp_path: Path) -> None:
    rows = [b.memory(n, embedding=None) for n in (1, CHUNK, 2 * CHUNK, 3 * CHUNK)]
    pin = b.consolidate(engine, b.write_kind(tmp_path, "semantic_memory", memories=rows))
    b.execute(
        engine, f"update memos.semantic_memories set content = 'x' where source_rowid = {2 * CHUNK}"
    )
    proof = proven(engine, pin, "semantic_memories")
    assert proof.reread_chunks == [2]
    assert sorted(proof.chunks) == [0, 1, 2, 3]
    assert proof.source_digest != proof.target_digest


def test_a_row_in_another_chunk_is_missing_in_one_and_extra_in_the_other(
    engine: sa.Engine, tmp_path: Path
) -> None:
    rows = [b.memory(n, embedding=None) for n in (1, 2, CHUNK)]
    pin = b.consolidate(engine, b.write_kind(tmp_path, "semantic_memory", memories=rows))
    b.execute(engine, "update memos.semantic_memories set chunk = 1 where id = 'memory-2'")
    proof = proven(engine, pin, "semantic_memories")
    assert proof.reread_chunks == [0, 1]
    assert proof.faults["missing"] == ["memory-2 (rowid 2)"]
    assert proof.faults["extra"] == ["memory-2 (rowid 2)"]


@pytest.mark.parametrize(
    "spelt",
    [
        '{"b": 1, "aa": [1.0, {"z": null}], "a": "\\u00e4\\n\\u0001\\ud83d\\ude00/"}',
        '{"a": 1e-05, "b": 1.5e+300, "c": -2.5e-07, "text": "1e-05"}',
        '{"a":1,"b":2,  "long": "\\u007f\\"\\\\"}',
        '{"a": 0.10, "b": -0.0, "c": -0, "d": 1.50, "e": 1E5, "f": 1.0, "g": 1.50e1, "h": 1.2e-3}',
        "[0e5, 0.0e3, -0.00e1, 0e-3, 0.0e-3, -0e0, 1e+2, 100e-2, 123.4500e2, 1.0E+00003]",
        "[12345678901234567.0, 0.1000000000000000055511151231257827, -1e-400]",
        '{"b": {"z": 1.0, "a": [1e-05, -2.5e-07]}, "aa": "1e-05 \\ud83d\\ude00 \\u0001\\u007f"}',
        "[]",
        "{}",
        "null",
        '"1e-7 e+ e-"',
        "12345678901234567890123",
        "-0.5",
        "[1e400, 1e-400, -1.5E+308]",
        "100000000000000000000000000000.5",
        '{"b": [9007199254740993.5, true], "aa": 1.2345678901234567890e20, "\u00e4": "\u00e4"}',
        "[0.12345678901234567890123, -1.23456789012345678E-7]",
    ],
)
def test_json_is_spelt_as_jsonb_spells_it(spelt: str, engine: sa.Engine) -> None:
    with engine.connect() as conn:
        text = conn.execute(
            sa.text("select cast(cast(:spelt as jsonb) as text)"), {"spelt": spelt}
        ).scalar_one()
    assert jsonb_text(spelt) == text


@pytest.mark.parametrize(
    "lost",
    [
        '{"a": 1, "a": 1}',
        '[{"b": {"\\u00e9": 1, "é": 1}}]',
        '{"a": NaN}',
        '["\\u0000"]',
        '["\\ud83d"]',
        '{"\\udc00": 1}',
        "[1e99999]",
        f"[1e{'9' * 5_000}]",
        f"[{'1' * 4_301}]",
        "{'a': 1}",
        "[" * 100_000,
    ],
)
def test_json_that_jsonb_does_not_keep_has_no_spelling(lost: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  of any parser
        jsonb_text(lost)


def test_numbers_in_json_are_compared_digit_by_digit(engine: sa.Engine, tmp_path: Path) -> None:
    text = '{"a": 0.10, "b": -0.0, "c": 1E2, "d": 1, "e": 12345678901234567.8, "f": 1e400}'
    rows = [b.memory(1, embedding=None, attributes=text)]
    pin = b.consolidate(engine, b.write_kind(tmp_path, "semantic_memory", memories=rows))
    proof = proven(engine, pin, "semantic_memories")
    assert not proof.reread_chunks
    assert not proof.faults
    for key, other in (("d", "1.0"), ("e", "12345678901234567.9"), ("a", "0.1"), ("c", "100.0")):
        change = f"attributes = attributes || '{{\"{key}\": {other}}}'"
        b.execute(engine, f"update memos.semantic_memories set {change}")
        (named,) = proven(engine, pin, "semantic_memories").faults["differs"]
        assert named.startswith("memory-1 (rowid 1) attributes: from byte ")
        b.execute(engine, "delete from memos_ops.chunks")
        b.load_stale(engine, pin)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            "embedding = subvector(embedding, 1, 768), dimension = 768",
            "embedding: 1024 elements in SQLite, 768 in PostgreSQL",
        ),
        ("embedding = embedding + embedding", "; 1024 elements differ"),
        ("embedding = null, embedding_reason = 'zero'", "in SQLite, NULL in PostgreSQL"),
        ("access_count = access_count + 1", "access_count: from byte 7: 0x"),
    ],
)
def test_a_difference_says_where_in_the_value_it_is(
    change: str, fault: str, engine: sa.Engine, tmp_path: Path
) -> None:
    path = b.write_kind(tmp_path, "semantic_memory", memories=[b.memory(1), b.memory(2)])
    pin = b.consolidate(engine, path)
    b.execute(engine, f"update memos.semantic_memories set {change} where id = 'memory-1'")
    named = proven(engine, pin, "semantic_memories").faults["differs"]
    assert all(one.startswith("memory-1 (rowid 1) ") for one in named)
    assert any(fault in one for one in named), named


@pytest.mark.parametrize(
    ("kind", "read", "changes", "said"),
    [
        ("json", str, {"attributes": '{"a": 1, "a": 2}'}, "a key that is repeated"),
        (
            "iso_offset",
            lambda value: int(datetime.fromisoformat(value).timestamp() * 1_000_000),
            {"first_seen": "2025-12-20T08:00:00.1234567+00:00"},
            "finer than a microsecond",
        ),
        (
            "iso_offset",
            lambda value: int(datetime.fromisoformat(value).timestamp() * 1_000_000),
            {"first_seen": "2025-12-20x08:00:00+00:00"},
            "is not a time stamp",
        ),
        ("real", float, {"confidence": 2**53 + 1}, "float64 has no 9007199254740993"),
    ],
)
def test_the_proof_sees_for_itself_what_a_former_decoder_lost(
    kind: ColumnKind,
    read: Callable[[Any], Any],
    changes: dict[str, Any],
    said: str,
    engine: sa.Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layout = [statement.replace(" REAL", "") for statement in corpus.LAYOUT]
    path = b.write_file(
        tmp_path / "data" / "fanuc_robotics.db",
        layout,
        entities=[b.entity(1), b.entity(2, **changes)],
    )
    with monkeypatch.context() as former:
        former.setattr(tables, "DECODER_VERSION", 2)
        former.setitem(DECODERS, kind, replace(DECODERS[kind], value=read, column=None))
        pin = b.consolidate(engine, path)
        assert b.rejects(engine, "corpus_entities") == []
    (named,) = proven(engine, pin, "corpus_entities").faults["differs"][:1]
    assert named.startswith("rowid 2 cannot be loaded as it is: ")
    assert said in named
    assert b.load_stale(engine, pin)["corpus_entities"] == [0]
    assert [rowid for rowid, _ in b.rejects(engine, "corpus_entities")] == [2]
    assert not proven(engine, pin, "corpus_entities").faults
