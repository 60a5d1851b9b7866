"""A fork: a schema with the memories of a snapshot, to experiment in beside the live ones.

It has every table that memory works on, with its indexes, policies and rights; memOS's own tables
are not forked. ``memory.open_sync_memory_sessions(settings, schema=...)`` works on it. The erasure
of a user drops every fork that names them.
"""

import uuid
from dataclasses import dataclass

import sqlalchemy as sa
from psycopg import sql

from memos_assets.errors import SnapshotError
from memos_assets.postgres import schemas
from memos_assets.postgres.connection import driver_of
from memos_assets.postgres.forks import COMMENT, drop, forks, is_possible_name, wall_off
from memos_assets.snapshots.manifest import Manifest
from memos_assets.snapshots.reader import check_files
from memos_assets.snapshots.restore import shadow
from memos_assets.snapshots.restore.leftovers import PREFIX
from memos_assets.snapshots.restore.scope import require_form, require_nobody_erased, scope_of
from memos_assets.snapshots.store import Store
from memos_assets.snapshots.verify import ensure_bytes


@dataclass(frozen=True, slots=True)
class Fork:
    """A fork: its schema, its snapshot, and how many rows it has."""

    schema: str
    snapshot: str
    rows: int


def fork(engine: sa.Engine, store: Store, manifest: Manifest, schema: str) -> Fork:
    """Make a fork of a snapshot; it is there whole or not at all.

    Args:
        engine: of the owner of the tables.
        store: where the snapshot is.
        manifest: of the snapshot, which may be of another database or model.
        schema: its name: lower-case letters, digits and underscores, 40 at most.

    Raises:
        SnapshotError: M807 a file is missing or damaged; M816 its tables have another form; M818 it
            is not proven; M824 the name cannot be, or is taken; M827 it names an erased user.
    """
    if not is_possible_name(schema):
        raise _no_name(
            schema,
            "a fork is named by up to 40 lower-case letters, digits and underscores, and "
            "not as a schema of ours or PostgreSQL's",
        )
    for damaged in check_files(store, manifest):
        raise damaged
    scope = scope_of(manifest)
    for entry in scope.agents:
        ensure_bytes(store, entry)
    loaded = f"{PREFIX}{uuid.uuid4().hex[:12]}"
    with engine.begin() as conn:
        if schema in sa.inspect(conn).get_schema_names():
            raise _no_name(schema, "there is a schema of this name already")
        require_form(conn, manifest)
        require_nobody_erased(conn, store, manifest)
        shadow.build(conn, store, scope.agents, loaded, whole=True)
        shadow.prove(conn, scope.agents, loaded)
        driver = driver_of(conn)
        driver.execute(
            sql.SQL("alter schema {} rename to {}").format(
                sql.Identifier(loaded), sql.Identifier(schema)
            )
        )
        driver.execute(
            sql.SQL("comment on schema {} is {}").format(
                sql.Identifier(schema), sql.Literal(f"{COMMENT}{manifest.id}")
            )
        )
        wall_off(conn, schema)
    return Fork(schema, manifest.id, sum(one.rows for one in scope.agents))


def drop_fork(engine: sa.Engine, schema: str) -> None:
    """Drop a fork with all that is in it.

    Raises:
        SnapshotError: M824 there is no such fork.
    """
    with engine.begin() as conn:
        if schema not in forks(conn) or schema == schemas.AGENT.name:
            raise _no_name(schema, "there is no such fork")
        drop(conn, schema)


def _no_name(schema: str, what: str) -> SnapshotError:
    return SnapshotError(
        "M824", what, where=f"schema {schema!r}", fix="name another one, such as tuesday"
    )
