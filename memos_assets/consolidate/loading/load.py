"""Load decoded chunks: rows, rejects and ledger row of a chunk in one transaction."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import psycopg
import pyarrow as pa
import sqlalchemy as sa
from psycopg import sql as pgsql

from memos_assets.catalog import TableSpec
from memos_assets.consolidate.decoding.reader import ChunkTask, tasks_of
from memos_assets.consolidate.loading import ledger
from memos_assets.consolidate.loading.counts import Counts
from memos_assets.consolidate.loading.load_errors import refused_chunk, refused_chunks
from memos_assets.consolidate.loading.read_ahead import EncodedBatch, ReadAhead
from memos_assets.consolidate.loading.summary import integral_note
from memos_assets.errors import MemosAssetsError, TargetError
from memos_assets.postgres import advisory_locks
from memos_assets.postgres.build_lock import wait_for_build
from memos_assets.postgres.connection import driver_of
from memos_assets.postgres.copy import encode as copy_binary
from memos_assets.postgres.copy.arrow_schema import table_schema
from memos_assets.postgres.schema import tables
from memos_assets.postgres.schema.consolidated import table_of
from memos_assets.progress import Progress, report
from memos_assets.thread_switches import prompt_switches

#: Bytes of rejected rows that are kept until the COPY is interrupted for them.
_REJECT_BYTES = 4 * 1024 * 1024
#: PostgreSQL keeps so many rows of a binary COPY in memory before it writes them, of whatever size
#: (copyfrom.c, MAX_BUFFERED_TUPLES; its bound in bytes counts text alone). The COPY ends earlier.
_KEPT_ROWS, _KEPT_BYTES = 1_000, 32 * 1024 * 1024
#: Bytes of a batch that ends the COPY by itself: a long row, which PostgreSQL holds several times.
_LONG_BYTES = 8 * 1024 * 1024
#: Temporary tables come first in every search path.
_STAGING = "memos_staging"


def load_stream(
    engine: sa.Engine, spec: TableSpec, reader: pa.RecordBatchReader, *, run_id: str
) -> list[tuple[ChunkTask, Counts]]:
    """Replace every chunk that the stream names, and return them; as `load_chunks`."""
    return list(load_chunks(engine, spec, reader, run_id=run_id))


def load_chunks(
    engine: sa.Engine, spec: TableSpec, reader: pa.RecordBatchReader, *, run_id: str
) -> Iterator[tuple[ChunkTask, Counts]]:
    """Replace every chunk that the stream names; yield each once it is committed.

    Each is a transaction of its own. SQLite is read and decoded in one thread while PostgreSQL is
    fed from another. Readers of the table see a chunk's old rows or its new ones. A chunk that is
    refused stays as it was, and the ones after it are loaded all the same; what was refused is
    raised at the end. Nothing more is tried once the server cannot be reached, or the stream ends
    with an error.

    Args:
        engine: of the target database.
        spec: the table.
        reader: from `reader.chunk_stream`, whose schema lists the chunks.
        run_id: recorded in the ledger.

    Raises:
        TargetError: M310 when PostgreSQL refused chunks; M311 when rows went missing on the way;
            M380 where chunks were refused with different codes.
    """
    tasks = tasks_of(reader.schema)
    total_rows = sum(task.source_rows for task in tasks)
    total_bytes = sum(task.source_bytes for task in tasks)
    report(Progress("load", spec.qualified, total_rows=total_rows, total_bytes=total_bytes))
    refused: list[MemosAssetsError] = []
    tried = 0
    integral: Counter[str] = Counter()
    with prompt_switches(), closing(ReadAhead(spec, reader, tasks)) as ahead:
        for task in tasks:
            last = task is tasks[-1]
            tried += 1
            try:
                counts = _load_chunk(engine, spec, task, ahead.batches_of(task), run_id, last=last)
            except (sa.exc.DBAPIError, psycopg.Error) as error:
                refused.append(refused_chunk(spec, task, error))
                if not _answers(engine):
                    break
            except MemosAssetsError as error:
                refused.append(error)
            else:
                integral += counts.integral_reals
                yield task, counts
                report(
                    Progress("load", spec.qualified, rows=task.source_rows, bytes=task.source_bytes)
                )
                continue
            if not ahead.skipped(task):
                break
    if refused:
        untried = len(tasks) - tried
        raise refused[0] if len(refused) == 1 else refused_chunks(spec, refused, tried, untried)
    report(Progress("load", spec.qualified, done=True, note=integral_note(spec, integral)))


def _answers(engine: sa.Engine) -> bool:
    """Whether the server takes a connection, so that it makes sense to try another chunk."""
    try:
        with engine.connect():
            return True
    except (sa.exc.DBAPIError, psycopg.Error, TargetError):
        return False


def _load_chunk(
    engine: sa.Engine,
    spec: TableSpec,
    task: ChunkTask,
    batches: Iterator[EncodedBatch],
    run_id: str,
    *,
    last: bool,
) -> Counts:
    counts = Counts()
    table = table_of(spec)
    with engine.begin() as conn:
        if not last:
            # A crash may take back the latest of these commits, and with the rows their ledger row,
            # so the chunk is simply pending again. The last commit waits for all before it.
            conn.execute(sa.text("set local synchronous_commit = off"))
        schema = tables.schema_in(conn, spec.schema)
        wait_for_build(conn, schema, spec.name)
        # Two runs of one table and source queue here instead of colliding on keys.
        advisory_locks.CHUNKS.wait(conn, f"{schema}.{spec.name}", task.source)
        conn.execute(
            sa.delete(table).where(table.c.source == task.source, table.c.chunk == task.chunk)
        )
        # Within one pin SQLite keeps keys unique. Beside chunks of another pin a row may have moved
        # here from a chunk that still holds it (memOS replaces rows, which gives them a new rowid),
        # so there the rows go through a staging table.
        others = ledger.has_chunks_of_other_pins(conn, spec, task)
        target = _staging(conn, schema, table) if others else table
        names = (target.name,) if others else (schema, target.name)
        ledger.clear_rejects(conn, spec, task)
        statement = _copy_statement(spec, names)
        for rejects in _copied(conn, statement, batches, counts):
            ledger.add_rejects(conn, spec, task, rejects, run_id)
        if others:
            _merge(conn, spec, table, target)
        if counts.rows + counts.rejected != task.source_rows:
            raise TargetError(
                "M311",
                f"{counts.rows} loaded and {counts.rejected} rejected of {task.source_rows} rows",
                where=f"{spec.qualified} {task.source}/{task.chunk:03d}",
                fix="observe the source again: memos-assets observe",
            )
        decided = task.rules.get(spec.name, {})
        entry = {
            **counts.as_ledger(),
            "rules": {reason: decided.get(reason) for reason in sorted(counts.faults)},
        }
        ledger.record_chunk(conn, spec, task, entry, run_id)
        # Else PostgreSQL may count these rows after the ANALYZE that saw them, and so twice.
        conn.execute(sa.select(sa.func.pg_stat_force_next_flush()))
    return counts


def _copied(
    conn: sa.Connection, statement: pgsql.Composed, batches: Iterator[EncodedBatch], counts: Counts
) -> Iterator[list[Mapping[str, Any]]]:
    """Copy batches; yield the rejects between two COPYs, each time that bytes are enough."""
    ended = False
    while not ended:
        rejects: list[Mapping[str, Any]] = []
        rows = reject_bytes = kept_bytes = 0
        ended = True
        with driver_of(conn).cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(copy_binary.HEADER)
            for encoded in batches:
                for part in copy_binary.written(encoded.payload):
                    copy.write(part)
                counts.add(encoded.counts)
                rejects += encoded.rejects
                reject_bytes += encoded.reject_bytes
                if (rows + encoded.counts.copied) // _KEPT_ROWS > rows // _KEPT_ROWS:
                    kept_bytes = 0
                rows += encoded.counts.copied
                size = sum(map(len, encoded.payload))
                kept_bytes += size
                # The next one is awaited without this one in memory.
                del encoded
                if (
                    reject_bytes >= _REJECT_BYTES
                    or kept_bytes >= _KEPT_BYTES
                    or size >= _LONG_BYTES
                ):
                    ended = False
                    break
            copy.write(copy_binary.TRAILER)
        yield rejects


def _staging(conn: sa.Connection, schema: str, table: sa.Table) -> sa.Table:
    driver_of(conn).execute(
        pgsql.SQL(
            "create temporary table if not exists {} (like {} including defaults) on commit drop"
        ).format(pgsql.Identifier(_STAGING), pgsql.Identifier(schema, table.name))
    )
    return table.to_metadata(sa.MetaData(), schema="pg_temp", name=_STAGING)


def _merge(conn: sa.Connection, spec: TableSpec, table: sa.Table, staging: sa.Table) -> None:
    """Take over the staged rows; where another chunk still holds a key, the staged row wins."""
    same_key = sa.and_(*(table.c[name] == staging.c[name] for name in spec.primary_key))
    conn.execute(sa.delete(table).where(same_key))
    names = [column.name for column in table.columns if column.computed is None]
    conn.execute(
        sa.insert(table).from_select(names, sa.select(*(staging.c[name] for name in names)))
    )


def _copy_statement(spec: TableSpec, target: Sequence[str]) -> pgsql.Composed:
    return pgsql.SQL("copy {} ({}) from stdin (format binary)").format(
        pgsql.Identifier(*target),
        pgsql.SQL(", ").join(map(pgsql.Identifier, table_schema(spec).names)),
    )
