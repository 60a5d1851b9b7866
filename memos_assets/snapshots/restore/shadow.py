"""A schema with the tables of agents as a snapshot has them: made, filled, indexed, proven.

Tables and indexes are those of the description, and of large spaces; what somebody added to the
live tables by hand is made, too. Everything is in the caller's transaction, so that a schema is
there whole or not at all.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

import sqlalchemy as sa
from psycopg import sql

from memos_assets.errors import SnapshotError
from memos_assets.postgres import schemas
from memos_assets.postgres.connection import driver_of, put_in_force
from memos_assets.postgres.schema import agent
from memos_assets.postgres.schema.embeddings import (
    FEWEST_INDEXED,
    MOST_INDEXABLE,
    SpaceIndex,
    embedding_table,
    kept_in_the_row,
    parsed,
)
from memos_assets.search.postings import WRITE_ALL
from memos_assets.snapshots.columns import SnapshotTable
from memos_assets.snapshots.coverage import coverage_of
from memos_assets.snapshots.identity import RowsDigest
from memos_assets.snapshots.manifest import TableEntry
from memos_assets.snapshots.reader import batches
from memos_assets.snapshots.restore.load import copy_in
from memos_assets.snapshots.restore.staged import Staged
from memos_assets.snapshots.store import Store
from memos_assets.snapshots.write import rows_of

#: For graphs of vector indexes; a larger one is built on disk beyond it, many times slower.
_WORK_MEM: Final = "512MB"
_HALFVEC: Final = re.compile(r"halfvec\((\d+)\)")


def build(
    conn: sa.Connection, store: Store, entries: Sequence[TableEntry], schema: str, *, whole: bool
) -> None:
    """Make a schema and fill it.

    Args:
        conn: in a transaction, as the owner of the live tables.
        store: where the snapshot is.
        entries: its tables of schema `agent`.
        schema: a new name that needs no quotes.
        whole: with every table that memory has, those without rows in a snapshot empty, caches
            left out; else those alone that are exchanged.

    Raises:
        SnapshotError: M807 a file is missing or damaged.
    """
    put_in_force(conn, {"maintenance_work_mem": _WORK_MEM})
    conn.execute(sa.schema.CreateSchema(schema))
    tables = [*_described(schema, whole=whole), *_of_embeddings(entries, schema)]
    for table in tables:
        _create(conn, table)
    driver = driver_of(conn)
    for entry in entries:
        target = sql.Identifier(schema, entry.name)
        columns = [name for name, _ in entry.columns]
        copy_in(driver, target, columns, batches(store, entry))
    for words in WRITE_ALL:
        conn.exec_driver_sql(schemas.renamed(words.as_string(), schema))
    _index(conn, entries, tables, schema)
    set_sequences(conn, schema)
    for table in tables:
        conn.exec_driver_sql(f"analyze {schema}.{table.name}")


def _index(
    conn: sa.Connection, entries: Sequence[TableEntry], tables: Sequence[sa.Table], schema: str
) -> None:
    """Make indexes and foreign keys, which is faster after the rows."""
    for table in tables:
        for index in sorted(table.indexes, key=lambda one: str(one.name)):
            conn.execute(sa.schema.CreateIndex(index))
    for table in tables:
        for key in table.foreign_key_constraints:
            conn.execute(sa.schema.AddConstraint(key))
    for statement in _added_by_hand(conn, schema):
        driver_of(conn).execute(statement)
    for space in _space_indexes(conn, entries, schema):
        driver_of(conn).execute(space.create(schema, concurrently=False))


def exchanged(table: str) -> bool:
    """Whether a table of schema `agent`, by its name, is exchanged by a restore."""
    coverage = coverage_of(agent.AGENT_SCHEMA, table)
    return coverage is not None and coverage.of in ("snapshot", "derived")


def _is_cache(table: str) -> bool:
    coverage = coverage_of(agent.AGENT_SCHEMA, table)
    return coverage is not None and coverage.of == "cache"


def _described(schema: str, *, whole: bool) -> list[sa.Table]:
    copied = sa.MetaData(naming_convention=agent.metadata.naming_convention)
    return [
        table.to_metadata(copied, schema=schema, referred_schema_fn=lambda *_: schema)
        for table in agent.metadata.sorted_tables
        if exchanged(table.name) or (whole and not _is_cache(table.name))
    ]


def _of_embeddings(entries: Sequence[TableEntry], schema: str) -> Iterator[sa.Table]:
    for entry in entries:
        if agent.is_of_embeddings(entry.name):
            yield embedding_table(_model(entry), _dimension(entry), schema)


def _model(entry: TableEntry) -> int:
    return int(entry.name.removeprefix(agent.EMBEDDINGS))


def _dimension(entry: TableEntry) -> int:
    found = _HALFVEC.fullmatch(dict(entry.columns)["embedding"])
    assert found is not None, "the manifest has the form of the live tables"
    return int(found[1])


def _create(conn: sa.Connection, table: sa.Table) -> None:
    """Make a table without foreign keys and further indexes, which are faster after the rows."""
    conn.execute(sa.schema.CreateTable(table, include_foreign_key_constraints=[]))
    conn.execute(sa.schema.SetTableComment(table))
    for column in table.columns:
        if column.comment:
            conn.execute(sa.schema.SetColumnComment(column))
    if agent.is_of_embeddings(table.name):
        conn.exec_driver_sql(kept_in_the_row(f"{table.schema}.{table.name}"))


_INDEXES = sa.text(
    """
    select c.relname::text as name, pg_catalog.pg_get_indexdef(c.oid) as definition
    from pg_catalog.pg_index i
    join pg_catalog.pg_class c on c.oid = i.indexrelid
    join pg_catalog.pg_class t on t.oid = i.indrelid
    join pg_catalog.pg_namespace n on n.oid = t.relnamespace
    where n.nspname = :live and i.indisvalid and t.relname = any(:tables)
        and not exists (
            select from pg_catalog.pg_constraint k where k.conindid = c.oid and k.contype <> 'f')
        and not exists (
            select from pg_catalog.pg_class o join pg_catalog.pg_namespace x
                on x.oid = o.relnamespace where x.nspname = :schema and o.relname = c.relname)
    order by 1
    """
)


def _added_by_hand(conn: sa.Connection, schema: str) -> list[sql.SQL]:
    """Return statements of live indexes that no description has; those of spaces are built anew."""
    inspected = sa.inspect(conn)
    tables = inspected.get_table_names(schema)
    known = {"live": agent.AGENT_SCHEMA, "schema": schema, "tables": tables}
    return [
        sql.SQL(schemas.renamed(row.definition, schema))
        for row in conn.execute(_INDEXES, known).all()
        if parsed(row.name) is None
    ]


def _space_indexes(
    conn: sa.Connection, entries: Sequence[TableEntry], schema: str
) -> list[SpaceIndex]:
    """Return the indexes of large spaces, of all their memories."""
    large = conn.execute(
        sa.text(
            f"select space_id, max(number) as bound from {schema}.memories group by space_id "
            "having count(*) >= :fewest order by 1"
        ),
        {"fewest": FEWEST_INDEXED},
    ).all()
    return [
        SpaceIndex(_model(entry), row.space_id, row.bound)
        for entry in entries
        if agent.is_of_embeddings(entry.name) and _dimension(entry) <= MOST_INDEXABLE and entry.rows
        for row in large
    ]


_IDENTITIES = sa.text(
    """
    select t.relname::text as table_name, a.attname::text as column_name
    from pg_catalog.pg_class t
    join pg_catalog.pg_namespace n on n.oid = t.relnamespace
    join pg_catalog.pg_attribute a on a.attrelid = t.oid and a.attidentity <> ''
    where n.nspname = :schema and t.relkind = 'r' order by 1
    """
)


def set_sequences(conn: sa.Connection, schema: str) -> None:
    """Have identities go on behind the highest number that there is, or ever was in the live table.

    A number that was given away since the snapshot is not given to another row.
    """
    for table, column in conn.execute(_IDENTITIES, {"schema": schema}).all():
        sequence = "pg_catalog.pg_get_serial_sequence({}, :column)"
        conn.execute(
            sa.text(
                f"select pg_catalog.setval({sequence.format(':made')}, highest) from (select "
                f"greatest(max({column}), pg_catalog.pg_sequence_last_value("
                f"{sequence.format(':live')}::pg_catalog.regclass)) as highest "
                f"from {schema}.{table}) as numbers where highest is not null"
            ),
            {
                "made": f"{schema}.{table}",
                "live": f"{agent.AGENT_SCHEMA}.{table}",
                "column": column,
            },
        )


def prove(conn: sa.Connection, entries: Sequence[TableEntry], schema: str) -> None:
    """Compare what is in a schema with the manifest, and its keys and indexes with the wanted ones.

    Args:
        conn: in the transaction that built it.
        entries: tables of the manifest.
        schema: that has them.

    Raises:
        SnapshotError: M818 naming what differs.
    """
    wrong = [*_differing(conn, entries, schema), *_invalid(conn, schema)]
    if wrong:
        raise not_proven(wrong)


def not_proven(wrong: Sequence[str]) -> SnapshotError:
    """Return M818 with what a proof found."""
    return SnapshotError(
        "M818",
        "what was loaded is not what the snapshot says: " + "; ".join(wrong),
        where="restore",
        fix="memos-assets snapshots verify names damaged files; restore another snapshot. The live "
        "tables are as they were",
    )


def prove_staged(conn: sa.Connection, staged: Sequence[Staged]) -> None:
    """Compare what is staged beside the live tables with the manifest.

    Raises:
        SnapshotError: M818.
    """
    if wrong := [said for one in staged for said in _fault(conn, one.entry, one.schema, one.name)]:
        raise not_proven(wrong)


def _differing(conn: sa.Connection, entries: Sequence[TableEntry], schema: str) -> Iterator[str]:
    for entry in entries:
        yield from _fault(conn, entry, schema, entry.name)


def _fault(conn: sa.Connection, entry: TableEntry, schema: str, name: str) -> Iterator[str]:
    """Read a table again, and say how its rows differ from the manifest."""
    table = SnapshotTable(schema, name, dict(entry.columns), tuple(entry.key))
    rows = digest_of(conn, table)
    if rows.rows != entry.rows:
        yield f"{entry.qualified} has {rows.rows:,} rows instead of {entry.rows:,}"
    elif rows.hexdigest() != entry.digest:
        yield f"rows of {entry.qualified} have another digest"


def digest_of(conn: sa.Connection, table: SnapshotTable) -> RowsDigest:
    """Return the digest of the rows of a table as they are."""
    rows = RowsDigest(table.arrow)
    for batch in rows_of(driver_of(conn), table):
        rows.update(batch)
    return rows


_INVALID = sa.text(
    """
    select 'index ' || c.relname || ' is not valid' from pg_catalog.pg_index i
    join pg_catalog.pg_class c on c.oid = i.indexrelid
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = :schema and not (i.indisvalid and i.indisready)
    union all
    select 'foreign key ' || k.conname || ' is not proven' from pg_catalog.pg_constraint k
    join pg_catalog.pg_namespace n on n.oid = k.connamespace
    where n.nspname = :schema and not k.convalidated
    """
)


def _invalid(conn: sa.Connection, schema: str) -> Iterator[str]:
    yield from conn.execute(_INVALID, {"schema": schema}).scalars()
    memories, counted = conn.execute(
        sa.text(
            f"select (select count(*) from {schema}.memories), "
            f"(select coalesce(sum(memories), 0) from {schema}.word_counts)"
        )
    ).one()
    if memories != counted:
        yield f"words of {counted:,} memories were counted instead of {memories:,}"
