"""The rejects as the proof reads them: their rows, and the decision about each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from memos_assets.catalog import Link, TableSpec
from memos_assets.postgres.schema import tables
from memos_assets.sqlite.row_codec import row_values


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row in the rejects.

    Attributes:
        digest: sha256 of the stored row, computed by PostgreSQL.
        resolution: rule or rules that settled it, None while it is open.
        rules: reason -> rule, as decided; empty unless the row is loaded in a changed form. An end
            that leads to no loaded row is named with its column, see `dangling`.
        is_decided: whether a decision explains the resolution; true while it is open.
    """

    digest: str
    resolution: str | None
    rules: Mapping[str, str]
    is_decided: bool = True

    @property
    def is_loaded(self) -> bool:
        """Whether the row is in the table too, as its rule changed it."""
        return self.resolution is not None and self.resolution != "drop"


def dangling(column: str) -> str:
    """Return the name under which `Rejected.rules` has the rule for an end that leads nowhere."""
    return f"dangling_end {column}"


def rejected_rows(conn: sa.Connection, spec: TableSpec, source: str) -> dict[int, Rejected]:
    """Return the rows of a source that are in the rejects of a table, by rowid."""
    entry, repair = tables.rejects.c, tables.repairs.c
    decided: dict[str, str] = {
        row.reason: row.rule
        for row in conn.execute(
            sa.select(repair.reason, repair.rule).where(
                repair.source == source, repair.table_name == spec.name
            )
        )
    }
    mine = sa.and_(
        entry.target == tables.schema_in(conn, spec.schema),
        entry.source == source,
        entry.table_name == spec.name,
    )
    found = {}
    for rowid, digest, reason, resolution in conn.execute(
        # The digest is computed from the stored row itself.
        sa.select(
            entry.source_rowid,
            sa.func.encode(sa.func.sha256(entry.row), "hex"),
            entry.reason,
            entry.resolution,
        ).where(mine)
    ):
        is_decided = _is_decided(reason, resolution, decided)
        settled = is_decided and resolution not in (None, "drop")
        found[rowid] = Rejected(digest, resolution, decided if settled else {}, is_decided)
    if any("null_end" in (entry.resolution or "") for entry in found.values()):
        for rowid, columns in _loose_ends(conn, spec, source, mine).items():
            known = found[rowid]
            if known.rules.get("dangling_end") == "null_end":
                ends = {dangling(column): "null_end" for column in columns}
                found[rowid] = Rejected(known.digest, known.resolution, {**known.rules, **ends})
    return found


def _is_decided(reason: str, resolution: str | None, decided: Mapping[str, str]) -> bool:
    if resolution is None:
        return True
    parts = resolution.split("+")
    own = decided.get(reason)
    return (
        own is not None
        and set(parts) <= set(decided.values())
        and (own in parts or resolution == "drop")
    )


def _loose_ends(
    conn: sa.Connection, spec: TableSpec, source: str, mine: sa.ColumnElement[bool]
) -> dict[int, list[str]]:
    """Return rowid -> columns whose value names no row in PostgreSQL."""
    entry = tables.rejects.c
    kept = {
        row.source_rowid: dict(zip(row.columns, row_values(row.row), strict=True))
        for row in conn.execute(
            sa.select(entry.source_rowid, entry.columns, entry.row).where(
                mine, entry.resolution.contains("null_end")
            )
        )
    }
    loose: dict[int, list[str]] = {}
    for link in spec.links:
        if not link.declared:
            continue
        origin = spec.column(link.column).origin
        ends = {rowid: end for rowid, row in kept.items() if isinstance(end := row[origin], str)}
        loaded = _loaded(conn, spec, link, source, sorted(set(ends.values())))
        for rowid, end in ends.items():
            if end not in loaded:
                loose.setdefault(rowid, []).append(link.column)
    return loose


def _loaded(
    conn: sa.Connection, spec: TableSpec, link: Link, source: str, names: Sequence[str]
) -> frozenset[str]:
    # The linked table is in the same schema.
    schema = tables.schema_in(conn, spec.schema)
    linked = sa.table(link.table, sa.column("source"), sa.column(link.key), schema=schema).c
    storable = [name for name in names if "\0" not in name and _is_utf8(name)]
    return frozenset(
        conn.execute(
            sa.select(linked[link.key]).where(
                linked.source == source,
                linked[link.key] == sa.any_(sa.cast(storable, sa.ARRAY(sa.Text()))),
            )
        ).scalars()
    )


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
