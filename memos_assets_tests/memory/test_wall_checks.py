"""V34 is red for every way in which the wall between users may be opened."""

import re

import pytest
import sqlalchemy as sa

from memos_assets.memory.wall_checks import users_are_walled_off
from memos_assets.postgres import row_security

OPENED = "language sql stable as $$ select array_agg(id) from agent.spaces $$"


def judged(conn: sa.Connection, *statements: str) -> str:
    """Return what V34 observes after statements that are taken back."""
    for statement in statements:
        conn.exec_driver_sql(statement)
    finding = users_are_walled_off(conn, "memories")
    assert finding.passed is (finding.observed == "all of it as described")
    return finding.observed


@pytest.mark.parametrize(
    ("statement", "observed"),
    [
        ("alter table agent.memories disable row level security", "memories: .*disabled"),
        ("alter table public.memories no force row level security", "memories: .*not forced"),
        ("create policy mine on agent.links using (true)", "links: policy mine of others opens"),
        ("create policy mine on public.memories to memos_agent using (true)", "mine of others"),
        ("create policy memos_x on agent.links using (false)", "memos_x is not described"),
        ("drop policy memos_agent_select on agent.revisions", "memos_agent_select is missing"),
        ("alter policy memos_agent_select on agent.grants using (true)", r"using \(true\)"),
        ("alter policy memos_owner on agent.outbox to public", "memos_owner is for all to public"),
        ("alter role memos_agent bypassrls", "role memos_agent: has BYPASSRLS"),
        ("alter role memos_agent superuser", "role memos_agent: is a superuser"),
        ("alter role memos_agent login", "role memos_agent: may log in"),
        ("grant pg_read_all_data to memos_agent", "is a member of pg_read_all_data"),
        ("create table agent.notes (user_id text)", "agent.notes: no description"),
        ("create table agent.embeddings_9 (memory bigint, space_id bigint)", "embeddings_9: row"),
        (f"create or replace function agent.readable_spaces() returns bigint[] {OPENED}", "differ"),
        ("grant truncate on agent.memories to memos_agent", "has the right truncate"),
        ("grant truncate on agent.memories to public", r"everybody \(PUBLIC\) .* truncate"),
        ("grant select on agent.erasures to public", "erasures: everybody .* select"),
        ("revoke insert on agent.memories from memos_agent", "lacks the right insert"),
        ("grant select on agent.erasures to memos_agent", "erasures: .*has the right select"),
        ("grant select on memos.corpora to memos_agent", "memos.corpora: .*has no owner"),
        ("grant select (source) on memos.corpora to memos_agent", "memos.corpora: .*has no owner"),
        (
            "create view public.v as table agent.links; grant select on public.v to public",
            "public.v: memos_agent has rights on it",
        ),
        ("alter table agent.links owner to pg_monitor", "links: policy memos_owner is"),
    ],
)
def test_v34_users_are_walled_off_fails_when_the_wall_is_opened(
    shared_engine: sa.Engine, statement: str, observed: str
) -> None:
    with shared_engine.connect() as conn:
        found = judged(conn, statement)
        conn.rollback()
    assert re.search(observed, found), found


def test_a_migration_puts_back_what_is_ours(shared_engine: sa.Engine) -> None:
    with shared_engine.connect() as conn:
        assert judged(conn) == "all of it as described"
        observed = judged(
            conn,
            "alter table agent.memories disable row level security",
            "drop policy memos_agent_select on agent.revisions",
            "alter policy memos_owner on agent.outbox to public",
            f"create or replace function agent.readable_spaces() returns bigint[] {OPENED}",
            "grant truncate on agent.memories to memos_agent",
        )
        assert observed.count(";") >= 3
        changed = row_security.install(conn)
        assert changed == ["agent.memories", "agent.outbox", "agent.revisions"]
        assert judged(conn) == "all of it as described"
        conn.rollback()
