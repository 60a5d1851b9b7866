"""The catalog is consistent in itself, and what is derived from it follows its rules."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import get_args

import pytest
from sqlalchemy.dialects import postgresql

from memos_assets.catalog import (
    MEMOS,
    Column,
    TableSpec,
    VectorColumn,
    VectorIndex,
)
from memos_assets.catalog import tables as catalog_tables
from memos_assets.catalog.columns import (
    COMPUTED_COLUMNS,
    EXACT_ENCODINGS,
    POSTGRES_TYPES,
    ColumnKind,
    Encoding,
    Stored,
)
from memos_assets.consolidate.decoding.reject_reasons import EMBEDDING_REASONS, REJECT_REASONS
from memos_assets.consolidate.decoding.values import COMPUTED, DECODERS
from memos_assets.errors import UsageError
from memos_assets.postgres.copy.arrow_schema import postgres_type, stream_schema, table_schema
from memos_assets.postgres.schema.consolidated import table_of
from memos_assets.proof.expected.values import COMPUTED as PROVEN
from memos_assets.proof.expected.values import ENCODERS

EACH_TABLE = pytest.mark.parametrize("spec", MEMOS.tables, ids=lambda spec: spec.name)


def test_these_kinds_of_file_and_tables_exist() -> None:
    assert {kind.name: [spec.name for spec in kind.tables] for kind in MEMOS.consolidated} == {
        "mixed_precision_embeddings": ["embeddings", "embedding_anchors"],
        "hybrid": ["hybrid_documents", "hybrid_bm25_terms", "hybrid_bm25_statistics"],
        "corpus": [
            "corpora",
            "corpus_entities",
            "corpus_documents",
            "corpus_relations",
            "corpus_chunks",
        ],
        "embedding_aggregator": ["domain_embeddings", "domain_relations"],
        "meta_buffer": ["thought_templates"],
        "hyperbolic_embeddings": ["hyperbolic_documents"],
        "semantic_memory": ["semantic_memories", "semantic_links"],
    }
    assert [kind.name for kind in MEMOS.kinds if kind.disposition == "keep"] == [
        "content_cache",
        "scratchpad_cache",
    ]


@EACH_TABLE
def test_keys_and_links_name_columns_that_exist(spec: TableSpec) -> None:
    names = [column.name for column in spec.columns]
    assert set(spec.key) <= set(names)
    assert not any(spec.column(name).nullable for name in spec.key)
    origins = {other.name for other in MEMOS.kind_of_table(spec.name).tables}
    for link in spec.links:
        assert link.column in names
        # A link stays in its file, and the linked key is text as the link is.
        assert link.table in origins
        assert link.key in MEMOS.table(link.table).key
        assert spec.column(link.column).kind == "text"
    assert not spec.mirrored or {"from_id", "to_id", "bidirectional"} <= set(names)


@EACH_TABLE
def test_no_column_is_named_twice(spec: TableSpec) -> None:
    names = table_schema(spec).names
    assert [name for name, count in Counter(names).items() if count > 1] == []
    stored = [c.name for c in table_of(spec).columns if c.computed is None]
    assert names == stored
    assert [*names, "reject"] == stream_schema(spec).names


@EACH_TABLE
def test_the_arrow_schema_names_the_types_of_the_table(spec: TableSpec) -> None:
    types = {
        column.name: column.type.compile(postgresql.dialect()).lower()  # type: ignore[no-untyped-call]
        for column in table_of(spec).columns
    }
    for field in table_schema(spec):
        assert postgres_type(field) == types[field.name]


def test_every_kind_has_a_decoder_and_a_reading_of_the_proof() -> None:
    assert list(DECODERS) == list(POSTGRES_TYPES) == list(ENCODERS) == list(get_args(ColumnKind))
    assert tuple(COMPUTED) == tuple(PROVEN) == COMPUTED_COLUMNS


def test_every_encoding_of_embeddings_is_stored_exactly_by_some_type() -> None:
    assert {one for exact in EXACT_ENCODINGS.values() for one in exact} == set(get_args(Encoding))
    assert set(EXACT_ENCODINGS) == set(get_args(Stored))


def test_every_reason_of_a_decoder_is_in_the_list_of_reasons() -> None:
    assert {reason for one in DECODERS.values() for reason in one.reasons} <= set(REJECT_REASONS)


@pytest.mark.parametrize(
    ("declare", "said"),
    [
        (lambda: Column("size", "decimal", "size"), "column size: no decoder reads the kind"),  # type: ignore[arg-type]
        (lambda: Column("tags", "text_array", "t"), "column tags: no decoder reads the kind"),  # type: ignore[arg-type]
        (
            lambda: Column("words", "text", "words", computed=True),
            "column words: no decoder reads a computed column 'words'",
        ),
        (
            lambda: vector(encoding="float64"),
            "column embedding: no decoder reads the encoding 'float64' into vector. Fix: declare",
        ),
        (
            lambda: vector(stored="halfvec"),
            "column embedding: no decoder reads the encoding 'float32' into halfvec",
        ),
        (
            lambda: vector(stored="sparsevec"),
            "column embedding: no decoder reads the pgvector type 'sparsevec'",
        ),
    ],
)
def test_a_column_that_no_decoder_reads_cannot_be_declared(
    declare: Callable[[], object], said: str
) -> None:
    with pytest.raises(UsageError, match=f"^M536 {re.escape(said)}"):
        declare()


@EACH_TABLE
def test_an_origin_is_read_once_unless_something_is_computed_from_it(spec: TableSpec) -> None:
    origins = [column.origin for column in spec.columns if not column.computed]
    origins += [vector.origin for vector in spec.vectors]
    assert len(origins) == len(set(origins))
    assert not set(origins) & set(spec.derived)
    assert set(origins) <= spec.known_origins
    optional = {column.origin for column in spec.columns if column.optional}
    assert spec.known_origins - spec.required_origins == optional


def test_names_are_unique_and_short_enough_for_postgresql() -> None:
    indexes = [index.name for spec in MEMOS.tables for index in spec.vector_indexes]
    names = [*(spec.name for spec in MEMOS.tables), *indexes]
    assert len(names) == len(set(names)) == len(MEMOS.tables) + len(indexes)
    assert max(len(name.encode()) for name in names) <= 63
    assert len({kind.name for kind in MEMOS.kinds}) == len(MEMOS.kinds)


def test_no_layout_is_of_two_kinds() -> None:
    for kind in MEMOS.consolidated:
        layout = {spec.origin: spec.known_origins for spec in kind.tables}
        assert [other.name for other in MEMOS.kinds if other.matches(layout)] == [kind.name]


def test_a_usual_name_may_be_a_pattern() -> None:
    corpus = MEMOS.kind("corpus")
    assert corpus.is_usual_name("rjg_corpus.db")
    assert corpus.is_usual_name("fanuc_robotics.db")
    assert not corpus.is_usual_name("corpus.db")


#: Code versions in the ledgers of databases that are there: another one is a reload. These are of
#: decoder version 3.
FINGERPRINTS = {
    "embeddings": "e73fc4ba09dc",
    "embedding_anchors": "9b52db514283",
    "hybrid_documents": "9457846a090e",
    "hybrid_bm25_terms": "0b52902d7602",
    "hybrid_bm25_statistics": "00dc6abec5af",
    "corpora": "6a3fda0e2a64",
    "corpus_entities": "3d38c25ea0ed",
    "corpus_documents": "ea5acb9cbd20",
    "corpus_relations": "2feaab520780",
    "corpus_chunks": "244454fbe6b2",
    "domain_embeddings": "0c0fa5fd494b",
    "domain_relations": "6248aa0eff57",
    "thought_templates": "f55425ce12af",
    "hyperbolic_documents": "909a78cb5984",
    "semantic_memories": "b2d7e63f5205",
    "semantic_links": "42f7cd63aa12",
}
#: Code versions of the assets of memOS's own tables.
APPLICATION_FINGERPRINTS = {
    "memories": "ae22de8df29a",
    "quests": "69aee0554418",
    "quest_tasks": "c33f80447f71",
    "user_quests": "bf4a925acc57",
    "user_tasks": "2909567bbda4",
    "achievements": "a9fbcc3bc433",
    "user_achievements": "c73d33aee753",
    "user_quest_stats": "1b4f19fae78b",
    "user_memory_settings": "145e8da88bea",
    "ollama_model_specs": "fb8cd3d6b57b",
}


def test_a_database_that_is_loaded_is_taken_over_without_a_reload() -> None:
    assert {spec.name: spec.fingerprint for spec in MEMOS.tables} == FINGERPRINTS
    assert {
        spec.name: spec.fingerprint for spec in MEMOS.application_tables
    } == APPLICATION_FINGERPRINTS


def test_where_a_table_is_and_what_its_files_declare_is_not_part_of_its_code_version() -> None:
    elsewhere = replace(MEMOS, schema="elsewhere").with_encodings(
        {("fanuc", "entities", "embedding"): "float16"}
    )
    assert {spec.name: spec.fingerprint for spec in elsewhere.tables} == FINGERPRINTS
    assert {spec.qualified.partition(".")[0] for spec in elsewhere.tables} == {"elsewhere"}
    assert all(kind.encodings == elsewhere.encodings for kind in elsewhere.kinds)


@pytest.mark.parametrize("schema", ["memos_shadow", "memos_v2", "memos_v2_1", "Memos", "a-b", ""])
def test_a_schema_is_a_plain_name_and_not_one_of_a_version(schema: str) -> None:
    with pytest.raises(ValueError, match="'"):
        replace(MEMOS, schema=schema)


def test_fingerprints_differ_between_tables() -> None:
    assert len({spec.fingerprint for spec in MEMOS.tables}) == len(MEMOS.tables)


@EACH_TABLE
def test_a_fingerprint_changes_with_the_description(
    spec: TableSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = spec.columns[0]
    others = [
        replace(spec, columns=(replace(first, kind="json"), *spec.columns[1:])),
        replace(spec, columns=(*spec.columns, Column("more", "text", "more"))),
        replace(spec, columns=(*spec.columns[1:], first)),
        replace(spec, key=(*spec.key, "more")),
        replace(spec, vectors=(*spec.vectors, vector(dimensions=(3,)))),
        replace(spec, links=()) if spec.links else replace(spec, absent_ok=not spec.absent_ok),
    ]
    assert len({spec.fingerprint, *(other.fingerprint for other in others)}) == 7
    before = spec.fingerprint
    assert replace(spec).fingerprint == before
    monkeypatch.setattr(catalog_tables, "DECODER_VERSION", 10_000)
    assert spec.fingerprint != before


def vector(**changes: object) -> VectorColumn:
    plain = VectorColumn("embedding", "blob", "float32", "vector", "length")
    return replace(plain, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("stored", "dimension", "method", "operator_class", "operator"),
    [
        ("vector", 768, "halfvec", "halfvec_cosine_ops", "<=>"),
        ("vector", 2_001, "halfvec", "halfvec_cosine_ops", "<=>"),
        ("vector", 4_000, "halfvec", "halfvec_cosine_ops", "<=>"),
        ("vector", 4_001, "bits", "bit_hamming_ops", "<~>"),
        ("halfvec", 768, "halfvec", "halfvec_cosine_ops", "<=>"),
        ("halfvec", 2_560, "halfvec", "halfvec_cosine_ops", "<=>"),
        ("halfvec", 4_000, "halfvec", "halfvec_cosine_ops", "<=>"),
        ("halfvec", 4_096, "bits", "bit_hamming_ops", "<~>"),
    ],
)
def test_an_index_is_of_half_precision_as_far_as_pgvector_allows(
    stored: Stored, dimension: int, method: str, operator_class: str, operator: str
) -> None:
    encoding = EXACT_ENCODINGS[stored][0]
    column = vector(stored=stored, encoding=encoding, dimensions=(dimension,))
    (index,) = column.indexes("t")
    assert (index.method, index.operator_class, index.operator) == (
        method,
        operator_class,
        operator,
    )
    assert index.name == f"t_embedding_{dimension}_hnsw"


def test_a_column_that_is_not_indexed_has_no_index() -> None:
    assert vector(indexed=False).indexes("t") == ()


def test_a_strategy_reads_as_words() -> None:
    bits = VectorIndex("t", "e", "halfvec", 4_096, "bits")
    assert bits.strategy == (
        "HNSW on 4096 sign bits (hamming), 100 candidates re-ranked by exact cosine"
    )
    assert VectorIndex("t", "e", "vector", 768, "vector").strategy == "HNSW on vector(768) (cosine)"
    assert VectorIndex("t", "e", "vector", 768, "halfvec").strategy == (
        "HNSW on halfvec(768) (cosine), 20 candidates re-ranked by exact cosine"
    )


def test_every_index_of_the_catalog_is_listed_here() -> None:
    assert sorted(index.name for spec in MEMOS.tables for index in spec.vector_indexes) == [
        "corpus_chunks_embedding_768_hnsw",
        "corpus_documents_embedding_768_hnsw",
        "corpus_entities_embedding_768_hnsw",
        "domain_embeddings_embedding_1024_hnsw",
        "domain_embeddings_embedding_4096_hnsw",
        "embeddings_embedding_1024_hnsw",
        "embeddings_embedding_2560_hnsw",
        "embeddings_embedding_4096_hnsw",
        "embeddings_embedding_768_hnsw",
        "hybrid_documents_embedding_1024_hnsw",
        "hyperbolic_documents_embedding_768_hnsw",
        "semantic_memories_embedding_1024_hnsw",
        "semantic_memories_embedding_768_hnsw",
        "thought_templates_embedding_768_hnsw",
    ]


def test_every_reason_is_explained_in_words() -> None:
    assert not set(REJECT_REASONS) & set(EMBEDDING_REASONS)
    for reason, meaning in {**REJECT_REASONS, **EMBEDDING_REASONS}.items():
        assert reason == reason.lower()
        assert len(meaning.split()) > 2


def test_the_kind_of_a_table_is_the_one_that_lists_it() -> None:
    for kind in MEMOS.consolidated:
        assert all(MEMOS.kind_of_table(spec.name) is kind for spec in kind.tables)
