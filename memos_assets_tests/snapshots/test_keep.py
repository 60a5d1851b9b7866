"""Retention: which snapshots are kept, and which files may go."""

import os
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import fs

from memos_assets.errors import SnapshotError
from memos_assets.settings import Settings
from memos_assets.snapshots import keep, marks
from memos_assets.snapshots.keep import Policy
from memos_assets.snapshots.manifest import Manifest, Moment, TableEntry
from memos_assets.snapshots.store import Store, open_store

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
NEVER = Policy(0, 0, 0)


def entry(content: int, *, name: str = "memories") -> TableEntry:
    return TableEntry(
        schema="agent",
        name=name,
        columns=[("id", "bigint")],
        key=["id"],
        rows=1,
        digest=f"{content:064x}",
        bytes=4,
        sha256="0" * 64,
    )


def put(
    store: Store,
    at: datetime,
    content: int,
    *,
    label: str | None = None,
    database: str = "1/memos",
) -> Manifest:
    """Put a snapshot of two tables, of which one never changes."""
    tables = [entry(content), entry(0, name="spaces")]
    manifest = Manifest(
        tables=tables, made_at=at.isoformat(), revision="0016", database=database, label=label
    )
    for one in tables:
        store.write(one.file, b"rows")
    store.put_manifest(manifest)
    return manifest


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "snapshots"))


def age(store: Store, names: Sequence[str], hours: float, now: datetime) -> None:
    then = (now - timedelta(hours=hours)).timestamp()
    for name in names:
        os.utime(store.path(name), (then, then))


def test_of_days_weeks_and_months_the_newest_is_kept(store: Store) -> None:
    days = [date(2025, 6, 1) + timedelta(days=n) for n in range(545)]
    made = {
        put(store, datetime(day.year, day.month, day.day, hour, tzinfo=UTC), n * 2 + late).id: (
            day,
            hour,
        )
        for n, day in enumerate(days)
        for late, hour in enumerate((3, 15))
        if n % 8 == 0 or n > 530
    }
    kept = keep.plan(store, Policy()).kept
    last = days[-1]
    daily = sorted(made[one][0] for one, why in kept.items() if any("daily" in w for w in why))
    assert daily == [last - timedelta(days=n) for n in range(6, -1, -1)]
    assert {made[one][1] for one in kept} == {15}
    weeks = {w for why in kept.values() for w in why if w.startswith("weekly")}
    assert len(weeks) == 4
    assert {"weekly 2026-W48", "weekly 2026-W47"} <= weeks
    months = {w for why in kept.values() for w in why if w.startswith("monthly")}
    assert len(months) == 12
    assert f"monthly {last:%Y-%m}" in months


def test_the_newest_the_last_verified_and_labelled_ones_are_kept_whatever_the_policy(
    store: Store,
) -> None:
    made = [put(store, NOON - timedelta(days=n), n) for n in range(6)]
    keep.label(store, made[4].id, "before the change")
    marks.mark_verified(store, made[5].id, NOON - timedelta(hours=3))
    marks.mark_verified(store, made[3].id, NOON - timedelta(hours=2))
    assert keep.plan(store, NEVER).kept == {
        made[0].id: ["the newest"],
        made[3].id: ["verified last"],
        made[4].id: ["label before the change"],
    }


def test_databases_that_share_a_store_keep_snapshots_of_their_own(store: Store) -> None:
    made = [
        put(store, NOON - timedelta(days=day, hours=hour), 2 * day + hour, database=f"{hour}/memos")
        for day in range(3)
        for hour in (0, 1)
    ]
    marks.mark_verified(store, made[4].id, NOON - timedelta(hours=2))
    marks.mark_verified(store, made[5].id, NOON - timedelta(hours=3))
    assert keep.plan(store, Policy(2, 0, 0)).kept == {
        made[0].id: ["daily 2026-11-27", "the newest"],
        made[2].id: ["daily 2026-11-26"],
        made[4].id: ["verified last"],
        made[1].id: ["daily 2026-11-27", "the newest"],
        made[3].id: ["daily 2026-11-26"],
        made[5].id: ["verified last"],
    }


def test_days_without_a_change_count_as_days_of_the_snapshot_that_they_share(store: Store) -> None:
    first = put(store, NOON - timedelta(days=3), 1)
    for day in (2, 1, 0):
        at = NOON - timedelta(days=day)
        first = first.seen_again(Moment(at.isoformat(), partition=f"{at:%Y-%m-%d}"))
        store.put_manifest(first)
    kept = keep.plan(store, Policy(3, 0, 0)).kept
    assert kept == {
        first.id: ["daily 2026-11-27", "daily 2026-11-26", "daily 2026-11-25", "the newest"]
    }


