"""Read the rows of a snapshot's tables: as batches in the order of the key, or as a dataset."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from memos_assets.errors import SnapshotError
from memos_assets.snapshots.columns import SnapshotTable
from memos_assets.snapshots.manifest import Manifest, TableEntry
from memos_assets.snapshots.store import Store

#: Rows of one batch that is read.
_BATCH_ROWS = 4096


def table_of(entry: TableEntry) -> SnapshotTable:
    """Return a table as it was in the database."""
    return SnapshotTable(entry.schema, entry.name, dict(entry.columns), tuple(entry.key))


def schema_of(entry: TableEntry) -> pa.Schema:
    """Return the Arrow schema of a table's rows; each field names its PostgreSQL type.

    Raises:
        UsageError: M535 a column has a type that this version does not have.
    """
    return table_of(entry).arrow


def dataset(store: Store, entry: TableEntry) -> ds.Dataset:
    """Return a table as a dataset, of which columns and rows are read that a query asks for.

    Raises:
        SnapshotError: M807 its file is missing, or is not whole.
    """
    ensure_whole(store, entry)
    return ds.dataset(
        store.path(entry.file),
        schema=schema_of(entry),
        filesystem=store.filesystem,
        format="parquet",
    )


def batches(
    store: Store,
    entry: TableEntry,
    *,
    columns: Sequence[str] | None = None,
    batch_rows: int = _BATCH_ROWS,
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a table in the order of its key, with the schema of `schema_of`.

    Args:
        store: where the snapshot is.
        entry: the table, of its manifest.
        columns: to read, in the order of the table; None: all.
        batch_rows: of a batch, at most.

    Raises:
        SnapshotError: M807 its file is missing, damaged, or has other columns.
    """
    ensure_whole(store, entry)
    schema = schema_of(entry)
    with reading(store, entry), store.open_input(entry.file) as source:
        file = pq.ParquetFile(source, memory_map=False, pre_buffer=False)
        if not file.schema_arrow.equals(schema, check_metadata=False):
            raise damaged(store, entry, "its columns are not those of the manifest")
        if columns is not None:
            schema = pa.schema([schema.field(name) for name in columns])
        for batch in file.iter_batches(batch_rows, columns=schema.names, use_threads=False):
            yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)


def check_files(store: Store, manifest: Manifest) -> list[SnapshotError]:
    """Return an error for each file of a snapshot that is missing or has another size."""
    found = []
    for entry in manifest.tables:
        try:
            ensure_whole(store, entry)
        except SnapshotError as error:
            found.append(error)
    return found


def ensure_whole(store: Store, entry: TableEntry) -> None:
    """Refuse a file that is missing or has another size than its manifest says.

    Raises:
        SnapshotError: M807.
    """
    size = store.size(entry.file)
    if size is None:
        raise damaged(store, entry, "the file is missing")
    if size != entry.bytes:
        raise damaged(store, entry, f"the file has {size:,} bytes where {entry.bytes:,} belong")


@contextmanager
def reading(store: Store, entry: TableEntry) -> Iterator[None]:
    """Turn failures to read the file of a table within a block into one error.

    Raises:
        SnapshotError: M807.
    """
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise damaged(store, entry, f"the file cannot be read ({type(error).__name__})") from error


def damaged(store: Store, entry: TableEntry, what: str) -> SnapshotError:
    """Return M807 of the file of a table."""
    return SnapshotError(
        "M807",
        what,
        where=f"table {entry.qualified}, {store.url}/{entry.file}",
        fix="restore the file from a copy of the store, or write a snapshot anew if the rows are "
        "still live; memos-assets snapshots verify names every damaged file",
    )
