"""Faults of the cache: kill -9 of who computes an answer, and of the server while it is asked.

A caller always gets the value of its computation. After the death of a holder one other computes,
once its lease has ended; after a restart the UNLOGGED tables are empty, and fences go on growing.
"""

import multiprocessing
import os
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import sessionmaker

from bench.measure import progress
from bench.sheets import Sheet
from bench.world import World
from faults.kills import kill_server
from memos_assets.cache import Scope, SyncCache
from memos_assets.cache.namespaces import Namespace
from memos_assets.postgres.engine import create_engine
from memos_assets.settings import Settings

#: Callers of the answer whose holder is killed, each a process.
WAITING: Final = 3
_LEASE_SECONDS: Final = 2.0
_SPACE: Final = Namespace("faults", lease=_LEASE_SECONDS)
_PATIENCE_SECONDS: Final = 60.0
#: Beside the life of a lease: looks for the answer, and a slow machine.
_SLACK_SECONDS: Final = 3.0
_RULES: Final = {_SPACE.name: _SPACE}


@dataclass
class CacheFaults:
    """What came of the kills.

    Attributes:
        holders: kills of a process that computed.
        servers: kills of the server.
        slowest: seconds from a kill of a holder to the answer of the last caller, at most.
        faults: what should not have been, each on one line.
    """

    holders: int = 0
    servers: int = 0
    slowest: float = 0.0
    faults: list[str] = field(default_factory=list)

    def sheet(self) -> Sheet:
        """Return one line per kind of kill."""
        return Sheet(
            "cache-faults",
            "Kills beside the cache",
            ("killed", "kills", "slowest answer, s", "faults"),
            [
                ("the holder of a lease", f"{self.holders}", f"{self.slowest:.1f}", ""),
                ("the server", f"{self.servers}", "", ""),
                ("both", f"{self.holders + self.servers}", "", f"{len(self.faults)}"),
            ],
            f"A lease lives for {_LEASE_SECONDS:g} s; {WAITING} processes wait for its holder.",
        )


def cache_faults(world: World, kills: int) -> CacheFaults:
    """Kill holders and the server in turn, and look at what callers got."""
    found = CacheFaults()
    with world.fresh() as engine:
        for number in range(kills):
            progress.print(f"  cache: kill {number + 1} of {kills}", markup=False)
            if number % 2 == 0:
                kill_a_holder(engine, found, f"asked {number}")
            else:
                kill_the_server(world, engine, found, f"asked {number}")
    return found


def kill_a_holder(engine: sa.Engine, found: CacheFaults, query: str) -> None:
    """Kill the process that computes an answer; one of those who wait computes it."""
    forked = multiprocessing.get_context("fork")
    computing = forked.Event()
    holder = forked.Process(target=_compute_for_ever, args=(engine.url, query, computing))
    holder.start()
    waiting: list[Any] = []
    try:
        if not computing.wait(_PATIENCE_SECONDS):
            found.faults.append("a holder never computed")
            return
        pairs = [forked.Pipe(duplex=False) for _ in range(WAITING)]
        waiting = [
            forked.Process(target=_ask, args=(engine.url, query, sender)) for _, sender in pairs
        ]
        for one in waiting:
            one.start()
        assert holder.pid is not None
        os.kill(holder.pid, signal.SIGKILL)
        killed = time.monotonic()
        found.holders += 1
        answers = [
            receiver.recv() if receiver.poll(_PATIENCE_SECONDS) else ("nothing", None)
            for receiver, _ in pairs
        ]
        seconds = time.monotonic() - killed
    finally:
        for process in (holder, *waiting):
            process.kill()
            process.join()
    found.slowest = max(found.slowest, seconds)
    found.faults += judged(answers, seconds)


def judged(answers: list[tuple[str, Any]], seconds: float) -> list[str]:
    """Return what is wrong with the answers of those who waited for a holder that was killed.

    Args:
        answers: origin and value of each; the value is the process that computed.
        seconds: from the kill to the last of them.
    """
    wrong = []
    origins = Counter(origin for origin, _ in answers)
    if origins["computed"] != 1 or origins["exact"] != len(answers) - 1:
        wrong.append(f"after the death of a holder: {dict(origins)}, not computed once")
    if len({value for _, value in answers}) != 1:
        wrong.append("callers of one answer got different ones")
    if seconds > _LEASE_SECONDS + _SLACK_SECONDS:
        wrong.append(f"callers waited for {seconds:.1f} s, a lease is {_LEASE_SECONDS:g} s")
    return wrong


def _asked(url: sa.URL, query: str, compute: Any) -> tuple[str, Any]:
    engine = create_engine(url, Settings(), application_name="faults")
    try:
        got = SyncCache(namespaces=_RULES).get_or_compute(
            sessionmaker(engine), namespace=_SPACE.name, query=query, compute=compute
        )
    finally:
        engine.dispose()
    return got.origin, got.value


def _compute_for_ever(url: sa.URL, query: str, computing: Any) -> None:
    def compute() -> None:
        computing.set()
        time.sleep(_PATIENCE_SECONDS)

    _asked(url, query, compute)


def _ask(url: sa.URL, query: str, sender: Connection) -> None:
    sender.send(_asked(url, query, os.getpid))


def kill_the_server(world: World, engine: sa.Engine, found: CacheFaults, query: str) -> None:
    """Kill the server between a store and a hit: callers compute, and after it starts, too."""
    cache, sessions = SyncCache(namespaces=_RULES), sessionmaker(engine)
    scope = Scope(user="user-of-faults")

    def ask(value: str) -> tuple[str, Any]:
        got = cache.get_or_compute(
            sessions,
            namespace=_SPACE.name,
            query=query,
            compute=lambda: value,
            scope=scope,
        )
        return got.origin, got.value

    ask("before")
    hit = ask("again")
    before = _fence(engine)
    kill_server(world.server)
    found.servers += 1
    down = ask("while it is down")
    world.server.start()
    engine.dispose()
    # The process asks a server that did not answer again after a second.
    time.sleep(1.1)
    after = ask("after")
    then = ask("again")
    for what, got, expected in (
        ("before the kill", hit, ("exact", "before")),
        ("while the server is down", down, ("computed", "while it is down")),
        ("after the restart", after, ("computed", "after")),
        ("the second time after it", then, ("exact", "after")),
    ):
        if got != expected:
            found.faults.append(f"{what}: {got}, not {expected}")
    if (fence := _fence(engine)) <= before:
        found.faults.append(f"the fence fell from {before} to {fence}")


def _fence(engine: sa.Engine) -> int:
    """Return the highest fence that was given."""
    with engine.connect() as conn:
        name = conn.execute(
            sa.text("select pg_get_serial_sequence('agent.cache_leases', 'fence')")
        ).scalar_one()
        given: int = conn.execute(sa.text(f"select last_value from {name}")).scalar_one()
    return given
