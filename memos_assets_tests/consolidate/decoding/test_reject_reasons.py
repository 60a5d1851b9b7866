"""Every reason code occurs, on the row that deserves it, and costs no other row anything."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from memos_assets.consolidate.decoding.reject_reasons import EMBEDDING_REASONS, REJECT_REASONS
from memos_assets.settings import PROJECT_ROOT
from memos_assets_tests.consolidate import builders as b

#: Kind -> (SQLite table, target table, how a row of it is made)
TABLES: Mapping[str, tuple[str, str, Callable[..., dict[str, Any]]]] = {
    "mixed_precision_embeddings": ("embeddings", "embeddings", b.embedding),
    "hybrid": ("documents", "hybrid_documents", b.document),
    "corpus": ("entities", "corpus_entities", b.entity),
    "embedding_aggregator": ("domain_embeddings", "domain_embeddings", b.domain_embedding),
    "meta_buffer": ("templates", "thought_templates", b.template),
    "hyperbolic_embeddings": ("hyperbolic_documents", "hyperbolic_documents", b.node),
    "semantic_memory": ("memories", "semantic_memories", b.memory),
}
#: Reason, kind, and what is changed in a row of it to deserve the reason.
Case = tuple[str, str, dict[str, Any]]

MIXED, SEMANTIC, TEMPLATES = "mixed_precision_embeddings", "semantic_memory", "meta_buffer"


def raw(value: bytes) -> str:
    """Text of these bytes, as a row may hold them whatever their encoding."""
    return value.decode("utf-8", "surrogateescape")


REJECTED: tuple[Case, ...] = (
    ("null_key", MIXED, {"doc_id": None}),
    ("key_too_long", "hybrid", {"doc_id": "k" * 2_601}),
    ("key_too_long", "hybrid", {"doc_id": "\u00e9" * 1_300}),
    ("nul_character", MIXED, {"content": "ocr\0artefact"}),
    ("nul_character", MIXED, {"doc_id": "\0"}),
    ("nul_character", MIXED, {"metadata": '{"a": 1}\0'}),
    ("invalid_utf8", MIXED, {"content": raw(b"80 \xb0C")}),
    ("invalid_utf8", MIXED, {"content": raw(b"\xed\xa0\x80")}),
    ("invalid_utf8", MIXED, {"doc_id": raw(b"\xff")}),
    ("wrong_type", MIXED, {"content": b"bytes"}),
    ("wrong_type", MIXED, {"doc_id": b"doc-2"}),
    ("wrong_type", MIXED, {"metadata": b"{}"}),
    ("wrong_type", MIXED, {"created_at": 1766217600}),
    ("wrong_type", SEMANTIC, {"access_count": "many"}),
    ("wrong_type", SEMANTIC, {"access_count": 1.5}),
    ("wrong_type", SEMANTIC, {"created_at": "yesterday"}),
    ("wrong_type", "corpus", {"confidence": "high"}),
    ("wrong_type", "hyperbolic_embeddings", {"depth": b"\x00\x00"}),
    ("json_malformed", MIXED, {"metadata": "{'a': 1}"}),
    ("json_malformed", MIXED, {"metadata": ""}),
    ("json_malformed", MIXED, {"metadata": '{"a": "\x01"}'}),
    ("json_malformed", MIXED, {"metadata": "\ufeff{}"}),
    ("json_not_finite", MIXED, {"metadata": '{"a": NaN}'}),
    ("json_not_finite", MIXED, {"metadata": "[-Infinity]"}),
    ("json_nul", MIXED, {"metadata": json.dumps({"a": ["\0"]})}),
    ("json_nul", MIXED, {"metadata": json.dumps({"\0": 1})}),
    ("json_surrogate", MIXED, {"metadata": r'"\ud800"'}),
    ("json_surrogate", MIXED, {"metadata": r'{"\udc00": 1}'}),
    ("json_number", MIXED, {"metadata": "[1e99999]"}),
    ("json_number", MIXED, {"metadata": "[1e-99999]"}),
    ("json_number", MIXED, {"metadata": f"[{'9' * 5_000}]"}),
    ("json_number", MIXED, {"metadata": f"[0.{'1' * 17_000}]"}),
    ("json_number", MIXED, {"metadata": f"[0.{'1' * 9_000}e-9000]"}),
    ("json_number", MIXED, {"metadata": f"[1e{'9' * 5_000}]"}),
    ("json_duplicate_key", MIXED, {"metadata": '{"voltage":"3.3V","voltage":"5V"}'}),
    ("json_duplicate_key", MIXED, {"metadata": '{"a": 1, "a": 1}'}),
    ("json_duplicate_key", MIXED, {"metadata": '{"pin": {"gpio": 17, "gpio": 27}, "b": 1}'}),
    ("json_duplicate_key", MIXED, {"metadata": '[[{"k" :1,"k"\t:"2:3"}]]'}),
    ("json_duplicate_key", MIXED, {"metadata": '{"caf\\u00e9": 1, "caf\u00e9": 2}'}),
    ("json_duplicate_key", "corpus", {"aliases": '[{"": 1, "": 2}]'}),
    ("json_duplicate_key", "hybrid", {"sparse_vector": '{"servo": 1, "\\u0073ervo": 2}'}),
    ("json_nul", MIXED, {"metadata": '{"a": "\\u0000", "a": 1}'}),
    ("json_too_deep", MIXED, {"metadata": '{"a":' + "[" * 500 + "]" * 500 + ',"a":1}'}),
    ("json_too_deep", MIXED, {"metadata": "[" * 100_000 + "]" * 100_000}),
    ("json_too_deep", MIXED, {"metadata": "[" * 940 + r'"\u00e9"' + "]" * 940}),
    ("json_too_deep", MIXED, {"metadata": '{"a":' * 940 + "1" + "}" * 940}),
    ("json_too_long", MIXED, {"metadata": "[" + " " * 8_000_000 + "]"}),
    ("timestamp_unreadable", MIXED, {"created_at": "yesterday"}),
    ("timestamp_unreadable", MIXED, {"created_at": ""}),
    ("timestamp_unreadable", MIXED, {"created_at": "0001-01-01 00:00:00+10:00"}),
    *(
        ("timestamp_unreadable", MIXED, {"created_at": text})
        for text in (
            "2025-12-20x08:00:00",
            "2025-12-20t08:00:00z",
            "2025-12-20 08:00:00,5",
            "2025-12-20 08:00:00.",
            "2025-W51-6 08:00:00",
            "20251220T080000",
            "2025-12-20 24:00:00",
            "2025-12-20 08:00:60",
            "2025-12-20 08",
            "2025-12-20 8:00:00",
            "2025-12-20 08:00:00 UTC",
            "2025-12-20 08:00:00+24:00",
            "2025-12-20 08:00:00+00:00:00.5",
            "2025-12-20 08:00:00+05:3",
            "2025-12-20 08:00:00+05:99",
            " 2025-12-20 08:00:00",
            "2025-12-20 08:00:00\n",
            "\uff12\uff10\uff12\uff15-12-20 08:00:00",
            "2025-12-20 0\u0668:00:00",
            "2025-02-30 08:00:00",
            "2025-12-20 08:00Z:00",
            "9999-12-31 23:59:59-00:01",
            "now",
        )
    ),
    ("timestamp_unreadable", "corpus", {"first_seen": "20251220"}),
    ("timestamp_too_fine", MIXED, {"created_at": "2025-12-20 08:00:00.1234567"}),
    ("timestamp_too_fine", MIXED, {"created_at": "2025-12-20 08:00:00.0000000001+02:00"}),
    ("timestamp_too_fine", "corpus", {"first_seen": "2025-12-20T08:00:00.9999999+00:00"}),
    ("timestamp_unreadable", SEMANTIC, {"created_at": 1e300}),
    ("timestamp_unreadable", SEMANTIC, {"created_at": 1767002400123}),
    ("timestamp_unreadable", SEMANTIC, {"created_at": float("inf")}),
    ("timestamp_without_zone", "corpus", {"first_seen": "2025-12-20T08:00:00"}),
)


def not_finite(dim: int, dtype: str, value: float) -> bytes:
    vector = np.ones(dim, dtype)
    vector[dim // 2] = value
    return vector.tobytes()


def listed(*numbers: str, dim: int = 1_024) -> str:
    return f"[{', '.join([*numbers, *['0.5'] * (dim - len(numbers))])}]"


UNUSABLE: tuple[Case, ...] = (
    ("missing", MIXED, {"fp16_data": None}),
    ("missing", SEMANTIC, {"embedding": None}),
    ("empty", "hybrid", {"dense_embedding": b""}),
    ("empty", "embedding_aggregator", {"embedding": b""}),
    ("empty", SEMANTIC, {"embedding": "[]"}),
    ("empty", SEMANTIC, {"embedding": ""}),
    ("empty", TEMPLATES, {"query_embedding": b""}),
    ("zero", MIXED, {"fp16_data": bytes(2 * 768)}),
    ("zero", MIXED, {"fp16_data": b"\x00\x80" * 768}),
    ("zero", "hybrid", {"dense_embedding": bytes(4 * 1_024)}),
    ("zero", SEMANTIC, {"embedding": json.dumps([0] * 1_024)}),
    ("not_finite", MIXED, {"fp16_data": not_finite(768, "<f2", np.nan)}),
    ("not_finite", MIXED, {"fp16_data": not_finite(768, "<f2", -np.inf)}),
    ("not_finite", "corpus", {"embedding": not_finite(768, "<f4", np.nan)}),
    ("not_finite", SEMANTIC, {"embedding": listed("NaN")}),
    ("not_finite", SEMANTIC, {"embedding": listed("1e400")}),
    ("wrong_length", MIXED, {"dimension": 1_024}),
    ("wrong_length", MIXED, {"dimension": None}),
    ("wrong_length", MIXED, {"dimension": -1}),
    ("wrong_length", MIXED, {"dimension": 2**40}),
    ("wrong_length", MIXED, {"dimension": "768 or so"}),
    ("wrong_length", MIXED, {"fp16_data": b.float16(2)[:-1]}),
    ("wrong_length", "hybrid", {"dense_embedding": b.float32(2, 1_024)[:-2]}),
    ("unknown_dimension", "hybrid", {"dense_embedding": b.float32(2, 100)}),
    ("unknown_dimension", SEMANTIC, {"embedding": "[1, 2, 3]"}),
    ("unknown_dimension", MIXED, {"fp16_data": b.float16(2, 16_001), "dimension": 16_001}),
    ("out_of_range", SEMANTIC, {"embedding": listed("1e39")}),
    ("out_of_range", SEMANTIC, {"embedding": listed("9" * 400)}),
    ("out_of_range", TEMPLATES, {"query_embedding": listed("NaN", "1e39", dim=768).encode()}),
    ("out_of_range", SEMANTIC, {"embedding": json.dumps([1e-60] * 1_024)}),
    ("out_of_range", "hybrid", {"dense_embedding": (b.vector(2, 1_024) * 1e20).tobytes()}),
    ("out_of_range", "hybrid", {"dense_embedding": (b.vector(2, 1_024) * 1e-25).tobytes()}),
    ("out_of_range", "corpus", {"embedding": np.full(768, 1e-45, "<f4").tobytes()}),
    ("out_of_range", "corpus", {"embedding": not_finite(768, "<f4", 3e38)}),
    ("out_of_range", TEMPLATES, {"query_embedding": listed("2e19", dim=768).encode()}),
    ("not_a_vector", MIXED, {"fp16_data": "text"}),
    ("not_a_vector", "hybrid", {"dense_embedding": 5}),
    ("not_a_vector", SEMANTIC, {"embedding": "[1, 2"}),
    ("not_a_vector", SEMANTIC, {"embedding": '{"a": 1}'}),
    ("not_a_vector", SEMANTIC, {"embedding": "[true, 1]"}),
    ("not_a_vector", SEMANTIC, {"embedding": '["1"]'}),
    ("not_a_vector", SEMANTIC, {"embedding": "[" * 100_000}),
    ("not_a_vector", TEMPLATES, {"query_embedding": b.float32(2)}),
    ("not_a_vector", TEMPLATES, {"query_embedding": 7}),
)


#: Odd, and loaded with everything they hold.
ALLOWED: tuple[Case, ...] = (
    ("", MIXED, {"metadata": "null"}),
    ("", MIXED, {"metadata": None}),
    ("", MIXED, {"metadata": "[1e300, -0.0, 12345678901234567890, 1.50, 1E2, true]"}),
    ("", MIXED, {"metadata": '{"a": 1, "": {"a": {"a": "x\\":y"}, "\\u00e9": "\\ud83d\\ude00"}}'}),
    ("", MIXED, {"metadata": '[{"a": "b:c"}, {"a" : 1e00000000000000000002}]'}),
    ("", MIXED, {"metadata": '{"\\u00e9":' * 400 + "1" + "}" * 400}),
    ("", MIXED, {"metadata": " \t\n\r{} "}),
    ("", MIXED, {"doc_id": "k" * (2_600 - len(MIXED))}),
    ("", MIXED, {"doc_id": ""}),
    ("", MIXED, {"content": None}),
    ("", MIXED, {"content": "\x7f\u0001 \U0001f600"}),
    ("", MIXED, {"created_at": "2025-12-20"}),
    ("", MIXED, {"created_at": "2025-12-20 08:00"}),
    ("", MIXED, {"created_at": "2025-12-20 08:00:00.1234560000"}),
    ("", MIXED, {"created_at": "2025-12-20T08:00:00.1-00:00"}),
    ("", MIXED, {"created_at": "2025-12-20 08:00:00+05:30:15"}),
    ("", MIXED, {"created_at": "2025-12-20 08:00:00-0530"}),
    ("", MIXED, {"created_at": "2025-12-20 08:00:00Z"}),
    ("", MIXED, {"created_at": "0001-01-01 00:00:00-14:00"}),
    ("", MIXED, {"dimension": 768.0}),
    ("", "hybrid", {"dense_embedding": (b.vector(2, 1_024) * 1e-14).tobytes()}),
    ("", "hybrid", {"dense_embedding": (b.vector(2, 1_024) * 2e17).tobytes()}),
    ("", "hyperbolic_embeddings", {"hyperbolic_embedding": (b.vector(2) * 1e-25).tobytes()}),
    ("", MIXED, {"created_at": None}),
    ("", SEMANTIC, {"created_at": 1.5e-06}),
    ("", SEMANTIC, {"created_at": 2.5e-06}),
    ("", SEMANTIC, {"created_at": -62135596800}),
    ("", "hyperbolic_embeddings", {"depth": float("inf")}),
    ("", "corpus", {"attributes": '"text"'}),
)
CASES = (*REJECTED, *UNUSABLE, *ALLOWED)


def id_of(case: Case) -> str:
    reason, kind, changes = case
    (column, value), *_ = changes.items()
    return f"{reason or 'loaded'}-{kind}-{column}-{repr(value)[:20]}"


def rowid_of(case: Case) -> int:
    """Cases have even rowids; the rows between them are as memOS writes them."""
    return 2 * (CASES.index(case) + 1)


def write(folder: Path, kind: str) -> Path:
    """Write a file with every case of a kind; text is written by its bytes."""
    table, _, make = TABLES[kind]
    cases = [case for case in CASES if case[1] == kind]
    plain = [make(rowid_of(case) + step) for case in cases for step in (0, 1)]
    path = b.write_kind(folder, kind, **{table: plain})
    for case in cases:
        for column, value in case[2].items():
            is_text = isinstance(value, str)
            marked = "cast(? as text)" if is_text else "?"
            b.change(
                path,
                f"update {table} set {column} = {marked} where rowid = {rowid_of(case)}",
                parameters=[value.encode("utf-8", "surrogateescape") if is_text else value],
            )
    return path


@pytest.fixture(scope="module")
def world(shared_engine: sa.Engine, tmp_path_factory: pytest.TempPathFactory) -> sa.Engine:
    folder = tmp_path_factory.mktemp("reasons") / "data"
    for kind in TABLES:
        b.consolidate(shared_engine, write(folder, kind))
    return shared_engine


def loaded(world: sa.Engine, case: Case) -> list[tuple[Any, ...]]:
    """Return (reason, whether the embedding is NULL) of a case's row and of the row after it."""
    _, kind, _ = case
    return b.rows(
        world,
        f"select embedding_reason, embedding is null from memos.{TABLES[kind][1]} "
        "where source_rowid in (:rowid, :rowid + 1) order by source_rowid",
        rowid=rowid_of(case),
    )


