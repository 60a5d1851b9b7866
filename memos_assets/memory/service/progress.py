"""Points, streaks, levels and achievements of a user, as memOS counts them.

Days and weeks are those of UTC. memOS adds to ``weekly_points`` and ``monthly_points`` without end;
here they are the points of the week and the month of the last activity.

Source: the memOS server, core/quest_service_fixed.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from memos_assets.postgres.application.tables import APPLICATION

STATS: Final = APPLICATION["user_quest_stats"]
ACHIEVEMENTS: Final = APPLICATION["achievements"]
USER_ACHIEVEMENTS: Final = APPLICATION["user_achievements"]

#: Points below which a level ends, and the level; the last one has no end.
LEVELS: Final = (
    (100, "newcomer"),
    (500, "seeker"),
    (1_000, "pathfinder"),
    (2_500, "warrior"),
    (5_000, "champion"),
    (10_000, "mentor"),
)
HIGHEST_LEVEL: Final = "legend"
#: ``criteria_type`` of an achievement -> what of the statistics is compared with its value.
CRITERIA: Final[Mapping[str, str]] = {
    "points_earned": "total_points",
    "quests_completed": "total_quests_completed",
    "streak_days": "current_streak_days",
}
#: An achievement brings a tenth of its value in points.
_POINTS_OF_VALUE = 10


@dataclass(frozen=True, slots=True)
class Earned:
    """An achievement that a user has just earned, and its points."""

    achievement: UUID
    title: str
    points: int


def level_of(points: int) -> str:
    """Return the level that a total of points means."""
    return next((level for end, level in LEVELS if points < end), HIGHEST_LEVEL)


def streak(days: int, last: date | None, today: date) -> int:
    """Return the length of a streak after an activity of today.

    Args:
        days: before it.
        last: day of the last activity; None: there was none.
        today: the day of this one. A day before the last one changes nothing.
    """
    if last is None or (today - last).days > 1:
        return 1
    return days + 1 if (today - last).days == 1 else max(days, 1)


def add_completion(
    session: Session, user_id: str, points: int, moment: datetime
) -> tuple[dict[str, Any], list[Earned]]:
    """Count a completed quest, and award what is earned by it; the user's row is locked.

    Args:
        session: the caller's.
        user_id: who completed it.
        points: of the quest.
        moment: naive, UTC.

    Returns:
        The statistics as they are now, by column, and the achievements that are new.
    """
    row = _locked(session, user_id, moment)
    today, last = moment.date(), row["last_activity_date"]
    same_week = last is not None and last.isocalendar()[:2] == today.isocalendar()[:2]
    same_month = last is not None and (last.year, last.month) == (today.year, today.month)
    days = streak(row["current_streak_days"] or 0, last, today)
    stats: dict[str, Any] = {
        "total_points": (row["total_points"] or 0) + points,
        "weekly_points": (row["weekly_points"] or 0 if same_week else 0) + points,
        "monthly_points": (row["monthly_points"] or 0 if same_month else 0) + points,
        "total_quests_completed": (row["total_quests_completed"] or 0) + 1,
        "current_streak_days": days,
        "longest_streak_days": max(row["longest_streak_days"] or 0, days),
        "last_activity_date": today if last is None else max(today, last),
        "updated_at": moment,
    }
    earned = _award(session, user_id, stats, moment)
    stats["total_points"] += sum(one.points for one in earned)
    stats["level"] = level_of(stats["total_points"])
    session.execute(sa.update(STATS).where(STATS.c.user_id == user_id).values(stats))
    return {"user_id": user_id, **stats}, earned


def _locked(session: Session, user_id: str, moment: datetime) -> Mapping[str, Any]:
    """Return a user's statistics, made if there are none, and locked until the commit."""
    new = pg.insert(STATS).values(
        user_id=user_id,
        total_points=0,
        current_streak_days=0,
        longest_streak_days=0,
        total_quests_completed=0,
        level=level_of(0),
        weekly_points=0,
        monthly_points=0,
        created_at=moment,
        updated_at=moment,
    )
    session.execute(new.on_conflict_do_nothing())
    found = session.execute(sa.select(STATS).where(STATS.c.user_id == user_id).with_for_update())
    return dict(found.one()._mapping)  # noqa: SLF001  SQLAlchemy's public name


def _award(
    session: Session, user_id: str, stats: Mapping[str, Any], moment: datetime
) -> list[Earned]:
    """Store the achievements that the statistics reach and the user does not have."""
    a, had = ACHIEVEMENTS.c, USER_ACHIEVEMENTS.c
    reached = sa.or_(
        *(
            sa.and_(a.criteria_type == kind, a.criteria_value <= stats[column])
            for kind, column in CRITERIA.items()
        )
    )
    has = sa.exists().where(had.user_id == user_id, had.achievement_id == a.id)
    rows = session.execute(
        sa.select(a.id, a.title, a.criteria_value).where(a.is_active, reached, ~has).order_by(a.id)
    ).all()
    earned = [Earned(row.id, row.title, row.criteria_value // _POINTS_OF_VALUE) for row in rows]
    if earned:
        session.execute(
            sa.insert(USER_ACHIEVEMENTS),
            [
                {
                    "id": uuid4(),
                    "user_id": user_id,
                    "achievement_id": one.achievement,
                    "earned_at": moment,
                    "points_awarded": one.points,
                }
                for one in earned
            ],
        )
    return earned
