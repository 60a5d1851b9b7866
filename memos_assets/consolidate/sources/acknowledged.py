"""Tables and columns of files that people leave behind knowingly, by name and with a reason."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from memos_assets.consolidate.sources import registry
from memos_assets.errors import UsageError
from memos_assets.postgres.schema import tables
from memos_assets.postgres.upsert import upsert
from memos_assets.sqlite import file as sqlite_file
from memos_assets.sqlite.printable import shown_value


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A table, or a column of one, that stays in its file; ``column`` is empty for a table."""

    source: str
    table: str
    column: str
    by: str
    at: datetime
    reason: str

    @property
    def name(self) -> str:
        """The table, or the table and the column."""
        return f"{self.table}.{self.column}" if self.column else self.table


def acknowledge(
    conn: sa.Connection, source: registry.Source, name: str, *, by: str, reason: str
) -> Acknowledged:
    """Note that a table or column of a source is left behind; V09 then passes over it.

    Args:
        conn: in a transaction.
        source: the registered source, which is pinned.
        name: of the table, or ``TABLE.COLUMN``.
        by: who acknowledges it.
        reason: why it may stay behind.

    Raises:
        UsageError: M558 the file has no such table or column, the catalog describes it, or the
            reason is empty.
        SourceError: M107 the source has no pinned copy.
    """
    table, column = _place(conn, source, name)
    if not reason.strip():
        raise _refusal("the reason is empty", name, "say why it may stay behind: --reason TEXT")
    row = conn.execute(
        upsert(tables.acknowledgements).returning(tables.acknowledgements.c.acknowledged_at),
        {
            "source": source.name,
            "origin_table": table,
            "origin_column": column,
            "acknowledged_by": by,
            "reason": reason,
        },
    ).one()
    return Acknowledged(source.name, table, column, by, row.acknowledged_at, reason)


def take_back(conn: sa.Connection, source: str, name: str) -> Acknowledged:
    """Forget an acknowledgement, and return it.

    Raises:
        UsageError: M558 nothing of this name was acknowledged.
    """
    entry = tables.acknowledgements.c
    for one in acknowledged(conn, [source]):
        if one.name == name:
            conn.execute(
                sa.delete(tables.acknowledgements).where(
                    entry.source == source,
                    entry.origin_table == one.table,
                    entry.origin_column == one.column,
                )
            )
            return one
    raise _refusal(
        f"nothing of this name was acknowledged of {source}",
        name,
        "list what was: memos-assets acknowledge",
    )


def acknowledged(conn: sa.Connection, sources: Iterable[str]) -> Sequence[Acknowledged]:
    """Return what was acknowledged of sources, by source and name."""
    entry = tables.acknowledgements.c
    return [
        Acknowledged(
            row.source,
            row.origin_table,
            row.origin_column,
            row.acknowledged_by,
            row.acknowledged_at,
            row.reason,
        )
        for row in conn.execute(
            sa.select(tables.acknowledgements)
            .where(entry.source.in_(list(sources)))
            .order_by(entry.source, entry.origin_table, entry.origin_column)
        )
    ]


def _place(conn: sa.Connection, source: registry.Source, name: str) -> tuple[str, str]:
    """Return the table and the column that a name means, the latter empty for a table."""
    pin = registry.pin_required(conn, source)
    with sqlite_file.opened(pin.path, called=pin.origin) as connection:
        layout = sqlite_file.layout(connection)
    described = {spec.origin: spec for spec in pin.kind.tables}
    if name in layout:
        if name in described:
            raise _refusal(
                "the catalog describes the table, and its rows are loaded",
                name,
                "name a column of it that is left behind: TABLE.COLUMN",
            )
        return name, ""
    for table, columns in layout.items():
        column = name.removeprefix(f"{table}.")
        if column == name or column not in columns:
            continue
        if table in described and column in described[table].known_origins:
            raise _refusal("the catalog describes the column", name, "name another one")
        return table, column
    raise _refusal(
        f"the pinned file of {source.name} has no such table or column",
        name,
        "V09 of memos-assets verify names what is left behind",
    )


def _refusal(what: str, name: str, fix: str) -> UsageError:
    return UsageError("M558", what, where=shown_value(name, ()), fix=fix)
