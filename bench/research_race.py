"""A question through the research pipeline without a model: computed, and from the cache."""

import asyncio
import time
from typing import Final

import sqlalchemy as sa

from bench.command_run import run_consolidate
from bench.measure import BenchError, Spread, progress
from bench.sheets import Sheet, verdict
from bench.world import World
from memos_assets.postgres.engine import create_engine
from memos_assets.research import Answer, Research
from memos_assets.research.sync_facade import open_research

#: Questions of a round; the first ones let PostgreSQL and the driver plan.
QUESTIONS, FIRST = 20, 5
LIMIT_MS, LIMIT_CACHED_MS = 250, 5
PHASES: Final = ("search", "findings", "contradictions", "synthesis", "memory")
_CODES: Final = sa.text(
    "select distinct substring(content from 'Error Code: ([A-Z]+-[0-9]+)') as code "
    "from memos.hybrid_documents where content like '%Error Code: %' order by code limit :count"
)


def research_race(world: World, rounds: int) -> list[Sheet]:
    """Return the table of a question's phases, and of a cached answer."""
    world.empty()
    run_consolidate(world)
    engine = create_engine(world.server.url(), world.settings, application_name="bench")
    with engine.connect() as conn:
        codes = list(conn.execute(_CODES, {"count": FIRST + QUESTIONS * rounds}).scalars())
    engine.dispose()
    if len(codes) <= FIRST:
        raise BenchError("the demo has too few error codes\nFix: look at its hybrid documents")
    world.settle()
    computed, cached, phases = asyncio.run(_measured(world, codes))
    rows = [_row("question, computed", computed, verdict(_ms(computed.median), LIMIT_MS, "ms"))]
    rows += [_row(f"of it {name}", spread, "") for name, spread in phases.items()]
    rows.append(_row("cached answer", cached, verdict(_ms(cached.median), LIMIT_CACHED_MS, "ms")))
    return [
        Sheet(
            "research",
            "A question through the research pipeline",
            ("", "p50 ms", "min - max", "target"),
            rows,
            f"{len(codes) - FIRST} questions about error codes of the demo, each asked once and "
            "once more, by one user and one process; no embedder and no generator, so that words "
            "are compared and sentences chosen. Findings are posted one by one, each a transaction "
            "that is durable; what is remembered is one transaction.",
        )
    ]


async def _measured(world: World, codes: list[str]) -> tuple[Spread, Spread, dict[str, Spread]]:
    computed, cached = Spread(), Spread()
    phases = {name: Spread() for name in PHASES}
    async with open_research(world.settings) as research:
        for place, code in enumerate(codes):
            answer, seconds = await _timed(research, code, "computed")
            again, hit = await _timed(research, code, "exact")
            if again.text != answer.text:
                raise BenchError(f"{code}: the cache gave another answer\nFix: report it")
            if place < FIRST:
                continue
            computed.seconds.append(seconds)
            cached.seconds.append(hit)
            for name, spread in phases.items():
                spread.seconds.append(answer.phases[name])
    progress.print(f"  {len(computed.seconds)} questions")
    return computed, cached, phases


async def _timed(research: Research, code: str, origin: str) -> tuple[Answer, float]:
    began = time.perf_counter()
    answer = await research.ask(f"What does {code} mean?", user="bench")
    seconds = time.perf_counter() - began
    if answer.origin != origin or not answer.found:
        raise BenchError(f"{code} was {answer.origin}, not {origin}\nFix: look at its answer")
    return answer, seconds


def _ms(seconds: float) -> float:
    return seconds * 1_000


def _row(name: str, spread: Spread, target: str) -> tuple[str, ...]:
    low, high = _ms(min(spread.seconds)), _ms(max(spread.seconds))
    return name, f"{_ms(spread.median):.1f}", f"{low:.1f} - {high:.1f}", target
