"""Read every row of a table on both sides and compare: SQLite's pinned copy, PostgreSQL by COPY.

Nothing the loader wrote down is trusted; the ledger and the rejects are among the things compared.
"""

import hashlib
import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from memos_assets.catalog import TableSpec
from memos_assets.consolidate import canonical, ledger, sqlite_file
from memos_assets.consolidate.derived import MOST_NAMED, DerivedCheck
from memos_assets.consolidate.pin import Pin
from memos_assets.consolidate.progress import Progress, report
from memos_assets.consolidate.sides import Fields, SourceSide, compared_columns, target_rows
from memos_assets.postgres import tables


@dataclass(slots=True)
class SourceProof:
    """What both sides hold of one source in one table.

    Attributes:
        source: name of the source.
        source_rows: rows of the SQLite table.
        loaded_rows: rows in PostgreSQL, mirrored ones left out.
        rejected_rows: rows in the rejects.
        source_digest: sha256 over the loaded rows as SQLite holds them.
        target_digest: the same as PostgreSQL holds them.
        embedded_source: vector column -> rows with a usable embedding in SQLite.
        embedded_target: vector column -> rows with a non-NULL, non-zero one in PostgreSQL.
        null_reasons: reason -> rows whose embedding is NULL in PostgreSQL.
        faults: what is wrong, by kind of fault; each entry names a row.
        fault_counts: how often, by kind of fault.
        derived: the recomputed columns.
    """

    source: str
    derived: DerivedCheck
    source_rows: int = 0
    loaded_rows: int = 0
    rejected_rows: int = 0
    source_digest: str = ""
    target_digest: str = ""
    embedded_source: Counter[str] = field(default_factory=Counter)
    embedded_target: Counter[str] = field(default_factory=Counter)
    null_reasons: Counter[str] = field(default_factory=Counter)
    faults: dict[str, list[str]] = field(default_factory=dict)
    fault_counts: Counter[str] = field(default_factory=Counter)

    def fault(self, kind: str, what: str) -> None:
        """Count a fault; the first few of a kind are named."""
        self.fault_counts[kind] += 1
        named = self.faults.setdefault(kind, [])
        if len(named) < MOST_NAMED:
            named.append(what)


#: Kinds of fault that say the rows do not add up; `differs` says that a row is another.
COUNT_FAULTS = ("missing", "extra", "rejected and loaded", "reject of another row", "ledger")


def prove_table(conn: sa.Connection, spec: TableSpec, pin: Pin) -> SourceProof:
    """Compare one table of one source on both sides, row by row, in constant memory.

    Args:
        conn: to the target database.
        spec: the table.
        pin: the pinned copy that was loaded.
    """
    proof = SourceProof(pin.source, DerivedCheck(spec))
    what = f"{spec.qualified} {pin.source}"
    report(Progress("verify", what, total_rows=pin.rows.get(spec.origin, 0)))
    comparison = _Comparison(spec, pin, proof, _rejected(conn, spec, pin.source))
    with (
        sqlite_file.opened(pin.path) as connection,
        target_rows(conn, spec, pin.source) as stored,
    ):
        ahead = _Ahead(stored)
        if spec.origin in pin.rows:
            side = SourceSide(connection, spec)
            # NumPy recomputes one batch while the next is read and compared.
            with ThreadPoolExecutor(1, thread_name_prefix="derive") as deriver:
                derived: Future[None] | None = None
                for batch in side.batches():
                    if derived is not None:
                        derived.result()
                    derived = deriver.submit(proof.derived.add, batch, side.value)
                    for row in batch:
                        comparison.source_row(side, row, ahead)
                    report(Progress("verify", what, rows=len(batch)))
                if derived is not None:
                    derived.result()
        comparison.finish(ahead)
    for fault in _ledger_faults(conn, spec, pin.source, comparison.per_chunk):
        proof.fault("ledger", fault)
    report(Progress("verify", what, done=True))
    return proof


class _Ahead:
    """The target side, one row ahead."""

    def __init__(self, rows: Iterator[tuple[int, list[bytes | None]]]) -> None:
        self._rows = rows
        self.row = next(rows, None)

    def pop(self) -> tuple[int, list[bytes | None]]:
        assert self.row is not None
        row, self.row = self.row, next(self._rows, None)
        return row


