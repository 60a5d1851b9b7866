"""Writers in several processes on one board, while an agent thinks in a transaction of its own.

Each writer's connection has `lock_timeout` at the limit: a post that waits longer than that for the
transaction of another one is cancelled by PostgreSQL, counted, and posted again.
"""

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Final
from uuid import UUID

import numpy as np
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from bench.measure import BenchError
from bench.sheets import Sheet, verdict
from bench.world import World
from memos_assets.blackboard import Request, SyncBoard, records
from memos_assets.demo import Scale
from memos_assets.memory.sessions import open_sync_memory_sessions
from memos_assets.postgres.acting import set_acting
from memos_assets.postgres.engine import closing_pool, create_engine
from memos_assets.settings import Settings

PROCESSES: Final = 4
#: Writers of each process.
WRITERS: Final = 4
EVENTS: Final[dict[Scale, int]] = {"plan": 1_000, "small": 50}
#: Most milliseconds that a post waits for the transaction of another one.
LIMIT_MS: Final = 50
_USER: Final = "bench"
_PATIENCE_SECONDS: Final = 600.0
_TIMED_OUT: Final = "55P03"


def _write(race: Connection, url: str, board: UUID, events: int) -> None:
    """Post with all writers of a process at once; say the seconds of each post, and timeouts."""
    settings = Settings(pool_size=WRITERS, lock_timeout_ms=LIMIT_MS)
    with closing_pool(
        create_engine(sa.make_url(url), settings, application_name="bench")
    ) as engine:
        sessions = sessionmaker(engine)

        def one(number: int) -> tuple[list[float], list[int], int]:
            agent, seconds, numbers, cancelled = f"{os.getpid()}/{number}", [], [], 0
            mine = SyncBoard(sessions, board, user=_USER, agent=agent)
            mine.head()
            for event in range(events):
                request = records.note(f"{agent}: note {event}", agent, "race")
                began = time.perf_counter()
                while True:
                    posted, late = _posted(mine, request)
                    cancelled += late
                    if posted is not None:
                        break
                seconds.append(time.perf_counter() - began)
                numbers.append(posted)
            return seconds, numbers, cancelled

        race.send("ready")
        race.recv()
        with ThreadPoolExecutor(WRITERS) as pool:
            race.send(list(pool.map(one, range(WRITERS))))


def _posted(board: SyncBoard, request: Request) -> tuple[int | None, int]:
    try:
        (posted,) = board.post([request])
    except sa.exc.OperationalError as error:
        if getattr(error.orig, "sqlstate", None) != _TIMED_OUT:
            raise
        return None, 1
    return posted.seq, 0


@contextmanager
def _thinking(sessions: sessionmaker[Session], board: SyncBoard) -> Iterator[None]:
    """Hold a transaction open in which an agent has posted, as long as the block lasts."""
    entered, leave = threading.Event(), threading.Event()

    def think() -> None:
        with sessions.begin() as session:
            set_acting(session, _USER, "thinker")
            board.enqueue(session, [records.note("a long thought", "thinker", "race")])
            entered.set()
            leave.wait()

    thread = threading.Thread(target=think)
    thread.start()
    try:
        entered.wait(_PATIENCE_SECONDS)
        yield
    finally:
        leave.set()
        thread.join()


def board_race(world: World, rounds: int) -> list[Sheet]:
    """Return the table of posts of many writers on one board."""
    events = EVENTS[world.scale]
    count = PROCESSES * WRITERS * events
    rows = []
    with world.fresh(), open_sync_memory_sessions(world.settings) as sessions:
        url = world.server.url().render_as_string(hide_password=False)
        for turn in range(rounds):
            board = SyncBoard.open(
                sessions, f"race {turn}", user=_USER, max_events=count + 1, max_bytes=2**31
            )
            with _thinking(sessions, board):
                began, told = _race(url, board.id, events)
            taken = time.perf_counter() - began
            _prove(board, [number for _, numbers, _ in told for number in numbers], count)
            rows.append(_row(turn, taken, count, told))
    return [
        Sheet(
            "board",
            f"{PROCESSES * WRITERS} writers in {PROCESSES} processes post {events:,} events each",
            ("round", "posts/s", "median ms", "p99 ms", "slowest ms", "waits", "target"),
            rows,
            f"On one board, durably, one event per post, while a transaction in which an agent has "
            f"posted is open. Waits are posts that PostgreSQL cancelled after {LIMIT_MS} ms of "
            "waiting for the transaction of another one. Each round: numbers from 1 to the last "
            "without a gap, each given to one post, and the state is the replay.",
        )
    ]


def _race(
    url: str, board: UUID, events: int
) -> tuple[float, list[tuple[list[float], list[int], int]]]:
    forked = multiprocessing.get_context("forkserver")
    started = []
    try:
        for _ in range(PROCESSES):
            mine, theirs = forked.Pipe()
            process = forked.Process(target=_write, args=(theirs, url, board, events), daemon=True)
            process.start()
            theirs.close()
            started.append((process, mine))
        for _, pipe in started:
            _said(pipe)
        began = time.perf_counter()
        for _, pipe in started:
            pipe.send("go")
        return began, [one for _, pipe in started for one in _said(pipe)]
    finally:
        for process, _ in started:
            process.kill()
            process.join()


def _said(pipe: Connection) -> list[tuple[list[float], list[int], int]]:
    if not pipe.poll(_PATIENCE_SECONDS):
        raise BenchError("a writer says nothing\nFix: look at the log of the server")
    said: list[tuple[list[float], list[int], int]] = pipe.recv()
    return said


def _prove(board: SyncBoard, numbers: list[int], count: int) -> None:
    """Refuse a race in which a number is missing or was given twice, or an event is lost."""
    state = board.state()
    if sorted(numbers) != list(range(1, count + 1)):
        raise BenchError("numbers are missing or doubled\nFix: see agent.board_append")
    if len(state.level("notes")) != count or board.replay().entries != state.entries:
        raise BenchError("events are lost, or the state differs\nFix: see agent.board_append")


def _row(
    turn: int, taken: float, count: int, told: list[tuple[list[float], list[int], int]]
) -> tuple[str, ...]:
    each = np.asarray([one for seconds, _, _ in told for one in seconds]) * 1_000
    cancelled = sum(late for _, _, late in told)
    return (
        str(turn + 1),
        f"{count / taken:,.0f}",
        f"{np.median(each):.2f}",
        f"{np.quantile(each, 0.99):.2f}",
        f"{each.max():.1f}",
        f"{cancelled:,}",
        verdict(cancelled, 0, f"waits > {LIMIT_MS} ms"),
    )
