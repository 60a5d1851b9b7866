"""Write a snapshot: the rows of all tables at one moment, and a manifest once they are written."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import psycopg
import pyarrow as pa
import sqlalchemy as sa

from memos_assets import __version__
from memos_assets.catalog import MEMOS
from memos_assets.errors import SnapshotError
from memos_assets.postgres.connection import (
    database_identity,
    driver_of,
    first_line,
    put_in_force,
)
from memos_assets.postgres.copy.bulk import read_table
from memos_assets.postgres.engine import shown
from memos_assets.postgres.schema.agent import models
from memos_assets.postgres.versions.versions import current_revision
from memos_assets.snapshots import keep
from memos_assets.snapshots.columns import SnapshotTable, read_tables
from memos_assets.snapshots.coverage import COVERED, coverage_of
from memos_assets.snapshots.manifest import Manifest, Moment
from memos_assets.snapshots.sole_writer import sole_writer
from memos_assets.snapshots.store import Store
from memos_assets.snapshots.table_writer import query_of, write_table


@dataclass(frozen=True, slots=True)
class Written:
    """What a write did.

    Attributes:
        manifest: of the snapshot, as it is in the store.
        unchanged: the store had a snapshot of these very rows.
        reused: tables whose files were there, as ``schema.table``.
        bytes: of files that were written.
        seconds: that it took.
    """

    manifest: Manifest
    unchanged: bool
    reused: Sequence[str]
    bytes: int
    seconds: float


def write_snapshot(
    engine: sa.Engine,
    store: Store,
    *,
    include_consolidated: bool = False,
    label: str | None = None,
    partition: str | None = None,
    run: str | None = None,
) -> Written:
    """Write a snapshot of what agents know, of one moment.

    Rows that are those of a snapshot in the store become one more moment of that one.

    Args:
        engine: of a role that sees all rows, as the owner of the tables does.
        store: to which it is written.
        include_consolidated: whether the live version of the consolidated tables is part of it.
        label: by which people name it; it is kept by retention.
        partition: of the asset.
        run: id of the Dagster run.

    Raises:
        SnapshotError: M804 another process writes to the store, and is not done in time.
        SnapshotError: M805 the role does not see all rows.
        SnapshotError: M806 the store cannot be written to, as on a full disk.
        SnapshotError: M808 the rows are those of a snapshot with another label.
        SnapshotError: M827 the rows are those of a snapshot that was rewritten for an erasure.
        SnapshotError: M831 it is not a label, or the label of a snapshot of other rows.
    """
    started = time.monotonic()
    if label is not None:
        keep.refuse_label(label)
    with sole_writer(engine, store), _one_moment(engine) as conn:
        store.sweep()
        # A damaged manifest stops no write.
        before, _ = store.readable()
        known = {entry.identity: entry for one in before for entry in one.tables}
        database = database_identity(conn)
        parent = next((one for one in reversed(before) if database in one.databases), None)
        tables, left_out = _chosen(conn, include_consolidated=include_consolidated)
        entries, reused, size = [], [], 0
        for table in tables:
            former = None if parent is None else parent.entry(table.qualified)
            entry, is_new = write_table(driver_of(conn), store, table, known, former)
            entries.append(entry)
            if is_new:
                size += entry.bytes
            else:
                reused.append(table.qualified)
        manifest = Manifest(
            tables=entries,
            made_at=_now(conn),
            revision=current_revision(conn),
            database=database,
            left_out=left_out,
            models=_models(conn),
            parent=None if parent is None else parent.id,
            label=label,
            partition=partition,
            run=run,
            versions=_versions(conn),
        )
        _refuse_rewritten(store, manifest)
        if label is not None:
            keep.refuse_label(label, (one for one in before if one.id != manifest.id))
        same = next((one for one in before if one.id == manifest.id), None)
        if same is not None:
            _ensure_label(same, label)
            moment = Moment(manifest.made_at, partition=partition, run=run, database=database)
            manifest = same.seen_again(moment, label=label)
        store.put_manifest(manifest)
    return Written(manifest, same is not None, reused, size, time.monotonic() - started)


@contextmanager
def _one_moment(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Yield a connection that sees one moment, and every row or none."""
    reading = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    try:
        with reading.connect() as conn:
            # With it off, PostgreSQL refuses a query whose rows policies would filter.
            put_in_force(conn, {"row_security": "off"})
            yield conn
    except (psycopg.Error, sa.exc.DBAPIError) as error:
        cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        if not isinstance(cause, psycopg.errors.InsufficientPrivilege):
            raise
        raise SnapshotError(
            "M805",
            f"this role does not see all rows ({first_line(error)})",
            where=shown(engine.url),
            fix="connect as the owner of the tables, or grant the role SELECT and BYPASSRLS",
        ) from None


def _refuse_rewritten(store: Store, manifest: Manifest) -> None:
    """Refuse rows that an erasure took out of the store: nobody would see their snapshot."""
    if any(one.id == manifest.id for one in store.rewritten()):
        raise SnapshotError(
            "M827",
            "the live tables have the rows of a user who was erased, as after a restore of the "
            "whole database from a backup",
            where=f"snapshot {manifest.id[:12]}",
            fix="erase the user in this database, too: memos-assets user erase ID --yes",
        )


def _ensure_label(manifest: Manifest, label: str | None) -> None:
    if label is not None and manifest.label not in (None, label):
        raise SnapshotError(
            "M808",
            f"these rows are labelled {manifest.label} already",
            where=f"snapshot {manifest.id[:12]}",
            fix="use that label, or write the snapshot without one",
        )


def _chosen(
    conn: sa.Connection, *, include_consolidated: bool
) -> tuple[list[SnapshotTable], Mapping[str, str]]:
    """Return the tables of a snapshot, and of the others why they are left out."""
    chosen, left_out = [], {}
    for table in read_tables(conn, *COVERED):
        coverage = coverage_of(table.schema, table.name)
        if coverage is None:
            left_out[table.qualified] = "unclassified: not a table that this version knows"
        elif coverage.of == "snapshot" or (include_consolidated and table.schema == MEMOS.schema):
            chosen.append(table)
        else:
            left_out[table.qualified] = f"{coverage.of}: {coverage.why}"
    return sorted(chosen, key=lambda one: (one.schema, one.name)), left_out


def rows_of(connection: psycopg.Connection, table: SnapshotTable) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a table in the order of its key, text by its bytes.

    Args:
        connection: in a transaction, of a role that sees all rows.
        table: as it is in the database.
    """
    return read_table(connection, query_of(table), table.arrow)


def _models(conn: sa.Connection) -> dict[str, str]:
    found = conn.execute(sa.select(models.c.name, models.c.answer_digest).order_by(models.c.name))
    return {row.name: row.answer_digest for row in found}


def _now(conn: sa.Connection) -> str:
    moment: datetime = conn.execute(sa.select(sa.func.transaction_timestamp())).scalar_one()
    return moment.isoformat()


def _versions(conn: sa.Connection) -> dict[str, str]:
    server = str(conn.exec_driver_sql("show server_version").scalar_one())
    vector = conn.exec_driver_sql("select extversion from pg_extension where extname = 'vector'")
    return {
        "memos_assets": __version__,
        "postgresql": server.partition(" ")[0],
        "pgvector": str(vector.scalar_one()),
        "pyarrow": pa.__version__,
    }
