"""The catalog of one application: its SQLite files, its own tables, and where they go."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from memos_assets.asset_names import AssetNames
from memos_assets.catalog.application import ApplicationTable
from memos_assets.catalog.table import Table
from memos_assets.catalog.tables import Encodings, FileKind, TableSpec

#: Suffix of the schemas of versions that are not live; PostgreSQL reads the pattern, too.
_VERSION = r"_(shadow|v[0-9]+(_[0-9]+)?)"
_SHADOW = "_shadow"


def versions_of(schema: str) -> str:
    """Return a regular expression of the schemas of a catalog's tables: live, shadow, former."""
    return f"^{schema}({_VERSION})?$"


def live_schema(shadow: str) -> str:
    """Return the schema that a shadow will replace."""
    return shadow.removesuffix(_SHADOW)


@dataclass(frozen=True)
class Catalog:
    """The kinds of file and tables of one application, as a value.

    Attributes:
        kinds: every kind of SQLite file that it writes; their tables are placed in ``schema``.
        application: groups of tables that it has in PostgreSQL already, by the name of their asset.
        schema: of the consolidated tables and of the search functions.
        names: of its assets, jobs and partitions.
        encodings: embedding columns that are declared to hold another encoding than ``kinds`` say.

    Raises:
        ValueError: the schema has the name of another one's version, or would have to be quoted.
    """

    kinds: Sequence[FileKind]
    application: Mapping[str, Sequence[ApplicationTable]] = field(default_factory=dict, hash=False)
    schema: str = "memos"
    names: AssetNames = field(default_factory=AssetNames)
    encodings: Encodings = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not re.fullmatch("[a-z_][a-z0-9_]*", self.schema):
            raise ValueError(f"{self.schema!r} is not made of lower-case letters, digits and '_'")
        if re.search(f"{_VERSION}$", self.schema):
            raise ValueError(f"{self.schema!r} is a name of a version of another schema")
        placed = tuple(kind.placed(self.schema, self.encodings) for kind in self.kinds)
        object.__setattr__(self, "kinds", placed)

    @property
    def prefix(self) -> str:
        """First part of the asset keys of its tables."""
        return self.names.prefix

    @property
    def shadow(self) -> str:
        """The schema that a consolidation that swaps loads into."""
        return f"{self.schema}{_SHADOW}"

    @property
    def versions(self) -> str:
        """A regular expression of the schemas of its tables: live, shadow, former ones."""
        return versions_of(self.schema)

    def with_encodings(self, encodings: Encodings) -> "Catalog":
        """Return the same catalog with these declarations instead."""
        if encodings == self.encodings:
            return self
        return replace(self, encodings=dict(encodings))

    @cached_property
    def consolidated(self) -> tuple[FileKind, ...]:
        """Kinds of file whose rows are loaded."""
        return tuple(kind for kind in self.kinds if kind.disposition == "consolidate")

    @property
    def kept(self) -> tuple[FileKind, ...]:
        """Kinds of file that stay where they are, and are observed."""
        return tuple(kind for kind in self.kinds if kind.disposition == "keep")

    @cached_property
    def tables(self) -> tuple[TableSpec, ...]:
        """Every consolidated table; one that others link to may come after them."""
        return tuple(spec for kind in self.consolidated for spec in kind.tables)

    @cached_property
    def application_tables(self) -> tuple[ApplicationTable, ...]:
        """Every table of the application; one that others name comes before them."""
        return tuple(table for tables in self.application.values() for table in tables)

    def described(self, specs: Iterable[TableSpec | ApplicationTable]) -> tuple[Table, ...]:
        """Return tables as the rooms for indexes, search and health know them."""
        return tuple(replace(spec.as_table, functions=self.schema) for spec in specs)

    @cached_property
    def every_table(self) -> tuple[Table, ...]:
        """Consolidated tables, then those of the application."""
        return self.described((*self.tables, *self.application_tables))

    @cached_property
    def indexed(self) -> tuple[Table, ...]:
        """Every table with search indexes: consolidated ones, then those of the application."""
        return tuple(table for table in self.every_table if table.is_searched or table.searched)

    @cached_property
    def maintained(self) -> tuple[Table, ...]:
        """Tables whose health is watched: consolidated ones, and the application's with indexes."""
        return tuple(t for t in self.every_table if not t.live or t.is_searched or t.searched)

    @cached_property
    def searchable(self) -> tuple[Table, ...]:
        """Tables with search functions."""
        return tuple(table for table in self.indexed if table.is_searched)

    def kind(self, name: str) -> FileKind:
        """Return the kind of file of this name; KeyError if there is none."""
        return {kind.name: kind for kind in self.kinds}[name]

    def table(self, name: str) -> TableSpec:
        """Return the consolidated table of this name; KeyError if there is none."""
        return {spec.name: spec for spec in self.tables}[name]

    def kind_of_table(self, name: str) -> FileKind:
        """Return the kind of file that a consolidated table is loaded from."""
        return next(
            kind for kind in self.consolidated if any(spec.name == name for spec in kind.tables)
        )
