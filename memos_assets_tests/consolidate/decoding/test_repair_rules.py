"""Decisions about rejects determine the loaded values, and those that the proof expects."""

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.consolidate.decoding.reject_reasons import REJECT_REASONS
from memos_assets.consolidate.decoding.repair_rules import RULES, decode_with_rules, fitting_rules
from memos_assets.consolidate.decoding.values import DECODERS
from memos_assets.settings import PROJECT_ROOT
from memos_assets_tests.consolidate import builders as b
from memos_assets_tests.consolidate.deciding import (
    CORPUS,
    MIXED,
    NULL,
    REPLACE,
    SEMANTIC,
    TABLES_OF,
    decide,
    write,
)

#: Kind, reason, rule, column, stored value, what is loaded.
Case = tuple[str, str, str, str, Any, Any]

CASES: tuple[Case, ...] = (
    (MIXED, "nul_character", REPLACE, "content", "a\0b\0", "a\ufffdb\ufffd"),
    (MIXED, "nul_character", NULL, "content", "a\0b", None),
    (MIXED, "nul_character", REPLACE, "metadata", '{"a": "\0"}', {"a": "\ufffd"}),
    (MIXED, "nul_character", NULL, "created_at", "2025\0", None),
    (
        MIXED,
        "invalid_utf8",
        REPLACE,
        "content",
        "80 \udcb0C \udced\udca0",
        "80 \ufffdC \ufffd\ufffd",
    ),
    (MIXED, "invalid_utf8", NULL, "content", "\udcb0", None),
    (MIXED, "wrong_type", NULL, "content", b"bytes", None),
    (MIXED, "wrong_type", NULL, "metadata", b"{}", None),
    (MIXED, "wrong_type", NULL, "created_at", 1766217600, None),
    (CORPUS, "wrong_type", NULL, "confidence", "high", None),
    (SEMANTIC, "wrong_type", NULL, "access_count", 1.5, None),
    (SEMANTIC, "wrong_type", NULL, "created_at", "yesterday", None),
    ("hyperbolic_embeddings", "wrong_type", NULL, "depth", b"\0\0", None),
    (MIXED, "json_malformed", NULL, "metadata", "{'a': 1}", None),
    (MIXED, "json_number", NULL, "metadata", "[1e99999]", None),
    (MIXED, "json_number", NULL, "metadata", f"[{'9' * 5_000}]", None),
    (MIXED, "json_too_deep", NULL, "metadata", "[" * 500 + "]" * 500, None),
    (MIXED, "json_too_deep", NULL, "metadata", "[" * 100_000 + "]" * 100_000, None),
    (MIXED, "json_too_long", NULL, "metadata", "[" + " " * 8_000_000 + "]", None),
    (MIXED, "json_not_finite", NULL, "metadata", '{"a": NaN}', None),
    (
        MIXED,
        "json_not_finite",
        "null_numbers",
        "metadata",
        r'{"NaN": [NaN, -Infinity, "Infinity \" NaN"], "b": 0.10}',
        {"NaN": [None, None, 'Infinity " NaN'], "b": 0.1},
    ),
    (
        MIXED,
        "json_nul",
        REPLACE,
        "metadata",
        r'{"\u0000k": ["\\u0000 \u0000", "\u0001\ud83d\ude00"], "n": 12345678901234567890}',
        {"\ufffdk": ["\\u0000 \ufffd", "\u0001\U0001f600"], "n": 12345678901234567890},
    ),
    (
        MIXED,
        "json_nul",
        REPLACE,
        "metadata",
        r'{"\u0000": {"a": 2}, "b": [3]}',
        {"\ufffd": {"a": 2}, "b": [3]},
    ),
    (MIXED, "json_nul", NULL, "metadata", r'["\u0000"]', None),
    (
        MIXED,
        "json_surrogate",
        REPLACE,
        "metadata",
        r'{"\udc00": "\ud83d\ud83d\ude00 \\ud800 \uD800"}',
        {"\ufffd": "\ufffd\U0001f600 \\ud800 \ufffd"},
    ),
    (MIXED, "json_surrogate", NULL, "metadata", r'"\ud800"', None),
    (
        MIXED,
        "json_not_finite",
        "null_numbers",
        "metadata",
        '{"x": NaN, "id": 12345678901234567890123, "v": [1.10, 100.0, -0.0], "e": 1e400}',
        {"x": None, "id": 12345678901234567890123, "v": [1.1, 100.0, 0.0], "e": 10**400},
    ),
    *(
        (CORPUS, "json_duplicate_key", rule, "attributes", stored, wanted)
        for stored, *of in (
            ('{"v": "3.3V", "w": [1.10], "v": "5V"}', "3.3V", "5V", ["3.3V", "5V"]),
            (r'{"v": [1], "w": [1.10], "\u0076": null, "v": 1}', [1], 1, [[1], None, 1]),
        )
        for rule, value in zip(("keep_first", "keep_last", "keep_all"), of, strict=True)
        for wanted in [{"v": value, "w": [1.1]}]
    ),
    (
        CORPUS,
        "json_duplicate_key",
        "keep_all",
        "attributes",
        '[{"k": {"a": 1, "a": {"b": 2, "b": 3}}, "k": 0}]',
        [{"k": [{"a": [1, {"b": [2, 3]}]}, 0]}],
    ),
    ("hybrid", "json_duplicate_key", "keep_last", "sparse_vector", '{"1": 1, "1": 2}', {"1": 2}),
    (MIXED, "json_duplicate_key", NULL, "metadata", '{"a": 1, "a": 2}', None),
    ("hybrid", "json_not_finite", "null_numbers", "sparse_vector", '{"1": NaN}', {"1": None}),
    ("hybrid", "json_nul", NULL, "sparse_vector", r'{"\u0000": 1}', None),
    (MIXED, "timestamp_unreadable", NULL, "created_at", "yesterday", None),
    (SEMANTIC, "timestamp_unreadable", NULL, "created_at", 1e300, None),
    (SEMANTIC, "timestamp_unreadable", NULL, "created_at", 253402300800.0, None),
    *(
        (CORPUS, "timestamp_too_fine", rule, "first_seen", stored, wanted)
        for stored, cut, rounded in (
            ("2025-12-20T08:00:00.1234565+00:00", ".123456", ".123456"),
            ("2025-12-20T08:00:00.1234575+00:00", ".123457", ".123458"),
            ("2025-12-20T10:00:00.99999961+02:00", ".999999", None),
        )
        for rule, fraction in (("cut_fraction", cut), ("round_fraction", rounded))
        for wanted in [f"2025-12-20 08:00:0{'1' if fraction is None else '0' + fraction}+00:00"]
    ),
    (MIXED, "timestamp_too_fine", NULL, "created_at", "2025-12-20 08:00:00.1234567", None),
    (CORPUS, "timestamp_without_zone", NULL, "first_seen", "2025-12-20T08:00:00", None),
    (
        CORPUS,
        "timestamp_without_zone",
        "assume_utc",
        "first_seen",
        "2025-12-20T08:00:00.5",
        "2025-12-20 08:00:00.500000+00:00",
    ),
    (
        CORPUS,
        "timestamp_without_zone",
        "assume_utc",
        "first_seen",
        "2025-12-20",
        "2025-12-20 00:00:00+00:00",
    ),
)


