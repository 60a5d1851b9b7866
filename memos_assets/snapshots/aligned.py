"""Compare embeddings of two snapshots, byte by byte, in the order of the key.

Both files are read once, side by side: an embedding of 1,024 elements is too wide for a join. Rows
that one side lacks are skipped, so that the rest are the same rows.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from memos_assets.snapshots import reader
from memos_assets.snapshots.manifest import TableEntry
from memos_assets.snapshots.store import Store

#: Rows of one batch: 8 MB of 1,024 elements of 4 bytes.
BATCH_ROWS = 2_048
#: Rows that differ, of one batch of the answer.
_ANSWERED_ROWS = 65_536

Numbers = npt.NDArray[np.int64]


class Rows:
    """Rows that are taken from batches, some at a time.

    Attributes:
        batches: that are left.
    """

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        """Begin.

        Args:
            batches: of one schema.
        """
        self.batches = batches
        self._rest: pa.RecordBatch | None = None

    def take(self, count: int) -> Iterator[pa.RecordBatch]:
        """Yield the next rows, in batches.

        Raises:
            ValueError: there are fewer.
        """
        while count:
            batch = next(self.batches, None) if self._rest is None else self._rest
            if batch is None:
                raise ValueError("fewer rows than keys")
            yield batch.slice(0, count)
            self._rest = batch.slice(count) if batch.num_rows > count else None
            count -= min(count, batch.num_rows)


def changed_embeddings(
    store: Store,
    a: TableEntry,
    b: TableEntry,
    columns: Sequence[str],
    skipped: tuple[Numbers, Numbers],
) -> Iterator[pa.RecordBatch]:
    """Yield the rows in which embeddings differ: number in ``a``, a flag for each column.

    Args:
        store: that has both files.
        a: the table in the first snapshot.
        b: the table in the second one.
        columns: embeddings of a declared length, of one type in both.
        skipped: numbers of rows of ``a`` that ``b`` lacks, and of ``b`` that ``a`` lacks, from 0,
            sorted.

    Raises:
        SnapshotError: M807.
        ValueError: the numbers do not make both sides equally long.
    """
    former = _kept(store, a, columns, skipped[0])
    later = Rows(batch for _, batch in _kept(store, b, columns, skipped[1]))
    waiting: list[pa.RecordBatch] = []
    for numbers, batch in former:
        start = 0
        for other in later.take(batch.num_rows):
            part = slice(start, start + other.num_rows)
            start += other.num_rows
            piece = batch.slice(part.start, other.num_rows)
            flags = [_differs(piece.column(one), other.column(one)) for one in columns]
            places = np.flatnonzero(np.logical_or.reduce(flags))
            if len(places):
                arrays = [pa.array(numbers[part][places]), *(pa.array(f[places]) for f in flags)]
                named = ["row", *(f"e{i}" for i in range(len(columns)))]
                waiting.append(pa.RecordBatch.from_arrays(arrays, named))
        if sum(one.num_rows for one in waiting) >= _ANSWERED_ROWS:
            yield pa.Table.from_batches(waiting).combine_chunks().to_batches()[0]
            waiting = []
    if waiting:
        yield pa.Table.from_batches(waiting).combine_chunks().to_batches()[0]


def _kept(
    store: Store, entry: TableEntry, columns: Sequence[str], skipped: Numbers
) -> Iterator[tuple[Numbers, pa.RecordBatch]]:
    """Yield batches without some rows, with the numbers of the others."""
    ordered = [name for name, _ in entry.columns if name in columns]
    start = 0
    for batch in _ahead(reader.batches(store, entry, columns=ordered, batch_rows=BATCH_ROWS)):
        numbers = np.arange(start, start + batch.num_rows)
        start += batch.num_rows
        first, last = np.searchsorted(skipped, (numbers[0], start))
        if last > first:
            numbers = np.delete(numbers, skipped[first:last] - numbers[0])
            yield numbers, batch.take(pa.array(numbers - (start - batch.num_rows)))
        else:
            yield numbers, batch


def _ahead(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield batches, while the next one is read in a thread: each file has a core of its own."""
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(next, batches, None)
        while (batch := reading.result()) is not None:
            reading = pool.submit(next, batches, None)
            yield batch


def _differs(a: pa.FixedSizeListArray, b: pa.FixedSizeListArray) -> npt.NDArray[np.bool_]:
    """Return where two columns differ: the bytes, or which is NULL."""
    valid_a, valid_b = (_valid(one) for one in (a, b))
    differs = (_bytes(a) != _bytes(b)).any(axis=1)
    found: npt.NDArray[np.bool_] = (valid_a != valid_b) | (valid_a & valid_b & differs)
    return found


def _valid(column: pa.Array) -> npt.NDArray[np.bool_]:
    return np.asarray(column.is_valid().to_numpy(zero_copy_only=False), np.bool_)


def _bytes(column: pa.FixedSizeListArray) -> npt.NDArray[np.generic]:
    """Return a row of bytes, or of 8 of them at once, for each value, NULL or not."""
    elements = column.values
    width = column.type.list_size * elements.type.bit_width // 8
    start = elements.offset * elements.type.bit_width // 8 + column.offset * width
    data = np.frombuffer(elements.buffers()[1], np.uint8)[start : start + len(column) * width]
    rows = data.reshape(len(column), width)
    return rows.view(np.uint64) if width % 8 == 0 and start % 8 == 0 else rows
