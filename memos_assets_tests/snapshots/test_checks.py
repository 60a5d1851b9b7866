"""Checks of snapshots: each passes on a store that is whole, and fails on one that is not."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.check import CheckContext
from memos_assets.settings import Settings
from memos_assets.snapshots import checks, coverage, marks
from memos_assets.snapshots.store import Store, open_store
from memos_assets.snapshots.write import write_snapshot
from memos_assets_tests.snapshots.memories import fill


@pytest.fixture
def store(settings: Settings) -> Store:
    return open_store(settings.snapshots_location)


@pytest.fixture
def context(engine: sa.Engine, settings: Settings) -> CheckContext:
    return CheckContext(engine, MEMOS, settings)


def redate(store: Store, snapshot: str, days: float) -> None:
    """Say that a snapshot was made some days ago; its id is of its content alone."""
    path = Path(store.path(f"manifests/{snapshot}.json"))
    manifest = store.manifest(snapshot)
    then = (datetime.now(UTC) - timedelta(days=days)).isoformat()
    path.write_text(path.read_text().replace(manifest.made_at, then))


def test_a_store_without_snapshots_fails_the_check_of_age_alone(context: CheckContext) -> None:
    outcomes = {check.number: check.judge(context, None) for check in checks.CHECKS}
    assert [number for number, one in outcomes.items() if not one.passed] == [47]
    assert outcomes[47].observed == "no snapshot was written so far"


def test_v47_newest_verified_snapshot_is_young_fails_when_it_is_old_or_not_verified(
    engine: sa.Engine, store: Store, context: CheckContext
) -> None:
    first = write_snapshot(engine, store).manifest.id
    judged = checks.newest_verified_is_young(context, None)
    assert (judged.passed, judged.observed) == (False, "none was verified")
    marks.mark_verified(store, first)
    assert checks.newest_verified_is_young(context, None).passed
    redate(store, first, 2)
    fill(engine, 3)
    write_snapshot(engine, store)
    judged = checks.newest_verified_is_young(context, None)
    assert (judged.passed, judged.observed) == (False, "the newest is 48.0 hours old")
    store.write(f"verified/{first}.json", b"[]")
    judged = checks.newest_verified_is_young(context, None)
    assert (judged.passed, judged.observed[:4]) == (False, "M830")


def test_v48_files_of_snapshots_are_whole_fails_for_a_flipped_byte_a_missing_file_and_a_manifest(
    engine: sa.Engine, store: Store, context: CheckContext
) -> None:
    fill(engine, 3)
    manifest = write_snapshot(engine, store).manifest
    assert checks.files_are_whole(context, None).passed
    memories, links = manifest.entry("agent.memories"), manifest.entry("agent.links")
    assert memories is not None
    assert links is not None
    path = Path(store.path(memories.file))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    store.delete(links.file)
    judged = checks.files_are_whole(context, None)
    files = sorted(one["file"].rpartition("/")[2] for one in judged.evidence["damaged"])
    assert not judged.passed
    assert files == sorted(one.file.rpartition("/")[2] for one in (memories, links))
    store.write(f"manifests/{manifest.id}.json", b"{}")
    judged = checks.files_are_whole(context, None)
    assert [one["code"] for one in judged.evidence["damaged"]] == ["M800"]


def test_v49_no_erased_user_is_in_a_snapshot_fails_for_rows_of_before_the_erasure(
    engine: sa.Engine, store: Store, context: CheckContext
) -> None:
    fill(engine, 3)
    snapshot = write_snapshot(engine, store).manifest.id
    assert checks.no_erased_user_is_inside(context, None).passed
    with engine.begin() as conn:
        conn.exec_driver_sql(
            "insert into agent.erasures (user_digest, erased_by, counts) "
            "values (encode(sha256('ann'), 'hex'), 'tests', '{}')"
        )
    judged = checks.no_erased_user_is_inside(context, None)
    assert (judged.passed, judged.observed) == (False, "1 snapshots do")
    assert judged.evidence["snapshots"] == [snapshot]
    assert "agent.memories" in judged.evidence["tables"]
    assert "ann" not in str(judged.evidence).replace("annot", "")


def test_v50_snapshots_leave_nothing_out_fails_for_a_new_table_and_a_new_column(
    engine: sa.Engine,
    store: Store,
    context: CheckContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_snapshot(engine, store)
    with engine.begin() as conn:
        conn.exec_driver_sql("create table public.of_others (id int primary key)")
    judged = checks.coverage_is_complete(context, None)
    assert judged.passed
    assert judged.evidence["of others"] == ["public.of_others"]
    with engine.begin() as conn:
        conn.exec_driver_sql("alter table agent.links add column color text")
        conn.exec_driver_sql("create table agent.notes (id int primary key)")
    judged = checks.coverage_is_complete(context, None)
    assert not judged.passed
    assert judged.evidence["not classified"] == ["agent.notes"]
    assert judged.evidence["missing in the newest snapshot"] == {"agent.links": ["color"]}
    monkeypatch.setitem(coverage.AGENT, "notes", coverage.Coverage("snapshot"))
    judged = checks.coverage_is_complete(context, None)
    assert judged.evidence["missing in the newest snapshot"] == {
        "agent.links": ["color"],
        "agent.notes": ["id"],
    }
    write_snapshot(engine, store)
    assert checks.coverage_is_complete(context, None).passed
