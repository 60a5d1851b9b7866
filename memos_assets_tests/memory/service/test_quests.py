"""Quests are completed with their milestones or not at all: killed between, and two at once."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet
from sqlalchemy.orm import Session

from memos_assets.errors import AgentError
from memos_assets.memory.acting import act_as
from memos_assets.memory.service import progress
from memos_assets.memory.service.crypto import KeyRing
from memos_assets.memory.service.prepared import prepared
from memos_assets.memory.service.progress import ACHIEVEMENTS, STATS, USER_ACHIEVEMENTS, streak
from memos_assets.memory.service.quests import (
    QUEST_TASKS,
    QUESTS,
    USER_QUESTS,
    USER_TASKS,
    complete_quest,
    complete_task,
    get_quest,
    milestone_of,
)
from memos_assets.memory.service.store import store_memory
from memos_assets.memory.service.values import MEMORIES, USER_SETTINGS, now
from memos_assets.postgres.engine import libpq_url
from memos_assets_tests.memory.service.conftest import USER


@pytest.fixture
def quest(engine: sa.Engine) -> UUID:
    """A quest of 90 points that `USER` has taken on."""
    return new_quest(engine)


def new_quest(engine: sa.Engine, title: str = "Walk", tasks: int = 0) -> UUID:
    """Write a quest that `USER` has taken on, with required tasks and one that is not."""
    made, mine = uuid4(), uuid4()
    with engine.begin() as conn:
        conn.execute(
            sa.insert(QUESTS).values(
                id=made, title=title, category="daily", points=90, is_active=True
            )
        )
        conn.execute(
            sa.insert(USER_QUESTS).values(
                id=mine, user_id=USER, quest_id=made, state="assigned", started_at=now()
            )
        )
        for number in range(tasks + 1 if tasks else 0):
            task = uuid4()
            conn.execute(
                sa.insert(QUEST_TASKS).values(
                    id=task,
                    quest_id=made,
                    title=f"{number}",
                    order_index=number,
                    is_required=number < tasks,
                )
            )
            values = {"id": uuid4(), "user_quest_id": mine, "task_id": task, "user_id": USER}
            conn.execute(sa.insert(USER_TASKS).values(**values, state="pending"))
    return made


def counted(engine: sa.Engine) -> tuple[int, int, int]:
    """Completed quests, milestones, and points of all users."""
    done = (
        sa.select(sa.func.count())
        .select_from(USER_QUESTS)
        .where(USER_QUESTS.c.state == "completed")
    )
    kept = (
        sa.select(sa.func.count())
        .select_from(MEMORIES)
        .where(MEMORIES.c.memory_type == "milestone")
    )
    points = sa.select(sa.func.coalesce(sa.func.sum(STATS.c.total_points), 0))
    with engine.connect() as conn:
        return tuple(conn.execute(one).scalar_one() for one in (done, kept, points))


def test_a_completion_stores_quest_points_and_milestone(
    session: Session, keys: KeyRing, quest: UUID
) -> None:
    done = complete_quest(session, keys, USER, str(quest))
    assert (done.is_new, done.points_earned) == (True, 90)
    memory = done.milestone
    assert memory is not None
    assert keys.decrypt(memory.encrypted_content, memory="m") == "Completed quest: Walk"
    assert memory.metadata == {
        "quest_id": str(quest),
        "quest_title": "Walk",
        "points_earned": 90,
        "category": "daily",
    }
    assert memory.tags == ["milestone", "quest_completion", "daily"]
    assert (memory.memory_type, memory.recovery_stage) == ("milestone", "maintenance")
    assert memory.therapeutic_relevance == 0.8
    row = session.execute(sa.select(USER_QUESTS)).one()
    assert (row.state, row.points_earned) == ("completed", 90)
    assert abs(row.completed_at - now()) < timedelta(minutes=1)
    stats = session.execute(sa.select(STATS)).one()
    assert (stats.total_points, stats.weekly_points, stats.monthly_points) == (90, 90, 90)
    assert (stats.total_quests_completed, stats.current_streak_days) == (1, 1)
    assert (stats.level, stats.last_activity_date) == ("newcomer", now().date())
    again = complete_quest(session, keys, USER, quest)
    assert (again.is_new, again.milestone, again.points_earned) == (False, None, 90)
    assert again.completed_at == done.completed_at
    assert session.scalar(sa.select(sa.func.count()).select_from(MEMORIES)) == 1


def test_what_cannot_be_completed_is_refused(
    session: Session, keys: KeyRing, quest: UUID, engine: sa.Engine
) -> None:
    with pytest.raises(AgentError, match=r"^M747 .*no such quest"):
        complete_quest(session, keys, USER, uuid4())
    with pytest.raises(AgentError, match=r"^M746 memory_id"):
        complete_quest(session, keys, USER, "nonsense")
    other = get_quest(session, new_quest(engine, "Swim"))
    with pytest.raises(AgentError, match=r"^M747 .*milestone is of another quest"):
        complete_quest(session, keys, USER, quest, milestone_of(keys, other))
    with pytest.raises(AgentError, match=r"^M747 .*milestone is of another quest"):
        complete_quest(session, keys, USER, quest, prepared(keys, "Completed quest: Walk"))
    act_as(session, user="u2")
    with pytest.raises(AgentError, match=r"^M747 .*not taken it on"):
        complete_quest(session, keys, "u2", quest)
    with pytest.raises(AgentError, match=r"^M749 "):
        complete_quest(session, keys, USER, quest)
    session.commit()
    with pytest.raises(AgentError, match=r"^M700 "):
        complete_quest(session, keys, USER, quest)
    assert counted(engine) == (0, 0, 0)


def test_the_last_required_task_completes_its_quest(
    session: Session, keys: KeyRing, engine: sa.Engine
) -> None:
    quest = new_quest(engine, tasks=2)
    first, second, optional = session.scalars(
        sa.select(QUEST_TASKS.c.id).order_by(QUEST_TASKS.c.order_index)
    )
    with pytest.raises(AgentError, match=r"^M747 .*2 of its required tasks are open"):
        complete_quest(session, keys, USER, quest)
    for bad in ({"n": float("nan")}, {"n": "\0"}, {"n": object()}):
        with pytest.raises(AgentError, match=r"^M746 evidence: "):
            complete_task(session, keys, USER, first, bad)
    assert complete_task(session, keys, USER, first, {"note": "it ✓"}) is None
    assert session.scalar(sa.select(USER_QUESTS.c.state)) == "in_progress"
    done = complete_task(session, keys, USER, str(second))
    assert done is not None
    assert done.is_new
    evidence = sa.select(USER_TASKS.c.evidence_data).where(USER_TASKS.c.task_id == first)
    assert session.scalar(evidence) == {"note": "it ✓"}
    # One that is not required completes nothing a second time.
    late = complete_task(session, keys, USER, optional)
    assert late is not None
    assert not late.is_new
    with pytest.raises(AgentError, match=r"^M747 .*no such task"):
        complete_task(session, keys, USER, uuid4())


def test_without_the_milestone_nothing_is_completed(
    engine: sa.Engine, keys: KeyRing, quest: UUID
) -> None:
    with engine.begin() as conn:
        conn.execute(sa.text("alter table public.memories add check (memory_type <> 'milestone')"))
    with Session(engine) as session:
        act_as(session, user=USER)
        with pytest.raises(sa.exc.IntegrityError):
            complete_quest(session, keys, USER, quest)
    assert counted(engine) == (0, 0, 0)


def test_a_user_without_memory_completes_quests_without_milestones(
    session: Session, keys: KeyRing, quest: UUID
) -> None:
    session.execute(
        sa.insert(USER_SETTINGS).values(user_id=USER, memory_enabled=False, created_at=now())
    )
    done = complete_quest(session, keys, USER, quest)
    assert (done.is_new, done.milestone) == (True, None)
    assert session.scalar(sa.select(sa.func.count()).select_from(MEMORIES)) == 0


#: Completes a quest, says so, and waits before the commit.
_KILLED = """
import sys, time, sqlalchemy as sa
from cryptography.fernet import Fernet
from sqlalchemy.orm import Session
from memos_assets.memory.acting import act_as
from memos_assets.memory.service.crypto import KeyRing, NamedKey
from memos_assets.memory.service.quests import complete_quest
from memos_assets.postgres.engine import create_engine, parse_url
from memos_assets.settings import Settings
url, quest, key = sys.argv[1:]
engine = create_engine(parse_url(url), Settings(), application_name="killed")
with Session(engine) as session:
    act_as(session, user="u1")
    done = complete_quest(session, KeyRing([NamedKey("k", Fernet(key))]), "u1", quest)
    print(done.is_new, flush=True)
    time.sleep(60)
