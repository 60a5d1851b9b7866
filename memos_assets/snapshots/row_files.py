"""The rows that differ between two snapshots, as Parquet files beside a diff."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from memos_assets.files import private_descriptor
from memos_assets.snapshots import reader
from memos_assets.snapshots.aligned import BATCH_ROWS, Rows
from memos_assets.snapshots.comparison import Comparison
from memos_assets.snapshots.differences import RowFiles, TableDiff
from memos_assets.snapshots.duck import rows_in
from memos_assets.snapshots.duck_tables import Duck, name
from memos_assets.snapshots.manifest import TableEntry
from memos_assets.snapshots.table_file import TableFile


def write_rows(duck: Duck, compared: Comparison, table: TableDiff, files: RowFiles) -> None:
    """Write the rows of a table that differ, of both snapshots, whole and in the order of the key.

    Args:
        duck: has the temporary table of the comparison.
        compared: that was made.
        table: its result.
        files: that are written, which only this user may read.

    Raises:
        SnapshotError: M807 a file of a snapshot is damaged.
    """
    sides = (
        ("a", compared.a, files.before(table.table)),
        ("b", compared.b, files.after(table.table)),
    )
    for side, entry, path in sides:
        if entry is None:
            continue
        rows = reader.batches(duck.store, entry, batch_rows=BATCH_ROWS)
        if not table.whole:
            rows = _chosen(duck, compared, side, rows)
        with open(path, "wb", opener=_private) as sink:
            file = TableFile(sink, reader.schema_of(entry))
            for batch in rows:
                file.write(batch)
            file.finish()


def _private(path: str, flags: int) -> int:
    return private_descriptor(Path(path), flags)


def _chosen(
    duck: Duck, compared: Comparison, side: str, rows: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Yield the rows whose numbers the comparison has."""
    numbered = f"select {side}_row from {compared.relation} where {side}_row is not null order by 1"
    numbers = np.asarray(duck.run(numbered).fetchnumpy()[f"{side}_row"], np.int64)
    start = 0
    for batch in rows:
        first, last = np.searchsorted(numbers, (start, start + batch.num_rows))
        if last > first:
            yield batch.take(pa.array(numbers[first:last] - start))
        start += batch.num_rows


def merged(
    duck: Duck, before: TableEntry, entry: TableEntry, files: RowFiles
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of the second snapshot, from those of the first one and those that differ.

    DuckDB sorts keys alone; the rows come from both files as they are, in that order.

    Args:
        duck: reads the first snapshot.
        before: the table in the first snapshot, with the same columns and key.
        entry: the table in the second one.
        files: with the rows that differ.

    Raises:
        SnapshotError: M807, M810, M811.
        ValueError: a file has other rows than keys.
    """
    key = list(enumerate(map(name, entry.key)))
    same = " and ".join(f"f.{one} = g.{one}" for _, one in key)
    of_former, of_later = (
        ", ".join(f"{prefix}{one} as k{number}" for number, one in key) for prefix in ("f.", "")
    )
    order = (
        f"select source from (select {of_former}, "
        "case when g.file_row_number is null then 0 else 2 end::utinyint as source "
        f"from {duck.rows_of(before)} f left join {rows_in(str(files.before(entry.qualified)))} g "
        f"on {same} union all "
        f"select {of_later}, 1::utinyint from {rows_in(str(files.after(entry.qualified)))}"
        f") order by {', '.join(f'k{number}' for number, _ in key)}"
    )
    schema = reader.schema_of(entry)
    former = Rows(reader.batches(duck.store, before, batch_rows=BATCH_ROWS))
    later = Rows(read_file(files.after(entry.qualified), schema))
    for chunk in duck.stream(order, BATCH_ROWS):
        source = chunk.column(0).to_numpy()
        is_later = source == 1
        count = int(is_later.sum())
        rows = [*former.take(len(source) - count), *later.take(count)]
        place = np.empty(len(source), np.int64)
        place[~is_later] = np.arange(len(source) - count)
        place[is_later] = np.arange(len(source) - count, len(source))
        table = pa.Table.from_batches(rows, schema)
        yield from table.take(pa.array(place[source != 2])).combine_chunks().to_batches()


def read_file(path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a file that `write_rows` wrote."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH_ROWS, use_threads=False):
            yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)
