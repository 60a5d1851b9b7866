"""The samples that memOS's own classes wrote, end to end."""

import shutil
from collections import Counter
from pathlib import Path

import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.consolidate.sources.pins import Pin
from memos_assets.proof.rows.sources import source_accounted_for, source_unchanged
from memos_assets_tests.consolidate import builders as b

#: Source, table -> rows, rejected, mirrored. A file's other tables are empty.
SAMPLE_ROWS = {
    ("bge_m3_hybrid", "hybrid_bm25_statistics"): (4, 0, 0),
    ("bge_m3_hybrid", "hybrid_bm25_terms"): (1_183, 0, 0),
    ("bge_m3_hybrid", "hybrid_documents"): (53, 0, 0),
    ("embedding_aggregator", "domain_embeddings"): (37, 1, 0),
    ("embedding_aggregator", "domain_relations"): (61, 0, 0),
    ("fanuc_robotics", "corpora"): (1, 0, 0),
    ("fanuc_robotics", "corpus_documents"): (59, 0, 0),
    ("fanuc_robotics", "corpus_entities"): (546, 0, 0),
    ("fanuc_robotics", "corpus_relations"): (92, 0, 0),
    ("hsea_hybrid", "hybrid_documents"): (148, 1, 0),
    ("hyperbolic_embeddings", "hyperbolic_documents"): (20, 0, 0),
    ("meta_buffer", "thought_templates"): (14, 0, 0),
    ("mixed_precision_embeddings", "embedding_anchors"): (9, 0, 0),
    ("mixed_precision_embeddings", "embeddings"): (158, 1, 0),
    ("raspberry_pi", "corpora"): (1, 0, 0),
    ("raspberry_pi", "corpus_documents"): (10, 0, 0),
    ("raspberry_pi", "corpus_entities"): (41, 0, 0),
    ("raspberry_pi", "corpus_relations"): (13, 75, 0),
    ("semantic_memory", "semantic_links"): (32, 107, 32),
    ("semantic_memory", "semantic_memories"): (72, 1, 0),
}
#: Source, table -> reason -> rows that are rejected.
SAMPLE_REJECTS = {
    ("embedding_aggregator", "domain_embeddings"): {"nul_character": 1},
    ("hsea_hybrid", "hybrid_documents"): {"nul_character": 1},
    ("mixed_precision_embeddings", "embeddings"): {"nul_character": 1},
    ("raspberry_pi", "corpus_relations"): {"dangling_end": 75},
    ("semantic_memory", "semantic_links"): {"dangling_end": 107},
    ("semantic_memory", "semantic_memories"): {"nul_character": 1},
}
#: Source, table -> reason -> rows that are loaded without an embedding.
SAMPLE_NULLS = {
    ("bge_m3_hybrid", "hybrid_documents"): {"empty": 3},
    ("embedding_aggregator", "domain_embeddings"): {"zero": 6},
    ("fanuc_robotics", "corpus_documents"): {"missing": 5},
    ("fanuc_robotics", "corpus_entities"): {"missing": 135},
    ("hsea_hybrid", "hybrid_documents"): {"zero": 20, "empty": 5},
    ("meta_buffer", "thought_templates"): {"missing": 3},
    ("mixed_precision_embeddings", "embeddings"): {"zero": 12},
    ("raspberry_pi", "corpus_entities"): {"missing": 1},
    ("semantic_memory", "semantic_memories"): {"missing": 5},
}


def consolidated(engine: sa.Engine, folder: Path) -> dict[str, Pin]:
    files = [file for file in b.found(folder) if file.treatment == "consolidate"]
    return {file.source: b.consolidate(engine, file.path) for file in files}


def rejected(engine: sa.Engine) -> dict[tuple[str, str], dict[str, int]]:
    found: dict[tuple[str, str], dict[str, int]] = {}
    for source, table, reason, count in b.rows(
        engine,
        "select source, table_name, reason, count(*) from memos_ops.rejects group by 1, 2, 3",
    ):
        found.setdefault((source, table), {})[reason] = count
    return found


def without_embedding(engine: sa.Engine) -> dict[tuple[str, str], dict[str, int]]:
    """Count the reasons in the tables themselves, and hold the ledger to it."""
    found: dict[tuple[str, str], Counter[str]] = {}
    for spec in MEMOS.tables:
        for vector in spec.vectors:
            for source, reason, count in b.rows(
                engine,
                f"select source, {vector.reason_name}, count(*) from {spec.qualified} "
                f"where {vector.reason_name} is not null group by 1, 2",
            ):
                found.setdefault((source, spec.name), Counter())[reason] += count
    ledger: dict[tuple[str, str], Counter[str]] = {}
    for source, table, reason, count in b.rows(
        engine,
        "select source, table_name, key, cast(value as int) from memos_ops.chunks, "
        "jsonb_each_text(without_embedding)",
    ):
        ledger.setdefault((source, table), Counter())[reason.partition(": ")[2]] += count
    assert ledger == found
    return {place: dict(reasons) for place, reasons in found.items()}


def test_every_sample_loads_and_proves_green(engine: sa.Engine, tmp_path: Path) -> None:
    shutil.copytree(b.SAMPLES, tmp_path / "data", copy_function=shutil.copyfile)
    pins = consolidated(engine, tmp_path / "data")
    ledger = b.rows(
        engine,
        "select source, table_name, sum(rows)::int, sum(rejected)::int, sum(mirrored)::int "
        "from memos_ops.chunks group by 1, 2",
    )
    assert {(row[0], row[1]): row[2:] for row in ledger} == SAMPLE_ROWS
    assert rejected(engine) == SAMPLE_REJECTS
    assert without_embedding(engine) == SAMPLE_NULLS
    # The two corpora are of one kind, so either pin stands for both.
    for pin in pins.values():
        assert b.red(engine, pin) == {}
    assert source_unchanged(list(pins.values())).passed
    assert source_accounted_for(list(pins.values())).passed
