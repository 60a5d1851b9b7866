"""Compare one table of two snapshots by its key, in DuckDB.

A value differs when its bytes do: -0.0 is not 0.0. Embeddings are compared by a hash of 64 bits,
so that a join has 8 bytes of each in memory; `apply` proves a diff by the digest of the rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any, Final
from uuid import UUID

from memos_assets.snapshots.differences import Changed, Counts, Facts, Group, Key, TableDiff
from memos_assets.snapshots.duck import Duck, literal, name, names
from memos_assets.snapshots.manifest import TableEntry

MEMORIES: Final = "agent.memories"
LINKS: Final = "agent.links"
#: Columns that say of which space and kind a row is; the first that a table has.
_SPACES: Final = ("space_id", "a_space_id")
_KINDS: Final = ("kind", "type", "memory_type", "action")
#: Fact -> the column that is not NULL where it holds.
_FACTS: Final = {"superseded": "superseded_by", "retracted": "retracted_at"}
_EMBEDDINGS: Final = ("vector", "halfvec", "sparsevec")
_DENSE: Final = ("vector", "halfvec")
_FLOATS: Final = ("real", "double precision")


def is_embedding(postgres: str) -> bool:
    """Whether a column's type is one of embeddings."""
    return postgres.partition("(")[0] in _EMBEDDINGS


