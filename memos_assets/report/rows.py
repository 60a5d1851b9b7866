"""Rows per table and source, by the ledger and by V02, and the reasons of rejects."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from memos_assets.catalog import Catalog
from memos_assets.consolidate.decoding.reject_reasons import EMBEDDING_REASONS, REJECT_REASONS
from memos_assets.consolidate.loading.summary import summarise
from memos_assets.postgres.schema import tables
from memos_assets.report.formatting import moment
from memos_assets.report.outcomes import CheckResult, Evaluation
from memos_assets.report.tree import ReasonCount, TableRows

_DIGESTS = "v02_rows_match_bit_for_bit"


def table_rows(
    conn: sa.Connection, catalog: Catalog, checklist: Iterable[CheckResult]
) -> tuple[TableRows, ...]:
    """Return every table of every source, empty ones left out."""
    compared = _compared(checklist)
    loads = _loads(conn, catalog)
    found = []
    for summary in summarise(conn, catalog):
        if not summary.source_rows:
            continue
        evaluation, sides = compared.get((summary.source, summary.table), (None, {}))
        loaded_at, repaired = loads[summary.source, summary.table]
        found.append(
            TableRows(
                source=summary.source,
                table=summary.table,
                chunks=summary.chunks,
                source_rows=summary.source_rows,
                source_bytes=summary.source_bytes,
                rows=summary.rows,
                rejected=summary.rejected,
                mirrored=summary.mirrored,
                rejects=dict(sorted(summary.rejects.items())),
                without_embedding=dict(sorted(summary.without_embedding.items())),
                repaired=repaired,
                loaded_at=loaded_at,
                compared_rows=sides.get("rows"),
                digest_in_sqlite=sides.get("digest_in_sqlite"),
                digest_in_postgresql=sides.get("digest_in_postgresql"),
                compared_at=moment(evaluation.timestamp) if evaluation else None,
                stale=evaluation is not None and evaluation.stale,
            )
        )
    return tuple(found)


def _compared(
    checklist: Iterable[CheckResult],
) -> dict[tuple[str, str], tuple[Evaluation, Mapping[str, Any]]]:
    """Return the evaluation and the evidence of V02, by (source, table)."""
    return {
        (str(side.get("source")), evaluation.asset.rpartition("/")[2]): (evaluation, side)
        for result in checklist
        if result.check.name == _DIGESTS
        for evaluation in result.evaluations
        for side in evaluation.metadata.get("sources", ())
    }


def _loads(
    conn: sa.Connection, catalog: Catalog
) -> dict[tuple[str, str], tuple[str, dict[str, int]]]:
    """Return when each table of each source was last loaded, and the rows each rule changed."""
    entry = tables.chunks.c
    latest: dict[tuple[str, str], str] = {}
    repaired: dict[tuple[str, str], Counter[str]] = {}
    for row in conn.execute(
        sa.select(entry.source, entry.table_name, entry.loaded_at, entry.repaired).where(
            entry.target == tables.schema_in(conn, catalog.schema)
        )
    ):
        place = (row.source, row.table_name)
        moment_loaded = row.loaded_at.isoformat(timespec="seconds")
        latest[place] = max(latest.get(place, ""), moment_loaded)
        repaired.setdefault(place, Counter()).update(row.repaired)
    return {place: (latest[place], dict(sorted(repaired[place].items()))) for place in latest}


def reason_counts(
    conn: sa.Connection, catalog: Catalog, rows: Sequence[TableRows]
) -> tuple[ReasonCount, ...]:
    """Return why rows were rejected, and why embeddings are NULL, over all tables."""
    entry = tables.rejects.c
    rejected = [
        ReasonCount("rejected", reason, count, settled, REJECT_REASONS.get(reason, "not known"))
        for reason, count, settled in conn.execute(
            sa.select(entry.reason, sa.func.count(), sa.func.count(entry.resolution))
            .where(entry.target == tables.schema_in(conn, catalog.schema))
            .group_by(entry.reason)
            .order_by(entry.reason)
        )
    ]
    unembedded: Counter[str] = Counter()
    for row in rows:
        for reason, count in row.without_embedding.items():
            # A table with several vectors says which one: `dense: zero`.
            unembedded[reason.rpartition(": ")[2]] += count
    return (
        *rejected,
        *(
            ReasonCount(
                "no embedding", reason, count, 0, EMBEDDING_REASONS.get(reason, "not known")
            )
            for reason, count in sorted(unembedded.items())
        ),
    )
