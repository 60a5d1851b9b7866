"""What of a snapshot is restored, and whether it fits the database."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from memos_assets.catalog.application import APPLICATION_SCHEMA
from memos_assets.errors import SnapshotError
from memos_assets.postgres.connection import database_identity
from memos_assets.postgres.schema.agent import AGENT_SCHEMA, is_of_embeddings, models
from memos_assets.postgres.user_rows import user_digest
from memos_assets.postgres.versions.versions import current_revision
from memos_assets.snapshots.columns import SnapshotTable, read_tables
from memos_assets.snapshots.coverage import coverage_of
from memos_assets.snapshots.manifest import Manifest, TableEntry
from memos_assets.snapshots.reader import batches
from memos_assets.snapshots.rewrite import erased_users
from memos_assets.snapshots.store import Store
from memos_assets.snapshots.without_users import users_in

_MODELS: Final = f"{AGENT_SCHEMA}.{models.name}"
#: Differences that a message names; a schema that moved on has many.
_MOST_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class Scope:
    """The tables of a snapshot, by how they are restored.

    Attributes:
        agents: of schema `agent`; they are exchanged.
        application: memOS's own; their rows are changed where the tables are.
        left: ``schema.table`` of others, such as consolidated ones: they stay as they are.
    """

    agents: Sequence[TableEntry]
    application: Sequence[TableEntry]
    left: Sequence[str]

    @property
    def entries(self) -> list[TableEntry]:
        """All tables that are restored."""
        return [*self.agents, *self.application]

    @property
    def identity(self) -> Mapping[str, str]:
        """Table -> digest of its logical content."""
        return {entry.qualified: entry.identity for entry in self.entries}


def scope_of(manifest: Manifest) -> Scope:
    """Return what of a snapshot is restored."""
    agents, application, left = [], [], []
    for entry in manifest.tables:
        if entry.schema == AGENT_SCHEMA:
            agents.append(entry)
        elif entry.schema == APPLICATION_SCHEMA:
            application.append(entry)
        else:
            left.append(entry.qualified)
    return Scope(agents, application, left)


def live_tables(conn: sa.Connection) -> dict[str, SnapshotTable]:
    """Return ``schema.table`` -> the live tables whose rows are in snapshots."""
    found = read_tables(conn, AGENT_SCHEMA, APPLICATION_SCHEMA)
    return {
        table.qualified: table
        for table in found
        if (coverage := coverage_of(table.schema, table.name)) and coverage.of == "snapshot"
    }


def require_fit(conn: sa.Connection, store: Store, manifest: Manifest, *, from_other: bool) -> None:
    """Refuse a snapshot whose rows the live tables cannot take over.

    Args:
        conn: to the database.
        store: where the snapshot is.
        manifest: of the snapshot.
        from_other: it may be of another database.

    Raises:
        SnapshotError: M815 it is of another database; M816 its tables have another form; M817 its
            embeddings are of another model; M827 it names a user who was erased.
    """
    require_own(conn, manifest, from_other=from_other)
    require_form(conn, manifest)
    require_model(conn, store, manifest)
    require_nobody_erased(conn, store, manifest)


def require_own(conn: sa.Connection, manifest: Manifest, *, from_other: bool) -> None:
    """Refuse a snapshot of another database.

    Raises:
        SnapshotError: M815.
    """
    if not from_other and (own := database_identity(conn)) not in manifest.databases:
        raise SnapshotError(
            "M815",
            f"it is a snapshot of database {' and '.join(sorted(manifest.databases))}, and this "
            f"one is {own}",
            where=f"snapshot {manifest.id[:12]}",
            fix="look at what would change (--mode plan), then add --from-other; "
            "or make a fork of it",
        )


def require_form(conn: sa.Connection, manifest: Manifest) -> None:
    """Refuse a snapshot whose tables have other columns than the live ones.

    Raises:
        SnapshotError: M816.
    """
    differing = list(_differences(manifest, live_tables(conn)))
    if not differing:
        return
    more = len(differing) - _MOST_NAMED
    now = current_revision(conn)
    raise SnapshotError(
        "M816",
        f"it is of schema revision {manifest.revision}, the database at {now}: "
        + "; ".join(differing[:_MOST_NAMED])
        + (f"; and {more} more" if more > 0 else ""),
        where=f"snapshot {manifest.id[:12]}",
        fix="restore it into a new database with memos-assets "
        f"{manifest.versions.get('memos_assets', 'of its time')}, migrate that one, write a "
        "snapshot there into this store, and restore that snapshot with --from-other",
    )


def _differences(manifest: Manifest, live: Mapping[str, SnapshotTable]) -> Iterator[str]:
    wanted = {entry.qualified: entry for entry in scope_of(manifest).entries}
    for name, entry in wanted.items():
        table = live.get(name)
        if table is None:
            if not is_of_embeddings(entry.name):
                yield f"{name} is not in the database"
            continue
        before, now = dict(entry.columns), dict(table.columns)
        for column in sorted(before.keys() | now.keys()):
            if before.get(column) != now.get(column):
                yield (
                    f"{name}.{column} is {before.get(column, 'not there')} in the snapshot "
                    f"and {now.get(column, 'not there')} in the database"
                )
        if tuple(entry.key) != table.key:
            yield f"{name} has another key"
    for name, table in live.items():
        if name not in wanted and not is_of_embeddings(table.name):
            yield f"{name} is not in the snapshot"


def current_model(store: Store, manifest: Manifest) -> tuple[str, str] | None:
    """Return name and digest of the answers of a snapshot's current model; None: it has none."""
    entry = manifest.entry(_MODELS)
    if entry is None:
        return None
    for batch in batches(store, entry):
        for row in batch.select(["name", "answer_digest", "state"]).to_pylist():
            if row["state"] == "current":
                return row["name"], row["answer_digest"]
    return None


def require_model(conn: sa.Connection, store: Store, manifest: Manifest) -> None:
    """Refuse embeddings of another model than the one that answers recalls now.

    Raises:
        SnapshotError: M817.
    """
    chosen = sa.select(models.c.name, models.c.answer_digest).where(models.c.state == "current")
    now = conn.execute(chosen).one_or_none()
    then = current_model(store, manifest)
    if now is None or then is None or tuple(now) == then:
        return
    raise SnapshotError(
        "M817",
        f"its current model is {then[0]}, that of the database is {now.name}"
        + (", with other answers" if then[0] == now.name else ""),
        where=f"snapshot {manifest.id[:12]}",
        fix="make a fork of it (--mode fork); or make that model current first: register it as "
        "next, let the asset memos/agent/reembedding embed, and swap "
        "(memos-assets memory models)",
    )


def require_nobody_erased(conn: sa.Connection, store: Store, manifest: Manifest) -> None:
    """Refuse a snapshot of before an erasure that names the user, such as one from a copy.

    Raises:
        SnapshotError: M807 a file is missing or damaged; M827.
    """
    made_at = datetime.fromisoformat(manifest.latest.made_at)
    erased = {digest for digest, at in erased_users(conn).items() if at > made_at}
    for entry in manifest.tables if erased else ():
        if any(user_digest(user) in erased for user in users_in(store, entry)):
            raise SnapshotError(
                "M827",
                f"{entry.qualified} names a user who was erased since",
                where=f"snapshot {manifest.id[:12]}",
                fix="run `memos-assets user erase ID` for that user again, which rewrites the "
                "snapshot, and restore what it became (memos-assets snapshots list)",
            )
