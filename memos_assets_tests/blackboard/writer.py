"""A process whose agents post to one board at once, for tests and races with several processes."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import sessionmaker

from memos_assets.blackboard import SyncBoard, records
from memos_assets.postgres.engine import create_engine
from memos_assets.settings import Settings


def write(test: Connection, url: str, board: UUID, user: str, writers: int, events: int) -> None:
    """Say ``ready``, wait, post with all writers at once, and say how long each post took.

    Args:
        test: says when.
        url: of the database.
        board: on which all post.
        user: for whom.
        writers: threads, an agent each.
        events: of each writer.
    """
    settings = Settings(pool_size=writers)
    engine = create_engine(sa.make_url(url), settings, application_name="writer")
    sessions = sessionmaker(engine)

    def one(number: int) -> list[tuple[int, float]]:
        agent = f"{os.getpid()}/{number}"
        mine = SyncBoard(sessions, board, user=user, agent=agent)
        taken = []
        for event in range(events):
            request = records.note(f"{agent}: note {event}", agent, "race")
            began = time.perf_counter()
            (posted,) = mine.post([request])
            taken.append((posted.seq, time.perf_counter() - began))
        return taken

    with ThreadPoolExecutor(writers) as pool:
        # Connections are made before the race.
        list(pool.map(lambda _: SyncBoard(sessions, board, user=user).head(), range(writers)))
        test.send("ready")
        test.recv()
        test.send(list(pool.map(one, range(writers))))
    engine.dispose()


def post_and_wait(test: Connection, url: str, board: UUID, user: str) -> None:
    """Post, enqueue and commit, say the number of the event, and wait to be killed."""
    from memos_assets.postgres.acting import set_acting

    engine = create_engine(sa.make_url(url), Settings(), application_name="writer")
    sessions = sessionmaker(engine)
    mine = SyncBoard(sessions, board, user=user, agent="killed")
    added = mine.add_finding("q", "found before the end", "source", 0.5)
    with sessions.begin() as session:
        set_acting(session, user, "killed")
        mine.enqueue(session, [records.note("last words", "killed", "note")])
    with sessions() as session:
        set_acting(session, user, "killed")
        mine.enqueue(session, [records.note("never committed", "killed", "note")])
        test.send(added.seq)
        time.sleep(600)
