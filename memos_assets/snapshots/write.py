"""Write a snapshot: the rows of all tables at one moment, and a manifest once they are written."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import psycopg
import pyarrow as pa
import sqlalchemy as sa
from psycopg import sql

from memos_assets import __version__
from memos_assets.catalog import MEMOS
from memos_assets.catalog.application import APPLICATION_SCHEMA
from memos_assets.errors import SnapshotError
from memos_assets.postgres.connection import (
    database_identity,
    driver_of,
    first_line,
    put_in_force,
)
from memos_assets.postgres.copy.bulk import read_table
from memos_assets.postgres.engine import shown
from memos_assets.postgres.schema.agent import AGENT_SCHEMA, models
from memos_assets.postgres.versions.versions import current_revision
from memos_assets.snapshots.columns import SnapshotTable, read_tables
from memos_assets.snapshots.coverage import coverage_of
from memos_assets.snapshots.manifest import Manifest, Moment, TableEntry
from memos_assets.snapshots.sole_writer import sole_writer
from memos_assets.snapshots.store import Store
from memos_assets.snapshots.table_file import TableFile

_TEXTS: Final = ("text", "varchar")


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
    """
    started = time.monotonic()
    with sole_writer(engine, store), _one_moment(engine) as conn:
        store.sweep()
        before = readable_manifests(store)
        known = {entry.identity: entry for one in before for entry in one.tables}
        tables, left_out = _chosen(conn, include_consolidated=include_consolidated)
        entries, reused, size = [], [], 0
        for table in tables:
            entry, is_new = _write_table(conn, store, table, known)
            entries.append(entry)
            if is_new:
                size += entry.bytes
            else:
                reused.append(table.qualified)
        database = database_identity(conn)
        former = [one for one in before if one.database == database]
        manifest = Manifest(
            tables=entries,
            made_at=_now(conn),
            revision=current_revision(conn),
            database=database,
            left_out=left_out,
            models=_models(conn),
            parent=former[-1].id if former else None,
            label=label,
            partition=partition,
            run=run,
            versions=_versions(conn),
        )
        same = next((one for one in before if one.id == manifest.id), None)
        if same is not None:
            _ensure_label(same, label)
            moment = Moment(manifest.made_at, partition=partition, run=run)
            manifest = same.seen_again(moment, label=label)
        store.put_manifest(manifest)
    return Written(manifest, same is not None, reused, size, time.monotonic() - started)


def readable_manifests(store: Store) -> list[Manifest]:
    """Return the manifests that are whole, the newest last: a damaged one stops no write."""
    found = []
    for snapshot in store.ids():
        try:
            found.append(store.manifest(snapshot))
        except SnapshotError:
            continue
    return sorted(found, key=lambda one: (one.latest.made_at, one.id))


@contextmanager
def _one_moment(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Yield a connection that sees one moment, and every row or none."""
    reading = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    try:
        with reading.connect() as conn:
            # With it off, PostgreSQL refuses a query that policies would narrow.
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
    for table in read_tables(conn, AGENT_SCHEMA, APPLICATION_SCHEMA):
        coverage = coverage_of(table.schema, table.name)
        if coverage is None:
            left_out[table.qualified] = "unclassified: not a table that this version knows"
        elif coverage.of == "snapshot":
            chosen.append(table)
        else:
            left_out[table.qualified] = f"{coverage.of}: {coverage.why}"
    consolidated = read_tables(conn, MEMOS.schema)
    if include_consolidated:
        chosen += consolidated
    else:
        left_out |= {table.qualified: "derived: consolidated from files" for table in consolidated}
    return sorted(chosen, key=lambda one: (one.schema, one.name)), left_out


def _write_table(
    conn: sa.Connection, store: Store, table: SnapshotTable, known: Mapping[str, TableEntry]
) -> tuple[TableEntry, bool]:
    return put_rows(store, table, rows_of(driver_of(conn), table), known)


def put_rows(
    store: Store,
    table: SnapshotTable,
    batches: Iterable[pa.RecordBatch],
    known: Mapping[str, TableEntry],
) -> tuple[TableEntry, bool]:
    """Write the rows of a table unless their file is there; return its entry, and if it is new.

    Args:
        store: to which they are written.
        table: with the schema of the batches.
        batches: in the order of the key.
        known: identity -> entry of the tables in the store.
    """
    with store.partial() as partial:
        with store.filesystem.open_output_stream(store.path(partial)) as sink:
            file = TableFile(sink, table.arrow)
            for batch in batches:
                file.write(batch)
            size, sha256 = file.finish()
        entry = TableEntry(
            schema=table.schema,
            name=table.name,
            columns=list(table.columns.items()),
            key=list(table.key),
            rows=file.rows.rows,
            digest=file.rows.hexdigest(),
            bytes=size,
            sha256=sha256,
        )
        former = known.get(entry.identity)
        if former is not None and store.size(former.file) == former.bytes:
            return former, False
        store.publish(partial, entry.file)
    return entry, True


def rows_of(connection: psycopg.Connection, table: SnapshotTable) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a table in the order of its key, text by its bytes.

    Args:
        connection: in a transaction, of a role that sees all rows.
        table: as it is in the database.
    """
    columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
    query = sql.SQL("select {} from {}").format(columns, sql.Identifier(table.schema, table.name))
    if table.key:
        query += sql.SQL(" order by ") + sql.SQL(", ").join(_by(table, name) for name in table.key)
    return read_table(connection, query, table.arrow)


def _by(table: SnapshotTable, column: str) -> sql.Composable:
    is_text = table.columns[column].partition("(")[0] in _TEXTS
    return sql.Identifier(column) + sql.SQL(' collate "C"' if is_text else "")


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
