"""the consolidated tables and the books.

Revision: 0001, the first.
"""

import pgvector.sqlalchemy
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _has_dimension(embedding: str, dimension: str) -> sa.ColumnElement[bool]:
    """Return the condition; the connection says in which schema pgvector's function is."""
    value = sa.column(embedding)
    return sa.or_(value.is_(None), sa.func.vector_dims(value) == sa.column(dimension))


def upgrade() -> None:
    op.execute("create schema if not exists memos")
    op.create_table(
        "corpora",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("domain_id", sa.Text(), nullable=False),
        sa.Column(
            "schema", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("chunk", sa.Integer(), nullable=False),
        sa.Column("source_rowid", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source", "domain_id", name=op.f("corpora_pkey")),
        schema="memos",
        comment="The domain of a corpus and its schema; created_at is a process start.",
    )
    op.create_index(
        "corpora_chunk_idx",
        "corpora",
        ["source", "chunk", "source_rowid"],
        unique=False,
        schema="memos",
    )
    op.create_table(
        "corpus_chunks",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("chunk_hash", sa.Text(), nullable=False),
        sa.Column("document_hash", sa.Text(), nullable=True),
        sa.Column("content", sa.Text(), nullable=True),
        sa.Column("chunk_index", sa.BigInteger(), nullable=True),
        sa.Column(
            "embedding",
            pgvector.sqlalchemy.VECTOR(),
            nullable=True,
            comment="No memOS version writes it.",
        ),
        sa.Column("dimension", sa.Integer(), nullable=True),
        sa.Column("embedding_reason", sa.Text(), nullable=True, comment="Why embedding is NULL."),
        sa.Column("chunk", sa.Integer(), nullable=False),
        sa.Column("source_rowid", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "(embedding is null) = (embedding_reason is not null)",
            name=op.f("corpus_chunks_embedding_or_reason"),
        ),
        sa.CheckConstraint(
            _has_dimension("embedding", "dimension"),
            name=op.f("corpus_chunks_embedding_has_dimension"),
        ),
        sa.PrimaryKeyConstraint("source", "chunk_hash", name=op.f("corpus_chunks_pkey")),
        schema="memos",
        comment="Chunks of documents; memOS declares the table and has not written it so far.",
    )
    op.create_index(
        "corpus_chunks_chunk_idx",
        "corpus_chunks",
        ["source", "chunk", "source_rowid"],
        unique=False,
        schema="memos",
    )
    op.create_table(
        "corpus_documents",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=True),
        sa.Column("source_url", sa.Text(), nullable=True),
        sa.Column("source_type", sa.Text(), nullable=True),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("indexed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "chunk_hashes",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=True,
        ),
        sa.Column(
            "embedding",
            pgvector.sqlalchemy.VECTOR(),
            nullable=True,
            comment="First 2,000 characters.",
        ),
        sa.Column("dimension", sa.Integer(), nullable=True),
        sa.Column("embedding_reason", sa.Text(), nullable=True, comment="Why embedding is NULL."),
        sa.Column("chunk", sa.Integer(), nullable=False),
        sa.Column("source_rowid", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "(embedding is null) = (embedding_reason is not null)",
            name=op.f("corpus_documents_embedding_or_reason"),
        ),
        sa.CheckConstraint(
            _has_dimension("embedding", "dimension"),
            name=op.f("corpus_documents_embedding_has_dimension"),
        ),
        sa.PrimaryKeyConstraint("source", "content_hash", name=op.f("corpus_documents_pkey")),
        schema="memos",
        comment="Documents a corpus was built from.",
    )
    op.create_index(
        "corpus_documents_chunk_idx",
        "corpus_documents",
        ["source", "chunk", "source_rowid"],
        unique=False,
        schema="memos",
    )
    op.create_table(
        "corpus_entities",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("entity_type", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("canonical_name", sa.Text(), nullable=True),
        sa.Column(
            "aliases", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True
        ),
        sa.Column(
            "attributes", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True
        ),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column(
            "source_documents",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=True,
        ),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.Column("mention_count", sa.BigInteger(), nullable=True),
        sa.Column("first_seen", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_updated", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "embedding",
            pgvector.sqlalchemy.VECTOR(),
            nullable=True,
            comment="nomic-embed-text, raw.",
        ),
        sa.Column("dimension", sa.Integer(), nullable=True),
        sa.Column("embedding_reason", sa.Text(), nullable=True, comment="Why embedding is NULL."),
        sa.Column("chunk", sa.Integer(), nullable=False),
        sa.Column("source_rowid", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "(embedding is null) = (embedding_reason is not null)",
            name=op.f("corpus_entities_embedding_or_reason"),
        ),
        sa.CheckConstraint(
            _has_dimension("embedding", "dimension"),
            name=op.f("corpus_entities_embedding_has_dimension"),
        ),
        sa.PrimaryKeyConstraint("source", "id", name=op.f("corpus_entities_pkey")),
        schema="memos",
        comment="Entities as memOS keeps them; canonical names may repeat.",
    )
    op.create_index(
        "corpus_entities_chunk_idx",
        "corpus_entities",
        ["source", "chunk", "source_rowid"],
        unique=False,
        schema="memos",
    )
    op.create_table(
        "corpus_relations",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("source_entity_id", sa.Text(), nullable=True),
        sa.Column("target_entity_id", sa.Text(), nullable=True),
        sa.Column("relation_type", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.Column("source_document", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("chunk", sa.Integer(), nullable=False),
        sa.Column("source_rowid", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source", "id", name=op.f("corpus_relations_pkey")),
        schema="memos",
        comment="Relations between entities; one with a missing end is in the rejects.",
    )
    op.create_index(
        "corpus_relations_chunk_idx",
        "corpus_relations",
        ["source", "chunk", "source_rowid"],
        unique=False,
        schema="memos",
    )
    op.create_table(
        "domain_embeddings",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("entity_id", sa.Text(), nullable=False),
        sa.Column(
            "source_row_id",
            sa.BigInteger(),
            nullable=True,
            comment="AUTOINCREMENT; new on each write.",
        ),
        sa.Column("entity_name", sa.Text(), nullable=True),
        sa.Column("entity_type", sa.Text(), nullable=True),
        sa.Column("context", sa.Text(), nullable=True),
        sa.Column("source_url", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "embedding",
            pgvector.sqlalchemy.VECTOR(),
            nullable=True,
            comment="4,096 since 2025-12-27, 1,024 before; nothing but the length tells.",
        ),
        sa.Column("dimension", sa.Integer(), nullable=True),
        sa.Column("embedding_reason", sa.Text(), nullable=True, comment="Why embedding is NULL."),
        sa.Column("chunk", sa.Integer(), nullable=False),
        sa.Column("source_rowid", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "(embedding is null) = (embedding_reason is not null)",
            name=op.f("domain_embeddings_embedding_or_reason"),
        ),
        sa.CheckConstraint(
            _has_dimension("embedding", "dimension"),
            name=op.f("domain_embeddings_embedding_has_dimension"),
        ),
        sa.PrimaryKeyConstraint(
            "source", "domain", "entity_id", name=op.f("domain_embeddings_pkey")
        ),
        schema="memos",
        comment="One embedding per domain and entity.",
    )
    op.create_index(
        "domain_embeddings_chunk_idx",
        "domain_embeddings",
        ["source", "chunk", "source_rowid"],
        unique=False,
        schema="memos",
    )
    op.create_table(
        "domain_relations",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("source_entity_id", sa.Text(), nullable=False),
        sa.Column("target_entity_id", sa.Text(), nullable=False),
        sa.Column("relation_type", sa.Text(), nullable=False),
        sa.Column("source_row_id", sa.BigInteger(), nullable=True),
        sa.Column("domain", sa.Text(), nullable=True),
        sa.Column("weight", sa.Double(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "missing",
            postgresql.ARRAY(sa.Text()),
            nullable=True,
            comment="Columns whose end is not in the file.",
        ),
        sa.Column("chunk", sa.Integer(), nullable=False),
        sa.Column("source_rowid", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "source",
            "source_entity_id",
            "target_entity_id",
            "relation_type",
            name=op.f("domain_relations_pkey"),
        ),
        schema="memos",
        comment="Relations by entity name; memOS declares no key, `missing` names loose ends.",
    )
    op.create_index(
        "domain_relations_chunk_idx",
        "domain_relations",
        ["source", "chunk", "source_rowid"],
        unique=False,
        schema="memos",
    )
    op.create_table(
        "embedding_anchors",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "embedding",
            pgvector.sqlalchemy.HALFVEC(),
            nullable=True,
            comment="About a hundred rows: an exact scan is the fastest search.",
        ),
        sa.Column("dimension", sa.Integer(), nullable=True),
        sa.Column("embedding_reason", sa.Text(), nullable=True, comment="Why embedding is NULL."),
        sa.Column("chunk", sa.Integer(), nullable=False),
        sa.Column("source_rowid", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "(embedding is null) = (embedding_reason is not null)",
            name=op.f("embedding_anchors_embedding_or_reason"),
        ),
        sa.CheckConstraint(
            _has_dimension("embedding", "dimension"),
            name=op.f("embedding_anchors_embedding_has_dimension"),
        ),
        sa.PrimaryKeyConstraint("source", "category", name=op.f("embedding_anchors_pkey")),
        schema="memos",
        comment="Mean embedding per category.",
    )
    op.create_index(
        "embedding_anchors_chunk_idx",
        "embedding_anchors",
        ["source", "chunk", "source_rowid"],
        unique=False,
        schema="memos",
    )
    op.create_table(
        "embeddings",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("doc_id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=True, comment="No writer sets it."),
        sa.Column("content", sa.Text(), nullable=True),
        sa.Column(
            "metadata", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "embedding",
            pgvector.sqlalchemy.HALFVEC(),
            nullable=True,
            comment="Raw, not normalised: compare by cosine.",
        ),
        sa.Column("dimension", sa.Integer(), nullable=True),
        sa.Column("embedding_reason", sa.Text(), nullable=True, comment="Why embedding is NULL."),
        sa.Column("chunk", sa.Integer(), nullable=False),
        sa.Column("source_rowid", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "(embedding is null) = (embedding_reason is not null)",
            name=op.f("embeddings_embedding_or_reason"),
        ),
        sa.CheckConstraint(
            _has_dimension("embedding", "dimension"),
            name=op.f("embeddings_embedding_has_dimension"),
        ),
        sa.PrimaryKeyConstraint("source", "doc_id", name=op.f("embeddings_pkey")),
        schema="memos",
        comment="Document and search-result embeddings, float16 bit for bit.",
    )
    op.create_index(
        "embeddings_chunk_idx",
        "embeddings",
        ["source", "chunk", "source_rowid"],
        unique=False,
        schema="memos",
    )
    op.create_table(
        "hybrid_bm25_statistics",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("statistic", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("chunk", sa.Integer(), nullable=False),
        sa.Column("source_rowid", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source", "statistic", name=op.f("hybrid_bm25_statistics_pkey")),
        schema="memos",
        comment="BM25 parameters and averages, text as stored.",
    )
    op.create_index(
        "hybrid_bm25_statistics_chunk_idx",
        "hybrid_bm25_statistics",
        ["source", "chunk", "source_rowid"],
        unique=False,
        schema="memos",
    )
    op.create_table(
        "hybrid_bm25_terms",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("term", sa.Text(), nullable=False),
        sa.Column(
            "postings",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=True,
            comment="doc_id -> term frequency.",
        ),
        sa.Column("document_frequency", sa.BigInteger(), nullable=True),
        sa.Column("chunk", sa.Integer(), nullable=False),
        sa.Column("source_rowid", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source", "term", name=op.f("hybrid_bm25_terms_pkey")),
        schema="memos",
        comment="BM25 postings; they keep the postings of replaced texts.",
    )
    op.create_index(
        "hybrid_bm25_terms_chunk_idx",
        "hybrid_bm25_terms",
        ["source", "chunk", "source_rowid"],
        unique=False,
        schema="memos",
    )
    op.create_table(
        "hybrid_documents",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("doc_id", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=True),
        sa.Column(
            "sparse_weights",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=True,
        ),
        sa.Column(
            "sparse_vocabulary",
            sa.Text(),
            nullable=True,
            comment="`words` (tf*idf, Ollama era) or `xlmr_token_ids` (FlagEmbedding era); "
            "weights of different vocabularies must not be compared.",
        ),
        sa.Column(
            "metadata", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "embedding", pgvector.sqlalchemy.VECTOR(), nullable=True, comment="bge-m3, 1,024."
        ),
        sa.Column("dimension", sa.Integer(), nullable=True),
        sa.Column("embedding_reason", sa.Text(), nullable=True, comment="Why embedding is NULL."),
        sa.Column("chunk", sa.Integer(), nullable=False),
        sa.Column("source_rowid", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "(embedding is null) = (embedding_reason is not null)",
            name=op.f("hybrid_documents_embedding_or_reason"),
        ),
        sa.CheckConstraint(
            _has_dimension("embedding", "dimension"),
            name=op.f("hybrid_documents_embedding_has_dimension"),
        ),
        sa.PrimaryKeyConstraint("source", "doc_id", name=op.f("hybrid_documents_pkey")),
        schema="memos",
        comment="Documents with their dense embedding and sparse weights.",
    )
    op.create_index(
        "hybrid_documents_chunk_idx",
        "hybrid_documents",
        ["source", "chunk", "source_rowid"],
        unique=False,
        schema="memos",
    )
    op.create_table(
        "hyperbolic_documents",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("doc_id", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=True),
        sa.Column("hierarchy_level", sa.BigInteger(), nullable=True),
        sa.Column("parent_id", sa.Text(), nullable=True),
        sa.Column("depth", sa.Double(), nullable=True),
        sa.Column(
            "metadata", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "embedding",
            pgvector.sqlalchemy.VECTOR(),
            nullable=True,
            comment="Cut or zero-padded to 768.",
        ),
        sa.Column("dimension", sa.Integer(), nullable=True),
        sa.Column("embedding_reason", sa.Text(), nullable=True, comment="Why embedding is NULL."),
        sa.Column(
            "hyperbolic_embedding",
            pgvector.sqlalchemy.VECTOR(),
            nullable=True,
            comment="Poincare ball: cosine and L2 distance mean nothing here.",
        ),
        sa.Column("hyperbolic_dimension", sa.Integer(), nullable=True),
        sa.Column(
            "hyperbolic_embedding_reason",
            sa.Text(),
            nullable=True,
            comment="Why hyperbolic_embedding is NULL.",
        ),
        sa.Column(
            "missing",
            postgresql.ARRAY(sa.Text()),
            nullable=True,
            comment="Columns whose end is not in the file.",
        ),
        sa.Column("chunk", sa.Integer(), nullable=False),
        sa.Column("source_rowid", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "(embedding is null) = (embedding_reason is not null)",
            name=op.f("hyperbolic_documents_embedding_or_reason"),
        ),
        sa.CheckConstraint(
            "(hyperbolic_embedding is null) = (hyperbolic_embedding_reason is not null)",
            name=op.f("hyperbolic_documents_hyperbolic_embedding_or_reason"),
        ),
        sa.CheckConstraint(
            _has_dimension("embedding", "dimension"),
            name=op.f("hyperbolic_documents_embedding_has_dimension"),
        ),
        sa.CheckConstraint(
            _has_dimension("hyperbolic_embedding", "hyperbolic_dimension"),
            name=op.f("hyperbolic_documents_hyperbolic_embedding_has_hyperbolic_dimension"),
        ),
        sa.PrimaryKeyConstraint("source", "doc_id", name=op.f("hyperbolic_documents_pkey")),
        schema="memos",
        comment="Documents of a hierarchy; `missing` names a parent that is not in the file.",
    )
    op.create_index(
        "hyperbolic_documents_chunk_idx",
        "hyperbolic_documents",
        ["source", "chunk", "source_rowid"],
        unique=False,
        schema="memos",
    )
    op.create_table(
        "semantic_links",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("from_id", sa.Text(), nullable=False),
        sa.Column("to_id", sa.Text(), nullable=False),
        sa.Column("connection_type", sa.Text(), nullable=True),
        sa.Column("strength", sa.Double(), nullable=True),
        sa.Column("bidirectional", sa.Boolean(), nullable=True),
        sa.Column(
            "metadata", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True
        ),
        sa.Column("reversed", sa.Boolean(), nullable=False),
        sa.Column("chunk", sa.Integer(), nullable=False),
        sa.Column("source_rowid", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "source", "from_id", "to_id", "reversed", name=op.f("semantic_links_pkey")
        ),
        schema="memos",
        comment="Connections in both directions: memOS stores only the forward one and a flag.",
    )
    op.create_index(
        "semantic_links_chunk_idx",
        "semantic_links",
        ["source", "chunk", "source_rowid"],
        unique=False,
        schema="memos",
    )
    op.create_table(
        "semantic_memories",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("memory_type", sa.Text(), nullable=True),
        sa.Column("content", sa.Text(), nullable=True),
        sa.Column(
            "attributes", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("access_count", sa.BigInteger(), nullable=True),
        sa.Column("last_accessed", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "embedding",
            pgvector.sqlalchemy.VECTOR(),
            nullable=True,
            comment="mxbai 1,024, raw; 768 where the configured model changed.",
        ),
        sa.Column("dimension", sa.Integer(), nullable=True),
        sa.Column("embedding_reason", sa.Text(), nullable=True, comment="Why embedding is NULL."),
        sa.Column("chunk", sa.Integer(), nullable=False),
        sa.Column("source_rowid", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "(embedding is null) = (embedding_reason is not null)",
            name=op.f("semantic_memories_embedding_or_reason"),
        ),
        sa.CheckConstraint(
            _has_dimension("embedding", "dimension"),
            name=op.f("semantic_memories_embedding_has_dimension"),
        ),
        sa.PrimaryKeyConstraint("source", "id", name=op.f("semantic_memories_pkey")),
        schema="memos",
        comment="Memories of the semantic network.",
    )
    op.create_index(
        "semantic_memories_chunk_idx",
        "semantic_memories",
        ["source", "chunk", "source_rowid"],
        unique=False,
        schema="memos",
    )
    op.create_table(
        "thought_templates",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("template_type", sa.Text(), nullable=True),
        sa.Column("query_pattern", sa.Text(), nullable=True),
        sa.Column("structure", sa.Text(), nullable=True),
        sa.Column(
            "example_queries",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=True,
        ),
        sa.Column(
            "example_outcomes",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=True,
        ),
        sa.Column(
            "domain_hints",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=True,
        ),
        sa.Column("complexity_min", sa.Text(), nullable=True),
        sa.Column("complexity_max", sa.Text(), nullable=True),
        sa.Column("usage_count", sa.BigInteger(), nullable=True),
        sa.Column("success_count", sa.BigInteger(), nullable=True),
        sa.Column("avg_confidence", sa.Double(), nullable=True),
        sa.Column("avg_execution_time_ms", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "embedding",
            pgvector.sqlalchemy.VECTOR(),
            nullable=True,
            comment="nomic-embed-text, unit length; JSON numbers rounded to float32.",
        ),
        sa.Column("dimension", sa.Integer(), nullable=True),
        sa.Column("embedding_reason", sa.Text(), nullable=True, comment="Why embedding is NULL."),
        sa.Column("chunk", sa.Integer(), nullable=False),
        sa.Column("source_rowid", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "(embedding is null) = (embedding_reason is not null)",
            name=op.f("thought_templates_embedding_or_reason"),
        ),
        sa.CheckConstraint(
            _has_dimension("embedding", "dimension"),
            name=op.f("thought_templates_embedding_has_dimension"),
        ),
        sa.PrimaryKeyConstraint("source", "id", name=op.f("thought_templates_pkey")),
        schema="memos",
        comment="Distilled query templates with the embedding of their query.",
    )
    op.create_index(
        "thought_templates_chunk_idx",
        "thought_templates",
        ["source", "chunk", "source_rowid"],
        unique=False,
        schema="memos",
    )
    op.create_table(
        "chunks",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("chunk", sa.Integer(), nullable=False),
        sa.Column("pin_digest", sa.Text(), nullable=False),
        sa.Column("chunk_rows", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False, comment="sha256 of the chunk in SQLite."),
        sa.Column("source_rows", sa.BigInteger(), nullable=False),
        sa.Column("source_bytes", sa.BigInteger(), nullable=False),
        sa.Column(
            "rows", sa.BigInteger(), nullable=False, comment="Loaded, mirrored ones left out."
        ),
        sa.Column("rejected", sa.BigInteger(), nullable=False),
        sa.Column("mirrored", sa.BigInteger(), nullable=False),
        sa.Column(
            "without_embedding",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Reason -> rows.",
        ),
        sa.Column("code_version", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column(
            "loaded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.CheckConstraint(
            "rows + rejected = source_rows", name=op.f("chunks_accounts_for_every_row")
        ),
        sa.PrimaryKeyConstraint("source", "table_name", "chunk", name=op.f("chunks_pkey")),
        schema="memos_ops",
        comment="The ledger: one row per loaded chunk, committed with its rows.",
    )
    op.create_table(
        "consolidation_pins",
        sa.Column("consolidation", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("pin_digest", sa.Text(), nullable=False),
        sa.Column(
            "chosen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("consolidation", "source", name=op.f("consolidation_pins_pkey")),
        schema="memos_ops",
        comment="Which pin all runs of one consolidation work from.",
    )
    op.create_table(
        "pins",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column(
            "fingerprint", sa.Text(), nullable=False, comment="sha256 of the origin's bytes."
        ),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("chunk_rows", sa.BigInteger(), nullable=False),
        sa.Column(
            "rows",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="SQLite table -> rows.",
        ),
        sa.Column(
            "pinned_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("source", "digest", name=op.f("pins_pkey")),
        schema="memos_ops",
        comment="Consistent copies of the files, and what they held.",
    )
    op.create_table(
        "rejects",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("source_rowid", sa.BigInteger(), nullable=False),
        sa.Column("chunk", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False, comment="Key values as a JSON array."),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("row_digest", sa.Text(), nullable=False, comment="sha256 of the row in SQLite."),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column(
            "rejected_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("source", "table_name", "source_rowid", name=op.f("rejects_pkey")),
        schema="memos_ops",
        comment="Rows that could not be loaded, and why.",
    )
    op.create_table(
        "sources",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("pin_digest", sa.Text(), nullable=True, comment="The pin that loads work from."),
        sa.Column(
            "registered_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("source", name=op.f("sources_pkey")),
        schema="memos_ops",
        comment="Consolidated SQLite files by name.",
    )
    op.create_table(
        "pin_chunks",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("pin_digest", sa.Text(), nullable=False),
        sa.Column("origin_table", sa.Text(), nullable=False),
        sa.Column("chunk", sa.Integer(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["source", "pin_digest"],
            ["memos_ops.pins.source", "memos_ops.pins.digest"],
            name=op.f("pin_chunks_source_fkey"),
            ondelete="cascade",
        ),
        sa.PrimaryKeyConstraint(
            "source", "pin_digest", "origin_table", "chunk", name=op.f("pin_chunks_pkey")
        ),
        schema="memos_ops",
        comment="Content of each chunk of a pin.",
    )


def downgrade() -> None:
    op.drop_table("pin_chunks", schema="memos_ops")
    op.drop_table("sources", schema="memos_ops")
    op.drop_table("rejects", schema="memos_ops")
    op.drop_table("pins", schema="memos_ops")
    op.drop_table("consolidation_pins", schema="memos_ops")
    op.drop_table("chunks", schema="memos_ops")
    op.drop_index("thought_templates_chunk_idx", table_name="thought_templates", schema="memos")
    op.drop_table("thought_templates", schema="memos")
    op.drop_index("semantic_memories_chunk_idx", table_name="semantic_memories", schema="memos")
    op.drop_table("semantic_memories", schema="memos")
    op.drop_index("semantic_links_chunk_idx", table_name="semantic_links", schema="memos")
    op.drop_table("semantic_links", schema="memos")
    op.drop_index(
        "hyperbolic_documents_chunk_idx", table_name="hyperbolic_documents", schema="memos"
    )
    op.drop_table("hyperbolic_documents", schema="memos")
    op.drop_index("hybrid_documents_chunk_idx", table_name="hybrid_documents", schema="memos")
    op.drop_table("hybrid_documents", schema="memos")
    op.drop_index("hybrid_bm25_terms_chunk_idx", table_name="hybrid_bm25_terms", schema="memos")
    op.drop_table("hybrid_bm25_terms", schema="memos")
    op.drop_index(
        "hybrid_bm25_statistics_chunk_idx", table_name="hybrid_bm25_statistics", schema="memos"
    )
    op.drop_table("hybrid_bm25_statistics", schema="memos")
    op.drop_index("embeddings_chunk_idx", table_name="embeddings", schema="memos")
    op.drop_table("embeddings", schema="memos")
    op.drop_index("embedding_anchors_chunk_idx", table_name="embedding_anchors", schema="memos")
    op.drop_table("embedding_anchors", schema="memos")
    op.drop_index("domain_relations_chunk_idx", table_name="domain_relations", schema="memos")
    op.drop_table("domain_relations", schema="memos")
    op.drop_index("domain_embeddings_chunk_idx", table_name="domain_embeddings", schema="memos")
    op.drop_table("domain_embeddings", schema="memos")
    op.drop_index("corpus_relations_chunk_idx", table_name="corpus_relations", schema="memos")
    op.drop_table("corpus_relations", schema="memos")
    op.drop_index("corpus_entities_chunk_idx", table_name="corpus_entities", schema="memos")
    op.drop_table("corpus_entities", schema="memos")
    op.drop_index("corpus_documents_chunk_idx", table_name="corpus_documents", schema="memos")
    op.drop_table("corpus_documents", schema="memos")
    op.drop_index("corpus_chunks_chunk_idx", table_name="corpus_chunks", schema="memos")
    op.drop_table("corpus_chunks", schema="memos")
    op.drop_index("corpora_chunk_idx", table_name="corpora", schema="memos")
    op.drop_table("corpora", schema="memos")
    op.execute("drop schema memos")
