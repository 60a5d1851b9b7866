"""The conditions of a retirement, one by one, each with its reason and its fix."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS, FileKind
from memos_assets.consolidate.archive.eligibility import (
    Candidate,
    CheckSeen,
    find_candidates,
    judge,
    manifest_of,
)
from memos_assets.consolidate.archive.forget import forget
from memos_assets.consolidate.sources import registry
from memos_assets.consolidate.sources.discover import Root
from memos_assets.consolidate.sources.pins import Pin
from memos_assets.errors import SourceError
from memos_assets_tests.consolidate import builders as b
from memos_assets_tests.sqlite.test_locks import connected

SEEN = CheckSeen(
    check="V01",
    asset="memos/x",
    passed=True,
    proven=True,
    expected="1 rows",
    observed="1 loaded",
    evaluated_at="2026-11-23T08:00:00+00:00",
    run_id="r",
    consolidation="c",
    pins={},
)


@pytest.fixture
def engine(shared_engine: sa.Engine) -> Iterator[sa.Engine]:
    """Give each test the module's database without a source."""
    yield shared_engine
    with shared_engine.connect() as conn:
        names = [source.name for source in registry.registered_sources(conn, MEMOS.kinds)]
    for name in names:
        forget(shared_engine, MEMOS, name, with_rows=True)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def pin(engine: sa.Engine, data: Path) -> Pin:
    """Load a file with one row in the rejects."""
    path = b.write_kind(
        data,
        "meta_buffer",
        templates=[b.template(1), b.template(2), b.template(3, query_pattern="a\0b")],
    )
    return b.consolidate(engine, path)


def judged(
    engine: sa.Engine,
    data: Path,
    *checks: CheckSeen,
    accept: bool = True,
    archive: Path | None = None,
    roots: Sequence[Path] | None = None,
) -> list[Candidate]:
    def evaluations(_: FileKind) -> Sequence[CheckSeen]:
        return checks

    with engine.connect() as conn:
        found = find_candidates(conn, MEMOS, b.found(data) if any(data.rglob("*.db")) else [])
    return judge(
        engine,
        found,
        archive=archive or data.parent / "archive",
        roots=[Root(root) for root in roots or [data]],
        evaluations=evaluations,
        accept_open_rejects=accept,
    )[0]


def reasons(candidates: Sequence[Candidate]) -> list[str]:
    (candidate,) = candidates
    assert all(unmet.fix for unmet in candidate.unmet)
    return [unmet.what for unmet in candidate.unmet]


def test_a_proven_source_would_be_retired_and_its_manifest_says_what_was_proven(
    engine: sa.Engine, data: Path, pin: Pin
) -> None:
    seen = replace(SEEN, pins={"meta_buffer": pin.digest})
    (candidate,) = judged(engine, data, seen)
    assert candidate.would_be_retired
    manifest = manifest_of(engine, candidate)
    assert manifest.pin_digest == pin.digest
    assert manifest.consolidations == {"loads": ["run"], "c": ["r"]}
    assert manifest.rejects == (
        {
            "table_name": "thought_templates",
            "reason": "nul_character",
            "resolution": None,
            "rows": 1,
        },
    )
    assert [entry["claim"] for entry in manifest.checklist] == ["V01"]
    assert not (data.parent / "archive").exists()


def test_open_rejects_are_counted_by_reason_unless_they_are_accepted(
    engine: sa.Engine, data: Path, pin: Pin
) -> None:
    assert pin.origin.exists()
    assert reasons(judged(engine, data, accept=False)) == [
        "1 of its rows are open in the rejects: nul_character 1"
    ]
    b.execute(engine, "update memos_ops.rejects set resolution = 'drop'")
    assert reasons(judged(engine, data, accept=False)) == []


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        pytest.param(replace(SEEN, evaluated_at=""), "V01 on memos/x was never checked", id="not"),
        pytest.param(replace(SEEN, passed=False), "V01 on memos/x: 1 loaded", id="red"),
        pytest.param(
            replace(SEEN, proven=False),
            "V01 on memos/x was checked before the last load or pin",
            id="stale",
        ),
        pytest.param(SEEN, "V01 on memos/x was checked of another pin", id="another pin"),
        pytest.param(replace(SEEN, pins=None), None, id="reads no source"),
    ],
)
def test_every_check_must_have_passed_on_what_is_loaded(
    engine: sa.Engine, data: Path, pin: Pin, seen: CheckSeen, reason: str | None
) -> None:
    assert pin.origin.exists()
    assert reasons(judged(engine, data, seen)) == ([reason] if reason else [])


