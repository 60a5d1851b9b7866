"""Read chunks of a pinned SQLite file as a stream of decoded Arrow batches."""

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from memos_assets.catalog import FileKind, TableSpec
from memos_assets.consolidate.decoding.batches import RawBatch, decode_batch, rejected_rows
from memos_assets.consolidate.decoding.repair_rules import Decisions, rules_of
from memos_assets.consolidate.sources.chunks import ChunkContent, chunk_bounds
from memos_assets.consolidate.sources.encodings import as_declared, declaration
from memos_assets.consolidate.sources.pins import Pin, check_copy
from memos_assets.postgres.copy.arrow_schema import stream_schema
from memos_assets.postgres.schema.tables import DROP
from memos_assets.sqlite import file as sqlite_file
from memos_assets.sqlite.batches import batched
from memos_assets.sqlite.file import quoted, rowid_name, unindexed
from memos_assets.sqlite.row_codec import Value

#: Rows and bytes of values in one batch; a single row may be larger.
BATCH_ROWS = 4_096
BATCH_BYTES = 2 * 1024 * 1024

#: Schema metadata key under which a stream names the chunks it consists of.
CHUNKS = b"memos.chunks"


@dataclass(frozen=True, slots=True)
class ChunkTask:
    """One chunk of one table to load, and its content in the pinned copy.

    Attributes:
        source: name of the source.
        chunk: its number.
        pin_digest: digest of the pinned copy.
        chunk_rows: rowids per chunk.
        source_rows: rows of the SQLite table in it.
        source_bytes: bytes of their values.
        source_digest: digest of their content, of the tables they link to, which decide whether a
            link dangles, of the decisions about rows of those tables, and of the encodings that
            are declared for them.
        rules: decisions about rejects of its table and of those it links to.
    """

    source: str
    chunk: int
    pin_digest: str
    chunk_rows: int
    source_rows: int
    source_bytes: int
    source_digest: str
    rules: Decisions = field(default_factory=dict)


def chunk_task(
    pin: Pin, spec: TableSpec, chunk: int, decisions: Decisions | None = None
) -> ChunkTask:
    """Describe one chunk of ``spec`` in ``pin``, to be loaded as decided for its source."""
    content = pin.content(spec.origin, chunk)
    concerned = {spec.name, *(link.table for link in spec.links)}
    rules = {table: of for table, of in (decisions or {}).items() if table in concerned}
    return ChunkTask(
        pin.source,
        chunk,
        pin.digest,
        pin.chunk_rows,
        content.rows,
        content.bytes,
        _digest(pin, spec, content, rules),
        rules,
    )


def _digest(pin: Pin, spec: TableSpec, content: ChunkContent, rules: Decisions) -> str:
    declared = declaration(spec, pin.source, pin.kind.encodings)
    if not content.rows or not (spec.links or declared):
        return content.digest
    linked = {pin.kind.table(link.table).origin for link in spec.links}
    parts = sorted(f"{c.table} {c.chunk} {c.digest}" for c in pin.chunks if c.table in linked)
    parts += sorted(
        # A row that a rule changes can be linked to; a dropped one is as absent as an open one.
        f"{table} {reason}={rule}"
        for table in {link.table for link in spec.links}
        for reason, rule in rules.get(table, {}).items()
        if rule != DROP
    )
    if declared:
        parts.append(declared)
    return hashlib.sha256("\n".join([content.digest, *parts]).encode()).hexdigest()


def tasks_of(schema: pa.Schema) -> list[ChunkTask]:
    """Return the chunks of a stream, which its schema lists."""
    raw = (schema.metadata or {}).get(CHUNKS)
    return [ChunkTask(**item) for item in json.loads(raw)] if raw else []


