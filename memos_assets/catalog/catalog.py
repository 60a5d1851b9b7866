"""The catalog of one application: its SQLite files, its own tables, and where they go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from memos_assets.catalog.application import ApplicationTable
from memos_assets.catalog.columns import Encoding
from memos_assets.catalog.tables import FileKind, TableSpec

#: A table that has search indexes.
IndexedTable = TableSpec | ApplicationTable
#: (source, SQLite table, SQLite column) -> the encoding that it is declared to hold.
Encodings = Mapping[tuple[str, str, str], Encoding]


@dataclass(frozen=True)
class Catalog:
    """What is brought into PostgreSQL for one application, as a value.

    Attributes:
        kinds: every kind of SQLite file that it writes.
        application: groups of tables that it has in PostgreSQL already, by the name of their asset.
        schema: of the consolidated tables.
        prefix: first part of the asset keys of its tables.
        encodings: embedding columns that are declared to hold another encoding than `kinds` says.
    """

    kinds: Sequence[FileKind]
    application: Mapping[str, Sequence[ApplicationTable]] = field(default_factory=dict, hash=False)
    schema: str = "memos"
    prefix: str = "memos"
    encodings: Encodings = field(default_factory=dict, hash=False)

    def with_encodings(self, encodings: Encodings) -> "Catalog":
        """Return the same catalog with these declarations instead."""
        return replace(self, encodings=MappingProxyType(dict(encodings)))

    @property
    def consolidated(self) -> tuple[FileKind, ...]:
        """Kinds of file whose rows are loaded."""
        return tuple(kind for kind in self.kinds if kind.disposition == "consolidate")

    @property
    def tables(self) -> tuple[TableSpec, ...]:
        """Every consolidated table; one that others link to may come after them."""
        return tuple(spec for kind in self.consolidated for spec in kind.tables)

    @property
    def application_tables(self) -> tuple[ApplicationTable, ...]:
        """Every table of the application; one that others name comes before them."""
        return tuple(table for tables in self.application.values() for table in tables)

    @property
    def indexed(self) -> tuple[IndexedTable, ...]:
        """Every table with search indexes: consolidated ones, then those of the application."""
        return (
            *(spec for spec in self.tables if spec.vector_indexes or spec.searched or spec.texts),
            *(t for t in self.application_tables if t.vector_indexes or t.searched),
        )

    @property
    def maintained(self) -> tuple[IndexedTable, ...]:
        """Tables whose health is watched: consolidated ones, and the application's with indexes."""
        indexed = (spec for spec in self.indexed if isinstance(spec, ApplicationTable))
        return (*self.tables, *indexed)

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
