"""Put single rows back as a snapshot has them, with what hangs on them.

What refers to a row by a foreign key goes with it: its rows become those of the snapshot, too. A
row that refers to one that is no longer live, such as a link to a memory that is gone, is left out
and counted. A key that the snapshot does not have is deleted.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import Any, Final
from uuid import UUID

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from psycopg import sql

from memos_assets.catalog.application import APPLICATION_SCHEMA
from memos_assets.errors import SnapshotError
from memos_assets.postgres.connection import driver_of
from memos_assets.postgres.schema.agent import AGENT_SCHEMA
from memos_assets.search.postings import WRITE
from memos_assets.snapshots.differences import Counts
from memos_assets.snapshots.manifest import Manifest, TableEntry
from memos_assets.snapshots.reader import batches, dataset, schema_of
from memos_assets.snapshots.restore.exact import one_at_a_time
from memos_assets.snapshots.restore.scope import live_tables, require_fit, scope_of
from memos_assets.snapshots.restore.staged import Staged, refused, stage
from memos_assets.snapshots.store import Store
from memos_assets.snapshots.verify import ensure_bytes
from memos_assets.snapshots.write import write_snapshot

_MEMORIES: Final = f"{AGENT_SCHEMA}.memories"


@dataclass(frozen=True, slots=True)
class RowsRestored:
    """What was done.

    Attributes:
        snapshot: id of what was restored.
        before: id of the snapshot of what was live.
        tables: ``schema.table`` -> what changed.
        left_out: ``schema.table`` -> rows that refer to something that is no longer live.
    """

    snapshot: str
    before: str
    tables: Mapping[str, Counts]
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Key:
    """A foreign key: columns of a table, and those that they name."""

    table: str
    other: str
    columns: tuple[str, ...]
    named: tuple[str, ...]


def restore_rows(
    engine: sa.Engine,
    store: Store,
    manifest: Manifest,
    table: str,
    keys: Sequence[str],
    *,
    from_other: bool = False,
) -> RowsRestored:
    """Make rows of one table what they are in a snapshot.

    Args:
        engine: of the owner of the tables.
        store: where the snapshot is.
        manifest: of the snapshot.
        table: ``schema.table``, whose key is one column.
        keys: as text. Memories are also named by their ids.
        from_other: the snapshot may be of another database.

    Raises:
        SnapshotError: M807 a file is missing or damaged; M815 to M817 as `exact.exact`; M819 a
            constraint refuses it; M820 another restore runs; M825 there is no such table in the
            snapshot, or a key is not one of its.
    """
    entry = _entry(manifest, table)
    with one_at_a_time(engine):
        with engine.connect() as conn:
            require_fit(conn, store, manifest, from_other=from_other)
        before = write_snapshot(engine, store).manifest
        with engine.begin() as conn:
            chosen = _chosen(conn, store, manifest, entry, _values(store, entry, keys))
            try:
                done, left_out = _put(conn, chosen, entry)
                _advance_sequences(conn, chosen)
            except psycopg.errors.IntegrityError as error:
                raise refused(error, f"table {table}") from None
    return RowsRestored(manifest.id, before.id, done, left_out)


def plan_rows(
    engine: sa.Engine,
    store: Store,
    manifest: Manifest,
    table: str,
    keys: Sequence[str],
    *,
    from_other: bool = False,
) -> Mapping[str, Counts]:
    """Return ``schema.table`` -> what `restore_rows` would change; nothing is written.

    Rows that it would leave out, because what they refer to is gone, are counted as added.

    Raises:
        SnapshotError: M807, M815 to M817, M825, M827 as `restore_rows`.
    """
    entry = _entry(manifest, table)
    with engine.connect() as conn:
        require_fit(conn, store, manifest, from_other=from_other)
        chosen = _chosen(conn, store, manifest, entry, _values(store, entry, keys))
        counts = {name: staged.counts(conn) for name, staged in chosen.items()}
        conn.rollback()
    return counts


def _entry(manifest: Manifest, table: str) -> TableEntry:
    entry = manifest.entry(table)
    if entry is None or entry not in scope_of(manifest).entries or len(entry.key) != 1:
        named = sorted(one.qualified for one in scope_of(manifest).entries if len(one.key) == 1)
        raise _no_key(
            "its rows cannot be named by one key", table, f"name one of {', '.join(named)}"
        )
    return entry


def _values(store: Store, entry: TableEntry, keys: Sequence[str]) -> list[Any]:
    """Return keys as values of their column; ids of memories as their numbers."""
    ensure_bytes(store, entry)
    kind = schema_of(entry).field(entry.key[0]).type
    if entry.qualified == _MEMORIES:
        numbered = [key for key in keys if _uuid(key) is None]
        ids = {found for key in keys if (found := _uuid(key)) is not None}
        return sorted({*_cast(entry, numbered, kind), *_numbers(store, entry, ids)})
    if isinstance(kind, pa.BaseExtensionType):
        uuids = [_uuid(key) for key in keys]
        if None in uuids:
            raise _wrong_type(entry)
        return uuids
    return _cast(entry, keys, kind)


def _uuid(key: str) -> UUID | None:
    try:
        return UUID(key) if "-" in key else None
    except ValueError:
        return None


def _cast(entry: TableEntry, keys: Sequence[str], kind: pa.DataType) -> list[Any]:
    try:
        return list(pa.array(list(keys), pa.string()).cast(kind).to_pylist())
    except pa.ArrowInvalid:
        raise _wrong_type(entry) from None


def _wrong_type(entry: TableEntry) -> SnapshotError:
    return _no_key("the keys are not of its type", f"{entry.qualified}.{entry.key[0]}", "")


def _numbers(store: Store, entry: TableEntry, ids: set[UUID]) -> list[int]:
    """Return the numbers of memories that are named by their ids."""
    if not ids:
        return []
    found = {
        row["id"]: row["number"]
        for batch in dataset(store, entry).to_batches(columns=["id", "number"])
        for row in batch.to_pylist()
        if row["id"] in ids
    }
    if missing := ids - found.keys():
        raise _no_key("no such memory is in the snapshot", min(map(str, missing)), "")
    return list(found.values())


def _no_key(what: str, where: str, fix: str) -> SnapshotError:
    return SnapshotError(
        "M825", what, where=where, fix=fix or "memos-assets snapshots diff lists keys"
    )


_KEYS = sa.text(
    """
    select k.conrelid::bigint as number, a.nspname || '.' || t.relname as table_name,
        b.nspname || '.' || o.relname as other,
        array(select c.attname::text from unnest(k.conkey) with ordinality x(n, place)
            join pg_catalog.pg_attribute c on c.attrelid = k.conrelid and c.attnum = x.n
            order by place) as columns,
        array(select c.attname::text from unnest(k.confkey) with ordinality x(n, place)
            join pg_catalog.pg_attribute c on c.attrelid = k.confrelid and c.attnum = x.n
            order by place) as named
    from pg_catalog.pg_constraint k
    join pg_catalog.pg_class t on t.oid = k.conrelid
    join pg_catalog.pg_namespace a on a.oid = t.relnamespace
    join pg_catalog.pg_class o on o.oid = k.confrelid
    join pg_catalog.pg_namespace b on b.oid = o.relnamespace
    where k.contype = 'f' and a.nspname = any(:schemas) order by k.conname
    """
)


def _foreign_keys(conn: sa.Connection) -> list[_Key]:
    found = conn.execute(_KEYS, {"schemas": [AGENT_SCHEMA, APPLICATION_SCHEMA]})
    return [_Key(row.table_name, row.other, tuple(row.columns), tuple(row.named)) for row in found]


def _chosen(
    conn: sa.Connection,
    store: Store,
    manifest: Manifest,
    root: TableEntry,
    values: Sequence[Any],
) -> dict[str, Staged]:
    """Stage the rows of the keys and of what hangs on them; the first table is the named one."""
    keys, live = _foreign_keys(conn), live_tables(conn)
    wanted: dict[str, dict[str, set[Any]]] = {root.qualified: {root.key[0]: set(values)}}
    waiting = [(root.qualified, root.key[0], set(values))]
    while waiting:
        table, column, found = waiting.pop()
        for key in keys:
            child = manifest.entry(key.table)
            if key.other != table or column not in key.named or child is None:
                continue
            if key.table not in live:
                continue
            refers = key.columns[key.named.index(column)]
            known = wanted.setdefault(key.table, {}).setdefault(refers, set())
            if not (more := found - known):
                continue
            known |= more
            if len(child.key) == 1 and any(one.other == key.table for one in keys):
                own = child.key[0]
                waiting.append((key.table, own, _own(conn, store, child, own, refers, more)))
    staged = {}
    for table, columns in wanted.items():
        entry = manifest.entry(table)
        assert entry is not None
        ensure_bytes(store, entry)
        condition = " or ".join(f'l."{name}" = any(%({name})s)' for name in columns)
        bound = {name: list(found) for name, found in columns.items()}
        staged[table] = stage(conn, entry, _rows(store, entry, columns), f"({condition})", bound)
    return staged


def _own(
    conn: sa.Connection, store: Store, entry: TableEntry, own: str, column: str, values: set[Any]
) -> set[Any]:
    """Return keys of rows that refer to values, in the snapshot and now."""
    then = {
        row[own]
        for batch in _rows(store, entry, {column: values})
        for row in batch.select([own]).to_pylist()
    }
    query = sql.SQL("select {} from {} where {} = any(%s)").format(
        sql.Identifier(own), sql.Identifier(entry.schema, entry.name), sql.Identifier(column)
    )
    now = driver_of(conn).execute(query, (list(values),)).fetchall()
    return then | {row[0] for row in now}


def _rows(
    store: Store, entry: TableEntry, columns: Mapping[str, set[Any]]
) -> Iterator[pa.RecordBatch]:
    """Yield rows of a table in which one of the columns has one of its values."""
    schema = schema_of(entry)
    for batch in batches(store, entry):
        mask = None
        for name, values in columns.items():
            column = batch.column(name)
            plain = column.storage if isinstance(column, pa.ExtensionArray) else column
            given = [value.bytes if isinstance(value, UUID) else value for value in values]
            here = pc.is_in(plain, pa.array(given, plain.type))
            mask = here if mask is None else pc.or_(mask, here)
        kept = batch.filter(mask)
        if kept.num_rows:
            yield pa.RecordBatch.from_arrays(kept.columns, schema=schema)


def _put(
    conn: sa.Connection, chosen: Mapping[str, Staged], root: TableEntry
) -> tuple[dict[str, Counts], dict[str, int]]:
    keys = [key for key in _foreign_keys(conn) if key.table in chosen and key.table != key.other]
    parents = {
        table: {key.other for key in keys if key.table == table and key.other in chosen}
        for table in chosen
    }
    order = list(TopologicalSorter(parents).static_order())
    memories = chosen.get(_MEMORIES)
    if memories is not None:
        _take_words(conn, memories)
    removed = {table: chosen[table].remove(conn) for table in reversed(order)}
    done, left_out = {}, {}
    for table in order:
        staged = chosen[table]
        lacking = sum(_leave_out(conn, staged, key) for key in keys if key.table == table)
        if lacking and table == root.qualified:
            raise _no_key(
                "it refers to a row that is no longer live", table, "restore that one first"
            )
        if lacking:
            left_out[table] = lacking
        added, changed = staged.put(conn)
        done[table] = Counts(added, removed[table], changed)
    if memories is not None:
        _write_words(conn, memories)
    return done, left_out


_ADVANCE: Final = """
select pg_catalog.setval(sequence, highest) from (
    select pg_catalog.pg_get_serial_sequence({named}, a.attname)::pg_catalog.regclass as sequence,
        (select max({column}) from {table}) as highest
    from pg_catalog.pg_attribute a
    where a.attrelid = {named}::pg_catalog.regclass and a.attname = {text} and a.attidentity <> ''
) as numbers
where highest > coalesce(pg_catalog.pg_sequence_last_value(sequence), 0)
"""


def _advance_sequences(conn: sa.Connection, chosen: Mapping[str, Staged]) -> None:
    """Have no identity give a number that came back, as it may be from another database."""
    for table, staged in chosen.items():
        column = staged.entry.key[0]
        driver_of(conn).execute(
            sql.SQL(_ADVANCE).format(
                named=sql.Literal(table),
                text=sql.Literal(column),
                column=sql.Identifier(column),
                table=staged.live,
            )
        )


def _leave_out(conn: sa.Connection, staged: Staged, key: _Key) -> int:
    """Take staged rows out that refer to rows that are not live; return how many."""
    schema, _, other = key.other.partition(".")
    null = sql.SQL(" or ").join(
        sql.SQL("s.{} is null").format(sql.Identifier(name)) for name in key.columns
    )
    same = sql.SQL(" and ").join(
        sql.SQL("o.{} = s.{}").format(sql.Identifier(named), sql.Identifier(name))
        for name, named in zip(key.columns, key.named, strict=True)
    )
    statement = sql.SQL(
        "delete from {} s where not ({}) and not exists (select from {} o where {})"
    ).format(sql.Identifier(staged.schema, staged.name), null, sql.Identifier(schema, other), same)
    return driver_of(conn).execute(statement).rowcount


def _take_words(conn: sa.Connection, memories: Staged) -> None:
    """Take the words of memories out of what is counted; their rows are about to change."""
    condition = sql.SQL(memories.condition)
    driver = driver_of(conn)
    driver.execute(
        sql.SQL(
            "insert into agent.word_counts (space_id, memories, words) "
            "select l.space_id, -count(*), -sum(l.words) from agent.memories l where {} group by 1"
        ).format(condition),
        memories.values,
    )
    driver.execute(
        sql.SQL(
            "delete from agent.postings p using agent.memories l where p.memory = l.number and {}"
        ).format(condition),
        memories.values,
    )


def _write_words(conn: sa.Connection, memories: Staged) -> None:
    numbers = (
        driver_of(conn)
        .execute(
            sql.SQL("select l.number from agent.memories l where {}").format(
                sql.SQL(memories.condition)
            ),
            memories.values,
        )
        .fetchall()
    )
    statement = sa.text(WRITE.as_string()).bindparams(
        sa.bindparam("numbers", type_=sa.ARRAY(sa.BigInteger()))
    )
    conn.execute(statement, {"numbers": [number for (number,) in numbers]})
