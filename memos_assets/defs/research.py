"""A question through the research pipeline as a job: the question is its run configuration.

The answer is where `memos-assets ask` finds it, in the cache and on its board. Logs and metadata
have counts and the id of the board alone: what people remember is shown to nobody else.
"""

import asyncio
from functools import partial

import dagster as dg
from pydantic import Field

from memos_assets.asset_names import AssetNames
from memos_assets.defs.failures import reported
from memos_assets.defs.resources import Postgres
from memos_assets.research import Answer, Budget, Event
from memos_assets.research.events import PhaseFinished
from memos_assets.research.facade import K
from memos_assets.research.sync_facade import open_research
from memos_assets.settings import Settings

#: Name of the job; that of another catalog begins with its prefix.
ASK = "answer_question"


class Asking(dg.Config):
    """A question, and for whom it is answered. The configuration of a run is seen in the UI."""

    question: str = Field(description="In the user's words.")
    user: str = Field(description="Id of the user, whose memory is recalled and written.")
    agent: str = Field(default="", description="The agent that asks for them.")
    spaces: list[str] = Field(default=[], description="Shared spaces that are recalled from, too.")
    k: int = Field(default=K, description="Hits of each table, and memories: 1 to 50.")
    seconds: float = Field(default=Budget().seconds, description="After which nothing is awaited.")
    tokens: int = Field(default=Budget().tokens, description="Of the answer, at most.")
    fresh: bool = Field(default=False, description="Compute again though the cache has an answer.")


def answer_question(names: AssetNames) -> dg.GraphDefinition:
    """Return the job's graph: one step, which is resumed where it was if its process dies."""

    @dg.op(
        name=names.job("ask"),
        out=dg.Out(dg.Nothing),
        description="Cache, search, findings, contradictions, synthesis, memory, cache.",
    )
    def _ask(context: dg.OpExecutionContext, config: Asking, postgres: Postgres) -> None:
        """Answer the question; a run of it that was killed goes on where its board is."""
        with reported():
            answer = asyncio.run(_answered(postgres.settings, config, context.log))
        context.add_output_metadata(
            {
                "board": answer.board,
                "origin": answer.origin,
                "sentences": len(answer.sentences),
                "sources": len(answer.sources),
                "open_contradictions": len(answer.contradictions),
                "remembered": len(answer.remembered),
                "confidence": answer.confidence,
                "complete": answer.complete,
                **{f"seconds: {name}": seconds for name, seconds in answer.phases.items()},
            }
        )

    @dg.graph(name=names.job(ASK))
    def _answer_question() -> None:
        """Answer a question from corpora and memory."""
        _ask()

    return _answer_question


async def _answered(settings: Settings, config: Asking, log: dg.DagsterLogManager) -> Answer:
    async with open_research(settings) as research:
        return await research.ask(
            config.question,
            tell=partial(_log, log),
            user=config.user,
            agent=config.agent,
            spaces=config.spaces,
            k=config.k,
            budget=Budget(config.seconds, config.tokens),
            fresh=config.fresh,
        )


def _log(log: dg.DagsterLogManager, event: Event) -> None:
    if isinstance(event, PhaseFinished):
        again = ", of the run before" if event.resumed else ""
        log.info(f"{event.phase}: {event.count}, {event.seconds:.3f} s{again}")
