"""The pipeline for code that waits: an event loop of its own, in a thread."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from typing import Any, Self

from anyio.from_thread import BlockingPortal, start_blocking_portal

from memos_assets.memory.sessions import open_memory_sessions
from memos_assets.postgres.engine import database_url
from memos_assets.postgres.sessions import open_async_sessions
from memos_assets.research.answer import Answer
from memos_assets.research.events import Event
from memos_assets.research.facade import Research
from memos_assets.settings import Settings

APPLICATION_NAME = "memos_assets:research"


@asynccontextmanager
async def open_research(settings: Settings, **options: Any) -> AsyncIterator[Research]:
    """Yield a pipeline with pools of its own: of the role of services, and of the corpora.

    Args:
        settings: the database, the embedder and the generator.
        options: keyword arguments of `Research`.

    Raises:
        AgentError, UsageError, ServerError, TargetError: as `memory.sessions_for`.
    """
    # session-rule: S001 because it is what opens a pipeline's pools, for commands and jobs
    async with open_memory_sessions(settings, application_name=APPLICATION_NAME) as sessions:
        url = database_url(settings)
        opened = open_async_sessions(url, settings, application_name=APPLICATION_NAME)
        async with opened as corpora_sessions:
            options.setdefault("corpora_sessions", corpora_sessions)
            research = Research(settings, sessions, **options)
            try:
                yield research
            finally:
                # A command ends long before the counts of its lookups are written by themselves.
                await research.cache.flush(sessions)


class SyncResearch:
    """As `Research`, without asyncio. A context manager, in whose block it works.

    Pools belong to an event loop, so it is given what opens the pipeline in its own.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        opened: Callable[[], AbstractAsyncContextManager[Research]] | None = None,
        **options: Any,
    ) -> None:
        """Take the settings; nothing is connected before the block.

        Args:
            settings: the database, the embedder and the generator.
            opened: makes the pipeline, in place of `open_research`.
            options: keyword arguments of `Research`.
        """
        self._open = opened or (lambda: open_research(settings, **options))
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Start the event loop, and open the pipeline."""
        with ExitStack() as stack:
            self._portal: BlockingPortal = stack.enter_context(start_blocking_portal())
            manager = self._portal.wrap_async_context_manager(self._open())
            self._research = stack.enter_context(manager)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        """Close the pools, and end the loop."""
        self._stack.close()

    def ask(self, question: str, **about: Any) -> Answer:
        """Return the answer; arguments as `Research.__call__`."""
        return self._portal.call(lambda: self._research.ask(question, **about))

    def __call__(self, question: str, **about: Any) -> Iterator[Event]:
        """Yield events as they come, the answer last; arguments as `Research.__call__`."""
        events = self._research(question, **about)
        try:
            while True:
                try:
                    yield self._portal.call(events.__anext__)
                except StopAsyncIteration:
                    return
        finally:
            self._portal.call(events.aclose)
