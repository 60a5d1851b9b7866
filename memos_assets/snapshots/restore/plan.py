"""What an exact restore would change, table by table; nothing is written.

Rows of a table whose digest differs are compared in a temporary table of the session, which goes
with the transaction.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import sqlalchemy as sa

from memos_assets.errors import SnapshotError
from memos_assets.snapshots.differences import Counts
from memos_assets.snapshots.manifest import Manifest
from memos_assets.snapshots.reader import batches
from memos_assets.snapshots.restore.exchange import hanging
from memos_assets.snapshots.restore.scope import (
    live_tables,
    require_form,
    require_model,
    require_nobody_erased,
    require_own,
    scope_of,
)
from memos_assets.snapshots.restore.shadow import digest_of
from memos_assets.snapshots.restore.staged import refused_for, stage
from memos_assets.snapshots.store import Store


@dataclass(frozen=True, slots=True)
class Plan:
    """What a restore would do.

    Attributes:
        snapshot: its id.
        tables: ``schema.table`` -> what would change, of all tables that are restored.
        refusals: why an exact restore would be refused as things are.
        left: tables of the snapshot that would stay as they are.
        models: tables of embeddings that would be dropped: of models that were registered since.
    """

    snapshot: str
    tables: Mapping[str, Counts]
    refusals: tuple[SnapshotError, ...] = ()
    left: tuple[str, ...] = ()
    models: Mapping[str, int] = field(default_factory=dict)

    @property
    def changes(self) -> bool:
        """Whether anything would change."""
        return bool(self.models) or any(counts.all for counts in self.tables.values())


def plan(engine: sa.Engine, store: Store, manifest: Manifest) -> Plan:
    """Compare a snapshot with what is live.

    Args:
        engine: of the owner of the tables.
        store: where the snapshot is.
        manifest: of the snapshot, of any database.

    Raises:
        SnapshotError: M807 a file is missing or damaged; M816 its tables have another form.
    """
    scope = scope_of(manifest)
    with engine.connect() as conn:
        require_form(conn, manifest)
        live = live_tables(conn)
        tables: dict[str, Counts] = {}
        for entry in scope.entries:
            table = live.get(entry.qualified)
            if table is None:
                tables[entry.qualified] = Counts(added=entry.rows)
                continue
            rows = digest_of(conn, table)
            if (rows.rows, rows.hexdigest()) == (entry.rows, entry.digest):
                tables[entry.qualified] = Counts()
            else:
                tables[entry.qualified] = stage(conn, entry, batches(store, entry)).counts(conn)
        gone = {
            name: digest_of(conn, table).rows for name, table in live.items() if name not in tables
        }
        refusals = tuple(_refusals(conn, store, manifest))
        conn.rollback()
    return Plan(manifest.id, tables, refusals, tuple(scope.left), gone)


def _refusals(conn: sa.Connection, store: Store, manifest: Manifest) -> Iterator[SnapshotError]:
    for refuse in (
        partial(require_own, conn, manifest, from_other=False),
        partial(require_model, conn, store, manifest),
        partial(require_nobody_erased, conn, store, manifest),
    ):
        try:
            refuse()
        except SnapshotError as refusal:
            yield refusal
    if found := hanging(conn):
        yield refused_for(found)
