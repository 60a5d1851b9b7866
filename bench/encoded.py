"""Rows as the real reader decodes them, encoded into files that PostgreSQL itself can COPY."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

from bench.world import World
from memos_assets.catalog import TableSpec
from memos_assets.consolidate.decoding.reader import ChunkTask, chunk_stream, chunk_task, rejects_of
from memos_assets.consolidate.sources.pins import Pin
from memos_assets.consolidate.sources.registry import specs_in
from memos_assets.postgres.copy import encode as copy_binary
from memos_assets.postgres.copy.arrow_schema import table_schema

Work = list[tuple[Pin, ChunkTask]]


@dataclass(slots=True)
class EncodedTable:
    """The rows of a table in a file of COPY's binary format.

    Attributes:
        spec: the table.
        path: the file; the server can read it.
        rows: loaded ones.
        rejected: rowids of rows that are not among them.
        reasons: rowid -> why its embedding is NULL, of tables with one vector column.
    """

    spec: TableSpec
    path: Path
    rows: int = 0
    rejected: set[int] = field(default_factory=set)
    reasons: dict[int, str] = field(default_factory=dict)


def work_of(spec: TableSpec, pins: Sequence[Pin]) -> Work:
    """Return every chunk of a table in the pins that have it."""
    return [
        (pin, chunk_task(pin, spec, chunk))
        for pin in pins
        if spec in specs_in(pin)
        for chunk in pin.chunk_numbers
    ]


def encode_table(world: World, spec: TableSpec, pins: Sequence[Pin]) -> EncodedTable:
    """Decode and encode all rows of a table, as the loader would."""
    folder = world.folder / "encoded"
    folder.mkdir(exist_ok=True)
    encoded = EncodedTable(spec, folder / f"{spec.name}.copy")
    names = table_schema(spec).names
    with encoded.path.open("wb") as file:
        file.write(copy_binary.HEADER)
        for batch in chunk_stream(spec, work_of(spec, pins)):
            keep = batch.column("reject").is_null().to_pylist()
            file.write(copy_binary.encode(batch.select(names), keep))
            encoded.rows += sum(keep)
            encoded.rejected |= {int(str(row["source_rowid"])) for row in rejects_of(batch)}
            if len(spec.vectors) == 1:
                rowids = batch.column("source_rowid").to_pylist()
                reasons = batch.column(spec.vectors[0].reason_name).to_pylist()
                encoded.reasons |= {
                    rowid: reason
                    for rowid, reason in zip(rowids, reasons, strict=True)
                    if reason is not None
                }
        file.write(copy_binary.TRAILER)
    world.readable(encoded.path)
    return encoded


def copy_on_server(conn: psycopg.Connection, encoded: EncodedTable, table: sql.Identifier) -> None:
    """Let the server itself read the file: the least that a load can cost."""
    conn.execute(
        sql.SQL("copy {} ({}) from {} (format binary)").format(
            table,
            sql.SQL(", ").join(map(sql.Identifier, table_schema(encoded.spec).names)),
            sql.Literal(str(encoded.path)),
        )
    )
