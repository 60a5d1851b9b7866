"""meta_buffer.db: distilled query templates, whose vectors are JSON text inside a BLOB."""

import json
from collections.abc import Iterator
from pathlib import Path

from memos_assets.clustered_vectors import VectorSpace, digest
from memos_assets.demo.defects import (
    TEXT_KINDS,
    invalid_texts,
    share,
    text_with_defect,
    unreadable_time,
)
from memos_assets.demo.manifest import FileManifest
from memos_assets.demo.scales import Rows
from memos_assets.demo.store import DemoStore, SqlValue, batches
from memos_assets.demo.texts import BASE_UNIX, code, iso_offset

LAYOUT = (
    """CREATE TABLE templates (
                id TEXT PRIMARY KEY,
                template_type TEXT NOT NULL,
                query_pattern TEXT NOT NULL,
                query_embedding BLOB,
                structure TEXT NOT NULL,
                example_queries TEXT,
                example_outcomes TEXT,
                domain_hints TEXT,
                complexity_min TEXT,
                complexity_max TEXT,
                usage_count INTEGER DEFAULT 0,
                success_count INTEGER DEFAULT 0,
                avg_confidence REAL DEFAULT 0.0,
                avg_execution_time_ms INTEGER DEFAULT 0,
                created_at TEXT NOT NULL,
                updated_at TEXT NOT NULL,
                last_used_at TEXT
            )""",
    """CREATE INDEX idx_template_type
            ON templates(template_type)
        """,
    """CREATE INDEX idx_success_rate
            ON templates(success_count, usage_count)
        """,
)

_COLUMNS = (
    "id",
    "template_type",
    "query_pattern",
    "query_embedding",
    "structure",
    "example_queries",
    "example_outcomes",
    "domain_hints",
    "complexity_min",
    "complexity_max",
    "usage_count",
    "success_count",
    "avg_confidence",
    "avg_execution_time_ms",
    "created_at",
    "updated_at",
    "last_used_at",
)
#: memOS generalises a date in a query to this expression.
_DATE = r"\d{4}[-/]\d{2}[-/]\d{2}"
_BATCH = 128


def write_meta_buffer(path: Path, relative: str, seed: str, rows: Rows) -> FileManifest:
    """Write the buffer: unit vectors of 768 numbers, as text of about 17 KB in a BLOB column."""
    store = DemoStore(path, LAYOUT)
    try:
        _write_templates(store, seed, rows.templates)
        return store.finish(relative)
    finally:
        store.close()


def _write_templates(store: DemoStore, seed: str, total: int) -> None:
    defects = store.defects("templates", f"{seed}/meta")
    every = range(total)
    missing = defects.place("null_embeddings", "vector", every, share(total, 0.15))
    cut = defects.place("malformed_json_vectors", "vector", every, share(total, 0.008))
    defects.note("vectors_as_json_in_blob", total - len(missing) - len(cut))
    outcomes = defects.place_kinds(
        ("json_nan", "json_infinity", "malformed_json"),
        "example_outcomes",
        every,
        share(total, 0.008),
    )
    texts = defects.place_kinds(TEXT_KINDS, "structure", every, share(total, 0.008))
    unreadable = defects.place("unreadable_timestamps", "created_at", every, share(total, 0.008))
    defects.note("timestamps_iso_offset", total - len(unreadable))
    unused = defects.place("never_used_templates", "last_used_at", every, share(total, 0.14))
    space = VectorSpace(f"{seed}/meta", 768, clusters=max(6, total // 40), norm=1.0)

    def rows() -> Iterator[tuple[SqlValue, ...]]:
        for batch in batches(every, _BATCH):
            abouts = [code(seed, index) for index in batch]
            vectors = space.rows([about.cluster for about in abouts], f"meta/{batch[0]}")
            for row, (index, about) in enumerate(zip(batch, abouts, strict=True)):
                pattern = (
                    rf"how to fix {about.canonical_form.lower()} on \d{{4}}[-/]\d{{2}}[-/]\d{{2}}"
                )
                query = f"How to fix {about.canonical_form} on 2025-12-{1 + index % 28:02d}"
                text = json.dumps(vectors[row].tolist())
                if index not in missing | cut and len(text) % 4 == 0:
                    defects.note("json_vectors_of_float32_length", 1)
                seconds = index * 2400 + 0.37738
                created = unreadable_time(unreadable, index, iso_offset(seconds))
                yield (
                    f"distilled_{digest(seed, index, length=8)}_{int(BASE_UNIX + seconds)}",
                    "query_decomposition",
                    pattern,
                    None
                    if index in missing
                    else (text[: len(text) // 2] if index in cut else text).encode(),
                    text_with_defect(_structure(query), texts.get(index)),
                    json.dumps([query]),
                    _outcomes(index, outcomes.get(index)),
                    '["technical_qa", "documentation"]',
                    "simple",
                    "complex",
                    index % 6,
                    index % 4,
                    0.75 + index % 20 / 100,
                    900 + index * 7 % 300,
                    created,
                    iso_offset(seconds + 116000.824013),
                    None if index in unused else iso_offset(seconds + 116000.961013),
                )

    store.insert("templates", _COLUMNS, rows())
    store.store_bytes_as_text("templates", "structure", invalid_texts(texts, {}))


def _structure(query: str) -> str:
    return (
        f"Query Decomposition Template\n\nFor queries similar to: {query}\n\n"
        "## Decomposition Pattern\n{query} should be broken into:\n\n1. What is {error_code}?\n"
        "2. Which part?\n\n## Search Strategy\nRecommended queries:\n- {error_code} remedy\n"
    )


def _outcomes(index: int, kind: str | None) -> str:
    confidence = {"json_nan": float("nan"), "json_infinity": float("inf")}.get(
        kind or "", 0.75 + index % 25 / 100
    )
    outcome = {
        "confidence": confidence,
        "sources_count": 2,
        "execution_time_ms": 1200 + index,
    }
    text = json.dumps([outcome])
    return text[:-2] if kind == "malformed_json" else text
