"""Descriptions of the tables that an application already has in PostgreSQL.

They are adopted where they are: the application goes on reading and writing them. Its ``json``
columns are ``jsonb`` after the adoption; all other types stay.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from memos_assets.catalog.columns import Column, VectorIndex
from memos_assets.catalog.table import Table

APPLICATION_SCHEMA = "public"

#: Names that memOS's tables have for types, and that fingerprints are made of -> their names in
#: `types`, None where it is the same one. Any other type goes by its name there.
_POSTGRES_TYPES: Final = {
    **dict.fromkeys(("uuid", "text", "integer", "boolean", "date", "vector")),
    "string": "varchar", "double": "double precision", "json": "jsonb", "bytes": "bytea",
    "moment": "timestamp without time zone",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ApplicationColumn:
    """One column of a table of memOS.

    ``kind``: a name of `types.TYPES`, an array of one, or a short name: a ``string`` is a
    ``varchar``, a ``moment`` a ``timestamp without time zone``, in UTC. ``length``: characters of a
    ``string``, elements of a ``vector``. ``references``: the table whose key it names;
    ``cascade``: rows go with the row that they name.
    """

    name: str
    kind: str
    length: int | None = None
    nullable: bool = True
    references: str | None = None
    cascade: bool = False

    def __post_init__(self) -> None:
        """Refuse an unknown type.

        Raises:
            UsageError: M535.
        """
        if self.kind not in _POSTGRES_TYPES:
            # Types bring pyarrow and SQLAlchemy, which memOS's own tables need not be described.
            from memos_assets.catalog.types import column_type

            column_type(self.postgres_type)

    @property
    def postgres_type(self) -> str:
        """Type of the column in PostgreSQL, with its length."""
        name = _POSTGRES_TYPES.get(self.kind) or self.kind
        return name if self.length is None else f"{name}({self.length})"


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
    def column_types(self) -> dict[str, str]:
        """Column -> its type in PostgreSQL, in the order of the table."""
        return {column.name: column.postgres_type for column in self.columns}

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
