"""How PostgreSQL, or the pinned file, counts the loaded rows of one known defect."""

from collections.abc import Mapping

#: A rejected row of the table that is linked to.
_REJECTED_END = (
    "exists (select from memos_ops.rejects r where r.source = t.source "
    "and r.table_name = '{table}' and r.key::jsonb ->> {part} = {end})"
)
_UUID = "'^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'"
_UTC = "created_at = date_trunc('second', created_at)"


def where(condition: str) -> str:
    return f"count(*) filter (where {condition})"


def repeated(*columns: str) -> str:
    return f"count(*) - count(distinct ({', '.join(columns)}))"


#: Class -> target table -> how its loaded rows are counted in ``t``, the rows of one source.
#: ``:rows`` is the number of rows in SQLite.
COUNTED: Mapping[str, Mapping[str, str]] = {
    "ids_that_are_not_uuids": {"corpus_entities": where(f"id !~ {_UUID} and length(id) = 12")},
    "doc_ids_of_other_files": {
        "hybrid_documents": where(
            "exists (select from memos.embeddings e where e.doc_id = t.doc_id) or exists (select "
            "from memos_ops.rejects r where r.table_name = 'embeddings' "
            "and r.key = json_build_array(t.doc_id)::text)"
        )
    },
    "reindexed_rows": dict.fromkeys(
        ("embeddings", "hybrid_documents", "domain_embeddings"), where("source_rowid > :rows")
    ),
    "null_descriptions": {"corpus_entities": where("description is null")},
    "attributes_array": {"corpus_entities": where("jsonb_typeof(attributes) = 'array'")},
    "attributes_string": {"corpus_entities": where("jsonb_typeof(attributes) = 'string'")},
    "attributes_null": {"corpus_entities": where("jsonb_typeof(attributes) = 'null'")},
    "timestamps_sqlite_utc": {
        "embeddings": where(_UTC),
        "hybrid_documents": where(_UTC),
        "domain_embeddings": where(_UTC),
        "domain_relations": where(_UTC),
    },
    "timestamps_postgresql_utc": {"domain_embeddings": where(f"not {_UTC}")},
    "timestamps_iso_offset": {
        "corpus_entities": where("first_seen is not null"),
        "thought_templates": where("created_at is not null"),
    },
    "timestamps_without_fraction": {
        "corpus_entities": where("first_seen = date_trunc('second', first_seen)")
    },
    "timestamps_unix": dict.fromkeys(
        ("hyperbolic_documents", "semantic_memories"), where("created_at > '2025-12-27 20:00+00'")
    ),
    "vectors_of_768": {"semantic_memories": where("vector_dims(embedding) = 768")},
    "vectors_of_1024": {
        "embeddings": where("dimension = 1024"),
        "domain_embeddings": where("vector_dims(embedding) = 1024"),
        "semantic_memories": where("vector_dims(embedding) = 1024"),
    },
    "vectors_of_2560": {"embeddings": where("dimension = 2560")},
    "vectors_of_4096": {
        "embeddings": where("dimension = 4096"),
        "domain_embeddings": where("vector_dims(embedding) = 4096"),
    },
    "unit_vectors": {"hybrid_documents": where("vector_norm(embedding) between 0.99 and 1.01")},
    "padded_vectors": {
        "hyperbolic_documents": where("vector_norm(subvector(embedding, 513, 256)) = 0")
    },
    "vectors_as_json_text": {"semantic_memories": where("embedding is not null")},
    "vectors_as_json_in_blob": {"thought_templates": where("vector_dims(embedding) = 768")},
    "json_vectors_of_float32_length": {
        "thought_templates": where("vector_dims(embedding) = 768"),
    },
    "depth_stored_as_blob": {"hyperbolic_documents": where("depth = depth::real")},
    "depth_stored_as_real": {"hyperbolic_documents": where("depth = depth::real")},
    "nan_stored_as_null": {"corpus_entities": where("confidence is null")},
    "word_sparse_vectors": {"hybrid_documents": where("sparse_vocabulary = 'words'")},
    "token_id_sparse_vectors": {
        "hybrid_documents": where("sparse_vocabulary = 'xlmr_token_ids'"),
    },
    "null_sparse_vectors": {"hybrid_documents": where("sparse_weights is null")},
    "stale_postings": {"hybrid_bm25_terms": where("term = 'formerly' and postings ? 'doc-0000'")},
    "loose_references": {
        "domain_relations": where(
            "'target_entity_id' = any(missing) and not "
            + _REJECTED_END.format(table="domain_embeddings", part=1, end="target_entity_id")
        )
    },
    "missing_parents": {
        "hyperbolic_documents": where(
            "'parent_id' = any(missing) and not "
            + _REJECTED_END.format(table="hyperbolic_documents", part=0, end="parent_id")
        )
    },
    "self_relations": {"corpus_relations": where("source_entity_id = target_entity_id")},
    "duplicate_triples": {
        "corpus_relations": repeated("source_entity_id", "target_entity_id", "relation_type")
    },
    "duplicate_canonical_names": {"corpus_entities": repeated("canonical_name")},
    "unresolved_chunk_hashes": {
        "corpus_documents": where(
            "not exists (select from memos.corpus_chunks c where t.chunk_hashes ? c.chunk_hash)"
        )
    },
    "piped_entity_types": {"corpus_entities": where("entity_type like '% | %'")},
    "free_relation_types": {"corpus_relations": where("relation_type = 'AFFECTS_COMPONENT'")},
    "repeated_memories": {"semantic_memories": repeated("content")},
    "never_used_templates": {"thought_templates": where("last_used_at is null")},
    "absent_model_tags": {"embeddings": where("model is null")},
    "null_model_tags": {"embeddings": where("model is null")},
    "reordered_columns": {"corpus_entities": where("canonical_name is not null")},
}
#: Classes of columns that are recomputed instead of copied: V03 has read every row of them.
RECOMPUTED = {
    "scale_stored_as_blob": "typeof(scale) = 'blob' and length(scale) = 2",
    "scale_stored_as_real": "typeof(scale) = 'real'",
    "numpy_1_rows": "typeof(scale) = 'real' and scale <> 1.0",
    "null_residuals": "residual_data is null",
}
#: Classes that PostgreSQL cannot tell from a neighbour by the loaded value: they are counted by
#: the rowids that carry them in SQLite.
BY_ROWID = {
    "depth_stored_as_blob": "typeof(depth) = 'blob'",
    "depth_stored_as_real": "typeof(depth) = 'real'",
    "json_vectors_of_float32_length": "length(query_embedding) % 4 = 0 "
    "and json_valid(cast(query_embedding as text))",
}
