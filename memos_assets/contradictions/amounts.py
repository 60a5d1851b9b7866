"""Detectors: another number, date, time or version of the same."""

from dataclasses import dataclass
from typing import Final

from memos_assets.contradictions.alignment import Found, Pair, one_person, quoted
from memos_assets.contradictions.clause import Clause
from memos_assets.contradictions.values import (
    CLOCK,
    DATE,
    EVERY_WEEK,
    NUMBER,
    VERSION,
    WEEKDAY,
    Value,
)

#: More values of one unit than this are a list, and which of them is meant is not known.
_MOST_VALUES: Final = 3
_RANK: Final = "rank"
_WHEN: Final = frozenset({DATE, CLOCK, WEEKDAY})
#: Words from a noun to its value, at most.
_NEAR: Final = 4


def amounts(pair: Pair) -> Found | None:
    """Both sentences say how much, when or which version, of the same, and differ."""
    one, other = pair.one, pair.other
    if not one.values or not other.values or one.negated != other.negated:
        return None
    if not pair.matched or not (one_person(pair) or _one_person_told(pair)):
        return None
    if _labelled_apart(pair):
        return None
    best: Found | None = None
    for mine in one.values:
        for theirs in other.values:
            if not mine.conflicts(theirs) or _also_there(mine, theirs, pair):
                continue
            score = _certain(pair, mine, theirs)
            if score and (best is None or score > best.score):
                places = _place(one, mine), _place(other, theirs)
                kind = "number" if mine.kind in (NUMBER, VERSION) else "date"
                best = Found(
                    kind,
                    score,
                    (places[0],),
                    (places[1],),
                    f"'{mine.shown}' and '{theirs.shown}' are said of "
                    f"{quoted(one, sorted(pair.matched))}",
                )
    return best


def _one_person_told(pair: Pair) -> bool:
    """Whether one sentence has "my", or no pronoun at all, and names the same attribute."""
    people = {pair.one.person, pair.other.person}
    return people <= {"i", "we", ""} or people <= {"it", ""}


def _labelled_apart(pair: Pair) -> bool:
    """Whether numbers tell two things apart: "vessel 7" and "vessel 8"."""
    mine, theirs = _labels(pair.one), _labels(pair.other)
    return any(
        stem in theirs and not any(not v.conflicts(w) for v in values for w in theirs[stem])
        for stem, values in mine.items()
    )


def _labels(clause: Clause) -> dict[str, list[Value]]:
    """Return word -> numbers that follow it directly, before the verb or not at the end."""
    found: dict[str, list[Value]] = {}
    for place in range(1, len(clause.tokens)):
        token, before = clause.tokens[place], clause.tokens[place - 1]
        if token.value < 0 or place - 1 not in clause.content or token.start - before.end != 1:
            continue
        value = clause.values[token.value]
        # "run three times" has no label: a pronoun is its subject.
        subject = place < clause.verb if clause.verb >= 0 else place <= 2 and not clause.person
        if value.kind == NUMBER and not value.unit and subject:
            found.setdefault(before.word.stem, []).append(value)
    return found


def _place(clause: Clause, value: Value) -> int:
    number = clause.values.index(value)
    return next(n for n, token in enumerate(clause.tokens) if token.value == number)


def _also_there(mine: Value, theirs: Value, pair: Pair) -> bool:
    """Whether a value of the pair is in the other sentence too, or is one of a list."""
    ours = [v for v in pair.one.values if v.kind == mine.kind and v.unit == mine.unit]
    others = [v for v in pair.other.values if v.kind == mine.kind and v.unit == mine.unit]
    if max(len(ours), len(others)) > _MOST_VALUES:
        return True
    return any(not mine.conflicts(v) for v in others) or any(not theirs.conflicts(v) for v in ours)


@dataclass(frozen=True, slots=True)
class _Frame:
    """What the sentences of two values have in common.

    Attributes:
        pair: the sentences.
        value: one of the values; both are of one kind and unit.
        here, there: places of the values.
        attribute: a common word names something of which there is one value.
        often: both values are a day of each week.
        followed: one of two times says what the subject is, and the other, too.
        again: they are of an act that happens again.
        covered, larger: share of the shorter and of the longer sentence that is common.
    """

    pair: Pair
    value: Value
    here: int
    there: int
    attribute: bool
    often: bool
    followed: bool
    again: bool
    covered: float
    larger: float

    @property
    def changes(self) -> bool:
        """Return whether one of them says that something changed."""
        return self.pair.one.changes or self.pair.other.changes

    @property
    def scene(self) -> bool:
        """Return whether one of them describes a picture."""
        return self.pair.one.scene or self.pair.other.scene


