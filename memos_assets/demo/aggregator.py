"""embedding_aggregator.db: vectors of two models in one column, and references by loose names."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from memos_assets.clustered_vectors import VectorSpace
from memos_assets.demo.defects import (
    TEXT_KINDS,
    float32_with_defect,
    invalid_texts,
    share,
    text_with_defect,
    unreadable_time,
)
from memos_assets.demo.manifest import FileManifest
from memos_assets.demo.scales import Rows
from memos_assets.demo.store import DemoStore, SqlValue, batches, rowids_after_reindexing
from memos_assets.demo.texts import code, sqlite_utc

LAYOUT = (
    """CREATE TABLE domain_embeddings (
                    id INTEGER PRIMARY KEY AUTOINCREMENT,
                    domain TEXT NOT NULL,
                    entity_id TEXT NOT NULL,
                    entity_name TEXT NOT NULL,
                    entity_type TEXT,
                    embedding BLOB NOT NULL,
                    context TEXT,
                    source_url TEXT,
                    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
                    UNIQUE(domain, entity_id)
                )""",
    """CREATE TABLE aggregated_cache (
                    id INTEGER PRIMARY KEY AUTOINCREMENT,
                    query_hash TEXT UNIQUE NOT NULL,
                    master_embedding BLOB NOT NULL,
                    domain_contributions TEXT,  -- JSON
                    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
                )""",
    """CREATE TABLE entity_relations (
                    id INTEGER PRIMARY KEY AUTOINCREMENT,
                    source_entity_id TEXT NOT NULL,
                    target_entity_id TEXT NOT NULL,
                    relation_type TEXT NOT NULL,
                    domain TEXT NOT NULL,
                    weight REAL DEFAULT 1.0,
                    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
                    UNIQUE(source_entity_id, target_entity_id, relation_type)
                )""",
    """CREATE INDEX idx_domain_embeddings_domain
                    ON domain_embeddings(domain)""",
    """CREATE INDEX idx_domain_embeddings_entity_type
                    ON domain_embeddings(entity_type)""",
    """CREATE INDEX idx_entity_relations_source
                    ON entity_relations(source_entity_id)""",
)

_DOMAINS = ("fanuc", "fanuc", "general_technical", "general", "fanuc", "raspberry_pi")
_BATCH = 128


def write_aggregator(path: Path, relative: str, seed: str, rows: Rows) -> FileManifest:
    """Write the aggregator: 1024 elements until 2025-12-27, 4096 after, and no column that says."""
    store = DemoStore(path, LAYOUT)
    try:
        _write_embeddings(store, seed, rows.aggregated)
        _write_relations(store, seed, rows.aggregated)
        return store.finish(relative)
    finally:
        store.close()


def _write_embeddings(store: DemoStore, seed: str, total: int) -> None:
    defects = store.defects("domain_embeddings", f"{seed}/aggregator")
    every = range(total)
    older = total * 3 // 10
    vectors = {
        index: kind
        for kind, candidates, fraction in (
            # An error stores 4096 zeros whatever the model.
            ("zero_vectors", range(older, total), 0.015),
            ("empty_vectors", every, 0.01),
            ("truncated_vectors", every, 0.005),
            ("torn_vectors", every, 0.004),
            ("foreign_dimensions", every, 0.01),
        )
        for index in sorted(defects.place(kind, "vector", candidates, share(total, fraction)))
    }
    defects.note("vectors_of_1024", sum(index not in vectors for index in range(older)))
    defects.note("vectors_of_4096", sum(index not in vectors for index in range(older, total)))
    texts = defects.place_kinds(TEXT_KINDS, "context", every, share(total, 0.006))
    unreadable = defects.place("unreadable_timestamps", "created_at", every, share(total, 0.004))
    exported = defects.place("timestamps_postgresql_utc", "created_at", every, share(total, 0.02))
    defects.note("timestamps_sqlite_utc", total - len(unreadable) - len(exported))
    moved = sorted(defects.place("reindexed_rows", "id", every, share(total, 0.03)))
    ids = rowids_after_reindexing(total, moved)
    clusters = max(6, total // 40)
    mxbai = VectorSpace(f"{seed}/mxbai", 1024, clusters=clusters, norm=14.0)
    qwen3 = VectorSpace(f"{seed}/qwen3", 4096, clusters=clusters, norm=124.0)

    def batch_rows(space: VectorSpace, batch: Sequence[int]) -> Iterator[tuple[SqlValue, ...]]:
        abouts = [code(seed, index) for index in batch]
        found = space.rows([about.cluster for about in abouts], f"aggregator/{batch[0]}")
        for row, (index, about) in enumerate(zip(batch, abouts, strict=True)):
            yield (
                ids.get(index, index + 1),
                _DOMAINS[index % len(_DOMAINS)],
                about.entity_id,
                about.canonical_form,
                "error_code",
                float32_with_defect(
                    found[row][:384] if vectors.get(index) == "foreign_dimensions" else found[row],
                    vectors.get(index),
                    index,
                ),
                text_with_defect(about.cause, texts.get(index)),
                "https://manual.example/p" if index % 5 == 0 else "",
                unreadable_time(
                    unreadable,
                    index,
                    sqlite_utc(ids.get(index, index) * 9) + ".250417" * (index in exported),
                ),
            )

    def rows() -> Iterator[tuple[SqlValue, ...]]:
        for indices in (every, moved):
            for space, is_older in ((mxbai, True), (qwen3, False)):
                part = [
                    index
                    for index in indices
                    if (index < older) == is_older and (indices is moved or index not in ids)
                ]
                for batch in batches(part, _BATCH):
                    yield from batch_rows(space, batch)

    columns = (
        "id",
        "domain",
        "entity_id",
        "entity_name",
        "entity_type",
        "embedding",
        "context",
        "source_url",
        "created_at",
    )
    store.insert("domain_embeddings", columns, rows())
    store.store_bytes_as_text("domain_embeddings", "context", invalid_texts(texts, ids))


def _write_relations(store: DemoStore, seed: str, total: int) -> None:
    defects = store.defects("entity_relations", f"{seed}/aggregator")
    every = range(total)
    # A related code is named as the manual prints it: srvo_002, not error_code_srvo_002.
    loose = defects.place("loose_references", "target_entity_id", every, share(total, 0.6))

    def rows() -> Iterator[tuple[SqlValue, ...]]:
        for index in every:
            target = code(seed, (index + 1) % total).entity_id
            yield (
                code(seed, index).entity_id,
                target.removeprefix("error_code_") if index in loose else target,
                "related_to",
                "fanuc",
                0.8 if index in loose else 0.4,
                sqlite_utc(9 * total + index),
            )

    defects.note("timestamps_sqlite_utc", total)
    store.insert(
        "entity_relations",
        (
            "source_entity_id",
            "target_entity_id",
            "relation_type",
            "domain",
            "weight",
            "created_at",
        ),
        rows(),
    )
