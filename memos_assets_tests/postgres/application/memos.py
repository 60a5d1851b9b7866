"""Write memOS's own database, known defects included, as tests find it before the adoption."""

import hashlib
from datetime import datetime, timedelta
from uuid import UUID, uuid5

import numpy as np
import psycopg
from psycopg import sql

from memos_assets_tests.postgres.application.schema import FUNCTIONS, INDEXES, KEYS, TABLES

#: The revision before the adoption of memOS's tables.
BEFORE = "0003"

NAMES = (
    "achievements",
    "memories",
    "ollama_model_specs",
    "quest_tasks",
    "quests",
    "user_achievements",
    "user_memory_settings",
    "user_quest_stats",
    "user_quests",
    "user_tasks",
)
#: Tables in the same schema that are not memOS's own.
OTHERS = ("alembic_version", "mem0", "mem0migrations")

_SPACE = UUID("6d656d6f-7300-4000-8000-000000000000")
_BEGAN = datetime(2025, 12, 1, 8, 30, 15, 123456)  # noqa: DTZ001
PERSON = "3f2a9c1e-1111-4222-8333-444455556666"

#: JSON that jsonb spells otherwise, or refuses, and what is expected of the conversion.
TAGS = {
    '["recovery", "sleep"]': '["recovery", "sleep"]',
    '["a","b"]': '["a", "b"]',
    '[ "caf\\u00e9",\t"\\ud83d\\ude00" ]': '["café", "😀"]',
    '["nul \\u0000 nul", "\\\\u0000"]': '["nul \\ufffd nul", "\\\\u0000"]',
    '["half \\ud83d", "\\ude00\\ud83d\\ude00"]': '["half \\ufffd", "\\ufffd\\ud83d\\ude00"]',
    "[1e400000]": '"[1e400000]"',
    "[1.10, -0, 1E2]": "[1.10, 0, 100]",
    "null": "null",
}
ENTITIES = {
    '{"persons": ["Ann"], "dates": []}': '{"dates": [], "persons": ["Ann"]}',
    '{"dates": [1], "dates": [2]}': '{"dates": [2]}',
    "{}": "{}",
}


def name(kind: str, number: int) -> UUID:
    """Return the id of a row, the same for the same number."""
    return uuid5(_SPACE, f"{kind}/{number}")


def write_memos(conn: psycopg.Connection, *, memories: int = 24, rows: bool = True) -> None:
    """Create memOS's schema with pgvector, and rows with known defects; autocommit or not.

    Args:
        conn: to the database.
        memories: rows of that table; the first has no vector, the second a zero one.
        rows: false leaves every table of memOS empty.
    """
    for statements in (TABLES, KEYS, INDEXES, FUNCTIONS):
        conn.execute(statements.encode())
    conn.execute("insert into public.alembic_version values ('0001_initial')")
    conn.execute(
        "insert into public.mem0migrations select gen_random_uuid(), "
        'array_fill(0.1::real, array[1536])::vector, \'{"user_id": "x"}\''
    )
    if rows:
        _write_memories(conn, memories)
        _write_quests(conn)


def _write_memories(conn: psycopg.Connection, count: int) -> None:
    random = np.random.default_rng(1_024)
    tags, entities = list(TAGS), list(ENTITIES)
    for number in range(count):
        vector = random.standard_normal(1_024)
        vector /= np.linalg.norm(vector)
        text = {0: None, 1: "[" + ",".join(["0"] * 1_024) + "]"}.get(
            number, "[" + ",".join(f"{value:.7g}" for value in vector) + "]"
        )
        content = f"memory {number}"
        _insert(
            conn,
            "memories",
            id=name("memory", number),
            user_id=PERSON if number % 2 else PERSON[:8],
            content_hash=hashlib.sha256(content.encode()).hexdigest(),
            encrypted_content=b"gAAAAA" + bytes([0, 255, number]),
            content_summary=content,
            memory_type="conversational",
            privacy_level="balanced",
            embedding_vector=text,
            embedding_model="mxbai-embed-large",
            recovery_stage="maintenance",
            therapeutic_relevance=0.1 + number / 3,
            crisis_level=0.8 if number == 3 else 0.0,
            tags=tags[number % len(tags)] if number < count - 1 else None,
            entities=entities[number % len(entities)],
            created_at=_BEGAN + timedelta(hours=number),
            updated_at=_BEGAN + timedelta(hours=number, microseconds=1),
            expires_at=_BEGAN + timedelta(days=2_555) if number != 4 else _BEGAN,
            consent_given=number != 5,
            retention_policy="7_years",
            access_count=number,
            is_deleted=number == 6,
        )


def _write_quests(conn: psycopg.Connection) -> None:
    """Write quests, with each known defect that the dump has."""
    for number in range(3):
        _insert(
            conn,
            "quests",
            id=name("quest", number),
            title=f"Quest {number}",
            category="daily",
            points=50,
            prerequisites="[]",
            quest_metadata='{"tips":  ["rest"], "b": 1, "a": 2}',
            is_active=True,
            created_at=_BEGAN,
        )
        _insert(
            conn,
            "quest_tasks",
            id=name("task", number),
            quest_id=name("quest", number),
            title=f"Task {number}",
            order_index=0,
            verification_data='{"type":"text"}',
            created_at=_BEGAN,
        )
        _insert(
            conn,
            "user_quests",
            id=name("user quest", number),
            user_id=PERSON if number else PERSON[:8],
            quest_id=name("quest", number),
            state="completed" if number == 0 else "active",
            started_at=_BEGAN,
            completed_at=_BEGAN + timedelta(days=1) if number == 0 else None,
            progress_data='{"done": 1}',
            points_earned=50 if number == 0 else 0,
        )
        _insert(
            conn,
            "user_tasks",
            id=name("user task", number),
            user_quest_id=name("user quest", number) if number else None,
            task_id=name("task", number),
            user_id=PERSON,
            state="completed",
            evidence_data='{"note": "it \\u2713"}',
            created_at=_BEGAN,
        )
    for user in (PERSON, PERSON[:8], "somebody-else"):
        _insert(
            conn,
            "user_quest_stats",
            user_id=user,
            total_points=50,
            last_activity_date=_BEGAN.date(),
            level="newcomer",
            created_at=_BEGAN,
        )
    for number, window in enumerate((4_096, 935_000_000)):
        _insert(
            conn,
            "ollama_model_specs",
            id=name("model", number),
            model_name=f"model:{number}",
            base_model="model",
            parameter_count=None if number else 7.5,
            context_window=window,
            capabilities='["chat", "chat"]',
            tags='{"b":1,"a":null}',
            created_at=_BEGAN,
        )


def _insert(conn: psycopg.Connection, table: str, **values: object) -> None:
    conn.execute(
        sql.SQL("insert into {} ({}) values ({})").format(
            sql.Identifier("public", table),
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join(sql.Placeholder() * len(values)),
        ),
        list(values.values()),
    )
