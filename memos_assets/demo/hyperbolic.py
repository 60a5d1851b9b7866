"""hyperbolic_embeddings.db: each document twice, as it was embedded and in the Poincaré ball."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from memos_assets.clustered_vectors import VectorSpace
from memos_assets.demo.defects import (
    JSON_KINDS,
    TEXT_KINDS,
    invalid_texts,
    json_with_defect,
    share,
    text_with_defect,
)
from memos_assets.demo.manifest import FileManifest
from memos_assets.demo.scales import Rows
from memos_assets.demo.store import DemoStore, SqlValue, batches
from memos_assets.demo.texts import BASE_UNIX, code

LAYOUT = (
    """CREATE TABLE hyperbolic_documents (
                doc_id TEXT PRIMARY KEY,
                content TEXT NOT NULL,
                euclidean_embedding BLOB NOT NULL,
                hyperbolic_embedding BLOB NOT NULL,
                hierarchy_level INTEGER DEFAULT 5,
                parent_id TEXT,
                depth REAL DEFAULT 0.0,
                metadata TEXT,
                created_at REAL NOT NULL,
                updated_at REAL NOT NULL
            )""",
    """CREATE INDEX idx_hierarchy_level
            ON hyperbolic_documents(hierarchy_level)
        """,
    """CREATE INDEX idx_parent_id
            ON hyperbolic_documents(parent_id)
        """,
)

_COLUMNS = (
    "doc_id",
    "content",
    "euclidean_embedding",
    "hyperbolic_embedding",
    "hierarchy_level",
    "parent_id",
    "depth",
    "metadata",
    "created_at",
    "updated_at",
)
_LEVELS = 6
_BATCH = 128


def write_hyperbolic(path: Path, relative: str, seed: str, rows: Rows) -> FileManifest:
    """Write the hierarchy: chains from a corpus (level 0) to a step (level 5)."""
    store = DemoStore(path, LAYOUT)
    try:
        _write_documents(store, seed, rows.hyperbolic)
        return store.finish(relative)
    finally:
        store.close()


def _write_documents(store: DemoStore, seed: str, total: int) -> None:
    defects = store.defects("hyperbolic_documents", f"{seed}/hyperbolic")
    every = range(total)
    below = [index for index in every if index % _LEVELS]
    orphans = defects.place("missing_parents", "parent_id", below, share(total, 0.02))
    numpy_1 = defects.place("depth_stored_as_real", "depth", range(total // 2), share(total, 0.2))
    defects.note("depth_stored_as_blob", total - len(numpy_1))
    metadata = defects.place_kinds(JSON_KINDS, "metadata", every, share(total, 0.004))
    texts = defects.place_kinds(TEXT_KINDS, "content", every, share(total, 0.004))
    defects.note("timestamps_unix", total)
    padded = defects.place("padded_vectors", "euclidean", every, share(total, 0.05))
    space = VectorSpace(f"{seed}/hyperbolic", 768, clusters=max(6, total // 40), norm=25.0)

    def rows() -> Iterator[tuple[SqlValue, ...]]:
        for batch in batches(every, _BATCH):
            abouts = [code(seed, index) for index in batch]
            vectors = space.rows([about.cluster for about in abouts], f"hyperbolic/{batch[0]}")
            for row, (index, about) in enumerate(zip(batch, abouts, strict=True)):
                level = index % _LEVELS
                # As in memOS's rows: the level sets the radius, the radius sets the depth.
                radius = np.float32(np.tanh(0.1 + 0.16 * level))
                depth = np.float32(np.tanh(2 * radius))
                if index in padded:
                    vectors[row][512:] = 0
                inside = vectors[row] * (radius / np.linalg.norm(vectors[row]))
                parent = f"node-{index - 1:03d}" if level else None
                created = BASE_UNIX + 2100000 + index * 0.137409
                yield (
                    f"node-{index:03d}",
                    text_with_defect(f"{about.title}. {about.cause}", texts.get(index)),
                    vectors[row].tobytes(),
                    inside.astype(np.float32).tobytes(),
                    level,
                    f"node-gone-{index:03d}" if index in orphans else parent,
                    float(depth) if index in numpy_1 else depth.tobytes(),
                    json_with_defect({"page": index}, metadata.get(index)),
                    created,
                    created,
                )

    store.insert("hyperbolic_documents", _COLUMNS, rows())
    store.store_bytes_as_text("hyperbolic_documents", "content", invalid_texts(texts, {}))
