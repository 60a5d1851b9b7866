"""Every kind of SQLite file memOS writes, table by table.

Source: the writer classes of the memOS server, checked against files that they wrote.
"""

from memos_assets.catalog.columns import Column, VectorColumn
from memos_assets.catalog.tables import FileKind, Link, TableSpec


def _vector(origin: str, about: str, *, dimensions: tuple[int, ...]) -> VectorColumn:
    """A float32 embedding whose length tells its dimension, which is how most files store them."""
    return VectorColumn(
        "embedding", origin, "float32", "vector", "length", dimensions=dimensions, about=about
    )


MIXED_PRECISION = FileKind(
    name="mixed_precision_embeddings",
    signature={"embeddings": frozenset({"doc_id", "fp16_data", "binary_data", "int8_data"})},
    disposition="consolidate",
    about="Embeddings in four precisions; float16 is the lossless one.",
    usual_names=("mixed_precision_embeddings.db",),
    chunk_rows=1_024,
    tables=(
        TableSpec(
            name="embeddings",
            origin="embeddings",
            key=("doc_id",),
            columns=(
                Column("doc_id", "text", "doc_id", nullable=False),
                Column("model", "text", "model_tag", optional=True, about="No writer sets it."),
                Column("content", "text", "content"),
                Column("metadata", "json", "metadata", searched=True),
                Column("created_at", "utc_text", "created_at"),
            ),
            vectors=(
                VectorColumn(
                    "embedding",
                    "fp16_data",
                    "float16",
                    "halfvec",
                    "column",
                    dimension_origin="dimension",
                    about="Raw, not normalised: compare by cosine.",
                ),
            ),
            derivation="mixed_precision",
            derived=("binary_data", "int8_data", "residual_data", "scale", "zero_point"),
            about="Document and search-result embeddings, float16 bit for bit.",
        ),
        TableSpec(
            name="embedding_anchors",
            origin="anchors",
            key=("category",),
            columns=(
                Column("category", "text", "category", nullable=False),
                Column("model", "text", "model_tag", optional=True),
                Column("created_at", "utc_text", "created_at"),
            ),
            vectors=(
                VectorColumn(
                    "embedding",
                    "embedding",
                    "float16",
                    "halfvec",
                    "column",
                    dimension_origin="dimension",
                    indexed=False,
                    about="About a hundred rows: an exact scan is the fastest search.",
                ),
            ),
            about="Mean embedding per category.",
        ),
    ),
)

HYBRID = FileKind(
    name="hybrid",
    signature={"documents": frozenset({"doc_id", "dense_embedding", "sparse_vector"})},
    disposition="consolidate",
    about="Dense and sparse vectors of one document side by side, and BM25 tables in some files.",
    usual_names=("hsea_hybrid.db", "bge_m3_hybrid.db"),
    empty=("index_stats",),
    tables=(
        TableSpec(
            name="hybrid_documents",
            origin="documents",
            key=("doc_id",),
            columns=(
                Column("doc_id", "text", "doc_id", nullable=False),
                Column("content", "text", "content"),
                Column("sparse_weights", "json", "sparse_vector", searched=True),
                Column(
                    "sparse_vocabulary",
                    "text",
                    "sparse_vector",
                    computed=True,
                    about="`words` (tf*idf, Ollama era) or `xlmr_token_ids` (FlagEmbedding era); "
                    "weights of different vocabularies must not be compared.",
                ),
                Column("metadata", "json", "metadata", searched=True),
                Column("created_at", "utc_text", "created_at"),
            ),
            vectors=(_vector("dense_embedding", "bge-m3, 1,024.", dimensions=(1_024,)),),
            about="Documents with their dense embedding and sparse weights.",
        ),
        TableSpec(
            name="hybrid_bm25_terms",
            origin="bm25_index",
            key=("term",),
            columns=(
                Column("term", "text", "term", nullable=False),
                Column("postings", "json", "doc_postings", about="doc_id -> term frequency."),
                Column("document_frequency", "integer", "doc_freq"),
            ),
            absent_ok=True,
            about="BM25 postings; they keep the postings of replaced texts.",
        ),
        TableSpec(
            name="hybrid_bm25_statistics",
            origin="bm25_stats",
            key=("statistic",),
            columns=(
                Column("statistic", "text", "key", nullable=False),
                Column("value", "text", "value"),
            ),
            absent_ok=True,
            about="BM25 parameters and averages, text as stored.",
        ),
    ),
)

