"""The ledger in `memos_ops`: which chunks are loaded, from which pin, and which are pending."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from memos_assets.catalog import TableSpec
from memos_assets.consolidate.decoding.reader import ChunkTask, chunk_task
from memos_assets.consolidate.loading.reload import Reload
from memos_assets.consolidate.rejects.decisions import decisions_about
from memos_assets.consolidate.sources.pins import Pin
from memos_assets.consolidate.sources.registry import specs_in
from memos_assets.postgres.schema import tables
from memos_assets.postgres.schema.consolidated import table_of
from memos_assets.postgres.upsert import upsert


@dataclass(frozen=True, slots=True)
class LoadedChunk:
    """A row of the ledger."""

    source: str
    table: str
    chunk: int
    pin_digest: str
    chunk_rows: int
    digest: str
    source_rows: int
    source_bytes: int
    rows: int
    rejected: int
    mirrored: int
    without_embedding: Mapping[str, int]
    rules: Mapping[str, str | None]
    code_version: str
    run_id: str


def loaded_chunks(
    conn: sa.Connection, source: str, spec: TableSpec, numbers: Collection[int] | None = None
) -> dict[int, LoadedChunk]:
    """Return the ledger of one table and source, or of some chunks of it, by chunk number."""
    wanted = sa.true() if numbers is None else tables.chunks.c.chunk.in_(numbers)
    rows = conn.execute(
        sa.select(tables.chunks).where(
            tables.chunks.c.target == tables.schema_in(conn, spec.schema),
            tables.chunks.c.source == source,
            tables.chunks.c.table_name == spec.name,
            wanted,
        )
    )
    return {
        row.chunk: LoadedChunk(
            row.source,
            row.table_name,
            row.chunk,
            row.pin_digest,
            row.chunk_rows,
            row.digest,
            row.source_rows,
            row.source_bytes,
            row.rows,
            row.rejected,
            row.mirrored,
            row.without_embedding,
            row.rules,
            row.code_version,
            row.run_id,
        )
        for row in rows
    }


def has_chunks_of_other_pins(conn: sa.Connection, spec: TableSpec, task: ChunkTask) -> bool:
    """Whether other chunks of the same table and source were loaded from another pin."""
    entry = tables.chunks.c
    return bool(
        conn.execute(
            sa.select(
                sa.exists().where(
                    entry.target == tables.schema_in(conn, spec.schema),
                    entry.source == task.source,
                    entry.table_name == spec.name,
                    entry.chunk != task.chunk,
                    entry.pin_digest != task.pin_digest,
                )
            )
        ).scalar_one()
    )


def clear_rejects(conn: sa.Connection, spec: TableSpec, task: ChunkTask) -> None:
    """Delete the rejects of a chunk; call in the transaction of its rows."""
    conn.execute(sa.delete(tables.rejects).filter_by(**_place(conn, spec, task)))


def add_rejects(
    conn: sa.Connection,
    spec: TableSpec,
    task: ChunkTask,
    rejects: Sequence[Mapping[str, Any]],
    run_id: str,
) -> None:
    """Add rejects of a chunk, which were cleared; call in the transaction of its rows."""
    if rejects:
        place = _place(conn, spec, task)
        # A row that moved here from a chunk that is loaded later leaves its old entry behind. Under
        # another cut the same rowid is in another chunk, which must not take the entry with it.
        conn.execute(
            upsert(tables.rejects),
            [{**place, **reject, "run_id": run_id} for reject in rejects],
        )


def _place(conn: sa.Connection, spec: TableSpec, task: ChunkTask) -> dict[str, Any]:
    return {
        "target": tables.schema_in(conn, spec.schema),
        "source": task.source,
        "table_name": spec.name,
        "chunk": task.chunk,
    }


def record_chunk(
    conn: sa.Connection,
    spec: TableSpec,
    task: ChunkTask,
    counts: Mapping[str, Any],
    run_id: str,
) -> None:
    """Replace a chunk's row in the ledger; call in the transaction of its rows."""
    # By the server's clock and at the end of the load: a proof that begins while rows are copied
    # reads the former ones.
    conn.execute(
        upsert(tables.chunks).values(loaded_at=sa.func.clock_timestamp()),
        {
            **_place(conn, spec, task),
            "pin_digest": task.pin_digest,
            "chunk_rows": task.chunk_rows,
            "digest": task.source_digest,
            "source_rows": task.source_rows,
            "source_bytes": task.source_bytes,
            "code_version": spec.fingerprint,
            "run_id": run_id,
            **counts,
        },
    )


def stored_rows(conn: sa.Connection, spec: TableSpec, source: str) -> dict[int, int]:
    """Count the rows of a source in a target table, by chunk; mirrored rows are left out."""
    table = table_of(spec)
    statement = (
        sa.select(table.c.chunk, sa.func.count())
        .where(table.c.source == source)
        .group_by(table.c.chunk)
    )
    if spec.mirrored:
        statement = statement.where(sa.not_(table.c.reversed))
    return {row[0]: row[1] for row in conn.execute(statement)}


def chunk_numbers(conn: sa.Connection, pin: Pin) -> list[int]:
    """Return chunks of a source that hold rows in its pin or still in the ledger."""
    ledger = conn.execute(
        sa.select(tables.chunks.c.chunk)
        .where(
            tables.chunks.c.target == tables.schema_in(conn, pin.kind.schema),
            tables.chunks.c.source == pin.source,
            tables.chunks.c.source_rows > 0,
        )
        .distinct()
    ).scalars()
    return sorted({*pin.chunk_numbers, *ledger})


def stale_tasks(
    conn: sa.Connection, spec: TableSpec, pin: Pin, *, reload: Reload | None = None
) -> list[ChunkTask]:
    """Return the chunks of a table whose rows are not those of the pin.

    A chunk is stale when the ledger lacks it or names another content, another cut or another
    code version, when the table does not hold as many rows as the ledger says, or when a
    decision about a reason of its rejects has changed since.
    """
    decisions = decisions_about(conn, pin.source)
    decided = decisions.get(spec.name, {})
    loaded = loaded_chunks(conn, pin.source, spec)
    stored = stored_rows(conn, spec, pin.source)
    stale = []
    for chunk in sorted({*pin.chunk_numbers, *loaded, *stored}):
        task, entry = chunk_task(pin, spec, chunk, decisions), loaded.get(chunk)
        if entry is None:
            if task.source_rows or stored.get(chunk):
                stale.append(task)
            continue
        fresh = (
            entry.digest == task.source_digest
            and entry.chunk_rows == task.chunk_rows
            and entry.code_version == spec.fingerprint
            and entry.rows == stored.get(chunk, 0)
            and entry.rules == {reason: decided.get(reason) for reason in entry.rules}
        )
        again = reload is not None and reload.takes(spec.name, pin.source, chunk)
        if again or not fresh:
            stale.append(task)
    return stale


def stale_chunks(
    conn: sa.Connection, pins: Iterable[Pin], *, reload: Reload | None = None
) -> set[tuple[str, int]]:
    """Return (source, chunk) of the chunks that differ from the pins in some table."""
    return {
        (task.source, task.chunk)
        for pin in pins
        for spec in specs_in(pin)
        for task in stale_tasks(conn, spec, pin, reload=reload)
    }
