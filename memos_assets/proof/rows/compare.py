"""Read every row of a table on both sides and compare: SQLite's pinned copy, PostgreSQL by COPY.

The proof does not trust the bookkeeping tables: it compares the ledger, counts the pinned file,
and judges every reject for itself.
Both sides are read at once, each into one digest per chunk; where two differ,
`locate_differences` reads that chunk again and names rows, columns and values.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from memos_assets.catalog import TableSpec
from memos_assets.consolidate.loading import ledger
from memos_assets.consolidate.sources.encodings import as_declared
from memos_assets.consolidate.sources.pins import Pin, check_copy
from memos_assets.progress import Progress, report
from memos_assets.proof.expected import values as canonical
from memos_assets.proof.expected.rejects import Judged, Rejects
from memos_assets.proof.rows.derived import MOST_NAMED, DerivedCheck
from memos_assets.proof.rows.differences import Difference, DifferingChunk, locate_differences
from memos_assets.proof.rows.row_streams import (
    UNENCODABLE,
    SourceSide,
    compared_columns,
    joined,
    judged_rows,
    target_rows,
)
from memos_assets.sqlite import file as sqlite_file
from memos_assets.thread_switches import prompt_switches

#: Kinds of fault of V01: the row counts do not add up. `differs` belongs to V02.
COUNT_FAULTS = (
    *("rejected wrongly", "settled without a decision", "missing", "extra"),
    *("rejected and loaded", "reject of another row", "pin", "ledger"),
)


@dataclass(slots=True)
class Side:
    """One side of one chunk: the rows that PostgreSQL must have, or has, and their digest."""

    rows: int = 0
    sha256: Any = field(default_factory=hashlib.sha256)

    def add(self, row: Sequence[bytes]) -> None:
        """Take the next row, in parts."""
        self.rows += 1
        for part in row:
            self.sha256.update(part)

    @property
    def digest(self) -> str:
        """Sha256 over the rows so far, hexadecimal."""
        return str(self.sha256.hexdigest())


@dataclass(slots=True)
class SourceProof:
    """The comparison of one source in one table.

    Attributes:
        source: name of the source.
        pin_digest: the pinned copy that was read.
        derived: the recomputed columns.
        source_rows: rows of the SQLite table.
        loaded_rows: rows in PostgreSQL, mirrored ones left out.
        rejected_rows: rows in the rejects that are not loaded.
        chunks: chunk -> digest in SQLite, digest in PostgreSQL.
        reread_chunks: chunks whose digests differed, so that they were read again row by row.
        reject_reasons: reason -> rows in the rejects, those too that a rule changed.
        embedded_source: vector column -> rows with a usable embedding in SQLite.
        embedded_target: vector column -> rows with a non-NULL, non-zero one in PostgreSQL.
        null_reasons: reason -> rows whose embedding is NULL in PostgreSQL.
        integral_reals: SQLite column -> REAL values that were read as the integers they equal.
        null_in_source: ``column: reason`` -> loaded rows whose embedding is unusable in SQLite.
        faults: faults by kind; each entry names a row.
        fault_counts: number of faults by kind.
        differences: the first values that differ.
    """

    source: str
    pin_digest: str
    derived: DerivedCheck
    source_rows: int = 0
    loaded_rows: int = 0
    rejected_rows: int = 0
    chunks: dict[int, tuple[str, str]] = field(default_factory=dict)
    reread_chunks: list[int] = field(default_factory=list)
    reject_reasons: Counter[str] = field(default_factory=Counter)
    embedded_source: Counter[str] = field(default_factory=Counter)
    embedded_target: Counter[str] = field(default_factory=Counter)
    null_reasons: Counter[str] = field(default_factory=Counter)
    integral_reals: Counter[str] = field(default_factory=Counter)
    null_in_source: Counter[str] = field(default_factory=Counter)
    faults: dict[str, list[str]] = field(default_factory=dict)
    fault_counts: Counter[str] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)

    def fault(self, kind: str, what: str) -> None:
        """Count a fault; the first few of a kind are named."""
        self.fault_counts[kind] += 1
        named = self.faults.setdefault(kind, [])
        if len(named) < MOST_NAMED:
            named.append(what)

    @property
    def source_digest(self) -> str:
        """Digest of all chunks in SQLite."""
        return self._digest(0)

    @property
    def target_digest(self) -> str:
        """Digest of all chunks in PostgreSQL."""
        return self._digest(1)

    def _digest(self, side: int) -> str:
        lines = (f"{chunk} {pair[side]}\n" for chunk, pair in sorted(self.chunks.items()))
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def prove_table(
    conn: sa.Connection, spec: TableSpec, pin: Pin, chunks: Collection[int] | None = None
) -> SourceProof:
    """Compare one table of one source on both sides, every value of every row.

    Memory use does not grow with the number of rows.

    Args:
        conn: to the target database.
        spec: the table.
        pin: the pinned copy that was loaded.
        chunks: compare these alone; None for the whole table.

    Raises:
        SourceError: M107 when that copy is gone, M109 when it is not as it was pinned.
    """
    check_copy(pin)
    spec = as_declared(spec, pin.source, pin.kind.encodings)
    proof = SourceProof(pin.source, pin.digest, DerivedCheck(spec))
    what = f"{spec.qualified} {pin.source}"
    report(Progress("verify", what, total_rows=pin.rows.get(spec.origin, 0)))
    # COPY occupies the connection while the rejects are read.
    with conn.engine.connect() as beside:
        beside = beside.execution_options(**conn.get_execution_options())
        rejects = Rejects(beside, spec, pin.source)
        with prompt_switches(), ThreadPoolExecutor(2, thread_name_prefix="prove") as pool:
            stored = pool.submit(_read_target, conn, spec, pin.source, proof, chunks)
            source = _SourceReading(spec, pin, rejects, proof, chunks)
            source.read(pool, what)
            found = stored.result()
        proof.loaded_rows = sum(side.rows for side in found.values())
        for chunk in sorted({*source.wanted, *found}):
            here, there = source.wanted.get(chunk, Side()), found.get(chunk, Side())
            proof.chunks[chunk] = here.digest, there.digest
            if here.digest != there.digest:
                proof.reread_chunks.append(chunk)
                _add_differences(conn, DifferingChunk(spec, pin, chunk, rejects), proof)
    for fault in _ledger_faults(conn, spec, pin.source, source.counted, chunks):
        proof.fault("ledger", fault)
    report(Progress("verify", what, done=True))
    return proof


class _SourceReading:
    """Digests the rows that PostgreSQL must have, chunk by chunk."""

    def __init__(
        self,
        spec: TableSpec,
        pin: Pin,
        rejects: Rejects,
        proof: SourceProof,
        chunks: Collection[int] | None = None,
    ) -> None:
        self._chunks = chunks
        self._spec, self._pin, self._rejects, self._proof = spec, pin, rejects, proof
        self._places = _vector_places(spec)
        #: Chunk -> rows of the SQLite table.
        self.counted: Counter[int] = Counter()
        #: Chunk -> its rows that must be loaded.
        self.wanted: dict[int, Side] = {}

    def read(self, pool: ThreadPoolExecutor, what: str) -> None:
        """Read the table to the end; derived columns are recomputed by a thread of the pool."""
        proof, origin = self._proof, self._spec.origin
        with sqlite_file.opened(self._pin.path) as connection:
            # What the pin is said to hold is compared, and not believed.
            is_there = origin in sqlite_file.layout(connection)
            if is_there:
                side = SourceSide(connection, self._spec)
                derived: Future[None] | None = None
                for batch in self._batches(side):
                    if derived is not None:
                        derived.result()
                    derived = pool.submit(proof.derived.add, batch, side.value)
                    proof.integral_reals += side.integral_reals(batch)
                    self._take_batch(side, batch)
                    report(Progress("verify", what, rows=len(batch)))
                    # The next one is read without this one in memory.
                    del batch
                if derived is not None:
                    derived.result()
        if self._chunks is None:
            self._strangers(rowid for rowid, _ in self._rejects.rest())
        proof.source_rows = self.counted.total()
        if self._chunks is None:
            self._compare_with_pin(is_there=is_there)

    def _compare_with_pin(self, *, is_there: bool) -> None:
        proof, origin = self._proof, self._spec.origin
        recorded = self._pin.rows.get(origin)
        if recorded != (proof.source_rows if is_there else None):
            there = f"{proof.source_rows} rows" if is_there else "no such table"
            said = "no such table" if recorded is None else f"{recorded} rows"
            proof.fault("pin", f"{origin}: {there} in the pinned copy, {said} by memos_ops.pins")

    def _batches(self, side: SourceSide) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows of the chunks, and note the rejects of each that have no row."""
        if self._chunks is None:
            yield from side.batches()
            return
        width = self._pin.chunk_rows
        for chunk in sorted(self._chunks):
            # Rowids below zero are in the first chunk.
            first, last = chunk * width if chunk else -(2**63), (chunk + 1) * width - 1
            self._rejects.start(first, last)
            yield from side.batches(first, last)
            self._strangers(rowid for rowid, _ in self._rejects.rest())

    def _take_batch(self, side: SourceSide, batch: Sequence[Sequence[Any]]) -> None:
        judged, strangers = judged_rows(side, batch, self._rejects)
        self._strangers(strangers)
        for row in batch:
            self._take(side, row, judged.get(row[0]))

    def _strangers(self, rowids: Iterable[int]) -> None:
        for rowid in rowids:
            self._proof.rejected_rows += 1
            self._proof.fault("reject of another row", f"rowid {rowid} is not in the source")

    def _take(self, side: SourceSide, row: Sequence[Any], judged: Judged | None) -> None:
        rowid = row[0]
        chunk = max(rowid // self._pin.chunk_rows, 0)
        self.counted[chunk] += 1
        entry = judged.entry if judged else None
        if judged is not None and not self._is_expected(side, row, judged):
            return
        try:
            fields = side.fields(row, entry.rules if entry else {})
        except UNENCODABLE as error:
            # Such a row should be in the rejects.
            self._proof.fault("differs", f"rowid {rowid} cannot be loaded as it is: {error}")
            fields = [None] * len(compared_columns(self._spec))
        for name, place in self._places.items():
            self._proof.embedded_source[name] += fields[place] is not None
            if (reason := fields[place + 2]) is not None:
                self._proof.null_in_source[f"{name}: {reason.decode()}"] += 1
        wanted = self.wanted.get(chunk)
        if wanted is None:
            wanted = self.wanted[chunk] = Side()
        wanted.add(joined(rowid, fields))

    def _is_expected(self, side: SourceSide, row: Sequence[Any], judged: Judged) -> bool:
        """Whether a row in the rejects must be in the table too; notes what is wrong with it."""
        proof, rowid, entry = self._proof, row[0], judged.entry
        proof.reject_reasons[entry.reason] += 1
        if entry.digest != side.digest(row):
            proof.fault("reject of another row", f"rowid {rowid}")
        elif judged.wrongly:
            proof.fault("rejected wrongly", f"rowid {rowid} {judged.wrongly}")
        elif judged.unsettled:
            proof.fault("settled without a decision", f"rowid {rowid}, {judged.unsettled}")
        proof.rejected_rows += not entry.is_loaded
        return entry.is_loaded


def _read_target(
    conn: sa.Connection,
    spec: TableSpec,
    source: str,
    proof: SourceProof,
    chunks: Collection[int] | None = None,
) -> dict[int, Side]:
    """Digest the rows that PostgreSQL has, chunk by chunk."""
    found: dict[int, Side] = {}
    positions = _vector_places(spec)
    places = [(vector, positions[vector.name]) for vector in spec.vectors]
    with target_rows(conn, spec, source, chunks=chunks) as rows:
        for chunk, rowid, fields in rows:
            for vector, place in places:
                proof.embedded_target[vector.name] += canonical.is_embedded(vector, fields[place])
                reason = fields[place + 2]
                if reason is not None:
                    proof.null_reasons[reason.decode()] += 1
            side = found.get(chunk)
            if side is None:
                side = found[chunk] = Side()
            side.add(joined(rowid, fields))
            # The next one is read without this one in memory.
            del fields
    return found


def _vector_places(spec: TableSpec) -> dict[str, int]:
    names = compared_columns(spec)
    return {vector.name: names.index(vector.name) for vector in spec.vectors}


def _add_differences(conn: sa.Connection, where: DifferingChunk, proof: SourceProof) -> None:
    """Add the differences in a chunk, named row by row."""
    here, there = Side(), Side()
    for fault in locate_differences(conn, where, here.add, there.add):
        proof.fault(fault.kind, fault.what)
        if fault.difference is not None and len(proof.differences) < MOST_NAMED:
            proof.differences.append(fault.difference)
    proof.chunks[where.chunk] = here.digest, there.digest


def _ledger_faults(
    conn: sa.Connection,
    spec: TableSpec,
    source: str,
    per_chunk: Mapping[int, int],
    chunks: Collection[int] | None = None,
) -> list[str]:
    """Compare the ledger with the rows per chunk in SQLite and in PostgreSQL."""
    loaded = ledger.loaded_chunks(conn, source, spec)
    stored = ledger.stored_rows(conn, spec, source)
    faults = []
    for chunk in sorted({*loaded, *per_chunk, *stored}):
        if chunks is not None and chunk not in chunks:
            continue
        entry = loaded.get(chunk)
        sides = (
            ("", per_chunk.get(chunk, 0), entry.source_rows if entry else 0),
            (" in PostgreSQL", stored.get(chunk, 0), entry.rows if entry else 0),
        )
        faults += [
            f"{source}/{chunk:03d}: {counted} rows{where}, the ledger says {recorded}"
            for where, counted, recorded in sides
            if counted != recorded
        ]
    return faults
