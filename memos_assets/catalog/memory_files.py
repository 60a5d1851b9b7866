"""Files of what the agent knows: domain corpora, thought templates, semantic memory."""

from memos_assets.catalog.columns import Column, VectorColumn, float32_embedding
from memos_assets.catalog.tables import FileKind, Link, TableSpec

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
            vectors=(float32_embedding("embedding", "nomic-embed-text, raw.", dimensions=(768,)),),
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
            vectors=(float32_embedding("embedding", "First 2,000 characters.", dimensions=(768,)),),
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
            vectors=(
                float32_embedding("embedding", "No memOS version writes it.", dimensions=(768,)),
            ),
            links=(Link("document_hash", "corpus_documents", "content_hash"),),
            about="Chunks of documents; memOS declares the table and has not written it so far.",
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
