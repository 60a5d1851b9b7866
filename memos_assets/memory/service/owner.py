"""The user whose rows a session sees, for memOS's tables: they belong to ``user_id``."""

from sqlalchemy.orm import Session

from memos_assets.errors import AgentError
from memos_assets.memory.acting import act_as, acting_of


def need_user(session: Session, user_id: str) -> None:
    """Refuse a call about a user whom the transaction does not act for.

    Row-level security would hide the rows: a call would seem to find none.

    Raises:
        AgentError: M700 it acts for nobody; M749 it acts for somebody else. Neither is named.
    """
    if acting_of(session).user != user_id:
        raise AgentError(
            "M749",
            "the transaction acts for another user",
            where="user_id",
            fix="call act_as(session, user=...) with this user, in a transaction of its own",
        )


def act_for(session: Session, user_id: str) -> None:
    """Have the transaction act for a user, until it ends, where it acts for nobody yet.

    Raises:
        AgentError: M701 no user is named; M749 it acts for somebody else.
    """
    try:
        acting_of(session)
    except AgentError:
        act_as(session, user=user_id)
    need_user(session, user_id)
