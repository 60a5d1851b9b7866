"""Recount every dirt class from the files alone, with nothing of the room that wrote them."""

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path

import numpy as np

from memos_assets.demo import FileManifest

Row = Mapping[str, object]
Rows = list[dict[str, object]]
Count = Callable[[Rows], Mapping[str, int]]


def load(path: Path, table: str) -> Rows:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as conn:
        conn.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
        cursor = conn.execute(f"select rowid as rowid_, * from {table}")
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]


def text(value: object) -> str:
    assert isinstance(value, str)
    return value


def blob(value: object) -> bytes:
    assert isinstance(value, bytes)
    return value


def is_json(value: str) -> bool:
    try:
        json.loads(value)
    except json.JSONDecodeError:
        return False
    return True


def json_kinds(column: str) -> Count:
    def count(rows: Rows) -> Mapping[str, int]:
        values = [text(row[column]) for row in rows]
        return {
            "json_nan": sum(bool(re.search(r": NaN\b", value)) for value in values),
            "json_infinity": sum(bool(re.search(r": Infinity\b", value)) for value in values),
            "json_null_character": sum("\\u0000" in value for value in values if is_json(value)),
            "malformed_json": sum(not is_json(value) for value in values),
        }

    return count


def text_kinds(column: str) -> Count:
    def count(rows: Rows) -> Mapping[str, int]:
        values = [value for row in rows if isinstance(value := row[column], str)]
        return {
            "null_characters": sum("\0" in value for value in values),
            "invalid_utf8": sum(bool(re.search("[\udc80-\udcff]", value)) for value in values),
        }

    return count


def instants(column: str, convention: str, pattern: str) -> Count:
    """Count texts of one convention; whatever else is there must be unreadable to Python too."""

    def count(rows: Rows) -> Mapping[str, int]:
        found: Counter[str] = Counter()
        for row in rows:
            value = text(row[column])
            try:
                datetime.fromisoformat(value)
            except ValueError:
                found["unreadable_timestamps"] += 1
            else:
                assert re.fullmatch(pattern, value), value
                found[convention] += 1
                if convention == "timestamps_iso_offset" and "." not in value:
                    found["timestamps_without_fraction"] += 1
        return found

    return count


