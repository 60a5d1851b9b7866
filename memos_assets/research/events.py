"""Events of a run, as `Research` yields them; each is JSON by `as_json`."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from memos_assets.research.answer import Answer


class _AsJson:
    """What all events have."""

    name: ClassVar[str]

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON has it, with its name as ``event``."""
        return {"event": self.name, **asdict(self)}  # type: ignore[call-overload]


PhaseName = Literal["cache", "search", "findings", "contradictions", "synthesis", "memory"]


@dataclass(frozen=True)
class PhaseStarted(_AsJson):
    """A phase begins."""

    name: ClassVar[str] = "phase_started"
    phase: PhaseName


@dataclass(frozen=True)
class PhaseFinished(_AsJson):
    """A phase ended.

    Attributes:
        phase: its name.
        seconds: that it took; of a phase of a killed run, that it took then.
        count: of what it found; of the cache, answers.
        resumed: the board had it, so it was not done again.
    """

    name: ClassVar[str] = "phase_finished"
    phase: PhaseName
    seconds: float
    count: int = 0
    resumed: bool = False


@dataclass(frozen=True)
class FindingRecorded(_AsJson):
    """A finding is on the board; ``added`` is false where it was there."""

    name: ClassVar[str] = "finding"
    key: str
    text: str
    source: str
    confidence: float
    added: bool


@dataclass(frozen=True)
class ContradictionRecorded(_AsJson):
    """A contradiction is on the board, with both sides and where they are from."""

    name: ClassVar[str] = "contradiction"
    key: str
    a: str
    source_a: str
    b: str
    source_b: str
    kind: str
    score: float


@dataclass(frozen=True)
class SentenceWritten(_AsJson):
    """A sentence of the answer, with the numbers of the sources that it cites."""

    name: ClassVar[str] = "sentence"
    text: str
    cites: list[int]


@dataclass(frozen=True)
class Noted(_AsJson):
    """What was left out, and why."""

    name: ClassVar[str] = "note"
    text: str


@dataclass(frozen=True)
class Answered(_AsJson):
    """The answer; nothing comes after it."""

    name: ClassVar[str] = "answer"
    answer: Answer


Event = (
    PhaseStarted
    | PhaseFinished
    | FindingRecorded
    | ContradictionRecorded
    | SentenceWritten
    | Noted
    | Answered
)
