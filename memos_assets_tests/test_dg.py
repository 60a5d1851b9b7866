"""Dagster's `dg` works in the checkout, as [tool.dg] in pyproject.toml describes it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets.installation import PROJECT_ROOT
from memos_assets.postgres.engine import libpq_url


@pytest.fixture
def environment(database_url: sa.URL, tmp_path: Path) -> dict[str, str]:
    """A shell that knows a database, because Dagster opens the one of dagster.yaml."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONPATH": str(PROJECT_ROOT),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "MEMOS_DATABASE_URL": libpq_url(database_url),
        "MEMOS_HOME": str(tmp_path / "home"),
    }


def dg(environment: dict[str, str], *arguments: str) -> str:
    """Run `dg` in the checkout; return its output. It must succeed."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("dg")), *arguments],
        cwd=PROJECT_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    return done.stdout


def test_dg_lists_our_definitions(environment: dict[str, str]) -> None:
    listed = json.loads(dg(environment, "list", "defs", "--json"))
    keys = {asset["asset_key"] for asset in listed["assets"]}
    assert {"sqlite/meta_buffer", "memos/thought_templates", "memos/report"} <= keys
    assert "observe_meta_buffer" in {job["name"] for job in listed["jobs"]}


def test_dg_checks_our_definitions(environment: dict[str, str]) -> None:
    assert "All definitions loaded successfully." in dg(environment, "check", "defs")
