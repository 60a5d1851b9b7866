"""Sessions of the services' role, and shared spaces, without the room of memory, which is above."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.postgres.acting import set_acting
from memos_assets.postgres.engine import closing_pool, create_engine
from memos_assets.postgres.service_role import ROLE
from memos_assets.settings import Settings


@contextmanager
def as_services(url: str, settings: Settings) -> Iterator[sessionmaker[Session]]:
    """Yield what makes sessions whose connections have changed to the role of services."""
    address = sa.make_url(url).set(drivername="postgresql+psycopg")
    with closing_pool(create_engine(address, settings, application_name="tests")) as engine:

        def become(connection: object, _record: object) -> None:
            connection.execute(f"set role {ROLE}")  # type: ignore[attr-defined]
            connection.commit()  # type: ignore[attr-defined]

        sa.event.listen(engine, "connect", become)
        yield sessionmaker(engine, expire_on_commit=False)


def share(sessions: sessionmaker[Session], owner: str, **granted: str) -> str:
    """Make a shared space with grants, user -> access, and return its name."""
    name = f"team-{uuid4()}"
    grants = {owner: "read_write", **{user.replace("_", "-"): a for user, a in granted.items()}}
    with sessions.begin() as session:
        set_acting(session, owner, "")
        number = session.execute(
            sa.text(
                "insert into agent.spaces (name, owner, private) values (:name, :owner, false) "
                "returning id"
            ),
            {"name": name, "owner": owner},
        ).scalar_one()
        for user, access in grants.items():
            session.execute(
                sa.text("insert into agent.grants values (:space, :user, :access, :owner)"),
                {"space": number, "user": user, "access": access, "owner": owner},
            )
    return name
