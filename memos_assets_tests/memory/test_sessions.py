"""Sessions of services: whom they run as, and what they see with and without a user."""

import asyncio
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.memory import sessions as memory_sessions
from memos_assets.memory.sessions import (
    open_memory_sessions,
    open_sync_memory_sessions,
    sessions_for,
    walled_off,
)
from memos_assets.postgres import row_security
from memos_assets.search.embed import Embedder
from memos_assets.settings import Settings
from memos_assets_tests.memory.walled import CANARY, act, add_memory, add_space


@pytest.fixture
def sessions(settings: Settings) -> Iterator[sessionmaker[Session]]:
    with open_sync_memory_sessions(settings) as made:
        yield made


def contents(session: Session) -> list[str]:
    found = session.execute(sa.text("select content from agent.memories order by number"))
    return list(found.scalars())


def test_sessions_run_as_a_role_that_policies_bind(settings: Settings) -> None:
    async def who() -> tuple[str, bool, bool]:
        async with open_memory_sessions(settings) as sessions, sessions() as session:
            found = await session.execute(
                sa.text(
                    "select current_user::text, rolsuper, rolbypassrls from pg_roles "
                    "where rolname = current_user"
                )
            )
            return tuple(found.one())

    assert asyncio.run(who()) == ("memos_agent", False, False)
    assert sessions_for(settings).kw["expire_on_commit"] is False


def test_a_fresh_database_is_walled_off_as_described(engine: sa.Engine) -> None:
    with engine.begin() as conn:
        assert row_security.wall_faults(conn) == {}
        assert row_security.install(conn) == []


def test_the_embedder_is_asked_until_a_model_is_registered_and_once_per_call(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[object] = [None, object()]
    calls: list[str] = []

    def asked(_: sa.Engine, embedder: Embedder) -> object:
        calls.append(embedder.model)
        return answers.pop(0)

    monkeypatch.setattr(memory_sessions, "ensure_registered", asked)
    embedding = settings.model_copy(update={"embedder": "deterministic"})
    for expected in (1, 2, 2):
        walled_off(embedding)
        assert len(calls) == expected


def test_an_error_of_the_database_does_not_show_what_was_sent(
    sessions: sessionmaker[Session], settings: Settings
) -> None:
    failing = sa.text("select 1 / (length(:said) * 0)")
    with sessions() as session, pytest.raises(sa.exc.DBAPIError) as caught:
        session.execute(failing, {"said": CANARY})
    assert CANARY not in str(caught.value)

    async def said() -> str:
        async with open_memory_sessions(settings) as made, made() as session:
            with pytest.raises(sa.exc.DBAPIError) as caught:
                await session.execute(failing, {"said": CANARY})
            return str(caught.value)

    assert CANARY not in asyncio.run(said())


def test_users_see_their_spaces_and_nobody_sees_any(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        of_bob = add_space(session, "bob", "private:bob")
        add_memory(session, of_bob, "bob", CANARY)
        of_ann = add_space(session, "ann", "private:ann")
        add_memory(session, of_ann, "ann", "of Ann")
        assert contents(session) == ["of Ann"]
        act(session, "bob")
        assert contents(session) == [CANARY]
    with sessions() as session:
        assert contents(session) == []
        act(session, "ann")
        assert contents(session) == ["of Ann"]
        session.commit()
        assert contents(session) == []
