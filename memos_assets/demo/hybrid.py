"""hsea_hybrid.db and bge_m3_hybrid.db: dense float32 vectors with sparse weights as JSON text."""

import json
import math
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from memos_assets.clustered_vectors import VectorSpace
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
from memos_assets.demo.store import DemoStore, SqlValue, batches, rowids_after_reindexing
from memos_assets.demo.texts import Code, code, sqlite_utc

LAYOUT = (
    """CREATE TABLE documents (
                doc_id TEXT PRIMARY KEY,
                content TEXT,
                dense_embedding BLOB,
                sparse_vector TEXT,
                metadata TEXT,
                created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
            )""",
    """CREATE TABLE index_stats (
                stat_key TEXT PRIMARY KEY,
                stat_value TEXT
            )""",
)

#: Only after ``save_bm25_index()``, which no live route of memOS calls.
BM25_LAYOUT = (
    """CREATE TABLE bm25_index (
                term TEXT PRIMARY KEY,
                doc_postings TEXT,  -- JSON: {doc_id: term_freq}
                doc_freq INTEGER
            )""",
    """CREATE TABLE bm25_stats (
                key TEXT PRIMARY KEY,
                value TEXT
            )""",
)

_COLUMNS = (
    "rowid",
    "doc_id",
    "content",
    "dense_embedding",
    "sparse_vector",
    "metadata",
    "created_at",
)
#: Norm of the 1024-d model as Ollama returns it; the local model's vectors have length 1.
_NORM = 25.0
_BATCH = 256
_WORD = re.compile(r"[a-z0-9][a-z0-9-]{2,}")
_STOP_WORDS = frozenset({"the", "and", "for", "that", "with", "was", "are", "not", "than", "its"})
#: The BM25 index is saved once; documents added later are not in it.
_BM25_DOCUMENTS = 3000

Family = Literal["hsea", "bge", "test"]


def write_hsea(path: Path, relative: str, seed: str, rows: Rows) -> FileManifest:
    """Write the HSEA layer: every alarm code, two sparse vocabularies, no BM25 tables."""
    shared = min(rows.hsea, rows.mixed_codes)
    return _write(path, relative, seed, "hsea", rows.hsea, LAYOUT, shared=shared)


def write_bge(path: Path, relative: str, seed: str, rows: Rows) -> FileManifest:
    """Write the file of the hybrid route: documents with raw vectors, and the BM25 tables."""
    return _write(path, relative, seed, "bge", rows.bge, (*LAYOUT, *BM25_LAYOUT))


def write_test_hybrid(path: Path, relative: str, seed: str, rows: Rows) -> FileManifest:
    """Write what a test script left behind: the hybrid layout, clean rows nobody needs."""
    return _write(path, relative, seed, "test", rows.test_documents, LAYOUT)


def _write(
    path: Path,
    relative: str,
    seed: str,
    family: Family,
    total: int,
    layout: Sequence[str],
    *,
    shared: int = 0,
) -> FileManifest:
    store = DemoStore(path, layout)
    try:
        defects = store.defects("documents", f"{seed}/{family}")
        documents = _Documents(seed, family, total, defects)
        defects.note("doc_ids_of_other_files", shared)
        store.insert("documents", _COLUMNS, documents.rows())
        store.store_bytes_as_text(
            "documents", "content", invalid_texts(documents.texts, documents.rowids)
        )
        if family == "bge":
            _write_bm25(store, seed, total, defects=store.defects("bm25_index", f"{seed}/{family}"))
        return store.finish(relative)
    finally:
        store.close()


