"""Forgetting a source: rows only on request, and then all of them."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.consolidate.archive.forget import forget
from memos_assets.errors import UsageError
from memos_assets.postgres.schema import tables
from memos_assets_tests.consolidate import builders as b


def test_a_source_whose_rows_are_loaded_is_forgotten_only_with_them(
    engine: sa.Engine, tmp_path: Path
) -> None:
    path = b.write_kind(
        tmp_path / "data",
        "semantic_memory",
        memories=[b.memory(1), b.memory(2)],
        connections=[b.connection(1, 1, 2), b.connection(2, 1, 99)],
    )
    other = b.write_kind(tmp_path / "data", "meta_buffer", templates=[b.template(1)])
    pin = b.consolidate(engine, path)
    b.consolidate(engine, other)
    with pytest.raises(UsageError, match=r"^M554 semantic_memory: 4 rows of it are loaded"):
        forget(engine, MEMOS, "semantic_memory")
    assert b.red(engine, pin) == {}

    assert forget(engine, MEMOS, "semantic_memory", with_rows=True) == {
        "semantic_memories": 2,
        "semantic_links": 2,
    }
    for table in tables.metadata.tables.values():
        if "source" in table.c:
            left = b.rows(engine, f"select distinct source from {table.fullname}")
            assert left in ([], [("meta_buffer",)]), table.fullname
    assert path.exists()
    assert not pin.path.exists()
    with pytest.raises(UsageError, match=r"^M526 semantic_memory"):
        forget(engine, MEMOS, "semantic_memory")


def test_a_source_without_rows_is_forgotten_and_a_retired_one_is_not(
    engine: sa.Engine, tmp_path: Path
) -> None:
    path = b.write_kind(tmp_path / "data", "meta_buffer", templates=[b.template(1)])
    b.observe(engine, path)
    b.execute(engine, "update memos_ops.sources set retired_to = '/archive/meta_buffer.db'")
    with pytest.raises(UsageError, match=r"^M555 .*Fix: .*restore-source meta_buffer"):
        forget(engine, MEMOS, "meta_buffer", with_rows=True)
    b.execute(engine, "update memos_ops.sources set retired_to = null")
    assert forget(engine, MEMOS, "meta_buffer") == {}
