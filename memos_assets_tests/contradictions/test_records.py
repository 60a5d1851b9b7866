"""Records name both statements, their status and who decided; a judge has the last word."""

import asyncio
from datetime import date

import pytest

from memos_assets.contradictions import (
    Contradiction,
    Statement,
    detect,
    find,
    find_async,
    records,
)
from memos_assets.errors import AgentError

STATEMENTS = [
    Statement("The tank holds 400 litres.", id="a", source="page:1"),
    Statement("The pump is green.", id="b", source="page:2"),
    Statement("The tank holds 600 litres.", id="c", source="page:3"),
]


class Answers:
    """A judge that answers what it is told to, or raises it."""

    name = "tester"

    def __init__(self, *, answer: object) -> None:
        self.answer, self.asked = answer, 0

    def __call__(self, *pair: object) -> bool:
        assert len(pair) == 3
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[return-value]


class Awaited(Answers):
    """The same, asynchronously."""

    async def __call__(  # type: ignore[override]
        self, *pair: object
    ) -> bool:
        await asyncio.sleep(0)
        return super().__call__(*pair)


def test_rules_leave_a_record_open() -> None:
    (record,) = find(STATEMENTS)
    assert (record.a.id, record.b.id) == ("a", "c")
    assert (record.status, record.decided_by, record.note) == ("open", "rules", "")
    assert (record.kind, record.score) == ("number", record.found.score)


@pytest.mark.parametrize(("answer", "status"), [(True, "open"), (False, "dismissed")])
@pytest.mark.parametrize("kind", [Answers, Awaited])
def test_a_judge_has_the_last_word(kind: type[Answers], answer: object, status: str) -> None:
    (record,) = asyncio.run(find_async(STATEMENTS, judge=kind(answer=answer)))
    assert (record.status, record.decided_by) == (status, "tester")
    if kind is Answers:
        assert find(STATEMENTS, judge=kind(answer=answer)) == [record]


@pytest.mark.parametrize("answer", [TimeoutError(), "yes", None, 1])
@pytest.mark.parametrize("kind", [Answers, Awaited])
def test_a_judge_that_fails_leaves_the_record_open(kind: type[Answers], answer: object) -> None:
    (record,) = asyncio.run(find_async(STATEMENTS, judge=kind(answer=answer)))
    assert (record.status, record.decided_by) == ("open", "rules")
    assert record.note.startswith("the judge tester failed: ")


def test_an_update_is_recorded_and_no_judge_is_asked() -> None:
    judge = Answers(answer=False)
    statements = [
        Statement("The rent is 900 euros.", valid_until=date(2026, 1, 1)),
        Statement("The rent is 980 euros.", valid_from=date(2026, 1, 1)),
    ]
    (record,) = find(statements, judge=judge)
    assert (record.status, record.found.is_update, judge.asked) == ("update", True, 0)
    assert [statement.text for statement in statements] == [record.a.text, record.b.text]


def test_below_the_threshold_nothing_is_recorded() -> None:
    assert find(STATEMENTS, threshold=1.0) == []
    with pytest.raises(AgentError, match="M904"):
        find(STATEMENTS, threshold=60)


def test_a_judge_that_cannot_be_used_is_refused_before_it_is_asked() -> None:
    with pytest.raises(AgentError, match="M903"):
        find(STATEMENTS, judge=lambda *_: True)  # type: ignore[arg-type]
    with pytest.raises(AgentError, match="M903 judge tester: it is asynchronous"):
        find(STATEMENTS, judge=Awaited(answer=True))


def test_statements_of_one_source_are_not_compared() -> None:
    assert find([Statement(one.text, source="page:1") for one in STATEMENTS]) == []


def test_no_pair_of_many_statements_is_compared_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[frozenset[str]] = []

    def counted(a: Statement, b: Statement) -> Contradiction | None:
        compared.append(frozenset((a.text, b.text)))
        return detect(a, b)

    monkeypatch.setattr(records, "detect", counted)
    many = [Statement(f"The tank {n} of the site holds 400 litres.") for n in range(80)]
    assert len(find([*many, *STATEMENTS])) >= 1
    assert len(compared) > len(many)
    assert len(compared) == len(set(compared))


def test_many_statements_are_compared_by_their_candidates() -> None:
    many = [Statement(f"Box b{n} has a lid of wood.") for n in range(200)]
    records = find([*many, *STATEMENTS])
    assert [(record.a.id, record.b.id) for record in records] == [("a", "c")]