CORPUS = FileKind(
    name="corpus",
    signature={
        "entities": frozenset({"id", "canonical_name", "embedding"}),
        "relations": frozenset({"source_entity_id", "target_entity_id"}),
    },
    disposition="consolidate",
    about="One domain's entities, relations and documents.",
    usual_names=("fanuc_robotics.db", "raspberry_pi.db", "imm_robotics.db", "*_corpus.db"),
    tables=(
        TableSpec(
            name="corpora",
            origin="corpus_metadata",
            key=("domain_id",),
            columns=(
                Column("domain_id", "text", "domain_id", nullable=False),
                Column("schema", "json", "schema_json"),
                Column("created_at", "iso_offset", "created_at"),
                Column("updated_at", "iso_offset", "updated_at"),
            ),
            about="The domain of a corpus and its schema; created_at is a process start.",
        ),
        TableSpec(
            name="corpus_entities",
            origin="entities",
            key=("id",),
            columns=(
                Column("id", "text", "id", nullable=False),
                Column("entity_type", "text", "entity_type"),
                Column("name", "text", "name"),
                Column("canonical_name", "text", "canonical_name"),
                Column("aliases", "json", "aliases", searched=True),
                Column("attributes", "json", "attributes", searched=True),
                Column("description", "text", "description"),
                Column("source_documents", "json", "source_documents"),
                Column("confidence", "real", "confidence"),
                Column("mention_count", "integer", "mention_count"),
                Column("first_seen", "iso_offset", "first_seen"),
                Column("last_updated", "iso_offset", "last_updated"),
            ),
            vectors=(_vector("embedding", "nomic-embed-text, raw.", dimensions=(768,)),),
            about="Entities as memOS keeps them; canonical names may repeat.",
        ),
        TableSpec(
            name="corpus_documents",
            origin="documents",
            key=("content_hash",),
            columns=(
                Column("content_hash", "text", "content_hash", nullable=False),
                Column("content", "text", "content"),
                Column("source_url", "text", "source_url"),
                Column("source_type", "text", "source_type"),
                Column("title", "text", "title"),
                Column("indexed_at", "iso_offset", "indexed_at"),
                Column("chunk_hashes", "json", "chunk_hashes"),
            ),
            vectors=(_vector("embedding", "First 2,000 characters.", dimensions=(768,)),),
            about="Documents a corpus was built from.",
        ),
        TableSpec(
            name="corpus_relations",
            origin="relations",
            key=("id",),
            columns=(
                Column("id", "text", "id", nullable=False),
                Column("source_entity_id", "text", "source_entity_id"),
                Column("target_entity_id", "text", "target_entity_id"),
                Column("relation_type", "text", "relation_type"),
                Column("description", "text", "description"),
                Column("confidence", "real", "confidence"),
                Column("source_document", "text", "source_document"),
                Column("created_at", "iso_offset", "created_at"),
            ),
            links=(
                Link("source_entity_id", "corpus_entities", "id"),
                Link("target_entity_id", "corpus_entities", "id"),
            ),
            about="Relations between entities; one with a missing end is in the rejects.",
        ),
        TableSpec(
            name="corpus_chunks",
            origin="chunks",
            key=("chunk_hash",),
            columns=(
                Column("chunk_hash", "text", "chunk_hash", nullable=False),
                Column("document_hash", "text", "document_hash"),
                Column("content", "text", "content"),
                Column("chunk_index", "integer", "chunk_index"),
            ),
            vectors=(_vector("embedding", "No memOS version writes it.", dimensions=(768,)),),
            links=(Link("document_hash", "corpus_documents", "content_hash"),),
            about="Chunks of documents; memOS declares the table and has not written it so far.",
        ),
    ),
)