def chunk_stream(spec: TableSpec, work: Sequence[tuple[Pin, ChunkTask]]) -> pa.RecordBatchReader:
    """Stream decoded rows, chunk after chunk in the order of ``work``.

    Every batch belongs to one chunk. Rows that cannot be loaded come along with ``reject`` set.
    The schema's metadata lists the chunks, so that one without any row is replaced too.
    """
    tasks = json.dumps([asdict(task) for _, task in work])
    schema = stream_schema(spec).with_metadata({CHUNKS: tasks.encode()})

    def batches() -> Iterator[pa.RecordBatch]:
        for pin, task in work:
            if task.source_rows:
                check_copy(pin)
                yield from read_chunk(spec, pin, task.chunk, schema, task.rules)
                # The chunk is committed once the next one begins or the stream ends.
                check_copy(pin)

    return pa.RecordBatchReader.from_batches(schema, batches())


def read_chunk(
    spec: TableSpec,
    pin: Pin,
    chunk: int,
    schema: pa.Schema | None = None,
    rules: Decisions | None = None,
) -> Iterator[pa.RecordBatch]:
    """Yield the decoded batches of one chunk, in the order of rowids."""
    first, last = chunk_bounds(chunk, pin.chunk_rows)
    return read_rows(
        spec, pin.kind, pin.path, pin.source, chunk, first, last, schema=schema, rules=rules
    )


def read_table(
    spec: TableSpec, kind: FileKind, path: Path, source: str
) -> Iterator[pa.RecordBatch]:
    """Yield the decoded batches of a whole table, as a dry run does from the file itself."""
    return read_rows(spec, kind, path, source, 0, -(2**63), 2**63 - 1)


def read_rows(
    spec: TableSpec,
    kind: FileKind,
    path: Path,
    source: str,
    chunk: int,
    first: int,
    last: int,
    *,
    schema: pa.Schema | None = None,
    rules: Decisions | None = None,
) -> Iterator[pa.RecordBatch]:
    """Yield the decoded batches of the rows from rowid ``first`` to ``last``, inclusive."""
    schema = schema or stream_schema(spec)
    rules = rules or {}
    spec = as_declared(spec, source, kind.encodings)
    with sqlite_file.opened(path) as connection:
        layout = sqlite_file.layout(connection)
        linked = {
            link.table: _linked_keys(
                path,
                path.stat().st_mtime_ns,
                kind,
                link.table,
                link.key,
                len(source.encode()),
                tuple(sorted(rules.get(link.table, {}).items())),
            )
            for link in spec.links
        }
        reader = _TableReader(connection, spec, layout[spec.origin], linked)
        seen: set[tuple[Value, ...]] = set()
        decode = partial(
            decode_batch,
            spec,
            source=source,
            chunk=chunk,
            schema=schema,
            rules=rules.get(spec.name, {}),
            unloadable={table: keys.unloadable for table, keys in linked.items()},
            seen=seen,
            stored_row=reader.stored_row,
        )
        yield from map(decode, reader.batches(first, last))


@dataclass(frozen=True, slots=True)
class _LinkedKeys:
    """Keys of a table that others link to.

    Attributes:
        loaded: keys of rows that are loaded.
        unloadable: keys that exist only on rows that cannot be loaded.
    """

    loaded: frozenset[Value]
    unloadable: frozenset[Value]

    def __contains__(self, key: Value) -> bool:
        return key in self.loaded or key in self.unloadable


