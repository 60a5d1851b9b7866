"""Contents and known defects of memOS's own tables. Only reads."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from memos_assets.catalog import ApplicationTable
from memos_assets.postgres.application.tables import APPLICATION
from memos_assets.postgres.connection import count_rows
from memos_assets.postgres.schema import tables

#: A person's id and a shorter one that it begins with count as two spellings from this length on.
_LEAST_PREFIX = 8
#: Text of the memory that memOS stores when a quest is completed; its hash is that of the text.
_MILESTONE = "Completed quest: "


@dataclass(frozen=True, slots=True)
class TableState:
    """One table of memOS; ``originals``: values of it whose spelling is kept."""

    name: str
    rows: int
    adopted: bool
    originals: int


def table_states(conn: sa.Connection, specs: Iterable[ApplicationTable]) -> list[TableState]:
    """Return tables as they are; one that is missing is left out."""
    book, original = tables.application_tables.c, tables.json_originals.c
    adopted: dict[str, bool] = {
        row.table_name: row.adopted
        for row in conn.execute(sa.select(book.table_name, book.adopted))
    }
    return [
        TableState(
            spec.name,
            count_rows(conn, APPLICATION[spec.name], sa.true()),
            adopted[spec.name],
            count_rows(conn, tables.json_originals, original.table_name == spec.name),
        )
        for spec in specs
    ]


def memories_facts(conn: sa.Connection) -> Mapping[str, int]:
    """Count what matters of the memories: embeddings, and rows that a search may not show."""
    memory = APPLICATION["memories"].c
    embedded = memory.embedding_vector.is_not(None)
    now = sa.func.timezone("utc", sa.func.now())
    counted = {
        "embedded": embedded,
        "without_embedding": ~embedded,
        "zero_embeddings": sa.func.vector_norm(memory.embedding_vector) == 0,
        "deleted": memory.is_deleted.is_(True),
        "expired": memory.expires_at <= now,
        "without_consent": memory.consent_given.is_(False),
    }
    row = conn.execute(sa.select(*(sa.func.count().filter(c) for c in counted.values()))).one()
    return dict(zip(counted, map(int, row), strict=True))


def embedding_models(conn: sa.Connection) -> list[tuple[str, int, int]]:
    """Return model, dimension and rows of the embedded memories."""
    memory = APPLICATION["memories"].c
    dimension = sa.func.vector_dims(memory.embedding_vector)
    model = sa.func.coalesce(memory.embedding_model, "not said")
    found = conn.execute(
        sa.select(model, dimension, sa.func.count())
        .where(memory.embedding_vector.is_not(None))
        .group_by(model, dimension)
        .order_by(model, dimension)
    )
    return [(str(name), int(dim), int(rows)) for name, dim, rows in found]


def quests_facts(conn: sa.Connection) -> Mapping[str, int]:
    """Count what does not fit together in the quests."""
    memory = APPLICATION["memories"].c
    quest, taken = APPLICATION["quests"].c, APPLICATION["user_quests"].c
    text = sa.func.convert_to(sa.literal(_MILESTONE) + quest.title, "UTF8")
    remembered = sa.exists().where(
        memory.user_id == taken.user_id,
        memory.content_hash == sa.func.encode(sa.func.sha256(text), "hex"),
    )
    completed = (
        sa.select(sa.func.count())
        .select_from(APPLICATION["user_quests"])
        .join(APPLICATION["quests"], quest.id == taken.quest_id)
        .where(taken.state == "completed")
    )
    tasks = APPLICATION["user_tasks"]
    return {
        "completed_quests": int(conn.execute(completed).scalar_one()),
        "completed_without_milestone": int(conn.execute(completed.where(~remembered)).scalar_one()),
        "tasks_without_quest": count_rows(conn, tasks, tasks.c.user_quest_id.is_(None)),
    }


def users_spelt_twice(conn: sa.Connection) -> list[tuple[str, str]]:
    """Return pairs of user ids of which one begins with the other: probably one person."""
    users = sa.union(
        *(sa.select(table.c.user_id) for table in APPLICATION.values() if "user_id" in table.c)
    ).subquery()
    short, whole = users.alias("short"), users.alias("whole")
    found = conn.execute(
        sa.select(short.c.user_id, whole.c.user_id)
        .where(
            sa.func.starts_with(whole.c.user_id, short.c.user_id),
            whole.c.user_id != short.c.user_id,
            sa.func.length(short.c.user_id) >= _LEAST_PREFIX,
        )
        .order_by(short.c.user_id, whole.c.user_id)
    )
    return [(str(first), str(second)) for first, second in found]