def _compared(column: str, postgres: str) -> str:
    """Return SQL of which two values are the same if and only if the column's bytes are."""
    value = name(column)
    kind = postgres.partition("(")[0]
    if kind in _FLOATS:
        return f"{value}::bit"
    if kind in _DENSE:
        # A hash is the same for both zeros, a text is not.
        return (
            f"case when {value} is null then null when list_contains({value}, 0) "
            f"then hash({value}::varchar) else hash({value}) end"
        )
    return f"{value}::varchar" if kind == "sparsevec" or kind[:-2] in _FLOATS else value


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
        return TableDiff(
            self.table,
            self._counts(),
            by_column=self._by_column(),
            columns_added=tuple(one for one in after if both and one not in before),
            columns_removed=tuple(one for one in before if both and one not in after),
            columns_retyped={
                one: (before[one], after[one])
                for one in before
                if one in after and before[one] != after[one]
            },
            matched=bool(self.key),
            embeddings_alone=self._embeddings_alone(),
            reweighted=self._reweighted(),
            facts=self._facts(),
            kinds=tuple(self._groups(spaces=False)),
            groups=tuple(self._groups(spaces=True)),
            groups_in_all=self._groups_in_all(),
            keys_added=tuple(self._keys("b", "what = 1")),
            keys_removed=tuple(self._keys("a", "what = -1")),
            keys_changed=tuple(self._changed()),
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
        differs = [f"a_c{i} is distinct from b_c{i}" for i in range(len(self.columns))]
        flags = "".join(f", {one} as d{i}" for i, one in enumerate(differs))
        left_out = names([f"{side}_c{i}" for side in "ab" for i in range(len(self.columns))])
        shown = f"* exclude ({left_out})" if left_out else "*"
        changed = " or ".join(["a_row is null", "b_row is null", *differs])
        self.duck.run(
            f"create temp table {self.relation} as "
            f"select {shown}, case when a_row is null then 1 when b_row is null then -1 "
            f"else 0 end::tinyint as what{flags} "
            f"from ({self._side('a', self.a, self.key)}) a "
            f"full join ({self._side('b', self.b, self.key)}) b on {same} where {changed}"
        )

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

    def _one(self, what: str, condition: str = "true") -> int:
        ((count,),) = self.duck.all(f"select {what} from {self.relation} where {condition}")
        return int(count or 0)

    def _counts(self) -> Counts:
        ((added, removed, changed),) = self.duck.all(
            f"select count(*) filter (what = 1), count(*) filter (what = -1), "
            f"count(*) filter (what = 0) from {self.relation}"
        )
        return Counts(added, removed, changed)

    def _flags(self) -> Iterator[tuple[str, str]]:
        """Yield the column of the temporary table that says whether each compared one changed."""
        if self.key:
            yield from ((f"d{i}", column) for i, column in enumerate(self.columns))

    def _by_column(self) -> dict[str, int]:
        flags = list(self._flags())
        if not flags:
            return {}
        counted = ", ".join(f"count(*) filter ({flag})" for flag, _ in flags)
        (row,) = self.duck.all(f"select {counted} from {self.relation} where what = 0")
        counts = zip((column for _, column in flags), row, strict=True)
        return {column: count for column, count in counts if count}

    def _only_embeddings(self) -> str | None:
        """Return the condition that nothing but embeddings changed; None: there are none."""
        flags = list(self._flags())
        embeddings = [flag for flag, column in flags if is_embedding(self.columns[column])]
        others = [f"not {flag}" for flag, column in flags if not is_embedding(self.columns[column])]
        return " and ".join(["what = 0", *others]) if embeddings else None

    def _embeddings_alone(self) -> int:
        condition = self._only_embeddings()
        return 0 if condition is None else self._one("count(*)", condition)

    def embeddings_of(self, memories: "Comparison") -> int:
        """Return the rows in which embeddings alone changed, of memories that say what they said.

        Args:
            memories: the comparison of the memories whose embeddings these are, made already.
        """
        alone = self._only_embeddings()
        said = dict((column, flag) for flag, column in memories._flags()).get("content")
        if alone is None or said is None:
            return 0 if alone is None else self._one("count(*)", alone)
        others = f"select b_k0 from {memories.relation} where what = 0 and {said}"
        return self._one("count(*)", f"{alone} and b_k0 not in ({others})")

    def _reweighted(self) -> int:
        flag = dict((column, flag) for flag, column in self._flags()).get("weight")
        if self.table != LINKS or flag is None:
            return 0
        return self._one("count(*)", f"what = 0 and {flag}")

    def _facts(self) -> Facts | None:
        if self.table != MEMORIES:
            return None
        found: dict[str, Any] = {}
        for fact in _FACTS:
            before, after = (f"coalesce({side}_{fact}, false)" for side in "ab")
            began, ended = f"{after} and not {before}", f"{before} and not {after}"
            found[fact] = self._one("count(*)", began)
            found[f"{fact}_no_more"] = self._one("count(*)", ended)
            found[f"keys_{fact}"] = tuple(self._keys("b", began))
            found[f"keys_{fact}_no_more"] = tuple(self._keys("a", ended))
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

    def _groups(self, *, spaces: bool) -> Iterator[Group]:
        order = "order by added + removed + changed desc, s nulls first, t nulls first"
        grouped = f"from ({self._grouped(spaces=spaces)}) {order} limit {self.limit}"
        for space, kind, added, removed, changed in self.duck.all(f"select * {grouped}"):
            yield Group(space, kind, Counts(added, removed, changed))

    def _groups_in_all(self) -> int:
        ((count,),) = self.duck.all(f"select count(*) from ({self._grouped(spaces=True)})")
        return int(count)

    def _key_of(self, side: str) -> list[str]:
        entry = self.a if side == "a" else self.b
        return [] if entry is None else [f"{side}_k{i}" for i in range(len(entry.key))]

    def _keys(self, side: str, condition: str) -> Iterator[Key]:
        columns = self._key_of(side)
        if not columns:
            return
        listed = names(columns)
        chosen = f"select {listed} from {self.relation} where {condition}"
        for row in self.duck.all(f"{chosen} order by {listed} limit {self.limit}"):
            yield tuple(_plain(value) for value in row)

    def _changed(self) -> Iterator[Changed]:
        flags = list(self._flags())
        if not flags:
            return
        key = self._key_of("b")
        pairs = ", ".join(f"case when {flag} then {literal(one)} end" for flag, one in flags)
        for *values, columns in self.duck.all(
            f"select {names(key)}, [{pairs}] from {self.relation} where what = 0 "
            f"order by {names(key)} limit {self.limit}"
        ):
            changed = tuple(column for column in columns if column is not None)
            yield Changed(tuple(_plain(value) for value in values), changed)


def _plain(value: object) -> int | float | str | bool:
    """Return a value of a key as JSON has it."""
    if isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, UUID):
        return str(value)
    return value.isoformat() if isinstance(value, date) else str(value)