class _Documents:
    """The rows of one ``documents`` table and where their defects are."""

    def __init__(self, seed: str, family: Family, total: int, defects: DefectPlacement) -> None:
        self._seed, self._family, self._total = seed, family, total
        clusters = max(6, total // 40)
        self._raw = VectorSpace(f"{seed}/hybrid", 1024, clusters=clusters, norm=_NORM)
        self._unit = VectorSpace(f"{seed}/bge-m3", 1024, clusters=clusters, norm=1.0)
        self._frequencies: Counter[str] = Counter()
        every = range(total)
        self._vectors: dict[int, str] = {}
        self._metadata: dict[int, str] = {}
        self.texts: dict[int, str] = {}
        self._unreadable: frozenset[int] = frozenset()
        self._no_key: frozenset[int] = frozenset()
        self._no_sparse: frozenset[int] = frozenset()
        self._local: frozenset[int] = frozenset()
        self.rowids: dict[int, int] = {}
        if family == "test":
            return
        for kind, fraction in (
            ("zero_vectors", 0.012),
            ("empty_vectors", 0.003),
            ("truncated_vectors", 0.002),
            ("torn_vectors", 0.001),
            ("nan_vectors", 0.001),
            ("infinite_vectors", 0.001),
        ):
            for index in defects.place(kind, "vector", every, share(total, fraction)):
                self._vectors[index] = kind
        self._metadata = defects.place_kinds(JSON_KINDS, "metadata", every, share(total, 0.001))
        self.texts = defects.place_kinds(TEXT_KINDS, "content", every, share(total, 0.002))
        self._unreadable = defects.place(
            "unreadable_timestamps", "created_at", every, share(total, 0.0005)
        )
        defects.note("timestamps_sqlite_utc", total - len(self._unreadable))
        self._no_sparse = defects.place("null_sparse_vectors", "sparse", every, share(total, 0.006))
        if family == "bge":
            self._no_key = defects.place("null_primary_keys", "doc_id", every, 1)
            defects.note("word_sparse_vectors", total - len(self._no_sparse))
            return
        # Codes written after the local model was installed: its vocabulary and unit vectors.
        late = range(total * 6 // 10, total)
        self._local = defects.place("token_id_sparse_vectors", "sparse", late, share(total, 0.3))
        defects.note("word_sparse_vectors", total - len(self._no_sparse) - len(self._local))
        defects.note("unit_vectors", sum(index not in self._vectors for index in self._local))
        moved = sorted(defects.place("reindexed_rows", "rowid", every, share(total, 0.03)))
        self.rowids = rowids_after_reindexing(total, moved)

    def rows(self) -> Iterator[tuple[SqlValue, ...]]:
        """Yield all rows in the order of their rowids."""
        first = [index for index in range(self._total) if index not in self.rowids]
        for order in (first, list(self.rowids)):
            for batch in batches(order, _BATCH):
                yield from self._batch(batch)

    def _batch(self, batch: Sequence[int]) -> Iterator[tuple[SqlValue, ...]]:
        abouts = [code(self._seed, index) for index in batch]
        clusters = [about.cluster for about in abouts]
        name = f"{self._family}/{batch[0]}"
        raw = self._raw.rows(clusters, name)
        # The local model answers in half precision.
        unit = self._unit.rows(clusters, name).astype(np.float16).astype(np.float32)
        for row, (index, about) in enumerate(zip(batch, abouts, strict=True)):
            is_local = index in self._local
            content = about.hsea_content if self._family == "hsea" else _prose(about)
            rowid = self.rowids.get(index, index + 1)
            yield (
                rowid,
                None if index in self._no_key else self._doc_id(about),
                text_with_defect(content, self.texts.get(index)),
                float32_with_defect(
                    unit[row] if is_local else raw[row], self._vectors.get(index), index
                ),
                self._sparse(index, content, is_local=is_local),
                json_with_defect(self._about(about), self._metadata.get(index)),
                unreadable_time(self._unreadable, index, sqlite_utc(rowid * 2 + 3600)),
            )

    def _doc_id(self, about: Code) -> str:
        return about.entity_id if self._family == "hsea" else f"doc-{about.index:04d}"

    def _about(self, about: Code) -> dict[str, object]:
        if self._family == "hsea":
            page = None if about.index % 50 == 7 else about.page
            return {"category": about.category, "page": page}
        return {"source": "manual", "page": about.page}

    def _sparse(self, index: int, content: str, *, is_local: bool) -> str | None:
        if index in self._no_sparse:
            return None
        if is_local:
            draw = random.Random(f"{self._seed}/tokens/{index}")
            ids = sorted({str(draw.randint(5, 250000)) for _ in range(20)})
            # Half-precision weights, hence the long decimals.
            weights = np.array([draw.uniform(0.02, 0.4) for _ in ids], dtype=np.float16)
            return json.dumps(dict(zip(ids, weights.tolist(), strict=True)))
        words = Counter(_words(content))
        # Words with digits are almost all unique and would make memory grow with the rows.
        self._frequencies.update(word for word in words if word.isalpha())
        seen, length = index + 2, sum(words.values())
        return json.dumps(
            {
                word: round(count / length * math.log(1 + seen / (1 + self._frequencies[word])), 6)
                for word, count in words.items()
            }
        )


def _prose(about: Code) -> str:
    return f"{about.title}. {about.cause} {about.remedy}"


def _words(content: str) -> list[str]:
    return [word for word in _WORD.findall(content.lower()) if word not in _STOP_WORDS]


def _write_bm25(store: DemoStore, seed: str, total: int, *, defects: DefectPlacement) -> None:
    postings: dict[str, dict[str, int]] = {}
    indexed = min(total, _BM25_DOCUMENTS)
    length = 0
    for index in range(indexed):
        about = code(seed, index)
        words = Counter(_words(_prose(about)))
        length += sum(words.values())
        for word, count in words.items():
            postings.setdefault(word, {})[f"doc-{index:04d}"] = count
    # A document that was added again keeps the postings of its former text.
    postings["formerly"] = {"doc-0000": 2, "doc-0001": 1}
    defects.note("stale_postings", 1)
    store.insert(
        "bm25_index",
        ("term", "doc_postings", "doc_freq"),
        ((word, json.dumps(found), len(found)) for word, found in postings.items()),
    )
    store.insert(
        "bm25_stats",
        ("key", "value"),
        (
            ("avg_doc_length", str(length / indexed)),
            ("k1", "1.5"),
            ("b", "0.75"),
            ("doc_count", str(indexed)),
        ),
    )
