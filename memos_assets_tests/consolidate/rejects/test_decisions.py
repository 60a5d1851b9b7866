"""A decision about rejects is followed, survives, and can be taken back."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.consolidate.loading import ledger
from memos_assets.consolidate.loading.reload import Reload
from memos_assets.errors import UsageError
from memos_assets_tests.consolidate import builders as b
from memos_assets_tests.consolidate.deciding import (
    CORPUS,
    MIXED,
    NULL,
    REPLACE,
    SEMANTIC,
    decide,
    settled,
    withdraw,
    write,
)


def test_a_dropped_row_stays_out_and_is_settled(engine: sa.Engine, tmp_path: Path) -> None:
    path = write(tmp_path / "data", MIXED, {"doc_id": None}, {"content": "a\0"})
    b.consolidate(engine, path)
    decide(engine, "embeddings", null_key="drop")
    pin = b.consolidate(engine, path)
    assert settled(engine, "embeddings") == [(2, "null_key", "drop"), (3, "nul_character", None)]
    assert b.rows(
        engine, "select rows, rejected, repaired from memos_ops.chunks where rejected > 0"
    ) == [(1, 2, {})]
    red = b.red(engine, pin)
    assert set(red) == set()


def test_a_row_with_two_faults_needs_a_rule_for_each(engine: sa.Engine, tmp_path: Path) -> None:
    path = write(tmp_path / "data", MIXED, {"content": "a\0", "metadata": "{", "created_at": "\0"})
    b.consolidate(engine, path)
    assert settled(engine, "embeddings") == [(2, "nul_character", None)]
    decide(engine, "embeddings", nul_character=REPLACE)
    b.consolidate(engine, path)
    # It goes by what is still open.
    assert settled(engine, "embeddings") == [(2, "json_malformed", None)]
    decide(engine, "embeddings", json_malformed=NULL)
    b.consolidate(engine, path)
    assert settled(engine, "embeddings") == [(2, "timestamp_unreadable", None)]
    decide(engine, "embeddings", timestamp_unreadable=NULL)
    pin = b.consolidate(engine, path)
    assert settled(engine, "embeddings") == [(2, "nul_character", "replace_characters+null_value")]
    assert b.rows(
        engine, "select content, metadata, created_at from memos.embeddings where source_rowid = 2"
    ) == [("a\ufffd", None, None)]
    assert b.red(engine, pin) == {}
    withdraw(engine, "embeddings", "json_malformed")
    pin = b.consolidate(engine, path)
    assert settled(engine, "embeddings") == [(2, "json_malformed", None)]
    decide(engine, "embeddings", json_malformed="drop")
    pin = b.consolidate(engine, path)
    assert settled(engine, "embeddings") == [(2, "nul_character", "drop")]
    assert b.red(engine, pin) == {}


def test_a_withdrawn_decision_opens_the_row_again(engine: sa.Engine, tmp_path: Path) -> None:
    path = write(tmp_path / "data", MIXED, {"content": "a\0"})
    b.consolidate(engine, path)
    decide(engine, "embeddings", nul_character=REPLACE)
    b.consolidate(engine, path)
    withdraw(engine, "embeddings", "nul_character")
    pin = b.observe(engine, path)
    assert b.stale_chunks(engine, pin, "embeddings") == [0]
    b.load_stale(engine, pin)
    assert settled(engine, "embeddings") == [(2, "nul_character", None)]
    assert b.rows(engine, "select source_rowid from memos.embeddings") == [(1,)]
    assert b.red(engine, pin) == {}


def test_a_repair_in_the_file_takes_the_row_off_the_list(engine: sa.Engine, tmp_path: Path) -> None:
    path = write(tmp_path / "data", MIXED, {"metadata": "{"})
    b.consolidate(engine, path)
    b.change(path, "update embeddings set metadata = '{}' where rowid = 2")
    pin = b.consolidate(engine, path)
    assert settled(engine, "embeddings") == []
    assert b.rows(engine, "select count(*) from memos.embeddings") == [(2,)]
    assert b.red(engine, pin) == {}


def test_a_decision_outlives_a_reload_and_holds_for_rows_that_come_later(
    engine: sa.Engine, tmp_path: Path
) -> None:
    path = write(tmp_path / "data", MIXED, {"content": "a\0"})
    pin = b.consolidate(engine, path)
    decide(engine, "embeddings", nul_character=REPLACE)
    b.load_stale(engine, pin)
    spec = MEMOS.table("embeddings")
    with engine.connect() as conn:
        tasks = ledger.stale_tasks(conn, spec, pin, reload=Reload())
    b.load(engine, pin, spec, tasks, "reload")
    assert settled(engine, "embeddings") == [(2, "nul_character", REPLACE)]
    # A row moves, as memOS's REPLACE moves it.
    b.change(path, "update embeddings set rowid = 3000 where rowid = 2")
    pin = b.consolidate(engine, path)
    assert settled(engine, "embeddings") == [(3000, "nul_character", REPLACE)]
    assert b.rows(engine, "select count(*) from memos.embeddings") == [(2,)]
    assert b.red(engine, pin) == {}


def test_only_chunks_with_such_rejects_are_loaded_again(engine: sa.Engine, tmp_path: Path) -> None:
    path = b.write_kind(
        tmp_path / "data",
        MIXED,
        embeddings=[
            b.embedding(1),
            b.embedding(2000, content="a\0"),
            b.embedding(4000, content="a\0"),
        ],
    )
    pin = b.consolidate(engine, path)
    assert b.stale_chunks(engine, pin, "embeddings") == []
    decide(engine, "embeddings", nul_character=REPLACE)
    assert b.stale_chunks(engine, pin, "embeddings") == [1, 3]


def test_no_rule_touches_a_key_or_the_end_of_a_link(engine: sa.Engine, tmp_path: Path) -> None:
    path = b.write_kind(
        tmp_path / "data",
        CORPUS,
        entities=[b.entity(1), b.entity(2, id="a\0"), b.entity(3, name="a\0")],
        relations=[b.relation(1, 1, 1, source_entity_id=b"entity-1"), b.relation(2, 1, "a\0")],
    )
    b.consolidate(engine, path)
    decide(engine, "corpus_entities", nul_character=REPLACE)
    decide(engine, "corpus_relations", wrong_type=NULL)
    pin = b.consolidate(engine, path)
    assert settled(engine, "corpus_entities") == [
        (2, "nul_character", None),
        (3, "nul_character", REPLACE),
    ]
    assert settled(engine, "corpus_relations") == [
        (1, "wrong_type", None),
        (2, "nul_character", None),
    ]
    assert b.red(engine, pin) == {}


def test_a_link_to_a_row_that_is_loaded_by_a_rule_leads_somewhere(
    engine: sa.Engine, tmp_path: Path
) -> None:
    path = b.write_kind(
        tmp_path / "data",
        CORPUS,
        entities=[b.entity(1), b.entity(2, description="a\0"), b.entity(3, attributes="{")],
        relations=[b.relation(1, 1, 2), b.relation(2, 1, 3)],
    )
    b.consolidate(engine, path)
    assert [row[0] for row in settled(engine, "corpus_relations")] == [1, 2]
    decide(engine, "corpus_entities", nul_character=REPLACE, json_malformed="drop")
    pin = b.observe(engine, path)
    assert b.load_stale(engine, pin) == {"corpus_entities": [0], "corpus_relations": [0]}
    assert settled(engine, "corpus_relations") == [(2, "dangling_end", None)]
    assert b.load_stale(engine, pin) == {}
    assert b.red(engine, pin) == {}
    withdraw(engine, "corpus_entities", "nul_character")
    b.load_stale(engine, pin)
    assert [row[0] for row in settled(engine, "corpus_relations")] == [1, 2]
    assert b.red(engine, pin) == {}


def test_a_parent_that_is_loaded_by_a_rule_is_not_a_loose_end(
    engine: sa.Engine, tmp_path: Path
) -> None:
    path = b.write_kind(
        tmp_path / "data",
        "hyperbolic_embeddings",
        hyperbolic_documents=[b.node(1, content="a\0"), b.node(3000, "node-1")],
    )
    b.consolidate(engine, path)
    missing = "select missing from memos.hyperbolic_documents where source_rowid = 3000"
    assert b.rows(engine, missing) == [(["parent_id"],)]
    decide(engine, "hyperbolic_documents", nul_character=REPLACE)
    pin = b.consolidate(engine, path)
    assert b.rows(engine, missing) == [(None,)]
    assert b.load_stale(engine, pin) == {}
    assert b.red(engine, pin) == {}


def test_a_dangling_end_becomes_null_where_it_may_and_only_that_end(
    engine: sa.Engine, tmp_path: Path
) -> None:
    path = b.write_kind(
        tmp_path / "data",
        CORPUS,
        entities=[b.entity(1), b.entity(2, attributes="{")],
        relations=[
            b.relation(1, 1, "gone"),
            b.relation(2, 2, 1),
            b.relation(3, "gone", "lost", description="a\0"),
        ],
    )
    b.consolidate(engine, path)
    decide(engine, "corpus_relations", dangling_end="null_end", nul_character=REPLACE)
    pin = b.consolidate(engine, path)
    ends = "select source_rowid, source_entity_id, target_entity_id from memos.corpus_relations"
    assert b.rows(engine, f"{ends} order by 1") == [
        (1, "entity-1", None),
        (2, None, "entity-1"),
        (3, None, None),
    ]
    assert settled(engine, "corpus_relations")[2] == (
        3,
        "nul_character",
        "replace_characters+null_end",
    )
    assert b.red(engine, pin) == {}
    # Once the end exists, the link leads there again, and the row leaves the list.
    b.change(path, "update entities set attributes = '{}' where rowid = 2")
    pin = b.consolidate(engine, path)
    assert b.rows(engine, f"{ends} where source_rowid = 2") == [(2, "entity-2", "entity-1")]
    assert [row[0] for row in settled(engine, "corpus_relations")] == [1, 3]
    assert b.red(engine, pin) == {}


def test_the_reversed_row_of_a_repaired_link_is_there_and_kept_once(
    engine: sa.Engine, tmp_path: Path
) -> None:
    path = b.write_kind(
        tmp_path / "data",
        SEMANTIC,
        memories=[b.memory(1), b.memory(2)],
        connections=[b.connection(1, 2, 1, strength="strong")],
    )
    b.consolidate(engine, path)
    decide(engine, "semantic_links", wrong_type=NULL)
    pin = b.consolidate(engine, path)
    assert b.rows(engine, "select reversed, strength from memos.semantic_links order by 1") == [
        (False, None),
        (True, None),
    ]
    assert settled(engine, "semantic_links") == [(1, "wrong_type", NULL)]
    assert b.red(engine, pin) == {}


def test_v12_rejects_are_settled_fails_while_a_row_is_open_and_counts_the_others(
    engine: sa.Engine, tmp_path: Path
) -> None:
    path = write(
        tmp_path / "data",
        MIXED,
        {"content": "a\0"},
        {"content": "b\0"},
        {"doc_id": None},
        {"metadata": "{"},
        {"metadata": "}"},
        {"metadata": "NaN"},
    )
    b.consolidate(engine, path)
    finding = b.findings(engine, "embeddings")["v12_rejects_are_settled"]
    assert not finding.passed
    assert finding.expected == "0 open"
    assert finding.observed == (
        "6 open: json_malformed 2, json_not_finite 1, nul_character 2, null_key 1; "
        "0 dropped, 0 repaired"
    )
    decide(engine, "embeddings", nul_character=REPLACE, null_key="drop")
    b.consolidate(engine, path)
    finding = b.findings(engine, "embeddings")["v12_rejects_are_settled"]
    assert not finding.passed
    assert finding.observed == "3 open: json_malformed 2, json_not_finite 1; 1 dropped, 2 repaired"
    decide(engine, "embeddings", json_malformed=NULL, json_not_finite="null_numbers")
    b.consolidate(engine, path)
    finding = b.findings(engine, "embeddings")["v12_rejects_are_settled"]
    assert finding.passed
    assert finding.observed == "0 open; 1 dropped, 5 repaired"


@pytest.mark.parametrize(
    ("statement", "check"),
    [
        ("update memos.embeddings set content = 'a?' where source_rowid = 2", "v02"),
        ("delete from memos.embeddings where source_rowid = 2", "v01"),
        ("update memos_ops.rejects set resolution = 'null_value'", "v01"),
        ("delete from memos_ops.repairs", "v01"),
        ("update memos_ops.rejects set resolution = 'drop'", "v01"),
        ("update memos_ops.rejects set resolution = null", "v01"),
    ],
    ids=["changed", "missing", "other rule", "nobody decided", "dropped and loaded", "open"],
)
def test_a_row_that_is_not_what_was_decided_is_a_fault(
    statement: str, check: str, engine: sa.Engine, tmp_path: Path
) -> None:
    path = write(tmp_path / "data", MIXED, {"content": "a\0"})
    b.consolidate(engine, path)
    decide(engine, "embeddings", nul_character=REPLACE)
    pin = b.consolidate(engine, path)
    assert b.red(engine, pin) == {}
    b.execute(engine, statement)
    assert check in {name[:3] for _, name in b.red(engine, pin)}


@pytest.mark.parametrize(
    ("table", "reason", "rule", "message"),
    [
        ("embeddings", "nul_character", "null_end", "^M542 --rule: null_end does not fit"),
        ("embeddings", "nul_character", "ignore", "^M542 --rule: ignore is not a rule that fits"),
        ("embeddings", "timestamp_without_zone", "assume_utc", "^M542 "),
        ("semantic_links", "dangling_end", "null_end", "^M542 .*pass one of drop;"),
        ("embeddings", "null_key", "null_value", "^M542 "),
        ("embeddings", "unlucky", "drop", "^M541 unlucky: not a reason of rejects; there are: "),
        ("embeddings", "json_nul", "drop", "^M543 memos.embeddings: no row of any source "),
    ],
)
def test_a_rule_that_does_not_fit_is_refused(
    table: str, reason: str, rule: str, message: str, engine: sa.Engine, tmp_path: Path
) -> None:
    b.consolidate(engine, write(tmp_path / "data", MIXED, {"content": "a\0"}))
    with pytest.raises(UsageError, match=message):
        decide(engine, table, **{reason: rule})
    with pytest.raises(UsageError, match=r"^M54[14] "):
        withdraw(engine, table, reason)
