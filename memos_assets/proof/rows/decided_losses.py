"""V30: no reading of ours takes much of a table, unless somebody decided on just that."""

from collections.abc import Iterator, Mapping, Sequence

import sqlalchemy as sa

from memos_assets.catalog import TableSpec
from memos_assets.finding import Finding
from memos_assets.losses import Loss, embedding_losses, row_losses
from memos_assets.postgres.schema import tables
from memos_assets.proof.rows.compare import SourceProof

#: (source, column, reason) -> how many were decided on, None where no count was kept.
Decided = Mapping[tuple[str, str, str], int | None]


def losses_of(spec: TableSpec, proofs: Sequence[SourceProof]) -> Iterator[Loss]:
    """Yield what each source loses in a table, counted by the proof itself.

    Rows that a rule changed count: the rule is for so many of them as were decided on.
    """
    for proof in proofs:
        rejects = proof.reject_reasons
        yield from row_losses(proof.source, spec.name, proof.source_rows, rejects)
        expected = proof.source_rows - proof.rejected_rows
        yield from embedding_losses(proof.source, spec.name, expected, proof.null_in_source)


def decided_counts(conn: sa.Connection, spec: TableSpec) -> Decided:
    """Return the decisions about rows and embeddings of a table."""
    repair, accepted = tables.repairs.c, tables.accepted_losses.c
    found: dict[tuple[str, str, str], int | None] = {
        (row.source, "", row.reason): row.rows
        for row in conn.execute(
            sa.select(repair.source, repair.reason, repair.rows).where(
                repair.table_name == spec.name
            )
        )
    }
    for row in conn.execute(
        sa.select(accepted.source, accepted.column_name, accepted.reason, accepted.rows).where(
            accepted.table_name == spec.name
        )
    ):
        found[row.source, row.column_name, row.reason] = row.rows
    return found


def no_reading_takes_much(losses: Sequence[Loss], decided: Decided) -> Finding:
    """Return the result of V30.

    Args:
        losses: of one table, by source.
        decided: the decisions about them; one about fewer does not cover them.
    """
    much = [one for one in losses if one.takes_much]
    open_ones = [one for one in much if not _covers(decided, one)]
    named = "; ".join(f"{one.source}: {one}{_before(decided, one)}" for one in open_ones)
    return Finding(
        not open_ones,
        expected="0 reasons of reading take much of the table and wait for a decision",
        observed=f"{len(open_ones)} wait{': ' if named else ''}{named}; "
        f"{len(much) - len(open_ones)} decided",
        evidence={
            "undecided": [_as_evidence(one, decided) for one in open_ones],
            "decided": [_as_evidence(one, decided) for one in much if one not in open_ones],
            "facts": [_as_evidence(one, decided) for one in losses if one.is_fact],
        },
    )


def _key(loss: Loss) -> tuple[str, str, str]:
    return loss.source, loss.column, loss.reason


def _covers(decided: Decided, loss: Loss) -> bool:
    count = decided.get(_key(loss))
    return count is not None and loss.count <= count


def _before(decided: Decided, loss: Loss) -> str:
    if _key(loss) not in decided:
        return ""
    count = decided[_key(loss)]
    return ", decided without a count" if count is None else f", decided on {count:,}"


def _as_evidence(loss: Loss, decided: Decided) -> dict[str, object]:
    return {
        "source": loss.source,
        "column": loss.column or None,
        "reason": loss.reason,
        "count": loss.count,
        "of": loss.of,
        "decided": decided.get(_key(loss)),
    }
