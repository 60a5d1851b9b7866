"""The manifest states exactly what a recount finds; recount.py does the counting."""

from pathlib import Path

import pytest

from memos_assets.demo import DemoManifest, write_demo
from memos_assets_tests.demo.recount import load, recount

SIZES = [("small", 21, 1.0), ("plan", 23, 0.04)]


@pytest.fixture(scope="module", params=SIZES, ids=lambda size: f"{size[0]}-seed{size[1]}")
def demo(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, DemoManifest]:
    scale, seed, factor = request.param
    directory = tmp_path_factory.mktemp("dirt") / "demo"
    return directory, write_demo(directory, scale=scale, seed=seed, factor=factor)


def test_every_dirt_class_is_there_at_the_count_the_manifest_states(
    demo: tuple[Path, DemoManifest],
) -> None:
    directory, manifest = demo
    for file in manifest.files:
        for table, stated in file.tables.items():
            assert recount(directory / file.path, file, table) == dict(stated.dirt), (
                f"{file.path}:{table}"
            )


def test_the_shares_are_those_of_the_samples(demo: tuple[Path, DemoManifest]) -> None:
    _, manifest = demo
    entities = manifest.file("data/corpuses/fanuc_robotics.db").tables["entities"]
    assert entities.dirt["null_embeddings"] / entities.rows == pytest.approx(0.3, abs=0.01)
    edges = manifest.file("data/semantic_memory.db").tables["connections"]
    assert 0.15 < edges.dirt["dangling_targets"] / edges.rows < 0.25


def test_the_same_code_has_the_same_text_in_both_layers(demo: tuple[Path, DemoManifest]) -> None:
    directory, _ = demo
    mixed = {
        row["doc_id"]: row["content"]
        for row in load(directory / "data" / "mixed_precision_embeddings.db", "embeddings")
    }
    hybrid = {
        row["doc_id"]: row["content"]
        for row in load(directory / "data" / "hsea_hybrid.db", "documents")
    }
    shared = mixed.keys() & hybrid.keys()
    assert len(shared) > 50
    # Dirty contents differ; all others agree.
    assert sum(mixed[key] == hybrid[key] for key in shared) >= len(shared) - 12


def test_every_kind_of_dirt_occurs_somewhere(demo: tuple[Path, DemoManifest]) -> None:
    assert sorted(demo[1].dirt) == [
        "attributes_array",
        "attributes_null",
        "attributes_string",
        "dangling_ends",
        "dangling_targets",
        "depth_stored_as_blob",
        "depth_stored_as_real",
        "duplicate_canonical_names",
        "duplicate_triples",
        "empty_contents",
        "empty_vectors",
        "failed_pages",
        "float32_anchors",
        "forward_only_edges",
        "infinite_vectors",
        "invalid_utf8",
        "json_infinity",
        "json_nan",
        "json_null_character",
        "loose_references",
        "malformed_json",
        "malformed_json_vectors",
        "missing_parents",
        "nan_vectors",
        "never_used_templates",
        "null_characters",
        "null_descriptions",
        "null_embeddings",
        "null_primary_keys",
        "null_sparse_vectors",
        "numpy_1_rows",
        "piped_entity_types",
        "questions_as_objects",
        "reindexed_rows",
        "scale_stored_as_blob",
        "scale_stored_as_real",
        "self_relations",
        "stale_postings",
        "timestamps_iso_local",
        "timestamps_iso_offset",
        "timestamps_sqlite_utc",
        "timestamps_unix",
        "timestamps_without_fraction",
        "token_id_sparse_vectors",
        "truncated_vectors",
        "unreadable_timestamps",
        "vectors_as_json_in_blob",
        "vectors_as_json_text",
        "vectors_of_1024",
        "vectors_of_2560",
        "vectors_of_4096",
        "vectors_of_768",
        "word_sparse_vectors",
        "zero_vectors",
    ]
