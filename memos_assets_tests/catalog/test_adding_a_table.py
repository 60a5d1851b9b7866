"""The walk-through of docs/adding-a-table.md, followed to the letter in a copy of the checkout."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets.postgres.engine import libpq_url
from memos_assets.settings import PROJECT_ROOT

_BLOCK = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Copy what a checkout needs to run."""
    copy = tmp_path / "checkout"
    for name in ("memos_assets", "sql"):
        shutil.copytree(
            PROJECT_ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("dagster.yaml", "pyproject.toml", "workspace.yaml"):
        shutil.copy(PROJECT_ROOT / name, copy)
    return copy


def run(checkout: Path, url: sa.URL, *command: str, given: str | None = None) -> str:
    environment = {
        **os.environ,
        "PYTHONPATH": str(checkout),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "MEMOS_HOME": str(checkout / "home"),
        "MEMOS_DATABASE_URL": libpq_url(url),
    }
    done = subprocess.run(
        command,
        cwd=checkout,
        env=environment,
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_who_follows_the_page_has_a_new_table_loaded_and_proven(
    checkout: Path, database_url: sa.URL, engine: sa.Engine
) -> None:
    page = (PROJECT_ROOT / "docs" / "adding-a-table.md").read_text("utf-8")
    said = ""
    followed = set()
    for language, path, block in _BLOCK.findall(page):
        followed.add(language)
        if language == "python" and path:
            (checkout / path).write_text(block, "utf-8")
        elif language == "python":
            asset = block
        elif language == "diff":
            run(checkout, database_url, "git", "apply", "-", given=block)
        else:
            assert language == "sh"
            said = run(checkout, database_url, "sh", "-ec", block)
    assert followed == {"python", "diff", "sh"}
    assert "memos.notes" in said

    with engine.connect() as conn:
        rows = conn.exec_driver_sql(
            "select source, id, body, tags, stars, written_at at time zone 'utc' "
            "from memos.notes order by id"
        ).all()
        proven = conn.exec_driver_sql(
            """select "claim", passed from memos_ops.evaluations where asset = 'memos/notes'"""
        ).all()
    assert [row[1:5] for row in rows] == [
        ("n1", "Oil the joints", ["robot", "weekly"], 5),
        ("n2", "Zero the axes", [], None),
    ]
    assert str(rows[0][5]) == "2026-01-02 02:04:05"
    assert {check for check, _ in proven} >= {"v01_row_counts_match", "v02_rows_match_bit_for_bit"}
    assert all(passed for _, passed in proven)

    read = (
        "from memos_assets.defs.resources import Postgres\n"
        "from memos_assets.catalog import MEMOS\n"
        "from memos_assets.defs.io_managers import table_io_manager\n"
        "from memos_assets.defs.assets.tables import table_assets\n"
        "postgres = Postgres()\n"
        "tables = table_assets(MEMOS)\n"
        "done = dg.materialize([starred, *tables], selection=[starred], resources={\n"
        "    'postgres': postgres, 'postgres_table': table_io_manager(postgres, [MEMOS])})\n"
        "print(done.output_for_node('starred'))\n"
    )
    assert run(checkout, database_url, sys.executable, "-c", asset + read) == "5\n"
