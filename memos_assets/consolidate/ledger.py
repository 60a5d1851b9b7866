"""The books in `memos_ops`: which sources there are, what was pinned, which chunks are loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from memos_assets.catalog import KINDS_BY_NAME, TableSpec
from memos_assets.consolidate.content import ChunkContent
from memos_assets.consolidate.discover import FoundFile, spare_name
from memos_assets.consolidate.pin import Pin, fingerprint
from memos_assets.consolidate.reader import ChunkTask, chunk_task
from memos_assets.demo.manifest import DEMO_MANIFEST
from memos_assets.errors import SourceError, UsageError
from memos_assets.postgres import tables


@dataclass(frozen=True, slots=True)
class Source:
    """A registered SQLite file."""

    name: str
    kind: str
    path: Path
    pin_digest: str | None


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
    code_version: str
    run_id: str


def register(conn: sa.Connection, file: FoundFile) -> str | None:
    """Bind the name of a source to its file.

    A name may move to another file of its kind when the former one is gone, was part of a demo
    folder, or holds the same bytes.

    Returns:
        The path that the name belonged to so far, None when it is the same or the name is new.

    Raises:
        UsageError: M525 when the name belongs to another file: its rows would be replaced by
            foreign ones.
    """
    assert file.kind is not None
    known = conn.execute(
        sa.select(tables.sources, tables.pins.c.fingerprint)
        .join(
            tables.pins,
            sa.and_(
                tables.pins.c.source == tables.sources.c.source,
                tables.pins.c.digest == tables.sources.c.pin_digest,
            ),
            isouter=True,
        )
        .where(tables.sources.c.source == file.source)
    ).first()
    moved = known is not None and known.path != str(file.path)
    if known is not None and (moved or known.kind != file.kind.name):
        gives_way = known.kind == file.kind.name and (
            not Path(known.path).exists()
            or is_demo(Path(known.path))
            or known.fingerprint == fingerprint(file.path)
        )
        if not gives_way:
            raise UsageError(
                "M525",
                f"the name belongs to {known.path} ({known.kind}), "
                f"this is {file.path} ({file.kind.name})",
                where=file.source,
                fix="give this file a name of its own: "
                f"--data {spare_name(file.source)}={file.path}",
            )
    statement = insert(tables.sources).values(
        source=file.source, kind=file.kind.name, path=str(file.path)
    )
    conn.execute(
        statement.on_conflict_do_update(
            index_elements=["source"], set_={"path": statement.excluded.path}
        )
    )
    return known.path if known is not None and moved else None


def is_demo(path: Path) -> bool:
    """Whether a file lies in a folder that `memos-assets demo` wrote."""
    return any((parent / DEMO_MANIFEST).is_file() for parent in path.parents)


def registered_sources(conn: sa.Connection, kind: str | None = None) -> list[Source]:
    """Return registered sources by name, of one kind or all."""
    statement = sa.select(tables.sources).order_by(tables.sources.c.source)
    if kind is not None:
        statement = statement.where(tables.sources.c.kind == kind)
    return [
        Source(row.source, row.kind, Path(row.path), row.pin_digest)
        for row in conn.execute(statement)
    ]


def source_named(conn: sa.Connection, name: str) -> Source:
    """Return one registered source.

    Raises:
        UsageError: M526 when there is none of that name.
    """
    found = registered_sources(conn)
    for source in found:
        if source.name == name:
            return source
    raise UsageError(
        "M526",
        f"no such source; there are: {', '.join(source.name for source in found) or 'none'}",
        where=name,
        fix="register it first: memos-assets observe --data DIR",
    )


def record_pin(conn: sa.Connection, pin: Pin) -> None:
    """Write down a pin with its chunks and make it the one that loads work from."""
    pins = insert(tables.pins).values(
        source=pin.source,
        digest=pin.digest,
        origin=str(pin.origin),
        fingerprint=pin.fingerprint,
        path=str(pin.path),
        chunk_rows=pin.chunk_rows,
        rows=dict(pin.rows),
    )
    conn.execute(
        pins.on_conflict_do_update(
            index_elements=["source", "digest"],
            set_={
                "origin": pins.excluded.origin,
                "fingerprint": pins.excluded.fingerprint,
                "path": pins.excluded.path,
                "rows": pins.excluded.rows,
                "pinned_at": sa.func.now(),
            },
        )
    )
    if pin.chunks:
        conn.execute(
            insert(tables.pin_chunks).on_conflict_do_nothing(),
            [
                {
                    "source": pin.source,
                    "pin_digest": pin.digest,
                    "origin_table": content.table,
                    "chunk": content.chunk,
                    "rows": content.rows,
                    "bytes": content.bytes,
                    "digest": content.digest,
                }
                for content in pin.chunks
            ],
        )
    conn.execute(
        sa.update(tables.sources)
        .where(tables.sources.c.source == pin.source)
        .values(pin_digest=pin.digest)
    )


def recorded_pin(conn: sa.Connection, source: str, digest: str) -> Pin | None:
    """Return a pin as it was written down, None when it is not known or its copy is gone."""
    row = conn.execute(
        sa.select(tables.pins, tables.sources.c.kind)
        .join(tables.sources, tables.sources.c.source == tables.pins.c.source)
        .where(tables.pins.c.source == source, tables.pins.c.digest == digest)
    ).first()
    if row is None or not Path(row.path).exists():
        return None
    contents = conn.execute(
        sa.select(tables.pin_chunks)
        .where(tables.pin_chunks.c.source == source, tables.pin_chunks.c.pin_digest == digest)
        .order_by(tables.pin_chunks.c.origin_table, tables.pin_chunks.c.chunk)
    )
    return Pin(
        source=source,
        kind=row.kind,
        origin=Path(row.origin),
        fingerprint=row.fingerprint,
        digest=digest,
        path=Path(row.path),
        chunk_rows=row.chunk_rows,
        rows=row.rows,
        chunks=tuple(
            ChunkContent(c.origin_table, c.chunk, c.rows, c.bytes, c.digest) for c in contents
        ),
    )


def superseded_pins(conn: sa.Connection, source: str) -> list[Path]:
    """Forget pins of a source that neither a load nor a proof needs; return where they lie."""
    current = sa.select(tables.sources.c.pin_digest).where(tables.sources.c.source == source)
    ledger = sa.select(tables.chunks.c.pin_digest).where(tables.chunks.c.source == source)
    rows = conn.execute(
        sa.delete(tables.pins)
        .where(
            tables.pins.c.source == source,
            tables.pins.c.digest.not_in(current.scalar_subquery()),
            tables.pins.c.digest.not_in(ledger.scalar_subquery()),
            tables.pins.c.pinned_at < sa.func.now() - sa.text("interval '1 day'"),
        )
        .returning(tables.pins.c.path)
    )
    return [Path(row.path) for row in rows]


def chosen_pin(conn: sa.Connection, consolidation: str, source: str) -> str | None:
    """Return the digest of the pin that a consolidation works from."""
    chosen = tables.consolidation_pins.c
    return conn.execute(
        sa.select(chosen.pin_digest).where(
            chosen.consolidation == consolidation, chosen.source == source
        )
    ).scalar()


def choose_pin(conn: sa.Connection, consolidation: str, source: str, digest: str) -> str:
    """Bind a consolidation to a pin; the first choice stands, whoever made it."""
    conn.execute(
        insert(tables.consolidation_pins)
        .values(consolidation=consolidation, source=source, pin_digest=digest)
        .on_conflict_do_nothing()
    )
    chosen = chosen_pin(conn, consolidation, source)
    assert chosen is not None
    return chosen


def loaded_chunks(conn: sa.Connection, source: str, table: str) -> dict[int, LoadedChunk]:
    """Return the ledger of one table and source, by chunk number."""
    rows = conn.execute(
        sa.select(tables.chunks).where(
            tables.chunks.c.target == tables.data_schema(conn),
            tables.chunks.c.source == source,
            tables.chunks.c.table_name == table,
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
                    entry.target == tables.data_schema(conn),
                    entry.source == task.source,
                    entry.table_name == spec.name,
                    entry.chunk != task.chunk,
                    entry.pin_digest != task.pin_digest,
                )
            )
        ).scalar_one()
    )


def record_chunk(
    conn: sa.Connection,
    spec: TableSpec,
    task: ChunkTask,
    counts: Mapping[str, Any],
    rejects: Sequence[Mapping[str, Any]],
    run_id: str,
) -> None:
    """Replace a chunk's rejects and its row in the ledger; call in the transaction of its rows."""
    place = {
        "target": tables.data_schema(conn),
        "source": task.source,
        "table_name": spec.name,
        "chunk": task.chunk,
    }
    conn.execute(sa.delete(tables.rejects).filter_by(**place))
    if rejects:
        statement = insert(tables.rejects)
        # A row that moved here from a chunk that is loaded later leaves its old entry behind.
        conn.execute(
            statement.on_conflict_do_update(
                index_elements=list(tables.rejects.primary_key),
                set_={
                    name: statement.excluded[name]
                    for name in statement.table.columns.keys() - place.keys() - {"source_rowid"}
                },
            ),
            [{**place, **reject, "run_id": run_id} for reject in rejects],
        )
    entry = insert(tables.chunks).values(
        **place,
        pin_digest=task.pin_digest,
        chunk_rows=task.chunk_rows,
        digest=task.source_digest,
        source_rows=task.source_rows,
        source_bytes=task.source_bytes,
        code_version=spec.fingerprint,
        run_id=run_id,
        loaded_at=sa.func.now(),
        **counts,
    )
    changed = {
        column.name: entry.excluded[column.name]
        for column in tables.chunks.columns
        if not column.primary_key
    }
    conn.execute(
        entry.on_conflict_do_update(index_elements=list(tables.chunks.primary_key), set_=changed)
    )