def rejected(world: sa.Engine, kind: str) -> dict[int, str]:
    return dict(b.rejects(world, TABLES[kind][1]))


@pytest.mark.parametrize("case", REJECTED, ids=id_of)
def test_a_row_that_cannot_be_loaded_is_rejected_alone(case: Case, world: sa.Engine) -> None:
    reason, kind, _ = case
    assert rejected(world, kind)[rowid_of(case)] == reason
    assert loaded(world, case) == [(None, False)]


@pytest.mark.parametrize("case", UNUSABLE, ids=id_of)
def test_a_row_whose_embedding_is_unusable_is_loaded_with_the_reason(
    case: Case, world: sa.Engine
) -> None:
    reason, kind, _ = case
    assert loaded(world, case) == [(reason, True), (None, False)]
    assert rowid_of(case) not in rejected(world, kind)


@pytest.mark.parametrize("case", ALLOWED, ids=id_of)
def test_unusual_values_that_are_allowed_are_loaded(case: Case, world: sa.Engine) -> None:
    assert loaded(world, case) == [(None, False), (None, False)]


@pytest.mark.parametrize("kind", TABLES)
def test_nothing_else_is_rejected_and_the_checks_pass(kind: str, world: sa.Engine) -> None:
    wanted = {rowid_of(case) for case in REJECTED if case[1] == kind}
    assert set(rejected(world, kind)) == wanted
    found = b.findings(world, TABLES[kind][1])
    # The embedding was changed without the columns that memOS derives from it.
    # So many odd rows of one reason have to be decided on, too.
    expected = {
        *("v03_derived_columns_recompute", "v12_rejects_are_settled"),
        "v30_no_reading_takes_much_of_a_table",
    }
    red = {name: finding for name, finding in found.items() if not finding.passed}
    assert set(red) - expected == set(), red


def test_every_reason_is_in_one_of_these_tables() -> None:
    here = {reason for reason, *_ in REJECTED}
    # Two need more than one row, one a column without affinity: test_hostile.py, test_linked.py
    # and test_storage_classes.py.
    assert here | {"duplicate_key", "dangling_end", "integer_inexact"} == set(REJECT_REASONS)
    assert {reason for reason, *_ in UNUSABLE} == set(EMBEDDING_REASONS)


def test_every_reject_reason_that_the_code_names_is_described() -> None:
    folder = PROJECT_ROOT / "memos_assets" / "consolidate" / "decoding"
    named: set[str] = set()
    for module in folder.glob("*.py"):
        source = module.read_text(encoding="utf-8")
        named |= set(re.findall(r'(?:RejectedValue|Fault|reject)\((?:row,)?\s*"(\w+)"', source))
    assert named == set(REJECT_REASONS)
