"""Memories of agents with embeddings, links and revisions, written straight into the tables."""

import numpy as np
import psycopg
import pyarrow as pa
import sqlalchemy as sa
from psycopg import sql

from memos_assets.memory.models import ensure_registered
from memos_assets.postgres.connection import driver_of
from memos_assets.postgres.copy.arrow_schema import typed_field
from memos_assets.postgres.copy.encode import HEADER, TRAILER, encode
from memos_assets.search.embed import DeterministicEmbedder

#: Links of a memory to others.
LINKS = 5
_BATCH = 2_000
_MEMORIES = """
    insert into agent.memories
        (id, space_id, user_id, kind, content, content_digest, words, attributes, source)
    select md5(n::text)::uuid, %(space)s, 'ann', 'finding',
        'Memory ' || n || ': ' || (select string_agg(md5((n * 7 + k)::text), ' ')
            from generate_series(1, 6) k),
        md5('text' || n), 12, jsonb_build_object('n', n), 'chat:' || n / 20
    from generate_series(1, %(count)s) n
"""
_REVISIONS = """
    insert into agent.revisions (memory, space_id, action, retracted, user_id)
    select number, space_id, 'remember', false, 'ann' from agent.memories order by number
"""
_LINKS = """
    insert into agent.links (a, b, type, direction, weight, automatic, a_space_id, b_space_id)
    select number, number + k, 'semantic', 0, 1 - k * 0.01 - (number %% 97) * 0.001, true,
        space_id, space_id
    from agent.memories, generate_series(1, %(links)s) k
    where number + k <= (select max(number) from agent.memories)
"""


def write_memories(engine: sa.Engine, count: int, dimension: int) -> None:
    """Write memories, a revision and an embedding of each, and `LINKS` links.

    Args:
        engine: of the owner, on a database without memories.
        count: of the memories.
        dimension: of the embeddings.
    """
    model = ensure_registered(engine, DeterministicEmbedder(dimension))
    assert model is not None
    with engine.begin() as conn:
        driver = driver_of(conn)
        space = driver.execute(
            "insert into agent.spaces (name, owner, private) values ('team', 'ann', false) "
            "returning id"
        ).fetchone()
        assert space is not None
        values = {"space": space[0], "count": count, "links": LINKS}
        for statement in (_MEMORIES, _REVISIONS, _LINKS):
            driver.execute(statement, values)
        _write_embeddings(driver, model.table_name, space[0], dimension)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.exec_driver_sql("vacuum (analyze)")
        conn.exec_driver_sql("checkpoint")


def _write_embeddings(driver: psycopg.Connection, table: str, space: int, dimension: int) -> None:
    generator = np.random.default_rng(1)
    numbers = [row[0] for row in driver.execute("select number from agent.memories order by 1")]
    schema = pa.schema(
        [
            typed_field("memory", "bigint"),
            typed_field("part", "smallint"),
            typed_field("space_id", "bigint"),
            typed_field("embedding", f"halfvec({dimension})"),
        ]
    )
    statement = sql.SQL("copy {} (memory, part, space_id, embedding) from stdin (format binary)")
    name = sql.Identifier(*table.split("."))
    with driver.cursor() as cursor, cursor.copy(statement.format(name)) as copy:
        copy.write(HEADER)
        for start in range(0, len(numbers), _BATCH):
            some = numbers[start : start + _BATCH]
            vectors = generator.standard_normal((len(some), dimension), np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            offsets = np.arange(0, len(some) * dimension + 1, dimension, dtype=np.int32)
            flat = pa.array(vectors.astype(np.float16).reshape(-1))
            columns = [
                pa.array(some, pa.int64()),
                pa.array([0] * len(some), pa.int16()),
                pa.array([space] * len(some), pa.int64()),
                pa.ListArray.from_arrays(pa.array(offsets), flat),
            ]
            copy.write(encode(pa.RecordBatch.from_arrays(columns, schema=schema)))
        copy.write(TRAILER)
