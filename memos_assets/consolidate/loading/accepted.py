"""NULL embeddings that people accept: a count per source, table, column and reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from memos_assets.catalog import Catalog, TableSpec
from memos_assets.consolidate.decoding.reject_reasons import EMBEDDING_REASONS
from memos_assets.consolidate.loading.summary import summarise
from memos_assets.consolidate.rejects.decisions import check_count
from memos_assets.errors import UsageError
from memos_assets.losses import Loss, embedding_losses
from memos_assets.postgres.schema import tables
from memos_assets.postgres.upsert import upsert


@dataclass(frozen=True, slots=True)
class Accepted:
    """NULL embeddings that somebody accepted; ``rows``: how many of them."""

    source: str
    table: str
    column: str
    reason: str
    rows: int
    decided_by: str
    decided_at: datetime
    note: str | None


def null_embeddings(conn: sa.Connection, catalog: Catalog) -> list[Loss]:
    """Return the embeddings that are NULL by the ledger, by source, table, column and reason."""
    return [
        loss
        for one in summarise(conn, catalog)
        for loss in embedding_losses(one.source, one.table, one.rows, one.without_embedding)
    ]


def accept(
    conn: sa.Connection,
    catalog: Catalog,
    spec: TableSpec,
    reason: str,
    *,
    source: str | None,
    column: str | None,
    count: int,
    by: str,
    note: str | None = None,
) -> list[Loss]:
    """Accept that embeddings are NULL for a reason; V30 passes for no more than so many.

    Args:
        conn: in a transaction.
        catalog: of the application.
        spec: the table.
        reason: of `EMBEDDING_REASONS`.
        source: whose rows; None for every source that has such.
        column: the embedding column; None for every one that has such.
        count: how many embeddings that is, over the sources and columns.
        by: who accepts it.
        note: why.

    Returns:
        What is accepted, by source and column.

    Raises:
        UsageError: M541 no such reason; M557 there are none; M556 there are not ``count`` of them.
    """
    check_reason(reason)
    about = [
        loss
        for loss in null_embeddings(conn, catalog)
        if (loss.table, loss.reason) == (spec.name, reason)
        and source in (None, loss.source)
        and column in (None, loss.column)
    ]
    if not about:
        raise UsageError(
            "M557",
            f"no embedding of {source or 'any source'} is NULL for {reason}",
            where=f"{spec.qualified}{f'.{column}' if column else ''}",
            fix="list what is lost: memos-assets rejects list",
        )
    check_count(count, sum(loss.count for loss in about), f"{spec.qualified} {reason}")
    conn.execute(
        upsert(tables.accepted_losses),
        [
            {
                "source": loss.source,
                "table_name": spec.name,
                "column_name": loss.column,
                "reason": reason,
                "rows": loss.count,
                "decided_by": by,
                "note": note,
            }
            for loss in about
        ],
    )
    return about


def withdraw(
    conn: sa.Connection, spec: TableSpec, reason: str, *, source: str | None, column: str | None
) -> list[tuple[str, str, int]]:
    """Take acceptances back; return (source, column, count) of each.

    Raises:
        UsageError: M541 no such reason; M557 nothing was accepted.
    """
    check_reason(reason)
    entry = tables.accepted_losses.c
    withdrawn = [
        (row.source, row.column_name, row.rows)
        for row in conn.execute(
            sa.delete(tables.accepted_losses)
            .where(
                entry.table_name == spec.name,
                entry.reason == reason,
                entry.source == source if source else sa.true(),
                entry.column_name == column if column else sa.true(),
            )
            .returning(entry.source, entry.column_name, entry.rows)
        )
    ]
    if not withdrawn:
        raise UsageError(
            "M557",
            f"nothing was accepted for {reason}",
            where=spec.qualified,
            fix="list what is lost: memos-assets rejects list --all",
        )
    return sorted(withdrawn)


def accepted(conn: sa.Connection, catalog: Catalog) -> Sequence[Accepted]:
    """Return what was accepted in the tables of a catalog, oldest first."""
    entry = tables.accepted_losses.c
    about = entry.table_name.in_([spec.name for spec in catalog.tables])
    return [
        Accepted(
            row.source,
            row.table_name,
            row.column_name,
            row.reason,
            row.rows,
            row.decided_by,
            row.decided_at,
            row.note,
        )
        for row in conn.execute(
            sa.select(tables.accepted_losses).where(about).order_by(entry.decided_at)
        )
    ]


def check_reason(reason: str) -> None:
    """Refuse an unknown reason.

    Raises:
        UsageError: M541.
    """
    if reason not in EMBEDDING_REASONS:
        raise UsageError(
            "M541",
            f"not a reason of NULL embeddings; there are: {', '.join(sorted(EMBEDDING_REASONS))}",
            where=reason,
            fix="pass one of them; docs/checklist.md says what they mean",
        )
