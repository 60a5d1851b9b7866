"""Ann does not see what is Bob's: by no table, function, join, count, error, plan or name."""

from collections.abc import Iterator

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.catalog import MEMOS
from memos_assets.errors import AgentError
from memos_assets.memory import SyncMemory, open_sync_memory_sessions
from memos_assets.postgres.owned_rows import walls
from memos_assets.search import api
from memos_assets.search.functions import install
from memos_assets.settings import Settings
from memos_assets_tests.memory.walled import CANARY, act, add_memory, add_space

#: Names in which LIKE, quotes, arrays or settings could find more than they say.
NAMES = ("%", "_ob", "'bob'", '"bob"', "bob' or '1'='1", "{bob}", "bob,ann", "\\", "BOB", "b%")


@pytest.fixture(scope="module")
def walled(
    shared_engine: sa.Engine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[sessionmaker[Session]]:
    """Return sessions on a database in which Bob has a row in every table with an owner."""
    url = shared_engine.url.render_as_string(hide_password=False)
    settings = Settings(home=tmp_path_factory.mktemp("home"), database_url=url)
    with shared_engine.begin() as conn:
        install(conn, MEMOS.schema, MEMOS.searchable)
    with open_sync_memory_sessions(settings) as sessions:
        with sessions.begin() as session:
            act(session, "bob")
            space = add_space(session, "bob", "private:bob")
            first = add_memory(session, space, "bob", CANARY)
            second = add_memory(session, space, "bob", f"{CANARY}, again")
            for statement in FILLED:
                values = {"space": space, "a": first, "b": second, "said": CANARY}
                session.execute(sa.text(statement), values)
        yield sessions


FILLED = (
    (
        "insert into agent.revisions (memory, space_id, action, retracted, user_id) "
        "values (:a, :space, 'remember', false, 'bob')"
    ),
    "insert into agent.postings values (:space, 'canary-7f3a', :a, 1, 3)",
    "insert into agent.word_counts (space_id, memories, words) values (:space, 2, 6)",
    "insert into agent.links values (:a, :b, 'semantic', 0, 0.9, true, :space, :space)",
    "insert into agent.provenance values (:b, :a, :space)",
    "insert into agent.accesses values (:a, :space, 1, now())",
    "insert into agent.outbox (memory, space_id) values (:a, :space)",
    "insert into agent.seeds (space_id, source) values (:space, 'canary')",
    "insert into agent.seed_ids select number, 'canary', :a, :space, false from agent.seeds",
    (
        "insert into agent.proposals (action, memory, other, space_id, score) "
        "values ('merge', :a, :b, :space, 0.9)"
    ),
    (
        "insert into public.memories (id, user_id, content_hash, encrypted_content, memory_type, "
        "privacy_level, created_at, consent_given, content_summary, embedding_vector) values "
        "(gen_random_uuid(), 'bob', md5('x'), 'x', 't', 'p', now(), true, :said, "
        "array_fill(1::real, array[1024])::public.vector)"
    ),
    (
        "insert into public.user_memory_settings (user_id, memory_enabled, created_at) "
        "values ('bob', true, now())"
    ),
    (
        "insert into public.user_quests (id, user_id, state, started_at) "
        "values (gen_random_uuid(), 'bob', 'active', now())"
    ),
    "insert into public.user_tasks (id, user_id, state) values (gen_random_uuid(), 'bob', 'done')",
    (
        "insert into public.user_achievements (id, user_id, earned_at) "
        "values (gen_random_uuid(), 'bob', now())"
    ),
    "insert into public.user_quest_stats (user_id, total_points) values ('bob', 7)",
    (
        "insert into agent.cache_entries (key, namespace, scope, user_id, query, value, bytes, "
        "negative, fence, stored_at, expires_at, stale_until) values ('k', 'answers', 's', 'bob', "
        "'q', '1', 1, false, 1, now(), now() + interval '1 day', now() + interval '1 day')"
    ),
    (
        "insert into agent.cache_embeddings (entry, bucket, user_id, embedding) "
        "select number, 'b', user_id, '[1, 2]' from agent.cache_entries"
    ),
    (
        "insert into agent.cache_leases (key, namespace, user_id, holder, expires_at) "
        "values ('k', 'answers', 'bob', gen_random_uuid(), now())"
    ),
    (
        "insert into agent.cache_pairs (namespace, user_id, asked, matched, pair, wrong, origin) "
        "values ('answers', 'bob', 'a', 'b', 'p', true, 'feedback')"
    ),
    (
        "insert into agent.cache_sources (memory_id, entry, user_id) "
        "select m.id, e.number, e.user_id from agent.cache_entries e, agent.memories m "
        "where m.number = :a"
    ),
    (
        "insert into agent.cache_uses (entry, user_id, hits, used_at) "
        "select number, user_id, 1, now() from agent.cache_entries"
    ),
    (
        "insert into agent.boards (id, space_id, user_id, goal, max_events, max_bytes) "
        "values (gen_random_uuid(), :space, 'bob', :said, 9, 9999)"
    ),
    (
        "select agent.board_post('bob', '', id, jsonb_build_array(jsonb_build_object("
        "'level', 'notes', 'key', 'k', 'value', 'canary-7f3a'))) from agent.boards"
    ),
    (
        "insert into agent.board_private (board, slot, space_id, user_id, agent_id, key, value) "
        "select number, 's', space_id, 'bob', '', 'k', '1' from agent.boards"
    ),
    (
        "insert into agent.board_outbox (board, space_id, user_id, requests) "
        "select number, space_id, 'bob', '[]' from agent.boards"
    ),
    (
        "insert into agent.board_refusals (board, space_id, user_id, reason, level, key) "
        "select number, space_id, 'bob', 'budget', 'notes', 'k' from agent.boards"
    ),
)


def count(session: Session, table: str) -> int:
    return int(session.execute(sa.text(f"select count(*) from {table}")).scalar_one())


def test_every_table_with_an_owner_is_empty_for_others(
    walled: sessionmaker[Session], shared_engine: sa.Engine
) -> None:
    with shared_engine.connect() as conn:
        found = [wall.qualified for wall in walls(conn)[0] if wall.policies]
    # Whose a token is nobody knows before it is read: see test_access_tokens.
    tables = [name for name in found if name != "agent.tokens"]
    assert len(tables) >= 19
    with walled() as session:
        act(session, "bob")
        own = {table: count(session, table) for table in tables}
        assert min(own.values()) > 0, own
        for user in (None, "ann", *NAMES):
            act(session, user)
            assert {table: count(session, table) for table in tables} == dict.fromkeys(tables, 0)
        # Bob's own restriction to other spaces hides his.
        act(session, "bob", [2**40])
        assert count(session, "agent.memories") == 0


def test_search_functions_find_only_rows_of_the_user(walled: sessionmaker[Session]) -> None:
    query = np.ones(1_024)
    with walled() as session:
        act(session, "bob")
        assert [hit.text for hit in api.search(session, "memories", query, 5)] == [CANARY]
        for user in ("ann", *NAMES):
            act(session, user)
            assert api.search(session, "memories", query, 5) == []
            assert api.search(session, "memories", query, 5, owner="bob") == []


@pytest.mark.parametrize(
    "statement",
    [
        "select m.content from agent.memories m join agent.links l on l.a = m.number",
        (
            "select n.content from agent.spaces s cross join lateral "
            "(select content from agent.memories m where m.space_id = s.id) n"
        ),
        (
            "select count(*) from agent.memories m "
            "left join public.memories p on p.user_id = m.user_id having count(*) > 0"
        ),
        "select content from agent.memories where content ~ 'canary' or content like '%'",
        "select s.name from agent.spaces s where s.name like 'private:%'",
        "select user_id from agent.grants",
        "update agent.memories set content = content returning content",
        "delete from agent.links returning a",
        "select most_common_vals::text from pg_catalog.pg_stats where schemaname = 'agent'",
    ],
)
def test_joins_and_conditions_see_nothing_of_others(
    walled: sessionmaker[Session], shared_engine: sa.Engine, statement: str
) -> None:
    with shared_engine.begin() as conn:
        conn.exec_driver_sql("analyze agent.memories")
    with walled() as session:
        act(session, "ann")
        assert session.execute(sa.text(statement.replace(":", "\\:"))).all() == []


@pytest.mark.parametrize(
    "statement",
    [
        # A memory of Bob's, told apart from none at all only by who may see it.
        "insert into agent.links values (:of_bob, :mine, 'semantic', 0, 1, false, :space, :space)",
        "insert into agent.provenance values (:mine, :of_bob, :space)",
        "insert into agent.postings values (:space, 'w', :of_bob, 1, 1)",
        (
            "insert into agent.revisions (memory, space_id, action, retracted, user_id) "
            "values (:of_bob, :space, 'retract', true, 'ann')"
        ),
        "update agent.memories set space_id = :theirs where number = :mine",
        "insert into agent.grants values (:theirs, 'ann', 'read', 'ann')",
        "insert into agent.spaces (name, owner, private) values ('private:bob2', 'bob', true)",
        "insert into public.user_quest_stats (user_id) values ('bob2')",
        "select * from agent.erasures",
        "truncate agent.memories",
        "alter table agent.memories disable row level security",
        "set row_security = off; select count(*) from agent.memories",
        "select content::int from agent.memories where content::int = 1",
    ],
)
def test_what_is_refused_tells_nothing(walled: sessionmaker[Session], statement: str) -> None:
    with walled() as session:
        act(session, "bob")
        of_bob = session.execute(sa.text("select min(number) from agent.memories")).scalar_one()
        theirs = session.execute(sa.text("select min(id) from agent.spaces")).scalar_one()
        space = add_space(session, "ann", "private:ann")
        mine = add_memory(session, space, "ann", "of Ann")
        values = {"of_bob": of_bob, "theirs": theirs, "space": space, "mine": mine}
        if "::int" in statement:
            act(session, "nobody")
            assert session.connection().exec_driver_sql(statement).all() == []
            return
        with pytest.raises(sa.exc.DBAPIError) as refused:
            session.execute(sa.text(statement), values)
    assert "canary" not in str(refused.value.orig).lower()


def test_plans_use_indexes_and_show_no_text(walled: sessionmaker[Session]) -> None:
    with walled() as session:
        act(session, "ann")
        # A handful of rows is read whole; thousands are not.
        session.execute(sa.text("set local enable_seqscan = off"))
        for table, index in (
            ("agent.memories", "memories_"),
            ("agent.postings where lexeme = any(array['a'])", "postings_pkey"),
            ("public.memories", "user_"),
        ):
            plan = session.execute(sa.text(f"explain (analyze, verbose) select * from {table}"))
            text = "\n".join(plan.scalars())
            assert "Index" in text
            assert index in text
            assert "canary" not in text


def test_grants_read_and_write_as_they_say(walled: sessionmaker[Session]) -> None:
    memory = SyncMemory(Settings())
    with walled() as session:
        memory.act_as(session, user="bob")
        team = memory.create_space(session, "team")
        memory.grant(session, "team", "ann")
        act(session, "bob", [team.id])
        add_memory(session, team.id, "bob", "for the team")
        memory.act_as(session, user="ann", spaces=["team"])
        shared = sa.text("select content from agent.memories")
        assert session.execute(shared).scalars().all() == ["for the team"]
        assert [one.name for one in memory.list_spaces(session)] == ["private:ann", "team"]
        assert session.execute(sa.text("delete from agent.postings")).rowcount == 0  # type: ignore[attr-defined]
        with pytest.raises(sa.exc.ProgrammingError, match="row-level"), session.begin_nested():
            add_memory(session, team.id, "ann", "not yet")
        with pytest.raises(AgentError, match=r"^M714"):
            memory.grant(session, "team", "carl")
        memory.act_as(session, user="bob", spaces=["team"])
        memory.grant(session, "team", "ann", "read_write")
        assert memory.granted(session, "team") == {"ann": "read_write", "bob": "read_write"}
        memory.act_as(session, user="ann", spaces=["team"])
        add_memory(session, team.id, "ann", "of Ann, for the team")
        memory.act_as(session, user="bob")
        assert memory.revoke(session, "team", "ann")
        assert not memory.revoke(session, "team", "ann")
        with pytest.raises(AgentError, match=r"^M702"):
            memory.act_as(session, user="ann", spaces=["team"])
        memory.act_as(session, user="bob")
        with pytest.raises(AgentError, match=r"^M716"):
            memory.drop_space(session, "team")
        memory.create_space(session, "empty")
        memory.drop_space(session, "empty")
        for name in ("team", "private:x"):
            with pytest.raises(AgentError, match=r"^M713"):
                memory.create_space(session, name)
        for wrong in (("bob", "read"), ("ann", "own")):
            with pytest.raises(AgentError, match=r"^M715"):
                memory.grant(session, "team", *wrong)


def test_a_pooled_connection_keeps_no_user(walled: sessionmaker[Session]) -> None:
    process = sa.text("select pg_backend_pid()")
    with walled() as session:
        act(session, "bob")
        assert count(session, "agent.memories") == 2
        before = session.execute(process).scalar_one()
        session.commit()
        assert count(session, "agent.memories") == 0
    with walled() as session:
        assert session.execute(process).scalar_one() == before
        assert count(session, "agent.memories") == 0
        act(session, "bob")
        session.rollback()
        assert count(session, "agent.memories") == 0


def test_no_method_of_memory_shows_or_changes_what_is_of_another_user(
    walled: sessionmaker[Session],
) -> None:
    memory = SyncMemory(Settings())
    said = memory.prepare(f"{CANARY} lives in Riga.", subject="bob", attribute="city")
    asked = memory.query("Where does the canary of Bob live?")
    with walled() as session:
        memory.act_as(session, user="bob")
        kept = memory.remember(session, said)
        assert [hit.id for hit in memory.recall(session, asked, k=5)][:1] == [kept.id]
        assert CANARY in memory.context(session, asked)
        memory.act_as(session, user="ann")
        assert memory.recall(session, asked, k=5) == []
        assert "canary-7f3a" not in memory.context(session, asked)
        new = memory.prepare("Ann says something else.")
        mine = memory.remember(session, new)
        for refused in (
            lambda: memory.history(session, kept.id),
            lambda: memory.correct(session, kept.id, new),
            lambda: memory.supersede(session, kept.id, mine.id),
            lambda: memory.retract(session, kept.id),
            lambda: memory.restore(session, kept.id),
            lambda: memory.set_validity(session, kept.id, valid_until="2030-01-01"),
            lambda: memory.remember(
                session, memory.prepare("Ann derives it.", derived_from=[kept.id])
            ),
        ):
            with pytest.raises(AgentError) as error, session.begin_nested():
                refused()
            assert "canary" not in str(error.value).lower()
        # A memory of another user with the same text does not count.
        assert memory.remember(session, said).duplicate_of is None
        memory.act_as(session, user="bob")
        assert len(memory.history(session, kept.id).revisions) == 1
