"""Shared spaces: made, granted, revoked and dropped by their owner. Private ones come by `act_as`.

A name belongs to the whole database, so that `act_as` can name a space of another user. A space
that was made or granted in this transaction is seen after `act_as` has named it.
"""

from dataclasses import dataclass
from typing import Final, Literal, get_args

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from memos_assets.errors import AgentError
from memos_assets.memory.acting import acting_of
from memos_assets.memory.normalised_text import storable_id, storable_name
from memos_assets.postgres.acting import PRIVATE
from memos_assets.postgres.schema.agent import grants, spaces
from memos_assets.postgres.upsert import upsert

Access = Literal["read", "read_write"]
_ACCESS: Final = get_args(Access)


@dataclass(frozen=True, slots=True)
class Space:
    """A space as one user sees it.

    Attributes:
        id: rows of schema `agent` have it.
        name: for `act_as` and `remember`.
        owner: the user who made it; only they grant and revoke.
        private: of its owner alone.
        access: of this user.
    """

    id: int
    name: str
    owner: str
    private: bool
    access: Access


def create_space(session: Session, name: str) -> Space:
    """Make a shared space, of which the user of the transaction is the owner and may write it.

    Args:
        session: the caller's, for which `act_as` was called.
        name: free, up to 500 characters; not that of a space of anybody.

    Raises:
        AgentError: M700; M713 the name is taken or reserved; M730 it cannot be stored.
    """
    user = acting_of(session).user
    wanted = storable_name(name, "space")
    if wanted.startswith(PRIVATE):
        raise AgentError(
            "M713",
            f"names that begin with {PRIVATE!r} are those of private spaces",
            where="space",
            fix="choose another name",
        )
    made = session.execute(
        pg.insert(spaces)
        .values(name=wanted, owner=user, private=False)
        .on_conflict_do_nothing()
        .returning(spaces.c.id)
    ).scalar_one_or_none()
    if made is None:
        raise AgentError(
            "M713",
            "a space has this name already",
            where=f"space {wanted!r}",
            fix="choose another name, or ask the owner of that space for a grant",
        )
    _put_grant(session, made, user, "read_write", user)
    return Space(made, wanted, user, private=False, access="read_write")


def grant(session: Session, space: str, user: str, access: Access = "read") -> None:
    """Let another user read, or read and write, a space; or change what they may.

    Raises:
        AgentError: M700; M714 the user of the transaction is not its owner, or it is private; M715
            an unknown access, or the owner's own; M730 a name that cannot be stored.
    """
    if access not in _ACCESS:
        raise AgentError(
            "M715",
            f"an access is {' or '.join(_ACCESS)}",
            where="grant",
            fix=f"pass one of {', '.join(_ACCESS)}",
        )
    owned = _owned(session, space)
    _put_grant(session, owned.id, _other(session, user), access, owned.owner)


def revoke(session: Session, space: str, user: str) -> bool:
    """Take a grant back; what that user wrote into the space stays there.

    Returns:
        Whether there was one.

    Raises:
        AgentError: as `grant`.
    """
    owned, other = _owned(session, space), _other(session, user)
    gone = sa.delete(grants).where(grants.c.space_id == owned.id, grants.c.user_id == other)
    return session.execute(gone.returning(grants.c.user_id)).first() is not None


def granted(session: Session, space: str) -> dict[str, Access]:
    """Return user -> access of a space, for its owner.

    Raises:
        AgentError: M700, M714.
    """
    owned = _owned(session, space)
    found = sa.select(grants.c.user_id, grants.c.access).where(grants.c.space_id == owned.id)
    return {row.user_id: row.access for row in session.execute(found.order_by(grants.c.user_id))}


def list_spaces(session: Session) -> list[Space]:
    """Return the spaces of the user of the transaction, the private one first, then by name.

    Raises:
        AgentError: M700.
    """
    user = acting_of(session).user
    statement = (
        sa.select(spaces.c.id, spaces.c.name, spaces.c.owner, spaces.c.private, grants.c.access)
        .join(grants, sa.and_(grants.c.space_id == spaces.c.id, grants.c.user_id == user))
        .order_by(spaces.c.private.desc(), spaces.c.name)
    )
    return [Space(*row) for row in session.execute(statement)]


def drop_space(session: Session, space: str) -> None:
    """Drop a shared space that holds no memory, with its grants.

    Raises:
        AgentError: M700; M714 the user is not its owner, or it is private; M716 it holds memories,
            of whatever state.
    """
    owned = _owned(session, space)
    try:
        with session.begin_nested():
            session.execute(sa.delete(spaces).where(spaces.c.id == owned.id))
    except sa.exc.IntegrityError:
        raise AgentError(
            "M716",
            "it holds memories or boards; memories that ended or are wrong count, too",
            where=f"space {owned.name!r}",
            fix="revoke its grants instead, so that only its owner sees it",
        ) from None


def _owned(session: Session, name: str) -> Space:
    wanted = storable_name(name, "space")
    user = acting_of(session).user
    statement = sa.select(spaces).where(
        spaces.c.name == wanted, spaces.c.owner == user, ~spaces.c.private
    )
    row = session.execute(statement).one_or_none()
    if row is None:
        raise AgentError(
            "M714",
            "there is no such shared space of which this user is the owner",
            where=f"space {wanted!r}",
            fix="let its owner do it; list_spaces names the owner of each",
        )
    return Space(row.id, row.name, row.owner, private=False, access="read_write")


def _other(session: Session, user: str) -> str:
    named = storable_id(user, "user")
    if named == acting_of(session).user:
        raise AgentError(
            "M715",
            "the owner of a space always may read and write it",
            where="grant",
            fix="name another user",
        )
    return named


def _put_grant(session: Session, space: int, user: str, access: Access, owner: str) -> None:
    values = {"space_id": space, "user_id": user, "access": access, "granted_by": owner}
    session.execute(
        upsert(
            grants, merge=lambda _, given: {"access": given.access, "granted_at": sa.func.now()}
        ),
        [values],
    )
