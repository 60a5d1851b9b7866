"""The commands from plan to verify: their output and their exit codes."""

import json
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets.checklist import PROOF
from memos_assets.remediation_plan import LINES
from memos_assets_tests.cli.conftest import Command, bytes_of


def test_a_demo_is_planned_consolidated_and_proven(
    memos_assets: Command, database: sa.Engine, demo_folder: Path, tmp_path: Path
) -> None:
    before = bytes_of(demo_folder)
    code, planned, _ = memos_assets("plan", "--data", str(demo_folder))
    assert code == 0
    assert "Nothing was written." in planned

    outcome = tmp_path / "outcome.json"
    place = ("--data", str(demo_folder), "--json", str(outcome))
    code, out, err = memos_assets("-v", "consolidate", *place)
    assert (code, err) == (0, "")
    assert f"Proven: {len(PROOF) - 1} of {len(PROOF)} checks passed, 1 is open." in out
    assert "V02 ok" in out
    assert bytes_of(demo_folder) == before

    written = json.loads(outcome.read_text())
    assert written["proven"] is True
    counted = {(t["source"], t["table"]): (t["rows"], t["rejected"]) for t in written["tables"]}
    with database.connect() as conn:
        loaded = conn.exec_driver_sql(
            "select count(*) from memos.embeddings where source = 'mixed_precision_embeddings'"
        ).scalar_one()
        rejected = conn.exec_driver_sql(
            "select count(*) from memos_ops.rejects "
            "where source = 'mixed_precision_embeddings' and table_name = 'embeddings'"
        ).scalar_one()
    assert counted["mixed_precision_embeddings", "embeddings"] == (loaded, rejected)
    # The dry run forecast the totals of the load.
    totals = (
        f"{sum(r + x for r, x in counted.values()):,} rows: {sum(r for r, _ in counted.values()):,}"
    )
    assert totals in planned

    with database.begin() as conn:
        conn.exec_driver_sql(
            "update memos.embeddings set content = content || '!' where source_rowid = "
            "(select max(source_rowid) from memos.embeddings)"
        )
    code, out, _ = memos_assets("verify")
    assert code == 1
    assert "V02 FAILED" in out
    assert f"Not proven: {len(PROOF) - 2} of {len(PROOF)} checks passed, 1 is open." in out

    code, out, _ = memos_assets("consolidate", "--data", str(demo_folder), "--reload")
    assert code == 0
    assert f"Proven: {len(PROOF) - 1} of {len(PROOF)}" in out
    _plan(memos_assets, database, outcome)
    _tour(memos_assets, database)


def _plan(memos_assets: Command, database: sa.Engine, outcome: Path) -> None:
    """Every line of the remediation plan is printed, and one that does not hold by its name."""
    code, out, err = memos_assets("verify", "--plan", "--json", str(outcome))
    assert (code, err) == (0, ""), out
    assert f"Holds: {len(LINES)} of {len(LINES)} lines of the remediation plan's" in out
    printed = " ".join(out.split())
    for line in LINES:
        assert line.words.replace("`", "") in printed
    told = json.loads(outcome.read_text())
    assert told["holds"] is True
    assert {line["status"] for line in told["lines"]} <= {"proven", "open"}
    with database.begin() as conn:
        conn.exec_driver_sql("alter table agent.postings set unlogged")
    code, out, _ = memos_assets("verify", "--plan")
    with database.begin() as conn:
        conn.exec_driver_sql("alter table agent.postings set logged")
    assert code == 1
    assert f"Does not hold: {len(LINES) - 1} of {len(LINES)} lines" in out
    assert "V64 on 0 of 1: memos/memories: expected" in out
    assert "Fix: alter table NAME set logged" in out


def _tour(memos_assets: Command, database: sa.Engine) -> None:
    """Restore a first snapshot over a second; refuse to where others have memories."""
    code, out, err = memos_assets("snapshots", "tour")
    assert code == 0, err
    assert re.search(r"^Restored exactly: the id is [0-9a-f]{12} again\.$", out, re.MULTILINE)
    with database.begin() as conn:
        conn.exec_driver_sql("update agent.memories set user_id = 'carl'")
    code, _, err = memos_assets("snapshots", "tour")
    assert (code, err.partition(" ")[0]) == (2, "M842")


def test_the_samples_end_green_and_twice_is_once(
    memos_assets: Command, database: sa.Engine, samples: Path
) -> None:
    code, out, _ = memos_assets("consolidate", "--data", str(samples))
    assert code == 0
    assert "2,740 source rows = 2,554 loaded + 186 rejected" in out
    with database.connect() as conn:
        written = "select sum(xmin::text::bigint), count(*) from memos.embeddings"
        before = conn.exec_driver_sql(written).one()
    code, out, _ = memos_assets("consolidate", "--data", str(samples))
    assert code == 0
    assert "Loaded" not in out
    with database.connect() as conn:
        assert conn.exec_driver_sql(written).one() == before


