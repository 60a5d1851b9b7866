"""Make the second snapshot of a diff from the first one and the rows that differ."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pyarrow as pa

from memos_assets.errors import SnapshotError
from memos_assets.snapshots import reader
from memos_assets.snapshots.differences import Diff, RowFiles, TableDiff
from memos_assets.snapshots.duck_tables import Duck, opened
from memos_assets.snapshots.manifest import Manifest, TableEntry
from memos_assets.snapshots.row_files import merged, read_file
from memos_assets.snapshots.store import Store
from memos_assets.snapshots.table_file import TableFile


def apply(store: Store, a: Manifest, diff: Diff, *, duck: Duck | None = None) -> Manifest:
    """Write the snapshot that a diff leads to; return its manifest, whose id is that of `diff.b`.

    Args:
        store: has `a`; it gets the tables that differ, and the manifest, unless it has them.
        a: the first snapshot of the diff.
        diff: with the rows that differ.
        duck: a connection over the store's files; None: one is opened.

    Raises:
        SnapshotError: M807 a file of `a` is damaged; M811 memory or disk are exhausted.
        SnapshotError: M812 the diff is of another snapshot, or has no rows.
        SnapshotError: M813 its rows do not lead to its second snapshot.
    """
    if diff.a.id != a.id or diff.files is None:
        what = "it was made without rows" if diff.a.id == a.id else "it is of another snapshot"
        raise SnapshotError(
            "M812",
            f"the diff cannot be applied: {what}",
            where=f"snapshot {a.id[:12]}, diff of {diff.a.id[:12]} and {diff.b.id[:12]}",
            fix="make it anew from this snapshot, with a folder for its rows",
        )
    with ExitStack() as stack:
        if duck is None:
            duck = stack.enter_context(opened(store))
        known = {entry.identity: entry for one in (*store.manifests(), a) for entry in one.tables}
        entries = []
        for entry in diff.b.tables:
            there = known.get(entry.identity)
            if there is None or store.size(there.file) != there.bytes:
                there = _make(duck, a, diff, diff.files, entry)
            entries.append(there)
    made = replace(diff.b, tables=entries)
    if made.id not in store.ids():
        store.put_manifest(made)
    return made


def _make(duck: Duck, a: Manifest, diff: Diff, files: RowFiles, entry: TableEntry) -> TableEntry:
    """Write the file of a table, if its rows are those of the second snapshot."""
    store = duck.store
    with store.partial() as partial:
        with store.filesystem.open_output_stream(store.path(partial)) as sink:
            file = TableFile(sink, reader.schema_of(entry))
            try:
                for batch in _rows(duck, a, diff.table(entry.qualified), files, entry):
                    file.write(batch)
            except (OSError, ValueError, pa.ArrowException) as error:
                file.abandon()
                raise _other_rows(entry, files) from error
            except SnapshotError as error:
                file.abandon()
                # The file of the first snapshot was whole.
                raise (_other_rows(entry, files) if error.code == "M810" else error) from error
            size, sha256 = file.finish()
        if (file.rows.rows, file.rows.hexdigest()) != (entry.rows, entry.digest):
            raise _other_rows(entry, files)
        made = replace(entry, bytes=size, sha256=sha256)
        store.publish(partial, made.file)
    return made


def _rows(
    duck: Duck, a: Manifest, table: TableDiff | None, files: RowFiles, entry: TableEntry
) -> Iterator[pa.RecordBatch]:
    before = a.entry(entry.qualified)
    if table is None and before is not None:
        return reader.batches(duck.store, before)
    if table is None or table.whole or before is None:
        return read_file(files.after(entry.qualified), reader.schema_of(entry))
    reader.ensure_whole(duck.store, before)
    return merged(duck, before, entry, files)


def _other_rows(entry: TableEntry, files: RowFiles) -> SnapshotError:
    return SnapshotError(
        "M813",
        "the rows of the diff do not lead to its second snapshot: a file was changed or is missing",
        where=f"table {entry.qualified}, {files.folder}",
        fix="make the diff anew; the store has no such snapshot",
    )
