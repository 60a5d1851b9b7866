"""The samples that memOS's own classes wrote, and the demo with every kind of dirt, end to end."""

import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets.catalog import TABLES_BY_NAME, kind_of_table
from memos_assets.consolidate.claims import source_accounted_for, source_unchanged
from memos_assets.consolidate.forecast import forecast_file
from memos_assets.consolidate.pin import Pin
from memos_assets.demo import DemoManifest, write_demo
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

#: Dirt of the demo -> the reason that its rows are rejected for.
REJECTING_DIRT = {
    "null_primary_keys": "null_key",
    "null_characters": "nul_character",
    "invalid_utf8": "invalid_utf8",
    "malformed_json": "json_malformed",
    "json_nan": "json_not_finite",
    "json_infinity": "json_not_finite",
    "json_null_character": "json_nul",
    "unreadable_timestamps": "timestamp_unreadable",
}
#: Dirt of the demo -> the reason that its rows have no embedding for. A length that no model
#: produces is `wrong_length` where the row states its dimension, `unknown_dimension` elsewhere.
NULLING_DIRT = {
    "null_embeddings": "missing",
    "empty_vectors": "empty",
    "zero_vectors": "zero",
    "nan_vectors": "not_finite",
    "infinite_vectors": "not_finite",
    "malformed_json_vectors": "not_a_vector",
    "truncated_vectors": "unknown_dimension",
    "float32_anchors": "wrong_length",
}
#: Source, table -> reasons that do not count, because the row is rejected for another one first.
TWICE_DIRTY = {
    ("mixed_precision_archive", "embeddings"): {"json_nul": 1, "wrong_length": 1},
    ("fanuc_robotics", "corpus_entities"): {"missing": 3},
    ("imm_robotics", "corpus_entities"): {"missing": 2},
    ("raspberry_pi", "corpus_entities"): {"missing": 4},
    ("hyperbolic_embeddings", "hyperbolic_documents"): {"json_nul": 1},
    ("meta_buffer", "thought_templates"): {"timestamp_unreadable": 1, "missing": 1},
}


#: Its folder, its manifest, and the pin of every consolidated source.
Demo = tuple[Path, DemoManifest, dict[str, Pin]]


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
    for spec in TABLES_BY_NAME.values():
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


@pytest.fixture(scope="module")
def demo(shared_engine: sa.Engine, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    folder = tmp_path_factory.mktemp("dirty") / "data"
    manifest = write_demo(folder, scale="small", seed=1)
    return folder, manifest, consolidated(shared_engine, folder)


def dirt_by_reason(demo: Demo, reasons: dict[str, str]) -> dict[tuple[str, str], dict[str, int]]:
    """Count what the manifest says, by source and target table, under the names of reasons."""
    folder, manifest, pins = demo
    found: dict[tuple[str, str], dict[str, int]] = {}
    for pin in pins.values():
        file = manifest.file(str(pin.origin.relative_to(folder)))
        for spec in TABLES_BY_NAME.values():
            if spec.origin not in file.tables or kind_of_table(spec.name).name != pin.kind:
                continue
            counts: Counter[str] = Counter()
            for dirt, count in file.tables[spec.origin].dirt.items():
                reason = reasons.get(dirt)
                if dirt == "truncated_vectors" and reason and spec.name == "embeddings":
                    reason = "wrong_length"
                if reason:
                    counts[reason] += count
            twice = TWICE_DIRTY.get((pin.source, spec.name), {})
            counts.subtract({r: n for r, n in twice.items() if r in reasons.values()})
            if +counts:
                found[pin.source, spec.name] = dict(+counts)
    return found


def test_rows_of_the_demo_are_rejected_as_often_as_its_manifest_says(
    demo: Demo, shared_engine: sa.Engine
) -> None:
    seen = {
        place: left
        for place, reasons in rejected(shared_engine).items()
        if (left := {name: count for name, count in reasons.items() if name != "dangling_end"})
    }
    assert seen == dirt_by_reason(demo, REJECTING_DIRT)


def test_embeddings_of_the_demo_are_null_as_often_as_its_manifest_says(
    demo: Demo, shared_engine: sa.Engine
) -> None:
    assert without_embedding(shared_engine) == dirt_by_reason(demo, NULLING_DIRT)


def test_links_of_the_demo_dangle_as_often_as_its_manifest_says(
    demo: Demo, shared_engine: sa.Engine
) -> None:
    folder, manifest, pins = demo
    for pin in pins.values():
        tables = manifest.file(str(pin.origin.relative_to(folder))).tables
        for table, key, ends, dirt in (
            ("relations", "entities", ("source_entity_id", "target_entity_id"), "dangling_ends"),
            ("connections", "memories", ("source_id", "target_id"), "dangling_targets"),
        ):
            if table not in tables:
                continue
            gone = " or ".join(f"{end} not in (select id from {key})" for end in ends)
            with closing(sqlite3.connect(pin.path)) as connection:
                loose = connection.execute(f"select rowid from {table} where {gone}").fetchall()
            missing = {rowid for (rowid,) in loose}
            details = dict(
                b.rows(
                    shared_engine,
                    "select source_rowid, detail from memos_ops.rejects "
                    "where source = :source and reason = 'dangling_end'",
                    source=pin.source,
                )
            )
            assert len(missing) == tables[table].dirt[dirt]
            assert missing <= details.keys()
            # An end that exists and is rejected is none either.
            others = [detail for rowid, detail in details.items() if rowid not in missing]
            assert all(detail.endswith("is rejected itself") for detail in others)
    marked = b.rows(
        shared_engine,
        "select cast(missing as text), count(*) from memos.domain_relations "
        "where target_entity_id not like 'error_code_%' group by 1",
    )
    relations = manifest.file("data/embedding_aggregator.db").tables["entity_relations"]
    assert sum(count for _, count in marked) == relations.dirt["loose_references"]
    assert all("target_entity_id" in columns for columns, _ in marked)
    orphans = b.rows(
        shared_engine,
        "select missing from memos.hyperbolic_documents where parent_id like 'node-gone-%'",
    )
    nodes = manifest.file("data/hyperbolic_embeddings.db").tables["hyperbolic_documents"]
    assert orphans == [(["parent_id"],)] * nodes.dirt["missing_parents"]


def test_every_claim_about_the_demo_holds(demo: Demo, shared_engine: sa.Engine) -> None:
    for pin in {pin.kind: pin for pin in demo[2].values()}.values():
        assert b.red(shared_engine, pin) == {}
    pins = list(demo[2].values())
    assert source_unchanged(pins).passed
    assert source_accounted_for(pins).passed


def test_a_dry_run_foretells_what_a_load_does(demo: Demo, shared_engine: sa.Engine) -> None:
    ledger = {
        (source, table): counts
        for source, table, *counts in b.rows(
            shared_engine,
            "select source, table_name, sum(rows)::int, sum(rejected)::int, sum(mirrored)::int "
            "from memos_ops.chunks where source_rows > 0 group by 1, 2",
        )
    }
    foretold = {
        (found.source, found.spec.name): [found.loaded, found.rejects.total(), found.mirrored]
        for file in b.found(demo[0])
        if file.treatment == "consolidate"
        for found in forecast_file(file)
        if found.rows
    }
    assert foretold == ledger
