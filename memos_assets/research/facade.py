"""The face of the pipeline: `Research` with asyncio. `SyncResearch` is the same without it.

Like cache and board it is given what makes sessions: a run commits short transactions of its own,
and holds no connection while a model works.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from memos_assets.blackboard import Board
from memos_assets.cache import Answer as Cached
from memos_assets.cache import Cache, Computed, Scope
from memos_assets.catalog import Table
from memos_assets.contradictions import Judge
from memos_assets.errors import AgentError
from memos_assets.memory import Memory
from memos_assets.memory.acting import act_as
from memos_assets.research import boards, corpora
from memos_assets.research.answer import Answer
from memos_assets.research.boards import STARTED, noted
from memos_assets.research.budget import Budget, Deadline
from memos_assets.research.events import (
    Answered,
    Event,
    PhaseFinished,
    PhaseStarted,
)
from memos_assets.research.generators import Generator, configured_generator
from memos_assets.research.questioned import VERSION, Questioned, Tools, checked, checked_k
from memos_assets.research.run import Run
from memos_assets.search.embed import AsyncEmbedder, configured_async_embedder
from memos_assets.settings import Settings

#: Namespace of the cache that answers are in.
NAMESPACE: Final = "answers"
#: Hits of each table, and memories, where nothing else is asked for.
K: Final = 5
Tell = Callable[[Event], None]


class Research:
    """The research pipeline, for asyncio: ``async for event in research(question, user=...)``."""

    def __init__(
        self,
        settings: Settings,
        sessions: async_sessionmaker[AsyncSession],
        *,
        corpora_sessions: async_sessionmaker[AsyncSession] | None = None,
        tables: Sequence[Table] = corpora.CORPORA,
        embedder: AsyncEmbedder | None = None,
        generator: Generator | None = None,
        judge: Judge | None = None,
        cache: Cache | None = None,
    ) -> None:
        """Take what runs share; nothing is connected.

        Args:
            settings: the embedder and the generator, where none is given.
            sessions: of the role of services, as `memory.sessions_for` returns.
            corpora_sessions: that may read the consolidated tables; None: ``sessions``.
            tables: that are searched, by words at least.
            embedder: in place of the one of the settings; without any, words alone are compared.
            generator: in place of the one of the settings; without any, answers are extractive.
            judge: has the last word on contradictions that rules found.
            cache: in place of one with the embedder.

        Raises:
            AgentError: M993 a setting of the generator is missing.
        """
        if embedder is None and settings.embedder is not None:
            embedder = configured_async_embedder(settings)
        self.cache = Cache(embedder) if cache is None else cache
        self._tools = Tools(
            sessions=sessions,
            corpora=sessions if corpora_sessions is None else corpora_sessions,
            tables=tuple(table for table in tables if table.text_index),
            memory=Memory(settings, embedder=embedder),
            generator=configured_generator(settings) if generator is None else generator,
            judge=judge,
        )

    async def ask(self, question: str, *, tell: Tell | None = None, **about: Any) -> Answer:
        """Return the answer to a question.

        Args:
            question: in the user's words.
            tell: is called with each event before the answer.
            about: as `__call__`.
        """
        async for event in self(question, **about):
            if isinstance(event, Answered):
                return event.answer
            if tell is not None:
                tell(event)
        raise AssertionError("a run ends with an answer or an error")

    async def __call__(
        self,
        question: str,
        *,
        user: str,
        agent: str = "",
        spaces: Sequence[str] = (),
        k: int = K,
        budget: Budget = Budget(),  # noqa: B008  it is frozen
        board: UUID | str | None = None,
        fresh: bool = False,
    ) -> AsyncGenerator[Event, None]:
        """Answer a question, from the cache or by a run; yield what happens, the answer last.

        A run that was killed goes on where its board is, found by question and parameters. Who
        leaves midway cancels the run; what is on the board by then stays.

        Args:
            question: in the user's words.
            user: for whom.
            agent: that asks for them.
            spaces: shared spaces that are recalled from, beside the user's own.
            k: hits of each table, and memories: 1 to 50.
            budget: of seconds and tokens.
            board: of the unfinished run to go on with; None: found by itself.
            fresh: compute again though the cache has an answer.

        Raises:
            AgentError: M990 no question; M991 it is too long; M992 a budget or k that cannot be;
                M995 the board is of another question; M996 contradictions come too fast; as
                `memory.act_as`, board and recall.
        """
        text = checked(question)
        asked = Questioned(text, user, agent, tuple(spaces), checked_k(k), budget.checked())
        events: asyncio.Queue[Event | None] = asyncio.Queue()
        run = self._answered(asked, board, events.put_nowait, fresh=fresh)
        task = asyncio.create_task(run)
        task.add_done_callback(lambda _: events.put_nowait(None))
        try:
            while (event := await events.get()) is not None:
                yield event
            yield Answered(await task)
        finally:
            if not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def _answered(
        self, asked: Questioned, board: UUID | str | None, tell: Tell, *, fresh: bool
    ) -> Answer:
        tools = self._tools
        deadline = Deadline(asked.budget.seconds)
        tell(PhaseStarted("cache"))
        live = await corpora.versions(tools.corpora, tools.tables)
        scope = Scope(
            user=asked.user,
            model=tools.writer,
            parameters={**asked.parameters(tools), "corpora": live},
            version=VERSION,
        )
        if fresh or board is not None:
            # session-rule: S001 because what is evicted is so in a transaction of its own
            async with tools.sessions.begin() as session:
                await session.run_sync(act_as, user=asked.user, agent=asked.agent)
                await self.cache.invalidate(
                    session, namespace=NAMESPACE, query=asked.text, scope=scope
                )
        began = deadline.left

        def looked(count: int) -> None:
            tell(PhaseFinished("cache", round(began - deadline.left, 6), count))

        async def compute() -> Computed:
            looked(0)
            answer = await self._computed(asked, board, live, tell, deadline)
            return Computed(
                answer.as_json(),
                cites=answer.memories,
                negative=not answer.found,
                partial=not answer.complete,
            )

        found = await self.cache.get_or_compute(
            tools.sessions, namespace=NAMESPACE, query=asked.text, scope=scope, compute=compute
        )
        if found.origin != "computed":
            looked(1)
        return _from_cache(found)

    async def _computed(
        self,
        asked: Questioned,
        board: UUID | str | None,
        live: list[int | None],
        tell: Tell,
        deadline: Deadline,
    ) -> Answer:
        tools = self._tools
        mark = asked.fingerprint(tools)
        # session-rule: S001 because a run holds no connection between its phases
        async with tools.sessions.begin() as session:
            await tools.memory.act_as(
                session, user=asked.user, agent=asked.agent, spaces=asked.spaces
            )
            before = await session.run_sync(boards.earlier, asked.user, asked.text, mark)
            open_one = board or await session.run_sync(
                boards.unfinished, asked.user, asked.text, mark
            )
        if open_one is None:
            used = await Board.open(tools.sessions, asked.text, user=asked.user, agent=asked.agent)
            await used.post([noted(STARTED, {"fingerprint": mark, "corpora": live})])
        else:
            used = Board(tools.sessions, open_one, user=asked.user, agent=asked.agent)
        if board is not None:
            await boards.require_of(used, asked.text, mark)
        recomputed = "" if before is None else before.why_not(live)
        resuming = open_one is not None
        run = Run(tools, asked, used, tell, deadline, recomputed, resuming=resuming)
        try:
            return await run.answer()
        except AgentError as error:
            if error.code != "M911":
                raise
        # Another process has ended the same run meanwhile: its answer is on the board.
        return await Run(tools, asked, used, tell, deadline, recomputed, resuming=True).answer()


def _from_cache(found: Cached) -> Answer:
    answer = Answer.from_json(found.value)
    if found.origin == "computed":
        return answer
    matched = None if found.matched in (None, answer.question) else found.matched
    return replace(
        answer,
        origin=found.origin,
        matched=matched,
        question=found.entry.key.query,
        age=round(found.age, 3),
    )
