"""Retention: which snapshots are kept and why, and which files nothing refers to any more.

As restic's and borg's: of each of the last days, weeks and months that have a snapshot, the newest
one is kept. Labelled ones, the newest one and the one that was verified last are kept for good.
Databases that share a store are judged each by itself.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from memos_assets.errors import SnapshotError
from memos_assets.settings import Settings
from memos_assets.snapshots import marks
from memos_assets.snapshots.manifest import Manifest
from memos_assets.snapshots.store import MANIFESTS, PARTIAL, SHORTEST_ID, TABLES, Store

#: Period -> the name of the one that a moment is in; UTC.
_PERIODS: Final[Mapping[str, Callable[[datetime], str]]] = {
    "daily": lambda at: f"{at:%Y-%m-%d}",
    "weekly": lambda at: f"{at:%G-W%V}",
    "monthly": lambda at: f"{at:%Y-%m}",
}


@dataclass(frozen=True, slots=True)
class Policy:
    """How many snapshots are kept.

    Attributes:
        daily, weekly, monthly: of how many days, ISO weeks and months the newest is kept.
        grace: age at which a file that nothing refers to may go. A write that takes longer would
            lose its files.
    """

    daily: int = 7
    weekly: int = 4
    monthly: int = 12
    grace: timedelta = timedelta(days=1)

    @classmethod
    def of(cls, settings: Settings) -> "Policy":
        """Return the policy of the settings."""
        return cls(
            settings.snapshots_keep_daily,
            settings.snapshots_keep_weekly,
            settings.snapshots_keep_monthly,
            timedelta(hours=settings.snapshots_grace_hours),
        )


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file that no kept snapshot refers to.

    Attributes:
        name: within the store.
        bytes: of the file.
        modified: when it was written; None: the file system does not say.
    """

    name: str
    bytes: int
    modified: datetime | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a policy makes of a store at one moment; nothing is deleted by it.

    Attributes:
        kept: id -> the reasons.
        dropped: snapshots that no reason keeps, the oldest first.
        files: that may go.
        waiting: unreferenced files that are within the grace period.
    """

    kept: Mapping[str, Sequence[str]]
    dropped: Sequence[Manifest]
    files: Sequence[Leftover]
    waiting: Sequence[Leftover]

    @property
    def bytes(self) -> int:
        """Bytes of the files that may go."""
        return sum(file.bytes for file in self.files)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to delete."""
        return not self.dropped and not self.files


def plan(store: Store, policy: Policy, now: datetime | None = None) -> Plan:
    """Return what a policy keeps and deletes; nothing is written.

    Args:
        store: of the snapshots.
        policy: of the settings.
        now: with a time zone; files are judged by it. None: now.

    Raises:
        SnapshotError: M800, M801, M830; with a manifest that cannot be read nobody knows which
            files it refers to.
    """
    now = now or datetime.now(UTC)
    manifests = store.manifests()
    kept = _kept(store, manifests, policy)
    referenced = {
        entry.file for manifest in manifests if manifest.id in kept for entry in manifest.tables
    }
    files: list[Leftover] = []
    waiting: list[Leftover] = []
    for found in _files(store, (TABLES, PARTIAL)):
        if found.name in referenced:
            continue
        is_old = found.modified is None or found.modified <= now - policy.grace
        (files if is_old else waiting).append(found)
    dropped = [manifest for manifest in manifests if manifest.id not in kept]
    return Plan(kept, dropped, files, waiting)


def prune(store: Store, decided: Plan) -> None:
    """Delete what a plan drops: manifests first, so that no snapshot is there without its files.

    A prune that was killed is completed by the next one. Hold `sole_writer` meanwhile.
    """
    for manifest in decided.dropped:
        store.delete(f"{MANIFESTS}/{manifest.id}.json")
    for file in decided.files:
        store.delete(file.name)
    marks.delete_marks(store)


def label(store: Store, snapshot: str, name: str | None) -> Manifest:
    """Give a snapshot a label, by which it is kept and found, or take it away.

    Args:
        store: of the snapshot.
        snapshot: its id, the beginning of it, or its former label.
        name: the label; None: no longer labelled.

    Raises:
        SnapshotError: M800 to M802.
        SnapshotError: M831 the label is of another snapshot, could be an id, or is not a name.
    """
    manifest = store.manifest(snapshot)
    if name is not None:
        refuse_label(name, (one for one in store.manifests() if one.id != manifest.id))
    labelled = replace(manifest, label=name)
    store.put_manifest(labelled)
    return labelled


def refuse_label(name: str, others: Iterable[Manifest] = ()) -> None:
    """Refuse what cannot be a label.

    Args:
        name: that is given.
        others: snapshots that may have it already.

    Raises:
        SnapshotError: M831.
    """
    digits = set("0123456789abcdef")
    if not name.strip() or "/" in name or "\x00" in name or len(name) > 200:
        what = "a label has 1 to 200 characters, and no slash"
    elif len(name) >= SHORTEST_ID and set(name) <= digits:
        what = "a label of hexadecimal digits would be taken for an id"
    elif any(other.label == name for other in others):
        what = "another snapshot has this label"
    else:
        return
    raise SnapshotError(
        "M831", what, where=f"label {name[:40]!r}", fix="choose another name for the label"
    )


def _kept(
    store: Store, manifests: Sequence[Manifest], policy: Policy
) -> Mapping[str, Sequence[str]]:
    """Return id -> the reasons why it is kept, of each database for itself."""
    verified = marks.verified(store)
    kept: dict[str, Sequence[str]] = {}
    for database in sorted(frozenset().union(*(one.databases for one in manifests))):
        own = [one for one in manifests if database in one.databases]
        for snapshot, reasons in _kept_of_one(own, verified, policy).items():
            kept[snapshot] = list(dict.fromkeys([*kept.get(snapshot, ()), *reasons]))
    return kept


def _kept_of_one(
    manifests: Sequence[Manifest], verified: Mapping[str, datetime], policy: Policy
) -> Mapping[str, Sequence[str]]:
    reasons: dict[str, list[str]] = {}
    dated = moments(manifests)
    for period, count in zip(_PERIODS, (policy.daily, policy.weekly, policy.monthly), strict=True):
        name = _PERIODS[period]
        newest: dict[str, str] = {}
        for at, manifest, _ in dated:
            newest.setdefault(name(at), manifest.id)
        for when in list(newest)[:count]:
            reasons.setdefault(newest[when], []).append(f"{period} {when}")
    if dated:
        reasons.setdefault(dated[0][1].id, []).append("the newest")
    own = [one.id for one in manifests if one.id in verified]
    last = max(own, key=lambda snapshot: (verified[snapshot], snapshot), default=None)
    if last is not None:
        reasons.setdefault(last, []).append("verified last")
    for manifest in manifests:
        if manifest.label is not None:
            reasons.setdefault(manifest.id, []).append(f"label {manifest.label}")
    return reasons


def moments(manifests: Iterable[Manifest]) -> list[tuple[datetime, Manifest, str | None]]:
    """Return every moment that snapshots hold, the newest first: when, snapshot, partition."""
    found = [
        (datetime.fromisoformat(moment.made_at).astimezone(UTC), manifest, moment.partition)
        for manifest in manifests
        for moment in manifest.moments
    ]
    return sorted(found, key=lambda one: (one[0], one[1].id), reverse=True)


def _files(store: Store, folders: Iterable[str]) -> Iterator[Leftover]:
    for folder in folders:
        for info in store.infos(folder):
            yield Leftover(store.name_of(info), int(info.size or 0), info.mtime)
