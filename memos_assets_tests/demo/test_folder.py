import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from memos_assets.catalog.folder_markers import DEMO_MANIFEST
from memos_assets.demo import DemoManifest, read_manifest, write_demo
from memos_assets.errors import UsageError


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DemoManifest]:
    directory = tmp_path_factory.mktemp("folder") / "demo"
    return directory, write_demo(directory, scale="small", seed=1)


def dump(directory: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every file with its rowid, text as bytes because not all of it is UTF-8."""
    rows: dict[str, list[tuple[object, ...]]] = {}
    for path in sorted(directory.rglob("*.db")):
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as conn:
            tables = conn.execute("select name from sqlite_master where type = 'table'").fetchall()
            conn.text_factory = bytes
            for (table,) in tables:
                name = f"{path.relative_to(directory)}:{table}"
                rows[name] = conn.execute(f"select rowid, * from {table}").fetchall()
    return rows


def test_the_same_seed_writes_the_same_rows(
    written: tuple[Path, DemoManifest], tmp_path: Path
) -> None:
    directory, manifest = written
    assert write_demo(tmp_path / "again", scale="small", seed=1) == manifest
    assert dump(tmp_path / "again") == dump(directory)


def test_another_seed_writes_other_rows_of_the_same_count(
    written: tuple[Path, DemoManifest], tmp_path: Path
) -> None:
    directory, manifest = written
    other = write_demo(tmp_path / "other", scale="small", seed=2)
    for file, former in zip(other.files, manifest.files, strict=True):
        for name, table in file.tables.items():
            # The terms of a BM25 index depend on the texts.
            if name != "bm25_index":
                assert table.rows == former.tables[name].rows
    mixed = "data/mixed_precision_embeddings.db:embeddings"
    assert dump(tmp_path / "other")[mixed] != dump(directory)[mixed]


def test_the_manifest_states_the_rows_and_bytes_that_are_there(
    written: tuple[Path, DemoManifest],
) -> None:
    directory, manifest = written
    assert read_manifest(directory) == manifest
    rows = dump(directory)
    for file in manifest.files:
        assert (directory / file.path).stat().st_size == file.bytes
        for table, stated in file.tables.items():
            assert len(rows[f"{file.path}:{table}"]) == stated.rows
    stated_paths = sorted([*(file.path for file in manifest.files), DEMO_MANIFEST])
    found = [path for path in directory.rglob("*") if path.is_file()]
    assert sorted(path.relative_to(directory).as_posix() for path in found) == stated_paths


def test_a_small_folder_is_below_ten_megabytes(written: tuple[Path, DemoManifest]) -> None:
    assert written[1].bytes < 10_000_000


def test_each_file_is_reported_when_it_is_written(tmp_path: Path) -> None:
    reports: list[tuple[str, int, int]] = []
    manifest = write_demo(
        tmp_path / "demo",
        scale="small",
        seed=3,
        on_file=lambda path, rows, size: reports.append((path, rows, size)),
    )
    assert reports == [(file.path, file.rows, file.bytes) for file in manifest.files]


def test_the_factor_multiplies_the_rows(written: tuple[Path, DemoManifest], tmp_path: Path) -> None:
    twice = write_demo(tmp_path / "twice", scale="small", seed=1, factor=2)
    for path in ("data/hsea_hybrid.db", "data/semantic_memory.db"):
        once_table = next(iter(written[1].file(path).tables.values()))
        twice_table = next(iter(twice.file(path).tables.values()))
        assert twice_table.rows == 2 * once_table.rows


def test_a_former_demo_is_replaced(tmp_path: Path) -> None:
    directory = tmp_path / "demo"
    write_demo(directory, scale="small", seed=1)
    (directory / "data" / "left.over").touch()
    write_demo(directory, scale="small", seed=2)
    assert read_manifest(directory).seed == 2
    assert not (directory / "data" / "left.over").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


def test_an_empty_directory_is_filled(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    write_demo(tmp_path / "demo", scale="small", seed=1)
    assert (tmp_path / "demo" / DEMO_MANIFEST).is_file()


def test_a_directory_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "content_cache.db").write_bytes(b"somebody's")
    with pytest.raises(UsageError, match=r"^M510 .*Fix: "):
        write_demo(tmp_path, scale="small", seed=1)
    assert [path.name for path in tmp_path.iterdir()] == ["content_cache.db"]


def test_a_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "demo").touch()
    with pytest.raises(UsageError, match=r"^M510 .*Fix: "):
        write_demo(tmp_path / "demo", scale="small", seed=1)


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"^M511 .*Fix: "):
        write_demo(tmp_path / "file" / "demo", scale="small", seed=1)


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan"), float("inf")])
def test_a_factor_that_is_not_a_size_is_refused(tmp_path: Path, factor: float) -> None:
    with pytest.raises(UsageError, match=r"^M512 .*Fix: "):
        write_demo(tmp_path / "demo", scale="small", seed=1, factor=factor)


def test_a_write_that_fails_half_way_leaves_the_former_demo(tmp_path: Path) -> None:
    directory = tmp_path / "demo"
    former = write_demo(directory, scale="small", seed=1)

    def fail(path: str, rows: int, size: int) -> None:  # noqa: ARG001
        if path.endswith("hsea_hybrid.db"):
            raise OSError(28, os.strerror(28))

    with pytest.raises(UsageError, match=r"^M511 .*No space left.*Fix: "):
        write_demo(directory, scale="small", seed=2, on_file=fail)
    assert read_manifest(directory) == former
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


def test_a_write_that_fails_half_way_shows_nothing(tmp_path: Path) -> None:
    def stop(path: str, rows: int, size: int) -> None:  # noqa: ARG001
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_demo(tmp_path / "demo", scale="small", seed=2, on_file=stop)
    assert not list(tmp_path.iterdir())
