"""The tables that search offers, and what a hit of each shows. Derived from the catalog."""

from collections.abc import Mapping
from dataclasses import dataclass

from memos_assets.catalog import INDEXED, IndexedTable, TableSpec, VectorIndex
from memos_assets.catalog.application import MEMORIES
from memos_assets.catalog.columns import Stored
from memos_assets.errors import UsageError

#: The largest k: pgvector's limit of candidates per search.
MOST_HITS = 1_000


@dataclass(frozen=True, slots=True)
class Sparse:
    """Sparse weights beside a document: the JSON column, and the one that names its vocabulary."""

    weights: str
    vocabulary: str


@dataclass(frozen=True, slots=True)
class Searchable:
    """A table that can be searched.

    Attributes:
        name: of the table.
        schema: that holds it; None: wherever the consolidated tables are.
        key: columns that name a row, ``owner`` first.
        owner: the column by which rows belong to somebody: ``source``, or ``user_id``.
        texts: columns that a hit shows as its text, one under the other.
        details: the JSON column that a hit shows as its metadata.
        filters: JSON columns that a search may be narrowed by, through containment.
        indexes: one per dimension of the embedding; empty: no search by vector.
        text_index: the GIN index of full-text search; None: no search by text.
        sparse: its sparse weights, where it has any.
        condition: rows that search offers, as SQL; empty: all.
    """

    name: str
    schema: str | None
    key: tuple[str, ...]
    owner: str
    texts: tuple[str, ...]
    details: str | None
    filters: tuple[str, ...]
    indexes: tuple[VectorIndex, ...]
    text_index: str | None
    sparse: Sparse | None = None
    condition: str = ""

    @property
    def narrowing(self) -> tuple[str, ...]:
        """Columns that a search may be narrowed by: the owner, then the filters."""
        return (self.owner, *self.filters)

    @property
    def dimensions(self) -> tuple[int, ...]:
        """Dimensions that it can be searched by."""
        return tuple(index.dimension for index in self.indexes)

    @property
    def stored(self) -> Stored:
        """The pgvector type of its embeddings; only where it has any."""
        return self.indexes[0].stored

    def key_type(self, name: str) -> str:
        """Return the type in which a hit shows a column of the key."""
        return "uuid" if name == "id" and self.schema else "text"

    def index_for(self, dimension: int) -> VectorIndex:
        """Return the index that serves a dimension.

        Raises:
            UsageError: M571 there is none.
        """
        for index in self.indexes:
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


#: Rows that memOS itself would show; its time stamps are UTC without saying so.
_SHOWN = (
    "is_deleted is not true and consent_given "
    "and (expires_at is null or expires_at > (now() at time zone 'utc'))"
)


def _searchable(spec: IndexedTable) -> Searchable:
    if isinstance(spec, TableSpec):
        return _of_spec(spec)
    assert spec is MEMORIES, f"nobody said how {spec.name} is searched"
    return Searchable(
        name=spec.name,
        schema=spec.schema,
        key=("user_id", spec.key),
        owner="user_id",
        texts=("content_summary",),
        details="entities",
        filters=tuple(column.name for column in spec.searched),
        indexes=spec.vector_indexes,
        text_index=None,
        condition=_SHOWN,
    )


def _of_spec(spec: TableSpec) -> Searchable:
    sparse = {column.name for column in spec.columns if column.searched == "keys"}
    return Searchable(
        name=spec.name,
        schema=None,
        key=("source", *spec.key),
        owner="source",
        texts=tuple(name for name in spec.texts if spec.column(name).kind == "text"),
        details=spec.details,
        filters=tuple(c.name for c in spec.columns if c.searched == "containment"),
        indexes=spec.vector_indexes,
        text_index=spec.text_index,
        sparse=Sparse("sparse_weights", "sparse_vocabulary") if sparse else None,
    )


SEARCHABLES: Mapping[str, Searchable] = {
    spec.name: _searchable(spec) for spec in INDEXED if spec.vector_indexes or spec.text_index
}


def searchable(name: str) -> Searchable:
    """Return a table that can be searched.

    Raises:
        UsageError: M570 there is none of this name.
    """
    if name not in SEARCHABLES:
        raise UsageError(
            "M570",
            "no table that can be searched",
            where=name,
            fix=f"name one of: {', '.join(sorted(SEARCHABLES))}",
        )
    return SEARCHABLES[name]
