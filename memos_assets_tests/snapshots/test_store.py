"""A store that is damaged, changes meanwhile, or does not answer: each is one error, or none."""

from pathlib import Path

import pytest

from memos_assets.errors import SnapshotError
from memos_assets.snapshots.manifest import Rewritten
from memos_assets.snapshots.store import Store, open_store
from memos_assets_tests.snapshots.test_keep import NOON, put


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "snapshots"))


def why(store: Store, name: str) -> str:
    with pytest.raises(SnapshotError) as caught:
        store.manifest(name)
    return str(caught.value)


def test_files_of_other_names_are_not_snapshots(store: Store) -> None:
    made = put(store, NOON, 1)
    for name in (".DS_Store", f"{made.id}.json.bak", "notes.json"):
        store.write(f"manifests/{name}", b"{}")
        store.write(f"rewritten/{name}", b"{}")
    assert store.ids() == [made.id]
    assert store.manifests() == [made]
    assert store.rewritten() == []


def test_a_damaged_manifest_keeps_nobody_from_the_others(store: Store) -> None:
    made = put(store, NOON, 1, label="good")
    other = put(store, NOON, 2)
    store.write(f"manifests/{other.id}.json", b"{")
    assert store.manifest("good") == made
    assert "there is no such snapshot" in why(store, "unknown")
    assert why(store, other.id[:12]).startswith("M800")


def test_a_snapshot_that_is_pruned_meanwhile_is_gone_for_readers(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, gone = put(store, NOON, 1), put(store, NOON, 2)
    listed = store.ids()
    store.delete(f"manifests/{gone.id}.json")
    monkeypatch.setattr(Store, "ids", lambda _: listed)
    assert store.manifests() == [made]
    assert why(store, gone.id).startswith("M802")


def test_beginnings_that_are_too_short_are_told_so(store: Store) -> None:
    made = put(store, NOON, 1)
    store.put_rewritten(Rewritten("0" * 64, made.id, NOON.isoformat()))
    assert "6 digits" in why(store, "")
    assert "6 digits" in why(store, "0000")
    assert f"rewritten to {made.id[:12]}" in why(store, "000000")


@pytest.mark.parametrize("note", [b"{", b"[]", b'{"id": 1}', b'{"id": "", "into": "", "at": ""}'])
def test_a_damaged_note_of_a_rewrite_is_one_error(store: Store, note: bytes) -> None:
    store.write(f"rewritten/{'0' * 64}.json", note)
    with pytest.raises(SnapshotError, match="M800"):
        store.rewritten()
