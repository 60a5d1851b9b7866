"""Descriptions of plain and embedding columns: how a value is stored, read and indexed."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from memos_assets.errors import UsageError

#: How SQLite stores a value of a plain column.
ColumnKind = Literal[
    "text",
    "integer",
    "real",
    "real_or_float32",  # REAL, or a 4-byte little-endian float32 BLOB (NumPy >= 2 wrote those)
    "boolean",  # INTEGER 0 or 1
    "json",
    "utc_text",  # 'YYYY-MM-DD HH:MM:SS', UTC by convention
    "iso_offset",  # ISO-8601 with an offset
    "unix_seconds",  # seconds since 1970 as REAL
]
Encoding = Literal["float16", "float32", "json_text", "json_blob"]
Stored = Literal["halfvec", "vector"]
DimensionRule = Literal["column", "length"]
IndexMethod = Literal["vector", "halfvec", "prefix", "bits"]
#: The form in which an HNSW index stores an embedding.
IndexedForm = Literal["vector", "halfvec", "bits"]
#: The operator that a GIN index on a JSON column serves: ``@>`` on values, or ``?|`` on keys.
JsonSearch = Literal["containment", "keys"]

#: Kind -> the type that it becomes, by its name in `types`; several kinds may become one type. For
#: each kind there is a decoder in `consolidate.decoding.values`, and a reading of the proof's own.
POSTGRES_TYPES: Final[dict[ColumnKind, str]] = {
    "text": "text",
    "integer": "bigint",
    "real": "double precision",
    "real_or_float32": "double precision",
    "boolean": "boolean",
    "json": "jsonb",
    "utc_text": "timestamp with time zone",
    "iso_offset": "timestamp with time zone",
    "unix_seconds": "timestamp with time zone",
}
#: Columns that the reader computes, by name, of any kind.
COMPUTED_COLUMNS: Final = ("sparse_vocabulary",)
#: pgvector type -> encodings that it holds without rounding, JSON numbers apart.
EXACT_ENCODINGS: Final[dict[Stored, tuple[Encoding, ...]]] = {
    "halfvec": ("float16",),
    "vector": ("float16", "float32", "json_text", "json_blob"),
}

#: pgvector's HNSW limits, in dimensions.
HNSW_VECTOR_LIMIT = 2_000
HNSW_HALFVEC_LIMIT = 4_000

#: Bytes of the largest row that a page of PostgreSQL holds, and what all of it but its embeddings
#: takes at most as a rule.
PAGE_ROW_BYTES = 8_160
_OTHER_BYTES = 1_000

#: Rows that are re-ranked where an index holds float32 at half precision, or twice as many as are
#: asked for: as exact as 40 on 100,000 x 1,024 elements (docs/decisions/010).
HALFVEC_CANDIDATES = 20

NOMIC = ("nomic-embed-text",)
MXBAI = ("mxbai-embed-large",)
BGE_M3 = ("bge-m3",)
#: What `latest` means to Ollama; MEMOS.md: 4,096 elements, not as memOS's configuration says.
QWEN3_8B = ("qwen3-embedding", "qwen3-embedding:8b")

#: Dimension -> models that memOS names and that produce it.
MODELS: dict[int, tuple[str, ...]] = {
    768: NOMIC,
    1_024: (*MXBAI, *BGE_M3, "qwen3-embedding:0.6b"),
    2_560: ("qwen3-embedding:4b",),
    4_096: QWEN3_8B,
}
MODEL_DIMENSIONS = tuple(MODELS)


@dataclass(frozen=True, slots=True)
class Column:
    """One plain column of a target table.

    ``origin`` is the SQLite column it comes from. ``optional``: files of an older layout lack it,
    their rows get NULL. ``computed``: the reader fills it in (``origin`` is then what it is
    computed from). ``searched``: a GIN index of this kind is built on it. How a column is searched
    is left out of its ``repr``, and so of the code version that makes loaded chunks stale.
    """

    name: str
    kind: ColumnKind
    origin: str
    nullable: bool = True
    optional: bool = False
    computed: bool = False
    searched: JsonSearch | None = field(default=None, repr=False)
    about: str = ""

    def __post_init__(self) -> None:
        """Refuse a column that no decoder reads.

        Raises:
            UsageError: M536.
        """
        if self.kind not in POSTGRES_TYPES:
            _refuse(self.name, f"the kind {self.kind!r}", POSTGRES_TYPES)
        if self.computed and self.name not in COMPUTED_COLUMNS:
            _refuse(self.name, f"a computed column {self.name!r}", COMPUTED_COLUMNS)

    @property
    def postgres_type(self) -> str:
        """Type of the column in PostgreSQL."""
        return POSTGRES_TYPES[self.kind]


def _refuse(name: str, asked: str, known: Iterable[str]) -> None:
    raise UsageError(
        "M536",
        f"no decoder reads {asked}",
        where=f"column {name}",
        fix=f"declare one of {', '.join(known)}, or add a decoder: docs/adding-a-table.md",
    )


def value_bytes(form: IndexedForm, dimension: int) -> int:
    """Return the bytes of one value of pgvector's, in a table or an index."""
    per_element = {"vector": 4.0, "halfvec": 2.0, "bits": 1 / 8}[form]
    return 8 + math.ceil(dimension * per_element)


