"""A finding for a board, or for a new one that is opened with it."""

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy.orm import Session

from memos_assets.api.board_access import board_of, opened
from memos_assets.api.doors import Visit
from memos_assets.blackboard import records
from memos_assets.blackboard.steps import MEMORY, require_memory
from memos_assets.errors import AgentError


@dataclass(frozen=True, slots=True)
class Found:
    """A finding: its question by text or key, what was found, where, and how sure it is, 0 to 1."""

    question: str
    finding: str
    source: str
    confidence: float

    def check(self, session: Session) -> None:
        """Refuse what a new board would refuse, so that none is opened for nothing.

        Raises:
            AgentError: M923, M924; M925 a new board has no question of a key; M926.
        """
        records.finding(self.question, self.finding, self.source, self.confidence)
        if records.is_key(self.question):
            raise AgentError(
                "M925",
                "a new board has no question of this key",
                where="question",
                fix="name the board, or give the text of the question",
            )
        if self.source.startswith(MEMORY):
            require_memory(session, self.source.removeprefix(MEMORY))


async def add_to_board(
    visit: Visit, board: str | None, found: Found, space: str | None
) -> dict[str, Any]:
    """Add a finding to a board; None: to a new one, whose goal is the question.

    Raises:
        AgentError: as `board_of`, `opened` and `Board.add_finding`.
    """
    if board is None:
        board = str((await opened(visit, found.question, space, found.check)).id)
    used = await board_of(visit, board)
    added = await used.add_finding(found.question, found.finding, found.source, found.confidence)
    return {"board": board, **asdict(added)}
