"""Small files beside snapshots that note when each was verified: ``verified/ID.json``."""

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from memos_assets.errors import SnapshotError
from memos_assets.snapshots.store import Store

VERIFIED: Final = "verified"


def mark_verified(store: Store, snapshot: str, at: datetime | None = None) -> None:
    """Note that a verification of a snapshot succeeded.

    Args:
        store: of the snapshot.
        snapshot: its id.
        at: when; None: now.
    """
    content = {"snapshot": snapshot, "at": (at or datetime.now(UTC)).astimezone(UTC).isoformat()}
    store.write(f"{VERIFIED}/{snapshot}.json", json.dumps(content).encode())


def verified(store: Store) -> Mapping[str, datetime]:
    """Return id -> when it was last verified, of snapshots that are there.

    Raises:
        SnapshotError: M830.
    """
    there = set(store.ids())
    names = store.names(VERIFIED)
    found = {}
    for name in names:
        # Another process may prune meanwhile.
        with suppress(FileNotFoundError):
            if _snapshot(name) in there:
                found[_snapshot(name)] = _read(store, name)
    return found


def delete_marks(store: Store) -> list[str]:
    """Delete marks of snapshots that are gone; return their names."""
    there = set(store.ids())
    gone = [name for name in store.names(VERIFIED) if _snapshot(name) not in there]
    for name in gone:
        store.delete(name)
    return gone


def _snapshot(name: str) -> str:
    return name.rpartition("/")[2].removesuffix(".json")


def _read(store: Store, name: str) -> datetime:
    try:
        facts: dict[str, Any] = json.loads(store.read(name))
        at = datetime.fromisoformat(facts["at"])
        if facts["snapshot"] != _snapshot(name) or at.tzinfo is None:
            raise ValueError(name)
    except (ValueError, KeyError, TypeError) as error:
        raise SnapshotError(
            "M830",
            "the mark of a verified snapshot cannot be read",
            where=f"{store.url}/{name}",
            fix=f"delete the file; memos-assets snapshots verify {_snapshot(name)[:12]} writes it "
            "again",
        ) from error
    return at