def _certain(pair: Pair, mine: Value, theirs: Value) -> float:
    """Return how certain it is that two values are of one attribute, 0 if it is not."""
    one, other = pair.one, pair.other
    equal = not pair.only_one and not pair.only_other
    sizes = len(one.content), len(other.content)
    frame = _Frame(
        pair,
        mine,
        _place(one, mine),
        _place(other, theirs),
        attribute=_attribute(pair),
        often=mine.unit == theirs.unit == EVERY_WEEK,
        followed=pair.dated and equal and one.copula >= 0 and other.copula >= 0,
        again=_again(pair),
        covered=pair.shared / max(min(sizes), 1),
        larger=pair.shared / max(*sizes, 1),
    )
    if not _comparable(frame):
        return 0.0
    return _in_equal_frames(frame) if equal else _in_like_frames(frame)


def _comparable(frame: _Frame) -> bool:
    """Whether two values may be of one thing at all."""
    if frame.value.kind == NUMBER:
        return _counted_alike(frame.pair, frame.here, frame.there) and not (
            _other_times(frame.pair) or _other_ranks(frame.pair, frame.value)
        )
    if _numbers_differ(frame.pair):
        return False
    if frame.value.kind in _WHEN:
        return frame.attribute or frame.often or frame.followed or _once(frame.pair)
    return True


def _in_equal_frames(frame: _Frame) -> float:
    """Return how certain it is where nothing differs but the values."""
    steady = frame.scene or frame.attribute or frame.changes or not frame.again
    if frame.pair.shared >= 2:
        return 0.95 if steady or frame.value.kind != NUMBER else 0.0
    if frame.attribute or frame.followed or (frame.changes and frame.value.unit):
        return 0.9
    if frame.here + 1 in frame.pair.matched and not frame.scene and not frame.again:
        return 0.85
    return _updated(frame)


def _updated(frame: _Frame) -> float:
    """Return how certain it is of statements of two times: little depends on it."""
    enough = frame.pair.shared >= 2 or (
        frame.covered == 1.0 and (frame.attribute or bool(frame.value.unit))
    )
    certain = frame.pair.dated and enough and not frame.again and frame.covered >= 0.6
    return 0.7 if certain and not frame.scene else 0.0


def _in_like_frames(frame: _Frame) -> float:
    """Return how certain it is where other words differ, too."""
    pair, covered, shared = frame.pair, frame.covered, frame.pair.shared
    if frame.scene:
        return 0.0
    if updated := _updated(frame):
        return updated
    if _subject_differs(pair):
        return 0.0
    if frame.attribute and covered >= 0.75 and frame.larger >= 0.4 and shared >= 2:
        return 0.8
    if covered == 1.0 and _of_one_attribute(frame):
        return 0.65
    if frame.changes and shared >= 2 and covered >= 0.5 and _named(frame):
        return 0.7
    if frame.value.kind == VERSION and covered >= 0.6:
        return 0.7
    if frame.here + 1 in pair.matched and covered == 1.0 and shared >= 2 and frame.larger >= 0.6:
        return 0.0 if frame.again else 0.65
    if shared >= 3 and covered >= 0.75 and frame.larger >= 0.5 and not frame.again:
        return 0.65
    return 0.0


def _named(frame: _Frame) -> bool:
    """Whether a value says more than a bare number of nothing."""
    if frame.attribute or frame.value.unit or frame.value.kind != NUMBER:
        return True
    return bool(_counted(frame.pair.one, frame.here))


def _of_one_attribute(frame: _Frame) -> bool:
    if frame.often and frame.pair.shared >= 2:
        return True
    if not frame.attribute:
        return False
    beside = frame.value.unit and _beside(frame.pair, frame.here, frame.there)
    return frame.larger >= 0.5 or bool(beside)


