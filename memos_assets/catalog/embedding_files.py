"""Files whose purpose is embeddings: mixed precision, hybrid search, aggregator, hyperbolic."""

from memos_assets.catalog.columns import (
    BGE_M3,
    MODELS,
    MXBAI,
    QWEN3_8B,
    Column,
    VectorColumn,
    float32_embedding,
)
from memos_assets.catalog.tables import FileKind, Link, TableSpec

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
                Column("metadata", "json", "metadata", searched="containment"),
                Column("created_at", "utc_text", "created_at"),
            ),
            vectors=(
                VectorColumn(
                    "embedding",
                    "fp16_data",
                    "float16",
                    "halfvec",
                    "column",
                    models={**MODELS, 1_024: ("qwen3-embedding:0.6b",)},
                    dimension_origin="dimension",
                    about="Raw, not normalised: compare by cosine.",
                ),
            ),
            derivation="mixed_precision",
            derived=("binary_data", "int8_data", "residual_data", "scale", "zero_point"),
            texts=("content",),
            details="metadata",
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
                Column("sparse_weights", "json", "sparse_vector", searched="keys"),
                Column(
                    "sparse_vocabulary",
                    "text",
                    "sparse_vector",
                    computed=True,
                    about="`words` (tf*idf, Ollama era) or `xlmr_token_ids` (FlagEmbedding era); "
                    "weights of different vocabularies must not be compared.",
                ),
                Column("metadata", "json", "metadata", searched="containment"),
                Column("created_at", "utc_text", "created_at"),
            ),
            vectors=(
                float32_embedding("dense_embedding", "bge-m3, 1,024.", models={1_024: BGE_M3}),
            ),
            texts=("content",),
            details="metadata",
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
                float32_embedding(
                    "embedding",
                    "4,096 since 2025-12-27, 1,024 before; nothing but the length tells.",
                    models={1_024: MXBAI, 4_096: QWEN3_8B},
                ),
            ),
            texts=("entity_name", "context"),
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
                Column("metadata", "json", "metadata", searched="containment"),
                Column("created_at", "unix_seconds", "created_at"),
                Column("updated_at", "unix_seconds", "updated_at"),
            ),
            vectors=(
                float32_embedding(
                    "euclidean_embedding", "Cut or zero-padded to 768.", models={768: ()}
                ),
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
            texts=("content",),
            details="metadata",
            about="Documents of a hierarchy; `missing` names a parent that is not in the file.",
        ),
    ),
)
