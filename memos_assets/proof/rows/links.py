"""Prove that no link dangles: both ends exist, or its row is rejected or marks the loose end."""

import json
import sqlite3
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field

import sqlalchemy as sa

from memos_assets.catalog import Link, TableSpec
from memos_assets.consolidate.sources.pins import Pin
from memos_assets.postgres.connection import count_rows
from memos_assets.postgres.schema import tables
from memos_assets.postgres.schema.consolidated import table_of
from memos_assets.postgres.schema.tables import DROP
from memos_assets.proof.rows.derived import MOST_NAMED
from memos_assets.sqlite import file as sqlite_file
from memos_assets.sqlite.file import quoted, rowid_name, unindexed
from memos_assets.sqlite.row_codec import Value


@dataclass(slots=True)
class LinkProof:
    """Counts and faults of the links of one source in one table.

    Attributes:
        source: name of the source.
        rows: rows with links in PostgreSQL, mirrored ones left out.
        rejected: rows in the rejects because an end is missing.
        marked: rows that are loaded and name an end that is missing.
        mirrored: reversed rows.
        faults: at most ``MOST_NAMED`` of a kind.
    """

    source: str
    rows: int = 0
    rejected: int = 0
    marked: int = 0
    mirrored: int = 0
    faults: list[str] = field(default_factory=list)


def prove_links(conn: sa.Connection, spec: TableSpec, pin: Pin) -> LinkProof:
    """Follow every link of one source on the target side, and every rejected one in SQLite."""
    table = table_of(spec)
    proof = LinkProof(pin.source)
    mine = table.c.source == pin.source
    forward = sa.and_(mine, sa.not_(table.c.reversed)) if spec.mirrored else mine
    proof.rows = count_rows(conn, table, forward)
    for link in spec.links:
        linked = table_of(pin.kind.table(link.table))
        proof.faults += _dangling(conn, table, linked, link, mine)
    if spec.has_loose_links:
        proof.marked = count_rows(conn, table, sa.and_(mine, table.c.missing.is_not(None)))
    if spec.mirrored:
        proof.mirrored = count_rows(conn, table, sa.and_(mine, table.c.reversed))
        proof.faults += _unmirrored(conn, table, mine)
    checked, faults = _rejected_links(conn, spec, pin)
    proof.rejected = checked
    proof.faults += faults
    return proof


def _dangling(
    conn: sa.Connection,
    table: sa.Table,
    linked: sa.Table,
    link: Link,
    mine: sa.ColumnElement[bool],
) -> Iterator[str]:
    other = linked.alias()
    end = table.c[link.column]
    exists = sa.exists().where(other.c.source == table.c.source, other.c[link.key] == end)
    marked = (
        sa.func.coalesce(sa.literal(link.column) == sa.any_(table.c.missing), sa.false())
        if "missing" in table.c
        else sa.false()
    )
    found = sa.select(table.c.source_rowid, end).where(mine, end.is_not(None))
    for rowid, value in conn.execute(
        found.where(sa.not_(exists), sa.not_(marked)).limit(MOST_NAMED)
    ):
        yield f"rowid {rowid} {link.column} {value!r} leads nowhere"
    for rowid, value in conn.execute(found.where(exists, marked).limit(MOST_NAMED)):
        yield f"rowid {rowid} {link.column} {value!r} is marked missing and exists"


