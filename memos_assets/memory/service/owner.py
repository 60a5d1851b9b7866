"""The user whose rows a session sees, for memOS's tables: they belong to ``user_id``."""

from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.errors import AgentError

#: memOS's own name; the policies of row-level security compare ``user_id`` with it.
USER_SETTING: Final = "app.current_user_id"


def current_user(session: Session) -> str | None:
    """Return the user whom the transaction acts for; None: nobody."""
    return session.scalar(sa.select(sa.func.current_setting(USER_SETTING, True))) or None  # noqa: FBT003


def need_user(session: Session, user_id: str) -> None:
    """Refuse a call about a user whom the transaction does not act for.

    Row-level security would hide the rows: a call would seem to find none.

    Raises:
        AgentError: M749 it acts for nobody or for somebody else. Neither is named.
    """
    found = current_user(session)
    if not user_id or found != user_id:
        raise AgentError(
            "M749",
            "the transaction acts for " + ("another user" if found else "nobody"),
            where="user_id",
            fix="call act_as(session, user=...) with this user first, in the same transaction",
        )


def act_for(session: Session, user_id: str) -> None:
    """Have the transaction act for a user, until it ends, where it acts for nobody yet.

    Raises:
        AgentError: M749 it acts for somebody else.
    """
    if current_user(session) is None and user_id:
        session.execute(sa.select(sa.func.set_config(USER_SETTING, user_id, True)))  # noqa: FBT003
    need_user(session, user_id)
