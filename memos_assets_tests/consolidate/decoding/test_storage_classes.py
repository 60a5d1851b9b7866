"""Values in columns whose declared type does not hold them to it: data frames, .recover, hands."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.consolidate.decoding.repair_rules import decode_with_rules
from memos_assets.consolidate.decoding.values import DECODERS
from memos_assets.consolidate.loading.dry_run import forecast_file
from memos_assets.demo import corpus, mixed, semantic
from memos_assets_tests.consolidate import builders as b
from memos_assets_tests.consolidate.deciding import decide

#: Declared so, SQLite keeps each value in the storage class in which it comes.
AFFINITIES = ("INTEGER", "REAL", "TIMESTAMP")
V02 = "v02_rows_match_bit_for_bit"


def without_affinity(layout: Sequence[str]) -> list[str]:
    made = []
    for statement in layout:
        for affinity in AFFINITIES:
            statement = statement.replace(f" {affinity}", "")
        made.append(statement)
    return made


def test_a_table_from_a_data_frame_is_loaded_whole(engine: sa.Engine, tmp_path: Path) -> None:
    rows = [b.embedding(n, dimension=768.0, zero_point=0.0) for n in range(1, 9)]
    rows += [b.embedding(9), b.embedding(10, dimension=768.5)]
    layout = without_affinity(mixed.LAYOUT)
    path = b.write_file(tmp_path / "data" / "mixed.db", layout, embeddings=rows)
    (forecast, *_) = forecast_file(b.only(path))
    assert forecast.integral_reals == {"dimension": 8}
    pin = b.observe(engine, path)
    ((_, counts),) = b.load(engine, pin, forecast.spec, b.stale(engine, pin, "embeddings"))
    assert counts.integral_reals == {"dimension": 8}
    assert b.rows(
        engine,
        "select source_rowid, dimension, embedding_reason from memos.embeddings "
        "where embedding_reason is not null or dimension is distinct from 768",
    ) == [(10, None, "wrong_length")]
    found = b.findings(engine, "embeddings")
    assert [name for name, finding in found.items() if not finding.passed] == []
    assert found[V02].evidence["reals_read_as_integers"] == {"mixed.dimension": 8}
    assert found["v03_derived_columns_recompute"].evidence["recomputed_rows"] == 9


def test_flags_and_counts_of_a_data_frame_are_integers(engine: sa.Engine, tmp_path: Path) -> None:
    path = b.write_file(
        tmp_path / "data" / "semantic_memory.db",
        without_affinity(semantic.LAYOUT),
        memories=[
            b.memory(1, access_count=3.0),
            b.memory(2, access_count=-0.0),
            b.memory(3, access_count=2.0**53),
            b.memory(4, access_count=2.0**53 + 2),
            b.memory(5, access_count="7"),
            b.memory(6, access_count=float("inf")),
        ],
        connections=[
            b.connection(1, 1, 2, bidirectional=1.0),
            b.connection(2, 2, 3, bidirectional=0.0),
            b.connection(3, 1, 3, bidirectional=2.0),
        ],
    )
    pin = b.consolidate(engine, path)
    assert b.rows(engine, "select access_count from memos.semantic_memories order by id") == [
        (3,),
        (0,),
        (2**53,),
    ]
    assert b.rejects(engine, "semantic_memories") == [(n, "wrong_type") for n in (4, 5, 6)]
    assert b.rows(
        engine,
        "select from_id, to_id, reversed from memos.semantic_links order by source_rowid, reversed",
    ) == [
        ("memory-1", "memory-2", False),
        ("memory-2", "memory-1", True),
        ("memory-2", "memory-3", False),
    ]
    assert b.rejects(engine, "semantic_links") == [(3, "wrong_type")]
    assert b.red(engine, pin) == {}


def test_an_integer_in_a_column_of_reals_is_kept_or_rejected(
    engine: sa.Engine, tmp_path: Path
) -> None:
    exact: list[Any] = [2**53, -(2**63), 2**60 + 2**8, 1, True, 5e-324, -0.0, float("-inf")]
    lost = [2**53 + 1, 2**63 - 1, 2**60 + 1]
    path = b.write_file(
        tmp_path / "data" / "fanuc_robotics.db",
        without_affinity(corpus.LAYOUT),
        entities=[b.entity(n, confidence=v) for n, v in enumerate([*exact, *lost])],
    )
    pin = b.consolidate(engine, path)
    found = b.rows(engine, "select confidence from memos.corpus_entities order by source_rowid")
    assert list(map(repr, (value for (value,) in found))) == list(map(repr, map(float, exact)))
    assert b.rejects(engine, "corpus_entities") == [(n, "integer_inexact") for n in (8, 9, 10)]
    assert b.red(engine, pin) == {}
    decide(engine, "corpus_entities", integer_inexact="round_number")
    b.load_stale(engine, pin)
    assert b.rows(
        engine,
        "select confidence from memos.corpus_entities where source_rowid > 7 order by source_rowid",
    ) == [(float(value),) for value in lost]
    assert b.red(engine, pin) == {}


@pytest.mark.parametrize(
    ("rule", "wanted"), [("keep_first", 1), ("keep_last", 4), ("keep_all", [1, 2, 3, 4])]
)
def test_keys_that_a_replacement_makes_equal_are_repeated(
    rule: str, wanted: object, engine: sa.Engine, tmp_path: Path
) -> None:
    text = r'{"\u0000": 1, "\ud800": 2, "\ufffd": 3, "\u0000": 4, "w": 1.50}'
    path = b.write_kind(
        tmp_path / "data", "corpus", entities=[b.entity(1, attributes=text), b.entity(2)]
    )
    pin = b.consolidate(engine, path)
    for reason, decided in (
        ("json_nul", "replace_characters"),
        ("json_surrogate", "replace_characters"),
        ("json_duplicate_key", rule),
    ):
        assert b.rejects(engine, "corpus_entities") == [(1, reason)]
        decide(engine, "corpus_entities", **{reason: decided})
        b.load_stale(engine, pin)
    (found, _) = b.rows(engine, "select attributes from memos.corpus_entities order by id")
    assert found == ({"\ufffd": wanted, "w": 1.5},)
    assert b.red(engine, pin) == {}


def test_lists_that_make_json_too_deep_leave_the_row_open() -> None:
    spec = MEMOS.table("corpus_entities")
    text = '{"a":0,"a":' * 300 + "1" + "}" * 300
    made, faults = decode_with_rules(
        spec,
        spec.column("attributes"),
        text,
        DECODERS["json"].value,
        {"json_duplicate_key": "keep_all"},
    )
    assert made is None
    assert [(fault.reason, fault.rule) for fault in faults] == [
        ("json_duplicate_key", "keep_all"),
        ("json_too_deep", None),
    ]
