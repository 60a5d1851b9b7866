"""Kill and resume until a consolidation is done; check its result; begin again from nothing."""

import random
from dataclasses import dataclass, field

from bench.measure import progress
from bench.world import World
from faults.judge import Chunk, LedgerState, Verdict, judge, left_behind, read_ledger
from faults.kills import Outcome, Victim, random_moments, run_and_kill, run_to_the_end
from memos_assets.demo import Scale

#: Kills before a consolidation is left to finish.
_FEWEST, _MOST = 4, 9
#: Exit codes of a command whose server went away: it started that again, or says why it stopped.
_ORDERLY = (0, 1, 2)


@dataclass(slots=True)
class Kill:
    """One kill, the ledger after it, and the work of the next run of the command.

    Attributes:
        number: counted from 1.
        outcome: which process, when, and how the command ended.
        ledger: chunks that were in the ledger afterwards.
        copied: chunks that the resume copied; it may have been killed itself.
        saved: chunks that the resume found in the ledger and left alone.
        again: chunks that it copied although they were in the ledger.
        half: chunks of which the tables hold another part than the ledger says.
        lost: rows, counted at the end of the consolidation of which this is the last kill.
        doubled: the same.
        changed: the same.
    """

    number: int
    outcome: Outcome
    ledger: int
    copied: int = 0
    saved: int = 0
    again: int = 0
    half: int = 0
    lost: int = 0
    doubled: int = 0
    changed: int = 0


@dataclass(slots=True)
class Campaign:
    """Every kill, and every fault that was found, in words."""

    world: World
    scale: Scale
    seed: int
    kills: list[Kill] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    cycles: int = 0
    chunks: int = 0

    def run(self, number: int) -> None:
        """Kill ``number`` times, or until a consolidation without a kill fails."""
        random_ = random.Random(self.seed)
        while len(self.kills) < number:
            self.world.empty()
            self.cycles += 1
            most = min(random_.randint(_FEWEST, _MOST), self._open(number))
            if not self._cycle(random_, most):
                return

    def _open(self, number: int) -> int:
        return number - len(self.kills)

    def _cycle(self, random_: random.Random, most: int) -> bool:
        """Kill up to ``most`` times on the way to one finished consolidation, and check it.

        Returns:
            Whether the last run of the command, which was not killed, succeeded.
        """
        last: Kill | None = None
        before = LedgerState({}, [])
        for moment in random_moments(random_, self.scale, most):
            victim: Victim = "server" if len(self.kills) % 2 else "worker"
            outcome = run_and_kill(self.world, victim, moment)
            if outcome.victim is None:
                break  # it was done before its moment came
            self.world.server.start()
            after = read_ledger(self.world)
            _resumed(last, before, after)
            last = Kill(len(self.kills) + 1, outcome, len(after.chunks), half=len(after.half))
            self.kills.append(last)
            self._note(last, after)
            before = after
        else:
            outcome = run_to_the_end(self.world)
        after = read_ledger(self.world)
        _resumed(last, before, after)
        self.chunks = max(self.chunks, len(after.chunks))
        self._judge(outcome, after, last)
        return outcome.code == 0

    def _note(self, kill: Kill, state: LedgerState) -> None:
        outcome = kill.outcome
        progress.print(
            f"  kill {kill.number}: {outcome.victim} in {outcome.phase} after "
            f"{outcome.seconds:.1f} s, {kill.ledger} chunks in the ledger",
            markup=False,
            soft_wrap=True,
        )
        self.faults += [
            f"kill {kill.number}: {_words(chunk)} is half there" for chunk in state.half
        ]
        if outcome.code is None:
            self.faults.append(f"kill {kill.number}: the command hung")
        elif outcome.victim == "server" and outcome.code not in _ORDERLY:
            self.faults.append(
                f"kill {kill.number}: without its server the command ended with exit code "
                f"{outcome.code}: {outcome.said}"
            )

    def _judge(self, outcome: Outcome, state: LedgerState, last: Kill | None) -> None:
        where = f"consolidation {self.cycles}"
        if outcome.code is None:
            self.faults.append(f"{where}: the command hung")
        elif outcome.code != 0:
            self.faults.append(f"{where}: exit code {outcome.code}: {outcome.said}")
        if not state.chunks:
            return
        verdict = judge(self.world)
        progress.print(
            f"  consolidation {self.cycles} done: {verdict.rows:,} rows, {verdict.lost} lost, "
            f"{verdict.doubled} doubled, {verdict.changed} changed",
            markup=False,
            soft_wrap=True,
        )
        self.faults += [f"{where}: {fault}" for fault in verdict.named]
        self.faults += [f"{where}: {_words(chunk)} is half there" for chunk in state.half]
        self.faults += [f"{where}: {fault}" for fault in left_behind(self.world)]
        if last is not None:
            _add(last, verdict)


def _resumed(kill: Kill | None, before: LedgerState, after: LedgerState) -> None:
    """Count the chunks that the run after a kill copied, and those that it did not have to."""
    if kill is None:
        return
    kept = [chunk for chunk, at in before.chunks.items() if after.chunks.get(chunk) == at]
    kill.saved = len(kept)
    kill.again = len(before.chunks) - len(kept)
    kill.copied = len(after.chunks) - len(kept)


def _add(kill: Kill, verdict: Verdict) -> None:
    kill.lost, kill.doubled, kill.changed = verdict.lost, verdict.doubled, verdict.changed


def _words(chunk: Chunk) -> str:
    return f"memos.{chunk[1]} {chunk[0]}/{chunk[2]:03d}"
