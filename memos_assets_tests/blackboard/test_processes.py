"""Writers in several processes: one order, nothing lost or doubled, nobody waits for another."""

import multiprocessing
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.blackboard import SyncBoard, records
from memos_assets.postgres.acting import set_acting
from memos_assets_tests.blackboard import writer

PROCESSES, WRITERS, EVENTS = 3, 4, 25


@contextmanager
def processes(
    count: int, target: Callable[..., None], *arguments: Any
) -> Iterator[Sequence[tuple[BaseProcess, Connection]]]:
    forked = multiprocessing.get_context("forkserver")
    forked.set_forkserver_preload([writer.__name__])
    started = []
    try:
        for _ in range(count):
            mine, theirs = forked.Pipe()
            process = forked.Process(target=target, args=(theirs, *arguments), daemon=True)
            process.start()
            theirs.close()
            started.append((process, mine))
        yield started
    finally:
        for process, _ in started:
            process.kill()
            process.join()


def said(pipe: Connection) -> Any:
    assert pipe.poll(60), "it says nothing"
    return pipe.recv()


def address(owner: sa.Engine) -> str:
    return owner.url.render_as_string(hide_password=False)


def test_writers_of_several_processes_make_one_order_without_loss(
    board: SyncBoard, owner: sa.Engine
) -> None:
    who = board.who.user
    with processes(
        PROCESSES, writer.write, address(owner), board.id, who, WRITERS, EVENTS
    ) as started:
        assert [said(pipe) for _, pipe in started] == ["ready"] * PROCESSES
        for _, pipe in started:
            pipe.send("go")
        taken = [one for _, pipe in started for one in said(pipe)]
    count = PROCESSES * WRITERS * EVENTS
    numbers = [[seq for seq, _ in one] for one in taken]
    assert sorted(seq for one in numbers for seq in one) == list(range(1, count + 1))
    assert all(one == sorted(one) for one in numbers)
    events = board.events(limit=count + 1)
    assert [event.seq for event in events] == list(range(1, count + 1))
    assert max(Counter(event.entry.value["text"] for event in events).values()) == 1
    times = [event.entry.at for event in events]
    assert times == sorted(set(times))
    assert len(board.state().level("notes")) == count


def test_a_process_that_is_killed_after_its_post_has_posted(
    board: SyncBoard, owner: sa.Engine
) -> None:
    with processes(1, writer.post_and_wait, address(owner), board.id, board.who.user) as (
        (process, pipe),
    ):
        seq = said(pipe)
        process.kill()
        process.join()
    follower = board.follow(after=seq - 1, seconds=0)
    assert next(follower).entry.value["text"] == "found before the end"
    # Committed before the end, and numbered by the first who reads.
    assert next(follower).entry.value["text"] == "last words"
    assert list(follower) == []
    again = board.add_finding("q", "found before the end", "source", 0.5)
    assert (again.added, again.seq) == (False, seq)


def test_nobody_waits_for_a_transaction_in_which_an_agent_thinks(
    sessions: sessionmaker[Session], board: SyncBoard, other: SyncBoard
) -> None:
    entered, leave = threading.Event(), threading.Event()

    def thinks() -> None:
        with sessions.begin() as session:
            set_acting(session, board.who.user, "one")
            board.enqueue(session, [records.note("thought long", "one", "note")])
            entered.set()
            leave.wait(30)

    thinking = threading.Thread(target=thinks)
    thinking.start()
    assert entered.wait(30)
    began = time.monotonic()
    for number in range(20):
        other.write_public("n", number)
        other.state()
    taken = time.monotonic() - began
    leave.set()
    thinking.join()
    assert taken < 10  # it would be all of the 30 s that the other one thinks
    assert other.settle() == (1, 0)
    assert other.events(after=20)[0].entry.value["text"] == "thought long"
