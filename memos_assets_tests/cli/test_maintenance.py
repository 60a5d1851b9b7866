"""The command maintain: pending work, its results, its failures."""

import re

import pytest
import sqlalchemy as sa

from memos_assets_tests.cli.conftest import Command

VACUUM = r"vacuum +memos\.thought_templates"


def kill_rows(database: sa.Engine) -> None:
    with database.begin() as conn:
        conn.exec_driver_sql(
            "insert into memos.thought_templates "
            "(source, id, embedding_reason, chunk, source_rowid) "
            "select 's', n::text, 'missing', 0, n from generate_series(1, 100) n"
        )
        conn.exec_driver_sql("select pg_stat_force_next_flush()")
    with database.begin() as conn:
        conn.exec_driver_sql("update memos.thought_templates set source_rowid = source_rowid + 1")
        conn.exec_driver_sql("select pg_stat_force_next_flush()")


def test_pending_work_is_listed_done_and_then_no_longer_pending(
    memos_assets: Command, database: sa.Engine
) -> None:
    assert memos_assets("maintain", "--dry-run") == (0, "Nothing is pending.\n", "")
    kill_rows(database)
    code, out, err = memos_assets("maintain", "--dry-run")
    assert (code, err) == (1, "")
    assert re.search(VACUUM + r" +100 of 200 row versions dead \(50\.0%\)", out)

    code, out, err = memos_assets("maintain")
    assert (code, err) == (0, "")
    assert re.search(
        r"^  vacuum memos\.thought_templates: 100 of 200 .*; [\d,]+ -> [\d,]+ bytes in \d\.\d\d s$",
        out,
        re.MULTILINE,
    )
    assert re.search(r"^Maintained 1 objects? in \d+\.\d s$", out, re.MULTILINE)
    assert memos_assets("maintain", "--dry-run") == (0, "Nothing is pending.\n", "")
    assert memos_assets("maintain")[:2] == (0, "Nothing was pending.\n")


def test_a_failure_is_one_line_and_exit_code_1(memos_assets: Command, database: sa.Engine) -> None:
    kill_rows(database)

    with database.connect() as conn:
        conn.exec_driver_sql("set transaction isolation level repeatable read")
        conn.exec_driver_sql("select count(*) from memos.thought_templates")
        with database.begin() as other:
            other.exec_driver_sql("update memos.thought_templates set chunk = 1")
            other.exec_driver_sql("select pg_stat_force_next_flush()")
        code, out, err = memos_assets("maintain", "thought_templates")
    assert code == 1
    assert re.search(r"; M364$", out, re.MULTILINE)
    assert err.startswith("M364 memos.thought_templates: still 100 of 200 row versions dead ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["no_such"], ["--rebuild"], ["--rebuild", "--dry-run"]])
@pytest.mark.usefixtures("database")
def test_a_name_that_is_none_is_one_line_and_exit_code_2(
    memos_assets: Command, arguments: list[str]
) -> None:
    code, out, err = memos_assets("maintain", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("M360 ")
    assert err.count("\n") == 1
