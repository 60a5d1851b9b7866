"""Small files beside snapshots: which were verified, and which one a partition of the asset is.

verified/ID.json        when the content of a snapshot was last found to be what it states
partitions/KEY.json     the snapshot that a partition is; days without a change share one
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from memos_assets.errors import SnapshotError
from memos_assets.snapshots.manifest import Manifest
from memos_assets.snapshots.store import Store

VERIFIED, PARTITIONS = "verified", "partitions"
_DAMAGED: Final = "M830"


@dataclass(frozen=True, slots=True)
class Mark:
    """What was noted of a snapshot.

    Attributes:
        snapshot: its id.
        at: when; of a partition the moment that its rows are of. With a time zone.
    """

    snapshot: str
    at: datetime


def mark_verified(store: Store, snapshot: str, at: datetime | None = None) -> None:
    """Note that a verification of a snapshot succeeded.

    Args:
        store: of the snapshot.
        snapshot: its id.
        at: when; None: now.
    """
    _put(store, f"{VERIFIED}/{snapshot}.json", Mark(snapshot, at or datetime.now(UTC)))


def verified(store: Store) -> Mapping[str, datetime]:
    """Return id -> when it was last verified, of snapshots that are there.

    Raises:
        SnapshotError: M830.
    """
    there = set(store.ids())
    marks = (_read(store, name) for name in store.names(VERIFIED))
    return {mark.snapshot: mark.at for mark in marks if mark.snapshot in there}


def mark_partition(store: Store, partition: str, manifest: Manifest) -> None:
    """Note that a partition of the asset is this snapshot from now on."""
    at = datetime.fromisoformat(manifest.made_at)
    _put(store, f"{PARTITIONS}/{partition}.json", Mark(manifest.id, at))


def partitions(store: Store) -> Mapping[str, Mark]:
    """Return partition -> the snapshot that it is, of snapshots that are there.

    A snapshot that was rewritten when a user was erased is followed to the one in its place.

    Raises:
        SnapshotError: M830.
    """
    there = set(store.ids())
    into = {one.id: one.into for one in store.rewritten()}
    found: dict[str, Mark] = {}
    for name in store.names(PARTITIONS):
        mark = _read(store, name)
        snapshot = _followed(mark.snapshot, into)
        if snapshot in there:
            key = name.removeprefix(f"{PARTITIONS}/").removesuffix(".json")
            found[key] = Mark(snapshot, mark.at)
    return found


def delete_marks(store: Store) -> list[str]:
    """Delete marks of snapshots that are gone; return their names.

    Raises:
        SnapshotError: M830.
    """
    kept = {f"{VERIFIED}/{snapshot}.json" for snapshot in verified(store)}
    kept |= {f"{PARTITIONS}/{key}.json" for key in partitions(store)}
    gone = [name for name in (*store.names(VERIFIED), *store.names(PARTITIONS)) if name not in kept]
    for name in gone:
        store.delete(name)
    return gone


def _followed(snapshot: str, into: Mapping[str, str]) -> str:
    seen = {snapshot}
    while (after := into.get(snapshot)) is not None and after not in seen:
        snapshot = after
        seen.add(after)
    return snapshot


def _put(store: Store, name: str, mark: Mark) -> None:
    content = {"snapshot": mark.snapshot, "at": mark.at.astimezone(UTC).isoformat()}
    store.write(name, json.dumps(content).encode())


def _read(store: Store, name: str) -> Mark:
    try:
        facts: dict[str, Any] = json.loads(store.read(name))
        at = datetime.fromisoformat(facts["at"])
        # A moment without a zone could not be compared with those that have one.
        return Mark(str(facts["snapshot"]), at if at.tzinfo else at.replace(tzinfo=UTC))
    except (ValueError, KeyError, TypeError) as error:
        raise SnapshotError(
            _DAMAGED,
            "the mark of a snapshot cannot be read",
            where=f"{store.url}/{name}",
            fix="delete the file; a verification, or the next run of the asset, writes it again",
        ) from error
