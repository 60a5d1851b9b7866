"""Why rejects are rejects: those that hang on rejects of another table are settled with these."""

from collections import Counter
from dataclasses import dataclass

import sqlalchemy as sa

from memos_assets.consolidate.decoding.batches import IS_REJECTED
from memos_assets.consolidate.rejects.listing import Selection
from memos_assets.postgres.schema import tables

LOOSE_END = "dangling_end"


@dataclass(frozen=True, slots=True)
class Hanging:
    """Open rejects of one table that link to rejected rows of another.

    Attributes:
        source: name of the source.
        table: in PostgreSQL, without its schema.
        on: the table of the other rows.
        rows: that hang on them.
        of: open rejects of the table and source for a loose end.
    """

    source: str
    table: str
    on: str
    rows: int
    of: int

    def __str__(self) -> str:
        return (
            f"{self.rows:,} of {self.of:,} open rows of {self.table} in {self.source} hang on rows "
            f"rejected in {self.on}: settle these first"
        )


def hanging(conn: sa.Connection, selection: Selection) -> list[Hanging]:
    """Return the open rejects that hang on other rejects, by source and table, most first."""
    entry = tables.rejects.c
    linked = {
        (spec.name, link.column): link.table
        for spec in selection.catalog.tables
        for link in spec.links
    }
    counted: Counter[tuple[str, str, str]] = Counter()
    of: Counter[tuple[str, str]] = Counter()
    for source, table, detail in conn.execute(
        sa.select(entry.source, entry.table_name, entry.detail).where(
            selection.condition(conn), entry.reason == LOOSE_END, entry.resolution.is_(None)
        )
    ):
        of[source, table] += 1
        on = linked.get((table, detail.partition(" ")[0]))
        if on is not None and detail.endswith(IS_REJECTED):
            counted[source, table, on] += 1
    return [
        Hanging(source, table, on, rows, of[source, table])
        for (source, table, on), rows in counted.most_common()
    ]