def rows_of_a_page(embedding_bytes: int) -> int:
    """Return how many rows with so many bytes of embeddings share a page; 0: it holds none."""
    return PAGE_ROW_BYTES // (embedding_bytes + _OTHER_BYTES)


@dataclass(frozen=True, slots=True)
class VectorIndex:
    """How the rows of one dimension are searched: which HNSW index, and on which expression.

    ``vector`` indexes the value itself, and so does ``halfvec`` where it is stored so. Of a stored
    ``vector`` it indexes the direction at half precision, which takes half of the memory, and the
    stored values decide the order of the few nearest. ``prefix`` indexes the first ``prefix``
    elements of a Matryoshka embedding, ``bits`` the signs of all by Hamming distance; both propose
    more rows, which are re-ranked exactly.

    Attributes:
        table: name of the table.
        column: the embedding.
        stored: its type in PostgreSQL.
        dimension: elements of the embeddings that the index serves.
        method: what is indexed.
        models: names of the models that wrote embeddings of this dimension; empty: not known.
        m: links per element of the graph.
        ef_construction: candidates per insertion.
        ef_search: rows that are re-ranked under ``prefix`` and ``bits``, at least.
        prefix: elements under the method ``prefix``.
        dimension_name: column that tells dimensions apart; None where ``column`` has only one.
    """

    table: str
    column: str
    stored: Stored
    dimension: int
    method: IndexMethod
    models: tuple[str, ...] = ()
    m: int = 16
    ef_construction: int = 64
    ef_search: int = 100
    prefix: int = 1_024
    dimension_name: str | None = "dimension"

    @property
    def name(self) -> str:
        """Name of the index; its dimension is part of it where the column may hold several."""
        dimension = f"_{self.dimension}" if self.dimension_name else ""
        return f"{self.table}_{self.column}{dimension}_hnsw"

    @property
    def operator_class(self) -> str:
        """pgvector's operator class; unless it pairs with ``operator``, the index is ignored."""
        return {
            "vector": "vector_cosine_ops",
            "halfvec": "halfvec_cosine_ops",
            "prefix": "halfvec_cosine_ops",
            "bits": "bit_hamming_ops",
        }[self.method]

    @property
    def operator(self) -> str:
        """Distance operator that the index serves."""
        return "<~>" if self.method == "bits" else "<=>"

    @property
    def reranked(self) -> bool:
        """Whether the index only proposes rows, and the stored embeddings decide their order."""
        return self.method != self.stored

    @property
    def candidates(self) -> int:
        """The fewest rows that are re-ranked; half precision only swaps rows of one distance."""
        return HALFVEC_CANDIDATES if self.method == "halfvec" else self.ef_search

    @property
    def strategy(self) -> str:
        """The strategy in words, as `plan` and the report print it."""
        indexed = {
            "bits": f"{self.dimension} sign bits (hamming)",
            "prefix": f"the first {self.prefix} of {self.dimension} elements as halfvec (cosine)",
        }.get(self.method, f"{self.method}({self.dimension}) (cosine)")
        exact = f", {self.candidates} candidates re-ranked by exact cosine" if self.reranked else ""
        return f"HNSW on {indexed}{exact}"


