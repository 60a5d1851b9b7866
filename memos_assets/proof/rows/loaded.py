"""V33: the chunks that a run loads are compared with their file in that run.

The whole of a table is compared by V01 to V05, daily and at the end of a consolidation. Nothing of
what is seen here decides on a consolidation.
"""

from collections.abc import Collection, Iterator

import sqlalchemy as sa

from memos_assets.catalog import Catalog, TableSpec
from memos_assets.check import AnyCheck, Check, CheckContext, Subject
from memos_assets.consolidate.loading import ledger
from memos_assets.consolidate.sources import registry
from memos_assets.consolidate.sources.pins import Pin
from memos_assets.finding import Finding
from memos_assets.proof.rows.compare import SourceProof, prove_table

#: The most faults that evidence names.
_MOST_NAMED = 20


def loaded_chunks_match(context: CheckContext, spec: TableSpec) -> Finding:
    """V33: rows of the run's chunks are those of the files, as V01 to V04 compare them."""
    kind = context.catalog.kind_of_table(spec.name)
    with context.engine.connect() as conn:
        sources = registry.registered_sources(conn, [context.catalog.kind(kind.name)])
        proofs = [
            prove_table(conn, spec, pin, chunks)
            for source in sources
            if context.chunks is None or source.name in context.chunks
            for pin, chunks in _work(conn, spec, source, context)
        ]
    faults = [fault for proof in proofs for fault in _faults(proof)]
    rows = sum(proof.source_rows for proof in proofs)
    loaded = sum(proof.loaded_rows for proof in proofs)
    rejected = sum(proof.rejected_rows for proof in proofs)
    compared = sum(len(proof.chunks) for proof in proofs)
    return Finding(
        not faults,
        expected=f"{rows} rows of {compared} chunks, as their file has them",
        observed="; ".join(faults[:_MOST_NAMED])
        or f"{loaded} loaded + {rejected} rejected, digests equal",
        evidence={
            "source_rows": rows,
            "loaded_rows": loaded,
            "rejected_rows": rejected,
            "chunks_compared": compared,
            "faults": faults[:_MOST_NAMED],
        },
    )


def _work(
    conn: sa.Connection, spec: TableSpec, source: registry.Source, context: CheckContext
) -> Iterator[tuple[Pin, Collection[int] | None]]:
    """Yield the pins that chunks of a source were loaded from, and which of them."""
    if context.chunks is None:
        yield registry.pin_required(conn, source), None
        return
    wanted = context.chunks[source.name]
    entries = ledger.loaded_chunks(conn, source.name, spec, wanted)
    by_pin: dict[str, list[int]] = {}
    for chunk in wanted:
        # What is not in the ledger has no rows in the file as it is now, or is missing.
        entry = entries.get(chunk)
        by_pin.setdefault(entry.pin_digest if entry else "", []).append(chunk)
    for digest, chunks in sorted(by_pin.items()):
        pin = registry.recorded_pin(conn, source, digest) if digest else None
        yield pin or registry.pin_required(conn, source), chunks


def _faults(proof: SourceProof) -> Iterator[str]:
    for kind, named in sorted(proof.faults.items()):
        for what in named:
            yield f"{proof.source}: {kind}: {what}"
    for chunk, (here, there) in sorted(proof.chunks.items()):
        if here != there:
            yield f"{proof.source}/{chunk:03d}: the digests of its rows differ"
    if proof.embedded_source != proof.embedded_target:
        yield (
            f"{proof.source}: {proof.embedded_source.total()} embeddings in the file, "
            f"{proof.embedded_target.total()} in PostgreSQL"
        )
    for difference in proof.derived.differences:
        yield f"{proof.source}: derived: {difference}"


def _tables(catalog: Catalog) -> Iterator[Subject[TableSpec]]:
    for kind in catalog.consolidated:
        for spec in kind.tables:
            yield Subject(catalog.names.table(spec.name), spec, f"{kind.name}_loaded")


CHECKS: tuple[AnyCheck, ...] = (
    Check(
        number=33,
        name="v33_loaded_chunks_match",
        title="The chunks that a run loaded are as their file has them.",
        fix="load the named chunks again: memos-assets consolidate --reload",
        where="each table, in the run that loads chunks of it",
        reads="both sides of the run's chunks, as V01 to V04 read those of the whole table; in a "
        "run without partitions those of the whole table",
        when_failed="`memos-assets consolidate --reload`, then `memos-assets verify`.",
        subjects=_tables,
        judge=loaded_chunks_match,
        group="load",
    ),
)
