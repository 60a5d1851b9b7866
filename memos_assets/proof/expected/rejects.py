"""The rejects as the proof reads and judges them: is the row's place there, for this reason?

A row may be in the rejects only if, by the proof's own reading of the pinned row, it cannot be
loaded. Where a row has several faults, the loader names one of them; any of the proof's own will
do. What settled the row must be what was decided about its own faults.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa

from memos_assets.catalog import Link, TableSpec
from memos_assets.postgres.schema import tables
from memos_assets.postgres.storable_text import is_storable
from memos_assets.proof.expected.repairs import faults_of
from memos_assets.sqlite.row_codec import Value

#: PostgreSQL refuses a longer entry of a key's index, the name of the source included.
_LONGEST_KEY = 2_600
#: Rejects that are read at a time.
_PAGE = 4_096
_LOWEST, _HIGHEST = -(2**63), 2**63 - 1


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row in the rejects.

    Attributes:
        digest: sha256 of the stored row, computed by PostgreSQL.
        reason: why it is there, as the loader says.
        resolution: rule or rules that settled it, None while it is open.
        rules: reason -> rule, as decided; empty unless the row is loaded in a changed form. An end
            that leads to no loaded row is named with its column, see `dangling`.
    """

    digest: bytes
    reason: str
    resolution: str | None
    rules: Mapping[str, str]

    @property
    def is_loaded(self) -> bool:
        """Whether the row is in the table too, as its rule changed it."""
        return self.resolution is not None and self.resolution != tables.DROP


@dataclass(frozen=True, slots=True)
class Judged:
    """A row in the rejects, judged.

    ``wrongly`` says why the row should not be there, or not for this reason; ``unsettled`` that no
    decision explains what settled it. Both are None where all is well.
    """

    entry: Rejected
    wrongly: str | None
    unsettled: str | None


def dangling(column: str) -> str:
    """Return the name under which `Rejected.rules` has the rule for an end that leads nowhere."""
    return f"dangling_end {column}"


class Rejects:
    """The rejects of one source in one table, page by page in the order of rowids.

    Memory does not grow with their number, though a whole table may be in the rejects.
    """

    def __init__(self, conn: sa.Connection, spec: TableSpec, source: str) -> None:
        """Read the decisions.

        Args:
            conn: to the target database; used by every call.
            spec: the table.
            source: the source of the rows.
        """
        self._conn, self.spec, self.source = conn, spec, source
        self.decided = _decided(conn, spec, source)
        self._page: deque[tuple[int, Rejected]] = deque()
        self.start()

    def start(self, first: int = _LOWEST, last: int = _HIGHEST) -> None:
        """Begin again, at a rowid; ``last`` is the last one that is read."""
        self._page.clear()
        self._next, self._last = first, last

    def until(self, rowid: int) -> list[tuple[int, Rejected]]:
        """Return the next rejects, those of ``rowid`` included; rowids ascend."""
        found = []
        while True:
            while self._page and self._page[0][0] <= rowid:
                found.append(self._page.popleft())
            if self._page or self._next > min(self._last, rowid):
                return found
            self._read_page()

    def rest(self) -> list[tuple[int, Rejected]]:
        """Return those that are left."""
        return self.until(_HIGHEST)

    def _read_page(self) -> None:
        rows = list(
            self._conn.execute(
                _entries(self._conn, self.spec, self.source)
                .where(tables.rejects.c.source_rowid.between(self._next, self._last))
                .limit(_PAGE)
            )
        )
        self._page.extend((row[0], _rejected(row, self.decided)) for row in rows)
        self._next = rows[-1][0] + 1 if len(rows) == _PAGE else _HIGHEST + 1

    def judge(
        self, found: Mapping[int, Rejected], value: Callable[[int, str | None], Value]
    ) -> dict[int, Judged]:
        """Judge rejects by their rows in SQLite.

        Args:
            found: rowid -> its entry.
            value: returns the value of a row, by its rowid, in a SQLite column.
        """
        spec = self.spec
        own = {rowid: row_faults(spec, self.source, partial(value, rowid)) for rowid in found}
        loose = self._loose_ends(found, value)
        for rowid in loose:
            own[rowid].add("dangling_end")
        for rowid in self._duplicates(found, value):
            own[rowid].add("duplicate_key")
        judged = {}
        for rowid, entry in found.items():
            if rowid in loose and entry.rules.get("dangling_end") == "null_end":
                ends = {dangling(column): "null_end" for column in loose[rowid]}
                rules = {**entry.rules, **ends}
                entry = Rejected(entry.digest, entry.reason, entry.resolution, rules)
            judged[rowid] = Judged(
                entry,
                _wrongly(entry, own[rowid]),
                _unsettled(entry, own[rowid], self.decided),
            )
        return judged

    def _loose_ends(
        self, found: Mapping[int, Rejected], value: Callable[[int, str | None], Value]
    ) -> dict[int, list[str]]:
        """Return rowid -> columns whose value names no row in PostgreSQL.

        What PostgreSQL lacks of the linked table is judged where that table is.
        """
        loose: dict[int, list[str]] = {}
        for link in self.spec.links:
            if not link.declared:
                continue
            origin = self.spec.column(link.column).origin
            ends = {rowid: end for rowid in found if isinstance(end := value(rowid, origin), str)}
            loaded = self._loaded(link, set(ends.values()))
            for rowid, end in ends.items():
                if end not in loaded:
                    loose.setdefault(rowid, []).append(link.column)
        return loose

    def _loaded(self, link: Link, names: set[str]) -> frozenset[str]:
        # The linked table is in the same schema.
        schema = tables.schema_in(self._conn, self.spec.schema)
        linked = sa.table(link.table, sa.column("source"), sa.column(link.key), schema=schema).c
        storable = sorted(filter(_is_storable, names))
        if not storable:
            return frozenset()
        return frozenset(
            self._conn.execute(
                sa.select(linked[link.key]).where(
                    linked.source == self.source,
                    linked[link.key] == sa.any_(sa.cast(storable, sa.ARRAY(sa.Text()))),
                )
            ).scalars()
        )

    def _duplicates(
        self, found: Mapping[int, Rejected], value: Callable[[int, str | None], Value]
    ) -> list[int]:
        """Return those whose key another row has, which is loaded."""
        spec = self.spec
        keys = {
            rowid: tuple(value(rowid, spec.column(name).origin) for name in spec.key)
            for rowid, entry in found.items()
            if entry.reason == "duplicate_key"
        }
        keys = {rowid: key for rowid, key in keys.items() if all(map(_is_storable, key))}
        if not keys:
            return []
        names = ("source", "source_rowid", "reversed", *spec.key)
        columns: list[sa.ColumnClause[Any]] = [sa.column(name) for name in names]
        schema = tables.schema_in(self._conn, spec.schema)
        table = sa.table(spec.name, *columns, schema=schema).c
        named = [table[name] for name in spec.key]
        statement = sa.select(table.source_rowid, *named).where(
            table.source == self.source, sa.tuple_(*named).in_(sorted(set(keys.values()), key=repr))
        )
        if spec.mirrored:
            statement = statement.where(sa.not_(table.reversed))
        loaded: dict[tuple[Any, ...], set[int]] = {}
        for rowid, *key in self._conn.execute(statement):
            loaded.setdefault(tuple(key), set()).add(rowid)
        return [rowid for rowid, key in keys.items() if loaded.get(key, set()) - {rowid}]


