"""semantic_memory.db: memories with vectors as JSON text, and connections that may lead nowhere."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from memos_assets.clustered_vectors import VectorSpace, digest
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
    """CREATE TABLE memories (
                id TEXT PRIMARY KEY,
                memory_type TEXT NOT NULL,
                content TEXT NOT NULL,
                attributes TEXT,
                embedding TEXT,
                created_at REAL NOT NULL,
                access_count INTEGER DEFAULT 0,
                last_accessed REAL NOT NULL
            )""",
    """CREATE TABLE connections (
                source_id TEXT NOT NULL,
                target_id TEXT NOT NULL,
                connection_type TEXT NOT NULL,
                strength REAL DEFAULT 0.5,
                bidirectional INTEGER DEFAULT 1,
                metadata TEXT,
                PRIMARY KEY (source_id, target_id),
                FOREIGN KEY (source_id) REFERENCES memories(id),
                FOREIGN KEY (target_id) REFERENCES memories(id)
            )""",
    """CREATE INDEX idx_memories_type ON memories(memory_type)
        """,
    """CREATE INDEX idx_connections_source ON connections(source_id)
        """,
)

#: Model dimension and norm as Ollama returns them: mxbai-embed-large, nomic-embed-text.
_MODELS = {1024: 14.0, 768: 23.5}
_TYPES = ("finding", "entity", "finding", "observation", "question")
_EDGES = 3
_BATCH = 128


def write_semantic_memory(path: Path, relative: str, seed: str, rows: Rows) -> FileManifest:
    """Write the network; every edge goes from a younger memory to an older or a deleted one."""
    store = DemoStore(path, LAYOUT)
    try:
        _write_memories(store, seed, rows.memories)
        _write_connections(store, seed, rows.memories)
        return store.finish(relative)
    finally:
        store.close()


def _memory_id(seed: str, index: int) -> str:
    return digest(seed, "memory", index, length=12)


def _write_memories(store: DemoStore, seed: str, total: int) -> None:
    defects = store.defects("memories", f"{seed}/semantic")
    every = range(total)
    missing = defects.place("null_embeddings", "vector", every, share(total, 0.06))
    nomic = defects.place("vectors_of_768", "vector", range(total // 2, total), share(total, 0.1))
    defects.note("vectors_of_1024", total - len(missing) - len(nomic))
    defects.note("vectors_as_json_text", total - len(missing))
    attributes = defects.place_kinds(JSON_KINDS, "attributes", every, share(total, 0.004))
    texts = defects.place_kinds(TEXT_KINDS, "content", every, share(total, 0.004))
    defects.note("timestamps_unix", total)
    clean = [index for index in range(total // 2) if index not in texts]
    later = range(total // 2, total)
    repeated = sorted(defects.place("repeated_memories", "content", later, share(total, 0.08)))
    models = dict(zip(repeated, clean, strict=False))
    spaces = {
        dim: VectorSpace(f"{seed}/semantic", dim, clusters=max(6, total // 40), norm=norm)
        for dim, norm in _MODELS.items()
    }

    def rows() -> Iterator[tuple[SqlValue, ...]]:
        for batch in batches(every, _BATCH):
            abouts = [code(seed, models.get(index, index)) for index in batch]
            clusters = [about.cluster for about in abouts]
            vectors = {
                dim: space.rows(clusters, f"semantic/{batch[0]}") for dim, space in spaces.items()
            }
            for row, (index, about) in enumerate(zip(batch, abouts, strict=True)):
                kind = _TYPES[models.get(index, index) % len(_TYPES)]
                query = f"how to fix {about.canonical_form}"
                content = (
                    f"{about.canonical_form}: {about.title}. {about.cause}"
                    if kind == "entity"
                    else f"Query: {query}\nSynthesis: {about.cause} {about.remedy}"
                )
                known: dict[str, object] = (
                    {
                        "error_code": about.canonical_form,
                        "category": about.category,
                        "related_codes": [f"{about.category}-{about.number + 1:03d}"],
                    }
                    if kind == "entity"
                    else {
                        "query": query,
                        "confidence": 0.75 + index % 25 / 100,
                        "query_type": "research",
                    }
                )
                vector = vectors[768 if index in nomic else 1024][row]
                created = BASE_UNIX + 200000 + index * 643.125 + 0.1042185
                yield (
                    _memory_id(seed, index),
                    kind,
                    text_with_defect(content, texts.get(index)),
                    json_with_defect(known, attributes.get(index)),
                    None if index in missing else json.dumps(vector.tolist()),
                    created,
                    index % 7,
                    created + index % 7 * 86400.137,
                )

    columns = (
        "id",
        "memory_type",
        "content",
        "attributes",
        "embedding",
        "created_at",
        "access_count",
        "last_accessed",
    )
    store.insert("memories", columns, rows())
    store.store_bytes_as_text("memories", "content", invalid_texts(texts, {}))


def _edges(total: int) -> Iterator[tuple[int, int]]:
    """Yield (source, target), the source always the younger."""
    for source in range(1, total):
        for back in range(1, min(source, _EDGES) + 1):
            yield source, source - back


def _write_connections(store: DemoStore, seed: str, memories: int) -> None:
    defects = store.defects("connections", f"{seed}/semantic")
    edges = list(_edges(memories))
    total = len(edges)
    rejected = store.defects("memories", f"{seed}/semantic").rejected
    unsound = {index for index, ends in enumerate(edges) if not rejected.isdisjoint(ends)}
    # Consolidation in a second process deleted what this one still links to.
    sound = [index for index in range(total) if index not in unsound]
    dangling = defects.place("dangling_targets", "target_id", sound, share(total, 0.2))
    defects.note("links_to_rejected_rows", len(unsound))
    defects.note("forward_only_edges", total)

    def rows() -> Iterator[Sequence[SqlValue]]:
        for index, (source, target) in enumerate(edges):
            is_explicit = index % 11 == 0
            yield (
                _memory_id(seed, source),
                digest(seed, "consolidated", index, length=12)
                if index in dangling
                else _memory_id(seed, target),
                ("reference", "supports")[index % 2] if is_explicit else "semantic",
                0.9 if is_explicit else 0.7 + index * 0.0379 % 0.25,
                1,
                "{}",
            )

    store.insert(
        "connections",
        ("source_id", "target_id", "connection_type", "strength", "bidirectional", "metadata"),
        rows(),
    )
