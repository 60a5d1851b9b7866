import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from memos_assets.demo import write_demo

#: Demo file -> the sample whose layout it has, and a digest of that layout. mixed_precision_archive
#: and rjg_corpus are older or reordered on purpose; content_cache is apart, below.
LAYOUTS = {
    "data/mixed_precision_embeddings.db": ("mixed_precision_embeddings.db", "398d77a5fc35"),
    "data/hsea_hybrid.db": ("hsea_hybrid.db", "4c88a8d28fca"),
    "data/bge_m3_hybrid.db": ("bge_m3_hybrid.db", "7b89eb1b0fd4"),
    "data/corpuses/fanuc_robotics.db": ("corpuses/fanuc_robotics.db", "3f7bb0b49cf0"),
    "data/corpuses/raspberry_pi.db": ("corpuses/raspberry_pi.db", "3f7bb0b49cf0"),
    "data/corpuses/imm_robotics.db": ("corpuses/raspberry_pi.db", "3f7bb0b49cf0"),
    "data/scratchpad_cache.db": ("scratchpad_cache.db", "cd3b897f637a"),
    "data/embedding_aggregator.db": ("embedding_aggregator.db", "635bb19e5727"),
    "data/meta_buffer.db": ("meta_buffer.db", "fa75486bf0fb"),
    "data/hyperbolic_embeddings.db": ("hyperbolic_embeddings.db", "0d4c26c56de8"),
    "data/semantic_memory.db": ("semantic_memory.db", "0316062ba940"),
    "tmp/test_hybrid.db": ("hsea_hybrid.db", "4c88a8d28fca"),
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("layouts") / "demo"
    write_demo(directory, scale="small", seed=5)
    return directory


def layout(path: Path) -> list[tuple[str, str, str | None]]:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as conn:
        return conn.execute("select type, name, sql from sqlite_master").fetchall()


def columns(path: Path, table: str) -> list[str]:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as conn:
        return [row[1] for row in conn.execute(f"pragma table_info({table})")]


def shapes(path: Path) -> dict[tuple[str, str], set[str]]:
    """Per column the storage classes its values have."""
    found = {}
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as conn:
        tables = [
            name for (name,) in conn.execute("select name from sqlite_master where type = 'table'")
        ]
        for table in tables:
            for row in conn.execute(f"pragma table_info({table})").fetchall():
                kinds = conn.execute(f"select distinct typeof({row[1]}) from {table}")
                found[table, row[1]] = {kind for (kind,) in kinds}
    return found


@pytest.mark.parametrize("relative", LAYOUTS)
def test_the_layouts_are_those_recorded_from_the_samples(demo: Path, relative: str) -> None:
    text = repr(layout(demo / relative))
    assert hashlib.sha256(text.encode()).hexdigest()[:12] == LAYOUTS[relative][1]


@pytest.mark.parametrize("relative", LAYOUTS)
def test_the_layouts_are_those_of_the_samples(demo: Path, samples: Path, relative: str) -> None:
    assert layout(demo / relative) == layout(samples / LAYOUTS[relative][0])


@pytest.mark.parametrize(
    "relative", [*(name for name in LAYOUTS if "test" not in name), "cache/content_cache.db"]
)
def test_every_storage_class_of_the_samples_occurs(
    demo: Path, samples: Path, relative: str
) -> None:
    written = shapes(demo / relative)
    sample = LAYOUTS.get(relative, ("cache/content_cache.db", ""))[0]
    for column, kinds in shapes(samples / sample).items():
        assert kinds <= written[column], column


def test_the_cache_got_its_embedding_column_last(demo: Path) -> None:
    path = demo / "cache" / "content_cache.db"
    assert columns(path, "query_cache") == [
        "query_hash",
        "query",
        "result_json",
        "created_at",
        "expires_at",
        "hit_count",
        "embedding",
    ]


def test_the_rest_of_the_cache_is_laid_out_as_in_the_sample(demo: Path, samples: Path) -> None:
    path, sample = (root / "cache" / "content_cache.db" for root in (demo / "", samples))
    assert [entry for entry in layout(path) if entry[1] != "query_cache"] == [
        entry for entry in layout(sample) if entry[1] != "query_cache"
    ]


def test_the_archive_has_no_model_tag_and_no_index_on_the_dimension(demo: Path) -> None:
    archive = demo / "data" / "backup" / "mixed_precision_archive.db"
    live = demo / "data" / "mixed_precision_embeddings.db"
    for table in ("embeddings", "anchors"):
        without = [name for name in columns(live, table) if name != "model_tag"]
        assert columns(archive, table) == without
    assert "idx_embeddings_dimension" not in [name for _, name, _ in layout(archive)]


def test_one_corpus_has_its_columns_in_another_order(demo: Path) -> None:
    usual = columns(demo / "data" / "corpuses" / "imm_robotics.db", "entities")
    other = columns(demo / "cache" / "rjg_corpus.db", "entities")
    assert usual != other
    assert sorted(usual) == sorted(other)


def test_files_are_as_sqlite_leaves_them_by_default(demo: Path) -> None:
    for path in demo.rglob("*.db"):
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as conn:
            for pragma, expected in (
                ("page_size", 4096),
                ("journal_mode", "delete"),
                ("user_version", 0),
                ("encoding", "UTF-8"),
                ("integrity_check", "ok"),
            ):
                assert conn.execute(f"pragma {pragma}").fetchone() == (expected,), path
    assert not list(demo.rglob("*-journal"))
