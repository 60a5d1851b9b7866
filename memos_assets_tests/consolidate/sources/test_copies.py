"""Files whose rows another file holds are left alone; a source that shrank is not loaded."""

import shutil
from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.catalog.folder_markers import DEMO_MANIFEST
from memos_assets.check import CheckContext
from memos_assets.consolidate.sources.checks import sources_hold_rows_of_their_own
from memos_assets.consolidate.sources.discover import FoundFile
from memos_assets.consolidate.sources.observe import register_files
from memos_assets.consolidate.sources.shrinkage import Acceptance
from memos_assets.errors import UsageError
from memos_assets.settings import Settings
from memos_assets_tests.consolidate import builders as b


def memory_file(folder: Path, numbers: range) -> Path:
    return b.write_kind(folder, "semantic_memory", memories=[b.memory(n) for n in numbers])


def treatments(folder: Path, *more: str) -> dict[str, str]:
    return {str(file.path.relative_to(folder)): file.treatment for file in b.found(folder, *more)}


def left_alone(folder: Path) -> FoundFile:
    (file,) = (file for file in b.found(folder) if file.treatment == "list")
    return file


@pytest.mark.parametrize("name", ["copy.db", "semantic_memory.db.bak", "backup/semantic_memory.db"])
def test_a_copy_is_left_alone_and_taken_by_name(name: str, tmp_path: Path) -> None:
    path = memory_file(tmp_path, range(1, 9))
    copy = tmp_path / name
    copy.parent.mkdir(exist_ok=True)
    shutil.copy(path, copy)
    assert left_alone(tmp_path).path == copy
    assert f"a copy: {path} holds all of its 8 rows. To take it anyway: --data" in (
        left_alone(tmp_path).why
    )
    anyway = left_alone(tmp_path).why.partition("--data ")[2]
    assert set(treatments(tmp_path, anyway).values()) == {"consolidate"}


def test_an_older_state_is_left_alone_though_rows_were_changed_added_and_deleted_since(
    tmp_path: Path,
) -> None:
    path = memory_file(tmp_path, range(1, 25))
    shutil.copy(path, tmp_path / "a_day_ago.db")
    b.change(path, "update memories set content = 'changed' where rowid < 5")
    b.change(path, "delete from memories where rowid = 20")
    older = left_alone(tmp_path)
    assert older.path.name == "a_day_ago.db"
    assert "an older state of" in older.why
    assert "19 of 24 rows are the same there" in older.why


def test_a_copy_of_a_copy_names_the_file_that_is_taken(tmp_path: Path) -> None:
    path = memory_file(tmp_path, range(1, 9))
    for name in ("z.db", "zz.db"):
        shutil.copy(path, tmp_path / name)
    files = [file for file in b.found(tmp_path) if file.treatment == "list"]
    assert {file.path.name for file in files} == {"z.db", "zz.db"}
    assert all(str(path) in file.why for file in files)


def test_files_with_rows_of_their_own_are_both_taken(tmp_path: Path) -> None:
    memory_file(tmp_path, range(1, 9)).rename(tmp_path / "mine.db")
    memory_file(tmp_path, range(5, 30)).rename(tmp_path / "theirs.db")
    b.write_kind(tmp_path / "empty", "semantic_memory").rename(tmp_path / "empty.db")
    assert set(treatments(tmp_path).values()) == {"consolidate"}


def test_v32_sources_hold_rows_of_their_own_fails_for_a_copy(
    engine: sa.Engine, tmp_path: Path
) -> None:
    kind = MEMOS.kind("semantic_memory")
    context = CheckContext(engine, MEMOS, Settings())
    path = memory_file(tmp_path / "data", range(1, 9))
    b.consolidate(engine, path)
    alone = sources_hold_rows_of_their_own(context, kind)
    assert (alone.passed, alone.observed) == (True, "0 of 1")
    copy = tmp_path / "data" / "second.db"
    shutil.copy(path, copy)
    b.consolidate(engine, copy)
    found = sources_hold_rows_of_their_own(context, kind)
    assert not found.passed
    assert found.observed == (
        "second has the rows of semantic_memory: 8 of 8 are the same in the files, "
        "and PostgreSQL has 8 keys of both"
    )


def test_a_file_that_is_a_source_already_gets_no_second_name(
    engine: sa.Engine, tmp_path: Path
) -> None:
    path = memory_file(tmp_path, range(1, 3))
    b.consolidate(engine, path)
    with pytest.raises(UsageError, match=r"^M563 .* Fix: .*--data semantic_memory="):
        register_files(engine, b.found(f"agent={path}"))


@pytest.mark.parametrize("first_is", ["demo", "mine"])
def test_rows_of_a_demo_are_not_mixed_with_others(
    first_is: str, engine: sa.Engine, tmp_path: Path
) -> None:
    mine = memory_file(tmp_path / "mine", range(1, 3))
    demo = b.write_kind(tmp_path / "demo" / "data", "meta_buffer", templates=[b.template(1)])
    (tmp_path / "demo" / DEMO_MANIFEST).write_text("{}")
    first, second = (demo, mine) if first_is == "demo" else (mine, demo)
    register_files(engine, b.found(first))
    with pytest.raises(UsageError, match=r"^M564 .*rows of a demo would be mixed"):
        register_files(engine, b.found(second))
    assert b.rows(engine, "select path from memos_ops.sources") == [(str(first),)]


@pytest.mark.parametrize("left", [0, 3])
def test_a_table_that_lost_most_of_its_rows_is_loaded_once_the_count_is_accepted(
    left: int, engine: sa.Engine, tmp_path: Path
) -> None:
    path = memory_file(tmp_path / "data", range(1, 9))
    former = b.consolidate(engine, path)
    b.change(path, f"delete from memories where rowid > {left}")
    with pytest.raises(UsageError, match=r"^M561 .*memories had 8 rows .*, and has") as refused:
        b.consolidate(engine, path)
    assert f"--accept-rows semantic_memory.memories={left}" in refused.value.fix
    assert b.rows(engine, "select count(*) from memos.semantic_memories") == [(8,)]
    assert b.rows(engine, "select pin_digest from memos_ops.sources") == [(former.digest,)]
    assert [pin.name for pin in former.path.parent.glob("*.db")] == [former.path.name]

    b.accept_counts(engine, path)
    b.consolidate(engine, path)
    assert b.rows(engine, "select count(*) from memos.semantic_memories") == [(left,)]
    assert b.rows(engine, "select count(*) from memos_ops.accepted_counts") == [(0,)]


def test_half_of_the_rows_may_go_without_a_word(engine: sa.Engine, tmp_path: Path) -> None:
    path = memory_file(tmp_path / "data", range(1, 9))
    b.consolidate(engine, path)
    b.change(path, "delete from memories where rowid > 4")
    b.consolidate(engine, path)
    assert b.rows(engine, "select count(*) from memos.semantic_memories") == [(4,)]


@pytest.mark.parametrize("argument", ["memories=0", "a.b=", "a.b=-1", "a.b=x", "=0", ".t=0", ""])
def test_an_accepted_count_that_is_written_otherwise_is_refused(argument: str) -> None:
    with pytest.raises(UsageError, match=r"^M562 "):
        Acceptance.parse(argument)


def test_an_accepted_count_names_a_source_with_dots() -> None:
    assert Acceptance.parse("a.b.c=12") == Acceptance("a.b", "c", 12)