def _unmirrored(
    conn: sa.Connection, table: sa.Table, mine: sa.ColumnElement[bool]
) -> Iterator[str]:
    """Find forward rows without an equal reversed one, and reversed ones without a forward one."""
    other = table.alias()
    ends = {"source", "from_id", "to_id", "reversed"}
    twin = sa.exists().where(
        other.c.source == table.c.source,
        other.c.from_id == table.c.to_id,
        other.c.to_id == table.c.from_id,
        other.c.reversed == sa.not_(table.c.reversed),
        *(
            other.c[column.name].is_not_distinct_from(column)
            for column in table.columns
            if column.name not in ends
        ),
    )
    both_ways = sa.and_(table.c.bidirectional, table.c.from_id != table.c.to_id)
    for rowid, is_reversed in conn.execute(
        sa.select(table.c.source_rowid, table.c.reversed)
        .where(mine, both_ways, sa.not_(twin))
        .limit(MOST_NAMED)
    ):
        other_way = "forward" if is_reversed else "reversed"
        yield f"rowid {rowid}: the {other_way} link is missing or differs"
    stray = sa.select(table.c.source_rowid).where(
        mine, table.c.reversed, sa.not_(sa.func.coalesce(both_ways, sa.false()))
    )
    for (rowid,) in conn.execute(stray.limit(MOST_NAMED)):
        yield f"rowid {rowid}: reversed, though its flag says one way"


def _rejected_links(conn: sa.Connection, spec: TableSpec, pin: Pin) -> tuple[int, list[str]]:
    """Check in SQLite that each row rejected for a dangling end has such an end."""
    entry = tables.rejects.c
    rejected = conn.execute(
        sa.select(entry.source_rowid, entry.resolution).where(
            entry.target == tables.schema_in(conn, spec.schema),
            entry.source == pin.source,
            entry.table_name == spec.name,
            entry.reason == "dangling_end",
        )
    )
    declared = [link for link in spec.links if link.declared]
    gone = {link.table: _rejected_keys(conn, pin, link) for link in declared}
    faults: list[str] = []
    checked = 0
    with sqlite_file.opened(pin.path) as connection:
        rowid_column = rowid_name(sqlite_file.layout(connection)[spec.origin], spec.origin)
        names = [quoted(spec.column(link.column).origin) for link in declared]
        ends: dict[int, Sequence[Value]] = {}
        for rowid, resolution in rejected:
            checked += resolution in (None, DROP)
            query = f"select {', '.join(names)} from {unindexed(spec.origin)}"
            row = connection.execute(f"{query} where {rowid_column} = ?", (rowid,)).fetchone()
            ends[rowid] = row or [None] * len(names)
        existing = [
            _existing(connection, pin, link, {row[place] for row in ends.values()})
            - gone[link.table]
            for place, link in enumerate(declared)
        ]
        for rowid, row in ends.items():
            dangles = any(end not in keys for end, keys in zip(row, existing, strict=True))
            if not dangles and len(faults) < MOST_NAMED:
                faults.append(f"rowid {rowid} is rejected as dangling, and both its ends exist")
    return checked, faults


def _existing(connection: sqlite3.Connection, pin: Pin, link: Link, ends: Set[Value]) -> set[Value]:
    """Return those of some ends that the linked table has; its keys are read to the last."""
    if not ends:
        return set()
    linked = pin.kind.table(link.table)
    key = quoted(linked.column(link.key).origin)
    return {
        value
        for (value,) in connection.execute(f"select {key} from {unindexed(linked.origin)}")
        if value in ends
    }


def _rejected_keys(conn: sa.Connection, pin: Pin, link: Link) -> frozenset[str]:
    """Return keys of linked rows that are rejected themselves and of which no other row is loaded.

    The keys are read in Python: PostgreSQL refuses to unescape some, such as those with NUL.
    """
    entry = tables.rejects.c
    spec = pin.kind.table(link.table)
    position = list(spec.key).index(link.key)
    keys = conn.execute(
        sa.select(entry.key).where(
            entry.target == tables.schema_in(conn, spec.schema),
            entry.source == pin.source,
            entry.table_name == spec.name,
        )
    ).scalars()
    rejected = {key for raw in keys if isinstance(key := json.loads(raw)[position], str)}
    linked = table_of(spec).c
    # PostgreSQL cannot store other keys: they are not loaded, and cannot be queried.
    storable = [key for key in rejected if "\0" not in key and _is_utf8(key)]
    loaded = conn.execute(
        sa.select(linked[link.key]).where(
            linked.source == pin.source, linked[link.key].in_(storable)
        )
    ).scalars()
    return frozenset(rejected - set(loaded))


def _is_utf8(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True
