"""An answer: its sentences with what they cite, open contradictions, and what was remembered."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Source:
    """A source that an answer cites.

    Attributes:
        number: by which sentences cite it, from 1.
        source: table and key of a row, or ``memory:UUID``.
        title: of the source.
        text: of the finding.
        confidence: 0 to 1.
        finding: its key on the board.
        also: other sources that say the same.
    """

    number: int
    source: str
    title: str
    text: str
    confidence: float
    finding: str
    also: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence, and the numbers of the sources that it is from."""

    text: str
    cites: list[int]


@dataclass(frozen=True, slots=True)
class Opposed:
    """An open contradiction with both sides.

    Attributes:
        a: what one source says; source_a: its number.
        b: what the other one says; source_b: its number.
        kind: by what they contradict, such as ``number``.
        score: 0 to 1, how sure it is.
        key: of its record on the board.
    """

    a: str
    source_a: int
    b: str
    source_b: int
    kind: str
    score: float
    key: str


@dataclass(frozen=True, slots=True)
class Remembered:
    """A finding that became a memory: its id, its text, the source that it is from."""

    memory: str
    text: str
    source: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a question is answered.

    Attributes:
        question: in the user's words.
        text: the sentences with their citations, and the open contradictions.
        sentences: of the text, none without a citation.
        sources: that are cited.
        contradictions: that are open, each named in the text with both sides.
        remembered: findings that this run promoted to memories.
        confidence: of the best source that is cited, less where contradictions are open; 0 to 1.
        quality: signal of the run, as `memory.hooks.get_quality_signal` returns.
        written_by: ``extractive``, or the name of a generator.
        notes: what was left out, and why, in sentences.
        board: id of the board of the run.
        phases: name -> seconds.
        memories: ids of the memories on which it rests; the cached answer ends with each of them.
        recomputed: why an earlier answer to the question was not served; "" without one.
        complete: false: the budget or a generator ended before the work did; it is not cached.
        origin: ``computed``, or of the cache: ``exact``, ``semantic``, ``stale``.
        matched: the question that it was computed for, where that is another one.
        age: seconds since it was cached.
    """

    question: str
    text: str
    sentences: list[Sentence]
    sources: list[Source]
    contradictions: list[Opposed]
    remembered: list[Remembered]
    confidence: float
    quality: Mapping[str, Any]
    written_by: str
    notes: list[str]
    board: str
    phases: Mapping[str, float]
    memories: list[str]
    recomputed: str = ""
    complete: bool = True
    origin: str = "computed"
    matched: str | None = None
    age: float = 0.0

    @property
    def found(self) -> bool:
        """Whether anything was found."""
        return bool(self.sources)

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any], **changed: Any) -> "Answer":
        """Return an answer as `as_json` gave it, with other values of some fields."""
        known = {one.name for one in fields(cls)}
        given = {name: one for name, one in {**value, **changed}.items() if name in known}
        for name, kind in (
            ("sentences", Sentence),
            ("sources", Source),
            ("contradictions", Opposed),
            ("remembered", Remembered),
        ):
            given[name] = [one if isinstance(one, kind) else kind(**one) for one in given[name]]
        return cls(**given)
