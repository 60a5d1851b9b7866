"""mixed_precision_embeddings.db: fp16 vectors with the columns memOS derives from them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from memos_assets.clustered_vectors import VectorSpace, digest, quantise
from memos_assets.demo.defects import (
    JSON_KINDS,
    TEXT_KINDS,
    DefectPlacement,
    invalid_texts,
    json_with_defect,
    share,
    text_with_defect,
    torn,
    truncated,
    unreadable_time,
)
from memos_assets.demo.manifest import FileManifest
from memos_assets.demo.scales import Rows
from memos_assets.demo.store import DemoStore, SqlValue, batches, rowids_after_reindexing
from memos_assets.demo.texts import code, sqlite_utc

#: As memOS creates the file since 2025-12-27.
LAYOUT = (
    """CREATE TABLE embeddings (
                    doc_id TEXT PRIMARY KEY,
                    binary_data BLOB,
                    int8_data BLOB,
                    fp16_data BLOB,
                    scale REAL DEFAULT 1.0,
                    zero_point INTEGER DEFAULT 0,
                    dimension INTEGER,
                    model_tag TEXT,
                    residual_data BLOB,
                    content TEXT,
                    metadata TEXT,
                    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
                )""",
    """CREATE TABLE anchors (
                    category TEXT PRIMARY KEY,
                    embedding BLOB,
                    dimension INTEGER,
                    model_tag TEXT,
                    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
                )""",
    """CREATE INDEX idx_embeddings_created
                ON embeddings(created_at)
            """,
    """CREATE INDEX idx_embeddings_dimension
                ON embeddings(dimension)
            """,
)

#: As memOS created it before: no ``model_tag`` in either table, no index on the dimension.
ARCHIVE_LAYOUT = (
    *(statement.replace("                    model_tag TEXT,\n", "") for statement in LAYOUT[:2]),
    LAYOUT[2],
)

_COLUMNS = (
    "rowid",
    "doc_id",
    "binary_data",
    "int8_data",
    "fp16_data",
    "scale",
    "zero_point",
    "dimension",
    "residual_data",
    "content",
    "metadata",
    "created_at",
)
#: Norm of qwen3-embedding:8b as Ollama returns it.
_NORM = 124.0
_BATCH = 128


def write_mixed(path: Path, relative: str, seed: str, rows: Rows) -> FileManifest:
    """Write the file the server uses: HSEA codes, search results, and two smaller models' rows."""
    families = (
        ("code", rows.mixed_codes, 4096),
        ("search", rows.mixed_search, 4096),
        ("medium", rows.mixed_medium, 2560),
        ("fast", rows.mixed_fast, 1024),
    )
    return _write(path, relative, f"{seed}/mixed", seed, LAYOUT, families)


def write_mixed_archive(path: Path, relative: str, seed: str, rows: Rows) -> FileManifest:
    """Write a file of the older layout, all 4096-d codes."""
    families = (("code", rows.mixed_archive, 4096),)
    return _write(path, relative, f"{seed}/archive", seed, ARCHIVE_LAYOUT, families)


def _write(
    path: Path,
    relative: str,
    seed: str,
    texts_seed: str,
    layout: Sequence[str],
    families: Sequence[tuple[str, int, int]],
) -> FileManifest:
    store = DemoStore(path, layout)
    try:
        defects = store.defects("embeddings", seed)
        writer = _Embeddings(seed, texts_seed, families, defects)
        store.insert("embeddings", _COLUMNS, writer.rows())
        store.store_bytes_as_text(
            "embeddings", "content", invalid_texts(writer.texts, writer.rowids)
        )
        for name, count in sorted(writer.seen.items()):
            defects.note(name, count)
        tags = "null_model_tags" if layout is LAYOUT else "absent_model_tags"
        defects.note(tags, sum(count for _, count, _ in families))
        store.insert(
            "anchors",
            ("category", "embedding", "dimension", "created_at"),
            writer.anchors(store.defects("anchors", seed)),
        )
        return store.finish(relative)
    finally:
        store.close()


