"""V30: a reading that takes much of a table is red until so many were decided on."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.checklist import PROOF
from memos_assets.consolidate.loading import accepted
from memos_assets.consolidate.rejects import decisions
from memos_assets.consolidate.sources.pins import Pin
from memos_assets.errors import UsageError
from memos_assets.finding import Finding
from memos_assets_tests.consolidate import builders as b

V30 = "v30_no_reading_takes_much_of_a_table"
SOURCE = "mixed_precision_embeddings"
TABLE = MEMOS.table("embeddings")


def write(folder: Path, lost: int, rows: int = 60, **changes: Any) -> Path:
    changes = changes or {"dimension": "768 or so"}
    numbers = range(1, rows + 1)
    return b.write_kind(
        folder / "data",
        SOURCE,
        embeddings=[b.embedding(n, **(changes if n <= lost else {})) for n in numbers],
    )


def judged(engine: sa.Engine) -> Finding:
    return b.findings(engine, "embeddings")[V30]


@pytest.mark.parametrize(
    ("lost", "rows", "passed"),
    [(4, 20, True), (5, 100, True), (5, 60, False), (2, 2, False)],
    ids=["4 rows", "5 %", "5 rows and more than 5 %", "all"],
)
def test_v30_no_reading_takes_much_of_a_table_fails_where_embeddings_are_lost_to_it(
    lost: int, rows: int, *, passed: bool, engine: sa.Engine, tmp_path: Path
) -> None:
    b.consolidate(engine, write(tmp_path, lost, rows))
    finding = judged(engine)
    assert finding.passed is passed
    if not passed:
        assert finding.observed.startswith(
            f"1 wait: {SOURCE}: embedding wrong_length {lost} of {rows} ("
        )


def accept(engine: sa.Engine, count: int) -> None:
    with engine.begin() as conn:
        accepted.accept(
            conn, MEMOS, TABLE, "wrong_length", source=None, column=None, count=count, by="me"
        )


def test_v30_no_reading_takes_much_of_a_table_fails_when_more_are_lost_than_were_accepted(
    engine: sa.Engine, tmp_path: Path
) -> None:
    path = write(tmp_path, 5)
    b.consolidate(engine, path)
    with pytest.raises(UsageError, match=r"^M556 .*wrong_length: --count says 6, .*5"):
        accept(engine, 6)
    accept(engine, 5)
    finding = judged(engine)
    assert (finding.passed, finding.observed) == (True, "0 wait; 1 decided")
    b.change(path, "update embeddings set dimension = 5 where rowid = 9")
    b.consolidate(engine, path)
    assert judged(engine).observed == (
        f"1 wait: {SOURCE}: embedding wrong_length 6 of 60 (10.0%), decided on 5; 0 decided"
    )
    with engine.begin() as conn:
        assert accepted.withdraw(conn, TABLE, "wrong_length", source=None, column=None) == [
            (SOURCE, "embedding", 5)
        ]
    with engine.begin() as conn, pytest.raises(UsageError, match=r"^M557 "):
        accepted.withdraw(conn, TABLE, "wrong_length", source=None, column=None)
    with engine.begin() as conn, pytest.raises(UsageError, match=r"^M557 .*not_a_vector"):
        accepted.accept(
            conn, MEMOS, TABLE, "not_a_vector", source=None, column=None, count=1, by="me"
        )


def decide(engine: sa.Engine, pin: Pin, count: int | None = None) -> None:
    with engine.begin() as conn:
        decisions.decide(conn, TABLE, "json_malformed", "drop", source=None, by="me", count=count)
    b.load_stale(engine, pin)


def test_v30_no_reading_takes_much_of_a_table_fails_until_rows_are_decided_on_with_their_count(
    engine: sa.Engine, tmp_path: Path
) -> None:
    path = write(tmp_path, 5, metadata="{")
    pin = b.consolidate(engine, path)
    assert judged(engine).observed == (
        f"1 wait: {SOURCE}: json_malformed 5 of 60 rows (8.3%); 0 decided"
    )
    with pytest.raises(UsageError, match=r"^M556 "):
        decide(engine, pin, count=4)
    decide(engine, pin, count=5)
    assert judged(engine).passed
    # A decision of a former checkout states no count.
    b.execute(engine, "update memos_ops.repairs set rows = null")
    assert "decided without a count" in judged(engine).observed
    decide(engine, pin)
    b.change(path, "update embeddings set metadata = '[' where rowid = 60")
    b.consolidate(engine, path)
    assert "json_malformed 6 of 60 rows (10.0%), decided on 5" in judged(engine).observed


def test_facts_of_the_file_are_named_and_need_no_decision(
    engine: sa.Engine, tmp_path: Path
) -> None:
    b.consolidate(engine, write(tmp_path, 30, fp16_data=None))
    finding = judged(engine)
    assert finding.passed
    assert [(f["reason"], f["count"], f["of"]) for f in finding.evidence["facts"]] == [
        ("missing", 30, 60)
    ]


def test_a_retirement_waits_for_the_decision() -> None:
    """It refuses while a check of the proof is red on an asset of the source's kind."""
    (check,) = [check for check in PROOF if check.name == V30]
    assert check.severity == "error"
    assert {spec.name for spec in MEMOS.tables} == {
        subject.asset.rpartition("/")[2] for subject in check.subjects(MEMOS)
    }
