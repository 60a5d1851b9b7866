"""Recall from a snapshot: what was known at that moment, by the statement that recalls live rows.

The rows of the user's spaces are read from the snapshot into temporary tables within a savepoint,
asked, and taken back, so nothing is left in the session. The search is exact: no index of vectors
is involved. A user sees a space only if the snapshot's grants say so, and those of now.

Reading takes no connection. A space of ten thousand memories takes about a second; of a larger one
a fork answers faster, see `snapshots.restore.fork`.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Unpack
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from memos_assets.memory.acting import Acting, acting_of
from memos_assets.memory.prepared import Asked
from memos_assets.memory.recall import Recalled, Wanted, recall
from memos_assets.postgres import schemas
from memos_assets.postgres.channel import channel_of
from memos_assets.postgres.schema.agent import AGENT_SCHEMA, EMBEDDINGS, spaces
from memos_assets.postgres.sessions import use_schema
from memos_assets.postgres.vector_names import VectorName, within
from memos_assets.search.postings import WRITE_ALL
from memos_assets.settings import Settings
from memos_assets.snapshots.manifest import Manifest, TableEntry
from memos_assets.snapshots.reader import dataset, reading
from memos_assets.snapshots.store import Store, open_store

#: Rows of one statement.
_BATCH: Final = 1_000
#: Table -> columns that name the spaces of a row, all of which have to be the user's.
_OF_SPACES: Final = {
    "memories": ("space_id",),
    "revisions": ("space_id",),
    "links": ("a_space_id", "b_space_id"),
}
_TEMPORARY: Final = "pg_temp"


@dataclass(frozen=True, slots=True)
class ReadRows:
    """What a user may see of a snapshot.

    Attributes:
        made_at: the moment that the rows are of.
        spaces: id -> name and owner of the spaces that the user could read.
        tables: with their rows.
    """

    made_at: datetime
    spaces: dict[int, tuple[str, str]]
    tables: Sequence[tuple[TableEntry, Sequence[pa.RecordBatch]]]


def recall_snapshot(
    settings: Settings,
    session: Session,
    snapshot: str,
    asked: Asked,
    k: int = 10,
    **wanted: Unpack[Wanted],
) -> Recalled:
    """Return what a snapshot says; see `read_rows` and `recall_rows`."""
    store = open_store(settings.snapshots_location)
    rows = read_rows(store, snapshot, acting_of(session), asked)
    return recall_rows(session, rows, asked, k, **wanted)


async def recall_snapshot_async(
    settings: Settings,
    session: AsyncSession,
    snapshot: str,
    asked: Asked,
    k: int = 10,
    **wanted: Unpack[Wanted],
) -> Recalled:
    """As `recall_snapshot`; files are read in a thread."""
    store = open_store(settings.snapshots_location)
    acting = acting_of(session.sync_session)
    rows = await asyncio.to_thread(read_rows, store, snapshot, acting, asked)
    return await session.run_sync(recall_rows, rows, asked, k, **wanted)


def read_rows(store: Store, snapshot: str, acting: Acting, asked: Asked) -> ReadRows:
    """Read what a user may see of a snapshot. No session is in use.

    Args:
        store: of snapshots.
        snapshot: its id, the beginning of it, or its label.
        acting: the user, with the spaces that they may read now.
        asked: by whose model embeddings are read.

    Raises:
        SnapshotError: M800 to M802, M807.
    """
    manifest = store.manifest(snapshot)
    readable = _readable_then(store, manifest, acting)
    tables = []
    for entry in manifest.tables:
        if entry.schema != AGENT_SCHEMA:
            continue
        if entry.name == spaces.name:
            kept = _filtered(store, entry, ("id",), readable)
        elif entry.name == "models":
            with reading(store, entry):
                kept = list(dataset(store, entry).to_batches())
        elif entry.name in _OF_SPACES:
            kept = _filtered(store, entry, _OF_SPACES[entry.name], readable)
        elif asked.embedding is not None and entry.name == _embeddings(store, manifest, asked):
            kept = _filtered(store, entry, ("space_id",), readable)
        else:
            continue
        tables.append((entry, kept))
    return ReadRows(datetime.fromisoformat(manifest.made_at), readable, tables)


def _rows(store: Store, manifest: Manifest, table: str) -> list[dict[str, Any]]:
    entry = manifest.entry(f"{AGENT_SCHEMA}.{table}")
    if entry is None:
        return []
    with reading(store, entry):
        return list(dataset(store, entry).to_table().to_pylist())


def _readable_then(store: Store, manifest: Manifest, acting: Acting) -> dict[int, tuple[str, str]]:
    granted = {
        row["space_id"]
        for row in _rows(store, manifest, "grants")
        if row["user_id"] == acting.user and row["space_id"] in acting.readable
    }
    return {
        row["id"]: (row["name"], row["owner"])
        for row in _rows(store, manifest, spaces.name)
        if row["id"] in granted
    }


def _embeddings(store: Store, manifest: Manifest, asked: Asked) -> str | None:
    for row in _rows(store, manifest, "models"):
        if row["name"] == asked.model:
            return f"{EMBEDDINGS}{row['id']}"
    return None


def _filtered(
    store: Store, entry: TableEntry, columns: Sequence[str], readable: dict[int, tuple[str, str]]
) -> list[pa.RecordBatch]:
    wanted = pa.array(list(readable), pa.int64())
    condition = pc.field(columns[0]).isin(wanted)
    for name in columns[1:]:
        condition &= pc.field(name).isin(wanted)
    with reading(store, entry):
        batches = dataset(store, entry).to_batches(filter=condition)
        return [batch for batch in batches if batch.num_rows]


def recall_rows(
    session: Session, rows: ReadRows, asked: Asked, k: int = 10, **wanted: Unpack[Wanted]
) -> Recalled:
    """Return the memories of a snapshot that answer a question best, as `recall.recall` does.

    Args:
        session: the caller's, whose transaction acts for the user of `read_rows`.
        rows: from `read_rows`.
        asked: from `Memory.query`.
        k: 1 to 1,000.
        wanted: of `recall.recall`. Without ``as_of`` and ``known_at``: the moment of the snapshot.

    Raises:
        AgentError: as `recall.recall`.
    """
    acting = acting_of(session)
    conn = session.connection()
    searched = _searched(conn, acting, rows)
    options: dict[str, Any] = dict(wanted)
    names = options.pop("spaces", None)
    if names is not None:
        listed = [names] if isinstance(names, str) else list(names)
        searched = [name for name in searched if name in listed]
    if not searched:
        return Recalled()
    if options.get("as_of") is None and options.get("known_at") is None:
        options["known_at"] = rows.made_at
    savepoint = conn.begin_nested()
    try:
        for entry, batches in rows.tables:
            _fill(conn, entry, batches)
        _fill_words(conn)
        undo = use_schema(conn, _TEMPORARY)
        try:
            return recall(session, asked, k, spaces=searched, **options)
        finally:
            undo()
    finally:
        savepoint.rollback()


def _searched(conn: sa.Connection, acting: Acting, rows: ReadRows) -> list[str | None]:
    """Return names of the spaces that are the same ones now, None for the private one."""
    chosen = sa.select(spaces.c.id, spaces.c.name, spaces.c.owner).where(
        spaces.c.id.in_(sorted(rows.spaces))
    )
    found = [
        (row.id, row.name)
        for row in conn.execute(chosen)
        if rows.spaces[row.id] == (row.name, row.owner) and row.id in acting.readable
    ]
    return [None if number == acting.private else name for number, name in found]


def _fill(conn: sa.Connection, entry: TableEntry, batches: Sequence[pa.RecordBatch]) -> None:
    """Make a temporary table of the rows; values go as text, which any driver sends."""
    live = sql.Identifier(entry.schema, entry.name)
    table = sql.Identifier(_TEMPORARY, entry.name)
    copied = "" if entry.name.startswith(EMBEDDINGS) else " including indexes"
    _execute(conn, sql.SQL("create table {} (like {}" + copied + ")").format(table, live))
    if not copied:
        statement = sql.SQL("create index on {} (space_id, memory)").format(table)
        _execute(conn, statement)
    names = [name for name, _ in entry.columns]
    cast = sql.SQL(", ").join(_cast(name, kind) for name, kind in entry.columns)
    insert = sql.SQL("insert into {} ({}) select {} from unnest({}) as t({})").format(
        table,
        sql.SQL(", ").join(map(sql.Identifier, names)),
        cast,
        sql.SQL(", ").join([sql.SQL("%s::text[]")] * len(names)),
        sql.SQL(", ").join(map(sql.Identifier, names)),
    )
    for batch in batches:
        for start in range(0, batch.num_rows, _BATCH):
            part = batch.slice(start, _BATCH).select(names)
            _execute(conn, insert, tuple(list(_texts(column)) for column in part.columns))


def _cast(name: str, kind: str) -> sql.Composed:
    typed: sql.Composable = sql.SQL(kind)
    if kind.startswith("halfvec"):
        typed = VectorName("halfvec")
    return sql.SQL("t.{}::{}").format(sql.Identifier(name), typed)


def _execute(conn: sa.Connection, statement: sql.Composed, values: tuple[Any, ...] = ()) -> None:
    channel = channel_of(conn.dialect)
    text = within(statement, channel.vector_schema if channel is not None else None).as_string()
    conn.exec_driver_sql(text, values)


def _texts(column: pa.Array) -> Iterator[str | None]:
    """Yield the values of a column as PostgreSQL reads them."""
    if pa.types.is_fixed_size_list(column.type):
        size = column.type.list_size
        values = np.asarray(column.flatten()).reshape(-1, size).astype(np.float32)
        yield from ("[" + ",".join(map(repr, row)) + "]" for row in values.tolist())
        return
    for value in column.to_pylist():
        if value is None:
            yield None
        elif isinstance(value, bool):
            yield "true" if value else "false"
        elif isinstance(value, bytes):
            yield f"\\x{value.hex()}"
        elif isinstance(value, datetime):
            yield value.isoformat()
        elif isinstance(value, str):
            yield value
        else:
            assert isinstance(value, int | float | UUID)
            yield str(value)


def _fill_words(conn: sa.Connection) -> None:
    for table in ("postings", "word_counts"):
        conn.exec_driver_sql(
            f"create table {_TEMPORARY}.{table} "
            f"(like {AGENT_SCHEMA}.{table} including indexes including identity)"
        )
    for words in WRITE_ALL:
        conn.exec_driver_sql(schemas.renamed(words.as_string(), _TEMPORARY))
