"""The ledger summed up by source and table, with reasons of rejects and missing embeddings."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa

from memos_assets.catalog import Catalog, TableSpec
from memos_assets.postgres.schema import tables
from memos_assets.postgres.schema.tables import DROP


@dataclass(slots=True)
class TableSummary:
    """One source in one table, summed over its chunks.

    ``rejects`` counts rows that are not loaded by reason, ``repaired`` loaded ones by the rule that
    changed them.
    """

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
    repaired: dict[str, int] = field(default_factory=dict)


def summarise(conn: sa.Connection, catalog: Catalog) -> list[TableSummary]:
    """Return the ledger of a catalog's tables by source and table."""
    target = tables.schema_in(conn, catalog.schema)
    entry = tables.chunks.c
    names = ("source_rows", "source_bytes", "rows", "rejected", "mirrored")
    sums = [sa.cast(sa.func.sum(entry[name]), sa.BigInteger).label(f"sum_{name}") for name in names]
    found = {
        (row.source, row.table_name): TableSummary(
            row.source, row.table_name, row.chunks, *(getattr(row, f"sum_{n}") for n in names)
        )
        for row in conn.execute(
            sa.select(entry.source, entry.table_name, sa.func.count().label("chunks"), *sums)
            .where(entry.target == target)
            .group_by(entry.source, entry.table_name)
            .order_by(entry.source, entry.table_name)
        )
    }
    for source, table, *counted in conn.execute(
        sa.select(entry.source, entry.table_name, entry.without_embedding, entry.repaired).where(
            entry.target == target
        )
    ):
        summary = found[source, table]
        for into, counts in zip(
            (summary.without_embedding, summary.repaired), counted, strict=True
        ):
            for name, count in counts.items():
                into[name] = into.get(name, 0) + count
    reject = tables.rejects.c
    for source, table, reason, count in conn.execute(
        sa.select(reject.source, reject.table_name, reject.reason, sa.func.count())
        .where(
            reject.target == target,
            sa.or_(reject.resolution.is_(None), reject.resolution == DROP),
        )
        .group_by(reject.source, reject.table_name, reject.reason)
        .order_by(reject.reason)
    ):
        if (source, table) in found:
            found[source, table].rejects[reason] = count
    return list(found.values())


def integral_note(spec: TableSpec, integral: Mapping[str, int]) -> str:
    """Return a line about REAL values that were read as integers, by SQLite column; or nothing."""
    if not integral:
        return ""
    columns = ", ".join(f"{column} {count:,}" for column, count in sorted(integral.items()))
    return f"{spec.qualified}: REAL values read as the integers they equal: {columns}"
