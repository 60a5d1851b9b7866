"""V64: a table that a crash would empty is named."""

import sqlalchemy as sa

from memos_assets.memory.restart_checks import memories_survive_restarts


def test_v64_memories_survive_restarts_fails_for_a_table_that_is_not_logged(
    engine: sa.Engine,
) -> None:
    with engine.connect() as conn:
        found = memories_survive_restarts(conn, "memos/memories")
        assert found.passed, found.observed
        assert "0 of 0 memories are of before the server started" in found.observed
        conn.execute(sa.text("alter table agent.postings set unlogged"))
        conn.execute(sa.text("alter table public.ollama_model_specs set unlogged"))
        found = memories_survive_restarts(conn, "memos/memories")
    assert not found.passed
    assert found.observed == (
        "agent.postings is not logged; public.ollama_model_specs is not logged"
    )


def test_v64_memories_survive_restarts_counts_memories_of_before_the_start(
    engine: sa.Engine,
) -> None:
    with engine.connect() as conn:
        space = conn.scalar(
            sa.text(
                "insert into agent.spaces (name, owner, private) values ('', 'u1', true) "
                "returning id"
            )
        )
        for age in ("interval '10 years'", "interval '0'"):
            conn.execute(
                sa.text(
                    "insert into agent.memories (id, space_id, user_id, kind, content, "
                    "content_digest, words, source, recorded_at) values (gen_random_uuid(), "
                    f":space, 'u1', 'finding', 'a', md5({age}::text), 1, 'test', now() - {age})"
                ),
                {"space": space},
            )
        found = memories_survive_restarts(conn, "memos/memories")
    assert "1 of 2 memories are of before" in found.observed
    assert found.evidence["memories of before"] == 1
