"""The settings of a transaction that name its user, and the private space of a user.

PostgreSQL's policies read them; a commit or a rollback ends them. `memory.acting` names the user of
a caller's transaction, and boards name that of their own ones.
"""

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from memos_assets.postgres.owned_rows import AGENT_SETTING, SPACES_SETTING, USER_SETTING
from memos_assets.postgres.schema.agent import grants, spaces

#: Names of private spaces are their owners' ids after it; no shared space is named so.
PRIVATE: Final = "private:"


def set_acting(session: Session, user: str, agent: str, visible: Sequence[int] = ()) -> None:
    """Name the user and the agent of a transaction, and the spaces that it restricts itself to.

    Args:
        session: the caller's.
        user: their id; "": nobody, who sees nothing.
        agent: that acts for them; "" for none.
        visible: ids of spaces; none: all that the user was granted.
    """
    text = "{" + ",".join(map(str, visible)) + "}" if visible else ""
    settings = {USER_SETTING: user, AGENT_SETTING: agent, SPACES_SETTING: text}
    session.execute(sa.select(*(sa.func.set_config(*item, sa.true()) for item in settings.items())))


def make_private_space(session: Session, user: str) -> None:
    """Make a user's private space; at once in two transactions makes one."""
    values: dict[str, Any] = {"name": f"{PRIVATE}{user}", "owner": user, "private": True}
    session.execute(pg.insert(spaces).values(values).on_conflict_do_nothing())
    made = sa.select(
        spaces.c.id, sa.literal(user), sa.literal("read_write"), sa.literal(user)
    ).where(spaces.c.owner == user, spaces.c.private)
    columns = ["space_id", "user_id", "access", "granted_by"]
    session.execute(pg.insert(grants).from_select(columns, made).on_conflict_do_nothing())
