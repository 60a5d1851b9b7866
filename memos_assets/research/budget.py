"""What a run may take: seconds, and tokens of its answer."""

import time
from dataclasses import dataclass
from typing import Final

from memos_assets.errors import AgentError

FEWEST_TOKENS: Final = 32
MOST_TOKENS: Final = 8_000
#: A generator reads so many times the tokens that it may write.
READ_PER_WRITTEN: Final = 8


@dataclass(frozen=True, slots=True)
class Budget:
    """The budget of a run.

    Attributes:
        seconds: after which no further table is searched and no model is waited for; what was found
            until then is answered, and not cached.
        tokens: of the answer, estimated; a generator reads `READ_PER_WRITTEN` times as many.
    """

    seconds: float = 30.0
    tokens: int = 400

    def checked(self) -> "Budget":
        """Return the budget if a run can keep it.

        Raises:
            AgentError: M992.
        """
        seconds, tokens = self.seconds, self.tokens
        numbers = isinstance(seconds, int | float) and isinstance(tokens, int)
        if numbers and 0 < seconds < float("inf") and FEWEST_TOKENS <= tokens <= MOST_TOKENS:
            return self
        raise AgentError(
            "M992",
            f"the budget is {seconds!r} seconds and {tokens!r} tokens",
            where="research",
            fix=f"give more than 0 seconds, and {FEWEST_TOKENS} to {MOST_TOKENS:,} tokens",
        )


class Deadline:
    """The end of a budget of seconds."""

    def __init__(self, seconds: float) -> None:
        """Begin now."""
        self._ends = time.monotonic() + seconds
        self.passed_by: set[str] = set()

    @property
    def left(self) -> float:
        """Seconds that are left, 0 at least."""
        return max(0.0, self._ends - time.monotonic())

    def ended(self, step: str) -> bool:
        """Whether a step is left out for want of time; it is noted."""
        if self.left > 0:
            return False
        self.passed_by.add(step)
        return True
