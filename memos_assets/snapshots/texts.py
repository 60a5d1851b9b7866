"""Texts of memories in a snapshot, for those who may see them in the database, too."""

from collections.abc import Collection, Mapping

import sqlalchemy as sa

from memos_assets.errors import SnapshotError
from memos_assets.postgres.connection import database_identity
from memos_assets.snapshots.comparison import MEMORIES
from memos_assets.snapshots.duck_tables import Duck
from memos_assets.snapshots.manifest import Manifest

_SPACES = "agent.spaces"
_IS_OWNER = sa.text(
    "select coalesce((select pg_catalog.pg_has_role(relowner, 'USAGE') from pg_catalog.pg_class "
    "where oid = pg_catalog.to_regclass(:table)), false)"
)


def ensure_may_see(conn: sa.Connection, *manifests: Manifest) -> None:
    """Refuse who could not read all memories in the database itself.

    Args:
        conn: as the role that asks.
        manifests: of the snapshots whose texts are asked for.

    Raises:
        SnapshotError: M814 the role does not own the memories, or a snapshot is of another
            database.
    """
    database = database_identity(conn)
    if not conn.execute(_IS_OWNER, {"table": MEMORIES}).scalar_one():
        what = "this role does not own the memories"
    elif any(database not in one.databases for one in manifests):
        what = "they are of another database"
    else:
        return
    raise SnapshotError(
        "M814",
        f"texts of memories are not shown: {what}",
        where="snapshots " + ", ".join(one.id[:12] for one in manifests),
        fix="connect to the database of the snapshots as the owner of its tables, or leave the "
        "texts out",
    )


def texts_of(duck: Duck, manifest: Manifest, numbers: Collection[int]) -> Mapping[int, str]:
    """Return number -> text of memories of a snapshot; those that it lacks are left out.

    Raises:
        SnapshotError: M810, M811.
    """
    entry = manifest.entry(MEMORIES)
    if entry is None or not numbers:
        return {}
    listed = ", ".join(str(int(one)) for one in sorted(numbers))
    rows = f"select number, content from {duck.rows_of(entry)} where number in ({listed})"
    return dict(duck.all(rows))


def spaces_of(duck: Duck, *manifests: Manifest) -> Mapping[int, str]:
    """Return id -> name of the spaces of snapshots; the name of the last one that has it.

    Raises:
        SnapshotError: M810, M811.
    """
    found: dict[int, str] = {}
    for manifest in manifests:
        entry = manifest.entry(_SPACES)
        if entry is not None:
            found |= dict(duck.all(f"select id, name from {duck.rows_of(entry)}"))
    return found
