"""The target: a block with an engine that works, and nothing of it left afterwards."""

import time

import pytest
import sqlalchemy as sa

from memos_assets.errors import TargetError
from memos_assets.postgres import migrations, target
from memos_assets.postgres.target import open_target
from memos_assets.settings import Settings

OPEN = sa.text("select count(*) from pg_stat_activity where application_name = 'tests:target'")


def none_is_open(engine: sa.Engine) -> bool:
    """Whether the connections are closed; the server lists one for a moment after its end."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        with engine.connect() as conn:
            if conn.execute(OPEN).scalar_one() == 0:
                return True
        time.sleep(0.02)
    return False


def test_a_target_is_checked_and_current_and_closes_its_connections(
    engine: sa.Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "_ready", set())
    migrations.downgrade(engine, "base")
    with open_target(settings, "tests:target") as opened, opened.connect() as conn:
        assert migrations.current(engine) == migrations.head()
        assert conn.execute(OPEN).scalar_one() == 1
    assert none_is_open(engine)


def test_a_target_closes_its_connections_however_its_block_ends(
    engine: sa.Engine, settings: Settings
) -> None:
    class Interrupted(BaseException):
        pass

    def interrupted() -> None:
        with open_target(settings, "tests:target") as opened, opened.connect():
            raise Interrupted

    with pytest.raises(Interrupted):
        interrupted()
    assert none_is_open(engine)


def test_a_target_that_is_newer_than_this_checkout_leaves_no_connection_either(
    engine: sa.Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "_ready", set())
    with engine.begin() as conn:
        conn.execute(sa.text("update memos_ops.alembic_version set version_num = 'later'"))
    with pytest.raises(TargetError, match=r"^M305 "), open_target(settings, "tests:target"):
        pass
    assert none_is_open(engine)
