"""V08 and V09: the pinned files themselves, their content and their layout."""

import re
import sqlite3
from collections.abc import Collection, Sequence

from memos_assets.consolidate.archive.manifests import is_purged
from memos_assets.consolidate.sources.acknowledged import Acknowledged
from memos_assets.consolidate.sources.pins import Pin, is_unchanged
from memos_assets.errors import SourceError
from memos_assets.finding import Finding
from memos_assets.sqlite import file as sqlite_file

_FTS5 = re.compile(
    r"""create\s+virtual\s+table\s+(?:if\s+not\s+exists\s+)?"""
    r"""(?:"(?:[^"]|"")*"|'(?:[^']|'')*'|`(?:[^`]|``)*`|\[[^]]*\]|\w+)\s+using\s+fts5\s*\("""
    r"""(?:.*,)?\s*content\s*=\s*(?P<quote>['"]?)(?P<table>\w+)(?P=quote)\s*[,)]""",
    re.IGNORECASE | re.DOTALL,
)
#: What FTS5 adds to the name of an index for its own tables -> their columns.
_FTS5_PARTS = {
    "data": {"id", "block"},
    "idx": {"segid", "term", "pgno"},
    "docsize": {"id", "sz", "origin"},
    "config": {"k", "v"},
}


def source_unchanged(pins: Sequence[Pin]) -> Finding:
    """V08: every file of a kind is as it was pinned; a retired one is read in the archive."""
    changed, purged = [], []
    for pin in pins:
        if not pin.origin.exists() and is_purged(pin.origin):
            purged.append(pin.source)
            continue
        try:
            unchanged = is_unchanged(pin)
        except SourceError as error:
            changed.append(f"{pin.source}: {error.what}")
            continue
        if not unchanged:
            changed.append(f"{pin.source}: {pin.origin.name} holds other rows than its pin")
    return Finding(
        not changed,
        expected=f"{len(pins)} files as they were pinned",
        observed=("; ".join(changed) or f"{len(pins) - len(purged)} unchanged")
        + (f", {', '.join(purged)} purged from the archive" if purged else ""),
        evidence={
            "files": [{"source": p.source, "pin": p.digest[:16]} for p in pins],
            "pins": {pin.source: pin.digest for pin in pins},
        },
    )


def source_accounted_for(pins: Sequence[Pin], acknowledged: Sequence[Acknowledged] = ()) -> Finding:
    """V09: every table with rows and every column of a kind's files is in the catalog.

    Left out are those that somebody acknowledged, and tables of a full-text index over a table that
    is in the catalog: they hold nothing that its rows do not.
    """
    left: list[str] = []
    known: list[str] = []
    indexes: list[str] = []
    said = {(one.source, one.table, one.column): one for one in acknowledged}
    for pin in pins:
        described = {spec.origin: spec for spec in pin.kind.tables}
        with sqlite_file.opened(pin.path) as connection:
            layout = sqlite_file.layout(connection)
            derived = index_tables(connection, described)
            # What the pin is said to hold is not believed.
            counts = {
                table: sqlite_file.row_count(connection, table)
                for table in layout.keys() - described.keys()
            }
        for table, columns in sorted(layout.items()):
            spec = described.get(table)
            if spec is None:
                what, places = f"table {table} with {counts[table]} rows", [(table, "")]
                if not counts[table]:
                    continue
                if table in derived:
                    indexes.append(f"{pin.source}: {what}, of an index over {derived[table]}")
                    continue
            else:
                places = [(table, column) for column in sorted(columns - spec.known_origins)]
            unsaid = [place for place in places if (pin.source, *place) not in said]
            if unsaid and spec is not None:
                what = f"{table} columns {', '.join(column for _, column in unsaid)}"
            if unsaid:
                left.append(f"{pin.source}: {what}")
            known += [
                _in_words(said[pin.source, *place]) for place in places if place not in unsaid
            ]
    also = f", {len(known)} acknowledged" if known else ""
    return Finding(
        not left,
        expected="0 tables or columns left behind",
        observed=("; ".join(left) or "0") + also,
        evidence={
            "left_behind": left,
            "acknowledged": known,
            "indexes": indexes,
            "pins": {pin.source: pin.digest for pin in pins},
        },
    )


def _in_words(one: Acknowledged) -> str:
    return f"{one.source}: {one.name}, by {one.by} at {one.at:%Y-%m-%d %H:%M} UTC: {one.reason}"


def index_tables(connection: sqlite3.Connection, described: Collection[str]) -> dict[str, str]:
    """Return the tables that a full-text index is kept in -> the described table that it reads.

    FTS5 reads the texts of such an index (``content=TABLE``) from that table; its own tables have
    words and their places. An index with a content of its own, or with none, is not meant.
    """
    layout = sqlite_file.layout(connection)
    found: dict[str, str] = {}
    for name, sql in connection.execute(
        "select name, sql from sqlite_master where type = 'table' and rootpage = 0"
    ):
        declared = _FTS5.match(sql) if isinstance(sql, str) else None
        if declared is None or declared["table"] not in described:
            continue
        for part, columns in _FTS5_PARTS.items():
            if layout.get(f"{name}_{part}", frozenset()) <= columns:
                found[f"{name}_{part}"] = declared["table"]
    return found
