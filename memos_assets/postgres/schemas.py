"""The schemas of the database: who writes each, and what backup, health and Alembic do with it.

Each has one owner. Rows that agents write at run time never go into the consolidated tables: a load
would delete them, a check would call them foreign, and a swap would put them aside.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from memos_assets.catalog import MEMOS
from memos_assets.catalog.application import APPLICATION_SCHEMA


@dataclass(frozen=True, slots=True)
class Schema:
    """One schema.

    Attributes:
        name: in PostgreSQL.
        holds: its rows, in one sentence.
        writer: the one owner of these rows.
        backup: the dump before the first write leaves out rows that can be had again.
        health: the indexes that are checked, and repaired by ``memos-assets maintain``.
        compared: whether Alembic compares it with the metadata of `schema.tables`.
    """

    name: str
    holds: str
    writer: str
    backup: Literal["dumped", "left out"]
    health: Literal["every index", "adopted tables"]
    compared: bool


DATA = Schema(
    MEMOS.schema,
    holds="Rows that were consolidated from SQLite files: versioned, swapped, proven.",
    writer="consolidation",
    backup="left out",
    health="every index",
    compared=True,
)
AGENT = Schema(
    "agent",
    holds="Rows that agents write at run time: memories, boards, caches, revisions.",
    writer="agents",
    backup="dumped",
    health="every index",
    compared=True,
)
OPS = Schema(
    "memos_ops",
    holds="Bookkeeping: registry, pins, ledger, rejects, evaluations, versions, schema revision.",
    writer="this project",
    backup="left out",
    health="every index",
    compared=True,
)
APPLICATION = Schema(
    APPLICATION_SCHEMA,
    holds="The application's own tables, adopted in place, and those of others.",
    writer="the application",
    backup="dumped",
    health="adopted tables",
    compared=True,
)
DAGSTER = Schema(
    "dagster",
    holds="Dagster's runs, events and schedules.",
    writer="Dagster",
    backup="left out",
    health="every index",
    compared=False,
)

SCHEMAS = (DATA, AGENT, OPS, APPLICATION, DAGSTER)


def left_out_of_backups() -> tuple[str, ...]:
    """Return names of schemas whose rows can be had again, or are Dagster's history."""
    return tuple(schema.name for schema in SCHEMAS if schema.backup == "left out")


def shared_and_checked() -> Iterator[str]:
    """Yield names of schemas that all catalogs share and whose every index is checked."""
    for schema in SCHEMAS:
        if schema.health == "every index" and schema is not DATA:
            yield schema.name


#: The schema of agents before the name of a table or function, in statements and definitions.
_OF_AGENTS: Final = re.compile(r'(?<![\w.$])("?)agent\1\.(?=["a-z_])')


def renamed(statement: str, schema: str) -> str:
    """Return a statement on schema `agent` as one on another schema that has the same tables.

    Values are bound and not looked at. A statement that names no table of agents is the same.

    Args:
        statement: of ours, in which names are qualified and lower case.
        schema: a name that needs no quotes.
    """
    return statement if schema == AGENT.name else _OF_AGENTS.sub(f"{schema}.", statement)
