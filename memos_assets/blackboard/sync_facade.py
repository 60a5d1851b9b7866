"""The face of boards without asyncio: `SyncBoard`, with the steps of `Board`."""

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy.orm import Session, sessionmaker

from memos_assets.blackboard import opening, posting, private, reading, records, steps, views
from memos_assets.blackboard.facade import FIRST_PAUSE, MOST_PAUSE, known_id
from memos_assets.blackboard.posting import Posted, Who
from memos_assets.blackboard.reading import Event, Head, State
from memos_assets.blackboard.requests import PUBLIC, Request, Strategy
from memos_assets.blackboard.steps import MISSING, Added, Look, Post, Step, Steps, Work
from memos_assets.blackboard.views import Contradicted, Question
from memos_assets.postgres.acting import set_acting
from memos_assets.postgres.schema.agent_board import MOST_BYTES, MOST_EVENTS

Result = TypeVar("Result")


class SyncBoard:
    """As `Board`, without asyncio.

    Attributes:
        id: of the board.
        who: uses it.
    """

    def __init__(
        self,
        sessions: sessionmaker[Session],
        board: UUID | str,
        *,
        user: str,
        agent: str = "",
        spaces: Sequence[int] = (),
    ) -> None:
        """As `Board`."""
        self._sessions = sessions
        self.id = known_id(board)
        self.who = Who(user, agent, tuple(spaces))

    @classmethod
    def open(
        cls,
        sessions: sessionmaker[Session],
        goal: str,
        *,
        user: str,
        agent: str = "",
        space: str | None = None,
        max_events: int = MOST_EVENTS,
        max_bytes: int = MOST_BYTES,
    ) -> "SyncBoard":
        """As `Board.open`."""
        board = cls(sessions, UUID(int=0), user=user, agent=agent)
        made = partial(
            opening.open_board,
            who=board.who,
            goal=goal,
            space=space,
            max_events=max_events,
            max_bytes=max_bytes,
        )
        board.id = board._step(Work(made))
        return board

    def _step(self, step: Step) -> Any:
        # session-rule: S001 because posts are short transactions of their own: an agent that
        # thinks within a transaction keeps no other one waiting
        with self._sessions() as session:
            if isinstance(step, Post):
                if step.requests is None:
                    return posting.settle(session, self.id, self.who)
                return posting.post(session, self.id, self.who, step.requests)
            set_acting(session, self.who.user, self.who.agent, self.who.spaces)
            result = step.run(session)
            if isinstance(step, Work):
                session.commit()
            return result

    def _drive(self, running: Steps[Result]) -> Result:
        try:
            step = next(running)
            while True:
                try:
                    result = self._step(step)
                except Exception as error:  # noqa: BLE001  the step decides what it means
                    step = running.throw(error)
                else:
                    step = running.send(result)
        except StopIteration as ended:
            value: Result = ended.value
            return value

    def post(self, requests: Sequence[Request]) -> list[Posted]:
        """As `Board.post`."""
        posted: list[Posted] = self._step(Post(requests))
        return posted

    def enqueue(self, session: Session, requests: Sequence[Request]) -> int:
        """As `Board.enqueue`."""
        return posting.enqueue(session, self.id, requests)

    def settle(self) -> tuple[int, int]:
        """As `Board.settle`."""
        settled: tuple[int, int] = self._step(Post(None))
        return settled

    def add_question(self, text: str, *, priority: int = 0) -> Added:
        """As `Board.add_question`."""
        return self._drive(steps.add(records.question(text, priority=priority)))

    def set_progress(
        self,
        question: str,
        status: records.QuestionState,
        *,
        confidence: float | None = None,
        gaps: Sequence[str] = (),
    ) -> Posted:
        """As `Board.set_progress`."""
        key = records.question_key(question)
        (posted,) = self.post([records.progress(key, status, confidence, gaps)])
        return posted

    def add_search(self, question: str, query: str, hits: int) -> Added:
        """As `Board.add_search`."""
        key = records.question_key(question)
        return self._drive(steps.add(records.search(key, query, hits)))

    def add_finding(
        self, question: str, finding: str, source: str, confidence: float, **about: Any
    ) -> Added:
        """As `Board.add_finding`."""
        running = steps.add_finding(self.id, question, finding, source, confidence, about)
        return self._drive(running)

    def add_contradiction(
        self, claim_a: str, claim_b: str, source_a: str, source_b: str, **about: Any
    ) -> Added:
        """As `Board.add_contradiction`."""
        request = records.contradiction(claim_a, claim_b, source_a, source_b, **about)
        return self._drive(steps.add(request))

    def decide_contradiction(
        self, key: str, status: records.Decision, *, reason: str = ""
    ) -> Posted:
        """As `Board.decide_contradiction`."""
        return self._drive(steps.decide_contradiction(self.id, key, status, reason))

    def add_synthesis(
        self,
        text: str,
        *,
        cites: Sequence[str],
        contradictions: Sequence[str] = (),
        threshold: float = 0.5,
    ) -> Added:
        """As `Board.add_synthesis`."""
        running = steps.add_synthesis(self.id, text, cites, contradictions, threshold)
        return self._drive(running)

    def promote(self, session: Session, finding: str, memory: UUID | str) -> bool:
        """As `Board.promote`."""
        return steps.promotion_of(session, self.id, finding, memory)

    def add_entity(self, entity: Mapping[str, Any]) -> dict[str, Any]:
        """As `Board.add_entity`."""
        return self._drive(steps.add_entity(self.id, entity))

    def add_relation(self, source: str, kind: str, target: str, **attributes: Any) -> Added:
        """As `Board.add_relation`."""
        return self._drive(steps.add(records.relation(source, kind, target, attributes)))

    def add_note(self, text: str, *, kind: str = "note") -> Added:
        """As `Board.add_note`."""
        return self._drive(steps.add(records.note(text, self.who.agent, kind)))

    def add_action(self, text: str, *, priority: int = 5, agent: str = "") -> Added:
        """As `Board.add_action`."""
        request = records.action(text, priority=priority, agent=agent)
        return self._drive(steps.add(request))

    def finish_action(self, key: str, *, result: str = "") -> Added:
        """As `Board.finish_action`."""
        return self._drive(steps.add(records.done(key, result)))

    def write_public(
        self,
        key: str,
        value: Any,
        *,
        ttl: float | None = None,
        strategy: Strategy | None = None,
        expected: int | None = None,
    ) -> list[Posted]:
        """As `Board.write_public`."""
        request = Request(
            level=PUBLIC, key=key, value=value, ttl=ttl, strategy=strategy, expected=expected
        )
        return self.post([request])

    def read_public(self, key: str, default: Any = MISSING) -> Any:
        """As `Board.read_public`."""
        return self._drive(steps.read_public(self.id, key, default))

    def review(self, key: str, item: str, *, accept: bool) -> list[Posted]:
        """As `Board.review`."""
        request = Request(level=PUBLIC, key=key, strategy="decide", item=item, accept=accept)
        return self.post([request])

    def write_private(self, key: str, value: Any, *, ttl: float | None = None) -> None:
        """As `Board.write_private`."""
        write = partial(private.write, board=self.id, who=self.who, key=key, value=value, ttl=ttl)
        self._step(Work(write))

    def read_private(self, key: str, *, agent: str | None = None) -> Any:
        """As `Board.read_private`."""
        return self._drive(steps.read_private(self.id, self.who, key, agent))

    def complete(self, reason: str = "") -> Added:
        """As `Board.complete`."""
        return self._drive(steps.add(records.complete(reason)))

    def _look(self, read: Any, *arguments: Any) -> Any:
        return self._step(Look(lambda session: read(session, self.id, *arguments)))

    def head(self) -> Head:
        """As `Board.head`."""
        found: Head = self._look(reading.head)
        return found

    def state(self, *levels: str) -> State:
        """As `Board.state`."""
        found: State = self._look(reading.live, levels or None)
        return found

    def replay(self, seq: int | None = None) -> State:
        """As `Board.replay`."""
        found: State = self._look(reading.replay, seq)
        return found

    def time_of(self, seq: int) -> datetime:
        """As `Board.time_of`."""
        found: datetime = self._look(reading.time_of, seq)
        return found

    def events(self, after: int = 0, limit: int = 500) -> list[Event]:
        """As `Board.events`."""
        found: list[Event] = self._look(reading.events, after, limit)
        return found

    def follow(self, after: int = 0, *, seconds: float | None = None) -> Iterator[Event]:
        """As `Board.follow`."""
        pause, since = FIRST_PAUSE, time.monotonic()
        while True:
            found, ended = self._drive(steps.following(self.id, after))
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
            time.sleep(pause)
            pause = min(MOST_PAUSE, pause * 1.5)

    def questions(self) -> list[Question]:
        """As `Board.questions`."""
        return views.questions(self.state())

    def contradictions(self) -> list[Contradicted]:
        """As `Board.contradictions`."""
        return views.contradictions(self.state())

    def next_actions(self) -> list[dict[str, Any]]:
        """As `Board.next_actions`."""
        return views.next_actions(self.state())

    def completion(self) -> dict[str, Any]:
        """As `Board.completion`."""
        return views.completion(self.state())

    def stats(self) -> dict[str, Any]:
        """As `Board.stats`."""
        found: dict[str, Any] = self._look(opening.stats)
        return found

    def boards(self, *, state: str | None = None) -> list[Head]:
        """As `Board.boards`."""
        found: list[Head] = self._step(
            Look(lambda session: opening.list_boards(session, state=state))
        )
        return found