EMBEDDING_AGGREGATOR = FileKind(
    name="embedding_aggregator",
    signature={"domain_embeddings": frozenset({"domain", "entity_id", "embedding"})},
    disposition="consolidate",
    about="Entity embeddings per domain, two model generations in one column.",
    usual_names=("embedding_aggregator.db",),
    empty=("aggregated_cache",),
    tables=(
        TableSpec(
            name="domain_embeddings",
            origin="domain_embeddings",
            key=("domain", "entity_id"),
            columns=(
                Column("domain", "text", "domain", nullable=False),
                Column("entity_id", "text", "entity_id", nullable=False),
                Column("source_row_id", "integer", "id", about="AUTOINCREMENT; new on each write."),
                Column("entity_name", "text", "entity_name"),
                Column("entity_type", "text", "entity_type"),
                Column("context", "text", "context"),
                Column("source_url", "text", "source_url"),
                Column("created_at", "utc_text", "created_at"),
            ),
            vectors=(
                _vector(
                    "embedding",
                    "4,096 since 2025-12-27, 1,024 before; nothing but the length tells.",
                    dimensions=(1_024, 4_096),
                ),
            ),
            about="One embedding per domain and entity.",
        ),
        TableSpec(
            name="domain_relations",
            origin="entity_relations",
            key=("source_entity_id", "target_entity_id", "relation_type"),
            columns=(
                Column("source_entity_id", "text", "source_entity_id", nullable=False),
                Column("target_entity_id", "text", "target_entity_id", nullable=False),
                Column("relation_type", "text", "relation_type", nullable=False),
                Column("source_row_id", "integer", "id"),
                Column("domain", "text", "domain"),
                Column("weight", "real", "weight"),
                Column("created_at", "utc_text", "created_at"),
            ),
            links=(
                Link("source_entity_id", "domain_embeddings", "entity_id", declared=False),
                Link("target_entity_id", "domain_embeddings", "entity_id", declared=False),
            ),
            about="Relations by entity name; memOS declares no key, `missing` names loose ends.",
        ),
    ),
)

META_BUFFER = FileKind(
    name="meta_buffer",
    signature={"templates": frozenset({"query_embedding", "template_type", "structure"})},
    disposition="consolidate",
    about="Thought templates; their embeddings are JSON text inside a BLOB.",
    usual_names=("meta_buffer.db",),
    tables=(
        TableSpec(
            name="thought_templates",
            origin="templates",
            key=("id",),
            columns=(
                Column("id", "text", "id", nullable=False),
                Column("template_type", "text", "template_type"),
                Column("query_pattern", "text", "query_pattern"),
                Column("structure", "text", "structure"),
                Column("example_queries", "json", "example_queries"),
                Column("example_outcomes", "json", "example_outcomes"),
                Column("domain_hints", "json", "domain_hints", searched=True),
                Column("complexity_min", "text", "complexity_min"),
                Column("complexity_max", "text", "complexity_max"),
                Column("usage_count", "integer", "usage_count"),
                Column("success_count", "integer", "success_count"),
                Column("avg_confidence", "real", "avg_confidence"),
                Column("avg_execution_time_ms", "integer", "avg_execution_time_ms"),
                Column("created_at", "iso_offset", "created_at"),
                Column("updated_at", "iso_offset", "updated_at"),
                Column("last_used_at", "iso_offset", "last_used_at"),
            ),
            vectors=(
                VectorColumn(
                    "embedding",
                    "query_embedding",
                    "json_blob",
                    "vector",
                    "length",
                    dimensions=(768,),
                    about="nomic-embed-text, unit length; JSON numbers rounded to float32.",
                ),
            ),
            about="Distilled query templates with the embedding of their query.",
        ),
    ),
)

HYPERBOLIC = FileKind(
    name="hyperbolic_embeddings",
    signature={"hyperbolic_documents": frozenset({"doc_id", "hyperbolic_embedding"})},
    disposition="consolidate",
    about="Documents in a hierarchy, with a Euclidean and a Poincare vector each.",
    usual_names=("hyperbolic_embeddings.db",),
    tables=(
        TableSpec(
            name="hyperbolic_documents",
            origin="hyperbolic_documents",
            key=("doc_id",),
            columns=(
                Column("doc_id", "text", "doc_id", nullable=False),
                Column("content", "text", "content"),
                Column("hierarchy_level", "integer", "hierarchy_level"),
                Column("parent_id", "text", "parent_id"),
                Column("depth", "real_or_float32", "depth"),
                Column("metadata", "json", "metadata", searched=True),
                Column("created_at", "unix_seconds", "created_at"),
                Column("updated_at", "unix_seconds", "updated_at"),
            ),
            vectors=(
                _vector("euclidean_embedding", "Cut or zero-padded to 768.", dimensions=(768,)),
                VectorColumn(
                    "hyperbolic_embedding",
                    "hyperbolic_embedding",
                    "float32",
                    "vector",
                    "length",
                    dimensions=(768,),
                    dimension_name="hyperbolic_dimension",
                    indexed=False,
                    about="Poincare ball: cosine and L2 distance mean nothing here.",
                ),
            ),
            links=(Link("parent_id", "hyperbolic_documents", "doc_id", declared=False),),
            about="Documents of a hierarchy; `missing` names a parent that is not in the file.",
        ),
    ),
)

