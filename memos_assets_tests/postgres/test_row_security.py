"""Row-level security under a role without rights of superusers, and beside memOS's own roles."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from memos_assets.errors import AgentError
from memos_assets.memory import open_sync_memory_sessions
from memos_assets.postgres import policy_states, row_security, service_role
from memos_assets.postgres.backup import back_up_foreign
from memos_assets.postgres.engine import create_engine, libpq_url
from memos_assets.postgres.server.embedded import EmbeddedServer
from memos_assets.postgres.target import bring_up_to_date
from memos_assets.settings import Settings
from memos_assets_tests.memory.walled import act, add_memory, add_space

OWNER = "wall_owner"


@pytest.fixture
def administrator(server: EmbeddedServer) -> Iterator[psycopg.Connection]:
    """Connect as a superuser to a cluster without the role of services, for one test.

    The role of the other databases gets another name meanwhile.
    """
    with psycopg.connect(libpq_url(server.url("postgres")), autocommit=True) as conn:
        there = conn.execute("select from pg_roles where rolname = 'memos_agent'").fetchone()
        if there is not None:
            conn.execute("alter role memos_agent rename to memos_agent_kept")
        conn.execute(f"create role {OWNER} login")
        conn.execute("create role wall_app")
        conn.execute(f"create database {OWNER} owner {OWNER}")
        yield conn
        conn.execute(f"drop database {OWNER} with (force)")
        conn.execute(f"drop role if exists memos_agent, {OWNER}, wall_app")
        if there is not None:
            conn.execute("alter role memos_agent_kept rename to memos_agent")


def test_an_owner_who_may_not_create_roles_consolidates_and_services_wait(
    server: EmbeddedServer, administrator: psycopg.Connection, tmp_path: Path
) -> None:
    url = server.url(OWNER)
    with psycopg.connect(libpq_url(url), autocommit=True) as conn:
        conn.execute("create extension vector schema public")
        conn.execute(f"grant create on schema public to {OWNER}")
    url = url.set(username=OWNER)
    settings = Settings(
        home=tmp_path, database_url=SecretStr(libpq_url(url)), application_tables="create"
    )
    engine = create_engine(url, settings, application_name="tests")
    assert bring_up_to_date(engine, settings).revisions
    with engine.begin() as conn:
        assert row_security.install(conn) == []
        conn.exec_driver_sql("grant select on public.memories to wall_app")
    with pytest.raises(AgentError) as refused, open_sync_memory_sessions(settings):
        pass
    assert refused.value.code == "M710"
    create = f'create role memos_agent nologin; grant memos_agent to "{OWNER}";'
    assert create in refused.value.fix

    administrator.execute(create)
    with pytest.raises(AgentError, match=r"^M711.*readable_spaces is missing"):
        open_sync_memory_sessions(settings).__enter__()
    assert bring_up_to_date(engine, settings).revisions == []
    with open_sync_memory_sessions(settings) as sessions, sessions.begin() as session:
        space = add_space(session, "ann", "private:ann")
        add_memory(session, space, "ann", "of Ann")
        session.execute(sa.text("insert into public.user_quest_stats (user_id) values ('ann')"))
        act(session, "bob")
        assert session.execute(sa.text("table agent.memories")).all() == []

    # Owners, and roles that memOS granted its tables to, see all of it; and so does a dump.
    with engine.begin() as conn:
        count = "select count(*) from agent.memories, public.user_quest_stats"
        assert conn.exec_driver_sql(count).scalar_one() == 1
        assert row_security.wall_faults(conn) == {}
        assert row_security.shows_everything(conn)
        state = policy_states.read_states(conn, ["public.memories"])["public.memories"]
        assert state.policies["memos_owner"].roles == ("wall_app", OWNER)
        conn.exec_driver_sql("delete from memos_ops.application_tables")
    dump = back_up_foreign(url, settings)
    assert dump is not None
    engine.dispose()


@pytest.mark.usefixtures("administrator")
def test_the_role_is_created_once_by_all_who_come_at_once(server: EmbeddedServer) -> None:
    # Roles belong to the cluster: all of its databases race for one name.
    engines = [
        create_engine(server.url(name), Settings(), application_name="tests", pooled=False)
        for name in ("postgres", "template1", OWNER) * 3
    ]
    with ThreadPoolExecutor(len(engines)) as pool:
        facts = list(pool.map(service_role.create_role, engines))
    assert all(one.ready for one in facts)
    with engines[0].connect() as conn:
        assert service_role.role_faults(conn) == []
