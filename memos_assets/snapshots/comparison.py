"""Compare one table of two snapshots by its key, in DuckDB.

A value differs when its bytes do: -0.0 is not 0.0. Embeddings of a declared length are compared
outside of DuckDB, see `aligned`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any, Final
from uuid import UUID

import numpy as np

from memos_assets.snapshots.aligned import changed_embeddings
from memos_assets.snapshots.differences import Changed, Counts, Facts, Group, Key, TableDiff
from memos_assets.snapshots.duck_tables import Duck, literal, name, names
from memos_assets.snapshots.manifest import TableEntry

MEMORIES: Final = "agent.memories"
LINKS: Final = "agent.links"
#: Columns that say of which space and kind a row is; the first that a table has.
_SPACES: Final = ("space_id", "a_space_id")
_KINDS: Final = ("kind", "type", "memory_type", "action")
#: Fact -> the column that is not NULL where it holds.
_FACTS: Final = {"superseded": "superseded_by", "retracted": "retracted_at"}
_EMBEDDINGS: Final = ("vector", "halfvec", "sparsevec")
#: Embeddings of a declared length, which `aligned` compares.
_DENSE: Final = re.compile(r"(?:vector|halfvec)\(\d+\)")
_FLOATS: Final = ("real", "double precision")


def is_embedding(postgres: str) -> bool:
    """Whether a column's type is one of embeddings."""
    return postgres.partition("(")[0] in _EMBEDDINGS


def _compared(column: str, postgres: str) -> str:
    """Return SQL of which two values are the same if and only if the column's bytes are."""
    value = name(column)
    kind = postgres.removesuffix("[]").partition("(")[0]
    if postgres in _FLOATS:
        return f"{value}::bit"
    # As lists they would be the same with either zero, as texts they are not.
    return f"{value}::varchar" if kind in (*_FLOATS, *_EMBEDDINGS) else value