"""


def test_a_process_killed_before_its_commit_leaves_neither(
    engine: sa.Engine, keys: KeyRing, quest: UUID, database_url: sa.URL
) -> None:
    arguments = [libpq_url(database_url), str(quest), Fernet.generate_key().decode()]
    with subprocess.Popen(
        [sys.executable, "-c", _KILLED, *arguments], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        process.kill()
    assert counted(engine) == (0, 0, 0)
    with Session(engine) as session:
        act_as(session, user=USER)
        assert complete_quest(session, keys, USER, quest).is_new
        session.commit()
    assert counted(engine) == (1, 1, 90)


def test_of_two_at_once_one_completes_it(engine: sa.Engine, keys: KeyRing, quest: UUID) -> None:
    def second() -> bool:
        with Session(engine) as session:
            act_as(session, user=USER)
            done = complete_quest(session, keys, USER, quest)
            session.commit()
            return done.is_new

    with Session(engine) as first, ThreadPoolExecutor(1) as thread:
        act_as(first, user=USER)
        assert complete_quest(first, keys, USER, quest).is_new
        waiting = thread.submit(second)
        _wait_for_a_lock(engine)
        first.commit()
        assert waiting.result(timeout=30) is False
    assert counted(engine) == (1, 1, 90)


def test_quests_completed_at_once_all_count(engine: sa.Engine, keys: KeyRing) -> None:
    quests = [new_quest(engine, f"Quest {number}") for number in range(4)] * 2

    def complete(quest: UUID) -> bool:
        with Session(engine) as session:
            act_as(session, user=USER)
            done = complete_quest(session, keys, USER, quest)
            session.commit()
            return done.is_new

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(complete, quests)) == 4
    assert counted(engine) == (4, 4, 360)


def _wait_for_a_lock(engine: sa.Engine) -> None:
    waits = sa.text("select count(*) from pg_locks where not granted")
    for _ in range(200):
        with engine.connect() as conn:
            if conn.execute(waits).scalar_one():
                return
        time.sleep(0.05)
    raise AssertionError("nothing waits")


def test_levels_and_streaks_are_memos_own() -> None:
    points = {0: "newcomer", 99: "newcomer", 100: "seeker", 500: "pathfinder", 1_000: "warrior"}
    points |= {2_500: "champion", 5_000: "mentor", 9_999: "mentor", 10_000: "legend"}
    assert {n: progress.level_of(n) for n in points} == points
    today = date(2026, 3, 1)
    assert streak(0, None, today) == 1
    assert streak(3, date(2026, 2, 28), today) == 4
    assert streak(3, today, today) == 3
    assert streak(3, date(2026, 2, 27), today) == 1
    assert streak(3, date(2026, 3, 2), today) == 3


def test_points_of_weeks_and_months_begin_anew_and_achievements_count(session: Session) -> None:
    criteria: list[tuple[str, Any]] = [
        ("points_earned", 100),
        ("quests_completed", 2),
        ("streak_days", 5),
        ("nonsense", 1),
        ("quests_completed", None),
    ]
    for kind, value in criteria:
        session.execute(
            sa.insert(ACHIEVEMENTS).values(
                id=uuid4(),
                title=f"{kind} {value}",
                criteria_type=kind,
                criteria_value=value,
                is_active=True,
            )
        )
    monday = datetime(2026, 3, 30, 23, 59)  # noqa: DTZ001  as the columns hold it
    first, none = progress.add_completion(session, USER, 90, monday)
    assert (first["level"], none) == ("newcomer", [])
    # 90 and 10 are 100 points, which earn 10 more.
    second, earned = progress.add_completion(session, USER, 10, monday + timedelta(days=2))
    assert [(one.title, one.points) for one in sorted(earned, key=lambda one: one.points)] == [
        ("quests_completed 2", 0),
        ("points_earned 100", 10),
    ]
    assert (second["total_points"], second["level"]) == (110, "seeker")
    assert (second["weekly_points"], second["monthly_points"]) == (100, 10)
    third, twice = progress.add_completion(session, USER, 10, monday + timedelta(days=8))
    assert (third["weekly_points"], third["monthly_points"], twice) == (10, 20, [])
    assert (third["current_streak_days"], third["longest_streak_days"]) == (1, 1)
    assert session.scalar(sa.select(sa.func.count()).select_from(USER_ACHIEVEMENTS)) == 2


def test_a_milestone_is_stored_as_it_was_prepared(
    session: Session, keys: KeyRing, engine: sa.Engine
) -> None:
    # A title is not refused by a privacy level: it is not the user's.
    quest = get_quest(session, new_quest(engine, "Call 555-123-4567, SSN 123-45-6789"))
    assert milestone_of(keys, replace(quest, category=" ")).tags == (
        *("milestone", "quest_completion"),
    )
    milestone = milestone_of(keys, quest)
    done = complete_quest(session, keys, USER, quest.id, milestone)
    assert done.milestone is not None
    assert done.milestone.content_hash == milestone.content_hash
    assert done.milestone.metadata["quest_title"] == quest.title
    # It can be stored by hand, too: the link to the quest is its metadata alone.
    assert store_memory(session, USER, milestone).id != done.milestone.id
