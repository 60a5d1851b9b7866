"""V27: every column of the ledger follows from the pinned file, the rows and the rejects."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import sqlalchemy as sa

from memos_assets.catalog import TableSpec
from memos_assets.consolidate.sources.chunks import ChunkContent
from memos_assets.consolidate.sources.encodings import declaration
from memos_assets.consolidate.sources.pins import Pin, contents_of_copy
from memos_assets.finding import Finding
from memos_assets.postgres.schema import tables
from memos_assets.postgres.schema.consolidated import table_of
from memos_assets.postgres.schema.tables import DROP, schema_in
from memos_assets.proof.rows.derived import MOST_NAMED

#: A clock that is set right may go back so far.
_TOLERANCE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class _Decision:
    rule: str
    at: datetime


@dataclass(slots=True)
class LedgerProof:
    """The ledger of one source and table.

    Attributes:
        chunks: in the ledger.
        former: loaded by a former version of the decoder, which is not a fault.
        decided_since: chunks about whose rows somebody decided after they were loaded.
        faults: each names a chunk.
    """

    chunks: int = 0
    former: int = 0
    decided_since: int = 0
    faults: list[str] = field(default_factory=list)


def prove_ledger(conn: sa.Connection, spec: TableSpec, pin: Pin) -> LedgerProof:
    """Compute the ledger of a source and table anew, and compare every column of every chunk.

    Args:
        conn: to the target database.
        spec: the table.
        pin: the pinned copy that the rows were loaded from.

    Raises:
        SourceError: M107 when that copy is gone, M109 when it is not as it was pinned.
    """
    contents = {(c.table, c.chunk): c for c in contents_of_copy(pin)}
    decisions = _decisions(conn, pin.source)
    counted = _counted(conn, spec, pin.source)
    proof = LedgerProof()
    for entry in _entries(conn, spec, pin.source):
        chunk = entry.chunk
        content = contents.get((spec.origin, chunk)) or _empty(spec, chunk)
        recent = [
            decision
            for table in {spec.name, *(link.table for link in spec.links)}
            for decision in decisions[table].values()
            if decision.at > entry.loaded_at
        ]
        proof.chunks += 1
        proof.former += entry.code_version in spec.former_fingerprints
        proof.decided_since += bool(recent)
        expected: dict[str, Any] = {
            "chunk_rows": pin.chunk_rows,
            "source_rows": content.rows,
            "source_bytes": content.bytes,
            **counted[chunk].as_ledger(),
        }
        if not recent:
            expected["digest"] = _digest(pin, spec, content, contents.values(), decisions)
            decided = decisions[spec.name]
            expected["rules"] = {
                reason: decided[reason].rule if reason in decided else None
                for reason in {*entry.rules, *counted[chunk].reasons}
            }
        faults = [
            f"{name} is {_shown(found)}, not {_shown(wanted)}"
            for name, wanted in expected.items()
            if (found := getattr(entry, name)) != wanted
        ]
        faults += _other_faults(spec, entry)
        proof.faults += [f"{pin.source}/{chunk:03d}: {fault}" for fault in faults]
    return proof


def _entries(conn: sa.Connection, spec: TableSpec, source: str) -> Sequence[sa.Row[Any]]:
    """Read the ledger, with what its times and pins are compared with."""
    entry, known = tables.chunks.c, tables.sources.c
    pinned = sa.exists().where(
        tables.pins.c.source == entry.source, tables.pins.c.digest == entry.pin_digest
    )
    return conn.execute(
        sa.select(
            tables.chunks,
            known.registered_at,
            sa.func.clock_timestamp().label("now"),
            pinned.label("is_pinned"),
        )
        .join_from(tables.chunks, tables.sources, known.source == entry.source)
        .where(
            entry.target == schema_in(conn, spec.schema),
            entry.source == source,
            entry.table_name == spec.name,
        )
        .order_by(entry.chunk)
    ).all()


def _other_faults(spec: TableSpec, entry: sa.Row[Any]) -> Iterator[str]:
    if entry.code_version != spec.fingerprint and (
        entry.code_version not in spec.former_fingerprints
    ):
        yield f"code_version {entry.code_version} is of no version of this table"
    if not entry.is_pinned:
        yield f"pin_digest {entry.pin_digest[:16]} is of no pin of the source"
    if entry.loaded_at > entry.now + _TOLERANCE:
        yield f"loaded_at {entry.loaded_at:%Y-%m-%d %H:%M:%S} is in the future"
    if entry.loaded_at < entry.registered_at - _TOLERANCE:
        yield (f"loaded_at {entry.loaded_at:%Y-%m-%d %H:%M:%S} is before its source was registered")


@dataclass(slots=True)
class _Count:
    """Rows of a chunk as the table and the rejects have them."""

    rows: int = 0
    rejected: int = 0
    mirrored: int = 0
    without_embedding: Counter[str] = field(default_factory=Counter)
    repaired: Counter[str] = field(default_factory=Counter)
    reasons: set[str] = field(default_factory=set)

    def as_ledger(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "rejected": self.rejected,
            "mirrored": self.mirrored,
            "without_embedding": dict(self.without_embedding),
            "repaired": dict(self.repaired),
        }


def _counted(conn: sa.Connection, spec: TableSpec, source: str) -> dict[int, _Count]:
    """Count rows by chunk in the table and in the rejects."""
    found: defaultdict[int, _Count] = defaultdict(_Count)
    table = table_of(spec)
    reversed_ = table.c.reversed if spec.mirrored else sa.false()
    for chunk, is_reversed, rows in conn.execute(
        sa.select(table.c.chunk, reversed_, sa.func.count())
        .where(table.c.source == source)
        .group_by(sa.literal_column("1"), sa.literal_column("2"))
    ):
        if is_reversed:
            found[chunk].mirrored += rows
        else:
            found[chunk].rows += rows
    for vector in spec.vectors:
        reason = table.c[vector.reason_name]
        for chunk, why, rows in conn.execute(
            sa.select(table.c.chunk, reason, sa.func.count())
            .where(table.c.source == source, reason.is_not(None))
            .group_by(table.c.chunk, reason)
        ):
            found[chunk].without_embedding[f"{vector.name}: {why}"] += rows
    entry = tables.rejects.c
    for chunk, reason, resolution, rows in conn.execute(
        sa.select(entry.chunk, entry.reason, entry.resolution, sa.func.count())
        .where(
            entry.target == schema_in(conn, spec.schema),
            entry.source == source,
            entry.table_name == spec.name,
        )
        .group_by(entry.chunk, entry.reason, entry.resolution)
    ):
        found[chunk].reasons.add(reason)
        if resolution in (None, DROP):
            found[chunk].rejected += rows
        else:
            found[chunk].repaired.update(dict.fromkeys(resolution.split("+"), rows))
    return found


def _decisions(conn: sa.Connection, source: str) -> defaultdict[str, dict[str, _Decision]]:
    """Return table -> reason -> what was decided for a source, and when."""
    found: defaultdict[str, dict[str, _Decision]] = defaultdict(dict)
    entry = tables.repairs.c
    for row in conn.execute(sa.select(tables.repairs).where(entry.source == source)):
        found[row.table_name][row.reason] = _Decision(row.rule, row.decided_at)
    return found


def _empty(spec: TableSpec, chunk: int) -> ChunkContent:
    return ChunkContent(spec.origin, chunk, 0, 0, sha256().hexdigest())


def _digest(
    pin: Pin,
    spec: TableSpec,
    content: ChunkContent,
    contents: Iterable[ChunkContent],
    decisions: Mapping[str, Mapping[str, _Decision]],
) -> str:
    """Return the digest of all that decides what a chunk is loaded as."""
    declared = declaration(spec, pin.source, pin.kind.encodings)
    if not content.rows or not (spec.links or declared):
        return content.digest
    ends = {link.table for link in spec.links}
    linked = {pin.kind.table(name).origin for name in ends}
    lines = sorted(f"{c.table} {c.chunk} {c.digest}" for c in contents if c.table in linked)
    lines += sorted(
        f"{table} {reason}={decision.rule}"
        for table in ends
        for reason, decision in decisions[table].items()
        if decision.rule != DROP
    )
    lines += [declared] if declared else []
    return sha256("\n".join([content.digest, *lines]).encode()).hexdigest()


def _shown(value: object) -> str:
    return str(value)[:40]


def ledger_recomputes(proofs: Mapping[str, LedgerProof], strangers: Sequence[str]) -> Finding:
    """V27: sum up the ledgers of a table's sources.

    Args:
        proofs: by source.
        strangers: sources in the ledger that are not registered.
    """
    faults = [fault for proof in proofs.values() for fault in proof.faults]
    faults += [f"{source}: is in the ledger and not registered" for source in strangers]
    chunks = sum(proof.chunks for proof in proofs.values())
    former = sum(proof.former for proof in proofs.values())
    since = sum(proof.decided_since for proof in proofs.values())
    notes = f", {former} of a former decoder" if former else ""
    notes += f", {since} decided on since they were loaded" if since else ""
    return Finding(
        not faults,
        expected=f"{chunks} chunks as the files, the rows and the rejects give them",
        observed=(f"{len(faults)} faults: {faults[0]}" if faults else f"{chunks} of them") + notes,
        evidence={
            "chunks": chunks,
            "of_former_decoder": former,
            "decided_since": since,
            "faults": faults[:MOST_NAMED],
        },
    )
