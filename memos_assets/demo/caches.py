"""content_cache.db and scratchpad_cache.db: what memOS kept to save itself a request."""

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from memos_assets.clustered_vectors import VectorSpace, digest
from memos_assets.demo.defects import (
    JSON_KINDS,
    TEXT_KINDS,
    DefectPlacement,
    float32_with_defect,
    invalid_texts,
    json_with_defect,
    share,
    text_with_defect,
    unreadable_time,
)
from memos_assets.demo.manifest import FileManifest
from memos_assets.demo.scales import Rows
from memos_assets.demo.store import DemoStore, SqlValue, batches
from memos_assets.demo.texts import BASE_UNIX, code, iso_local

CONTENT_LAYOUT = (
    """CREATE TABLE content_cache (
                        url_hash TEXT PRIMARY KEY,
                        url TEXT NOT NULL,
                        title TEXT,
                        content TEXT,
                        content_type TEXT,
                        content_hash TEXT,
                        success INTEGER,
                        error TEXT,
                        created_at REAL,
                        expires_at REAL,
                        hit_count INTEGER DEFAULT 0
                    )""",
    """CREATE TABLE query_cache (
                        query_hash TEXT PRIMARY KEY,
                        query TEXT NOT NULL,
                        result_json TEXT,
                        embedding BLOB,
                        created_at REAL,
                        expires_at REAL,
                        hit_count INTEGER DEFAULT 0
                    )""",
    """CREATE INDEX idx_content_expires
                    ON content_cache(expires_at)
                """,
    """CREATE INDEX idx_query_expires
                    ON query_cache(expires_at)
                """,
)

SCRATCHPAD_LAYOUT = (
    """CREATE TABLE findings (
                content_hash TEXT PRIMARY KEY,
                content TEXT NOT NULL,
                source_url TEXT,
                confidence REAL,
                embedding BLOB,
                cached_at TEXT,
                access_count INTEGER DEFAULT 0
            )""",
    """CREATE TABLE subqueries (
                query_hash TEXT PRIMARY KEY,
                query TEXT NOT NULL,
                answer TEXT NOT NULL,
                sources TEXT,  -- JSON array
                confidence REAL,
                cached_at TEXT,
                access_count INTEGER DEFAULT 0
            )""",
    """CREATE TABLE missions (
                mission_hash TEXT PRIMARY KEY,
                mission TEXT NOT NULL,
                sub_questions TEXT,  -- JSON array
                cached_at TEXT,
                success_rate REAL DEFAULT 0.0
            )""",
    "CREATE INDEX idx_findings_cached_at ON findings(cached_at)",
    "CREATE INDEX idx_subqueries_cached_at ON subqueries(cached_at)",
)

#: A file from before the semantic cache: memOS adds the column when it opens the file, at the end.
_ADD_EMBEDDING = "ALTER TABLE query_cache ADD COLUMN embedding BLOB"
_CONTENT_TYPES = ("html", "html", "pdf", "docling_enhanced", "vl_extracted", "fallback_chain:curl")
_BATCH = 256


def write_content_cache(path: Path, relative: str, seed: str, rows: Rows) -> FileManifest:
    """Write the scraper's cache; every row of it expired minutes after the last request."""
    layout = [
        statement.replace("                        embedding BLOB,\n", "")
        for statement in CONTENT_LAYOUT
    ]
    store = DemoStore(path, layout)
    try:
        store.execute(_ADD_EMBEDDING)
        _write_pages(store, seed, rows.pages)
        queries = _Queries(seed, rows.queries, store.defects("query_cache", f"{seed}/content"))
        store.insert(
            "query_cache",
            (
                "query_hash",
                "query",
                "result_json",
                "embedding",
                "created_at",
                "expires_at",
                "hit_count",
            ),
            queries.rows(),
        )
        return store.finish(relative)
    finally:
        store.close()