@dataclass(frozen=True, slots=True)
class VectorColumn:
    """An embedding column: where its bytes are, how long they are, how they are searched.

    Attributes:
        name: column in PostgreSQL.
        origin: column in SQLite.
        encoding: ``float16`` / ``float32`` = IEEE 754 little-endian without header; ``json_text``
            = a JSON array in a TEXT; ``json_blob`` = the same as UTF-8 inside a BLOB.
        stored: pgvector type, without a dimension, so that dimensions may be mixed.
        rule: source of the dimension: a ``column`` of the row, or the ``length`` of the value,
            which must then be one of ``MODEL_DIMENSIONS``.
        dimensions: dimensions that get an index.
        models: dimension -> names of the models that wrote it; 1,024 elements may be of three
            models, whose distances cannot be compared. Absent: the models are not known.
        methods: dimension -> how it is indexed, where another way is better than `indexes` chooses.
        dimension_name: integer column beside it in PostgreSQL; NULL when ``name`` is.
        dimension_origin: SQLite column that holds the dimension, under ``column``.
        indexed: False where nearest neighbours by cosine mean nothing or the table is tiny.
        about: why, in one line.
    """

    name: str
    origin: str
    encoding: Encoding
    stored: Stored
    rule: DimensionRule
    dimensions: Sequence[int] = MODEL_DIMENSIONS
    models: Mapping[int, tuple[str, ...]] = field(default_factory=dict, repr=False, hash=False)
    methods: Mapping[int, IndexMethod] = field(default_factory=dict, repr=False, hash=False)
    dimension_name: str = "dimension"
    dimension_origin: str | None = None
    indexed: bool = True
    about: str = ""

    def __post_init__(self) -> None:
        """Refuse a column that no decoder reads, or that would round its elements.

        Raises:
            UsageError: M536.
        """
        if self.stored not in EXACT_ENCODINGS:
            _refuse(self.name, f"the pgvector type {self.stored!r}", EXACT_ENCODINGS)
        if self.encoding not in EXACT_ENCODINGS[self.stored]:
            asked = f"the encoding {self.encoding!r} into {self.stored}"
            _refuse(self.name, asked, EXACT_ENCODINGS[self.stored])

    @property
    def reason_name(self) -> str:
        """Column that says why the embedding is NULL; NULL itself when there is one."""
        return f"{self.name}_reason"

    @property
    def element_bytes(self) -> int | None:
        """Bytes per element in SQLite; None for JSON."""
        return {"float16": 2, "float32": 4}.get(self.encoding)

    @property
    def most_bytes(self) -> int:
        """Bytes of the longest embedding that it is meant for."""
        return value_bytes(self.stored, max(self.dimensions))

    def indexes(self, table: str) -> tuple[VectorIndex, ...]:
        """One strategy per dimension: half precision as far as pgvector's limits allow."""
        if not self.indexed:
            return ()
        return tuple(
            VectorIndex(
                table,
                self.name,
                self.stored,
                dimension,
                self._method(dimension),
                self.models.get(dimension, ()),
                dimension_name=self.dimension_name,
            )
            for dimension in self.dimensions
        )

    def _method(self, dimension: int) -> IndexMethod:
        if dimension in self.methods:
            return self.methods[dimension]
        return "halfvec" if dimension <= HNSW_HALFVEC_LIMIT else "bits"


def float32_embedding(
    origin: str, about: str, *, models: Mapping[int, tuple[str, ...]]
) -> VectorColumn:
    """A float32 embedding whose length tells its dimension, which is how most files store them."""
    return VectorColumn(
        "embedding",
        origin,
        "float32",
        "vector",
        "length",
        dimensions=tuple(models),
        models=models,
        about=about,
    )