def test_real_files_are_not_loaded_beside_those_of_a_demo(
    memos_assets: Command, database: sa.Engine, demo_folder: Path, samples: Path
) -> None:
    demo = demo_folder / "data" / "meta_buffer.db"
    assert memos_assets("observe", "--data", str(demo))[0] == 0
    code, _, err = memos_assets("consolidate", "--data", str(samples / "meta_buffer.db"))
    assert code == 2
    assert err.startswith(f"M564 {demo}: rows of a demo would be mixed with those of ")
    with database.connect() as conn:
        sources = conn.exec_driver_sql("select path, is_demo from memos_ops.sources").all()
    assert [tuple(row) for row in sources] == [(str(demo), True)]


def test_two_files_of_a_kind_live_side_by_side_under_their_names(
    memos_assets: Command, database: sa.Engine, tmp_path: Path, samples: Path
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        shutil.copy(samples / "meta_buffer.db", tmp_path / folder / "meta_buffer.db")
        (tmp_path / folder / "meta_buffer.db").chmod(0o644)
    with closing(sqlite3.connect(tmp_path / "b" / "meta_buffer.db")) as connection, connection:
        connection.execute("update templates set id = id || '-b'")
    code, _, err = memos_assets("consolidate", "--data", str(tmp_path))
    assert code == 2
    assert err.startswith("M524 meta_buffer: two files")

    second = tmp_path / "b" / "meta_buffer.db"
    fix = err.partition("--data ")[2].strip()
    assert fix == f"meta_buffer_2={second}"
    code, _, _ = memos_assets("consolidate", "--data", str(tmp_path), "--data", fix)
    assert code == 0
    with database.connect() as conn:
        rows = conn.exec_driver_sql(
            "select source, count(*) from memos.thought_templates group by 1 order by 1"
        ).all()
    assert [tuple(row) for row in rows] == [("meta_buffer", 14), ("meta_buffer_2", 14)]


def test_a_source_that_changed_after_its_pin_is_shown_as_newer_and_caught_up(
    memos_assets: Command, database: sa.Engine, tmp_path: Path, samples: Path
) -> None:
    path = tmp_path / "meta_buffer.db"
    shutil.copy(samples / "meta_buffer.db", path)
    path.chmod(0o644)
    assert memos_assets("consolidate", "--data", str(tmp_path))[0] == 0
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("update templates set usage_count = 4711 where rowid = 8")
    connection.close()
    code, out, _ = memos_assets("verify")
    assert code == 1
    assert "meta_buffer.db holds other rows than its pin" in out
    assert memos_assets("consolidate", "--data", str(tmp_path))[0] == 0
    with database.connect() as conn:
        assert (
            conn.exec_driver_sql(
                "select count(*) from memos.thought_templates where usage_count = 4711"
            ).scalar_one()
            == 1
        )


def test_one_unusable_file_stops_the_run_before_anything_is_written(
    memos_assets: Command, database: sa.Engine, tmp_path: Path, samples: Path
) -> None:
    shutil.copy(samples / "meta_buffer.db", tmp_path / "meta_buffer.db")
    (tmp_path / "broken.db").write_bytes(b"not a database at all")
    code, _, err = memos_assets("consolidate", "--data", str(tmp_path))
    assert code == 2
    assert err.startswith("M103 ")
    assert err.count("\n") == 1
    with database.connect() as conn:
        assert conn.exec_driver_sql("select count(*) from memos_ops.sources").scalar_one() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["consolidate"], "M520 --data: ", id="no folder"),
        pytest.param(["consolidate", "--data", "/no/such"], "M521 /no/such: ", id="missing"),
        pytest.param(["consolidate", "--data", "a b=/tmp"], "M522 a b=/tmp: ", id="bad name"),
        pytest.param(["consolidate", "--bogus"], "M500 memos-assets: ", id="bad option"),
        pytest.param(["frob"], "M500 memos-assets: ", id="bad command"),
        pytest.param(["demo"], "M500 memos-assets: ", id="missing argument"),
    ],
)
def test_wrong_use_is_one_line_with_a_fix_and_exit_code_2(
    memos_assets: Command, home: Path, arguments: list[str], message: str
) -> None:
    code, out, err = memos_assets(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(message)
    assert ". Fix: " in err
    assert err.count("\n") == 1
    assert not home.exists()


def test_an_empty_folder_and_a_folder_of_foreign_files_are_refused(
    memos_assets: Command, home: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "memOS"
    folder.mkdir()
    assert memos_assets("plan", "--data", str(folder))[2].startswith("M523 ")
    connection = sqlite3.connect(folder / "notes.db")
    connection.execute("create table notes (text)")
    connection.close()
    code, _, err = memos_assets("consolidate", "--data", str(folder))
    assert code == 2
    assert err.startswith("M527 ")
    code, out, _ = memos_assets("plan", "--data", str(folder))
    assert code == 0
    assert "not memOS's: tables notes" in out
    assert not home.exists()
