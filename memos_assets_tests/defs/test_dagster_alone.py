"""The same without any command of ours: Dagster's CLI, the checkout's dagster.yaml, no setup."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from memos_assets.postgres.engine import libpq_url
from memos_assets.postgres.server.embedded import EmbeddedServer
from memos_assets.settings import PROJECT_ROOT
from memos_assets_tests.defs.world import write_templates


def dagster(environment: dict[str, str], *arguments: str) -> str:
    """Run Dagster's command and return what it said; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", "dagster", *arguments],
        cwd=PROJECT_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    return done.stderr


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A shell in which nothing is configured but where the data is and where state may go."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {
        **inherited,
        "DAGSTER_HOME": str(PROJECT_ROOT),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "MEMOS_HOME": str(tmp_path / "home"),
        "MEMOS_DATA": str(tmp_path / "data"),
    }


def test_a_chunk_is_observed_and_materialised_with_dagsters_own_commands(
    environment: dict[str, str], tmp_path: Path
) -> None:
    write_templates(tmp_path / "data" / "meta_buffer.db", [1, 2, 2_048])
    module = ("-m", "memos_assets.definitions")
    server = EmbeddedServer(tmp_path / "home")
    try:
        dagster(environment, "job", "execute", *module, "-j", "observe_meta_buffer")
        said = dagster(
            environment,
            *("asset", "materialize", *module),
            *("--select", "memos/thought_templates", "--partition", "meta_buffer/000"),
        )
        assert "RUN_SUCCESS" in said
        with psycopg.connect(libpq_url(server.url())) as conn:
            rows = conn.execute("select id from memos.thought_templates order by id").fetchall()
            assert rows == [("t1",), ("t2",)]
            runs = conn.execute(
                "select pipeline_name, status from dagster.runs order by id"
            ).fetchall()
            assert runs == [("observe_meta_buffer", "SUCCESS"), ("__ASSET_JOB", "SUCCESS")]
    finally:
        server.stop()