def test_prune_deletes_dropped_snapshots_their_files_and_marks_and_nothing_shared(
    store: Store,
) -> None:
    old, new = put(store, NOON - timedelta(days=1), 1), put(store, NOON, 2)
    marks.mark_verified(store, old.id, NOON - timedelta(hours=2))
    marks.mark_verified(store, new.id, NOON - timedelta(hours=1))
    now = datetime.now(UTC) + timedelta(hours=25)
    decided = keep.plan(store, Policy(1, 0, 0), now)
    assert [one.id for one in decided.dropped] == [old.id]
    assert [file.name for file in decided.files] == [old.tables[0].file]
    assert (decided.bytes, decided.waiting) == (4, [])
    assert set(store.ids()) == {old.id, new.id}  # A plan deletes nothing.
    keep.prune(store, decided)
    assert store.ids() == [new.id]
    assert store.names("tables") == sorted(one.file for one in new.tables)
    assert list(marks.verified(store)) == [new.id]
    assert store.names("verified") == [f"verified/{new.id}.json"]
    assert keep.plan(store, Policy(1, 0, 0), now).is_empty


def test_files_that_nothing_refers_to_wait_for_the_grace_period(store: Store) -> None:
    put(store, NOON, 1)
    stray, part = "tables/agent.memories/stray.parquet", "partial/abc"
    store.write(stray, b"12345")
    store.filesystem.create_dir(store.path("partial"))
    with store.filesystem.open_output_stream(store.path(part)) as file:
        file.write(b"123")
    now = datetime.now(UTC)
    policy = Policy(grace=timedelta(hours=2))
    age(store, [stray, part], 1, now)
    young = keep.plan(store, policy, now)
    assert (young.files, [one.name for one in young.waiting]) == ([], [stray, part])
    age(store, [part], 3, now)
    decided = keep.plan(store, policy, now)
    assert [(one.name, one.bytes) for one in decided.files] == [(part, 3)]
    keep.prune(store, decided)
    assert store.exists(stray)
    assert not store.exists(part)


def test_nothing_is_planned_while_a_manifest_or_a_mark_cannot_be_read(store: Store) -> None:
    made = put(store, NOON, 1)
    marks.mark_verified(store, made.id)
    store.write(f"verified/{made.id}.json", b"{}")
    with pytest.raises(SnapshotError, match=r"^M830 ") as raised:
        keep.plan(store, Policy())
    assert str(made.id) in raised.value.where
    store.delete(f"verified/{made.id}.json")
    store.write(f"manifests/{made.id}.json", b"not json")
    with pytest.raises(SnapshotError, match=r"^M800 "):
        keep.plan(store, Policy())


@pytest.mark.parametrize("name", ["", " ", "a/b", "x" * 201, "abcdef12", "taken"])
def test_a_label_is_a_name_of_one_snapshot(store: Store, name: str) -> None:
    made = put(store, NOON, 1)
    put(store, NOON, 2, label="taken")
    with pytest.raises(SnapshotError, match=r"^M831 "):
        keep.label(store, made.id, name)
    assert store.manifest(made.id).label is None


def test_a_label_is_given_again_and_taken_away(store: Store) -> None:
    made = put(store, NOON, 1)
    keep.label(store, made.id[:8], "stable")
    keep.label(store, "stable", "stable")
    assert store.manifest("stable").id == made.id
    keep.label(store, "stable", None)
    assert store.manifest(made.id) == made


_MADE = st.lists(
    st.tuples(st.integers(0, 20_000), st.integers(0, 9), st.booleans(), st.booleans()),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(_MADE, st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))
def test_pruning_is_stable_and_every_kept_file_stays(
    made: list[tuple[int, int, bool, bool]], daily: int, weekly: int, monthly: int
) -> None:
    filesystem, _ = fs.FileSystem.from_uri("mock:///")
    store = Store(filesystem, "snapshots", "mock")
    for hours, content, is_verified, is_labelled in made:
        label = f"label {content}" if is_labelled else None
        one = put(store, NOON - timedelta(hours=hours), content, label=label)
        if is_verified:
            marks.mark_verified(store, one.id, NOON - timedelta(hours=hours))
    before = {one.id: one for one in store.manifests()}
    policy = Policy(daily, weekly, monthly, timedelta(0))
    later = datetime.now(UTC) + timedelta(hours=1)
    decided = keep.plan(store, policy, later)
    keep.prune(store, decided)
    assert set(store.ids()) == set(decided.kept)
    for kept in store.manifests():
        assert all(store.exists(one.file) for one in kept.tables)
    assert {one.id for one in before.values() if one.label} <= set(decided.kept)
    newest = max(before.values(), key=lambda one: (datetime.fromisoformat(one.made_at), one.id))
    assert newest.id in decided.kept
    again = keep.plan(store, policy, later)
    assert again.is_empty
    assert again.kept == decided.kept


def test_the_policy_comes_from_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Policy.of(Settings()) == Policy()
    monkeypatch.setenv("MEMOS_SNAPSHOTS_KEEP_DAILY", "30")
    monkeypatch.setenv("MEMOS_SNAPSHOTS_GRACE_HOURS", "0.5")
    changed = Policy.of(Settings())
    assert (changed.daily, changed.grace) == (30, timedelta(minutes=30))
