"""Rejects at the terminal: open rows, their values, decisions, and the effect of decisions."""

import json
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from memos_assets_tests.cli.conftest import Command
from memos_assets_tests.consolidate import builders as b

SOURCE = "fanuc_robotics"


def write(folder: Path) -> Path:
    """Write a corpus with two rejected entities, and a relation to each of them."""
    nan = np.ones(768, "<f4")
    nan[5] = np.nan
    return b.write_kind(
        folder,
        "corpus",
        entities=[
            b.entity(1),
            b.entity(2, description="ocr\0 artefact [red]", embedding=nan.tobytes()),
            b.entity(3, attributes="{'a': 1}", embedding=bytes(3072)),
        ],
        relations=[b.relation(1, 1, 2), b.relation(2, 1, 3), b.relation(3, 1, "gone")],
    )


@pytest.fixture
def path(database: sa.Engine, tmp_path: Path) -> Path:
    """Load the file without runs, which most of these commands do without, too."""
    path = write(tmp_path / "memOS")
    b.consolidate(database, path)
    return path


def test_rejects_are_listed_decided_replayed_and_leave_the_list(
    memos_assets: Command, database: sa.Engine, path: Path, tmp_path: Path
) -> None:
    listed = tmp_path / "list.json"
    code, out, err = memos_assets("rejects", "list", "--json", str(listed))
    assert (code, err) == (0, "")
    assert "5 rows open. Repair them in their files, or decide on them:" in out
    assert (
        "  memos-assets rejects decide --table corpus_relations --reason dangling_end "
        "--rule drop|null_end\n" in out
    )
    assert {(g["table"], g["reason"]): g["open"] for g in json.loads(listed.read_text())} == {
        ("corpus_entities", "json_malformed"): 1,
        ("corpus_entities", "nul_character"): 1,
        ("corpus_relations", "dangling_end"): 3,
    }

    code, out, err = memos_assets(
        *("rejects", "decide", "--table", "corpus_entities", "--reason", "nul_character"),
        *("--rule", "replace_characters", "--note", "scanner"),
    )
    assert (code, err) == (0, "")
    assert out.startswith(
        f"Decided replace_characters for nul_character in corpus_entities of {SOURCE}: "
    )
    assert "The rule concerns 1 row.\nApply it: memos-assets rejects replay\n" in out
    with database.connect() as conn:
        decided = conn.exec_driver_sql("select rule, note, decided_by <> '' from memos_ops.repairs")
        assert [tuple(row) for row in decided] == [("replace_characters", "scanner", True)]

    # One more repair in the file, and one rule on the way.
    b.change(path, "update entities set attributes = '{}' where rowid = 3")
    outcome = tmp_path / "outcome.json"
    code, out, err = memos_assets(
        *("rejects", "replay", "--table", "corpus_relations", "--rule", "dangling_end=null_end"),
        *("--json", str(outcome)),
    )
    assert (code, err) == (0, "")
    written = json.loads(outcome.read_text())
    assert written["proven"] is True
    left = {(e["table"], e["reason"], e["became"]): e["rows"] for e in written["left"]}
    assert left == {
        ("corpus_entities", "nul_character", "replace_characters"): 1,
        ("corpus_entities", "json_malformed", "as the file holds it"): 1,
        ("corpus_relations", "dangling_end", "as the file holds it"): 2,
        ("corpus_relations", "dangling_end", "null_end"): 1,
    }
    assert written["open"] == []
    assert out.endswith("Still open: nothing.\n")
    with database.connect() as conn:
        count = "select (select count(*) from memos.corpus_entities), count(target_entity_id), "
        rows = conn.exec_driver_sql(f"{count} count(*) from memos.corpus_relations").one()
    assert tuple(rows) == (3, 2, 3)

    code, out, _ = memos_assets("rejects", "list")
    assert out.endswith("There are no open rejects.\n")
    code, out, _ = memos_assets("rejects", "list", "--all")
    assert "null_end" in out

    code, out, _ = memos_assets(
        *("rejects", "withdraw", "--table", "memos.corpus_entities", "--reason", "nul_character")
    )
    assert code == 0
    assert out.startswith(
        f"Withdrew replace_characters for nul_character in corpus_entities of {SOURCE}."
    )
    code, out, _ = memos_assets("rejects", "replay", "--source", SOURCE)
    assert code == 0
    assert out.endswith("No row left the list.\nStill open: nul_character 1 in corpus_entities.\n")
    # The relation to it is loaded with a NULL end, as is decided for such.
    with database.connect() as conn:
        rows = conn.exec_driver_sql(f"{count} count(*) from memos.corpus_relations").one()
    assert tuple(rows) == (2, 1, 3)


