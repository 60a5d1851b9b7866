"""Schemas: one description, and nobody else spells their names."""

import re
from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.catalog.application import APPLICATION_SCHEMA
from memos_assets.maintenance.health import invalid_indexes
from memos_assets.postgres import dagster_storage, migrations, schemas
from memos_assets.postgres.schema import tables
from memos_assets.settings import PROJECT_ROOT


def test_every_schema_is_described_once() -> None:
    names = [schema.name for schema in schemas.SCHEMAS]
    assert names == ["memos", "agent", "memos_ops", "public", "dagster"]
    named = [value for value in vars(schemas).values() if isinstance(value, schemas.Schema)]
    assert {schema.name for schema in named} == set(names)
    assert all(schema.holds.endswith(".") and schema.writer for schema in named)


def test_names_elsewhere_are_those_of_the_description() -> None:
    assert (schemas.DATA.name, tables.OPS_SCHEMA) == ("memos", "memos_ops")
    assert migrations.VERSION_SCHEMA == tables.OPS_SCHEMA
    assert dagster_storage.SCHEMA == "dagster"
    assert (schemas.DATA.name, schemas.APPLICATION.name) == (MEMOS.schema, APPLICATION_SCHEMA)
    assert {table.schema for table in tables.metadata.tables.values()} == {"memos_ops"}


def test_no_module_of_postgres_or_maintenance_spells_a_schema() -> None:
    spelt = re.compile(r"""["'](memos_ops|agent|public|dagster)["']""")
    # PUBLIC is the role of everybody in three of them.
    known = {"schemas.py", "swap.py", "policy_states.py", "carried_over.py"}
    rooms = [PROJECT_ROOT / "memos_assets" / room for room in ("postgres", "maintenance")]
    paths = [path for room in rooms for path in room.rglob("*.py") if path.name not in known]
    assert len(paths) > 20
    assert [
        path.name for path in filter(Path.is_file, paths) if spelt.search(path.read_text())
    ] == []


def test_rows_that_cannot_be_had_again_are_in_the_backup() -> None:
    assert set(schemas.left_out_of_backups()) == {"memos", "memos_ops", "dagster"}


def test_tables_of_others_are_checked_only_where_they_were_adopted() -> None:
    assert set(schemas.shared_and_checked()) == {"agent", "memos_ops", "dagster"}


@pytest.mark.parametrize(("schema", "found"), [("memos_ops", 1), ("agent", 1), ("others", 0)])
def test_an_invalid_index_is_found_in_a_schema_that_this_checkout_creates(
    engine: sa.Engine, schema: str, found: int
) -> None:
    with engine.begin() as conn:
        conn.execute(sa.text(f"create schema if not exists {schema}"))
        conn.execute(sa.text(f"create table {schema}.things (id int)"))
        conn.execute(sa.text(f"create index broken on {schema}.things (id)"))
        conn.execute(
            sa.text("update pg_index set indisvalid = false where indexrelid = to_regclass(:name)"),
            {"name": f"{schema}.broken"},
        )
        assert [index.name for index in invalid_indexes(conn, MEMOS.maintained)] == [
            "broken"
        ] * found