def _counted(clause: Clause, place: int) -> str:
    """Return the stem of what a number counts: the word after it."""
    for following in range(place + 1, min(place + 4, len(clause.tokens))):
        token = clause.tokens[following]
        if token.value >= 0 or not token.word.content:
            return ""
        if following + 1 not in clause.content or clause.tokens[following].light is False:
            return token.word.stem
    return ""


def _counted_alike(pair: Pair, here: int, there: int) -> bool:
    """Whether two numbers count the same: the words after them match, or neither has one."""
    after, behind = here + 1, there + 1
    one = (
        after in pair.one.content and pair.one.tokens[after].start - pair.one.tokens[here].end <= 2
    )
    two = (
        behind in pair.other.content
        and pair.other.tokens[behind].start - pair.other.tokens[there].end <= 2
    )
    if one and two:
        if pair.matched.get(after) == behind:
            return True
        # "two big dogs" and "three dogs" count dogs.
        return (
            pair.matched.get(after) in (behind, behind + 1) or pair.matched.get(after + 1) == behind
        )
    if one != two:
        return bool(_unit(pair.one, here)) and bool(_unit(pair.other, there))
    return True


def _unit(clause: Clause, place: int) -> str:
    return clause.values[clause.tokens[place].value].unit


def _other_ranks(pair: Pair, value: Value) -> bool:
    """Whether a rank differs and another number, too: they are of the first and of the second."""
    ranked = value.unit == _RANK or any(v.unit == _RANK for v in pair.one.values)
    return ranked and any(
        mine.kind == NUMBER
        and (mine.unit == _RANK) != (value.unit == _RANK)
        and mine.conflicts(theirs)
        for mine in pair.one.values
        for theirs in pair.other.values
    )


def _numbers_differ(pair: Pair) -> bool:
    """Whether a number differs too: then the dates say when each of them was right."""
    return any(
        mine.kind == NUMBER and mine.conflicts(theirs)
        for mine in pair.one.values
        for theirs in pair.other.values
    )


def _other_times(pair: Pair) -> bool:
    """Whether the sentences speak of two times, so that both numbers may be right."""
    ours = [v for v in pair.one.values if v.kind in (DATE, WEEKDAY)]
    others = [v for v in pair.other.values if v.kind in (DATE, WEEKDAY)]
    return bool(ours and others) and all(a.conflicts(b) for a in ours for b in others)


def _attribute(pair: Pair) -> bool:
    """Whether the sentences share a word for something of which there is one value."""
    names = pair.one.lists.attribute
    return any(pair.one.tokens[n].word.stem in names for n in pair.matched)


def _beside(pair: Pair, here: int, there: int) -> bool:
    """Whether the word for what has one value is near the value in both, and nobody else's."""
    names = pair.one.lists.attribute
    for n, m in pair.matched.items():
        if pair.one.tokens[n].word.stem not in names:
            continue
        if 0 < here - n <= _NEAR and 0 < there - m <= _NEAR:
            return (n - 1) not in pair.only_one and (m - 1) not in pair.only_other
    return False


def _once(pair: Pair) -> bool:
    """Whether the sentences share a word for what happens once."""
    names = pair.one.lists.once
    return any(
        pair.one.tokens[n].word.stem in names or pair.other.tokens[m].word.stem in names
        for n, m in pair.matched.items()
    )


def _again(pair: Pair) -> bool:
    """Whether the sentences are of an act that happens again: "I ran 5 km"."""
    one, other = pair.one, pair.other
    if one.lists.habit.search(one.lower, one.words) or other.lists.habit.search(
        other.lower, other.words
    ):
        return False
    if one.person not in ("i", "we", "he", "she", "they"):
        return False
    return any(
        clause.tokens[n].word.stem in one.lists.several and n in matched
        for clause, matched in ((one, pair.matched), (other, pair.matched.values()))
        for n in clause.content[:1]
    )


def _subject_differs(pair: Pair) -> bool:
    """Whether a name, or the word before the verb, is in one sentence alone."""
    for clause, only, other_only in (
        (pair.one, pair.only_one, pair.only_other),
        (pair.other, pair.only_other, pair.only_one),
    ):
        verb = clause.verb if clause.verb > 0 else 0
        if other_only and any(clause.tokens[n].name or n < verb for n in only):
            return True
    return False
