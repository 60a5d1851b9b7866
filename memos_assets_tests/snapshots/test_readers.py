"""What docs/snapshots.md tells others to run reads a snapshot without a line of ours."""

import re
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from memos_assets.settings import PROJECT_ROOT
from memos_assets.snapshots.store import open_store
from memos_assets.snapshots.verify import verify
from memos_assets.snapshots.write import write_snapshot
from memos_assets_tests.snapshots.memories import fill

_PAGE = PROJECT_ROOT / "docs" / "snapshots.md"


def _example(language: str, snapshot: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", _PAGE.read_text("utf-8"), re.DOTALL)
    return str(found).replace("ID.json", f"{snapshot}.json")


def test_duckdb_and_pandas_read_the_folder(
    engine: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(engine, 30)
    store = open_store(str(tmp_path / "snapshots"))
    manifest = write_snapshot(engine, store, include_consolidated=True).manifest
    assert verify(store, manifest).is_whole
    schemas = {entry.schema for entry in manifest.tables}
    assert schemas == {"agent", "public", "memos"}
    monkeypatch.chdir(tmp_path)

    setting, query = _example("sql", manifest.id).split(";\n", 1)
    with duckdb.connect() as connection:
        connection.execute(setting)
        rows = connection.execute(query).fetchall()
        assert len(rows) == 30
        assert {(kind, content[:5]) for kind, content, _ in rows} == {("finding", "Fact ")}
        embeddings = manifest.entry("agent.embeddings_1")
        assert embeddings is not None
        width = f"select len(embedding) from '{store.path(embeddings.file)}' where memory = 1"
        assert connection.execute(width).fetchone() == (8,)

    seen: dict[str, Any] = {}
    exec(_example("python", manifest.id), seen)
    assert len(seen["memories"]) == 30
    assert set(seen["files"]) == {entry.qualified for entry in manifest.tables}


def test_embeddings_are_lists_of_fixed_size_of_their_own_type(
    engine: sa.Engine, tmp_path: Path
) -> None:
    fill(engine, 3)
    store = open_store(str(tmp_path / "snapshots"))
    entry = write_snapshot(engine, store).manifest.entry("agent.embeddings_1")
    assert entry is not None
    with store.open_input(entry.file) as source:
        file = pq.ParquetFile(source)
        assert (
            str(file.schema_arrow.field("embedding").type)
            == "fixed_size_list<element: halffloat>[8]"
        )
        assert file.metadata.row_group(0).column(0).compression == "ZSTD"