def sqlite_utc(column: str) -> Count:
    return instants(column, "timestamps_sqlite_utc", r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


def iso_offset(column: str) -> Count:
    return instants(
        column, "timestamps_iso_offset", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?\+00:00"
    )


def iso_local(column: str) -> Count:
    return instants(column, "timestamps_iso_local", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}")


def unix(column: str) -> Count:
    def count(rows: Rows) -> Mapping[str, int]:
        readable = sum(isinstance(row[column], float) for row in rows)
        return {"timestamps_unix": readable, "unreadable_timestamps": len(rows) - readable}

    return count


def missing(name: str, column: str) -> Count:
    return lambda rows: {name: sum(row[column] is None for row in rows)}


def where(name: str, predicate: Callable[[Row], bool]) -> Count:
    return lambda rows: {name: sum(predicate(row) for row in rows)}


def vectors(column: str, dtype: str, dims: Iterable[int]) -> Count:
    """Count what is wrong with the binary vectors of a column; NULL is not counted here."""
    width = np.dtype(dtype).itemsize
    known = {dim * width for dim in dims}

    def count(rows: Rows) -> Mapping[str, int]:
        found: Counter[str] = Counter()
        lengths = known
        for row in rows:
            if row[column] is None:
                continue
            stored = blob(row[column])
            if not stored:
                found["empty_vectors"] += 1
                continue
            if "dimension" in row:
                lengths = {width * int(str(row["dimension"]))}
            if len(stored) not in lengths:
                found["truncated_vectors"] += 1
                continue
            values = np.frombuffer(stored, dtype=dtype)
            found["zero_vectors"] += not values.any()
            found["nan_vectors"] += bool(np.isnan(values).any())
            found["infinite_vectors"] += bool(np.isinf(values).any())
        return found

    return count


def dimensions(column: str, dims: Iterable[int]) -> Count:
    def count(rows: Rows) -> Mapping[str, int]:
        sizes = Counter(len(stored) for row in rows if isinstance(stored := row[column], bytes))
        return {f"vectors_of_{dim}": sizes[4 * dim] for dim in dims}

    return count


def moved(rows: Rows) -> Mapping[str, int]:
    """Rows written twice left a gap each: the highest rowid says how many."""
    return {"reindexed_rows": max(int(str(row["rowid_"])) for row in rows) - len(rows)}


def scales(rows: Rows) -> Mapping[str, int]:
    kinds = [row["scale"] for row in rows]
    return {
        "scale_stored_as_blob": sum(
            isinstance(scale, bytes) and len(scale) == 2 for scale in kinds
        ),
        "scale_stored_as_real": sum(isinstance(scale, float) for scale in kinds),
        # 1.0 is what a vector without length gets, under any NumPy.
        "numpy_1_rows": sum(isinstance(scale, float) and scale != 1.0 for scale in kinds),
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


def repeats(name: str, *columns: str) -> Count:
    def count(rows: Rows) -> Mapping[str, int]:
        keys = Counter(tuple(row[column] for column in columns) for row in rows)
        return {name: sum(keys.values()) - len(keys)}

    return count


def template_vectors(rows: Rows) -> Mapping[str, int]:
    found: Counter[str] = Counter()
    for row in rows:
        if row["query_embedding"] is not None:
            stored = blob(row["query_embedding"]).decode()
            is_whole = is_json(stored) and len(json.loads(stored)) == 768
            found["vectors_as_json_in_blob" if is_whole else "malformed_json_vectors"] += 1
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
    moved,
)
HYBRID = (
    vectors("dense_embedding", "<f4", (1024,)),
    sparse,
    json_kinds("metadata"),
    text_kinds("content"),
    sqlite_utc("created_at"),
    missing("null_primary_keys", "doc_id"),
    moved,
)
#: How each dirty table is recounted; ``tmp/test_hybrid.db`` and ``tests/data`` are clean.
RECOUNTS: dict[str, tuple[Count, ...]] = {
    "embeddings": MIXED,
    "anchors": (where("float32_anchors", lambda row: len(blob(row["embedding"])) == 4 * 4096),),
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
        iso_offset("first_seen"),
    ),
    "documents": (missing("null_embeddings", "embedding"), text_kinds("content")),
    "content_cache": (
        where("failed_pages", lambda row: row["success"] == 0),
        text_kinds("content"),
        unix("created_at"),
        missing("null_primary_keys", "url_hash"),
    ),
    "query_cache": (
        missing("null_embeddings", "embedding"),
        vectors("embedding", "<f4", (1024, 768)),
        dimensions("embedding", (1024, 768)),
        json_kinds("result_json"),
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
        sqlite_utc("created_at"),
        moved,
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
        json_kinds("metadata"),
        text_kinds("content"),
        unix("created_at"),
    ),
    "memories": (
        missing("null_embeddings", "embedding"),
        memory_vectors,
        json_kinds("attributes"),
        text_kinds("content"),
        unix("created_at"),
    ),
}


def recount_references(path: Path, table: str, rows: Rows) -> Mapping[str, int]:
    """Count the rows whose link leads nowhere, against the table it should lead to."""
    if table == "relations":
        known = {row["id"] for row in load(path, "entities")}
        ends = [(row["source_entity_id"], row["target_entity_id"]) for row in rows]
        return {
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
        return {
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
        known = {row["doc_id"] for row in rows}
        parents = [row["parent_id"] for row in rows if row["parent_id"] is not None]
        return {"missing_parents": sum(parent not in known for parent in parents)}
    return {}


def recount(path: Path, file: FileManifest, table: str) -> dict[str, int]:
    if file.path.startswith(("tmp/", "tests/")):
        return {}
    rows = load(path, table)
    found: Counter[str] = Counter(recount_references(path, table, rows))
    name = "hybrid" if table == "documents" and "hybrid" in file.path else table
    for count in RECOUNTS.get(name, ()):
        found.update(count(rows))
    return {kind: number for kind, number in found.items() if number}
