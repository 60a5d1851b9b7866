"""Migrations on a real database, with revisions made for the test."""

import shutil
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets.errors import TargetError
from memos_assets.postgres import migrations
from memos_assets.postgres.application.tables import APPLICATION
from memos_assets.postgres.engine import create_engine
from memos_assets.settings import Settings

REVISION = """
import time
from alembic import op
revision, down_revision, branch_labels, depends_on = {name!r}, {after!r}, None, None

def upgrade():
    op.execute("{upgrade}")
    time.sleep({seconds})

def downgrade():
    op.execute("{downgrade}")
"""


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: sa.Engine) -> Path:
    """Two revisions beside our real env.py, and a database where none was ever applied."""
    folder = tmp_path / "100% mine" / "migrations"
    shutil.copytree(migrations.SCRIPTS, folder, ignore=shutil.ignore_patterns("versions", "__py*"))
    (folder / "versions").mkdir()
    write(folder, "one", None, "create table public.one (n int)", "drop table public.one")
    write(folder, "two", "one", "create table public.two (n int)", "drop table public.two")
    monkeypatch.setattr(migrations, "SCRIPTS", folder)
    with engine.begin() as conn:
        conn.exec_driver_sql("drop schema if exists memos_ops cascade")
    return folder


def write(
    folder: Path, name: str, after: str | None, up: str, down: str, seconds: float = 0
) -> None:
    text = REVISION.format(name=name, after=after, upgrade=up, downgrade=down, seconds=seconds)
    (folder / "versions" / f"{name}.py").write_text(text)


def tables(engine: sa.Engine) -> list[str]:
    return sorted(set(sa.inspect(engine).get_table_names("public")) - set(APPLICATION))


@pytest.mark.usefixtures("scripts")
def test_upgrading_applies_what_is_missing_once(engine: sa.Engine) -> None:
    assert migrations.current(engine) is None
    assert migrations.head() == "two"
    assert migrations.upgrade(engine) == ["one", "two"]
    assert migrations.upgrade(engine) == []
    assert migrations.current(engine) == "two"
    assert tables(engine) == ["one", "two"]
    assert sa.inspect(engine).get_table_names("memos_ops") == ["alembic_version"]


@pytest.mark.usefixtures("scripts")
def test_downgrading_and_upgrading_again_meet(engine: sa.Engine) -> None:
    migrations.upgrade(engine)
    migrations.downgrade(engine, "one")
    assert (migrations.current(engine), tables(engine)) == ("one", ["one"])
    assert migrations.upgrade(engine) == ["two"]
    migrations.downgrade(engine, "base")
    assert (migrations.current(engine), tables(engine)) == (None, [])


def test_a_failed_revision_leaves_nothing_of_the_others(engine: sa.Engine, scripts: Path) -> None:
    write(scripts, "three", "two", "select 1 / 0", "select 1")
    with pytest.raises(sa.exc.DataError, match="division by zero"):
        migrations.upgrade(engine)
    assert (migrations.current(engine), tables(engine)) == (None, [])


def test_two_processes_that_upgrade_at_once_queue(engine: sa.Engine, scripts: Path) -> None:
    write(scripts, "three", "two", "select 1", "select 1", seconds=0.3)
    done: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda: done.append(migrations.upgrade(engine))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [[], ["one", "two", "three"]]


def test_waiting_for_another_migration_is_not_a_lock_timeout(
    database_url: sa.URL, settings: Settings, scripts: Path
) -> None:
    write(scripts, "three", "two", "select 1", "select 1", seconds=0.5)
    hasty = migrations_engine(database_url, settings.model_copy(update={"lock_timeout_ms": 100}))
    first = threading.Thread(target=migrations.upgrade, args=(hasty,))
    first.start()
    migrations.upgrade(hasty)
    first.join()
    assert migrations.current(hasty) == "three"


def migrations_engine(url: sa.URL, settings: Settings) -> sa.Engine:
    return create_engine(url, settings, application_name="tests", pooled=False)


def test_a_database_newer_than_the_checkout_is_left_alone(engine: sa.Engine, scripts: Path) -> None:
    migrations.upgrade(engine)
    (scripts / "versions" / "two.py").unlink()
    for act in (migrations.upgrade, lambda engine: migrations.downgrade(engine, "base")):
        with pytest.raises(TargetError, match=r"^M305 .*revision two is unknown.*newest is one"):
            act(engine)
    assert tables(engine) == ["one", "two"]


@pytest.mark.usefixtures("scripts")
def test_an_unknown_revision_to_go_back_to_is_named(engine: sa.Engine) -> None:
    migrations.upgrade(engine)
    with pytest.raises(TargetError, match=r"^M305 .*revision nonsense is unknown"):
        migrations.downgrade(engine, "nonsense")


def test_memoss_own_alembic_version_is_not_touched(engine: sa.Engine, scripts: Path) -> None:
    assert scripts.is_dir()
    with engine.begin() as conn:
        conn.exec_driver_sql("create table public.alembic_version (version_num text)")
        conn.exec_driver_sql("insert into public.alembic_version values ('theirs')")
    migrations.upgrade(engine)
    with engine.connect() as conn:
        theirs = conn.exec_driver_sql("select version_num from public.alembic_version").scalars()
        assert theirs.all() == ["theirs"]


def test_the_template_database_is_at_the_newest_revision(engine: sa.Engine) -> None:
    assert migrations.current(engine) == migrations.head()
    assert migrations.upgrade(engine) == []
