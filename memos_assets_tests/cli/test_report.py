"""Where the report is, in the words of the commands that write one."""

import json
from pathlib import Path

import sqlalchemy as sa

from memos_assets_tests.cli.conftest import Command
from memos_assets_tests.defs.world import write_templates


def test_consolidate_and_verify_say_where_the_report_is_and_report_finds_it(
    memos_assets: Command, database: sa.Engine, home: Path, tmp_path: Path
) -> None:
    code, out, err = memos_assets("report")
    assert (code, out) == (2, "")
    assert err.startswith("M506 ")
    write_templates(tmp_path / "data" / "meta_buffer.db", [1, 2])
    outcome = tmp_path / "outcome.json"

    pages = []
    for command in (["consolidate", "--data", str(tmp_path / "data")], ["verify"]):
        code, out, _ = memos_assets(*command, "--json", str(outcome))
        assert code == 0
        written = json.loads(outcome.read_text())
        page = home / "reports" / f"{written['consolidation']}.html"
        assert f"Report: {page}\n" in out
        assert page.is_file()
        assert written["report"] == str(page)
        # One mapping of an outcome: the file that --json names says what the report says.
        report = json.loads(page.with_suffix(".json").read_text())
        assert written["checklist"] == report["checklist"]
        assert written["verdict"] == report["verdict"]["sentence"]
        pages.append(page)

    first, last = pages
    assert memos_assets("report") == (0, f"{last}\n", "")
    assert memos_assets("report", first.stem) == (0, f"{first}\n", "")
    code, _, err = memos_assets("report", "another")
    assert code == 2
    assert err.startswith("M506 ")
    with database.connect() as conn:
        assert conn.exec_driver_sql("select count(*) from memos.thought_templates").scalar() == 2
