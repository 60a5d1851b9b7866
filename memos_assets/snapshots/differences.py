"""What differs between two snapshots: counts, keys, and what they mean for memory."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from memos_assets.snapshots.manifest import Manifest

#: Values of a row's key, as JSON has them: UUIDs, dates and bytes (hexadecimal) are text.
Key = tuple[int | float | str | bool, ...]


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows that came, that went, and that are in both snapshots with other values."""

    added: int = 0
    removed: int = 0
    changed: int = 0

    @property
    def mirrored(self) -> Self:
        """The counts of the way back."""
        return replace(self, added=self.removed, removed=self.added)

    @property
    def all(self) -> int:
        """Rows that differ."""
        return self.added + self.removed + self.changed


@dataclass(frozen=True, slots=True)
class Group:
    """The rows of one space and kind. A row that moved went from one and came to the other.

    Attributes:
        space: id of the space; None: the table has none, or the row is in none.
        kind: of memory, type of link or action; None: the table has none.
        counts: of its rows.
    """

    space: int | None
    kind: str | None
    counts: Counts


@dataclass(frozen=True, slots=True)
class Changed:
    """A row that is in both snapshots: its key, and the columns with another value."""

    key: Key
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """Memories that ended, or did so no more. Those that came or went with the state count, too.

    Attributes:
        superseded, retracted: are so in the second snapshot, and were not in the first.
        superseded_no_more, retracted_no_more: were so in the first, and are not in the second.
        keys_...: of these memories, the first ones.
    """

    superseded: int = 0
    superseded_no_more: int = 0
    retracted: int = 0
    retracted_no_more: int = 0
    keys_superseded: tuple[Key, ...] = ()
    keys_superseded_no_more: tuple[Key, ...] = ()
    keys_retracted: tuple[Key, ...] = ()
    keys_retracted_no_more: tuple[Key, ...] = ()

    @property
    def mirrored(self) -> Self:
        """The facts of the way back."""
        return replace(
            self,
            superseded=self.superseded_no_more,
            superseded_no_more=self.superseded,
            retracted=self.retracted_no_more,
            retracted_no_more=self.retracted,
            keys_superseded=self.keys_superseded_no_more,
            keys_superseded_no_more=self.keys_superseded,
            keys_retracted=self.keys_retracted_no_more,
            keys_retracted_no_more=self.keys_retracted,
        )


@dataclass(frozen=True, slots=True)
class TableDiff:
    """One table that differs. Counts are exact; lists of keys and groups have the first ones.

    Attributes:
        table: schema and name.
        rows: of the table that came, went and changed.
        by_column: column -> rows in which it changed; columns of both snapshots alone.
        columns_added, columns_removed: that one snapshot has.
        columns_retyped: column -> its types in both; its values are not compared.
        matched: False: rows were not compared, because one snapshot lacks the table, or its key is
            another one; all rows of the first went, all of the second came.
        embeddings_alone: changed rows in which nothing but embeddings changed. In a table of
            embeddings, those of memories whose text did not change.
        reweighted: changed rows of links with another weight.
        facts: of agents' memories.
        kinds: all spaces together, by kind.
        groups: by space and kind, those with the most rows first.
        groups_in_all: how many there are.
        keys_added, keys_removed, keys_changed: in the order of the key.
    """

    table: str
    rows: Counts
    by_column: Mapping[str, int] = field(default_factory=dict)
    columns_added: tuple[str, ...] = ()
    columns_removed: tuple[str, ...] = ()
    columns_retyped: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    matched: bool = True
    embeddings_alone: int = 0
    reweighted: int = 0
    facts: Facts | None = None
    kinds: tuple[Group, ...] = ()
    groups: tuple[Group, ...] = ()
    groups_in_all: int = 0
    keys_added: tuple[Key, ...] = ()
    keys_removed: tuple[Key, ...] = ()
    keys_changed: tuple[Changed, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether rows have other columns, so that every one differs even if no value changed."""
        return not self.matched or bool(
            self.columns_added or self.columns_removed or self.columns_retyped
        )

    @property
    def mirrored(self) -> Self:
        """The differences of the way back."""
        return replace(
            self,
            rows=self.rows.mirrored,
            columns_added=self.columns_removed,
            columns_removed=self.columns_added,
            columns_retyped={
                name: (after, before) for name, (before, after) in self.columns_retyped.items()
            },
            facts=self.facts and self.facts.mirrored,
            kinds=_mirrored(self.kinds),
            groups=_mirrored(self.groups),
            keys_added=self.keys_removed,
            keys_removed=self.keys_added,
        )


def _mirrored(groups: Sequence[Group]) -> tuple[Group, ...]:
    return tuple(replace(group, counts=group.counts.mirrored) for group in groups)


@dataclass(frozen=True, slots=True)
class RowFiles:
    """Files with the rows that differ: those of the first snapshot, and those of the second.

    Attributes:
        folder: where they are, one file per table and side, by which `apply` works.
        swapped: True after `mirror`.
    """

    folder: Path
    swapped: bool = False

    def before(self, table: str) -> Path:
        """The rows of the first snapshot that are not in the second one as they are."""
        return self.folder / f"{table}.{'b' if self.swapped else 'a'}.parquet"

    def after(self, table: str) -> Path:
        """The rows of the second snapshot that are not in the first one as they are."""
        return self.folder / f"{table}.{'a' if self.swapped else 'b'}.parquet"


@dataclass(frozen=True, slots=True)
class Diff:
    """What differs between two snapshots.

    Attributes:
        a, b: their manifests.
        tables: that differ, by name.
        files: with the rows, where they were asked for.
    """

    a: Manifest
    b: Manifest
    tables: tuple[TableDiff, ...]
    files: RowFiles | None = None

    @property
    def rows(self) -> Counts:
        """Of all tables."""
        each = [table.rows for table in self.tables]
        return Counts(
            sum(one.added for one in each),
            sum(one.removed for one in each),
            sum(one.changed for one in each),
        )

    def table(self, qualified: str) -> TableDiff | None:
        """Return what differs in a table; None: nothing."""
        return next((one for one in self.tables if one.table == qualified), None)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it: ids, counts and keys, no other value of a row."""
        return {
            "a": self.a.id,
            "b": self.b.id,
            "rows": asdict(self.rows),
            "tables": [asdict(one) for one in self.tables],
        }


def mirror(diff: Diff) -> Diff:
    """Return the differences of the way back: that of `diff(store, b, a)`."""
    files = diff.files and replace(diff.files, swapped=not diff.files.swapped)
    return Diff(diff.b, diff.a, tuple(one.mirrored for one in diff.tables), files)
