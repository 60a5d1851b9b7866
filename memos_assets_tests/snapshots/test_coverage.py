"""Every table has a class, and every column of a snapshot's tables a type that files have."""

import sqlalchemy as sa

from memos_assets.snapshots.columns import read_tables
from memos_assets.snapshots.coverage import coverage_of


def test_every_table_of_agents_and_of_memos_is_classified(engine: sa.Engine) -> None:
    with engine.connect() as conn:
        tables = read_tables(conn, "agent", "public")
    undecided = [t.qualified for t in tables if coverage_of(t.schema, t.name) is None]
    assert undecided == []
    assert {t.name for t in tables} >= {"memories", "links", "spaces"}


def test_no_column_is_lost_and_every_table_of_a_snapshot_has_a_key(engine: sa.Engine) -> None:
    with engine.connect() as conn:
        tables = read_tables(conn, "agent", "public")
    for table in tables:
        coverage = coverage_of(table.schema, table.name)
        if coverage is not None and coverage.of == "snapshot":
            assert table.key, table.qualified
            assert table.arrow.names == list(table.columns), table.qualified
