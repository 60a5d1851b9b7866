"""Descriptions of SQLite tables with their PostgreSQL tables, and of kinds of file."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from typing import Literal

from memos_assets.catalog.columns import (
    PAGE_ROW_BYTES,
    Column,
    Encoding,
    VectorColumn,
    VectorIndex,
    rows_of_a_page,
)
from memos_assets.catalog.table import Sparse, Table

#: Generated column of every table with texts: their words and codes, for full-text search.
SEARCH_TEXT = "search_text"

Disposition = Literal["consolidate", "keep", "list"]
Derivation = Literal["mixed_precision"]
#: (source, SQLite table, SQLite column) -> the encoding that it is declared to hold.
Encodings = Mapping[tuple[str, str, str], Encoding]

#: Raised by hand when the decoder changes what it makes of the same bytes: loaded chunks go stale.
DECODER_VERSION = 3


@dataclass(frozen=True, slots=True)
class Link:
    """A column whose value names a row of ``table`` in the same file.

    ``declared``: memOS's schema declares a foreign key (which SQLite never enforced), so a row
    whose end is missing is rejected. Otherwise the reference is loose by design: the row is loaded
    and the column ``missing`` names the ends that lead nowhere.
    """

    column: str
    table: str
    key: str
    declared: bool = True


@dataclass(frozen=True, slots=True)
class TableSpec:
    """One SQLite table and the PostgreSQL table it becomes.

    Attributes:
        name: of the table in PostgreSQL.
        origin: table in the SQLite file.
        key: target columns that, after ``source``, identify a row.
        columns: plain columns, in the order of the target table.
        vectors: embedding columns.
        links: columns that name rows of other tables of the file.
        mirrored: for each row with a true ``bidirectional`` flag a reversed one is materialised.
        derivation: how columns that are not copied are recomputed and compared.
        derived: those SQLite columns.
        absent_ok: the table exists only in some files of the kind.
        texts: columns that full-text search reads, what matters most first.
        details: the JSON column that a hit shows beside its text.
        about: one sentence for the UI.
        schema: of the table in PostgreSQL, from its catalog; not a part of ``repr``.
    """

    name: str
    origin: str
    key: Sequence[str]
    columns: Sequence[Column]
    about: str
    vectors: Sequence[VectorColumn] = ()
    links: Sequence[Link] = ()
    mirrored: bool = False
    derivation: Derivation | None = None
    derived: Sequence[str] = ()
    absent_ok: bool = False
    texts: Sequence[str] = field(default=(), repr=False)
    details: str | None = field(default=None, repr=False)
    schema: str = field(default="memos", repr=False)

    @property
    def qualified(self) -> str:
        """Schema-qualified name, as SQL and ``dagster/table_name`` want it."""
        return f"{self.schema}.{self.name}"

    @property
    def fingerprint(self) -> str:
        """Changes when the description or the decoder does; the asset's code version."""
        return self._fingerprint(DECODER_VERSION)

    @property
    def former_fingerprints(self) -> frozenset[str]:
        """Fingerprints of this description under every former version of the decoder."""
        return frozenset(map(self._fingerprint, range(1, DECODER_VERSION)))

    def _fingerprint(self, decoder_version: int) -> str:
        return hashlib.sha256(f"{decoder_version}{self!r}".encode()).hexdigest()[:12]

    @property
    def primary_key(self) -> tuple[str, ...]:
        """Columns of the primary key, ``source`` first."""
        mirror = ("reversed",) if self.mirrored else ()
        return ("source", *self.key, *mirror)

    @property
    def column_types(self) -> dict[str, str]:
        """Column -> its type in PostgreSQL, in the order of the table, generated ones left out."""
        types = {"source": "text"}
        types |= {column.name: column.postgres_type for column in self.columns}
        if self.mirrored:
            types["reversed"] = "boolean"
        for vector in self.vectors:
            types[vector.name] = vector.stored
            types[vector.dimension_name] = "integer"
            types[vector.reason_name] = "text"
        if self.has_loose_links:
            types["missing"] = "text[]"
        return {**types, "chunk": "integer", "source_rowid": "bigint"}

    @property
    def has_loose_links(self) -> bool:
        """Whether rows carry the column ``missing``."""
        return any(not link.declared for link in self.links)

    @property
    def row_target(self) -> int | None:
        """Bytes that PostgreSQL shortens rows to, so that embeddings stay within them.

        As many rows share a page as their longest embeddings allow. None where a page does not
        hold one, and embeddings are stored outside of their rows (docs/decisions/011).
        """
        rows = rows_of_a_page(sum(vector.most_bytes for vector in self.vectors))
        return PAGE_ROW_BYTES // rows if self.vectors and rows else None

    @property
    def vector_indexes(self) -> tuple[VectorIndex, ...]:
        """Every HNSW index of the table, one per vector column and dimension."""
        return tuple(index for vector in self.vectors for index in vector.indexes(self.name))

    @property
    def searched(self) -> tuple[Column, ...]:
        """Columns with a GIN index."""
        return tuple(column for column in self.columns if column.searched)

    @property
    def text_index(self) -> str | None:
        """Name of the GIN index for full-text search; None where there is no text to search."""
        return f"{self.name}_{SEARCH_TEXT}_gin" if self.texts else None

    @property
    def required_origins(self) -> frozenset[str]:
        """SQLite columns without which the file is refused."""
        plain = {column.origin for column in self.columns if not column.optional}
        vectors = {vector.origin for vector in self.vectors}
        dimensions = {v.dimension_origin for v in self.vectors if v.dimension_origin}
        return frozenset(plain | vectors | dimensions | set(self.derived))

    @property
    def known_origins(self) -> frozenset[str]:
        """SQLite columns that the description accounts for."""
        return self.required_origins | {column.origin for column in self.columns}

    @property
    def integer_origins(self) -> tuple[str, ...]:
        """SQLite columns that hold integers, flags or dimensions."""
        plain = (c.origin for c in self.columns if c.kind in ("integer", "boolean"))
        stated = (v.dimension_origin for v in self.vectors if v.dimension_origin)
        return tuple(dict.fromkeys([*plain, *stated]))

    @property
    def identifying_columns(self) -> frozenset[str]:
        """Columns that name rows: the key, to which links of other tables lead, and own links."""
        return frozenset({*self.key, *(link.column for link in self.links)})

    @property
    def as_table(self) -> Table:
        """The description from which its indexes, search functions and checks are derived."""
        weights = next((c for c in self.columns if c.searched == "keys"), None)
        return Table(
            name=self.name,
            schema=self.schema,
            key=("source", *self.key),
            owner="source",
            texts=tuple(name for name in self.texts if self.column(name).kind == "text"),
            details=self.details,
            searched=self.searched,
            vector_indexes=self.vector_indexes,
            text_index=self.text_index,
            sparse=self._sparse_of(weights) if weights else None,
            live=False,
            fingerprint=self.fingerprint,
        )

    def _sparse_of(self, weights: Column) -> Sparse:
        """Return the weights with the column that is computed from them: their vocabulary."""
        computed = (c for c in self.columns if c.computed and c.origin == weights.origin)
        return Sparse(weights.name, next(computed).name)

    def column(self, name: str) -> Column:
        """Return the plain column called ``name`` in the target."""
        return next(column for column in self.columns if column.name == name)


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of SQLite file: how it is recognised, and its treatment.

    Attributes:
        name: names the source asset, the partitions and the job.
        signature: table -> columns that together occur in no other kind.
        disposition: ``consolidate`` into PostgreSQL, ``keep`` in place and observe, ``list`` only.
        tables: descriptions of its tables.
        empty: tables that memOS declares and never writes; a row in one is reported, not ignored.
        chunk_rows: rowids per chunk to begin with; doubled until a file has at most 64 chunks.
        usual_names: patterns of the names that memOS gives such a file.
        about: one sentence for the UI.
        encodings: embedding columns that are declared to hold another encoding than ``tables`` say.
    """

    name: str
    signature: Mapping[str, frozenset[str]] = field(hash=False)
    disposition: Disposition
    about: str
    usual_names: Sequence[str]
    tables: Sequence[TableSpec] = ()
    empty: Sequence[str] = ()
    chunk_rows: int = 2_048
    encodings: Encodings = field(default_factory=dict, hash=False, repr=False)

    @property
    def schema(self) -> str:
        """The schema that its tables are in."""
        return self.tables[0].schema

    def placed(self, schema: str, encodings: Encodings) -> "FileKind":
        """Return the kind with its tables in a schema, and with these declarations."""
        if encodings == self.encodings and all(spec.schema == schema for spec in self.tables):
            return self
        tables = tuple(replace(spec, schema=schema) for spec in self.tables)
        return replace(self, tables=tables, encodings=encodings)

    def table(self, name: str) -> TableSpec:
        """Return the table of this name; KeyError if there is none."""
        return {spec.name: spec for spec in self.tables}[name]

    def matches(self, layout: Mapping[str, frozenset[str]]) -> bool:
        """Whether a file with these tables and columns is of this kind."""
        return all(
            columns <= layout.get(table, frozenset()) for table, columns in self.signature.items()
        )

    def is_usual_name(self, file_name: str) -> bool:
        """Whether memOS itself calls such files so."""
        return any(fnmatch(file_name, pattern) for pattern in self.usual_names)
