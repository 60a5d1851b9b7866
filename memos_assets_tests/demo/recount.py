"""Recount every known defect from the files alone, without the code that wrote them."""

import json
from collections import Counter
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from memos_assets.demo import FileManifest
from memos_assets_tests.demo.counting import (
    Count,
    Row,
    Rows,
    blob,
    dimensions,
    every,
    is_json,
    iso_local,
    iso_offset,
    json_kinds,
    load,
    missing,
    repeats,
    sqlite_utc,
    sqlite_utc_or_postgresql,
    text,
    text_kinds,
    unix,
    vectors,
    where,
)


def anchors(rows: Rows) -> Mapping[str, int]:
    found: Counter[str] = Counter()
    for row in rows:
        stored, dimension = blob(row["embedding"]), int(str(row["dimension"]))
        found["float32_anchors"] += len(stored) == 4 * dimension
        found["float64_anchors"] += len(stored) == 8 * dimension
        # Both zeros are zero.
        found["zero_vectors"] += (
            len(stored) == 2 * dimension and not np.frombuffer(stored, "<f2").any()
        )
    return found


def unit_length(rows: Rows) -> Mapping[str, int]:
    lengths = []
    for row in rows:
        stored = blob(row["dense_embedding"])
        if len(stored) == 4096:
            with np.errstate(all="ignore"):
                lengths.append(float(np.linalg.norm(np.frombuffer(stored, "<f4"))))
    return {"unit_vectors": sum(0.99 < length < 1.01 for length in lengths)}


def padded(row: Row) -> bool:
    return not any(blob(row["euclidean_embedding"])[4 * 512 :])


def expired(rows: Rows) -> Mapping[str, int]:
    at = datetime(2026, 9, 1, tzinfo=UTC).timestamp()
    return {"expired_rows": sum(float(str(row["expires_at"])) < at for row in rows)}


def scales(rows: Rows) -> Mapping[str, int]:
    tags = "null_model_tags" if "model_tag" in rows[0] else "absent_model_tags"
    kinds = [row["scale"] for row in rows]
    return {
        "scale_stored_as_blob": sum(
            isinstance(scale, bytes) and len(scale) == 2 for scale in kinds
        ),
        "scale_stored_as_real": sum(isinstance(scale, float) for scale in kinds),
        # 1.0 is what a vector without length gets, under any NumPy.
        "numpy_1_rows": sum(isinstance(scale, float) and scale != 1.0 for scale in kinds),
        "null_residuals": sum(row["residual_data"] is None for row in rows),
        tags: sum(row.get("model_tag") is None for row in rows),
        **{
            f"vectors_of_{dim}": sum(row["dimension"] == dim for row in rows)
            for dim in (4096, 2560, 1024)
        },
    }


def sparse(rows: Rows) -> Mapping[str, int]:
    found: Counter[str] = Counter()
    for row in rows:
        if row["sparse_vector"] is None:
            found["null_sparse_vectors"] += 1
            continue
        terms = json.loads(text(row["sparse_vector"]))
        is_tokens = bool(terms) and all(term.isdecimal() for term in terms)
        found["token_id_sparse_vectors" if is_tokens else "word_sparse_vectors"] += 1
    return found


def attributes(rows: Rows) -> Mapping[str, int]:
    found: Counter[str] = Counter()
    names = {list: "attributes_array", str: "attributes_string", type(None): "attributes_null"}
    for row in rows:
        if is_json(text(row["attributes"])):
            name = names.get(type(json.loads(text(row["attributes"]))))
            if name:
                found[name] += 1
    return found


def template_vectors(rows: Rows) -> Mapping[str, int]:
    found: Counter[str] = Counter()
    for row in rows:
        if row["query_embedding"] is not None:
            stored = blob(row["query_embedding"]).decode()
            is_whole = is_json(stored) and len(json.loads(stored)) == 768
            found["vectors_as_json_in_blob" if is_whole else "malformed_json_vectors"] += 1
            found["json_vectors_of_float32_length"] += is_whole and len(stored) % 4 == 0
    return found


def memory_vectors(rows: Rows) -> Mapping[str, int]:
    lengths = [len(json.loads(text(row["embedding"]))) for row in rows if row["embedding"]]
    return {
        "vectors_as_json_text": len(lengths),
        **{f"vectors_of_{dim}": lengths.count(dim) for dim in (1024, 768)},
    }


