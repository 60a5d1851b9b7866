"""Export what belongs to a user: each table as JSON lines and as Parquet, the manifest last."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa
from psycopg import sql

from memos_assets.errors import AgentError
from memos_assets.files import make_private, private_descriptor, write_private, write_whole
from memos_assets.memory.belongings import (
    COMPUTED,
    Belongings,
    Part,
    find_belongings,
    nothing_found,
)
from memos_assets.postgres.connection import driver_of

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
_BATCH: Final = 1_000
_VECTORS: Final = ("vector", "halfvec")
#: Type in PostgreSQL -> type in Parquet; any other one is written as PostgreSQL spells the value.
_TYPES: Final[Mapping[str, pa.DataType]] = {
    "bigint": pa.int64(),
    "integer": pa.int32(),
    "smallint": pa.int16(),
    "boolean": pa.bool_(),
    "double precision": pa.float64(),
    "real": pa.float32(),
    "bytea": pa.binary(),
    "date": pa.date32(),
    "timestamp with time zone": pa.timestamp("us", tz="UTC"),
    "timestamp without time zone": pa.timestamp("us"),
    "vector": pa.list_(pa.float32()),
    "halfvec": pa.list_(pa.float32()),
}
#: Left out of an export, and said in its manifest.
LEFT_OUT: Final = {
    "agent.postings, agent.word_counts": "computed from agent.memories.content",
    "agent.erasures, agent.models": "no rows of users",
    "files and tables of others": "what memOS itself wrote elsewhere, such as Mem0's tables",
}
_NOTES: Final = (
    "encrypted_content of public.memories is exported as it is stored: encrypted with memOS's key.",
    "Values are those of one moment: one repeatable read transaction.",
)


def export_user(engine: sa.Engine, user: str, folder: Path) -> dict[str, Any]:
    """Write what belongs to a user into a new folder, and return its manifest.

    A file that is complete has its name; without ``manifest.json`` the export is not complete. Only
    the user of this process may read the files.

    Args:
        engine: of the target database, as the owner of the tables.
        user: their id.
        folder: missing or empty.

    Raises:
        AgentError: M770 rows are hidden; M771 nothing belongs to the user; M772 the folder is not
            empty, or cannot be written.
    """
    try:
        _make(folder)
        with engine.connect().execution_options(isolation_level="REPEATABLE READ") as conn:
            conn.exec_driver_sql("set transaction read only")
            found = find_belongings(conn, user)
            parts = [part for part in found.parts if part.table not in COMPUTED]
            tables = {}
            for part in parts:
                written = _write(conn, found, part, folder)
                if written is not None:
                    tables[part.qualified] = written
            database = conn.execute(sa.select(sa.func.current_database())).scalar_one()
        if not tables:
            folder.rmdir()
            raise nothing_found(user)
        manifest = {
            "format": FORMAT,
            "user": user,
            "exported_at": datetime.now(UTC).isoformat(),
            "database": database,
            "tables": tables,
            "left_out": LEFT_OUT,
            "notes": _NOTES,
        }
        write_whole(folder / MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise AgentError(
            "M772",
            f"the export cannot be written ({error.strerror or error})",
            where=str(folder),
            fix="free space, or name another folder: --to DIR",
        ) from error
    return manifest


def _make(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()):
        raise AgentError(
            "M772",
            "the folder is not empty",
            where=str(folder),
            fix="name a new folder: --to DIR",
        )
    make_private(folder)


def _write(
    conn: sa.Connection, found: Belongings, part: Part, folder: Path
) -> dict[str, Any] | None:
    """Write the rows of one table twice; None where there are none."""
    names = list(part.columns)
    schema = pa.schema([(name, _TYPES.get(part.columns[name], pa.string())) for name in names])
    lines, parquet = (folder / f"{part.qualified}.{end}" for end in ("jsonl", "parquet"))
    partial = [path.with_name(f"{path.name}.part") for path in (lines, parquet)]
    rows = 0
    os.close(private_descriptor(partial[1], os.O_WRONLY | os.O_TRUNC))
    with (
        write_private(partial[0]) as text,
        pq.ParquetWriter(partial[1], schema, compression="zstd") as writer,
    ):
        for batch in _batches(conn, found, part):
            rows += len(batch)
            for row in batch:
                one = dict(zip(names, row, strict=True))
                text.write(json.dumps(one, default=_as_json, ensure_ascii=False) + "\n")
            columns = zip(*batch, strict=True)
            arrays = [
                pa.array(map(_as_parquet(field.type), column), field.type)
                for field, column in zip(schema, columns, strict=True)
            ]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
    if not rows:
        for path in partial:
            path.unlink()
        return None
    for path, whole in zip(partial, (lines, parquet), strict=True):
        path.replace(whole)
    files = {"jsonl": lines, "parquet": parquet}
    return {"rows": rows, "columns": part.columns} | {
        kind: {"file": path.name, "bytes": path.stat().st_size, "sha256": _digest(path)}
        for kind, path in files.items()
    }


def _batches(
    conn: sa.Connection, found: Belongings, part: Part
) -> Iterator[Sequence[Sequence[Any]]]:
    """Yield rows in batches; vectors as lists of floats, JSON as text."""
    vectors = [kind in _VECTORS for kind in part.columns.values()]
    listed = sql.SQL(", ").join(
        sql.SQL("{}::text").format(sql.Identifier(name))
        if kind in ("json", "jsonb", "sparsevec", *_VECTORS)
        else sql.Identifier(name)
        for name, kind in part.columns.items()
    )
    statement = sql.SQL("select {} from {} where ").format(listed, part.identifier)
    with driver_of(conn).cursor(name="export") as cursor:
        cursor.itersize = _BATCH
        cursor.execute(statement + sql.SQL(part.condition), found.values)
        while batch := cursor.fetchmany(_BATCH):
            yield [
                [
                    json.loads(value) if vector and value is not None else value
                    for value, vector in zip(row, vectors, strict=True)
                ]
                for row in batch
            ]


def _as_json(value: object) -> object:
    if isinstance(value, bytes | memoryview):
        return "\\x" + bytes(value).hex()
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return str(value)


def _as_parquet(kind: pa.DataType) -> Any:
    if not pa.types.is_string(kind):
        return lambda value: value
    return lambda value: value if value is None or isinstance(value, str) else str(value)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
