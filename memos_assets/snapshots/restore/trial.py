"""A trial: a snapshot is loaded into a scratch schema, proven there, and taken back.

For the check that says every day that yesterday's snapshot could be restored.
"""

import uuid

import sqlalchemy as sa

from memos_assets.snapshots.manifest import Manifest
from memos_assets.snapshots.reader import batches
from memos_assets.snapshots.restore import shadow
from memos_assets.snapshots.restore.exact import Proof
from memos_assets.snapshots.restore.leftovers import PREFIX
from memos_assets.snapshots.restore.scope import require_form, scope_of
from memos_assets.snapshots.restore.staged import stage
from memos_assets.snapshots.store import Store


def trial(
    engine: sa.Engine, store: Store, manifest: Manifest, *, prove: Proof | None = None
) -> int:
    """Restore a snapshot in a transaction that is rolled back; return the rows that were proven.

    Args:
        engine: of the owner of the tables.
        store: where the snapshot is.
        manifest: of the snapshot.
        prove: asks the loaded schema as agents ask.

    Raises:
        SnapshotError: M807 a file is missing or damaged; M816 its tables have another form; M818 it
            is not proven.
    """
    scope = scope_of(manifest)
    name = f"{PREFIX}trial_{uuid.uuid4().hex[:12]}"
    with engine.connect() as conn:
        require_form(conn, manifest)
        shadow.build(conn, store, scope.agents, name, whole=False)
        shadow.prove(conn, scope.agents, name)
        for entry in scope.application:
            shadow.prove_staged(conn, [stage(conn, entry, batches(store, entry))])
        if prove is not None and (wrong := prove(conn, name)):
            raise shadow.not_proven(wrong)
        conn.rollback()
    return sum(entry.rows for entry in scope.entries)
