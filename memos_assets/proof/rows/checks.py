"""The checklist's claims about tables and sources, each a Finding drawn from both sides."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import sqlalchemy as sa

from memos_assets.catalog import FileKind, TableSpec
from memos_assets.consolidate.archive.manifests import is_purged
from memos_assets.consolidate.sources import registry
from memos_assets.consolidate.sources.pins import Pin, is_unchanged
from memos_assets.errors import SourceError
from memos_assets.finding import Finding
from memos_assets.postgres.connection import count_rows
from memos_assets.postgres.schema import tables
from memos_assets.postgres.schema.tables import DROP
from memos_assets.proof.expected.rejects import rejected_rows
from memos_assets.proof.rows.compare import COUNT_FAULTS, SourceProof, prove_table
from memos_assets.proof.rows.derived import MOST_NAMED
from memos_assets.proof.rows.links import LinkProof, prove_links
from memos_assets.sqlite import file as sqlite_file


def claims_about(spec: TableSpec) -> list[str]:
    """Return the names of the claims that are made about a table."""
    names = ["v01_row_counts_match", "v02_rows_match_bit_for_bit"]
    if spec.derivation:
        names.append("v03_derived_columns_recompute")
    if spec.vectors:
        names.append("v04_embedded_rows_match")
    if spec.links:
        names.append("v05_links_lead_somewhere")
    if spec.vector_indexes:
        names.append("v10_embeddings_are_indexed")
    return [*names, "v12_rejects_are_settled"]


def findings_about(engine: sa.Engine, kind: FileKind, spec: TableSpec) -> Mapping[str, Finding]:
    """Read a table on both sides, for every source of its kind, and judge its claims."""
    with engine.connect() as conn:
        sources = registry.registered_sources(conn, [kind])
        pins = [registry.pin_required(conn, source) for source in sources]
        proofs = [prove_table(conn, spec, pin) for pin in pins]
        findings = {
            "v01_row_counts_match": _row_counts(
                proofs,
                _foreign_rows(conn, spec, [source.name for source in sources]),
                _undecided(conn, spec, [source.name for source in sources]),
            ),
            "v02_rows_match_bit_for_bit": _bit_for_bit(proofs),
        }
        if spec.derivation:
            findings["v03_derived_columns_recompute"] = _derived(proofs)
        if spec.vectors:
            findings["v04_embedded_rows_match"] = _embedded(proofs)
        if spec.links:
            findings["v05_links_lead_somewhere"] = _links(
                [prove_links(conn, spec, pin) for pin in pins]
            )
        if spec.vector_indexes:
            findings["v10_embeddings_are_indexed"] = _indexed(conn, spec)
        findings["v12_rejects_are_settled"] = _settled(conn, spec)
    # A retirement asks which pins were proven.
    read = {"pins": {pin.source: pin.digest for pin in pins}}
    return {
        name: replace(finding, evidence={**finding.evidence, **read})
        for name, finding in findings.items()
    }


def _foreign_rows(conn: sa.Connection, spec: TableSpec, sources: Sequence[str]) -> int:
    """Count rows whose source nobody registered."""
    table = tables.table_of(spec)
    return count_rows(conn, table, table.c.source.not_in(sources))


def _undecided(conn: sa.Connection, spec: TableSpec, sources: Sequence[str]) -> list[str]:
    """Name the rejects that were settled otherwise than anybody decided."""
    return [
        f"{source}: settled by nobody: rowid {rowid}, as {entry.resolution}"
        for source in sources
        for rowid, entry in sorted(rejected_rows(conn, spec, source).items())
        if not entry.is_decided
    ]


def _named(proofs: Sequence[SourceProof], kinds: Sequence[str]) -> list[str]:
    return [
        f"{proof.source}: {kind}: {what}"
        for proof in proofs
        for kind in kinds
        for what in proof.faults.get(kind, [])
    ][:MOST_NAMED]


def _row_counts(proofs: Sequence[SourceProof], foreign: int, undecided: Sequence[str]) -> Finding:
    source = sum(proof.source_rows for proof in proofs)
    loaded = sum(proof.loaded_rows for proof in proofs)
    rejected = sum(proof.rejected_rows for proof in proofs)
    faults = sum(proof.fault_counts[kind] for proof in proofs for kind in COUNT_FAULTS)
    faults += len(undecided)
    passed = source == loaded + rejected and not faults and not foreign
    extra = f", {foreign} of no registered source" if foreign else ""
    wrong = f", {faults} faults" if faults else ""
    return Finding(
        passed,
        expected=f"{source} rows",
        observed=f"{loaded} loaded + {rejected} rejected{wrong}{extra}",
        evidence={
            "source_rows": source,
            "loaded_rows": loaded,
            "rejected_rows": rejected,
            "faults": [*_named(proofs, COUNT_FAULTS), *undecided][:MOST_NAMED],
            "sources": [
                {
                    "source": proof.source,
                    "source_rows": proof.source_rows,
                    "loaded": proof.loaded_rows,
                    "rejected": proof.rejected_rows,
                    "faults": sum(proof.fault_counts[kind] for kind in COUNT_FAULTS),
                }
                for proof in proofs
            ],
        },
    )


def _bit_for_bit(proofs: Sequence[SourceProof]) -> Finding:
    differing = sum(proof.fault_counts["differs"] for proof in proofs)
    equal = all(proof.source_digest == proof.target_digest for proof in proofs)
    rows = sum(proof.loaded_rows for proof in proofs)
    return Finding(
        equal and not differing,
        expected=f"{rows} rows equal on both sides",
        observed="digests equal"
        if equal and not differing
        else f"digests {'equal' if equal else 'differ'}, {differing} values differ",
        evidence={
            "differing_values": differing,
            "faults": _named(proofs, ("differs", "missing", "extra")),
            "sources": [
                {
                    "source": proof.source,
                    "rows": proof.loaded_rows,
                    "chunks": len(proof.chunks),
                    "chunks_that_differ": ", ".join(
                        f"{chunk:03d}"
                        for chunk, (one, other) in proof.chunks.items()
                        if one != other
                    ),
                    "digest_in_sqlite": proof.source_digest[:16],
                    "digest_in_postgresql": proof.target_digest[:16],
                }
                for proof in proofs
            ],
        },
    )


def _derived(proofs: Sequence[SourceProof]) -> Finding:
    different = sum(proof.derived.different for proof in proofs)
    recomputed = sum(proof.derived.recomputed for proof in proofs)
    skipped = sum(proof.derived.not_recomputable for proof in proofs)
    return Finding(
        different == 0,
        expected=f"{recomputed} rows recomputed without a difference",
        observed=f"{different} differ, {skipped} without a usable embedding to derive from",
        evidence={
            "recomputed_rows": recomputed,
            "differing_values": different,
            "not_recomputable_rows": skipped,
            "faults": [what for proof in proofs for what in proof.derived.differences][:MOST_NAMED],
        },
    )


def _embedded(proofs: Sequence[SourceProof]) -> Finding:
    source = sum(proof.embedded_source.total() for proof in proofs)
    target = sum(proof.embedded_target.total() for proof in proofs)
    same = all(proof.embedded_source == proof.embedded_target for proof in proofs)
    reasons: dict[str, int] = {}
    for proof in proofs:
        for reason, count in proof.null_reasons.items():
            reasons[reason] = reasons.get(reason, 0) + count
    return Finding(
        same,
        expected=f"{source} embeddings",
        observed=f"{target} non-NULL and non-zero",
        evidence={
            "embedded_in_sqlite": source,
            "embedded_in_postgresql": target,
            "null_by_reason": reasons,
        },
    )


def _links(proofs: Sequence[LinkProof]) -> Finding:
    faults = [f"{proof.source}: {fault}" for proof in proofs for fault in proof.faults]
    rows = sum(proof.rows for proof in proofs)
    rejected = sum(proof.rejected for proof in proofs)
    marked = sum(proof.marked for proof in proofs)
    return Finding(
        not faults,
        expected=f"{rows} linked rows without an unnamed loose end",
        observed=f"{len(faults)} faults; {rejected} dangling in the rejects, {marked} marked"
        if faults
        else f"none; {rejected} dangling in the rejects, {marked} marked",
        evidence={
            "rows": rows,
            "rejected_dangling": rejected,
            "marked_missing": marked,
            "mirrored": sum(proof.mirrored for proof in proofs),
            "faults": faults[:MOST_NAMED],
        },
    )


def _indexed(conn: sa.Connection, spec: TableSpec) -> Finding:
    table = tables.table_of(spec)
    served = 0
    left: dict[str, int] = {}
    for vector in spec.vectors:
        if not vector.indexed:
            continue
        dimension = table.c[vector.dimension_name]
        for value, count in conn.execute(
            sa.select(dimension, sa.func.count())
            .where(table.c[vector.reason_name].is_(None))
            .group_by(dimension)
        ):
            if value in vector.dimensions:
                served += count
            else:
                left[f"{vector.name} {value}"] = count
    return Finding(
        not left,
        expected="0 embeddings of a dimension without an index",
        observed=f"{sum(left.values())} without, {served} served",
        evidence={"served": served, "without_index": left},
    )


def _settled(conn: sa.Connection, spec: TableSpec) -> Finding:
    """V12: count the rejects by what became of them."""
    entry = tables.rejects.c
    opened: dict[str, int] = {}
    dropped: dict[str, int] = {}
    repaired: dict[str, int] = {}
    for reason, resolution, count in conn.execute(
        sa.select(entry.reason, entry.resolution, sa.func.count())
        .where(entry.target == tables.schema_in(conn, spec.schema), entry.table_name == spec.name)
        .group_by(entry.reason, entry.resolution)
        .order_by(entry.reason, entry.resolution)
    ):
        into = opened if resolution is None else dropped if resolution == DROP else repaired
        into[reason] = into.get(reason, 0) + count
    by_reason = ", ".join(f"{reason} {count}" for reason, count in opened.items())
    settled = f"{sum(dropped.values())} dropped, {sum(repaired.values())} repaired"
    return Finding(
        not opened,
        expected="0 open",
        observed=f"{sum(opened.values())} open{': ' if opened else ''}{by_reason}; {settled}",
        evidence={
            "open_rejects": sum(opened.values()),
            "open": opened,
            "dropped": dropped,
            "repaired": repaired,
        },
    )


def source_unchanged(pins: Sequence[Pin]) -> Finding:
    """V08: every file of a kind still holds what was pinned; a retired one lies in the archive."""
    changed, purged = [], []
    for pin in pins:
        if not pin.origin.exists() and is_purged(pin.origin):
            purged.append(pin.source)
            continue
        try:
            unchanged = is_unchanged(pin)
        except SourceError as error:
            changed.append(f"{pin.source}: {error.what}")
            continue
        if not unchanged:
            changed.append(f"{pin.source}: {pin.origin.name} holds other rows than its pin")
    return Finding(
        not changed,
        expected=f"{len(pins)} files as they were pinned",
        observed=("; ".join(changed) or f"{len(pins) - len(purged)} unchanged")
        + (f", {', '.join(purged)} purged from the archive" if purged else ""),
        evidence={
            "files": [{"source": p.source, "pin": p.digest[:16]} for p in pins],
            "pins": {pin.source: pin.digest for pin in pins},
        },
    )


def source_accounted_for(pins: Sequence[Pin]) -> Finding:
    """V09: every table with rows and every column of a kind's files is in the catalog."""
    left = []
    for pin in pins:
        described = {spec.origin: spec for spec in pin.kind.tables}
        with sqlite_file.opened(pin.path) as connection:
            layout = sqlite_file.layout(connection)
        for table, columns in sorted(layout.items()):
            spec = described.get(table)
            if spec is None:
                if pin.rows[table]:
                    left.append(f"{pin.source}: table {table} with {pin.rows[table]} rows")
            elif unknown := sorted(columns - spec.known_origins):
                left.append(f"{pin.source}: {table} columns {', '.join(unknown)}")
    return Finding(
        not left,
        expected="0 tables or columns left behind",
        observed="; ".join(left) or "0",
        evidence={"left_behind": left, "pins": {pin.source: pin.digest for pin in pins}},
    )
