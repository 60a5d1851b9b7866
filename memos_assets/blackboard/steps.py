"""What the calls of a board do, step by step, for both faces: reads, posts, and what follows.

A generator yields a step and gets its result. The faces drive it with sessions of their kind; each
step is a transaction of its own, and none is open between two of them.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.blackboard import posting, private, reading, records, views
from memos_assets.blackboard.posting import Conflict, Posted, Who
from memos_assets.blackboard.reading import Entry, Event, State
from memos_assets.blackboard.records import DECISIONS
from memos_assets.blackboard.requests import (
    CONTRADICTIONS,
    ENTITIES,
    FINDINGS,
    PROMOTIONS,
    PUBLIC,
    QUESTIONS,
    SEARCHES,
    Request,
    named,
)
from memos_assets.errors import AgentError
from memos_assets.postgres.schema.agent import memories
from memos_assets.postgres.schema.agent_board import board_outbox, boards

#: Sources that are memories begin with it.
MEMORY: Final = "memory:"
#: How often a merge is tried while others write the same key.
_TRIES: Final = 20
MISSING: Final = object()
#: Most events of one step of a follower.
_BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class Look:
    """Run a function of a session that acts for the user; nothing is committed."""

    run: Callable[[Session], Any]


@dataclass(frozen=True, slots=True)
class Work:
    """The same, and commit."""

    run: Callable[[Session], Any]


@dataclass(frozen=True, slots=True)
class Post:
    """Post requests; None: number what waits."""

    requests: Sequence[Request] | None


Result = TypeVar("Result")
Step = Look | Work | Post
Steps = Generator[Step, Any, Result]


@dataclass(frozen=True, slots=True)
class Added:
    """A record that was added, or was there.

    Attributes:
        key: of the record.
        added: whether an event was added.
        seq: of its event.
    """

    key: str
    added: bool
    seq: int


def add(request: Request) -> Steps[Added]:
    """Post one record."""
    (posted,) = yield Post([request])
    return Added(request.key, posted.added, posted.seq)


def add_finding(
    board: UUID,
    question: str,
    finding: str,
    source: str,
    confidence: float,
    about: Mapping[str, Any],
) -> Steps[Added]:
    """Add a finding, and its question if it is new; see `Board.add_finding`."""
    key = records.question_key(question)
    request = records.finding(key, finding, source, confidence, **about)
    value = request.value
    from_memory = value["source"].startswith(MEMORY)
    if records.is_key(question) or "search" in value or from_memory:
        yield Look(lambda session: _check_finding(session, board, question, value))
    asked = [] if records.is_key(question) else [records.question(question)]
    posted: list[Posted] = yield Post([*asked, request])
    return Added(request.key, posted[-1].added, posted[-1].seq)


def _check_finding(session: Session, board: UUID, question: str, value: Mapping[str, Any]) -> None:
    state = reading.live(session, board, [QUESTIONS, SEARCHES])
    if records.is_key(question):
        _require(state, board, QUESTIONS, [question])
    if "search" in value:
        _require(state, board, SEARCHES, [value["search"]])
    if value["source"].startswith(MEMORY):
        require_memory(session, value["source"].removeprefix(MEMORY))


def _require(state: State, board: UUID, level: str, keys: Sequence[str]) -> None:
    missing = set(keys) - state.values(level).keys()
    if missing:
        raise AgentError(
            "M925",
            f"{len(missing):,} of the keys are not in the level {level} of the board",
            where=f"board {board}",
            fix="use the keys that add_question, add_search, add_finding and add_contradiction "
            "return",
        )


def require_memory(session: Session, memory: str) -> None:
    """Refuse a memory that is not there, not visible, or known to be wrong.

    Raises:
        AgentError: M926.
    """
    try:
        named_memory = UUID(memory)
    except ValueError:
        named_memory = UUID(int=0)
    found = session.execute(
        sa.select(memories.c.number).where(
            memories.c.id == named_memory, memories.c.retracted_at.is_(None)
        )
    ).first()
    if found is None:
        raise AgentError(
            "M926",
            "the source has vanished: no such memory is visible, or it was retracted",
            where=f"memory {named_memory}",
            fix="search again, and cite what is there",
        )


def decide_contradiction(
    board: UUID, key: str, status: records.Decision, reason: str
) -> Steps[Posted]:
    """Decide on a contradiction."""

    def known(session: Session) -> int:
        state = reading.live(session, board, [CONTRADICTIONS, DECISIONS])
        for one in views.contradictions(state):
            if one.key == key:
                return one.version
        _require(state, board, CONTRADICTIONS, [key])
        return 0

    version = yield Look(known)
    (posted,) = yield Post([records.decision(key, status, reason, version)])
    return posted  # type: ignore[no-any-return]


def add_synthesis(
    board: UUID,
    text: str,
    cites: Sequence[str],
    contradictions: Sequence[str],
    threshold: float,
) -> Steps[Added]:
    """Add a synthesis that names every open contradiction; see `Board.add_synthesis`."""

    def check(session: Session) -> int:
        state = reading.live(session, board, [FINDINGS, CONTRADICTIONS, DECISIONS])
        _require(state, board, FINDINGS, cites)
        _require(state, board, CONTRADICTIONS, contradictions)
        left_out = [
            one
            for one in views.open_contradictions(state, threshold)
            if one.key not in contradictions
        ]
        if left_out:
            raise AgentError(
                "M931",
                f"the synthesis leaves out {len(left_out):,} open contradictions of score "
                f"{threshold:g} and more",
                where=f"board {board}",
                fix="name both sides of each in the text and its key in contradictions, or decide "
                "on it",
            )
        return state.seq

    known = yield Look(check)
    request = records.synthesis(text, cites, contradictions, threshold, known)
    (posted,) = yield Post([request])
    return Added(request.key, posted.added, posted.seq)


def promotion_of(session: Session, board: UUID, finding: str, memory: UUID | str) -> bool:
    """Note within the caller's transaction that a finding became a memory; once for each finding.

    Returns:
        Whether it was noted; False: it was promoted before.

    Raises:
        AgentError: M910, M911, M918; M925 there is no such finding; M926 there is no such memory;
            M930 a contradiction of it is open.
    """
    levels = [FINDINGS, CONTRADICTIONS, DECISIONS, PROMOTIONS]
    state = reading.live(session, board, levels)
    entry = state.get(FINDINGS, finding)
    if entry is None:
        _require(state, board, FINDINGS, [finding])
        return False
    if state.get(PROMOTIONS, finding) is not None:
        return False
    contradicting = views.contradicting(state, entry.value)
    if contradicting:
        raise AgentError(
            "M930",
            f"the finding is a side of {len(contradicting):,} open contradictions",
            where=f"board {board}",
            fix="decide on them first (decide_contradiction)",
        )
    require_memory(session, str(memory))
    posting.enqueue(session, board, [records.promotion(finding, str(memory), state.seq)])
    return True


def add_entity(board: UUID, entity: Mapping[str, Any]) -> Steps[dict[str, Any]]:
    """Merge an entity into the board: lists are united, and mentions counted."""
    key = named(entity.get("id"), "id of the entity")

    def known(session: Session) -> Entry | None:
        return reading.live(session, board, [ENTITIES]).get(ENTITIES, key)

    for _ in range(_TRIES):
        old: Entry | None = yield Look(known)
        merged = merged_entity(None if old is None else old.value, entity)
        expected = 0 if old is None else old.version
        request = Request(level=ENTITIES, key=key, value=merged, strategy="cas", expected=expected)
        try:
            yield Post([request])
        except Conflict:
            continue
        return merged
    raise Conflict(f"board {board}", expected, None)


def merged_entity(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entity with what is new: mappings are merged, lists united, mentions counted."""
    merged: dict[str, Any] = dict(old or {})
    for name, value in new.items():
        before = merged.get(name)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            merged[name] = {**before, **value}
        elif isinstance(before, list) and isinstance(value, list | tuple):
            merged[name] = [*before, *(one for one in value if one not in before)]
        elif name != "mentions":
            merged[name] = list(value) if isinstance(value, tuple) else value
    merged["mentions"] = (0 if old is None else old["mentions"]) + 1
    return merged