class _Embeddings:
    """The rows of one ``embeddings`` table and where their defects are."""

    def __init__(
        self,
        seed: str,
        texts_seed: str,
        families: Sequence[tuple[str, int, int]],
        defects: DefectPlacement,
    ) -> None:
        total = sum(count for _, count, _ in families)
        codes = families[0][1]
        self._seed, self._texts_seed, self._families = seed, texts_seed, families
        self._spaces = {
            dim: VectorSpace(f"{texts_seed}/qwen3", dim, clusters=max(6, codes // 40), norm=_NORM)
            for dim in {dim for _, _, dim in families}
        }
        every = range(total)
        self._vectors = {
            index: kind
            for kind, fraction in (
                ("zero_vectors", 0.015),
                ("truncated_vectors", 0.002),
                ("torn_vectors", 0.001),
                ("nan_vectors", 0.001),
                ("infinite_vectors", 0.001),
            )
            for index in sorted(
                defects.place(kind, "vector", every, share(total, fraction, least=2))
            )
        }
        self._numpy_1 = defects.place(
            "numpy_1_rows", "vector", range(codes * 3 // 10), share(codes, 0.15)
        )
        self._bare = defects.place("null_residuals", "residual", every, share(total, 0.01))
        self._metadata = defects.place_kinds(JSON_KINDS, "metadata", every, share(total, 0.001))
        self.texts = defects.place_kinds(TEXT_KINDS, "content", every, share(total, 0.002))
        self._unreadable = defects.place(
            "unreadable_timestamps", "created_at", every, share(total, 0.0005)
        )
        defects.note("timestamps_sqlite_utc", total - len(self._unreadable))
        self._no_key = defects.place("null_primary_keys", "doc_id", range(codes, total), 1)
        moved = sorted(defects.place("reindexed_rows", "rowid", range(codes), share(codes, 0.03)))
        self.rowids = rowids_after_reindexing(total, moved)
        #: Classes that are read off the finished rows.
        self.seen: dict[str, int] = {}

    def rows(self) -> Iterator[tuple[SqlValue, ...]]:
        """Yield all rows in the order of their rowids."""
        start = 0
        for family, count, dim in self._families:
            indices = [index for index in range(start, start + count) if index not in self.rowids]
            for batch in batches(indices, _BATCH):
                yield from self._batch(family, dim, start, batch)
            start += count
        for batch in batches(list(self.rowids), _BATCH):
            yield from self._batch("code", self._families[0][2], 0, batch)

    def _batch(
        self, family: str, dim: int, start: int, batch: Sequence[int]
    ) -> Iterator[tuple[SqlValue, ...]]:
        clusters = [code(self._texts_seed, index - start).cluster for index in batch]
        vectors = self._spaces[dim].rows(clusters, f"{self._seed}/{batch[0]}").astype(np.float16)
        for row, index in enumerate(batch):
            kind = self._vectors.get(index)
            if kind == "zero_vectors":
                vectors[row] = 0
            elif kind in ("nan_vectors", "infinite_vectors"):
                vectors[row, index % dim] = np.nan if kind == "nan_vectors" else np.inf
        derived = quantise(vectors, np.array([index in self._numpy_1 for index in batch]))
        for row, index in enumerate(batch):
            fp16 = vectors[row].tobytes()
            if self._vectors.get(index) == "truncated_vectors":
                fp16 = truncated(fp16, index)
            elif self._vectors.get(index) == "torn_vectors":
                fp16 = torn(fp16)
            scale = derived.scale[row]
            self._saw(
                "scale_stored_as_blob" if isinstance(scale, bytes) else "scale_stored_as_real"
            )
            self._saw(f"vectors_of_{dim}")
            doc_id, content, metadata = self._describe(family, index - start)
            yield (
                self.rowids.get(index, index + 1),
                None if index in self._no_key else doc_id,
                derived.binary[row].tobytes(),
                derived.int8[row].tobytes(),
                fp16,
                scale,
                0,
                dim,
                None if index in self._bare else derived.residual[row].tobytes(),
                text_with_defect(content, self.texts.get(index)),
                json_with_defect(metadata, self._metadata.get(index)),
                unreadable_time(self._unreadable, index, sqlite_utc(self._seconds(index))),
            )

    def _seconds(self, index: int) -> int:
        return self.rowids.get(index, index + 1) * 2

    def _saw(self, name: str) -> None:
        self.seen[name] = self.seen.get(name, 0) + 1

    def _describe(self, family: str, number: int) -> tuple[str, str, dict[str, object]]:
        about = code(self._texts_seed, number)
        if family == "code":
            return (
                about.entity_id,
                about.hsea_content,
                {
                    "canonical_form": about.canonical_form,
                    "category": about.category,
                    "severity": about.severity,
                    "code_number": about.number,
                },
            )
        if family == "search":
            request = digest(self._seed, "request", number // 15, length=8)
            return (
                f"{request}_{number % 15}",
                f"{about.cause[:90]} ...",
                {
                    "url": f"https://forum{number % 3}.example/t/{number // 15}-{number % 15}",
                    "title": f"{about.title} discussion {number % 15}",
                },
            )
        return f"{family}_{about.entity_id}", about.cause, {"category": about.category}

    def anchors(self, defects: DefectPlacement) -> Iterator[tuple[SqlValue, ...]]:
        """Yield means of eight examples per category; three were registered otherwise."""
        dim = self._families[0][2]
        categories = ("srvo", "syst", "host", "motn", "intp", "tpif", "prio", "file", "comm")
        odd = {0: "float32_anchors", 1: "float64_anchors", 2: "zero_vectors"}
        for name in odd.values():
            defects.note(name, 1)
        for order, category in enumerate(categories):
            examples = self._spaces[dim].rows([order * 10] * 8, f"anchor/{category}")
            mean = examples.mean(axis=0)
            mean /= np.linalg.norm(mean)
            kept = mean.astype({0: np.float32, 1: np.float64}.get(order, np.float16))
            if odd.get(order) == "zero_vectors":
                # Beyond float16 the norm is infinite, and every quotient zero, of either sign.
                kept = kept / np.float16(np.inf)
            yield category, kept.tobytes(), dim, sqlite_utc(order)
