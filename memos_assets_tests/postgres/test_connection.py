"""Connections: without a transaction where a statement, or a long session, must have none."""

import sqlalchemy as sa

from memos_assets.postgres.connection import autocommit_connection
from memos_assets.settings import PROJECT_ROOT


def test_an_autocommit_connection_runs_what_no_transaction_may(engine: sa.Engine) -> None:
    with autocommit_connection(engine) as conn:
        conn.execute(sa.text("create table public.things (id int)"))
        conn.execute(sa.text("vacuum public.things"))
        state = sa.text("select count(*) from pg_stat_activity where state like 'idle in%'")
        with engine.connect() as other:
            assert other.execute(state).scalar_one() == 0
            assert other.execute(sa.text("select count(*) from public.things")).scalar_one() == 0


def test_its_pool_gives_transactions_to_the_next(engine: sa.Engine) -> None:
    with autocommit_connection(engine) as conn:
        conn.execute(sa.text("create table public.things (id int)"))
    with engine.connect() as conn:
        conn.execute(sa.text("insert into public.things values (1)"))
        conn.rollback()
        assert conn.execute(sa.text("select count(*) from public.things")).scalar_one() == 0


def test_no_other_module_spells_autocommit() -> None:
    modules = (PROJECT_ROOT / "memos_assets").rglob("*.py")
    spelling = [path.name for path in modules if "AUTOCOMMIT" in path.read_text("utf-8")]
    assert spelling == ["connection.py"]
