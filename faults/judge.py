"""Compare SQLite and PostgreSQL without the loader, the reader or the proof.

The catalog says which column becomes which. Everything else is done again here, in the plainest
way, so that a mistake of the product is not repeated here.
"""

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
import psycopg
from psycopg import sql

from bench.world import World
from memos_assets.catalog import (
    MEMOS,
    TableSpec,
)
from memos_assets.catalog.columns import VectorColumn
from memos_assets.consolidate.sources.discover import FoundFile, Root, find_files
from memos_assets.postgres.server.embedded import DATABASE

#: Source, table, chunk.
Chunk = tuple[str, str, int]

#: Faults that are named; the others are counted.
_NAMED = 5


@dataclass(frozen=True, slots=True)
class LedgerState:
    """The ledger at one moment, and where the tables contradict it.

    Attributes:
        chunks: chunk -> when it was loaded.
        half: chunks of which there is another number of rows, reversed rows or rejects than the
            ledger says, or rows and no entry.
    """

    chunks: Mapping[Chunk, datetime]
    half: Sequence[Chunk]


@dataclass(slots=True)
class Verdict:
    """Rows of all tables and sources that a finished consolidation lost, doubled or changed."""

    rows: int = 0
    lost: int = 0
    doubled: int = 0
    changed: int = 0
    named: list[str] = field(default_factory=list)

    def fault(self, kind: str, where: str, keys: Sequence[object]) -> int:
        """Name the first few and return how many there are."""
        self.named += [f"{kind}: {where}: {key}" for key in list(keys)[:_NAMED]]
        return len(keys)


def read_ledger(world: World) -> LedgerState:
    """Read the ledger, and count the rows, reversed rows and rejects of every chunk."""
    with world.administrator(DATABASE) as conn:
        if not _has_tables(conn):
            return LedgerState({}, [])
        # All of it as of one moment: the server may still be undoing what a worker left.
        with conn.transaction():
            conn.execute("set transaction isolation level repeatable read")
            entries = conn.execute(
                "select source, table_name, chunk, rows, mirrored, rejected, loaded_at "
                "from memos_ops.chunks"
            ).fetchall()
            found: Counter[tuple[str, Chunk]] = Counter()
            for spec in MEMOS.tables:
                reversed_ = sql.SQL("reversed" if spec.mirrored else "false")
                counted = sql.SQL(
                    "select source, chunk, count(*) filter (where not {0}), "
                    "count(*) filter (where {0}) from {1} group by 1, 2"
                ).format(reversed_, sql.Identifier(*spec.qualified.split(".")))
                for source, chunk, rows, mirrored in conn.execute(counted):
                    found["rows", (source, spec.name, chunk)] = rows
                    found["mirrored", (source, spec.name, chunk)] = mirrored
            for source, table, chunk, rejected in conn.execute(
                "select source, table_name, chunk, count(*) from memos_ops.rejects group by 1, 2, 3"
            ):
                found["rejected", (source, table, chunk)] = rejected
    recorded: Counter[tuple[str, Chunk]] = Counter()
    for source, table, chunk, rows, mirrored, rejected, _ in entries:
        for kind, count in (("rows", rows), ("mirrored", mirrored), ("rejected", rejected)):
            recorded[kind, (source, table, chunk)] = count
    half = {
        place for kind, place in {*found, *recorded} if found[kind, place] != recorded[kind, place]
    }
    return LedgerState({entry[:3]: entry[6] for entry in entries}, sorted(half))


def _has_tables(conn: psycopg.Connection) -> bool:
    row = conn.execute("select to_regclass('memos_ops.chunks') is not null").fetchone()
    return row is not None and bool(row[0])


def judge(world: World) -> Verdict:
    """Compare every table of every file of the demo with its rows in PostgreSQL."""
    verdict = Verdict()
    files = [
        file for file in find_files(MEMOS, [Root(world.demo)]) if file.treatment == "consolidate"
    ]
    with world.administrator(DATABASE) as conn:
        for file in files:
            with closing(_opened(file.path)) as connection:
                tables = {row[0] for row in connection.execute("select name from sqlite_master")}
                assert file.kind is not None
                for spec in file.kind.tables:
                    if spec.origin in tables:
                        _judge_table(verdict, connection, conn, file, spec)
        for spec in MEMOS.tables:
            _judge_foreign(verdict, conn, spec, [file.source for file in files])
    return verdict


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
    return connection


