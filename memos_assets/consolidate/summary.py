"""What the books say of every source, and why rows were rejected or lost their embedding."""

from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from memos_assets.postgres import tables


@dataclass(slots=True)
class TableSummary:
    """One source in one table, summed over its chunks."""

    source: str
    table: str
    chunks: int
    source_rows: int
    source_bytes: int
    rows: int
    rejected: int
    mirrored: int
    rejects: dict[str, int] = field(default_factory=dict)
    without_embedding: dict[str, int] = field(default_factory=dict)


def summarise(conn: sa.Connection) -> list[TableSummary]:
    """Return the ledger by source and table."""
    entry = tables.chunks.c
    names = ("source_rows", "source_bytes", "rows", "rejected", "mirrored")
    sums = [sa.cast(sa.func.sum(entry[name]), sa.BigInteger).label(f"sum_{name}") for name in names]
    found = {
        (row.source, row.table_name): TableSummary(
            row.source, row.table_name, row.chunks, *(getattr(row, f"sum_{n}") for n in names)
        )
        for row in conn.execute(
            sa.select(entry.source, entry.table_name, sa.func.count().label("chunks"), *sums)
            .where(entry.target == tables.data_schema(conn))
            .group_by(entry.source, entry.table_name)
            .order_by(entry.source, entry.table_name)
        )
    }
    for source, table, reasons in conn.execute(
        sa.select(entry.source, entry.table_name, entry.without_embedding).where(
            entry.target == tables.data_schema(conn)
        )
    ):
        into = found[source, table].without_embedding
        for reason, count in reasons.items():
            into[reason] = into.get(reason, 0) + count
    reject = tables.rejects.c
    for source, table, reason, count in conn.execute(
        sa.select(reject.source, reject.table_name, reject.reason, sa.func.count())
        .where(reject.target == tables.data_schema(conn))
        .group_by(reject.source, reject.table_name, reject.reason)
        .order_by(reject.reason)
    ):
        if (source, table) in found:
            found[source, table].rejects[reason] = count
    return list(found.values())


def pinned_files(conn: sa.Connection) -> list[dict[str, Any]]:
    """Return the registered files with the pin that was loaded."""
    rows = conn.execute(
        sa.select(
            tables.sources.c.source,
            tables.sources.c.kind,
            tables.sources.c.path,
            tables.sources.c.pin_digest,
            tables.pins.c.fingerprint,
            tables.pins.c.pinned_at,
        )
        .join(
            tables.pins,
            sa.and_(
                tables.pins.c.source == tables.sources.c.source,
                tables.pins.c.digest == tables.sources.c.pin_digest,
            ),
            isouter=True,
        )
        .order_by(tables.sources.c.source)
    )
    return [
        {
            "source": row.source,
            "kind": row.kind,
            "path": row.path,
            "content_digest": row.pin_digest,
            "file_sha256": row.fingerprint,
            "pinned_at": row.pinned_at.isoformat() if row.pinned_at else None,
        }
        for row in rows
    ]