@dataclass(slots=True)
class Batch:
    """Cases that one source can hold: no reason is decided in two ways."""

    kind: str
    source: str
    rules: dict[str, str] = field(default_factory=dict)
    cases: list[Case] = field(default_factory=list)

    def rowid(self, case: Case) -> int:
        return self.cases.index(case) + 2


def batches() -> list[Batch]:
    made: list[Batch] = []
    for case in CASES:
        kind, reason, rule, *_ = case
        fitting = (b for b in made if b.kind == kind and b.rules.get(reason, rule) == rule)
        batch = next(fitting, None)
        if batch is None:
            batch = Batch(kind, f"batch_{len(made)}")
            made.append(batch)
        batch.rules[reason] = rule
        batch.cases.append(case)
    return made


BATCHES = batches()


@pytest.fixture(scope="module")
def world(shared_engine: sa.Engine, tmp_path_factory: pytest.TempPathFactory) -> sa.Engine:
    """Load every batch, decide, and load again."""
    folder = tmp_path_factory.mktemp("rules")
    for batch in BATCHES:
        changes = [{column: stored} for _, _, _, column, stored, _ in batch.cases]
        path = write(folder / batch.source, batch.kind, *changes)
        path = path.rename(path.with_name(f"{batch.source}.db"))
        pin = b.consolidate(shared_engine, path)
        spec = MEMOS.table(TABLES_OF[batch.kind][1])
        decide(shared_engine, spec.name, batch.source, **batch.rules)
        assert b.load_stale(shared_engine, pin) == {spec.name: [0]}
        assert b.load_stale(shared_engine, pin) == {}
    return shared_engine


