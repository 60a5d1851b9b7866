"""Boards for the bearer of a token: reads in the session of the request, posts on their own.

A token sees the boards of its user's private space and of the spaces that it names. PostgreSQL's
policies show no other to a read; a post is a transaction of the board's own, so whether the token
shows the board is asked before it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar
from uuid import UUID

from sqlalchemy.orm import Session

from memos_assets.api.doors import Visit
from memos_assets.blackboard import Board, opening, reading, views
from memos_assets.blackboard.facade import known_id
from memos_assets.blackboard.posting import Who
from memos_assets.blackboard.reading import Entry, Event, Head, State
from memos_assets.blackboard.views import Contradicted

Result = TypeVar("Result")
#: Most entries and events of one answer.
MOST_ENTRIES: Final = 1_000


async def board_of(visit: Visit, board: str) -> Board:
    """Return a board that the token shows; no transaction is open afterwards.

    Raises:
        AgentError: M910 there is no such board.
    """
    number = known_id(board)
    acting = await visit.act()
    await visit.session.run_sync(reading.head, number)
    await visit.rest()
    bearer = visit.bearer
    return Board(
        visit.doors.sessions,
        number,
        user=bearer.user,
        agent=bearer.agent,
        spaces=acting.readable,
    )


async def read(visit: Visit, board: str, look: Callable[[Session, UUID], Result]) -> Result:
    """Return what a function reads of a board that the token shows.

    Raises:
        AgentError: M910; as the function.
    """
    number = known_id(board)
    await visit.act()
    found = await visit.session.run_sync(look, number)
    await visit.rest()
    return found


async def opened(
    visit: Visit,
    goal: str,
    space: str | None,
    check: Callable[[Session], None] | None = None,
    **budget: int,
) -> Head:
    """Open a board in the user's own space, or in one that the token names.

    Args:
        visit: of the bearer.
        goal: what is worked on.
        space: name of a shared space; None: the user's own.
        check: of its first post, in the same transaction; it raises.
        budget: ``max_events``, ``max_bytes``.

    Raises:
        AgentError: M702, M918 of the space; M923; as ``check``.
    """
    bearer = visit.bearer
    await visit.act(None if space is None else [space])

    def made(session: Session) -> Head:
        if check is not None:
            check(session)
        who = Who(bearer.user, bearer.agent)
        new = opening.open_board(session, who, goal, space=space, **budget)
        return reading.head(session, new)

    found = await visit.session.run_sync(made)
    await visit.session.commit()
    return found


async def listed(visit: Visit, state: str | None = None, limit: int = 100) -> list[dict[str, Any]]:
    """Return the boards that the token shows, the newest first, as JSON."""
    await visit.act()
    found = await visit.session.run_sync(opening.list_boards, state=state, limit=limit)
    await visit.rest()
    return [shown_board(one) for one in found]


def overview(session: Session, board: UUID) -> dict[str, Any]:
    """Return a board with how far it is and its contradictions, as JSON."""
    return _about(reading.head(session, board), reading.live(session, board))


def completion(session: Session, board: UUID) -> dict[str, Any]:
    """Return how far a board is, as JSON."""
    return views.completion(reading.live(session, board))


def whole(
    session: Session,
    board: UUID,
    levels: Sequence[str] | None = None,
    after: int = 0,
    limit: int = 100,
) -> dict[str, Any]:
    """Return the same with a page of the entries of some levels, or of all."""
    row, state = reading.head(session, board), reading.live(session, board)
    entries = tuple(one for one in state.entries if not levels or one.level in levels)
    page = shown_state(replace(state, entries=entries), after=after, limit=limit)
    return {**_about(row, state), **{name: page[name] for name in ("entries", "total", "has_more")}}


def _about(row: Head, state: State) -> dict[str, Any]:
    found = [shown_contradiction(one) for one in views.contradictions(state)]
    return {
        **shown_board(row),
        "completion": views.completion(state),
        "contradictions": found[-MOST_ENTRIES:],
    }


def shown_board(row: Head) -> dict[str, Any]:
    """Return the row of a board, as JSON."""
    return {
        "id": str(row.id),
        "goal": row.goal,
        "state": row.state,
        "seq": row.seq,
        "opened_by": {"user": row.user, "agent": row.agent},
        "opened_at": row.opened_at,
        "completed_at": row.completed_at,
        "archived_at": row.archived_at,
    }


def shown_entry(entry: Entry) -> dict[str, Any]:
    """Return an entry, as JSON."""
    return {
        "level": entry.level,
        "key": entry.key,
        "item": entry.item,
        "value": entry.value,
        "version": entry.version,
        "seq": entry.seq,
        "at": entry.at,
        "user": entry.user,
        "agent": entry.agent,
        "strategy": entry.strategy,
        "expires_at": entry.expires_at,
    }


def shown_event(event: Event) -> dict[str, Any]:
    """Return an event, as JSON."""
    return {**shown_entry(event.entry), "removed": event.removed}


def shown_state(state: State, *, after: int, limit: int, key: str | None = None) -> dict[str, Any]:
    """Return a page of a state, as JSON: entries that later events wrote, the oldest first."""
    found = [one for one in state.entries if one.seq > after and (key is None or one.key == key)]
    page = found[:limit]
    return {
        "seq": state.seq,
        "at": state.at,
        "entries": [shown_entry(one) for one in page],
        "total": len(found),
        "has_more": len(found) > limit,
    }


def shown_contradiction(one: Contradicted) -> dict[str, Any]:
    """Return a contradiction with what was decided, as JSON."""
    decided = None
    if one.decided_by is not None:
        decided = {"user": one.decided_by[0], "agent": one.decided_by[1]}
    return {
        "key": one.key,
        "a": one.value["a"],
        "b": one.value["b"],
        "kind": one.value["kind"],
        "score": one.score,
        "status": one.status,
        "decided_by": decided,
        "reason": one.reason,
        "seq": one.seq,
    }
