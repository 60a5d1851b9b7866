"""Take erased users out of kept snapshots: a snapshot with rows of theirs becomes another one.

The order makes it resumable. Files and manifest of the new snapshot come first, then the note
``rewritten/OLD.json``, and from then on the old one is not there for anybody. Its files and its
manifest go last. The next run finishes one that was interrupted: erased users are known by
the digests of their tombstones, so nobody has to know their ids.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import sqlalchemy as sa

from memos_assets.errors import SnapshotError
from memos_assets.postgres.schema.agent import erasures
from memos_assets.postgres.user_rows import user_digest
from memos_assets.snapshots import marks
from memos_assets.snapshots.manifest import Manifest, Rewritten, TableEntry
from memos_assets.snapshots.reader import table_of
from memos_assets.snapshots.store import MANIFESTS, TABLES, Store
from memos_assets.snapshots.table_writer import put_rows
from memos_assets.snapshots.verify import verify
from memos_assets.snapshots.without_users import (
    Taken,
    batches_without,
    find_taken,
    is_changed,
    users_in,
)


@dataclass(frozen=True, slots=True)
class Found:
    """An erased user in a snapshot of before.

    Attributes:
        snapshot: its id.
        table: a table that names the user.
        digest: of the user's id, as the tombstone has it.
    """

    snapshot: str
    table: str
    digest: str


@dataclass(slots=True)
class Rewrites:
    """What was done in a store.

    Attributes:
        rewritten: snapshots that became others.
        files: how many were deleted.
        failed: snapshots that could not be read, and so still have rows of erased users.
    """

    rewritten: list[Rewritten] = field(default_factory=list)
    files: int = 0
    failed: list[SnapshotError] = field(default_factory=list)


def erased_users(conn: sa.Connection) -> dict[str, datetime]:
    """Return the digest of each erased user's id -> when they were erased last."""
    rows = sa.select(
        erasures.c.user_digest, sa.func.max(erasures.c.erased_at).label("at")
    ).group_by(erasures.c.user_digest)
    return {row.user_digest: row.at for row in conn.execute(rows)}


def find_erased(store: Store, erased: Mapping[str, datetime]) -> list[Found]:
    """Return the erased users that snapshots of before their erasure name.

    A user who came back after the erasure is rightly in snapshots of later moments.

    Args:
        store: whose snapshots are read: of each file once the columns that name users.
        erased: from `erased_users`.

    Raises:
        SnapshotError: M800, M801, M807 a snapshot cannot be read.
    """
    known = _Users(store)
    return [
        Found(manifest.id, entry.qualified, digest)
        for manifest in store.manifests()
        for entry in manifest.tables
        for digest in known.erased(manifest, entry, erased)
    ]


def find_user(store: Store, user: str) -> dict[str, str]:
    """Return snapshot -> a table that names the user.

    Raises:
        SnapshotError: M800, M801, M807 a snapshot cannot be read.
    """
    now = {user_digest(user): datetime.now(UTC)}
    return {found.snapshot: found.table for found in reversed(find_erased(store, now))}


def take_out(store: Store, erased: Mapping[str, datetime], *, database: str) -> Rewrites:
    """Take erased users out of every snapshot of before their erasure, and finish former runs.

    The caller is the `sole_writer`, so that nobody writes a snapshot with rows of before. Marks,
    labels, partitions and parents follow. What a write that was killed left behind is deleted.
    Running it again changes nothing.

    Args:
        store: of the snapshots.
        erased: from `erased_users`.
        database: from `database_identity`: whose writers are kept out.

    Returns:
        What was done. A snapshot that cannot be read does not keep the others from it.
    """
    done = Rewrites()
    store.sweep()
    _settle(store, done)
    manifests = _readable(store, done)
    verified = marks.verified(store)
    known, written = _Users(store), _Written(store, manifests)
    for manifest in manifests:
        try:
            inside = known.inside(manifest, erased)
            if not inside:
                continue
            taken = find_taken(store, manifest, inside, max(inside.values()))
            new = _new_manifest(store, manifest, taken, written)
            _put(store, new)
            # The mark says that the content was verified, so it is verified anew.
            if manifest.id in verified and verify(store, new).is_whole:
                marks.mark_verified(store, new.id)
        except SnapshotError as error:
            done.failed.append(_failure(manifest.id, error))
            continue
        if new.id != manifest.id:
            note = Rewritten(manifest.id, new.id, datetime.now(UTC).isoformat())
            store.put_rewritten(note)
            done.rewritten.append(note)
    _settle(store, done)
    _remove_unreferenced(store, database, done)
    return done


