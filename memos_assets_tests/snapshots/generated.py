"""Snapshots of generated tables, written without a server."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from memos_assets.snapshots.columns import SnapshotTable
from memos_assets.snapshots.manifest import Manifest, TableEntry
from memos_assets.snapshots.store import Store
from memos_assets.snapshots.table_file import TableFile

Row = Mapping[str, Any]


def write_table(store: Store, table: SnapshotTable, rows: Sequence[Row]) -> TableEntry:
    """Write rows, which are in the order of the key, and return their entry.

    Args:
        store: that gets the file.
        table: whose columns each row has, uuids as 16 bytes.
        rows: in the order of the key.
    """
    columns = [_array([row[field.name] for row in rows], field) for field in table.arrow]
    with store.partial() as partial:
        with store.filesystem.open_output_stream(store.path(partial)) as sink:
            file = TableFile(sink, table.arrow)
            file.write(pa.RecordBatch.from_arrays(columns, schema=table.arrow))
            size, sha256 = file.finish()
        entry = TableEntry(
            schema=table.schema,
            name=table.name,
            columns=list(table.columns.items()),
            key=list(table.key),
            rows=len(rows),
            digest=file.rows.hexdigest(),
            bytes=size,
            sha256=sha256,
        )
        store.publish(partial, entry.file)
    return entry


def _array(values: list[Any], field: pa.Field) -> pa.Array:
    if field.type == pa.uuid():
        return pa.ExtensionArray.from_storage(field.type, pa.array(values, pa.binary(16)))
    return pa.array(values, field.type)


def write_manifest(
    store: Store, *tables: tuple[SnapshotTable, Sequence[Row]], day: int = 1
) -> Manifest:
    """Write a snapshot of tables and return its manifest.

    Args:
        store: that gets it.
        tables: with their rows.
        day: of January 2026, on which it is made.
    """
    manifest = Manifest(
        tables=[write_table(store, table, rows) for table, rows in tables],
        made_at=f"2026-01-{day:02}T00:00:00+00:00",
        revision="0020",
        database="7/generated",
    )
    store.put_manifest(manifest)
    return manifest
