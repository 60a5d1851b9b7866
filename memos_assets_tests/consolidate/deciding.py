"""Rows with faults, and decisions about them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.consolidate.rejects import decisions
from memos_assets_tests.consolidate import builders as b

#: Kind -> SQLite table, target table, how a row of it is made.
TABLES_OF: Mapping[str, tuple[str, str, Callable[..., dict[str, Any]]]] = {
    "mixed_precision_embeddings": ("embeddings", "embeddings", b.embedding),
    "hybrid": ("documents", "hybrid_documents", b.document),
    "corpus": ("entities", "corpus_entities", b.entity),
    "semantic_memory": ("memories", "semantic_memories", b.memory),
    "hyperbolic_embeddings": ("hyperbolic_documents", "hyperbolic_documents", b.node),
}
MIXED, CORPUS, SEMANTIC = "mixed_precision_embeddings", "corpus", "semantic_memory"
REPLACE, NULL = "replace_characters", "null_value"


def decide(engine: sa.Engine, table: str, source: str | None = None, /, **rules: str) -> None:
    with engine.begin() as conn:
        for reason, rule in rules.items():
            decisions.decide(
                conn,
                MEMOS.table(table),
                reason,
                rule,
                source=source,
                by="a test",
                note="why not",
            )


def withdraw(engine: sa.Engine, table: str, reason: str) -> None:
    with engine.begin() as conn:
        decisions.withdraw(conn, MEMOS.table(table), reason, source=None)


def settled(engine: sa.Engine, table: str) -> list[tuple[Any, ...]]:
    return b.rows(
        engine,
        "select source_rowid, reason, resolution from memos_ops.rejects "
        "where table_name = :table order by 1",
        table=table,
    )


def write(folder: Path, kind: str, *changes: Mapping[str, Any]) -> Path:
    """Write a file of one good row and one per mapping of changes; text is written by its bytes."""
    table, _, make = TABLES_OF[kind]
    path = b.write_kind(folder, kind, **{table: [make(n + 1) for n in range(len(changes) + 1)]})
    for number, change in enumerate(changes, start=2):
        for column, value in change.items():
            is_text = isinstance(value, str)
            marked = "cast(? as text)" if is_text else "?"
            b.change(
                path,
                f"update {table} set {column} = {marked} where rowid = {number}",
                parameters=[value.encode("utf-8", "surrogateescape") if is_text else value],
            )
    return path
