import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from memos_assets.catalog import MEMOS
from memos_assets.consolidate.sources.discover import Root, find_files
from memos_assets.consolidate.sources.pins import take_pin
from memos_assets.demo import mixed, write_demo
from memos_assets.demo.corpus import REORDERED_LAYOUT
from memos_assets.errors import SourceError, UsageError
from memos_assets.sqlite import file as sqlite_file
from memos_assets_tests.consolidate import builders as b

#: Writes enough to spill its cache into the file, then dies without committing.
_KILLED_WRITER = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("pragma cache_size = 1")
connection.execute("begin")
connection.execute("update memories set content = 'uncommitted'")
for number in range(50):
    connection.execute("update memories set attributes = ?", (str(number) * 4000,))
os._exit(0)
"""


def state(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file of a folder, its bytes and when it was written."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def semantic_file(folder: Path) -> Path:
    return b.write_kind(folder, "semantic_memory", memories=[b.memory(1), b.memory(2)])


def with_layout(kind: str, change: Callable[[str], str]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        layout, name = b.LAYOUTS[kind]
        return b.write_file(folder / name, [s for statement in layout if (s := change(statement))])

    return write


def without_table(kind: str, table: str) -> Callable[[Path], Path]:
    return with_layout(kind, lambda s: "" if table in s.split("(")[0].split() else s)


def written(name: str, content: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        return folder / name

    return write


def truncated(folder: Path) -> Path:
    path = b.write_kind(folder, "semantic_memory", memories=[b.memory(n) for n in range(1, 9)])
    os.truncate(path, path.stat().st_size // 8192 * 4096)
    return path


REFUSED = {
    "text": (written("notes.db", b"these are notes, not rows"), "M103", "not a SQLite database"),
    "a_few_bytes": (written("short.db", b"SQLite"), "M103", "not a SQLite database"),
    "header_only": (written("cut.db", b"SQLite format 3\0" + bytes(84)), "M103", ""),
    "truncated": (truncated, "M104", "damaged or cut short"),
    "missing_table": (
        without_table("semantic_memory", "connections"),
        "M105",
        "semantic_memory, but table `connections` is missing",
    ),
    "missing_side_table": (
        without_table("mixed_precision_embeddings", "anchors"),
        "M105",
        "mixed_precision_embeddings, but table `anchors` is missing",
    ),
    "missing_column": (
        with_layout(
            "mixed_precision_embeddings", lambda s: s.replace("scale REAL DEFAULT 1.0,", "")
        ),
        "M105",
        "table `embeddings` lacks the column scale",
    ),
    "missing_signature_column": (
        with_layout("semantic_memory", lambda s: s.replace("bidirectional INTEGER DEFAULT 1,", "")),
        "M105",
        "table `connections` lacks the column bidirectional",
    ),
    "without_rowid": (
        with_layout(
            "meta_buffer",
            lambda s: s.rstrip() + " WITHOUT ROWID" if s.startswith("CREATE TABLE") else s,
        ),
        "M105",
        "table `templates` has no rowid",
    ),
    "foreign_tables_under_a_usual_name": (
        lambda folder: b.write_file(folder / "meta_buffer.db", ["create table notes (text)"]),
        "M105",
        "meta_buffer, but table `templates` is missing",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_cannot_be_read_says_so_and_stays_as_it_is(case: str, tmp_path: Path) -> None:
    write, code, what = REFUSED[case]
    path = write(tmp_path / "data")
    before = state(tmp_path / "data")
    file = b.only(path)
    assert file.treatment == "unusable"
    assert file.error is not None
    assert file.error.code == code
    assert what in file.why
    assert state(tmp_path / "data") == before


def test_a_file_is_recognised_by_its_tables_and_not_by_its_name(tmp_path: Path) -> None:
    path = semantic_file(tmp_path).rename(tmp_path / "what ever-1.bin")
    file = b.only(tmp_path)
    assert (file.treatment, file.source) == ("consolidate", "what_ever-1")
    assert file.kind is not None
    assert file.kind.name == "semantic_memory"
    assert file.why.startswith("recognised by its tables, not its name")
    assert file.tables == {"memories": 2, "connections": 0}
    assert file.path == path


@pytest.mark.parametrize("kind", b.LAYOUTS)
def test_every_kind_is_recognised_under_its_own_name(kind: str, tmp_path: Path) -> None:
    file = b.only(b.write_kind(tmp_path, kind))
    assert file.kind is not None
    assert (file.kind.name, file.treatment) == (kind, "consolidate")
    assert file.why == file.kind.about


def test_a_file_of_the_layout_before_model_tag_is_taken(tmp_path: Path) -> None:
    file = b.only(b.write_file(tmp_path / "archive.db", mixed.ARCHIVE_LAYOUT))
    assert file.treatment == "consolidate"


def test_columns_may_come_in_another_order(tmp_path: Path) -> None:
    file = b.only(b.write_file(tmp_path / "rjg_corpus.db", REORDERED_LAYOUT))
    assert file.treatment == "consolidate"


def test_a_name_before_the_path_names_the_source(tmp_path: Path) -> None:
    path = semantic_file(tmp_path)
    assert b.only(f"agent={path}").source == "agent"


def test_a_path_that_exists_wins_over_a_name(tmp_path: Path) -> None:
    path = semantic_file(tmp_path).rename(tmp_path / "a=b.db")
    assert b.only(path).source == "a_b"


@pytest.mark.parametrize("name", ["../up", "a..b", "", "with space", "x" * 101])
def test_a_name_that_cannot_be_one_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^M522 .*Fix: write --data NAME=PATH"):
        Root.parse(f"{name}={semantic_file(tmp_path)}")


def test_a_folder_cannot_be_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^M522 .*Fix: write --data NAME=FOLDER/FILE.db"):
        Root.parse(f"agent={tmp_path}")


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^M521 .*nowhere: no such folder"):
        Root.parse(str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match=r"^M521 .*gone\.db: no such folder or file"):
        Root.parse(f"agent={tmp_path / 'gone.db'}")


def test_a_folder_without_any_sqlite_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "readme.md").write_text("nothing here")
    with pytest.raises(UsageError, match=r"^M523 .*no SQLite file"):
        find_files(MEMOS, [Root.parse(str(tmp_path))])


@pytest.mark.parametrize("stem", ["semantic_memory", "s" * 100])
def test_two_files_of_one_name_are_refused_with_a_fix_that_works(stem: str, tmp_path: Path) -> None:
    for number, folder in enumerate(("server", "laptop")):
        path = b.write_kind(tmp_path / folder, "semantic_memory", memories=[b.memory(number)])
        path.rename(tmp_path / folder / f"{stem}.db")
    with pytest.raises(UsageError, match=r"^M524 ") as refused:
        b.found(tmp_path)
    assert refused.value.where == stem
    argument = refused.value.fix.partition("--data ")[2]
    files = b.found(tmp_path, argument)
    assert len({file.source for file in files}) == 2
    assert {file.treatment for file in files} == {"consolidate"}


def test_a_file_that_two_roots_hold_is_found_once(tmp_path: Path) -> None:
    path = semantic_file(tmp_path / "data")
    assert [file.path for file in b.found(tmp_path, tmp_path / "data", path)] == [path]


def test_test_and_legacy_files_are_listed_and_left_alone(tmp_path: Path) -> None:
    semantic_file(tmp_path).rename(tmp_path / "test_memory.db")
    b.write_kind(tmp_path, "hybrid").rename(tmp_path / "unified_hybrid.db")
    semantic_file(tmp_path / "tests" / "data")
    why = {file.path.name: file.why for file in b.found(tmp_path)}
    assert why == {
        "test_memory.db": "a test or legacy file by its name, laid out as semantic_memory",
        "unified_hybrid.db": "a test or legacy file by its name, laid out as hybrid",
        "semantic_memory.db": "a test file by its folder, laid out as semantic_memory",
    }
    assert {file.treatment for file in b.found(tmp_path)} == {"list"}


def test_a_test_file_that_is_named_is_consolidated(tmp_path: Path) -> None:
    path = semantic_file(tmp_path).rename(tmp_path / "test_memory.db")
    assert b.only(f"agent={path}").treatment == "consolidate"


def test_a_root_below_a_folder_called_tests_is_the_callers_choice(tmp_path: Path) -> None:
    assert b.only(semantic_file(tmp_path / "tests")).treatment == "consolidate"
    assert b.only(tmp_path / "tests").treatment == "consolidate"


def test_caches_are_kept_and_foreign_files_listed(tmp_path: Path) -> None:
    write_demo(tmp_path / "demo", scale="small", seed=1)
    b.write_file(tmp_path / "demo" / "foreign.sqlite3", ["create table notes (text)"])
    (tmp_path / "demo" / "empty.db").touch()
    treatments: dict[str, list[str]] = {}
    for file in b.found(tmp_path / "demo"):
        treatments.setdefault(file.treatment, []).append(file.path.name)
    assert treatments == {
        "keep": ["content_cache.db", "scratchpad_cache.db"],
        "consolidate": [
            "rjg_corpus.db",
            "mixed_precision_archive.db",
            "bge_m3_hybrid.db",
            "fanuc_robotics.db",
            "imm_robotics.db",
            "raspberry_pi.db",
            "embedding_aggregator.db",
            "hsea_hybrid.db",
            "hyperbolic_embeddings.db",
            "meta_buffer.db",
            "mixed_precision_embeddings.db",
            "semantic_memory.db",
        ],
        "list": [
            "empty.db",
            "foreign.sqlite3",
            "model_benchmarks.db",
            "test_results.db",
            "test_hybrid.db",
        ],
    }


def test_symbolic_links_out_of_a_root_are_not_followed(tmp_path: Path) -> None:
    outside = semantic_file(tmp_path / "outside")
    inside = semantic_file(tmp_path / "root" / "kept")
    (tmp_path / "root" / "leads_out.db").symlink_to(outside)
    (tmp_path / "root" / "folder_out").symlink_to(outside.parent)
    (tmp_path / "root" / "dangles.db").symlink_to(tmp_path / "gone.db")
    (tmp_path / "root" / "leads_in.db").symlink_to(inside)
    assert [file.path for file in b.found(tmp_path / "root")] == [inside]


def test_a_locked_file_is_reported_after_a_bounded_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY_TIMEOUT_SECONDS", 0.1)
    path = semantic_file(tmp_path / "data")
    before = state(tmp_path / "data")
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("begin exclusive")
        file = b.only(path)
    assert file.error is not None
    assert file.error.code == "M102"
    assert "stop memOS or wait" in file.error.fix
    assert state(tmp_path / "data") == before


def contents_of(path: Path, folder: Path) -> list[str]:
    file = b.only(path)
    assert file.kind is not None
    pin = take_pin(file.source, file.kind, path, folder)
    with sqlite_file.opened(pin.path) as connection:
        return [row[0] for row in connection.execute("select content from memories order by 1")]


def test_rows_in_a_write_ahead_log_are_read_and_nothing_appears_beside_it(tmp_path: Path) -> None:
    path = semantic_file(tmp_path / "live")
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("pragma journal_mode = wal")
        writer.execute("pragma wal_autocheckpoint = 0")
        b.insert(writer, "memories", [b.memory(3)])
        (tmp_path / "data").mkdir()
        for suffix in ("", "-wal"):
            name = path.name + suffix
            (tmp_path / "data" / name).write_bytes((tmp_path / "live" / name).read_bytes())
    before = state(tmp_path / "data")
    assert contents_of(tmp_path / "data" / path.name, tmp_path / "pins") == [
        "remembered 1",
        "remembered 2",
        "remembered 3",
    ]
    assert state(tmp_path / "data") == before


def test_a_file_in_wal_mode_without_a_log_gets_none(tmp_path: Path) -> None:
    path = semantic_file(tmp_path / "data")
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("pragma journal_mode = wal")
    before = state(tmp_path / "data")
    assert list(before) == ["semantic_memory.db"]
    assert len(contents_of(path, tmp_path / "pins")) == 2
    assert state(tmp_path / "data") == before


def test_the_journal_of_a_killed_writer_is_rolled_back_in_the_copy_only(tmp_path: Path) -> None:
    path = b.write_kind(
        tmp_path / "data", "semantic_memory", memories=[b.memory(n) for n in range(1, 30)]
    )
    subprocess.run([sys.executable, "-c", _KILLED_WRITER, str(path)], check=True)
    before = state(tmp_path / "data")
    assert list(before) == ["semantic_memory.db", "semantic_memory.db-journal"]
    assert b"uncommitted" in before["semantic_memory.db"][0]
    assert "uncommitted" not in contents_of(path, tmp_path / "pins")
    assert state(tmp_path / "data") == before


def test_a_file_that_vanished_is_reported_with_its_path(tmp_path: Path) -> None:
    path = semantic_file(tmp_path)
    file = b.only(path)
    path.unlink()
    assert file.kind is not None
    with pytest.raises(SourceError, match=r"^M101 .*semantic_memory\.db: cannot be read"):
        take_pin(file.source, file.kind, path, tmp_path / "pins")


def test_a_page_that_was_overwritten_is_found_before_the_file_is_loaded(tmp_path: Path) -> None:
    path = b.write_kind(
        tmp_path / "data", "semantic_memory", memories=[b.memory(n) for n in range(1, 9)]
    )
    content = bytearray(path.read_bytes())
    content[4096:8192] = bytes(4096)
    path.write_bytes(content)
    assert b.only(path).treatment == "unusable"
    kind = MEMOS.kind("semantic_memory")
    with pytest.raises(SourceError, match=r"^M104 .*damaged or cut short"):
        take_pin(kind.name, kind, path, tmp_path / "pins")
    assert state(tmp_path / "data")["semantic_memory.db"][0] == bytes(content)
    assert list((tmp_path / "pins").glob("*.db*")) == []


def test_pinned_copies_are_not_sources_and_hidden_folders_are_searched(tmp_path: Path) -> None:
    file = b.only(semantic_file(tmp_path / ".memos"))
    assert file.kind is not None
    take_pin(file.source, file.kind, file.path, tmp_path / "home" / "pins")
    assert [found.path for found in b.found(tmp_path)] == [file.path]


def test_a_file_under_two_names_is_refused(tmp_path: Path) -> None:
    path = semantic_file(tmp_path)
    with pytest.raises(UsageError, match=r"^M560 .*under two names, agent and planner"):
        b.found(f"agent={path}", f"planner={path}")