def _judge_table(
    verdict: Verdict,
    connection: sqlite3.Connection,
    conn: psycopg.Connection,
    file: FoundFile,
    spec: TableSpec,
) -> None:
    where = f"{spec.qualified} of {file.source}"
    origins = ", ".join(f'"{spec.column(name).origin}"' for name in spec.key)
    stored = {
        row[0]: row[1:]
        for row in connection.execute(f'select rowid, {origins} from "{spec.origin}"')
    }
    query = sql.SQL("select source_rowid, {} from {} where source = %s {}").format(
        sql.SQL(", ").join(map(sql.Identifier, spec.key)),
        sql.Identifier(*spec.qualified.split(".")),
        sql.SQL("and not reversed" if spec.mirrored else ""),
    )
    loaded = conn.execute(query, (file.source,)).fetchall()
    rejected = conn.execute(
        "select source_rowid from memos_ops.rejects where source = %s and table_name = %s",
        (file.source, spec.name),
    ).fetchall()
    times = Counter([row[0] for row in loaded] + [row[0] for row in rejected])
    keys = Counter(row[1:] for row in loaded)
    verdict.rows += len(stored)
    verdict.lost += verdict.fault("lost", where, sorted(stored.keys() - times.keys()))
    verdict.doubled += verdict.fault(
        "doubled", where, [rowid for rowid, count in times.items() if count > 1]
    )
    verdict.doubled += verdict.fault(
        "doubled key", where, [key for key, count in keys.items() if count > 1]
    )
    verdict.doubled += verdict.fault("not in SQLite", where, sorted(times.keys() - stored.keys()))
    verdict.changed += verdict.fault(
        "another key", where, [row for row in loaded if stored.get(row[0], row[1:]) != row[1:]]
    )
    for vector in spec.vectors:
        arrived = dict(_arrived(conn, spec, vector, file.source))
        kept = _kept(connection, spec, vector, arrived.keys())
        differing = [rowid for rowid, digest in arrived.items() if kept.get(rowid) != digest]
        verdict.changed += verdict.fault("another vector", where, differing)


def _arrived(
    conn: psycopg.Connection, spec: TableSpec, vector: VectorColumn, source: str
) -> Iterator[tuple[int, bytes]]:
    """Yield rowid and digest of every embedding, its elements little-endian as SQLite has them."""
    query = sql.SQL(
        "select source_rowid, {0} from {1} where source = %s and {0} is not null"
    ).format(sql.Identifier(vector.name), sql.Identifier(*spec.qualified.split(".")))
    wire = ">f2" if vector.stored == "halfvec" else ">f4"
    with conn.transaction(), conn.cursor("embeddings", binary=True) as cursor:
        cursor.itersize = 200
        for rowid, value in cursor.execute(query, (source,)):
            # Dimension and an unused half word go before the elements.
            elements = np.frombuffer(value[4:], wire)
            yield rowid, _digest(elements.astype(elements.dtype.newbyteorder("<")).tobytes())


def _kept(
    connection: sqlite3.Connection, spec: TableSpec, vector: VectorColumn, rowids: object
) -> dict[int, bytes]:
    """Return rowid -> digest of the embeddings in SQLite that arrived."""
    assert hasattr(rowids, "__contains__")
    query = f'select rowid, "{vector.origin}" from "{spec.origin}"'
    return {
        rowid: _digest(_little_endian(vector, value))
        for rowid, value in connection.execute(query)
        if rowid in rowids
    }


def _little_endian(vector: VectorColumn, value: bytes | str) -> bytes:
    if vector.element_bytes is None:
        return np.array(json.loads(value), "<f4").tobytes()
    assert isinstance(value, bytes)
    return value


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def _judge_foreign(
    verdict: Verdict, conn: psycopg.Connection, spec: TableSpec, sources: Sequence[str]
) -> None:
    """Find rows of sources that are not in the folder, and links that lost their way back."""
    table = sql.Identifier(*spec.qualified.split("."))
    foreign = conn.execute(
        sql.SQL("select source, source_rowid from {} where source <> all(%s)").format(table),
        (list(sources),),
    ).fetchall()
    verdict.doubled += verdict.fault("of no source", spec.qualified, foreign)
    if not spec.mirrored:
        return
    # A reversed row for each row that says so, and no other.
    unpaired = conn.execute(
        sql.SQL(
            "select source, source_rowid from {} where bidirectional group by 1, 2 "
            "having count(*) filter (where reversed) <> 1"
        ).format(table)
    ).fetchall()
    verdict.lost += verdict.fault("without its reverse", spec.qualified, unpaired)


def left_behind(world: World) -> list[str]:
    """Name the remains of killed runs that a finished consolidation should have removed."""
    parts = sorted(path.name for path in (world.home / "pins").glob(".*.part*"))
    crashes = sorted(path.name for path in world.home.glob("crash-*.txt"))
    with world.administrator(DATABASE) as conn:
        runs = conn.execute(
            "select run_id, status from dagster.runs where status not in ('SUCCESS', 'FAILURE')"
        ).fetchall()
        slots = conn.execute(
            "select run_id from dagster.concurrency_slots where run_id is not null"
        ).fetchall()
    return [
        *(f"unfinished pin: {name}" for name in parts),
        *(f"crash: {name}" for name in crashes),
        *(f"unfinished run: {row[0]}, {row[1]}" for row in runs),
        *(f"slot of a run that is gone: {row[0]}" for row in slots),
    ]