class _TableReader:
    """Selects what a spec needs from one SQLite table, in batches of bounded size."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        spec: TableSpec,
        columns: frozenset[str],
        linked: Mapping[str, _LinkedKeys] | None = None,
        *,
        vectors: bool = True,
    ) -> None:
        self._connection, self._spec, self._linked = connection, spec, linked
        self._rowid = rowid_name(columns, spec.origin)
        self._every_column = sorted(columns)
        origins: dict[str, None] = dict.fromkeys(column.origin for column in spec.columns)
        if vectors:
            for vector in spec.vectors:
                origins[vector.origin] = None
                if vector.dimension_origin:
                    origins[vector.dimension_origin] = None
        self._origins = [name for name in origins if name in columns]
        self._absent = [name for name in origins if name not in columns]

    def batches(self, first: int, last: int) -> Iterator[RawBatch]:
        """Yield batches of the rows from rowid ``first`` to ``last``, inclusive."""
        selected = ", ".join([self._rowid, *map(quoted, self._origins)])
        cursor = self._connection.execute(
            f"select {selected} from {unindexed(self._spec.origin)} "
            f"where {self._rowid} between ? and ? order by {self._rowid}",
            (first, last),
        )
        # `map` refers to no batch while its consumer works on it.
        yield from map(self._raw, batched(cursor, most_rows=BATCH_ROWS, most_bytes=BATCH_BYTES))

    def _raw(self, rows: Sequence[tuple[Any, ...]]) -> RawBatch:
        columns = list(zip(*rows, strict=True))
        values: dict[str, Sequence[Value]] = dict(zip(self._origins, columns[1:], strict=True))
        for name in self._absent:
            values[name] = (None,) * len(rows)
        return RawBatch(columns[0], values, self._resolved(values))

    def _resolved(self, values: Mapping[str, Sequence[Value]]) -> Sequence[Sequence[int | None]]:
        if self._linked is None:
            return ()
        return [
            [
                None if end is None else int(end in self._linked[link.table])
                for end in values[self._spec.column(link.column).origin]
            ]
            for link in self._spec.links
        ]

    def stored_row(self, rowid: int) -> Mapping[str, Value]:
        """Return one row as stored, all its columns by name, in the order of names."""
        names = ", ".join(map(quoted, self._every_column))
        row = self._connection.execute(
            f"select {names} from {unindexed(self._spec.origin)} where {self._rowid} = ?",
            (rowid,),
        ).fetchone()
        return dict(zip(self._every_column, row, strict=True))


@lru_cache(maxsize=4)
def _linked_keys(
    path: Path,
    modified_ns: int,  # noqa: ARG001  part of what the cache goes by
    kind: FileKind,
    table: str,
    key: str,
    source_bytes: int,
    rules: tuple[tuple[str, str], ...],
) -> _LinkedKeys:
    """Read the keys of a table that others link to, row by row: an index may have lost some.

    A link to a row that cannot be loaded would dangle in PostgreSQL; to one that is loaded as
    ``rules`` change it, it does not. The answer is kept for the file as it was at ``modified_ns``;
    pins never change.
    """
    spec = kind.table(table)
    if any(link.declared for link in spec.links):
        raise NotImplementedError(f"links into {table}, which itself has declared links")
    rejected: set[Value] = set()
    loaded: set[Value] = set()
    with sqlite_file.opened(path) as connection:
        layout = sqlite_file.layout(connection)
        reader = _TableReader(connection, spec, layout[spec.origin], vectors=False)
        for batch in reader.batches(-(2**63), 2**63 - 1):
            keys = batch.values[spec.column(key).origin]
            left_out = rejected_rows(spec, batch, dict(rules), set(), source_bytes)
            for row, value in enumerate(keys):
                (rejected if row in left_out else loaded).add(value)
    # A link may name part of a key, which other rows share.
    return _LinkedKeys(frozenset(loaded), frozenset(rejected - loaded))


def rejects_of(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Return the rows of a batch that cannot be loaded as they are, as mappings."""
    rejects = batch.column("reject")
    if rejects.null_count == len(rejects):
        return []
    chunks, rowids = batch.column("chunk"), batch.column("source_rowid")
    sources = batch.column("source")
    return [
        {
            "source": sources[i].as_py(),
            "chunk": chunks[i].as_py(),
            "source_rowid": rowids[i].as_py(),
            **rejects[i].as_py(),
        }
        for i in range(len(rejects))
        if rejects[i].is_valid
    ]


def is_loaded(batch: pa.RecordBatch) -> list[bool]:
    """Return for each row of a batch whether it is loaded, as it is or as a rule changed it."""
    rejects = batch.column("reject")
    return [
        clean or bool(rules_of(resolution))
        for clean, resolution in zip(
            rejects.is_null().to_pylist(), rejects.field("resolution").to_pylist(), strict=True
        )
    ]