SEMANTIC_MEMORY = FileKind(
    name="semantic_memory",
    signature={
        "memories": frozenset({"memory_type", "attributes", "last_accessed"}),
        "connections": frozenset({"source_id", "target_id", "bidirectional"}),
    },
    disposition="consolidate",
    about="The agent's semantic memory network (A-MEM); embeddings are JSON text.",
    usual_names=("semantic_memory.db",),
    tables=(
        TableSpec(
            name="semantic_memories",
            origin="memories",
            key=("id",),
            columns=(
                Column("id", "text", "id", nullable=False),
                Column("memory_type", "text", "memory_type"),
                Column("content", "text", "content"),
                Column("attributes", "json", "attributes", searched=True),
                Column("created_at", "unix_seconds", "created_at"),
                Column("access_count", "integer", "access_count"),
                Column("last_accessed", "unix_seconds", "last_accessed"),
            ),
            vectors=(
                VectorColumn(
                    "embedding",
                    "embedding",
                    "json_text",
                    "vector",
                    "length",
                    dimensions=(768, 1_024),
                    about="mxbai 1,024, raw; 768 where the configured model changed.",
                ),
            ),
            about="Memories of the semantic network.",
        ),
        TableSpec(
            name="semantic_links",
            origin="connections",
            key=("from_id", "to_id"),
            columns=(
                Column("from_id", "text", "source_id", nullable=False),
                Column("to_id", "text", "target_id", nullable=False),
                Column("connection_type", "text", "connection_type"),
                Column("strength", "real", "strength"),
                Column("bidirectional", "boolean", "bidirectional"),
                Column("metadata", "json", "metadata"),
            ),
            links=(
                Link("from_id", "semantic_memories", "id"),
                Link("to_id", "semantic_memories", "id"),
            ),
            mirrored=True,
            about="Connections in both directions: memOS stores only the forward one and a flag.",
        ),
    ),
)

CONTENT_CACHE = FileKind(
    name="content_cache",
    signature={
        "content_cache": frozenset({"url_hash", "expires_at"}),
        "query_cache": frozenset({"query_hash", "expires_at"}),
    },
    disposition="keep",
    about="Scraped pages and query results with an expiry; short-lived, stays where it is.",
    usual_names=("content_cache.db",),
)

SCRATCHPAD_CACHE = FileKind(
    name="scratchpad_cache",
    signature={
        "findings": frozenset({"content_hash", "cached_at"}),
        "subqueries": frozenset({"query_hash", "cached_at"}),
    },
    disposition="keep",
    about="Findings and sub-queries of past missions without expiry; stays where it is.",
    usual_names=("scratchpad_cache.db",),
)

CONSOLIDATED_KINDS: tuple[FileKind, ...] = (
    MIXED_PRECISION,
    HYBRID,
    CORPUS,
    EMBEDDING_AGGREGATOR,
    META_BUFFER,
    HYPERBOLIC,
    SEMANTIC_MEMORY,
)
KINDS: tuple[FileKind, ...] = (*CONSOLIDATED_KINDS, CONTENT_CACHE, SCRATCHPAD_CACHE)
KINDS_BY_NAME = {kind.name: kind for kind in KINDS}
TABLES: tuple[TableSpec, ...] = tuple(spec for kind in CONSOLIDATED_KINDS for spec in kind.tables)
TABLES_BY_NAME = {spec.name: spec for spec in TABLES}


def kind_of_table(name: str) -> FileKind:
    """Return the kind of file that ``memos.<name>`` is loaded from."""
    return next(
        kind for kind in CONSOLIDATED_KINDS if any(spec.name == name for spec in kind.tables)
    )
