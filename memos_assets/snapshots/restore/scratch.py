"""A restore that is taken back: the proof that a snapshot can be restored, beside live tables."""

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from memos_assets.snapshots.manifest import Manifest
from memos_assets.snapshots.reader import batches, check_files
from memos_assets.snapshots.restore import shadow
from memos_assets.snapshots.restore.leftovers import PREFIX
from memos_assets.snapshots.restore.scope import require_form, scope_of
from memos_assets.snapshots.restore.staged import stage
from memos_assets.snapshots.store import Store


@dataclass(frozen=True, slots=True)
class ScratchProof:
    """What a restore into a scratch schema proved.

    Attributes:
        snapshot: its id.
        tables: whose rows, read again, have the digests of the manifest.
        left: tables that no restore touches, such as consolidated ones.
        rows: of the tables that were restored.
        seconds: that it took.
    """

    snapshot: str
    tables: Sequence[str]
    left: Sequence[str]
    rows: int
    seconds: float


def prove_in_scratch(engine: sa.Engine, store: Store, manifest: Manifest) -> ScratchProof:
    """Restore a snapshot into a scratch schema, prove it there, and take everything back.

    Tables, indexes, foreign keys and sequences are made as an exact restore makes them, in one
    transaction that is rolled back: live tables are not locked, and a kill leaves nothing.

    Args:
        engine: of the owner of the tables.
        store: where the snapshot is.
        manifest: of it.

    Raises:
        SnapshotError: M807 a file is missing or damaged; M816 its tables have another form than the
            live ones; M818 what was loaded is not what the manifest says.
    """
    started = time.monotonic()
    for damaged in check_files(store, manifest):
        raise damaged
    scope = scope_of(manifest)
    name = f"{PREFIX}{uuid.uuid4().hex[:12]}"
    with engine.connect() as conn:
        transaction = conn.begin()
        try:
            require_form(conn, manifest)
            shadow.build(conn, store, scope.agents, name, whole=False)
            staged = [stage(conn, one, batches(store, one)) for one in scope.application]
            shadow.prove(conn, scope.agents, name)
            shadow.prove_staged(conn, staged)
        finally:
            transaction.rollback()
    return ScratchProof(
        manifest.id,
        [entry.qualified for entry in scope.entries],
        scope.left,
        sum(entry.rows for entry in scope.entries),
        time.monotonic() - started,
    )