class _Comparison:
    """Merges both sides by rowid."""

    def __init__(
        self, spec: TableSpec, pin: Pin, proof: SourceProof, rejected: dict[int, str]
    ) -> None:
        self._spec, self._pin, self._proof, self._rejected = spec, pin, proof, rejected
        self._names = compared_columns(spec)
        self._places = {vector.name: self._names.index(vector.name) for vector in spec.vectors}
        self._json_places = [i for i, c in enumerate(spec.columns) if c.kind == "json"]
        self._digests = hashlib.sha256(), hashlib.sha256()
        self.per_chunk: Counter[int] = Counter()
        proof.rejected_rows = len(rejected)

    def source_row(self, side: SourceSide, row: Sequence[Any], ahead: _Ahead) -> None:
        """Take the next row of SQLite and what PostgreSQL holds up to it."""
        proof, rowid = self._proof, row[0]
        proof.source_rows += 1
        self.per_chunk[max(rowid // self._pin.chunk_rows, 0)] += 1
        while ahead.row is not None and ahead.row[0] < rowid:
            self._extra(ahead)
        stored = ahead.pop()[1] if ahead.row is not None and ahead.row[0] == rowid else None
        proof.loaded_rows += stored is not None
        if rowid in self._rejected:
            if stored is not None:
                proof.fault("rejected and loaded", f"rowid {rowid}")
            if self._rejected.pop(rowid) != side.digest(row):
                proof.fault("reject of another row", f"rowid {rowid}")
        elif stored is None:
            proof.fault("missing", f"rowid {rowid}")
            expected = self._expected(side, row)
            for vector in self._spec.vectors:
                wire = expected[self._places[vector.name]]
                proof.embedded_source[vector.name] += wire is not None
            self._digests[0].update(_joined(rowid, expected))
        else:
            self._compare(rowid, self._expected(side, row), stored)

    def _expected(self, side: SourceSide, row: Sequence[Any]) -> list[bytes | None]:
        """Return what PostgreSQL must hold; a row that has no such form should be a reject."""
        try:
            return side.fields(row)
        except (ValueError, TypeError, AttributeError, ArithmeticError, struct.error) as error:
            self._proof.fault("differs", f"rowid {row[0]} cannot be loaded as it is: {error}")
            return [None] * len(self._names)

    def finish(self, ahead: _Ahead) -> None:
        """Take what only PostgreSQL holds."""
        while ahead.row is not None:
            self._extra(ahead)
        for rowid in self._rejected:
            self._proof.fault("reject of another row", f"rowid {rowid} is not in the source")
        self._proof.source_digest, self._proof.target_digest = (
            digest.hexdigest() for digest in self._digests
        )

    def _extra(self, ahead: _Ahead) -> None:
        rowid, fields = ahead.pop()
        self._proof.loaded_rows += 1
        self._proof.fault("extra", f"rowid {rowid}")
        self._digests[1].update(_joined(rowid, fields))
        for vector in self._spec.vectors:
            embedded = canonical.is_embedded(vector, fields[self._places[vector.name]])
            self._proof.embedded_target[vector.name] += embedded

    def _compare(self, rowid: int, expected: list[bytes | None], stored: Fields) -> None:
        proof = self._proof
        for place in self._json_places:
            wanted, seen = expected[place], stored[place]
            if wanted is not None and seen is not None and canonical.same_json(wanted, seen):
                # Equal in value: one spelling goes into both digests.
                expected[place] = seen
        same = expected == list(stored)
        joined = _joined(rowid, expected)
        self._digests[0].update(joined)
        self._digests[1].update(joined if same else _joined(rowid, stored))
        for vector in self._spec.vectors:
            place = self._places[vector.name]
            embedded = expected[place] is not None
            proof.embedded_source[vector.name] += embedded
            proof.embedded_target[vector.name] += (
                embedded if same else canonical.is_embedded(vector, stored[place])
            )
            reason = stored[place + 2]
            if reason is not None:
                proof.null_reasons[reason.decode()] += 1
        if not same:
            for name, wanted, seen in zip(self._names, expected, stored, strict=True):
                if wanted != seen:
                    proof.fault("differs", f"rowid {rowid} {name}: {_shown(wanted, seen)}")


def _shown(expected: bytes | None, observed: bytes | None) -> str:
    if expected is None or observed is None:
        return f"expected {_head(expected)}, observed {_head(observed)}"
    length = min(len(expected), len(observed))
    place = next((i for i in range(length) if expected[i] != observed[i]), length)
    return (
        f"from byte {place}: expected {_head(expected[place:])}, observed {_head(observed[place:])}"
    )


def _head(value: bytes | None) -> str:
    return "NULL" if value is None else value[:8].hex() or "nothing"


def _joined(rowid: int, fields: Fields) -> bytes:
    parts = [b"%d:" % rowid]
    for value in fields:
        parts += (b"n",) if value is None else (b"%d:" % len(value), value)
    return b"".join(parts)


def _rejected(conn: sa.Connection, spec: TableSpec, source: str) -> dict[int, str]:
    entry = tables.rejects.c
    rows = conn.execute(
        # The row that is kept there counts, not what was said of it.
        sa.select(entry.source_rowid, sa.func.encode(sa.func.sha256(entry.row), "hex")).where(
            entry.target == tables.data_schema(conn),
            entry.source == source,
            entry.table_name == spec.name,
        )
    )
    return {row[0]: row[1] for row in rows}


def _ledger_faults(
    conn: sa.Connection, spec: TableSpec, source: str, per_chunk: Mapping[int, int]
) -> list[str]:
    """Compare the ledger with the rows per chunk that SQLite and PostgreSQL hold."""
    loaded = ledger.loaded_chunks(conn, source, spec.name)
    stored = ledger.stored_rows(conn, spec, source)
    faults = []
    for chunk in sorted({*loaded, *per_chunk, *stored}):
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
