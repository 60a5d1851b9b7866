"""The face of boards: `Board` with asyncio. `SyncBoard` is the same without it.

Both are given what makes sessions, as the cache is, and drive the steps of `steps`: each is a short
transaction of its own. `promote` and `enqueue` alone work in the caller's session.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from memos_assets.blackboard import opening, posting, private, reading, records, steps, views
from memos_assets.blackboard.posting import Posted, Who
from memos_assets.blackboard.reading import Event, Head, State
from memos_assets.blackboard.requests import PUBLIC, Request, Strategy
from memos_assets.blackboard.steps import MISSING, Added, Look, Post, Step, Steps, Work
from memos_assets.blackboard.views import Contradicted, Question
from memos_assets.errors import AgentError
from memos_assets.postgres.acting import set_acting
from memos_assets.postgres.schema.agent_board import MOST_BYTES, MOST_EVENTS

Result = TypeVar("Result")
#: Seconds between two looks of a follower: the first ones, and at most.
FIRST_PAUSE, MOST_PAUSE = 0.02, 0.25


def known_id(board: UUID | str) -> UUID:
    """Return the id of a board.

    Raises:
        AgentError: M910 it is none.
    """
    try:
        return board if isinstance(board, UUID) else UUID(board)
    except ValueError:
        raise AgentError(
            "M910",
            "this is not the id of a board",
            where="board",
            fix="memos-assets board list shows the ids",
        ) from None


class Board:
    """A board, for asyncio.

    Attributes:
        id: of the board.
        who: uses it.
    """

    def __init__(
        self,
        sessions: async_sessionmaker[AsyncSession],
        board: UUID | str,
        *,
        user: str,
        agent: str = "",
        spaces: Sequence[int] = (),
    ) -> None:
        """Take a board that is open; nothing is read.

        Args:
            sessions: makes sessions, as `memory.sessions_for` returns.
            board: its id.
            user: who uses it.
            agent: that acts for the user.
            spaces: ids of the spaces that reads restrict themselves to, such as `Acting.readable`;
                none: all that are granted. A board of another space is not read, but may be posted
                to by who was granted it.
        """
        self._sessions = sessions
        self.id = known_id(board)
        self.who = Who(user, agent, tuple(spaces))

    @classmethod
    async def open(
        cls,
        sessions: async_sessionmaker[AsyncSession],
        goal: str,
        *,
        user: str,
        agent: str = "",
        space: str | None = None,
        max_events: int = MOST_EVENTS,
        max_bytes: int = MOST_BYTES,
    ) -> "Board":
        """Open a board; see `opening.open_board`."""
        board = cls(sessions, UUID(int=0), user=user, agent=agent)
        made = partial(
            opening.open_board,
            who=board.who,
            goal=goal,
            space=space,
            max_events=max_events,
            max_bytes=max_bytes,
        )
        board.id = await board._step(Work(made))
        return board

    async def _step(self, step: Step) -> Any:
        # session-rule: S001 because posts are short transactions of their own: an agent that
        # thinks within a transaction keeps no other one waiting
        async with self._sessions() as session:
            if isinstance(step, Post):
                if step.requests is None:
                    return await session.run_sync(posting.settle, self.id, self.who)
                return await session.run_sync(posting.post, self.id, self.who, step.requests)
            who = self.who
            await session.run_sync(set_acting, who.user, who.agent, who.spaces)
            result = await session.run_sync(step.run)
            if isinstance(step, Work):
                await session.commit()
            return result

    async def _drive(self, running: Steps[Result]) -> Result:
        try:
            step = next(running)
            while True:
                try:
                    result = await self._step(step)
                except Exception as error:  # noqa: BLE001  the step decides what it means
                    step = running.throw(error)
                else:
                    step = running.send(result)
        except StopIteration as ended:
            value: Result = ended.value
            return value

    async def post(self, requests: Sequence[Request]) -> list[Posted]:
        """Write to the board, all requests or none; see `posting.post`."""
        posted: list[Posted] = await self._step(Post(requests))
        return posted

    async def enqueue(self, session: AsyncSession, requests: Sequence[Request]) -> int:
        """Write to the board within the caller's transaction; see `posting.enqueue`."""
        return await session.run_sync(posting.enqueue, self.id, requests)

    async def settle(self) -> tuple[int, int]:
        """Number what was enqueued and committed; see `posting.settle`."""
        settled: tuple[int, int] = await self._step(Post(None))
        return settled

    async def add_question(self, text: str, *, priority: int = 0) -> Added:
        """Add a question; an equal text is the same question."""
        return await self._drive(steps.add(records.question(text, priority=priority)))

    async def set_progress(
        self,
        question: str,
        status: records.QuestionState,
        *,
        confidence: float | None = None,
        gaps: Sequence[str] = (),
    ) -> Posted:
        """Say how far a question, by its text or key, is answered; see `records.progress`."""
        key = records.question_key(question)
        (posted,) = await self.post([records.progress(key, status, confidence, gaps)])
        return posted

    async def add_search(self, question: str, query: str, hits: int) -> Added:
        """Note a search for a question, by its text or key, and how many hits it had."""
        key = records.question_key(question)
        return await self._drive(steps.add(records.search(key, query, hits)))

    async def add_finding(
        self, question: str, finding: str, source: str, confidence: float, **about: Any
    ) -> Added:
        """Add a finding; the same text of the same source to the same question is one finding.

        Args:
            question: that it helps to answer: its key, or its text, which is added if it is new.
            finding: what was found.
            source: where; ``memory:UUID`` for a memory.
            confidence: 0 to 1.
            about: ``kind``, ``title``, ``of_search``, ``evidence`` of `records.finding`.

        Raises:
            AgentError: as `posting.post`; M924; M925 no such question or search; M926 the memory
                is not there any more.
        """
        running = steps.add_finding(self.id, question, finding, source, confidence, about)
        return await self._drive(running)

    async def add_contradiction(
        self, claim_a: str, claim_b: str, source_a: str, source_b: str, **about: Any
    ) -> Added:
        """Record a contradiction; see `records.contradiction`."""
        request = records.contradiction(claim_a, claim_b, source_a, source_b, **about)
        return await self._drive(steps.add(request))

    async def decide_contradiction(
        self, key: str, status: records.Decision, *, reason: str = ""
    ) -> Posted:
        """Decide on a contradiction: ``resolved``, ``dismissed``, or ``open`` again.

        Raises:
            AgentError: M925 there is no such contradiction.
            Conflict: M912 another agent has decided meanwhile.
        """
        return await self._drive(steps.decide_contradiction(self.id, key, status, reason))

    async def add_synthesis(
        self,
        text: str,
        *,
        cites: Sequence[str],
        contradictions: Sequence[str] = (),
        threshold: float = 0.5,
    ) -> Added:
        """Add a synthesis that names every open contradiction from a score on.

        Args:
            text: of the synthesis.
            cites: keys of the findings that it cites.
            contradictions: keys of the contradictions that it names, with both sides.
            threshold: least score of those that it has to name.

        Raises:
            AgentError: M915 a contradiction was recorded meanwhile; M925 unknown keys; M931 an
                open contradiction is left out.
        """
        running = steps.add_synthesis(self.id, text, cites, contradictions, threshold)
        return await self._drive(running)

    async def promote(self, session: AsyncSession, finding: str, memory: UUID | str) -> bool:
        """Note in the caller's transaction that a finding became a memory.

        See `steps.promotion_of`. The caller's session acts for the user and has remembered it.
        """
        return await session.run_sync(steps.promotion_of, self.id, finding, memory)

    async def add_entity(self, entity: Mapping[str, Any]) -> dict[str, Any]:
        """Merge an entity, a mapping with ``id``, into the board, and return it as it is now."""
        return await self._drive(steps.add_entity(self.id, entity))

    async def add_relation(self, source: str, kind: str, target: str, **attributes: Any) -> Added:
        """Relate two entities by their ids."""
        return await self._drive(steps.add(records.relation(source, kind, target, attributes)))

    async def add_note(self, text: str, *, kind: str = "note") -> Added:
        """Add a note of the agent, which all agents on the board see."""
        return await self._drive(steps.add(records.note(text, self.who.agent, kind)))

    async def add_action(self, text: str, *, priority: int = 5, agent: str = "") -> Added:
        """Add a next action, for an agent or for any."""
        request = records.action(text, priority=priority, agent=agent)
        return await self._drive(steps.add(request))

    async def finish_action(self, key: str, *, result: str = "") -> Added:
        """Mark an action as done."""
        return await self._drive(steps.add(records.done(key, result)))

    async def write_public(
        self,
        key: str,
        value: Any,
        *,
        ttl: float | None = None,
        strategy: Strategy | None = None,
        expected: int | None = None,
    ) -> list[Posted]:
        """Write a key that all agents on the board see.

        Args:
            key: of the public space.
            value: JSON; of a set, one value or a list of them.
            ttl: seconds; None: it does not expire.
            strategy: of the key: ``last``, ``cas``, ``union`` or ``review``; None: as it is.
            expected: with ``cas``, the version that was read; 0: there was none.

        Raises:
            AgentError: as `posting.post`.
            Conflict: M912 with the version and value that are there.
        """
        request = Request(
            level=PUBLIC, key=key, value=value, ttl=ttl, strategy=strategy, expected=expected
        )
        return await self.post([request])

    async def read_public(self, key: str, default: Any = MISSING) -> Any:
        """Return the value of a public key; of a set, its values.

        Raises:
            AgentError: without a default, M920 there is no such key; M921 it has expired.
        """
        return await self._drive(steps.read_public(self.id, key, default))

    async def review(self, key: str, item: str, *, accept: bool) -> list[Posted]:
        """Accept or reject what another agent wrote to a public key that is reviewed.

        Args:
            key: of the public space.
            item: of the entry that waits, as `state` shows it.
            accept: whether it becomes the value of the key.
        """
        request = Request(level=PUBLIC, key=key, strategy="decide", item=item, accept=accept)
        return await self.post([request])

    async def write_private(self, key: str, value: Any, *, ttl: float | None = None) -> None:
        """Write a key that this agent of this user alone sees; it is in no event."""
        write = partial(private.write, board=self.id, who=self.who, key=key, value=value, ttl=ttl)
        await self._step(Work(write))

    async def read_private(self, key: str, *, agent: str | None = None) -> Any:
        """Return the value of a key of this agent; None, if it was never written.

        Raises:
            AgentError: M921 it has expired; M922 another agent is named.
        """
        return await self._drive(steps.read_private(self.id, self.who, key, agent))

    async def complete(self, reason: str = "") -> Added:
        """Have the board take no further events."""
        return await self._drive(steps.add(records.complete(reason)))

    async def _look(self, read: Any, *arguments: Any) -> Any:
        return await self._step(Look(lambda session: read(session, self.id, *arguments)))

    async def head(self) -> Head:
        """Return the row of the board."""
        found: Head = await self._look(reading.head)
        return found

    async def state(self, *levels: str) -> State:
        """Return what the board holds now, of all levels or of some."""
        found: State = await self._look(reading.live, levels or None)
        return found

    async def replay(self, seq: int | None = None) -> State:
        """Return the state after an event; see `reading.replay`."""
        found: State = await self._look(reading.replay, seq)
        return found

    async def time_of(self, seq: int) -> datetime:
        """Return when an event was posted, for ``recall(known_at=...)``."""
        found: datetime = await self._look(reading.time_of, seq)
        return found

    async def events(self, after: int = 0, limit: int = 500) -> list[Event]:
        """Return events after one, in their order."""
        found: list[Event] = await self._look(reading.events, after, limit)
        return found

    async def follow(
        self, after: int = 0, *, seconds: float | None = None
    ) -> AsyncGenerator[Event, None]:
        """Yield events after one as they come, until the board is complete or the time is up.

        Args:
            after: number of the last event that the reader has.
            seconds: at most so long without an event; None: for ever.
        """
        pause, since = FIRST_PAUSE, time.monotonic()
        while True:
            found, ended = await self._drive(steps.following(self.id, after))
            for event in found:
                yield event
                after = event.seq
            if ended:
                return
            if found:
                pause, since = FIRST_PAUSE, time.monotonic()
                continue
            if seconds is not None and time.monotonic() - since >= seconds:
                return
            await asyncio.sleep(pause)
            pause = min(MOST_PAUSE, pause * 1.5)

    async def questions(self) -> list[Question]:
        """Return the questions with their progress."""
        return views.questions(await self.state())

    async def contradictions(self) -> list[Contradicted]:
        """Return the contradictions with what was decided."""
        return views.contradictions(await self.state())

    async def next_actions(self) -> list[dict[str, Any]]:
        """Return the actions that are not done, the most urgent first."""
        return views.next_actions(await self.state())

    async def completion(self) -> dict[str, Any]:
        """Return how far the board is; see `views.completion`."""
        return views.completion(await self.state())

    async def stats(self) -> dict[str, Any]:
        """Return the size of the board, its budget, refusals and what waits."""
        found: dict[str, Any] = await self._look(opening.stats)
        return found

    async def boards(self, *, state: str | None = None) -> list[Head]:
        """Return the boards that the user sees, the newest first."""
        found: list[Head] = await self._step(
            Look(lambda session: opening.list_boards(session, state=state))
        )
        return found
