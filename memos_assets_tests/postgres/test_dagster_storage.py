"""Dagster's storage in the same database, as dagster.yaml configures it."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.instance.config import dagster_instance_config
from dagster_shared.yaml_utils import load_yaml_from_path
from pydantic import SecretStr

from memos_assets.errors import TargetError
from memos_assets.postgres.application.tables import APPLICATION
from memos_assets.postgres.dagster_storage import MemosStorage
from memos_assets.postgres.engine import libpq_url
from memos_assets.settings import PROJECT_ROOT, Settings


@pytest.fixture
def dagster_home(database_url: sa.URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with our dagster.yaml, and the environment of a process that uses it."""
    home = tmp_path / "dagster"
    home.mkdir()
    shutil.copy(PROJECT_ROOT / "dagster.yaml", home)
    monkeypatch.setenv("MEMOS_DATABASE_URL", libpq_url(database_url))
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "1")
    return home


@pytest.fixture
def instance(dagster_home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(dagster_home)) as made:
        yield made


@dg.asset
def one() -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"rows": 3})


def test_dagster_yaml_is_valid_and_says_what_we_mean() -> None:
    config, custom_class = dagster_instance_config(str(PROJECT_ROOT))
    assert custom_class is None
    assert config["storage"]["custom"] == {
        "module": "memos_assets.postgres.dagster_storage",
        "class": "MemosStorage",
    }
    assert config["telemetry"] == {"enabled": False}
    assert config["nux"] == {"enabled": False}
    assert config["run_retries"]["retry_on_asset_or_op_failure"] is False
    assert config["concurrency"]["pools"] == {"granularity": "op", "default_limit": 1}
    assert config["concurrency"]["runs"] == {
        "max_concurrent_runs": 2,
        "tag_concurrency_limits": [{"key": "memos/upkeep", "limit": 1}],
    }


def test_workspace_yaml_names_our_definitions() -> None:
    assert load_yaml_from_path(str(PROJECT_ROOT / "workspace.yaml")) == {
        "load_from": [
            {
                "python_module": {
                    "module_name": "memos_assets.definitions",
                    "location_name": "memos_assets",
                }
            }
        ]
    }


def test_a_run_is_stored_in_schema_dagster_and_nowhere_else(
    instance: dg.DagsterInstance, engine: sa.Engine, dagster_home: Path
) -> None:
    run = dg.materialize([one], instance=instance)
    assert run.success
    stored = instance.get_latest_materialization_event(one.key)
    assert stored is not None
    assert stored.run_id == run.run_id
    tables = sa.inspect(engine)
    assert {"runs", "event_logs", "jobs"} <= set(tables.get_table_names("dagster"))
    assert set(tables.get_table_names("public")) == set(APPLICATION)
    assert [path.name for path in dagster_home.iterdir()] == ["dagster.yaml"]


def test_another_process_sees_the_run(instance: dg.DagsterInstance) -> None:
    """As run workers do: the storage is made again from the instance's serialized reference."""
    run = dg.materialize([one], instance=instance)
    with dg.DagsterInstance.from_ref(instance.get_ref()) as other:
        assert [found.run_id for found in other.get_runs()] == [run.run_id]


@pytest.mark.usefixtures("dagster_home")
def test_processes_that_make_the_tables_at_once_do_not_collide() -> None:
    code = "from memos_assets.postgres.dagster_storage import MemosStorage as S; S()"
    command = [sys.executable, "-c", code]
    started = [
        subprocess.Popen(command, cwd=PROJECT_ROOT, stderr=subprocess.PIPE) for _ in range(2)
    ]
    assert [process.communicate(timeout=60)[1] for process in started] == [b""] * 2
    assert [process.returncode for process in started] == [0, 0]


def test_the_next_event_is_stored_after_the_server_closed_its_connections(
    instance: dg.DagsterInstance, engine: sa.Engine
) -> None:
    instance.add_dynamic_partitions("databases", ["a"])
    with engine.connect() as conn:
        closed = conn.exec_driver_sql(
            "select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity"
            " where application_name = 'memos_assets:dagster' and datname = current_database()"
        ).scalar_one()
    assert closed >= 1
    instance.add_dynamic_partitions("databases", ["b"])
    assert set(instance.get_dynamic_partitions("databases")) == {"a", "b"}


def test_a_process_keeps_few_connections(instance: dg.DagsterInstance, engine: sa.Engine) -> None:
    dg.materialize([one], instance=instance)
    with engine.connect() as conn:
        kept = conn.exec_driver_sql(
            "select count(*) from pg_stat_activity"
            " where application_name = 'memos_assets:dagster' and datname = current_database()"
        ).scalar_one()
    assert kept <= 3


def test_tables_and_columns_are_asked_for_once(instance: dg.DagsterInstance) -> None:
    catalog: list[str] = []

    def seen(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        if "pg_catalog" in statement:
            catalog.append(statement)

    dg.materialize([one], instance=instance)
    instance.get_asset_records([one.key])
    sa.event.listen(sa.Engine, "before_cursor_execute", seen)
    try:
        records = instance.get_asset_records([one.key])
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", seen)
    assert [record.asset_entry.asset_key for record in records] == [one.key]
    assert catalog == []


def test_a_password_is_not_shown(database_url: sa.URL, tmp_path: Path) -> None:
    with_password = libpq_url(database_url.set(password="s3kret"), password=True)
    settings = Settings(home=tmp_path, database_url=SecretStr(with_password))
    storage = MemosStorage(settings)
    parts = (storage, storage.run_storage, storage.event_log_storage, storage.schedule_storage)
    assert "s3kret" not in "".join(f"{part!r}{part}" for part in parts)
    assert "***" in repr(storage)


def test_an_unreachable_server_is_named_at_once(tmp_path: Path) -> None:
    url = "postgresql://user:s3kret@127.0.0.1:1/memos"
    settings = Settings(home=tmp_path, database_url=SecretStr(url))
    with pytest.raises(TargetError, match=r"^M304 postgresql://user:\*\*\*@127\.0\.0\.1:1/memos: "):
        MemosStorage(settings)
