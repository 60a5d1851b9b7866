"""Access tokens: a service reads the one it names, and no other; nobody stores the token itself."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.errors import AgentError
from memos_assets.memory import SyncMemory, access_tokens

Make = Callable[..., tuple[str, int]]


@pytest.fixture
def make(owner: sa.Connection) -> Make:
    """Make tokens as the owner of the tables, and commit."""

    def made(user: str, **given: object) -> tuple[str, int]:
        with Session(owner.engine) as session, session.begin():
            return access_tokens.create(session, user=user, made_by="tests", **given)  # type: ignore[arg-type]

    return made


def test_a_token_says_for_whom_its_bearer_acts(
    shared_sessions: sessionmaker[Session], memory: SyncMemory, make: Make, user: str
) -> None:
    with shared_sessions.begin() as session:
        memory.act_as(session, user=user)
        memory.create_space(session, f"team of {user}")
    token, number = make(user, agent="planner", spaces=[f"team of {user}"])
    with shared_sessions() as session:
        bearer = access_tokens.find(session, token)
    assert bearer == access_tokens.Bearer(user, "planner", (f"team of {user}",), number)


def test_the_database_has_the_digest_of_a_token_and_not_the_token(
    owner: sa.Connection, make: Make, user: str
) -> None:
    token, number = make(user)
    row = owner.exec_driver_sql(
        "select t::text, token_digest from agent.tokens t where number = %s", (number,)
    ).one()
    assert token.removeprefix(access_tokens.PREFIX) not in row[0]
    assert bytes(row[1]) == access_tokens.digest_of(token)


@pytest.mark.parametrize("asked", ["", "memos_", "memos_" + "A" * 43, "Bearer", "ä" * 49, "\0"])
def test_what_is_not_a_token_is_refused(shared_sessions: sessionmaker[Session], asked: str) -> None:
    with shared_sessions() as session, pytest.raises(AgentError, match=r"^M951"):
        access_tokens.find(session, asked)


def test_a_token_is_refused_once_it_expired_or_was_revoked(
    shared_sessions: sessionmaker[Session], owner: sa.Connection, make: Make, user: str
) -> None:
    expired, _ = make(user, days=1e-9)
    revoked, number = make(user, days=None)
    with Session(owner.engine) as session, session.begin():
        assert access_tokens.revoke(session, number)
        assert not access_tokens.revoke(session, number)
        with pytest.raises(AgentError, match=r"^M956"):
            access_tokens.revoke(session, 10**9)
    with shared_sessions() as session:
        for token, code in ((expired, "M952"), (revoked, "M953")):
            with pytest.raises(AgentError, match=rf"^{code}"):
                access_tokens.find(session, token)
        states = {one.state for one in access_tokens.list_tokens(session, user)}
    assert states <= {"revoked"}  # of what this transaction named last
    with Session(owner.engine) as session:
        found = access_tokens.list_tokens(session, user)
        assert [one.state for one in found] == ["revoked", "expired"]


def test_services_see_the_token_that_they_name_and_change_none(
    shared_sessions: sessionmaker[Session], make: Make, user: str
) -> None:
    mine, _ = make(user)
    make("another user")
    count = sa.text("select count(*) from agent.tokens")
    with shared_sessions() as session:
        assert session.execute(count).scalar_one() == 0
        access_tokens.find(session, mine)
        assert session.execute(count).scalar_one() == 1
        session.rollback()
        # The setting ends with the transaction.
        assert session.execute(count).scalar_one() == 0
    for statement in (
        "update agent.tokens set user_id = 'x'",
        "insert into agent.tokens (token_digest, user_id, made_by) values ('a', 'b', 'c')",
        "delete from agent.tokens",
    ):
        with shared_sessions() as session, pytest.raises(sa.exc.ProgrammingError, match="denied"):
            session.execute(sa.text(statement))


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"days": 0}, "M955"),
        ({"days": 4_000}, "M955"),
        ({"days": float("nan")}, "M955"),
        ({"spaces": ["no such space"]}, "M954"),
        ({"agent": "\0"}, "M730"),
    ],
)
def test_a_token_that_could_never_serve_is_not_made(
    make: Make, user: str, given: dict[str, object], code: str
) -> None:
    with pytest.raises(AgentError, match=rf"^{code}"):
        make(user, **given)


def test_uses_are_added_up_and_those_of_erased_tokens_are_dropped(
    shared_sessions: sessionmaker[Session], owner: sa.Connection, make: Make, user: str
) -> None:
    _, number = make(user)
    now = datetime.now(UTC)
    with shared_sessions.begin() as session:
        access_tokens.add_uses(session, {number: (2, now), 10**9: (1, now)})
    with shared_sessions.begin() as session:
        access_tokens.add_uses(session, {number: (3, now - timedelta(hours=1))})
    with Session(owner.engine) as session:
        (line,) = access_tokens.list_tokens(session, user)
    assert (line.uses, line.used_at) == (5, now)
