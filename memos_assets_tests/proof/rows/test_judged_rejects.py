"""Each row in the rejects is judged by the proof: a false word of the loader turns V01 red."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets.consolidate.rejects import decisions
from memos_assets.consolidate.sources import layout as layout_of_kinds
from memos_assets.consolidate.sources.pins import Pin
from memos_assets.finding import Finding
from memos_assets.proof.expected import rejects
from memos_assets.sqlite.row_codec import row_bytes
from memos_assets_tests.consolidate import builders as b

V01 = "v01_row_counts_match"
SOURCE = "fanuc_robotics"
#: One fault each, of those that a row shows by itself.
FAULTY: dict[int, dict[str, object]] = {
    2: {"name": "a\0b"},
    3: {"attributes": '{"a": NaN}'},
    4: {"first_seen": "yesterday"},
    5: {"mention_count": "many"},
    6: {"id": None},
    7: {"id": "x" * 2_700},
}


def world(engine: sa.Engine, folder: Path) -> Pin:
    """Entities 1 and 8 are loaded, the others rejected, and so are relations 2 and 3."""
    return b.consolidate(
        engine,
        b.write_kind(
            folder / "data",
            "corpus",
            entities=[b.entity(n, **FAULTY.get(n, {})) for n in range(1, 9)],
            relations=[b.relation(1, 1, 8), b.relation(2, 1, 3), b.relation(3, "gone", 8)],
        ),
    )


def judged(engine: sa.Engine, table: str = "corpus_entities") -> Finding:
    return b.findings(engine, table)[V01]


def reject_all(engine: sa.Engine, pin: Pin, table: str, reason: str) -> None:
    """Take every row out of a table into the rejects, ledger and digests included."""
    origin = pin.kind.table(table).origin
    with closing(sqlite3.connect(pin.path)) as connection:
        cursor = connection.execute(f'select rowid, * from "{origin}" limit 0')
        columns = sorted(column[0] for column in cursor.description[1:])
        names = ", ".join(f'"{name}"' for name in columns)
        rows = connection.execute(f'select rowid, {names} from "{origin}"').fetchall()
    b.execute(engine, f"delete from memos.{table}")
    for rowid, *values in rows:
        b.execute(
            engine,
            "insert into memos_ops.rejects (source, table_name, source_rowid, chunk, key, reason, "
            "detail, row_digest, columns, row, run_id) values (:source, :table, :rowid, 0, '[1]', "
            ":reason, '', encode(sha256(:row), 'hex'), :columns, :row, 'run') "
            "on conflict do nothing",
            source=pin.source,
            table=table,
            rowid=rowid,
            reason=reason,
            columns=columns,
            row=row_bytes(values),
        )
    b.execute(
        engine,
        "update memos_ops.chunks set rows = 0, rejected = source_rows, without_embedding = '{}' "
        "where table_name = :table",
        table=table,
    )


@pytest.mark.smoke
def test_rows_with_a_fault_may_be_in_the_rejects(
    engine: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # They are read in pages, of which some end between two batches of the file.
    monkeypatch.setattr(rejects, "_PAGE", 2)
    pin = world(engine, tmp_path)
    assert [reason for _, reason in b.rejects(engine, "corpus_entities")] == [
        *("nul_character", "json_not_finite", "timestamp_unreadable", "wrong_type"),
        *("null_key", "key_too_long"),
    ]
    assert [reason for _, reason in b.rejects(engine, "corpus_relations")] == ["dangling_end"] * 2
    assert {place for place in b.red(engine, pin) if place[1] == V01} == set()
    assert judged(engine).observed == "2 loaded + 6 rejected"


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        ("json_malformed", "rejected as json_malformed, and it can be loaded as it is"),
        ("not_wanted", "rejected as not_wanted, and it can be loaded as it is"),
        ("duplicate_key", "rejected as duplicate_key, and it can be loaded as it is"),
    ],
)
def test_v01_row_counts_match_fails_when_a_whole_table_is_rejected_that_can_be_loaded(
    reason: str, why: str, engine: sa.Engine, tmp_path: Path
) -> None:
    pin = b.consolidate(
        engine,
        b.write_kind(tmp_path / "data", "corpus", entities=[b.entity(n) for n in range(1, 4)]),
    )
    reject_all(engine, pin, "corpus_entities", reason)
    finding = judged(engine)
    assert not finding.passed
    assert finding.observed == "0 loaded + 3 rejected, 3 faults"
    assert finding.evidence["faults"][0] == f"{SOURCE}: rejected wrongly: rowid 1 {why}"


@pytest.mark.parametrize(
    ("falsehood", "fault"),
    [
        (
            "reason = 'json_malformed' where source_rowid = 2 and table_name = 'corpus_entities'",
            (
                "rejected wrongly: rowid 2 rejected as json_malformed; it cannot be loaded for "
                "nul_character"
            ),
        ),
        (
            "reason = 'invented' where source_rowid = 4 and table_name = 'corpus_entities'",
            (
                "rejected wrongly: rowid 4 rejected as invented; it cannot be loaded for "
                "timestamp_unreadable"
            ),
        ),
        (
            "reason = 'dangling_end' where source_rowid = 7 and table_name = 'corpus_entities'",
            (
                "rejected wrongly: rowid 7 rejected as dangling_end; it cannot be loaded for "
                "key_too_long"
            ),
        ),
        (
            "resolution = 'drop' where source_rowid = 3 and table_name = 'corpus_entities'",
            "settled without a decision: rowid 3, as drop",
        ),
    ],
)
def test_v01_row_counts_match_fails_when_a_reject_has_another_reason(
    falsehood: str, fault: str, engine: sa.Engine, tmp_path: Path
) -> None:
    world(engine, tmp_path)
    b.execute(engine, f"update memos_ops.rejects set {falsehood}")
    finding = judged(engine)
    assert finding.observed == "2 loaded + 6 rejected, 1 faults"
    assert finding.evidence["faults"] == [f"{SOURCE}: {fault}"]


def test_v01_row_counts_match_fails_when_a_row_is_dropped_by_a_decision_about_another_reason(
    engine: sa.Engine, tmp_path: Path
) -> None:
    pin = world(engine, tmp_path)
    spec = pin.kind.table("corpus_entities")
    with engine.begin() as conn:
        decisions.decide(conn, spec, "nul_character", "replace_characters", source=None, by="me")
        decisions.decide(conn, spec, "wrong_type", "drop", source=None, by="me")
    b.load_stale(engine, pin)
    assert judged(engine).observed == "3 loaded + 5 rejected"
    b.execute(
        engine,
        "delete from memos.corpus_entities where source_rowid = 2",
        "update memos_ops.chunks set rows = rows - 1, rejected = rejected + 1 "
        "where table_name = 'corpus_entities'",
        "update memos_ops.rejects set resolution = 'drop' "
        "where source_rowid = 2 and table_name = 'corpus_entities'",
    )
    assert judged(engine).evidence["faults"] == [
        f"{SOURCE}: settled without a decision: rowid 2, as drop"
    ]


def test_v01_row_counts_match_fails_when_a_sound_row_is_said_to_be_repaired(
    engine: sa.Engine, tmp_path: Path
) -> None:
    pin = world(engine, tmp_path)
    spec = pin.kind.table("corpus_entities")
    with engine.begin() as conn:
        decisions.decide(conn, spec, "nul_character", "null_value", source=None, by="me")
    b.load_stale(engine, pin)
    reject_all(engine, pin, "corpus_entities", "nul_character")
    b.execute(
        engine,
        "update memos_ops.rejects set resolution = 'null_value' where source_rowid = 1",
    )
    assert f"{SOURCE}: rejected wrongly: rowid 1 rejected as nul_character, and it can be " in (
        " ".join(judged(engine).evidence["faults"])
    )


def test_v01_row_counts_match_fails_when_a_link_between_loaded_rows_is_rejected(
    engine: sa.Engine, tmp_path: Path
) -> None:
    pin = world(engine, tmp_path)
    reject_all(engine, pin, "corpus_relations", "dangling_end")
    finding = judged(engine, "corpus_relations")
    assert finding.observed == "0 loaded + 3 rejected, 1 faults"
    assert finding.evidence["faults"] == [
        (
            f"{SOURCE}: rejected wrongly: rowid 1 rejected as dangling_end, "
            "and it can be loaded as it is"
        )
    ]


def test_a_duplicate_key_is_one_where_another_row_of_the_key_is_loaded(
    engine: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only a file with a damaged index has such rows, and one is not easily made.
    monkeypatch.setattr(layout_of_kinds, "_has_unique_key", lambda *_: True)
    layout, name = b.LAYOUTS["corpus"]
    bare = [statement.replace("id TEXT PRIMARY KEY", "id TEXT") for statement in layout]
    rows = [b.entity(1), b.entity(2), b.entity(3, id="entity-1")]
    pin = b.consolidate(engine, b.write_file(tmp_path / "data" / name, bare, entities=rows))
    assert b.rejects(engine, "corpus_entities") == [(3, "duplicate_key")]
    assert judged(engine).passed
    reject_all(engine, pin, "corpus_entities", "duplicate_key")
    assert judged(engine).observed == "0 loaded + 3 rejected, 3 faults"


def test_v01_row_counts_match_fails_when_a_table_vanishes_from_what_the_pin_is_said_to_hold(
    engine: sa.Engine, tmp_path: Path
) -> None:
    world(engine, tmp_path)
    b.execute(
        engine,
        "update memos_ops.pins set rows = rows - 'entities'",
        "delete from memos_ops.rejects where table_name = 'corpus_entities'",
        "delete from memos_ops.chunks where table_name = 'corpus_entities'",
        "delete from memos.corpus_entities",
    )
    finding = judged(engine)
    assert finding.expected == "8 rows"
    assert (
        f"{SOURCE}: pin: entities: 8 rows in the pinned copy, no such table by memos_ops.pins"
        in (finding.evidence["faults"])
    )