@dataclass(frozen=True)
class Comparison:
    """A table in two snapshots, at least one of which has it.

    Attributes:
        duck: reads their files.
        a, b: its entries; None: the snapshot lacks it.
        limit: of keys and groups in each list of the answer.
        relation: name of the temporary table of rows that differ.
    """

    duck: Duck
    a: TableEntry | None
    b: TableEntry | None
    limit: int
    relation: str

    @property
    def table(self) -> str:
        """Schema and name."""
        entry = self.b or self.a
        assert entry is not None
        return entry.qualified

    @cached_property
    def key(self) -> tuple[str, ...]:
        """The key by which rows are matched; empty: they cannot be."""
        if self.a is None or self.b is None or list(self.a.key) != list(self.b.key):
            return ()
        before, after = dict(self.a.columns), dict(self.b.columns)
        same = all(before[column] == after[column] for column in self.a.key)
        return tuple(self.a.key) if same else ()

    @cached_property
    def columns(self) -> dict[str, str]:
        """Columns whose values are compared, with their types: what both have, but for the key."""
        if self.a is None or self.b is None:
            return {}
        before = dict(self.a.columns)
        return {
            column: postgres
            for column, postgres in self.b.columns
            # PostgreSQL's key has both zeros as one.
            if before.get(column) == postgres and (column not in self.key or postgres in _FLOATS)
        }

    @cached_property
    def dense(self) -> list[str]:
        """Compared columns of embeddings of a declared length."""
        return [column for column, of in self.columns.items() if _DENSE.fullmatch(of)]

    def compare(self) -> TableDiff:
        """Make the temporary table, and return what it says.

        Raises:
            SnapshotError: M810, M811.
        """
        before = {} if self.a is None else dict(self.a.columns)
        after = {} if self.b is None else dict(self.b.columns)
        both = self.a is not None and self.b is not None
        if self.key:
            self._join()
        else:
            self._list()
        counts = self._counts()
        groups, groups_in_all = self._groups(spaces=True)
        return TableDiff(
            self.table,
            Counts(counts["added"], counts["removed"], counts["changed"]),
            by_column={
                column: counts[flag] for flag, column in self._flags.items() if counts[flag]
            },
            columns_added=tuple(one for one in after if both and one not in before),
            columns_removed=tuple(one for one in before if both and one not in after),
            columns_retyped={
                one: (before[one], after[one])
                for one in before
                if one in after and before[one] != after[one]
            },
            matched=bool(self.key),
            embeddings_alone=counts["alone"],
            reweighted=counts["reweighted"],
            facts=self._facts(counts),
            kinds=self._groups(spaces=False)[0],
            groups=groups,
            groups_in_all=groups_in_all,
            keys_added=self._keys("b", "what = 1", counts["added"]),
            keys_removed=self._keys("a", "what = -1", counts["removed"]),
            keys_changed=self._changed(counts["changed"]),
        )

    def _side(self, side: str, entry: TableEntry, key: Sequence[str]) -> str:
        """Return a query of a snapshot's rows: number, key, compared values, space, kind, facts."""
        types = dict(entry.columns)
        chosen = [f"file_row_number as {side}_row"]
        chosen += [f"{name(column)} as {side}_k{i}" for i, column in enumerate(key)]
        if self.key:
            chosen += [
                f"{_compared(column, postgres)} as {side}_c{i}"
                for i, (column, postgres) in enumerate(self.columns.items())
                if column not in self.dense
            ]
        for alias, sql_type, known in (("s", "bigint", _SPACES), ("t", "varchar", _KINDS)):
            column = next((one for one in known if one in types), None)
            value = "null" if column is None else name(column)
            chosen.append(f"{value}::{sql_type} as {side}_{alias}")
        if self.table == MEMORIES:
            for fact, column in _FACTS.items():
                value = f"{name(column)} is not null" if column in types else "false"
                chosen.append(f"{value} as {side}_{fact}")
        return f"select {', '.join(chosen)} from {self.duck.rows_of(entry)}"

    def _join(self) -> None:
        assert self.a is not None
        assert self.b is not None
        same = " and ".join(f"a_k{i} = b_k{i}" for i in range(len(self.key)))
        differs = [
            f"coalesce(e{self.dense.index(column)}, false)"
            if column in self.dense
            else f"a_c{i} is distinct from b_c{i}"
            for i, column in enumerate(self.columns)
        ]
        left_out = [
            f"{side}_c{i}"
            for i, column in enumerate(self.columns)
            for side in ("a", "b")
            if column not in self.dense
        ]
        embeddings = ""
        if self.dense:
            self._compare_embeddings(self.a, self.b, same)
            left_out += ["row", *(f"e{i}" for i in range(len(self.dense)))]
            embeddings = f"left join {self.relation}_e on row = a_row "
        shown = f"* exclude ({names(left_out)})" if left_out else "*"
        flags = "".join(f", {one} as d{i}" for i, one in enumerate(differs))
        self.duck.run(
            f"create temp table {self.relation} as "
            f"select {shown}, case when a_row is null then 1 when b_row is null then -1 "
            f"else 0 end::tinyint as what{flags} "
            f"from ({self._side('a', self.a, self.key)}) a "
            f"full join ({self._side('b', self.b, self.key)}) b on {same} {embeddings}"
            f"where {' or '.join(['a_row is null', 'b_row is null', *differs])}"
        )
        if self.dense:
            self.duck.run(f"drop table {self.relation}_e")

    def _compare_embeddings(self, a: TableEntry, b: TableEntry, same: str) -> None:
        """Make the table of rows whose embeddings differ."""
        keys = [
            f"(select file_row_number as {side}_row, "
            + ", ".join(f"{name(column)} as {side}_k{i}" for i, column in enumerate(self.key))
            + f" from {self.duck.rows_of(entry)})"
            for side, entry in (("a", a), ("b", b))
        ]
        unmatched = self.duck.run(
            f"select a_row, b_row from {keys[0]} full join {keys[1]} on {same} "
            "where a_row is null or b_row is null"
        ).fetchnumpy()
        skipped = [
            np.sort(np.ma.compressed(unmatched[one])).astype(np.int64) for one in ("a_row", "b_row")
        ]
        flags = ", ".join(f"e{i} boolean" for i in range(len(self.dense)))
        self.duck.run(f"create temp table {self.relation}_e (row bigint, {flags})")
        found = changed_embeddings(self.duck.store, a, b, self.dense, (skipped[0], skipped[1]))
        for batch in found:
            self.duck.insert(f"{self.relation}_e", batch)

    def _list(self) -> None:
        """Have all rows of the first snapshot removed, and all of the second one added."""
        sides = [
            f"select *, {what}::tinyint as what from ({self._side(side, entry, entry.key)})"
            for side, entry, what in (("a", self.a, -1), ("b", self.b, 1))
            if entry is not None
        ]
        every = " union all by name ".join(sides)
        self.duck.run(f"create temp table {self.relation} as {every}")
        # The side of a snapshot that lacks the table.
        facts = [(fact, "boolean") for fact in _FACTS] if self.table == MEMORIES else []
        for side, entry in (("a", self.a), ("b", self.b)):
            missing = [("row", "bigint"), ("s", "bigint"), ("t", "varchar"), *facts]
            for column, sql_type in missing if entry is None else ():
                self.duck.run(f"alter table {self.relation} add column {side}_{column} {sql_type}")

    @cached_property
    def _flags(self) -> dict[str, str]:
        """Column of the temporary table that says whether another one changed -> that one."""
        return {f"d{i}": column for i, column in enumerate(self.columns)} if self.key else {}

    def flag(self, column: str) -> str | None:
        """Return the column of the temporary table that says whether another one changed."""
        return next((flag for flag, one in self._flags.items() if one == column), None)

    def _counts(self) -> dict[str, int]:
        """Return how many rows of the temporary table meet each condition."""
        weight = self.flag("weight") if self.table == LINKS else None
        conditions = {
            "added": "what = 1",
            "removed": "what = -1",
            "changed": "what = 0",
            "alone": self._only_embeddings() or "false",
            "reweighted": f"what = 0 and {weight}" if weight else "false",
            **{flag: f"what = 0 and {flag}" for flag in self._flags},
            **(self._turns if self.table == MEMORIES else {}),
        }
        counted = ", ".join(f"count(*) filter ({one})" for one in conditions.values())
        (row,) = self.duck.all(f"select {counted} from {self.relation}")
        return dict(zip(conditions, row, strict=True))

    def _only_embeddings(self) -> str | None:
        """Return the condition that nothing but embeddings changed; None: there are none."""
        of_embeddings = {
            flag for flag, column in self._flags.items() if is_embedding(self.columns[column])
        }
        others = [f"not {flag}" for flag in self._flags if flag not in of_embeddings]
        return " and ".join(["what = 0", *others]) if of_embeddings else None

    def embeddings_of(self, memories: "Comparison") -> int:
        """Return the rows in which embeddings alone changed, of memories that say what they said.

        Args:
            memories: the comparison of the memories whose embeddings these are, made already.
        """
        alone, said = self._only_embeddings(), memories.flag("content")
        if alone is None:
            return 0
        if said is not None:
            others = f"select b_k0 from {memories.relation} where what = 0 and {said}"
            alone = f"{alone} and b_k0 not in ({others})"
        ((count,),) = self.duck.all(f"select count(*) from {self.relation} where {alone}")
        return int(count)

    @property
    def _turns(self) -> dict[str, str]:
        """Count of `Facts` -> its condition."""
        turns = {}
        for fact in _FACTS:
            before, after = (f"coalesce({side}_{fact}, false)" for side in "ab")
            turns[fact] = f"{after} and not {before}"
            turns[f"{fact}_no_more"] = f"{before} and not {after}"
        return turns

    def _facts(self, counts: Mapping[str, int]) -> Facts | None:
        if self.table != MEMORIES:
            return None
        found: dict[str, Any] = {}
        for turn, condition in self._turns.items():
            side = "a" if turn.endswith("_no_more") else "b"
            found[turn] = counts[turn]
            found[f"keys_{turn}"] = self._keys(side, condition, counts[turn])
        return Facts(**found)

    def _grouped(self, *, spaces: bool) -> str:
        moved = "(a_s is distinct from b_s or a_t is distinct from b_t)"
        space = "{}_s" if spaces else "null"
        ways = (
            ("b", "1, 0, 0", f"what = 1 or what = 0 and {moved}"),
            ("a", "0, 1, 0", f"what = -1 or what = 0 and {moved}"),
            ("b", "0, 0, 1", f"what = 0 and not {moved}"),
        )
        rows = " union all ".join(
            f"select {space.format(side)}, {side}_t, {one} from {self.relation} where {condition}"
            for side, one, condition in ways
        )
        return (
            "select s, t, sum(added)::bigint as added, sum(removed)::bigint as removed, "
            f"sum(changed)::bigint as changed from ({rows}) one(s, t, added, removed, changed) "
            "group by s, t"
        )

    def _groups(self, *, spaces: bool) -> tuple[tuple[Group, ...], int]:
        """Return the groups with the most rows, and how many groups there are."""
        rows = self.duck.all(
            f"select *, count(*) over () from ({self._grouped(spaces=spaces)}) "
            "order by added + removed + changed desc, s nulls first, t nulls first "
            f"limit {self.limit}"
        )
        groups = tuple(Group(space, kind, Counts(*counts)) for space, kind, *counts, _ in rows)
        return groups, rows[0][-1] if rows else 0

    def _key_of(self, side: str) -> str:
        """Return the columns of the temporary table with the key of a side."""
        entry = self.a if side == "a" else self.b
        return "" if entry is None else ", ".join(f"{side}_k{i}" for i in range(len(entry.key)))

    def _keys(self, side: str, condition: str, count: int) -> tuple[Key, ...]:
        key = self._key_of(side)
        if not key or not count:
            return ()
        chosen = f"select {key} from {self.relation} where {condition}"
        rows = self.duck.all(f"{chosen} order by {key} limit {self.limit}")
        return tuple(tuple(_plain(value) for value in row) for row in rows)

    def _changed(self, count: int) -> tuple[Changed, ...]:
        if not count:
            return ()
        key = self._key_of("b")
        columns = ", ".join(
            f"case when {flag} then {literal(column)} end" for flag, column in self._flags.items()
        )
        rows = self.duck.all(
            f"select {key}, [{columns}] from {self.relation} where what = 0 "
            f"order by {key} limit {self.limit}"
        )
        return tuple(
            Changed(tuple(map(_plain, values)), tuple(one for one in changed if one is not None))
            for *values, changed in rows
        )


def _plain(value: object) -> int | float | str | bool:
    """Return a value of a key as JSON has it."""
    if isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, UUID):
        return str(value)
    return value.isoformat() if isinstance(value, date) else str(value)