def public_entries(session: Session, board: UUID, key: str) -> list[Entry]:
    """Return what a public key holds: one entry; of a set, an entry for each value.

    Raises:
        AgentError: M910; M920 there is no such key; M921 it has expired.
    """
    state = reading.live(session, board, [PUBLIC], expired=True)
    now = session.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    found = [one for one in state.level(PUBLIC) if one.key == key]
    values = [
        one
        for one in found
        if (one.expires_at is None or one.expires_at > now)
        and (one.strategy == "union" or not one.item)
    ]
    if values:
        return values
    ended = [one.expires_at for one in found if one.expires_at is not None]
    if ended:
        raise private.expired(board, "public key", max(ended))
    raise AgentError(
        "M920",
        "no such public key",
        where=f"board {board}",
        fix="read with a default, or wait for its writer with follow",
    )


def read_public(board: UUID, key: str, default: Any) -> Steps[Any]:
    """Return the value of a public key: of a set, its values as a list."""

    def read(session: Session) -> Any:
        try:
            values = public_entries(session, board, key)
        except AgentError as error:
            if default is MISSING or error.code not in ("M920", "M921"):
                raise
            return default
        if values[0].strategy == "union":
            return [one.value for one in values]
        return values[0].value

    value = yield Look(read)
    return value


def read_private(board: UUID, who: Who, key: str, agent: str | None) -> Steps[Any]:
    """Return the value of a key of the agent."""
    if agent is not None and agent != who.agent:
        raise (yield Work(lambda session: private.refuse_other(session, board, who, key)))
    value = yield Look(lambda session: private.read(session, board, who, key))
    return value


def following(board: UUID, after: int) -> Steps[tuple[list[Event], bool]]:
    """Return further events, and whether the board takes no more; numbers what waits."""

    def read(session: Session) -> tuple[list[Event], bool, bool]:
        row = reading.head(session, board)
        found = reading.events(session, board, after, _BATCH) if row.seq > after else []
        waits = sa.exists().where(board_outbox.c.board == boards.c.number, boards.c.id == board)
        waiting = not found and bool(session.execute(sa.select(waits)).scalar_one())
        last = found[-1].seq if found else after
        return found, row.state != "open" and last >= row.seq, waiting

    found, ended, waiting = yield Look(read)
    if waiting:
        yield Post(None)
        found, ended, _ = yield Look(read)
    return found, ended
