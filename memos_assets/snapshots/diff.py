"""Compare two snapshots: only tables that differ are opened, and rows never all at once.

DuckDB joins the two files of a table by its key, with a memory limit. What the rows mean is in
`comparison`, the answer in `differences`; `apply` works by the rows that are written beside it.
"""

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

from memos_assets.files import make_private
from memos_assets.postgres.schema.agent import AGENT_SCHEMA, is_of_embeddings
from memos_assets.snapshots.comparison import MEMORIES, Comparison
from memos_assets.snapshots.differences import Diff, RowFiles, TableDiff
from memos_assets.snapshots.duck_tables import Duck, opened
from memos_assets.snapshots.manifest import Manifest, TableEntry
from memos_assets.snapshots.reader import ensure_whole
from memos_assets.snapshots.row_files import write_rows
from memos_assets.snapshots.store import Store

#: Keys and groups in each list of a diff.
LIMIT: Final = 100


def diff(
    store: Store,
    a: Manifest,
    b: Manifest,
    *,
    limit: int = LIMIT,
    rows: Path | None = None,
    duck: Duck | None = None,
) -> Diff:
    """Return what differs between two snapshots of a store. Nothing in the store is written.

    Args:
        store: where both are.
        a: the former one.
        b: the later one.
        limit: keys and groups in each list; counts are exact.
        rows: an empty folder that gets the rows that differ, from which `apply` makes `b`; None:
            they are counted only.
        duck: a connection over the store's files that serves several diffs; None: one is opened.

    Raises:
        SnapshotError: M807 a file is missing or has another size; M810 it is damaged.
        SnapshotError: M811 memory or disk are exhausted.
    """
    pairs = _pairs(a, b)
    for entry in filter(None, itertools.chain(*pairs)):
        ensure_whole(store, entry)
    files = None if rows is None else RowFiles(rows)
    if not pairs:
        return Diff(a, b, (), files)
    with ExitStack() as stack:
        if duck is None:
            duck = stack.enter_context(opened(store))
        compared = [
            Comparison(duck, before, after, limit, f"differs_{number}")
            for number, (before, after) in enumerate(pairs)
        ]
        try:
            tables = tuple(one.compare() for one in compared)
            if files is not None:
                make_private(files.folder)
                for one, table in zip(compared, tables, strict=True):
                    write_rows(duck, one, table, files)
            return Diff(a, b, tuple(_of_memories(compared, tables)), files)
        finally:
            for one in compared:
                duck.run(f"drop table if exists {one.relation}")


def _of_memories(compared: list[Comparison], tables: tuple[TableDiff, ...]) -> Iterator[TableDiff]:
    """Yield the tables; those of embeddings know which memories say something else now."""
    memories = next((one for one in compared if one.table == MEMORIES), None)
    for one, table in zip(compared, tables, strict=True):
        schema, _, name = table.table.partition(".")
        if memories is not None and schema == AGENT_SCHEMA and is_of_embeddings(name):
            yield replace(table, embeddings_alone=one.embeddings_of(memories))
        else:
            yield table


def _pairs(a: Manifest, b: Manifest) -> list[tuple[TableEntry | None, TableEntry | None]]:
    """Return the entries of tables of which at least one snapshot has other rows or columns."""
    names = {entry.qualified for entry in (*a.tables, *b.tables)}
    pairs = [(a.entry(one), b.entry(one)) for one in sorted(names)]
    return [
        (before, after)
        for before, after in pairs
        if before is None or after is None or before.identity != after.identity
    ]