def _write_pages(store: DemoStore, seed: str, total: int) -> None:
    defects = store.defects("content_cache", f"{seed}/content")
    every = range(total)
    failed = defects.place("failed_pages", "content", every, share(total, 0.08))
    texts = defects.place_kinds(TEXT_KINDS, "content", every, share(total, 0.004))
    unreadable = defects.place("unreadable_timestamps", "created_at", every, share(total, 0.002))
    no_key = defects.place("null_primary_keys", "url_hash", every, 1)
    defects.note("timestamps_unix", total - len(unreadable))
    defects.note("expired_rows", total)

    def rows() -> Iterator[tuple[SqlValue, ...]]:
        for index in every:
            about = code(seed, index)
            draw = random.Random(f"{seed}/page/{index}")
            is_failed = index in failed
            text = f"{about.cause}\n{about.remedy}" * draw.randint(4, 40)
            content = "" if is_failed else text_with_defect(text, texts.get(index))
            url = f"https://site{index % 23}.example/{about.entity_id}?q={index}"
            created = BASE_UNIX + index * 420.25 + 0.00914
            yield (
                None if index in no_key else digest("url", url, length=32),
                url,
                "" if is_failed else about.title,
                content,
                ("error", "skipped")[index % 2]
                if is_failed
                else _CONTENT_TYPES[index % len(_CONTENT_TYPES)],
                "" if is_failed else digest(content, length=32),
                0 if is_failed else 1,
                "HTTP 503" if is_failed and index % 2 == 0 else None,
                "n/a" if index in unreadable else created,
                created + draw.randint(3240, 3960),
                draw.randrange(3),
            )

    columns = (
        "url_hash",
        "url",
        "title",
        "content",
        "content_type",
        "content_hash",
        "success",
        "error",
        "created_at",
        "expires_at",
        "hit_count",
    )
    store.insert("content_cache", columns, rows())
    store.store_bytes_as_text("content_cache", "content", invalid_texts(texts, {}))


