"""Whether two statements contradict each other: the detectors, and first the times."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from memos_assets.contradictions.alignment import Found, Pair, align, span_of
from memos_assets.contradictions.amounts import amounts
from memos_assets.contradictions.attributes import attribute
from memos_assets.contradictions.clause import Clause, clauses, merged
from memos_assets.contradictions.lists import lists, words_in
from memos_assets.contradictions.polarity import negation, never
from memos_assets.contradictions.statement import Contradiction, Span, Statement
from memos_assets.contradictions.swaps import order, swap
from memos_assets.contradictions.values import DATE

#: In the order in which they are asked; the most certain finding wins, the earlier of equals.
DETECTORS: Final[tuple[Callable[[Pair], Found | None], ...]] = (
    *(negation, never, order, amounts, attribute, swap),
)
#: What is spread over sentences is less certain: such a finding counts this share of its score,
#: and is one from this score on.
_SPREAD: Final = 0.8
_LEAST: Final = 0.6
#: Words of a value that stands alone; what is longer is a sentence.
_LONGEST_VALUE: Final = 4
#: Kinds that say something about all times until they are said.
_OF_ALL_TIMES: Final = frozenset({"never"})


def detect(a: Statement, b: Statement) -> Contradiction | None:
    """Say whether two statements contradict each other, by rules, and by which words.

    The result is a function of the two statements: no clock, no model, no connection. Sentences
    that their author does not stand for (code, quotations, questions, plans, hypotheses) are left
    out, and so are languages other than English and German.

    Args:
        a: a statement.
        b: another one; ``detect(b, a)`` is the same with the spans exchanged.

    Returns:
        The most certain contradiction of any two of their sentences; one with ``is_update`` and the
        kind "update" if both are true, each in its time; None if there is none.
    """
    if a.text == b.text and a.subject == b.subject:
        return None
    if a.subject and b.subject and folded(a.subject) != folded(b.subject):
        return None
    # One order, so that the result does not depend on the caller's.
    if (b.text, str(b.valid_from)) < (a.text, str(a.valid_from)):
        found = _detect(b, a)
        return found and found.turned()
    return _detect(a, b)


def _detect(a: Statement, b: Statement) -> Contradiction | None:
    one_subject = bool(a.subject and b.subject)
    dated = _disjoint(a, b) or _follows(a, b)
    mine, theirs = clauses(a.text, a.language), clauses(b.text, b.language)
    best: tuple[Found, Clause, Clause] | None = None
    for one in mine:
        if not one.content and not one.values:
            continue
        for other in theirs:
            found = _compare(one, other, one_subject=one_subject, dated=dated)
            if found and (best is None or found.score > best[0].score):
                best = found, one, other
    best = best or _never_of_all(a, b, mine, theirs, one_subject=one_subject)
    if best is None:
        return _same_attribute(a, b)
    found, one, other = best
    update = _in_its_time(a, b, found, one, other)
    return Contradiction(
        kind="update" if update else found.kind,
        score=found.score,
        span_a=span_of(one, found.mine),
        span_b=span_of(other, found.theirs),
        reason=f"{found.reason}; {update}" if update else found.reason,
        is_update=bool(update),
    )


def _never_of_all(
    a: Statement,
    b: Statement,
    mine: Sequence[Clause],
    theirs: Sequence[Clause],
    *,
    one_subject: bool,
) -> tuple[Found, Clause, Clause] | None:
    """Compare a "never" with all that the other statement asserts."""
    for said, other in ((mine, b), (theirs, a)):
        for clause in said:
            whole = merged(other.text, other.language) if clause.never >= 0 else None
            if whole is None or whole.lists is not clause.lists:
                continue
            found = never(align(clause, whole, one_subject=one_subject, dated=False))
            if found is not None and found.score * _SPREAD >= _LEAST:
                found = found._replace(score=found.score * _SPREAD)
                if said is mine:
                    return found, clause, whole
                return found.turned(), whole, clause
    return None


def _compare(one: Clause, other: Clause, *, one_subject: bool, dated: bool) -> Found | None:
    if one.lists is not other.lists or one.lower == other.lower:
        return None
    if one.stems.isdisjoint(other.stems) and not _may_match(one, other):
        return None
    if (one.words ^ other.words) & one.lists.another and not _of_any(one, other):
        return None
    pair = align(one, other, one_subject=one_subject, dated=dated)
    best: Found | None = None
    for detector in DETECTORS:
        found = detector(pair)
        if found and (best is None or found.score > best.score):
            best = found
    return best


def _of_any(one: Clause, other: Clause) -> bool:
    """Whether "another" tells no two things apart: in a picture, and beside a "never"."""
    return one.scene or other.scene or one.never >= 0 or other.never >= 0


def _may_match(one: Clause, other: Clause) -> bool:
    """Whether sentences without a common word may say the same, or be of one predicate."""
    return len(one.content) <= 3 and len(other.content) <= 3


def folded(name: str) -> str:
    """Return a name as names are compared."""
    return " ".join(name.casefold().split())


def _same_attribute(a: Statement, b: Statement) -> Contradiction | None:
    """Compare two bare values of one attribute of one subject: "Berlin" and "Graz"."""
    if not (a.subject and b.subject and a.attribute and b.attribute):
        return None
    if folded(a.attribute) != folded(b.attribute) or folded(a.text) == folded(b.text):
        return None
    language = a.language or b.language or "en"
    words = lists(language)
    name = words.lexicon.word(folded(a.attribute))
    if not (
        {name.stem, *(words.lexicon.stem(part) for part in name.text.split())} & words.attribute
    ):
        return None
    if max(len(a.text.split()), len(b.text.split())) > _LONGEST_VALUE:
        return None
    # A part of the other value, such as "Berlin" of "Berlin, Germany", does not exclude it.
    mine, theirs = (frozenset(words_in(folded(text))) for text in (a.text, b.text))
    if mine <= theirs or theirs <= mine:
        return None
    reason = f"'{a.text.strip()}' and '{b.text.strip()}' are two values of one {a.attribute}"
    update = _disjoint(a, b) or _follows(a, b)
    return Contradiction(
        kind="update" if update else "exclusive attribute",
        score=0.8,
        span_a=Span(0, len(a.text)),
        span_b=Span(0, len(b.text)),
        reason=f"{reason}; the later one follows the earlier one" if update else reason,
        is_update=update,
    )


def _in_its_time(a: Statement, b: Statement, found: Found, one: Clause, other: Clause) -> str:
    """Return why both statements are true, each in its time; "" if they are not."""
    if _disjoint(a, b):
        return "their times do not overlap"
    if found.kind in _OF_ALL_TIMES:
        said, other_said = (a, b) if one.never >= 0 else (b, a)
        if _before(said.valid_from, other_said.valid_from):
            return "it happened after that was said"
        return ""
    if _follows(a, b):
        return "the later one follows the earlier one"
    if one.changes or other.changes:
        return "one of them says that it changed"
    if found.kind != "date" and _of_two_times(one, other):
        return "they are about two times"
    return ""


def _of_two_times(one: Clause, other: Clause) -> bool:
    """Whether both sentences have dates, and no two of them agree."""
    mine = [value for value in one.values if value.kind == DATE]
    theirs = [value for value in other.values if value.kind == DATE]
    return bool(mine and theirs) and all(a.conflicts(b) for a in mine for b in theirs)


def _disjoint(a: Statement, b: Statement) -> bool:
    """Whether one statement ended before the other one began."""
    return _ended(a.valid_until, b.valid_from) or _ended(b.valid_until, a.valid_from)


def _ended(until: object, start: object) -> bool:
    return isinstance(until, datetime) and isinstance(start, datetime) and until <= start


def _before(one: object, other: object) -> bool:
    return isinstance(one, datetime) and isinstance(other, datetime) and one < other


def _follows(a: Statement, b: Statement) -> bool:
    """Whether both have a start, and the earlier one no end: it ends where the later one starts."""
    if _before(a.valid_from, b.valid_from):
        return a.valid_until is None
    return _before(b.valid_from, a.valid_from) and b.valid_until is None
