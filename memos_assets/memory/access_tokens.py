"""Access tokens: who the bearer of a token acts for, and the commands that make and revoke them.

A token is 256 random bits, kept as its sha256. Nobody can guess one, so a slower hash would protect
nothing, and each request would pay for it. `find` runs as the role of services and sees the one row
whose digest it names; `create`, `list_tokens` and `revoke` run as the owner of the tables.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.errors import AgentError
from memos_assets.memory.normalised_text import storable_id, storable_name
from memos_assets.postgres.acting import PRIVATE
from memos_assets.postgres.schema.agent import grants, spaces
from memos_assets.postgres.schema.agent_tokens import token_uses, tokens
from memos_assets.postgres.upsert import upsert
from memos_assets.postgres.user_rows import ERASED

#: Begins each token, so that people and scanners of secrets recognise one.
PREFIX: Final = "memos_"
_RANDOM_BYTES: Final = 32
_LENGTH: Final = len(PREFIX) + 43
MOST_DAYS: Final = 3_650
_WHERE: Final = "access token"
_FIX: Final = "memos-assets tokens create --user ID makes another one"


@dataclass(frozen=True, slots=True)
class Bearer:
    """For whom the bearer of a token acts.

    Attributes:
        user: their id.
        agent: that acts for them; "" for none.
        spaces: names of shared spaces that it sees beside the private one.
        token: number of the stored token; None: it is not one of ours.
    """

    user: str
    agent: str
    spaces: tuple[str, ...]
    token: int | None = None


@dataclass(frozen=True, slots=True)
class TokenLine:
    """A token as lists show it. Attributes are columns; ``state`` is one word for people."""

    number: int
    label: str
    user: str
    agent: str
    spaces: tuple[str, ...]
    made_at: datetime
    made_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    uses: int
    used_at: datetime | None

    @property
    def state(self) -> str:
        """Whether it holds: ``valid``, ``revoked`` or ``expired``."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= datetime.now(UTC):
            return "expired"
        return "valid"


def digest_of(token: str) -> bytes:
    """Return how a token is stored: 32 bytes."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


_READ: Final = sa.text("select * from agent.token_read(:asked)")


def find(session: Session, token: str) -> Bearer:
    """Return for whom the bearer of a token acts; one round trip, and nothing is written.

    Args:
        session: of the role of services; the transaction then sees the row of this token.
        token: as it was given.

    Raises:
        AgentError: M951 there is no such token; M952 it expired; M953 it was revoked.
    """
    if not token.startswith(PREFIX) or len(token) != _LENGTH:
        raise _unknown()
    asked = digest_of(token)
    row = session.execute(_READ, {"asked": asked}).one_or_none()
    if row is None or not hmac.compare_digest(bytes(row.digest), asked):
        raise _unknown()
    if row.revoked:
        raise AgentError("M953", "it was revoked", where=_WHERE, fix=_FIX)
    if row.expired:
        raise AgentError("M952", "it expired", where=_WHERE, fix=_FIX)
    return Bearer(row.user_id, row.agent_id, tuple(row.spaces), row.number)


def create(
    session: Session,
    *,
    user: str,
    made_by: str,
    agent: str = "",
    spaces: Iterable[str] = (),
    label: str = "",
    days: float | None = 90,
) -> tuple[str, int]:
    """Make a token, and return it with its number; it cannot be shown again.

    Args:
        session: of the owner of the tables, who commits.
        user: for whom its bearer acts.
        made_by: who makes it.
        agent: that acts for the user.
        spaces: names of shared spaces that the user was granted.
        label: for people.
        days: that it holds; None: until it is revoked.

    Raises:
        AgentError: M701 nobody may act for this id; M730 a name that cannot be stored; M954 a space
            that the user was not granted; M955 an end that is past, or too far away.
    """
    user = storable_id(user, "user")
    if user == ERASED:
        raise AgentError(
            "M701", "this id stands for erased users", where="user", fix="give another id"
        )
    if days is not None and not 0 < days <= MOST_DAYS:
        raise AgentError(
            "M955",
            f"it would hold for {days:g} days",
            where=_WHERE,
            fix=f"pass more than 0 and at most {MOST_DAYS} days, or --no-expiry",
        )
    names = tuple(dict.fromkeys(storable_name(name, "space") for name in spaces))
    _need_granted(session, user, names)
    token = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    values = {
        "token_digest": digest_of(token),
        "label": storable_name(label, "label") if label else "",
        "user_id": user,
        "agent_id": storable_name(agent, "agent") if agent else "",
        "spaces": list(names),
        "made_by": made_by,
        "expires_at": None if days is None else datetime.now(UTC) + timedelta(days=days),
    }
    number = session.execute(sa.insert(tokens).values(values).returning(tokens.c.number))
    return token, int(number.scalar_one())


def list_tokens(session: Session, user: str | None = None) -> list[TokenLine]:
    """Return the tokens, the newest first; those of one user, or all."""
    t, u = tokens.c, token_uses.c
    statement = (
        sa.select(
            *(t.number, t.label, t.user_id, t.agent_id, t.spaces, t.made_at, t.made_by),
            *(t.expires_at, t.revoked_at, sa.func.coalesce(u.uses, 0), u.used_at),
        )
        .join_from(tokens, token_uses, u.token == t.number, isouter=True)
        .order_by(t.number.desc())
    )
    if user is not None:
        statement = statement.where(t.user_id == user)
    return [TokenLine(*row[:4], tuple(row[4]), *row[5:]) for row in session.execute(statement)]


def revoke(session: Session, number: int) -> bool:
    """Revoke a token; requests that come after the commit are refused.

    Returns:
        False: it was revoked before.

    Raises:
        AgentError: M956 there is no such token.
    """
    t = tokens.c
    done = session.execute(
        sa.update(tokens)
        .where(t.number == number, t.revoked_at.is_(None))
        .values(revoked_at=sa.func.clock_timestamp())
        .returning(t.number)
    ).one_or_none()
    if done is not None:
        return True
    if session.execute(sa.select(t.number).where(t.number == number)).one_or_none() is None:
        raise AgentError(
            "M956",
            "there is no such token",
            where=f"token {number}",
            fix="memos-assets tokens list shows the numbers",
        )
    return False


def add_uses(session: Session, counted: Mapping[int, tuple[int, datetime]]) -> None:
    """Add up how often tokens were used, and when last; those that are gone are left out.

    Args:
        session: of the role of services.
        counted: number of a token -> uses, and the last one.
    """
    for number, (uses, used_at) in sorted(counted.items()):
        statement = upsert(token_uses, merge=_added).values(
            token=number, uses=uses, used_at=used_at
        )
        with suppress(sa.exc.IntegrityError), session.begin_nested():
            session.execute(statement)


def _added(there: Any, new: Any) -> dict[str, Any]:
    return {
        "uses": there.uses + new.uses,
        "used_at": sa.func.greatest(there.used_at, new.used_at),
    }


def _need_granted(session: Session, user: str, names: Sequence[str]) -> None:
    found = sa.select(spaces.c.name).join(grants, grants.c.space_id == spaces.c.id)
    granted = set(
        session.execute(found.where(grants.c.user_id == user, spaces.c.name.in_(names))).scalars()
    )
    missing = [name for name in names if name not in granted or name.startswith(PRIVATE)]
    if missing:
        raise AgentError(
            "M954",
            "no such shared space, or it is not granted to this user",
            where="; ".join(map(repr, missing)),
            fix="ask its owner for a grant; the private space needs no name",
        )


def _unknown() -> AgentError:
    return AgentError("M951", "there is no such token", where=_WHERE, fix=_FIX)
