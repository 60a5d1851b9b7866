"""Verify a snapshot: every file is whole, and holds the rows whose digest the manifest says.

The digest is computed from what DuckDB reads; pyarrow's reader of Parquet, of the same house as the
writer, has no part in it.
"""

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import duckdb
import pyarrow as pa

from memos_assets.errors import SnapshotError
from memos_assets.progress import Progress, report
from memos_assets.snapshots.duck import connect, source_of
from memos_assets.snapshots.identity import RowsDigest
from memos_assets.snapshots.manifest import Manifest, TableEntry
from memos_assets.snapshots.reader import damaged, ensure_whole, schema_of
from memos_assets.snapshots.store import Store

#: Rows that DuckDB hands over at once: the size of its own vectors.
_ROWS: Final = 2048
_READ_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found.

    Attributes:
        snapshot: its id.
        tables: how many were read.
        rows: of all of them.
        bytes: of their files.
        damaged: an error for each file that is missing or damaged.
        seconds: that it took.
    """

    snapshot: str
    tables: int
    rows: int
    bytes: int
    damaged: Sequence[SnapshotError]
    seconds: float

    @property
    def is_whole(self) -> bool:
        """Whether every file is there and holds its rows."""
        return not self.damaged


def verify(store: Store, manifest: Manifest) -> Verified:
    """Read every file of a snapshot and compare its rows with the manifest.

    Args:
        store: where the snapshot is.
        manifest: of it.
    """
    started = time.monotonic()
    errors = []
    found = []
    with connect(store) as duck:
        for entry in manifest.tables:
            try:
                ensure_bytes(store, entry)
                found.append(_recomputed(store, entry, duck))
            except SnapshotError as error:
                errors.append(error)
    if not errors:
        assert replace(manifest, tables=found).id == manifest.id
    return Verified(
        manifest.id,
        len(manifest.tables),
        manifest.rows,
        sum(entry.bytes for entry in manifest.tables),
        errors,
        time.monotonic() - started,
    )


def ensure_bytes(store: Store, entry: TableEntry) -> None:
    """Refuse a file whose bytes are not the ones that were written.

    Raises:
        SnapshotError: M807.
    """
    ensure_whole(store, entry)
    digest = hashlib.sha256()
    with store.open_input(entry.file) as file:
        while piece := file.read(_READ_BYTES):
            digest.update(piece)
    if digest.hexdigest() != entry.sha256:
        raise damaged(store, entry, "its bytes are not the ones that were written")


def _recomputed(store: Store, entry: TableEntry, duck: duckdb.DuckDBPyConnection) -> TableEntry:
    """Return what the manifest says of a table, with rows and digest as DuckDB reads them.

    Raises:
        SnapshotError: M807 they are others.
    """
    rows = RowsDigest(schema_of(entry))
    try:
        for batch in _rows(store, entry, duck, rows.schema):
            rows.update(batch)
    except (duckdb.Error, pa.ArrowException) as error:
        raise damaged(store, entry, f"it cannot be read ({type(error).__name__})") from error
    if (rows.rows, rows.hexdigest()) != (entry.rows, entry.digest):
        raise damaged(store, entry, "its rows are not those of the manifest")
    report(Progress("verify", entry.qualified, rows=rows.rows, bytes=entry.bytes, done=True))
    return replace(entry, rows=rows.rows, digest=rows.hexdigest())


def _rows(
    store: Store, entry: TableEntry, duck: duckdb.DuckDBPyConnection, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """Yield the rows that DuckDB reads, in the order of the file."""
    columns = ", ".join(map(_selected, schema))
    relation = duck.sql(f"select {columns} from {source_of(store, entry.file)}")
    for batch in relation.to_arrow_reader(_ROWS):
        columns_of = zip(batch.columns, schema, strict=True)
        yield pa.RecordBatch.from_arrays(
            [_as(column, field.type) for column, field in columns_of], schema=schema
        )


def _selected(field: pa.Field) -> str:
    name = '"' + field.name.replace('"', '""') + '"'
    # DuckDB gives a uuid as text.
    return f"unhex(replace({name}::varchar, '-', ''))" if field.type == pa.uuid() else name


def _as(column: pa.Array, arrow: pa.DataType) -> pa.Array:
    if isinstance(arrow, pa.BaseExtensionType):
        return column.cast(arrow.storage_type).cast(arrow)
    return column.cast(arrow)