def linked(pin: Pin) -> None:
    pin.origin.rename(pin.origin.with_name("elsewhere.txt"))
    pin.origin.symlink_to("elsewhere.txt")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(lambda pin: pin.origin.unlink(), ["the file is gone"], id="gone"),
        pytest.param(linked, ["the path is not a regular file"], id="symlink"),
        pytest.param(
            lambda pin: b.change(pin.origin, "delete from templates where rowid = 1"),
            ["it holds other rows than were loaded"],
            id="changed",
        ),
        pytest.param(lambda pin: b.change(pin.origin, "vacuum"), [], id="same rows"),
        pytest.param(lambda pin: pin.path.unlink(), ["the source has no pinned copy"], id="pin"),
        pytest.param(
            lambda pin: pin.origin.with_name("meta_buffer.db-journal").touch(),
            ["meta_buffer.db-journal is beside the file"],
            id="journal",
        ),
    ],
)
def test_the_file_must_be_what_was_verified(
    engine: sa.Engine,
    data: Path,
    pin: Pin,
    change: Callable[[Pin], object],
    expected: list[str],
) -> None:
    change(pin)
    with engine.connect() as conn:
        found = find_candidates(conn, MEMOS, [])
    candidates, _ = judge(
        engine,
        found,
        archive=data.parent / "archive",
        roots=[Root(data)],
        evaluations=lambda _: [],
        accept_open_rejects=True,
    )
    assert reasons(candidates) == expected


def test_stale_chunks_and_places_outside_the_roots_are_named(
    engine: sa.Engine, data: Path, pin: Pin, tmp_path: Path
) -> None:
    assert pin.origin.exists()
    b.execute(engine, "update memos_ops.chunks set code_version = 'older'")
    assert reasons(judged(engine, data)) == ["1 of its chunks are not loaded as it holds them"]
    assert reasons(judged(engine, data, roots=[tmp_path / "x"])) == [
        "the file is outside the roots"
    ]
    assert reasons(judged(engine, data, archive=Path("/proc/archive"))) == [
        "the archive is on another file system"
    ]


@pytest.mark.parametrize(
    ("statements", "locks"),
    [
        pytest.param(["select 1 from templates"], 0, id="idle"),
        pytest.param(["begin", "select 1 from templates"], 1, id="reads"),
        pytest.param(["begin immediate"], 2, id="writes"),
    ],
)
def test_a_file_that_a_process_has_open_is_not_retired(
    engine: sa.Engine, data: Path, pin: Pin, statements: list[str], locks: int
) -> None:
    with connected(pin.origin, *statements) as pid:
        open_in, *locked = reasons(judged(engine, data))
    assert open_in.startswith("the file is open in ")
    assert open_in.endswith(f"({pid})")
    assert len(locked) == locks
    assert reasons(judged(engine, data)) == []


def test_caches_and_foreign_files_stay_and_test_files_go(
    engine: sa.Engine, data: Path, samples: Path
) -> None:
    for place, sample in (
        ("cache/content_cache.db", "cache/content_cache.db"),
        ("tests/data/old_buffer.db", "meta_buffer.db"),
        ("unified_hybrid.db", "hsea_hybrid.db"),
        ("meta_buffer.db", "meta_buffer.db"),
    ):
        (data / place).parent.mkdir(parents=True, exist_ok=True)
        (data / place).write_bytes((samples / sample).read_bytes())
    b.write_file(
        data / "tests/data/model_benchmarks.db", ["create table benchmark_results (model)"]
    )
    found = {candidate.name: candidate for candidate in judged(engine, data)}
    assert {name: one.role for name, one in found.items()} == {
        "content_cache": "stays",
        "old_buffer": "other",
        "unified_hybrid": "other",
        "meta_buffer": "other",
        "model_benchmarks": "stays",
    }
    assert [name for name, one in found.items() if one.would_be_retired] == [
        "old_buffer",
        "unified_hybrid",
    ]
    assert [unmet.what for unmet in found["meta_buffer"].unmet] == ["the file is not consolidated"]


def test_a_file_that_changes_after_its_check_is_not_retired(
    engine: sa.Engine, data: Path, pin: Pin
) -> None:
    (candidate,) = judged(engine, data)
    b.change(pin.origin, "delete from templates where rowid = 1")
    with pytest.raises(SourceError, match=r"^M110 .*not retired: the file changed"):
        manifest_of(engine, candidate)
    assert os.listdir(data) == ["meta_buffer.db"]  # noqa: PTH208  names, sorted by nobody
