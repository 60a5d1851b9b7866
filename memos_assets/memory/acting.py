"""For whom a session acts: the user, the agent and their spaces, until its transaction ends.

PostgreSQL's policies read the user from the transaction's settings. A commit or a rollback ends
them, so `act_as` is called again at the start of each transaction.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.errors import AgentError
from memos_assets.memory.normalised_text import storable_id, storable_name
from memos_assets.postgres.acting import make_private_space, set_acting
from memos_assets.postgres.schema.agent import grants, spaces
from memos_assets.postgres.user_rows import ERASED

_NOTED: Final = "memos_assets.memory.acting"


@dataclass(frozen=True, slots=True)
class Acting:
    """For whom a transaction acts.

    Attributes:
        user: their id.
        agent: that acts for them; "" for none.
        private: id of the user's own space.
        readable: ids of all spaces that it sees, the private one first.
        writable: those of them that it may write.
        named: name -> id of the shared spaces among them.
    """

    user: str
    agent: str
    private: int
    readable: tuple[int, ...]
    writable: tuple[int, ...]
    named: Mapping[str, int]

    def target(self, space: str | None) -> int:
        """Return the id of the space that a memory goes into; None: the private one.

        Raises:
            AgentError: M702 the transaction does not see such a space; M703 it may only read it.
        """
        if space is None:
            return self.private
        found = self.named.get(storable_name(space, "space"))
        if found is None:
            raise _unknown(f"space {space!r} was not named in act_as")
        if found not in self.writable:
            raise AgentError(
                "M703",
                "the user may read this space, and not write it",
                where=f"space {space!r}",
                fix="ask its owner for the grant read_write, or remember in the private space",
            )
        return found


def act_as(session: Session, *, user: str, agent: str = "", spaces: Iterable[str] = ()) -> Acting:
    """Let a transaction act for a user; it sees their private space and the spaces named here.

    The private space is made at the first use. Three statements, three more at that first use.

    Args:
        session: the caller's; its transaction begins here if it has not yet.
        user: their id; no form is required, and it is compared exactly.
        agent: that acts for them; recorded with what it remembers.
        spaces: names of shared spaces that the user was granted.

    Raises:
        AgentError: M701 no user, or `ERASED`; M702 a space does not exist, or is not granted to the
            user; M730 a name that cannot be stored. The transaction then acts for nobody.
    """
    session.info.pop(_NOTED, None)
    try:
        user, agent, wanted = _checked(user, agent, spaces)
    except AgentError:
        if session.in_transaction():
            set_acting(session, "", "", ())
        raise
    found = _spaces_of(session, user, agent, wanted)
    missing = sorted(set(wanted) - found.keys())
    if missing:
        set_acting(session, "", "", ())
        raise _unknown("; ".join(map(repr, missing)))
    acting = _acting(user, agent, found, wanted)
    set_acting(session, user, agent, acting.readable)
    session.info[_NOTED] = (session.get_nested_transaction() or session.get_transaction(), acting)
    return acting


def acting_of(session: Session) -> Acting:
    """Return for whom a transaction acts, without a round trip.

    Raises:
        AgentError: M700 `act_as` was not called in this transaction.
    """
    noted, acting = session.info.get(_NOTED, (None, None))
    current = session.get_nested_transaction() or session.get_transaction()
    while current is not None:
        if current is noted:
            assert isinstance(acting, Acting)
            return acting
        current = current.parent
    raise AgentError(
        "M700",
        "this transaction acts for nobody, so it sees nothing",
        where="memory",
        fix="call act_as(session, user=...) first, again after each commit and rollback",
    )


def _checked(user: str, agent: str, spaces: Iterable[str]) -> tuple[str, str, tuple[str, ...]]:
    if not isinstance(user, str) or not user.strip():
        raise AgentError(
            "M701",
            "no user is named, and without one nothing is visible",
            where="act_as",
            fix="pass the id of the user whose agent this is",
        )
    if user == ERASED:
        raise AgentError(
            "M701",
            "this id stands for users who were erased, and owns spaces that nobody may write",
            where="act_as",
            fix="give the user another id",
        )
    return (
        storable_id(user, "user"),
        storable_name(agent, "agent") if agent else "",
        _names(spaces),
    )


def _names(spaces: Iterable[str]) -> tuple[str, ...]:
    listed = [spaces] if isinstance(spaces, str) else spaces
    return tuple(dict.fromkeys(storable_name(name, "space") for name in listed))


def _spaces_of(
    session: Session, user: str, agent: str, names: tuple[str, ...]
) -> dict[str | None, tuple[int, str]]:
    """Return name -> (id, access); the private one, made if need be, has the name None."""
    set_acting(session, user, agent, ())
    found = _look_up(session, user, names)
    if None not in found:
        make_private_space(session, user)
        found = _look_up(session, user, names)
    return found


def _look_up(
    session: Session, user: str, names: tuple[str, ...]
) -> dict[str | None, tuple[int, str]]:
    mine = sa.and_(spaces.c.owner == user, spaces.c.private)
    shared = sa.and_(spaces.c.name == sa.any_(sa.literal(list(names), _TEXTS)), ~spaces.c.private)
    statement = (
        sa.select(spaces.c.id, spaces.c.name, spaces.c.private, grants.c.access)
        .join(grants, grants.c.space_id == spaces.c.id)
        .where(grants.c.user_id == user, sa.or_(mine, shared))
    )
    return {
        None if row.private else row.name: (row.id, row.access)
        for row in session.execute(statement)
    }


_TEXTS: Final = sa.ARRAY(sa.Text())


def _acting(
    user: str, agent: str, found: Mapping[str | None, tuple[int, str]], names: tuple[str, ...]
) -> Acting:
    private = found[None][0]
    shared = {name: found[name][0] for name in names}
    writable = (found[name][0] for name in names if found[name][1] == "read_write")
    return Acting(user, agent, private, (private, *shared.values()), (private, *writable), shared)


def _unknown(where: str) -> AgentError:
    return AgentError(
        "M702",
        "no such space, or it is not granted to this user",
        where=where,
        fix="ask its owner for a grant, and name the space in act_as",
    )
