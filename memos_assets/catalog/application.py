"""How tables are described that an application has in PostgreSQL already.

They are adopted where they are: the application goes on reading and writing them. What it declared
as ``json`` is ``jsonb`` after the adoption; all other types stay.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from memos_assets.catalog.columns import Column, VectorIndex
from memos_assets.catalog.table import Table

APPLICATION_SCHEMA = "public"

ApplicationKind = Literal[
    "uuid", "string", "text", "integer", "double", "boolean", "json", "moment", "date", "bytes",
    "vector",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class ApplicationColumn:
    """One column of a table of memOS.

    ``length``: characters of a ``string``, elements of a ``vector``. ``references``: the table
    whose key it names; ``cascade``: rows go with the row that they name. A ``moment`` is a
    ``timestamp without time zone``, in UTC.
    """

    name: str
    kind: ApplicationKind
    length: int | None = None
    nullable: bool = True
    references: str | None = None
    cascade: bool = False


@dataclass(frozen=True, slots=True)
class ApplicationIndex:
    """An index that memOS has on a table; a column may be followed by ``desc``."""

    name: str
    columns: Sequence[str]
    where: str | None = None
    unique: bool = False


@dataclass(frozen=True, slots=True)
class ApplicationTable:
    """One table of memOS.

    Attributes:
        name: of the table, in schema ``public``.
        columns: in memOS's order; the first one is the key.
        about: one sentence for the UI.
        indexes: those of memOS.
        contained: JSON columns that get a GIN index for containment.
        vector_indexes: HNSW indexes that it gets.
        owner: the column by which rows belong to a user, where search asks for it.
        texts: columns that a hit shows as its text.
        details: the JSON column that a hit shows as its metadata.
        condition: rows that search offers, as SQL; empty: all.
    """

    name: str
    columns: Sequence[ApplicationColumn]
    about: str
    indexes: Sequence[ApplicationIndex] = ()
    contained: Sequence[str] = field(default=(), repr=False)
    vector_indexes: tuple[VectorIndex, ...] = field(default=(), repr=False)
    owner: str | None = field(default=None, repr=False)
    texts: tuple[str, ...] = field(default=(), repr=False)
    details: str | None = field(default=None, repr=False)
    condition: str = field(default="", repr=False)

    @property
    def schema(self) -> str:
        """The schema it is in."""
        return APPLICATION_SCHEMA

    @property
    def qualified(self) -> str:
        """Schema-qualified name, as SQL and ``dagster/table_name`` want it."""
        return f"{APPLICATION_SCHEMA}.{self.name}"

    @property
    def fingerprint(self) -> str:
        """Changes when the description does; the asset's code version."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:12]

    @property
    def key(self) -> str:
        """The column of the primary key."""
        return self.columns[0].name

    @property
    def json_columns(self) -> tuple[str, ...]:
        """Columns that are ``jsonb`` after the adoption."""
        return tuple(column.name for column in self.columns if column.kind == "json")

    @property
    def as_table(self) -> Table:
        """The description from which its indexes, search functions and checks are derived.

        There is no full-text search: what memOS's users said is encrypted.
        """
        key = self.columns[0]
        return Table(
            name=self.name,
            schema=self.schema,
            key=(*((self.owner,) if self.owner else ()), key.name),
            owner=self.owner,
            texts=self.texts,
            details=self.details,
            searched=tuple(Column(n, "json", n, searched="containment") for n in self.contained),
            vector_indexes=self.vector_indexes,
            condition=self.condition,
            key_types={key.name: "uuid"} if key.kind == "uuid" else {},
            fingerprint=self.fingerprint,
        )
