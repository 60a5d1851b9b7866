"""One run of the real command, and kill -9 of it or of the server in the middle."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Literal

import psutil

from bench.command_run import command_environment, consolidate_arguments
from bench.measure import BenchError
from bench.world import World
from faults.phases import PHASES, Phase, PhaseWatch
from memos_assets.demo import Scale
from memos_assets.postgres.server.embedded import EmbeddedServer

Victim = Literal["worker", "server"]

#: How often a kill aims at a phase: where most is at stake, most often.
_WEIGHTS: dict[Phase, int] = {"start": 1, "pin": 2, "load": 5, "verify": 2, "index": 3}
#: Seconds that a phase takes, about: kills fall anywhere within.
_SECONDS: dict[Scale, dict[Phase, float]] = {
    "plan": {"start": 3.0, "pin": 2.5, "load": 8.0, "verify": 4.0, "index": 8.0},
    "small": {"start": 2.5, "pin": 0.5, "load": 2.5, "verify": 1.5, "index": 1.0},
}
#: Seconds after which a command counts as hanging: it lost its server, or waits for a dead process.
_PATIENCE_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Moment:
    """When to kill: so many seconds after a phase, or one that follows it, was seen first."""

    phase: Phase
    seconds: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run of the command ended.

    Attributes:
        victim: what was killed; None when the command came to its end.
        phase: of the command when that happened.
        seconds: from its start to its end.
        code: its exit code, -9 after a kill; None when it hung and had to be ended.
        said: the last line it wrote.
    """

    victim: Victim | None
    phase: Phase
    seconds: float
    code: int | None
    said: str


def random_moments(random_: random.Random, scale: Scale, number: int) -> list[Moment]:
    """Choose moments anywhere in the work of one consolidation, in its order.

    Work that was done before a kill is not done again, so the seconds of a moment count from the
    one before where both fall into one phase.
    """
    weights = [_WEIGHTS[phase] for phase in PHASES]
    chosen = sorted(
        (PHASES.index(phase), random_.uniform(0, _SECONDS[scale][phase]))
        for phase in random_.choices(PHASES, weights, k=number)
    )
    return [
        Moment(PHASES[place], seconds - (before[1] if before[0] == place else 0.0))
        for before, (place, seconds) in zip([(-1, 0.0), *chosen], chosen, strict=False)
    ]


def run_to_the_end(world: World) -> Outcome:
    """Run the command without a kill."""
    with _command(world) as (process, started), PhaseWatch(world) as watch:
        code = _waited(process)
        return Outcome(None, watch.phase, time.monotonic() - started, code, _said(world))


def run_and_kill(world: World, victim: Victim, moment: Moment) -> Outcome:
    """Run the command and kill at a moment; it may come to its end before that."""
    with _command(world) as (process, started):
        with PhaseWatch(world) as watch:
            deadline: float | None = None
            while process.poll() is None and (deadline is None or time.monotonic() < deadline):
                if deadline is None and _is_reached(watch, moment.phase):
                    deadline = time.monotonic() + moment.seconds
                time.sleep(0.002)
            phase, killed = watch.phase, process.poll() is None
            if killed and victim == "worker":
                os.killpg(process.pid, signal.SIGKILL)
            elif killed:
                kill_server(world.server)
        code = _waited(process)
        seconds = time.monotonic() - started
        return Outcome(victim if killed else None, phase, seconds, code, _said(world))


def _is_reached(watch: PhaseWatch, phase: Phase) -> bool:
    places = [PHASES.index(seen) for seen in watch.seen]
    return max(places) >= PHASES.index(phase)


def kill_server(server: EmbeddedServer) -> None:
    """Kill all processes of the server at once, as a power failure would."""
    pid = server.status().pid
    if pid is None:
        raise BenchError(
            "the server does not answer, so it cannot be killed. Fix: see its log, then repeat"
        )
    postmaster = psutil.Process(pid)
    processes = [postmaster, *postmaster.children(recursive=True)]
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    # Processes that started in between end by themselves, without their postmaster.
    psutil.wait_procs(processes, timeout=30)


@contextmanager
def _command(world: World) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    log = world.folder / "consolidate.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            consolidate_arguments(world),
            env=command_environment(world),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process, time.monotonic()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _waited(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        return None


def _said(world: World) -> str:
    written = (world.folder / "consolidate.log").read_text(encoding="utf-8", errors="replace")
    return (written.strip().splitlines() or [""])[-1]
