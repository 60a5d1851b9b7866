"""Versions at a terminal: a swap, the list, a rollback."""

import re
from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets.defs.assets import version
from memos_assets.search.queries import SEARCH_SETTINGS
from memos_assets_tests.cli.conftest import Command
from memos_assets_tests.defs.world import put_template, write_templates


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_swap_and_a_rollback_say_what_is_live_and_the_way_back(
    memos_assets: Command, database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    write_templates(data / "meta_buffer.db", [1])
    code, out, err = memos_assets("consolidate", "--data", str(data), "--swap")
    assert (code, err) == (0, "")
    assert out.startswith("Loading every registered source into the shadow schema memos_shadow; ")
    assert re.search(
        r"Version 2 \(1 rows\) is live since \S+ UTC, swapped in \d+ ms\. Version 1 is kept in "
        r"memos_v1 until \d{4}-\d\d-\d\d; `memos-assets rollback` makes it live again\.\n$",
        out,
    )

    code, out, err = memos_assets("versions")
    assert (code, err) == (0, "")
    assert re.search(r"^2 +live +memos +1 .*-\w{4} *$", out, re.MULTILINE)
    assert re.search(r"^1 +previous +memos_v1 +0 ", out, re.MULTILINE)

    code, out, err = memos_assets("rollback")
    assert (code, out, err.split()[0]) == (2, "", "M508")
    code, out, err = memos_assets("rollback", "--dry-run")
    assert (code, err) == (0, "")
    assert out == "Version 1 would be live in place of version 2. Nothing was changed.\n"
    code, out, err = memos_assets("rollback", "--yes")
    assert (code, err) == (0, "")
    assert out.startswith("Version 1 (0 rows) is live since ")
    assert "memos-assets verify proves the live version" in out
    code, out, err = memos_assets("rollback", "--yes", "--to", "9")
    assert (code, out) == (2, "")
    assert err.startswith("M332 schema memos: there is no version 9. Fix: ")
    # It is killed when version 2 is live, and before it said so.
    with monkeypatch.context() as patched:
        patched.setattr(version, "report_exchange", _killed)
        assert memos_assets("rollback", "--yes")[0] == 130
    code, out, _ = memos_assets("rollback", "--yes")
    assert (code, out.split(" at ")[0]) == (0, "Version 2 became live")
    assert "by a command that was interrupted. Nothing was changed now" in out
    assert memos_assets("rollback", "--yes")[1].startswith("Version 1 ")
    assert memos_assets("rollback", "--yes", "--to", "2")[0] == 0
    code, out, err = memos_assets("rollback", "--yes", "--to", "2")
    assert (code, err) == (0, "")
    assert re.match(r"Version 2 is live already, since 20\S+ \S+ UTC\. Nothing was changed;", out)
    assert re.search(r"^2 +live ", memos_assets("versions")[1], re.MULTILINE)

    assert memos_assets("versions", "--prune")[1].startswith("No version is that old.")
    with database.begin() as conn:
        conn.exec_driver_sql(
            "update memos_ops.versions set swapped_out_at = now() - interval '30 days'"
        )
    assert memos_assets("versions", "--prune")[1].startswith("Dropped version 1.")


def test_a_swap_that_is_not_proven_ends_with_1_and_names_the_shadow(
    memos_assets: Command, database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    write_templates(data / "meta_buffer.db", [1])
    monkeypatch.setattr("memos_assets.search.plans.CHOSEN_FROM_ROWS", 0)
    monkeypatch.setitem(SEARCH_SETTINGS, "enable_indexscan", "off")
    code, out, _ = memos_assets("consolidate", "--data", str(data), "--swap")
    assert code == 1
    assert "Note: not swapped: readers keep what they had; what was loaded stays in memos_sh" in out
    assert "V07 FAILED" in out
    assert "(1 rows) is live" not in out
    with database.connect() as conn:
        rows = "select count(*) from {}.thought_templates"
        assert conn.exec_driver_sql(rows.format("memos")).scalar_one() == 0
        assert conn.exec_driver_sql(rows.format("memos_shadow")).scalar_one() == 1


def test_objects_of_others_are_one_line_and_exit_code_2(
    memos_assets: Command, database: sa.Engine, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    write_templates(data / "meta_buffer.db", [1])
    put_template(data / "meta_buffer.db", "t2")
    with database.begin() as conn:
        conn.exec_driver_sql("create view public.theirs as select * from memos.corpora")
    code, _, err = memos_assets("consolidate", "--data", str(data), "--swap")
    assert code == 2
    assert err.startswith("M331 schema memos: ")
    assert err.count("\n") == 1
