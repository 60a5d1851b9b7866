"""A snapshot is written, has an identity, and is read back as it was."""

from pathlib import Path

import pyarrow as pa
import sqlalchemy as sa

from memos_assets.postgres.connection import driver_of
from memos_assets.snapshots.columns import read_tables
from memos_assets.snapshots.identity import RowsDigest
from memos_assets.snapshots.reader import batches, check_files, dataset
from memos_assets.snapshots.store import open_store
from memos_assets.snapshots.write import rows_of, write_snapshot
from memos_assets_tests.snapshots.memories import fill


def test_snapshot_holds_every_row_and_is_read_back(engine: sa.Engine, tmp_path: Path) -> None:
    fill(engine, 300)
    store = open_store(str(tmp_path / "snapshots"))

    written = write_snapshot(engine, store)

    manifest = store.manifest(written.manifest.id)
    assert manifest == written.manifest
    assert not written.unchanged
    assert check_files(store, manifest) == []
    assert store.names("partial") == []
    with engine.connect() as conn:
        live = {table.qualified: table for table in read_tables(conn, "agent", "public")}
        for entry in manifest.tables:
            rows = list(batches(store, entry))
            now = list(rows_of(driver_of(conn), live[entry.qualified]))
            schema = live[entry.qualified].arrow
            assert pa.Table.from_batches(rows, schema).equals(pa.Table.from_batches(now, schema))
            digest = RowsDigest(schema)
            for batch in batches(store, entry, batch_rows=7):
                digest.update(batch)
            assert (digest.hexdigest(), digest.rows) == (entry.digest, entry.rows)
    memories = manifest.entry("agent.memories")
    assert memories is not None
    assert dataset(store, memories).count_rows() == memories.rows == 300


def test_unchanged_tables_are_references_and_an_unchanged_day_is_a_moment(
    engine: sa.Engine, tmp_path: Path
) -> None:
    fill(engine, 10)
    store = open_store(str(tmp_path / "snapshots"))
    first = write_snapshot(engine, store, partition="2026-11-26").manifest
    files = store.names("tables")

    second = write_snapshot(engine, store, partition="2026-11-27")

    assert (second.manifest.id, second.unchanged, second.bytes) == (first.id, True, 0)
    assert store.names("tables") == files
    assert [one.partition for one in store.manifest(first.id).moments] == [
        "2026-11-26",
        "2026-11-27",
    ]
    with engine.begin() as conn:
        conn.execute(
            sa.text(
                "update agent.links set weight = 0.5 where a = (select min(a) from agent.links)"
            )
        )
    third = write_snapshot(engine, store)
    assert third.manifest.id != first.id
    assert third.manifest.parent == first.id
    assert {t.qualified for t in third.manifest.tables} - set(third.reused) == {"agent.links"}
