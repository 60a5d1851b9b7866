"""Both stages over many statements, and a judge with the last word: records of what was found."""

import inspect
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, Protocol

from memos_assets.contradictions.candidates import Compare, Vector, candidates
from memos_assets.contradictions.detection import detect
from memos_assets.contradictions.statement import Contradiction, Statement
from memos_assets.errors import AgentError

#: Below this a finding is not surfaced; every detector's certain cases are above it.
THRESHOLD: Final = 0.6
RULES: Final = "rules"
#: Up to so many statements every pair is compared.
_EVERY_PAIR: Final = 60
_CANDIDATES: Final = 20

Status = Literal["open", "dismissed", "update"]


class Judge(Protocol):
    """A second opinion, such as of an LLM, with the last word on what the rules found.

    It answers True if the statements contradict each other, False if they do not. A timeout is its
    own: it raises. Whatever it raises, and any other answer, leaves the record to the rules.
    """

    @property
    def name(self) -> str:
        """Return the name that records are signed with."""

    def __call__(
        self, a: Statement, b: Statement, found: Contradiction, /
    ) -> bool | Awaitable[bool]:
        """Return whether two statements contradict each other; what the rules found is shown."""


@dataclass(frozen=True, slots=True)
class Record:
    """A contradiction of two statements, to keep or to show.

    Attributes:
        a, b: both statements.
        found: what the rules found: kind, score, spans, reason.
        status: "open"; "dismissed" by a judge; "update": both are true, each in its time.
        decided_by: "rules", or the judge's name.
        note: why a judge was asked and did not decide; "" otherwise.
    """

    a: Statement
    b: Statement
    found: Contradiction
    status: Status
    decided_by: str = RULES
    note: str = ""

    @property
    def kind(self) -> str:
        """Return the kind of contradiction."""
        return self.found.kind

    @property
    def score(self) -> float:
        """Return how certain the rules are."""
        return self.found.score


def find(
    statements: Sequence[Statement],
    *,
    judge: Judge | None = None,
    threshold: float = THRESHOLD,
    vectors: Vector | None = None,
) -> list[Record]:
    """Find the contradictions among statements; nothing is changed or deleted.

    Args:
        statements: any number; up to 60 are compared pair by pair, more by their candidates.
        judge: has the last word on every open record; updates are not asked about.
        threshold: least score of a record, 0 to 1.
        vectors: of the statements, (statements, dimension), to find candidates by meaning.

    Returns:
        Records, the most certain first, the dismissed among them.

    Raises:
        AgentError: M903, a judge without a name, or an asynchronous one: call `find_async`; M904, a
            threshold that is not between 0 and 1.
    """
    _check(judge, threshold)
    if judge is not None and _asynchronous(judge):
        raise AgentError(
            "M903",
            "it is asynchronous, and nothing awaits it here",
            where=f"judge {judge.name}",
            fix="await find_async(...)",
        )
    records = []
    for record in _found(statements, threshold, vectors):
        if judge is not None and record.status == "open":
            record = _judged(record, judge)
        records.append(record)
    return records


async def find_async(
    statements: Sequence[Statement],
    *,
    judge: Judge | None = None,
    threshold: float = THRESHOLD,
    vectors: Vector | None = None,
) -> list[Record]:
    """As `find`, with a judge that is asynchronous or not; one record is judged after the other."""
    _check(judge, threshold)
    records = []
    for record in _found(statements, threshold, vectors):
        if judge is not None and record.status == "open":
            record = await _judged_async(record, judge)
        records.append(record)
    return records


def _check(judge: Judge | None, threshold: float) -> None:
    if not 0.0 <= threshold <= 1.0:
        raise AgentError(
            "M904",
            f"its threshold is {threshold}",
            where="a search for contradictions",
            fix="give a threshold between 0 and 1",
        )
    if judge is not None and not (callable(judge) and hasattr(judge, "name")):
        raise AgentError(
            "M903",
            "it has no name to sign records with, or cannot be called",
            where=f"judge {type(judge).__name__}",
            fix="give it an attribute `name`, and make it callable",
        )


def _asynchronous(judge: Judge) -> bool:
    call = getattr(judge, "__call__", judge)  # noqa: B004  an object's own method tells
    return inspect.iscoroutinefunction(judge) or inspect.iscoroutinefunction(call)


def _found(
    statements: Sequence[Statement], threshold: float, vectors: Vector | None
) -> list[Record]:
    records = []
    compare = _once()
    for n, m in _pairs(statements, vectors, compare):
        a, b = statements[n], statements[m]
        found = compare(a, b)
        if found is not None and found.score >= threshold:
            records.append(Record(a, b, found, "update" if found.is_update else "open"))
    records.sort(key=lambda record: -record.score)
    return records


def _once() -> Compare:
    """Return a `detect` that compares each pair of these objects once, in whichever order."""
    known: dict[tuple[int, int], Contradiction | None] = {}

    def compare(a: Statement, b: Statement) -> Contradiction | None:
        pair = id(a), id(b)
        if pair not in known:
            found = known[pair] = detect(a, b)
            known[id(b), id(a)] = found and found.turned()
        return known[pair]

    return compare


def _pairs(
    statements: Sequence[Statement], vectors: Vector | None, compare: Compare
) -> Iterator[tuple[int, int]]:
    """Yield pairs of places that are compared, each once, the earlier statement first."""
    if len(statements) <= _EVERY_PAIR:
        for m, later in enumerate(statements):
            for n in range(m):
                if later.source is None or later.source != statements[n].source:
                    yield n, m
        return
    seen = set()
    for m, statement in enumerate(statements):
        near = None if vectors is None else (vectors[m], vectors)
        for one in candidates(statement, statements, vectors=near, k=_CANDIDATES, compare=compare):
            pair = (min(one.place, m), max(one.place, m))
            if one.place != m and pair not in seen:
                seen.add(pair)
                yield pair


def _judged(record: Record, judge: Judge) -> Record:
    try:
        answer = judge(record.a, record.b, record.found)
    except Exception as error:  # noqa: BLE001 - whatever a judge raises, the record stays open
        return _failed(record, judge, type(error).__name__)
    if inspect.iscoroutine(answer):
        answer.close()
    return _decided(record, judge, answer)


async def _judged_async(record: Record, judge: Judge) -> Record:
    try:
        answer = judge(record.a, record.b, record.found)
        if inspect.isawaitable(answer):
            answer = await answer
    except Exception as error:  # noqa: BLE001 - whatever a judge raises, the record stays open
        return _failed(record, judge, type(error).__name__)
    return _decided(record, judge, answer)


def _decided(record: Record, judge: Judge, answer: object) -> Record:
    if answer is True:
        return replace(record, decided_by=judge.name)
    if answer is False:
        return replace(record, status="dismissed", decided_by=judge.name)
    return _failed(record, judge, f"it answered a {type(answer).__name__}")


def _failed(record: Record, judge: Judge, why: str) -> Record:
    return replace(record, note=f"the judge {judge.name} failed: {why}")
