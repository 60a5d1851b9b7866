"""Our own revisions on a database with rows: what an upgrade and a downgrade do to the books."""

from pathlib import Path

import sqlalchemy as sa

from memos_assets.catalog import TABLES_BY_NAME
from memos_assets.postgres import migrations
from memos_assets_tests.consolidate import builders as b

SPEC = TABLES_BY_NAME["semantic_memories"]


def memories(folder: Path) -> Path:
    """One row in chunk 0, a reject and a row in chunk 1."""
    rows = [
        b.memory(1, embedding=None),
        b.memory(2_048, embedding=None, attributes="{"),
        b.memory(2_049, embedding=None),
    ]
    return b.write_kind(folder / "data", "semantic_memory", memories=rows)


def ledger(engine: sa.Engine) -> list[tuple[object, ...]]:
    return b.rows(
        engine,
        "select chunk, rows, rejected from memos_ops.chunks "
        "where table_name = 'semantic_memories' order by 1",
    )


def test_the_schema_goes_back_to_nothing_and_up_again(engine: sa.Engine) -> None:
    migrations.downgrade(engine, "base")
    assert sa.inspect(engine).get_schema_names() == ["information_schema", "memos_ops", "public"]
    assert migrations.upgrade(engine)[-1] == migrations.head()


def test_a_chunk_without_the_rows_of_its_rejects_is_loaded_again_after_the_upgrade(
    engine: sa.Engine, tmp_path: Path
) -> None:
    pin = b.consolidate(engine, memories(tmp_path))
    migrations.downgrade(engine, "0001")
    assert ledger(engine) == [(0, 1, 0), (1, 1, 1)]
    assert b.rejects(engine, SPEC.name) == [(2_048, "json_malformed")]
    migrations.upgrade(engine)
    assert ledger(engine) == [(0, 1, 0)]
    assert b.load_stale(engine, pin) == {SPEC.name: [1]}
    assert b.red(engine, pin) == {}
    assert b.rows(
        engine,
        "select columns[array_position(columns, 'attributes')], "
        "encode(sha256(row), 'hex') = row_digest, resolution from memos_ops.rejects",
    ) == [("attributes", True, None)]


def test_what_is_not_in_memos_is_forgotten_by_the_downgrade(
    engine: sa.Engine, tmp_path: Path
) -> None:
    b.consolidate(engine, memories(tmp_path))
    for table in ("chunks", "rejects"):
        b.execute(engine, f"update memos_ops.{table} set target = 'memos_v1' where chunk = 1")
    migrations.downgrade(engine, "0001")
    assert ledger(engine) == [(0, 1, 0)]
    assert b.rejects(engine, SPEC.name) == []