class _Users:
    """Users whom files name; each file is read once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._named: dict[str, dict[str, str]] = {}

    def erased(
        self, manifest: Manifest, entry: TableEntry, erased: Mapping[str, datetime]
    ) -> dict[str, str]:
        """Return digest -> id of users whom a table names, erased after the snapshot was made."""
        named = self._named.get(entry.identity)
        if named is None:
            named = {user_digest(user): user for user in users_in(self._store, entry)}
            self._named[entry.identity] = named
        made_at = datetime.fromisoformat(manifest.made_at)
        return {
            digest: user
            for digest, user in named.items()
            if digest in erased and made_at <= erased[digest]
        }

    def inside(self, manifest: Manifest, erased: Mapping[str, datetime]) -> dict[str, datetime]:
        """Return id -> when erased, of users whom a snapshot names."""
        return {
            user: erased[digest]
            for entry in manifest.tables
            for digest, user in self.erased(manifest, entry, erased).items()
        }


class _Written:
    """Tables that were written without users; days share files, and so do the new ones."""

    def __init__(self, store: Store, manifests: Sequence[Manifest]) -> None:
        self._store = store
        self._known = {entry.identity: entry for one in manifests for entry in one.tables}
        self._entries: dict[tuple[str, str], TableEntry] = {}

    def entry(self, entry: TableEntry, taken: Taken) -> TableEntry:
        """Return a table without the users; the same one if it has nothing of theirs."""
        key = (entry.identity, taken.digest)
        if key not in self._entries:
            self._entries[key] = self._write(entry, taken)
        return self._entries[key]

    def _write(self, entry: TableEntry, taken: Taken) -> TableEntry:
        if not is_changed(self._store, entry, taken):
            return entry
        rows = batches_without(self._store, entry, taken)
        return put_rows(self._store, table_of(entry), rows, self._known)[0]


def _new_manifest(store: Store, manifest: Manifest, taken: Taken, written: _Written) -> Manifest:
    into = _followed(store)
    return replace(
        manifest,
        tables=[written.entry(entry, taken) for entry in manifest.tables],
        parent=into.get(manifest.parent or "", manifest.parent),
    )


def _put(store: Store, new: Manifest) -> None:
    """Write a manifest; where its rows are those of a snapshot that is there, that one stays.

    Its label stays, too, and its moments are joined.
    """
    if not store.exists(f"{MANIFESTS}/{new.id}.json"):
        store.put_manifest(new)
        return
    there = store.manifest(new.id)
    joined = {
        replace(moment, database=moment.database or one.database)
        for one in (there, new)
        for moment in one.moments
    }
    moments = sorted(joined, key=lambda one: one.made_at)
    first, *again = moments
    older = min(there, new, key=lambda one: one.made_at)
    store.put_manifest(
        replace(
            there,
            made_at=first.made_at,
            partition=first.partition,
            run=first.run,
            database=first.database or there.database,
            again=again,
            label=there.label or new.label,
            parent=None if older.parent == new.id else older.parent,
        )
    )


def _settle(store: Store, done: Rewrites) -> None:
    """Let parents follow, and delete what is left of snapshots that were rewritten."""
    into = _followed(store)
    if not into:
        return
    kept: set[str] = set()
    for manifest in _readable(store, Rewrites()):
        kept |= {entry.file for entry in manifest.tables}
        if manifest.parent in into:
            after = into[manifest.parent]
            store.put_manifest(replace(manifest, parent=None if after == manifest.id else after))
    for old in store.leftovers():
        try:
            gone = {entry.file for entry in store.read_manifest(old).tables} - kept
        except SnapshotError as error:
            done.failed.append(_failure(old, error))
            continue
        for name in sorted(gone):
            done.files += store.exists(name)
            store.delete(name)
        store.delete(f"{MANIFESTS}/{old}.json")
        store.delete(f"{marks.VERIFIED}/{old}.json")


def _remove_unreferenced(store: Store, database: str, done: Rewrites) -> None:
    """Delete files that a killed write left behind: they may have rows of erased users.

    Where another database writes to the store, a file may be one that it writes just now; where a
    manifest cannot be read, one of its files. They are left to `snapshots prune`.
    """
    manifests = _readable(store, Rewrites())
    if len(manifests) < len(store.ids()) or any(one.databases != {database} for one in manifests):
        return
    kept = {entry.file for one in manifests for entry in one.tables}
    for name in set(store.names(TABLES)) - kept:
        store.delete(name)
        done.files += 1


def _followed(store: Store) -> dict[str, str]:
    """Return id -> the id in whose place it is at last."""
    into = {one.id: one.into for one in store.rewritten()}

    def last(snapshot: str) -> str:
        seen = {snapshot}
        while snapshot in into and into[snapshot] not in seen:
            snapshot = into[snapshot]
            seen.add(snapshot)
        return snapshot

    return {snapshot: last(snapshot) for snapshot in into}


def _readable(store: Store, done: Rewrites) -> list[Manifest]:
    """Return the manifests that can be read, the oldest first; note the others."""
    whole, damaged = store.readable()
    done.failed += [_failure(snapshot, error) for snapshot, error in damaged.items()]
    return sorted(whole, key=lambda one: (one.made_at, one.id))


def _failure(snapshot: str, error: SnapshotError) -> SnapshotError:
    return SnapshotError(
        "M840",
        f"rows of erased users may be left in a snapshot: {error.code}, {error.what}",
        where=f"snapshot {snapshot[:12]}, {error.where}",
        fix="restore its files from a copy of the store, or delete its manifest and run "
        "memos-assets snapshots prune; then memos-assets user erasures --finish",
    )
