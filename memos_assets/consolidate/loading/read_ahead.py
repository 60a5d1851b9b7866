"""Read, decode and encode chunks in a thread of their own, a few batches ahead of PostgreSQL."""

import queue
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from memos_assets.catalog import TableSpec
from memos_assets.consolidate.decoding.batches import integral_reals
from memos_assets.consolidate.decoding.reader import ChunkTask, is_loaded, rejects_of
from memos_assets.consolidate.decoding.repair_rules import rules_of
from memos_assets.consolidate.loading.byte_queue import ByteQueue
from memos_assets.errors import MemosAssetsError
from memos_assets.postgres.copy import encode as copy_binary
from memos_assets.postgres.copy.arrow_schema import table_schema

#: Encoded batches and bytes of them that may wait for PostgreSQL; it bounds memory.
_WAITING, _WAITING_BYTES = 2, 8 * 1024 * 1024


@dataclass(slots=True)
class Counts:
    """Rows of one chunk by outcome.

    Attributes:
        rows: loaded, mirrored ones left out.
        rejected: not loaded, whether open or dropped.
        mirrored: added for the reverse direction.
        without_embedding: reason -> loaded rows.
        repaired: rule -> loaded rows that it changed.
        integral_reals: SQLite column -> REAL values that were read as the integers they equal.
        faults: every reason that was found, settled or not.
    """

    rows: int = 0
    rejected: int = 0
    mirrored: int = 0
    without_embedding: Counter[str] = field(default_factory=Counter)
    repaired: Counter[str] = field(default_factory=Counter)
    integral_reals: Counter[str] = field(default_factory=Counter)
    faults: set[str] = field(default_factory=set)

    def add(self, other: "Counts") -> None:
        """Take the counts of a batch of the same chunk."""
        self.rows += other.rows
        self.rejected += other.rejected
        self.mirrored += other.mirrored
        self.without_embedding += other.without_embedding
        self.repaired += other.repaired
        self.integral_reals += other.integral_reals
        self.faults |= other.faults

    @property
    def copied(self) -> int:
        """Rows in PostgreSQL, mirrored ones included."""
        return self.rows + self.mirrored

    def as_ledger(self) -> dict[str, Any]:
        """Return the columns of the ledger that these counts fill."""
        return {
            "rows": self.rows,
            "rejected": self.rejected,
            "mirrored": self.mirrored,
            "without_embedding": dict(sorted(self.without_embedding.items())),
            "repaired": dict(sorted(self.repaired.items())),
        }


@dataclass(frozen=True, slots=True)
class EncodedBatch:
    """One batch on its way to PostgreSQL.

    Attributes:
        task: the chunk that it is of.
        payload: its rows as tuples of a binary COPY.
        rejects: rows that are not loaded as they are, as the rejects have them.
        counts: of its rows.
    """

    task: ChunkTask
    payload: Sequence[bytes]
    rejects: Sequence[Mapping[str, Any]]
    counts: Counts

    @property
    def reject_bytes(self) -> int:
        """Bytes of the rejected rows."""
        return sum(len(reject["row"]) for reject in self.rejects)

    @property
    def size_bytes(self) -> int:
        """Bytes of all."""
        return sum(map(len, self.payload)) + self.reject_bytes


class ReadAhead:
    """A stream of chunks, read ahead by a thread until it is closed.

    Args:
        spec: the table.
        reader: of its chunks.
        tasks: the chunks, in the order of the stream.
    """

    _END = object()

    def __init__(
        self, spec: TableSpec, reader: pa.RecordBatchReader, tasks: Sequence[ChunkTask]
    ) -> None:
        self._names = table_schema(spec).names
        self._spec, self._reader = spec, reader
        self._tasks = {(task.source, task.chunk): task for task in tasks}
        self._queue: ByteQueue[Any] = ByteQueue(_WAITING, _WAITING_BYTES)
        self._stopped = threading.Event()
        self._next: Any = None
        self._thread = threading.Thread(target=self._work, name="decode", daemon=True)
        self._thread.start()

    def batches_of(self, task: ChunkTask) -> Iterator[EncodedBatch]:
        """Yield the batches of one chunk; chunks arrive in the order of the tasks."""
        if task.source_rows == 0:
            return
        while True:
            item = self._next if self._next is not None else self._queue.get()
            self._next = None
            if isinstance(item, BaseException):
                # Nothing follows it, so it is also what the next one who asks gets.
                self._next = item
                raise item
            if item is self._END or item.task is not task:
                self._next = item
                return
            only = [item]
            # It is referred to by nothing here while the next one is awaited.
            del item
            yield only.pop()

    def skipped(self, task: ChunkTask) -> bool:
        """Pass over what is left of a chunk; return whether the stream goes on behind it."""
        try:
            for _ in self.batches_of(task):
                pass
        except MemosAssetsError:
            return False
        return True

    def close(self) -> None:
        """Stop reading, and drop the batches that were read ahead."""
        self._stopped.set()
        while self._thread.is_alive():
            try:
                self._queue.get(timeout=0.05)
            except queue.Empty:
                continue
        self._thread.join()

    def _put(self, item: Any, size: int = 0) -> None:
        while not self._stopped.is_set():
            try:
                self._queue.put(item, size, timeout=0.1)
            except queue.Full:
                continue
            return

    def _work(self) -> None:
        try:
            while self._has_room() and (batch := self._read()) is not None:
                encoded = self._encode(batch)
                # The next one is read without these in memory.
                del batch
                self._put(encoded, encoded.size_bytes)
                del encoded
            self._put(self._END)
        except BaseException as error:  # noqa: BLE001  it is raised again where it is awaited
            self._put(_unwrapped(error))
        finally:
            self._reader.close()

    def _has_room(self) -> bool:
        """Wait until a long row that was read ahead is on its way; False when nobody waits."""
        while not self._stopped.is_set():
            if self._queue.wait_for_room(timeout=0.1):
                return True
        return False

    def _read(self) -> pa.RecordBatch | None:
        try:
            return self._reader.read_next_batch()
        except StopIteration:
            return None

    def _encode(self, batch: pa.RecordBatch) -> EncodedBatch:
        place = (batch.column("source")[0].as_py(), batch.column("chunk")[0].as_py())
        rejects = rejects_of(batch)
        keep = None
        counts = Counts(integral_reals=integral_reals(batch))
        if rejects:
            keep = is_loaded(batch)
            for reject in rejects:
                counts.faults.update(reject.pop("faults"))
                counts.repaired.update(rules_of(reject["resolution"]))
            counts.rejected = keep.count(False)
        if self._spec.mirrored:
            counts.mirrored = batch.column("reversed").true_count
        counts.rows = batch.num_rows - counts.rejected - counts.mirrored
        for vector in self._spec.vectors:
            # A rejected row has no reason here, and no embedding either.
            reasons = batch.column(vector.reason_name)
            if reasons.null_count < len(reasons):
                counts.without_embedding.update(
                    f"{vector.name}: {reason}" for reason in reasons.drop_null().to_pylist()
                )
        payload = copy_binary.encoded_parts(batch.select(self._names), keep)
        return EncodedBatch(self._tasks[place], payload, rejects, counts)


def _unwrapped(error: BaseException) -> BaseException:
    """Arrow wraps what a Python generator raises; people should see the cause."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemosAssetsError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return error