MIXED = (
    vectors("fp16_data", "<f2", ()),
    scales,
    json_kinds("metadata"),
    text_kinds("content"),
    sqlite_utc("created_at"),
    missing("null_primary_keys", "doc_id"),
)
HYBRID = (
    vectors("dense_embedding", "<f4", (1024,)),
    unit_length,
    sparse,
    json_kinds("metadata"),
    text_kinds("content"),
    sqlite_utc("created_at"),
    missing("null_primary_keys", "doc_id"),
)
#: How each table with known defects is recounted; other tables have none.
RECOUNTS: dict[str, tuple[Count, ...]] = {
    "embeddings": MIXED,
    "anchors": (anchors,),
    "hybrid": HYBRID,
    "bm25_index": (where("stale_postings", lambda row: row["term"] == "formerly"),),
    "entities": (
        missing("null_embeddings", "embedding"),
        where("piped_entity_types", lambda row: " | " in text(row["entity_type"])),
        repeats("duplicate_canonical_names", "canonical_name"),
        attributes,
        json_kinds("attributes"),
        text_kinds("description"),
        missing("null_descriptions", "description"),
        missing("nan_stored_as_null", "confidence"),
        every("ids_that_are_not_uuids"),
        iso_offset("first_seen"),
    ),
    "documents": (
        missing("null_embeddings", "embedding"),
        text_kinds("content"),
        every("unresolved_chunk_hashes"),
    ),
    "content_cache": (
        where("failed_pages", lambda row: row["success"] == 0),
        expired,
        text_kinds("content"),
        unix("created_at"),
        missing("null_primary_keys", "url_hash"),
    ),
    "query_cache": (
        missing("null_embeddings", "embedding"),
        vectors("embedding", "<f4", (1024, 768)),
        dimensions("embedding", (1024, 768)),
        json_kinds("result_json"),
        expired,
        unix("created_at"),
    ),
    "findings": (
        missing("null_embeddings", "embedding"),
        where("empty_contents", lambda row: row["content"] == ""),
        text_kinds("content"),
        iso_local("cached_at"),
        missing("null_primary_keys", "content_hash"),
    ),
    "subqueries": (iso_local("cached_at"),),
    "missions": (
        where(
            "questions_as_objects",
            lambda row: isinstance(json.loads(text(row["sub_questions"]))[0], dict),
        ),
        iso_local("cached_at"),
    ),
    "domain_embeddings": (
        vectors("embedding", "<f4", (4096, 1024)),
        dimensions("embedding", (4096, 1024)),
        text_kinds("context"),
        sqlite_utc_or_postgresql("created_at"),
    ),
    "templates": (
        missing("null_embeddings", "query_embedding"),
        template_vectors,
        json_kinds("example_outcomes"),
        text_kinds("structure"),
        iso_offset("created_at"),
        missing("never_used_templates", "last_used_at"),
    ),
    "hyperbolic_documents": (
        where("depth_stored_as_blob", lambda row: isinstance(row["depth"], bytes)),
        where("depth_stored_as_real", lambda row: isinstance(row["depth"], float)),
        where("padded_vectors", padded),
        json_kinds("metadata"),
        text_kinds("content"),
        unix("created_at"),
    ),
    "memories": (
        missing("null_embeddings", "embedding"),
        memory_vectors,
        repeats("repeated_memories", "content"),
        json_kinds("attributes"),
        text_kinds("content"),
        unix("created_at"),
    ),
}


def unloadable(path: Path, table: str, json_column: str, text_column: str) -> set[object]:
    """Return the ids of rows that PostgreSQL cannot hold."""

    def refused(row: Row) -> bool:
        try:
            text(row[text_column] or "").encode()
            json.loads(text(row[json_column]), parse_constant=int)  # int("NaN") is none
            datetime.fromisoformat(text(row.get("first_seen", "2025-12-27")))
        except ValueError:
            return True
        return "\0" in text(row[text_column] or "") or "\\u0000" in text(row[json_column])

    return {row["id"] for row in load(path, table) if refused(row)}


def recount_references(path: Path, table: str, rows: Rows) -> Mapping[str, int]:
    """Count the rows whose link leads nowhere, against the table it should lead to."""
    if table == "relations":
        known = {row["id"] for row in load(path, "entities")}
        ends = [(row["source_entity_id"], row["target_entity_id"]) for row in rows]
        refused = unloadable(path, "entities", "attributes", "description")
        return {
            "links_to_rejected_rows": sum(not refused.isdisjoint(pair) for pair in ends),
            "free_relation_types": sum(text(row["relation_type"]).isupper() for row in rows),
            "dangling_ends": sum(not known.issuperset(pair) for pair in ends),
            "self_relations": sum(source == target for source, target in ends),
            **repeats("duplicate_triples", "source_entity_id", "target_entity_id", "relation_type")(
                rows
            ),
        }
    if table == "connections":
        known = {row["id"] for row in load(path, "memories")}
        pairs = {(row["source_id"], row["target_id"]) for row in rows}
        assert known.issuperset(source for source, _ in pairs)
        refused = unloadable(path, "memories", "attributes", "content")
        return {
            "links_to_rejected_rows": sum(not refused.isdisjoint(pair) for pair in pairs),
            "dangling_targets": sum(row["target_id"] not in known for row in rows),
            "forward_only_edges": sum((target, source) not in pairs for source, target in pairs),
        }
    if table == "entity_relations":
        known = {row["entity_id"] for row in load(path, "domain_embeddings")}
        return {
            "loose_references": sum(row["target_entity_id"] not in known for row in rows),
            **sqlite_utc("created_at")(rows),
        }
    if table == "hyperbolic_documents":
        known = {row["doc_id"] for row in load(path, table)}
        parents = [row["parent_id"] for row in rows if row["parent_id"] is not None]
        return {"missing_parents": sum(parent not in known for parent in parents)}
    return {}


def recount(
    path: Path, file: FileManifest, table: str, *, without: Collection[int] = ()
) -> dict[str, int]:
    """Count every known defect of a table, without the rows of some rowids."""
    if file.path.startswith(("tmp/", "tests/")):
        return {}
    everything = load(path, table)
    rows = [row for row in everything if row["rowid_"] not in without]
    found: Counter[str] = Counter(recount_references(path, table, rows))
    name = "hybrid" if table == "documents" and "hybrid" in file.path else table
    for count in RECOUNTS.get(name, ()):
        found.update(count(rows))
    if name in ("embeddings", "hybrid", "domain_embeddings"):
        # Rows written twice left a gap each and are behind as many as there are.
        found["reindexed_rows"] = sum(int(str(row["rowid_"])) > len(everything) for row in rows)
    if name == "hybrid" and "hsea" in file.path:
        other = load(path.with_name("mixed_precision_embeddings.db"), "embeddings")
        shared = {row["doc_id"] for row in other}
        found["doc_ids_of_other_files"] = sum(row["doc_id"] in shared for row in rows)
    if file.path == "cache/rjg_corpus.db" and table == "entities":
        found["reordered_columns"] = len(rows)
    return {kind: number for kind, number in found.items() if number}
