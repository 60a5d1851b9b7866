"""V62 and V63: what a trial of the services sees, and what makes it fail."""

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import MissingGreenlet
from sqlalchemy.ext.asyncio import AsyncSession

from memos_assets.catalog import MEMOS
from memos_assets.check import CheckContext
from memos_assets.memory.service import trial_checks
from memos_assets.memory.service.facade import MemoryService
from memos_assets.memory.service.tried_calls import try_services
from memos_assets.memory.service.values import MEMORIES
from memos_assets.settings import Settings

_MUTE = """
    create function public.mute() returns trigger language plpgsql as
    $$ begin return case when new.memory_type = 'milestone' then null else new end; end $$;
    create trigger mute before insert on public.memories
    for each row execute function public.mute()
"""


def context(engine: sa.Engine) -> CheckContext:
    return CheckContext(engine, MEMOS, Settings())


def test_a_trial_completes_a_quest_with_its_milestone_and_leaves_nothing(
    engine: sa.Engine,
) -> None:
    found = trial_checks.quests_leave_milestones(context(engine), "memos/memories")
    assert found.passed, found.observed
    assert found.observed == (
        "1 completed quest, 1 milestone, 7 points; after its end 0 completed quest, 0 milestone, "
        "0 points"
    )
    with engine.connect() as conn:
        for table in ("memories", "quests", "user_quests", "user_quest_stats"):
            assert conn.scalar(sa.text(f"select count(*) from public.{table}")) == 0


def test_v62_quests_leave_milestones_fails_when_the_milestone_is_lost(engine: sa.Engine) -> None:
    with engine.begin() as conn:
        conn.execute(sa.text(_MUTE))
    found = trial_checks.quests_leave_milestones(context(engine), "memos/memories")
    assert not found.passed
    assert "0 milestone" in found.observed or "complete_quest" in found.observed


def test_v62_quests_leave_milestones_fails_when_a_service_may_not_write(engine: sa.Engine) -> None:
    with engine.begin() as conn:
        conn.execute(sa.text("revoke update on public.user_quests from memos_agent"))
    found = trial_checks.quests_leave_milestones(context(engine), "memos/memories")
    assert not found.passed
    assert "permission denied for table user_quests" in found.observed


def test_v63_services_answer_in_asyncio_fails_when_a_call_leaves_its_greenlet(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def outside(_: MemoryService, session: AsyncSession, user: str) -> Any:
        return session.sync_session.scalar(
            sa.select(sa.func.count()).where(MEMORIES.c.user_id == user)
        )

    asked = context(engine)
    assert trial_checks.services_answer_in_asyncio(asked, "memos/memories").observed == (
        "11 calls answered"
    )
    monkeypatch.setattr(MemoryService, "get_memory_stats", outside)
    found = trial_checks.services_answer_in_asyncio(context(engine), "memos/memories")
    assert not found.passed
    assert found.evidence["greenlet"], found.observed
    assert found.evidence["greenlet"][0].startswith("get_memory_stats: ")
    assert MissingGreenlet.__name__ in found.observed


def test_a_database_without_memos_has_nothing_to_try(engine: sa.Engine) -> None:
    with engine.begin() as conn:
        conn.execute(sa.text("drop schema public cascade; create schema public"))
        conn.execute(sa.text("delete from memos_ops.application_tables"))
    for judge in (
        trial_checks.quests_leave_milestones,
        trial_checks.services_answer_in_asyncio,
    ):
        assert judge(context(engine), "memos/memories").observed == (
            "memOS's tables are not in this database"
        )


def test_a_server_that_is_away_is_said(engine: sa.Engine) -> None:
    away = engine.url.set(database="not_there")
    with pytest.raises(sa.exc.OperationalError, match="not_there"):
        try_services(away, Settings())