def test_a_row_is_shown_as_it_was(memos_assets: Command, path: Path) -> None:
    assert path
    code, out, err = memos_assets("rejects", "show", SOURCE, "corpus_entities", "entity-2")
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert [">", "description", "TEXT", r"ocr\x00", "artefact", "[red]"] in lines
    assert "float32 of 768 with 1 NaN" in out
    assert "reason   nul_character: the text holds a NUL character" in out
    assert f"file     {path}" in out
    assert "state    open, not loaded" in out
    code, by_rowid, _ = memos_assets("rejects", "show", SOURCE, "memos.corpus_entities", "2")
    assert (code, by_rowid) == (0, out)
    code, out, _ = memos_assets("rejects", "show", SOURCE, "corpus_entities", "3")
    assert "3,072 bytes 00 00 00" in out
    assert ": zeros" in out
    code, out, _ = memos_assets("rejects", "show", SOURCE, "corpus_relations", "3")
    assert [">", "target_entity_id", "TEXT", "gone"] in [line.split() for line in out.splitlines()]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("list", "--source", "nobody"), "M526 nobody: "),
        (("list", "--table", "entities"), "M540 entities: "),
        (("list", "--reason", "bad_luck"), "M541 bad_luck: "),
        (("show", SOURCE, "corpus_entities", "1"), f"M545 {SOURCE} corpus_entities 1: no such row"),
        (("show", SOURCE, "corpus_entities", "9" * 30), "M545 "),
        (("export", "rows.csv"), "M546 rows.csv: the name says no format"),
        (("export", "/no/such/folder/rows.db"), "M546 /no/such/folder/rows.db: it cannot be"),
        (
            ("replay", "--rule", "json_nul=drop"),
            "M547 --rule json_nul=drop: the option needs --table",
        ),
        (("replay", "--table", "corpus_entities", "--rule", "drop"), "M547 --rule drop: "),
        (
            ("decide", "--table", "corpus_entities", "--reason", "json_nul", "--rule", "drop"),
            "M543 memos.corpus_entities: ",
        ),
        (
            ("decide", "--table", "corpus_relations", "--reason", "null_key", "--rule", "null_end"),
            "M542 --rule: ",
        ),
        (("withdraw", "--table", "corpus_entities", "--reason", "json_nul"), "M544 "),
        (("decide", "--table", "corpus_entities"), "M500 memos-assets: "),
    ],
)
def test_wrong_use_is_one_line_with_a_fix(
    memos_assets: Command, path: Path, arguments: tuple[str, ...], message: str
) -> None:
    assert path
    code, out, err = memos_assets("rejects", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(message)
    assert ". Fix: " in err
    assert err.count("\n") == 1


def test_an_export_overwrites_nothing_least_of_all_a_source(
    memos_assets: Command, path: Path, tmp_path: Path
) -> None:
    before = path.read_bytes()
    code, _, err = memos_assets("rejects", "export", str(path))
    assert (code, err.startswith(f"M546 {path}: it exists")) == (2, True)
    assert path.read_bytes() == before
    code, out, _ = memos_assets("rejects", "export", str(tmp_path / "rows.jsonl"))
    assert (code, out) == (0, f"Wrote 5 rows to {tmp_path / 'rows.jsonl'}\n")
    assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == 5


def test_a_source_whose_file_is_gone_is_named_and_left_as_it_is(
    memos_assets: Command, path: Path
) -> None:
    path.unlink()
    code, out, err = memos_assets("rejects", "replay")
    assert f"Note: {SOURCE} is not replayed, because {path} is gone.\n" in err
    assert code == 1  # V08 cannot compare it
    assert "\nNo row left the list.\nStill open: nul_character 1 in corpus_entities, " in out


def test_without_rejects_there_is_nothing_to_replay(
    memos_assets: Command, database: sa.Engine
) -> None:
    assert database
    assert memos_assets("rejects", "replay") == (0, "There are no rejects.\n", "")
    code, out, _ = memos_assets("rejects", "list")
    assert (code, out.endswith("There are no open rejects.\n")) == (0, True)