def row_faults(spec: TableSpec, source: str, value: Callable[[str | None], Value]) -> set[str]:
    """Return every reason why a row cannot be loaded that the row by itself shows.

    Args:
        spec: the table.
        source: name of the source, which is a part of the key.
        value: returns the value of the row in a SQLite column.
    """
    faults: set[str] = set()
    for column in spec.columns:
        stored = None if column.computed else value(column.origin)
        if stored is not None:
            faults |= faults_of(column, stored)
    key = [value(spec.column(name).origin) for name in spec.key]
    if None in key:
        faults.add("null_key")
    size = len(source.encode()) + sum(len(str(p).encode("utf-8", "replace")) for p in key)
    return faults | ({"key_too_long"} if size > _LONGEST_KEY else set())


def _wrongly(entry: Rejected, own: set[str]) -> str | None:
    if not own:
        return f"rejected as {entry.reason}, and it can be loaded as it is"
    if entry.reason not in own:
        return f"rejected as {entry.reason}; it cannot be loaded for {', '.join(sorted(own))}"
    return None


def _unsettled(entry: Rejected, own: set[str], decided: Mapping[str, str]) -> str | None:
    if entry.resolution is None:
        return None
    rules = {decided[reason] for reason in own if reason in decided}
    parts = set(entry.resolution.split("+"))
    rule = decided.get(entry.reason)
    if rule is not None and parts <= rules and (rule in parts or parts == {tables.DROP}):
        return None
    return f"as {entry.resolution}"


def rejected_rows(conn: sa.Connection, spec: TableSpec, source: str) -> dict[int, Rejected]:
    """Return the rows of a source that are in the rejects of a table, by rowid.

    All of them are in memory. Ends that lead nowhere are not looked up.
    """
    decided = _decided(conn, spec, source)
    entries = conn.execute(_entries(conn, spec, source))
    return {row[0]: _rejected(row, decided) for row in entries}


def _decided(conn: sa.Connection, spec: TableSpec, source: str) -> dict[str, str]:
    repair = tables.repairs.c
    return {
        row.reason: row.rule
        for row in conn.execute(
            sa.select(repair.reason, repair.rule).where(
                repair.source == source, repair.table_name == spec.name
            )
        )
    }


def _entries(conn: sa.Connection, spec: TableSpec, source: str) -> sa.Select[Any]:
    entry = tables.rejects.c
    return (
        # The digest is computed from the stored row itself.
        sa.select(entry.source_rowid, sa.func.sha256(entry.row), entry.reason, entry.resolution)
        .where(
            entry.target == tables.schema_in(conn, spec.schema),
            entry.source == source,
            entry.table_name == spec.name,
        )
        .order_by(entry.source_rowid)
    )


def _rejected(row: Sequence[Any], decided: Mapping[str, str]) -> Rejected:
    _, digest, reason, resolution = row
    parts = set() if resolution in (None, tables.DROP) else set(resolution.split("+"))
    settled = parts and decided.get(reason) in parts and parts <= set(decided.values())
    return Rejected(bytes(digest), reason, resolution, decided if settled else {})


def _is_storable(value: Value) -> bool:
    """Whether PostgreSQL can be asked for a value of a key."""
    return isinstance(value, int) or is_storable(value)
