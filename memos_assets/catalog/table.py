"""The small description that consolidated, application and live tables all give.

Search indexes, search functions, health checks and drift checks are derived from it, so a table
gets them by giving its `Table`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from memos_assets.catalog.columns import Column, Stored, VectorIndex
from memos_assets.errors import UsageError


@dataclass(frozen=True, slots=True)
class Sparse:
    """Sparse weights beside a document: the JSON column, and the one that names its vocabulary."""

    weights: str
    vocabulary: str


@dataclass(frozen=True, slots=True)
class Fusion:
    """How much each list counts in a search by both: the weight of its z-scores.

    Chosen by labelled queries, for the model of a table's embeddings.
    """

    meaning: float = 1.0
    words: float = 1.0
    sparse: float = 0.5


@dataclass(frozen=True, slots=True)
class Table:
    """A table that is indexed, searched and watched.

    Attributes:
        name: of the table.
        schema: that holds it. A connection may put another version of the schema in its place.
        key: columns that name a row, ``owner`` first if there is one.
        owner: the column that names the owner of a row: ``source``, ``user_id``; None: no owner.
        texts: columns that a hit shows as its text, one under the other.
        details: the JSON column that a hit shows as its metadata.
        searched: JSON columns with a GIN index; those searched by containment filter searches.
        vector_indexes: one per embedding and dimension; empty: no search by vector.
        text_index: the GIN index of full-text search on ``search_text``; None: no search by text.
        sparse: its sparse weights, where it has any.
        condition: rows that search offers, as SQL; empty: all.
        key_types: key column -> SQL type in which a hit shows it, where that is not ``text``.
        live: others write the table at any time, so its indexes are built beside them.
        functions: schema of its search functions; empty: the table's own.
        fingerprint: changes when its description does.
        fusion: how much each list counts in a search by both.
    """

    name: str
    schema: str
    key: tuple[str, ...]
    owner: str | None = None
    texts: tuple[str, ...] = ()
    details: str | None = None
    searched: tuple[Column, ...] = ()
    vector_indexes: tuple[VectorIndex, ...] = ()
    text_index: str | None = None
    sparse: Sparse | None = None
    condition: str = ""
    key_types: Mapping[str, str] = field(default_factory=dict, hash=False)
    live: bool = True
    functions: str = ""
    fingerprint: str = ""
    fusion: Fusion = Fusion()

    @property
    def qualified(self) -> str:
        """Schema-qualified name, as SQL and ``dagster/table_name`` want it."""
        return f"{self.schema}.{self.name}"

    @property
    def function_schema(self) -> str:
        """The schema of its search functions."""
        return self.functions or self.schema

    @property
    def filters(self) -> tuple[str, ...]:
        """JSON columns by which a search may be filtered, through containment."""
        return tuple(c.name for c in self.searched if c.searched == "containment")

    @property
    def filter_columns(self) -> tuple[str, ...]:
        """Columns by which a search may be filtered: the owner, then the filters."""
        return (*((self.owner,) if self.owner else ()), *self.filters)

    @property
    def is_searched(self) -> bool:
        """Whether it has search functions."""
        return bool(self.vector_indexes or self.text_index)

    @property
    def dimensions(self) -> tuple[int, ...]:
        """Dimensions that it can be searched by."""
        return tuple(index.dimension for index in self.vector_indexes)

    @property
    def stored(self) -> Stored:
        """The pgvector type of its embeddings; only where it has any."""
        return self.vector_indexes[0].stored

    def key_type(self, name: str) -> str:
        """Return the type in which a hit shows a column of the key."""
        return self.key_types.get(name, "text")

    def index_for(self, dimension: int) -> VectorIndex:
        """Return the index that serves a dimension.

        Raises:
            UsageError: M571 there is none.
        """
        for index in self.vector_indexes:
            if index.dimension == dimension:
                return index
        known = ", ".join(f"{known:,}" for known in self.dimensions)
        raise UsageError(
            "M571",
            f"a query of {dimension:,} elements; "
            + (f"its embeddings have {known}" if known else "it has no embeddings"),
            where=f"table {self.name}",
            fix="embed the query with a model that the table's embeddings are of"
            if known
            else "search it by its text",
        )
