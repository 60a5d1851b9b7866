"""What a file holds that the catalog does not describe: tables with rows, and columns."""

import re
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from memos_assets.catalog import FileKind
from memos_assets.consolidate.sources.acknowledged import Acknowledged
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


@dataclass(slots=True)
class Accounted:
    """What is beside the catalog, by why it may be.

    Attributes:
        left: named by nobody.
        known: acknowledged by somebody, with the reason.
        indexes: tables of a full-text index over a table of the catalog.
    """

    left: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    indexes: list[str] = field(default_factory=list)


def account(
    connection: sqlite3.Connection,
    source: str,
    kind: FileKind,
    acknowledged: Sequence[Acknowledged] = (),
) -> Accounted:
    """Read every table and column of a file, and compare them with its kind.

    Args:
        connection: on the file, or a copy.
        source: whose acknowledgements count.
        kind: of the file.
        acknowledged: of any sources.
    """
    found = Accounted()
    said = {(one.table, one.column): one for one in acknowledged if one.source == source}
    described = {spec.origin: spec for spec in kind.tables}
    layout = sqlite_file.layout(connection)
    derived = index_tables(connection, described)
    for table, columns in sorted(layout.items()):
        spec = described.get(table)
        if spec is None:
            rows = sqlite_file.row_count(connection, table)
            what, places = f"table {table} with {rows} rows", [(table, "")]
            if not rows:
                continue
            if table in derived:
                found.indexes.append(f"{source}: {what}, of an index over {derived[table]}")
                continue
        else:
            places = [(table, column) for column in sorted(columns - spec.known_origins)]
        unsaid = [place for place in places if place not in said]
        if unsaid and spec is not None:
            what = f"{table} columns {', '.join(column for _, column in unsaid)}"
        if unsaid:
            found.left.append(f"{source}: {what}")
        found.known += [_in_words(said[place]) for place in places if place not in unsaid]
    return found


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
