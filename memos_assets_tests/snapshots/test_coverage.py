"""Every table has a class, and every column of a snapshot's tables a type that files have."""

import pytest
import sqlalchemy as sa

from memos_assets.snapshots.columns import read_tables
from memos_assets.snapshots.coverage import COVERED, OPS, coverage_of, undecided
from memos_assets_tests.snapshots.memories import fill


def test_every_table_is_classified_and_no_column_of_a_snapshot_is_lost(engine: sa.Engine) -> None:
    fill(engine, 1)
    with engine.connect() as conn:
        tables = read_tables(conn, *COVERED)
    assert undecided(tables) == []
    schemas = {table.schema for table in tables}
    assert schemas == set(COVERED)
    assert OPS.keys() == {table.name for table in tables if table.schema == "memos_ops"}
    for table in tables:
        coverage = coverage_of(table.schema, table.name)
        assert coverage is not None
        assert coverage.of == "snapshot" or coverage.why, table.qualified
        if coverage.of == "snapshot" or table.schema == "memos":
            assert table.key, table.qualified
            assert table.arrow.names == list(table.columns), table.qualified


@pytest.mark.parametrize(
    ("migration", "expected"),
    [
        ("create table agent.plans (id bigint primary key)", "agent.plans"),
        ("create table memos_ops.audits (id bigint primary key)", "memos_ops.audits"),
        ("create table public.agendas (id bigint primary key)", "public.agendas"),
        ("alter table agent.memories add cost numeric(8, 2)", "agent.memories.cost: numeric(8,2)"),
        ("alter table agent.links add span interval", "agent.links.span: interval"),
        ("alter table public.quests add at point", "public.quests.at: point"),
    ],
)
def test_a_migration_that_adds_what_nobody_classified_is_found(
    shared_engine: sa.Engine, migration: str, expected: str
) -> None:
    with shared_engine.connect() as conn:
        conn.exec_driver_sql(migration)
        assert undecided(read_tables(conn, *COVERED)) == [expected]