def stored_rows(conn: sa.Connection, spec: TableSpec, source: str) -> dict[int, int]:
    """Count the rows of a source in a target table, by chunk; mirrored rows are left out."""
    table = tables.CONSOLIDATED[spec.name]
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
            tables.chunks.c.target == tables.data_schema(conn),
            tables.chunks.c.source == pin.source,
            tables.chunks.c.source_rows > 0,
        )
        .distinct()
    ).scalars()
    return sorted({*pin.chunk_numbers, *ledger})


def stale_tasks(
    conn: sa.Connection, spec: TableSpec, pin: Pin, *, reload: bool = False
) -> list[ChunkTask]:
    """Return the chunks of a table whose rows are not those of the pin.

    A chunk is stale when the ledger lacks it or names another content, another cut or another
    code version, or when the table does not hold as many rows as the ledger says.
    """
    loaded = loaded_chunks(conn, pin.source, spec.name)
    stored = stored_rows(conn, spec, pin.source)
    stale = []
    for chunk in sorted({*pin.chunk_numbers, *loaded, *stored}):
        task, entry = chunk_task(pin, spec, chunk), loaded.get(chunk)
        if entry is None:
            if task.source_rows or stored.get(chunk):
                stale.append(task)
            continue
        fresh = (
            entry.digest == task.source_digest
            and entry.chunk_rows == task.chunk_rows
            and entry.code_version == spec.fingerprint
            and entry.rows == stored.get(chunk, 0)
        )
        if reload or not fresh:
            stale.append(task)
    return stale


def pin_required(conn: sa.Connection, source: Source) -> Pin:
    """Return the pin that a source's loads work from.

    Raises:
        SourceError: M107 when there is none: the source was never observed, or its copy is gone.
    """
    pin = recorded_pin(conn, source.name, source.pin_digest) if source.pin_digest else None
    if pin is None:
        raise SourceError(
            "M107",
            "there is no pinned copy of it",
            where=str(source.path),
            fix="observe it again: memos-assets observe",
        )
    return pin


def specs_in(pin: Pin) -> list[TableSpec]:
    """Return the specs whose SQLite table exists in a pin."""
    return [spec for spec in KINDS_BY_NAME[pin.kind].tables if spec.origin in pin.rows]
