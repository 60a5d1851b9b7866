"""Results of V01 to V05: the comparisons of a table's sources, summed up per check."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from memos_assets.finding import Finding
from memos_assets.proof.rows.compare import COUNT_FAULTS, SourceProof
from memos_assets.proof.rows.derived import MOST_NAMED
from memos_assets.proof.rows.links import LinkProof

#: Kinds of fault of V02.
_KINDS = ("differs", "missing", "extra")


def _named(proofs: Sequence[SourceProof], kinds: Sequence[str]) -> list[str]:
    return [
        f"{proof.source}: {kind}: {what}"
        for proof in proofs
        for kind in kinds
        for what in proof.faults.get(kind, [])
    ][:MOST_NAMED]


def row_counts(proofs: Sequence[SourceProof], foreign: int) -> Finding:
    """V01: add up rows of both sides; faults and rows of no source are named."""
    source = sum(proof.source_rows for proof in proofs)
    loaded = sum(proof.loaded_rows for proof in proofs)
    rejected = sum(proof.rejected_rows for proof in proofs)
    faults = sum(proof.fault_counts[kind] for proof in proofs for kind in COUNT_FAULTS)
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
            "fault_count": faults + foreign,
            "faults": _named(proofs, COUNT_FAULTS),
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


def bit_for_bit(proofs: Sequence[SourceProof], search_texts: Sequence[str]) -> Finding:
    """V02: compare the digests of both sides.

    Args:
        proofs: of the sources.
        search_texts: rows whose words for search are not those of their texts.
    """
    differing = sum(proof.fault_counts["differs"] for proof in proofs)
    equal = all(proof.source_digest == proof.target_digest for proof in proofs)
    rows = sum(proof.loaded_rows for proof in proofs)
    integral: Counter[str] = Counter()
    for proof in proofs:
        integral += Counter({f"{proof.source}.{c}": n for c, n in proof.integral_reals.items()})
    return Finding(
        equal and not differing and not search_texts,
        expected=f"{rows} rows equal on both sides",
        observed=("digests equal" if equal else "digests differ")
        + ("" if equal and not differing else f", {differing} values differ")
        + (f", {len(search_texts)} rows with other words for search" if search_texts else ""),
        evidence={
            "differing_values": differing,
            "reals_read_as_integers": dict(sorted(integral.items())),
            "fault_count": len(search_texts)
            + sum(proof.fault_counts[kind] for proof in proofs for kind in _KINDS),
            "faults": [*_named(proofs, _KINDS), *search_texts][:MOST_NAMED],
            "differences": [
                asdict(one) for proof in proofs for one in proof.differences[:MOST_NAMED]
            ][:MOST_NAMED],
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


def derived(proofs: Sequence[SourceProof]) -> Finding:
    """V03: count derived values that differ from those recomputed from float16.

    Rows without a usable float16 are counted apart: nothing can be computed from them.
    """
    different = sum(proof.derived.different for proof in proofs)
    recomputed = sum(proof.derived.recomputed for proof in proofs)
    skipped = sum(proof.derived.not_recomputable for proof in proofs)
    kept = sum(proof.derived.only_in_file for proof in proofs)
    only = f", {kept} of them with derived values that the file alone holds" if kept else ""
    return Finding(
        different == 0,
        expected=f"{recomputed} rows recomputed without a difference",
        observed=f"{different} differ; {skipped} without a usable float16, not judged{only}",
        evidence={
            "recomputed_rows": recomputed,
            "differing_values": different,
            "not_recomputable_rows": skipped,
            "only_in_file": kept,
            "faults": [what for proof in proofs for what in proof.derived.differences][:MOST_NAMED],
        },
    )


def embedded(proofs: Sequence[SourceProof]) -> Finding:
    """V04: count embeddings on both sides."""
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


def links(proofs: Sequence[LinkProof]) -> Finding:
    """V05: count dangling links that are not marked."""
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