@pytest.mark.parametrize(
    "case", CASES, ids=[f"{c[1]}-{c[2]}-{c[0]}-{c[3]}-{i}" for i, c in enumerate(CASES)]
)
def test_a_rule_makes_of_a_value_what_it_says(case: Case, world: sa.Engine) -> None:
    kind, reason, rule, column, _, wanted = case
    batch = next(batch for batch in BATCHES if case in batch.cases)
    spec = MEMOS.table(TABLES_OF[kind][1])
    name = next(c.name for c in spec.columns if c.origin == column and not c.computed)
    where = "where source = :source and source_rowid = :rowid"
    place = {"source": batch.source, "rowid": batch.rowid(case)}
    ((loaded,),) = b.rows(world, f"select {name} from memos.{spec.name} {where}", **place)
    assert (str(loaded) if name == "first_seen" and loaded else loaded) == wanted
    assert b.rows(
        world,
        "select reason, resolution, encode(sha256(row), 'hex') = row_digest "
        f"from memos_ops.rejects {where}",
        **place,
    ) == [(reason, rule, True)]


@pytest.mark.parametrize("batch", BATCHES, ids=lambda batch: f"{batch.source}-{batch.kind}")
def test_the_ledger_counts_by_rule_and_keeps_what_was_decided(
    batch: Batch, world: sa.Engine
) -> None:
    assert b.rows(
        world,
        "select rows, rejected, repaired, rules from memos_ops.chunks "
        "where source = :source and source_rows > 0",
        source=batch.source,
    ) == [(len(batch.cases) + 1, 0, Counter(case[2] for case in batch.cases), batch.rules)]


@pytest.mark.parametrize("kind", TABLES_OF)
def test_the_proof_agrees_with_every_rule(kind: str, world: sa.Engine) -> None:
    found = b.findings(world, TABLES_OF[kind][1])
    assert {name: f.observed for name, f in found.items() if not f.passed} == {}


def test_every_reason_may_at_least_be_dropped_and_every_rule_fits_somewhere() -> None:
    fitting = {
        (spec.name, reason): fitting_rules(spec, reason)
        for spec in MEMOS.tables
        for reason in REJECT_REASONS
    }
    assert all("drop" in rules for rules in fitting.values())
    assert {rule for rules in fitting.values() for rule in rules} == set(RULES)
    assert fitting["corpus_chunks", "dangling_end"] == ("drop", "null_end")
    assert fitting["semantic_links", "dangling_end"] == ("drop",)
    assert fitting["hybrid_bm25_statistics", "json_nul"] == ("drop",)


def test_a_rule_leaves_the_rest_of_a_value_as_it_is_spelt() -> None:
    spec = MEMOS.table("embeddings")
    column = spec.column("metadata")
    text = r'{ "a" : [1.50, "\\u0000\u0000", "\u00e9"] }'
    made, faults = decode_with_rules(
        spec, column, text, DECODERS["json"].value, {"json_nul": REPLACE}
    )
    assert made == r'{ "a" : [1.50, "\\u0000\ufffd", "\u00e9"] }'
    assert [fault.rule for fault in faults] == [REPLACE]
    assert json.loads(made)["a"][1] == "\\u0000\ufffd"


def test_every_rule_is_in_the_docs() -> None:
    text = (PROJECT_ROOT / "docs" / "checklist.md").read_text("utf-8")
    for rule, meaning in RULES.items():
        assert re.search(rf"^\| `{rule}` \| .* \| {re.escape(meaning)} \|$", text, re.MULTILINE)