class _Queries:
    """The rows of ``query_cache``: unit vectors of two models, some missing, some zero."""

    def __init__(self, seed: str, total: int, defects: DefectPlacement) -> None:
        clusters = max(6, total // 40)
        self._seed, self._total = seed, total
        self._spaces = {
            dim: VectorSpace(f"{seed}/queries", dim, clusters=clusters, norm=1.0)
            for dim in (1024, 768)
        }
        every = range(total)
        missing = defects.place("null_embeddings", "vector", every, share(total, 0.12))
        zero = defects.place("zero_vectors", "vector", every, share(total, 0.03))
        later = range(total * 2 // 3, total)
        small = defects.place("vectors_of_768", "vector", later, share(total, 0.15))
        defects.note("vectors_of_1024", total - len(missing) - len(small) - len(zero))
        self._missing, self._zero, self._small = missing, zero, small
        self._json = defects.place_kinds(JSON_KINDS, "result_json", every, share(total, 0.004))
        defects.note("timestamps_unix", total)
        defects.note("expired_rows", total)

    def rows(self) -> Iterator[tuple[SqlValue, ...]]:
        """Yield all rows."""
        for batch in batches(range(self._total), _BATCH):
            clusters = [code(self._seed, index).cluster for index in batch]
            vectors = {
                dim: space.rows(clusters, f"cache/{batch[0]}")
                for dim, space in self._spaces.items()
            }
            for row, index in enumerate(batch):
                vector = vectors[768 if index in self._small else 1024][row]
                kind = "zero_vectors" if index in self._zero else None
                query = f"How do I clear {code(self._seed, index).canonical_form}  on axis 2?"
                created = BASE_UNIX + 125000 + index * 300.175 + 0.33
                yield (
                    digest("query", " ".join(query.lower().split()), length=32),
                    query,
                    self._result(index, query),
                    None if index in self._missing else float32_with_defect(vector, kind, index),
                    created,
                    created + 811 + index * 37 % 177,
                    int(index % 7 == 0),
                )

    def _result(self, index: int, query: str) -> str:
        about = code(self._seed, index)
        source = {"url": "https://a.example", "title": about.title, "snippet": about.cause[:80]}
        return json_with_defect(
            {
                "success": True,
                "data": {
                    "synthesized_context": about.remedy,
                    "sources": [source],
                    "search_queries": [query],
                    "search_trace": [{"step": 1, "found": index % 5}],
                    "confidence_score": 0.5 + index % 40 / 100,
                    "confidence_level": "medium",
                },
            },
            self._json.get(index),
        )


def write_scratchpad(path: Path, relative: str, seed: str, rows: Rows) -> FileManifest:
    """Write the scratchpad: naive local times, no embeddings, questions in two shapes."""
    store = DemoStore(path, SCRATCHPAD_LAYOUT)
    try:
        _write_findings(store, seed, rows.findings)
        _write_subqueries(store, seed, rows.findings // 4)
        _write_missions(store, seed, range(rows.findings // 4))
        return store.finish(relative)
    finally:
        store.close()


def _write_findings(store: DemoStore, seed: str, total: int) -> None:
    defects = store.defects("findings", f"{seed}/scratchpad")
    every = range(1, total)
    texts = defects.place_kinds(TEXT_KINDS, "content", every, share(total, 0.004))
    unreadable = defects.place("unreadable_timestamps", "cached_at", every, share(total, 0.01))
    no_key = defects.place("null_primary_keys", "content_hash", every, 1)
    defects.note("timestamps_iso_local", total - len(unreadable))
    defects.note("null_embeddings", total)
    defects.note("empty_contents", 1)

    def rows() -> Iterator[tuple[SqlValue, ...]]:
        for index in range(total):
            about = code(seed, index)
            content = (
                text_with_defect(f"{about.title}: {about.cause}", texts.get(index)) if index else ""
            )
            # What sha256 makes of the empty text memOS accepts.
            key = digest("finding", index, length=16) if index else "e3b0c44298fc1c14"
            yield (
                None if index in no_key else key,
                content,
                f"https://site{index % 15}.example/{index}" if index % 3 else "",
                0.5 + index % 50 / 100,
                unreadable_time(unreadable, index, iso_local(index * 157.411001 + 0.441185)),
            )

    store.insert(
        "findings", ("content_hash", "content", "source_url", "confidence", "cached_at"), rows()
    )
    store.store_bytes_as_text("findings", "content", invalid_texts(texts, {}))


def _write_subqueries(store: DemoStore, seed: str, total: int) -> None:
    def rows() -> Iterator[tuple[SqlValue, ...]]:
        for index in range(total):
            about = code(seed, index)
            yield (
                digest("subquery", index, length=16),
                f"Is {about.canonical_form} related to {about.topic}?",
                about.remedy,
                json.dumps([f"https://s{index}.example"] if index % 2 else []),
                0.7 + index % 30 / 100,
                iso_local(40000 + index * 1.507 + 0.841185),
                index % 2,
            )

    store.defects("subqueries", f"{seed}/scratchpad").note("timestamps_iso_local", total)
    store.insert(
        "subqueries",
        ("query_hash", "query", "answer", "sources", "confidence", "cached_at", "access_count"),
        rows(),
    )


def _write_missions(store: DemoStore, seed: str, every: Sequence[int]) -> None:
    defects = store.defects("missions", f"{seed}/scratchpad")
    defects.note("questions_as_objects", sum(index % 3 == 0 for index in every))
    defects.note("timestamps_iso_local", len(every))

    def rows() -> Iterator[tuple[SqlValue, ...]]:
        for index in every:
            questions: list[object] = ["What triggers it?", "How is it cleared?"]
            if index % 3 == 0:
                questions = [{"question": "q", "criteria": "c", "priority": 1}]
            yield (
                digest("mission", index, length=16),
                f"Why does {code(seed, index).canonical_form} come back?",
                json.dumps(questions),
                iso_local(50000 + index * 1.507 + 0.541210),
                0.5,
            )

    store.insert(
        "missions",
        ("mission_hash", "mission", "sub_questions", "cached_at", "success_rate"),
        rows(),
    )
