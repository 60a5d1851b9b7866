"""Rows of boards are walled off as the tables of memory are, and go with their user."""

import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.blackboard import SyncBoard
from memos_assets.postgres.acting import set_acting
from memos_assets.postgres.owned_rows import walls
from memos_assets.postgres.row_security import wall_faults
from memos_assets_tests.blackboard.spaces import share

TABLES = ("boards", "board_events", "board_entries", "board_private", "board_outbox")


def test_every_table_of_boards_is_walled_off(owner: sa.Engine) -> None:
    with owner.connect() as conn:
        found = {wall.name: wall for wall in walls(conn)[0] if wall.name.startswith("board")}
        assert set(found) == {*TABLES, "board_refusals"}
        assert all(wall.policies for wall in found.values())
        assert wall_faults(conn) == {}


def test_nobody_writes_in_the_name_of_another(sessions: sessionmaker[Session], user: str) -> None:
    space = share(sessions, user, writer="read_write")
    board = SyncBoard.open(sessions, "shared", user=user, space=space)
    head = board.head()
    statement = sa.text(
        "insert into agent.board_outbox (board, space_id, user_id, requests) "
        "values (:board, :space, :user, '[]')"
    )
    with sessions() as session:
        set_acting(session, "writer", "")
        values = {"board": head.number, "space": head.space, "user": "writer"}
        session.execute(statement, values)
        try:
            session.execute(statement, {**values, "user": user})
        except sa.exc.ProgrammingError as error:
            assert "row-level security" in str(error.orig)  # noqa: PT017
        else:
            raise AssertionError("it wrote as another user")
