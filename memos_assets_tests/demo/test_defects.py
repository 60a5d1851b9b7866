"""The manifest states exactly what a recount finds; recount.py does the counting."""

from pathlib import Path

import pytest

from memos_assets.consolidate.decoding.reject_reasons import EMBEDDING_REASONS, REJECT_REASONS
from memos_assets.demo import DemoManifest, write_demo
from memos_assets.demo.classes import CLASSES, DEFECTS, Rejected, WithoutEmbedding
from memos_assets.settings import PROJECT_ROOT
from memos_assets_tests.demo.counting import load
from memos_assets_tests.demo.recount import recount

SIZES = [("small", 21, 1.0), ("plan", 23, 0.04)]


@pytest.fixture(scope="module", params=SIZES, ids=lambda size: f"{size[0]}-seed{size[1]}")
def demo(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, DemoManifest]:
    scale, seed, factor = request.param
    directory = tmp_path_factory.mktemp("defects") / "demo"
    return directory, write_demo(directory, scale=scale, seed=seed, factor=factor)


def test_every_known_defect_is_there_at_the_count_the_manifest_states(
    demo: tuple[Path, DemoManifest],
) -> None:
    directory, manifest = demo
    for file in manifest.files:
        for table, stated in file.tables.items():
            assert recount(directory / file.path, file, table) == dict(stated.defects), (
                f"{file.path}:{table}"
            )


def test_the_shares_are_those_of_the_samples(demo: tuple[Path, DemoManifest]) -> None:
    _, manifest = demo
    entities = manifest.file("data/corpuses/fanuc_robotics.db").tables["entities"]
    assert entities.defects["null_embeddings"] / entities.rows == pytest.approx(0.3, abs=0.01)
    edges = manifest.file("data/semantic_memory.db").tables["connections"]
    assert 0.15 < edges.defects["dangling_targets"] / edges.rows < 0.25


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
    # Contents with a defect differ; all others agree.
    assert sum(mixed[key] == hybrid[key] for key in shared) >= len(shared) - 12


def test_every_class_is_declared_and_occurs(demo: tuple[Path, DemoManifest]) -> None:
    assert sorted(demo[1].defects) == sorted(CLASSES)
    assert len(CLASSES) == len(DEFECTS)


def test_every_reason_is_one_that_a_load_gives() -> None:
    for defect in DEFECTS:
        if isinstance(defect.outcome, Rejected):
            assert defect.outcome.reason in REJECT_REASONS
        elif isinstance(defect.outcome, WithoutEmbedding):
            assert {defect.outcome.reason, defect.outcome.where_stated} - {None} <= set(
                EMBEDDING_REASONS
            )


def test_the_docs_list_every_class_and_what_becomes_of_it() -> None:
    text = (PROJECT_ROOT / "docs" / "known-defects.md").read_text("utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    listed = [line for line in rows if line.count("|") == 4]
    assert listed == [
        f"| `{defect.name}` | {defect.about} | {defect.becomes} |" for defect in DEFECTS
    ]
    absent = {line.split("`")[1] for line in rows if line.count("|") == 3}
    reasons = {**REJECT_REASONS, **EMBEDDING_REASONS}
    given = {
        reason
        for defect in DEFECTS
        if isinstance(outcome := defect.outcome, Rejected | WithoutEmbedding)
        for reason in (outcome.reason, getattr(outcome, "where_stated", None))
    }
    assert absent == reasons.keys() - given
