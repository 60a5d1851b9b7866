"""Users, spaces and memories for tests of the wall between users, written by plain statements."""

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.orm import Session

#: What only Bob may read.
CANARY = "canary-7f3a of Bob"


def act(session: Session, user: str | None, spaces: Iterable[int] = ()) -> None:
    """Name the user of a transaction, as `act_as` does."""
    named = "{" + ",".join(map(str, spaces)) + "}" if spaces else ""
    session.execute(
        sa.text(
            "select set_config('app.current_user_id', :user, true), "
            "set_config('memos.spaces', :spaces, true)"
        ),
        {"user": user or "", "spaces": named},
    )


def add_space(session: Session, owner: str, name: str, **granted: str) -> int:
    """Make a space with its owner's grant, and those of others: user -> access."""
    act(session, owner)
    number: int = session.execute(
        sa.text(
            "insert into agent.spaces (name, owner, private) values (:name, :owner, :private) "
            "returning id"
        ),
        {"name": name, "owner": owner, "private": name.startswith("private:")},
    ).scalar_one()
    for user, access in {owner: "read_write", **granted}.items():
        session.execute(
            sa.text("insert into agent.grants values (:space, :user, :access, :owner)"),
            {"space": number, "user": user, "access": access, "owner": owner},
        )
    return number


def add_memory(session: Session, space: int, user: str, content: str) -> int:
    """Insert a memory as the user of the transaction, and return its number."""
    number: int = session.execute(
        sa.text(
            "insert into agent.memories "
            "(id, space_id, user_id, kind, content, content_digest, words, source) values "
            "(gen_random_uuid(), :space, :user, 'finding', :content, md5(:content), 1, 'test') "
            "returning number"
        ),
        {"space": space, "user": user, "content": content},
    ).scalar_one()
    return number
