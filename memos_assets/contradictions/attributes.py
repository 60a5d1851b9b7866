"""Detector: another value of something of which a subject has one."""

import re
from typing import Final

from memos_assets.contradictions.alignment import Found, Pair, one_person, quoted
from memos_assets.contradictions.clause import Clause
from memos_assets.language.relations import common_kind, same

#: The value ends where another part of the sentence begins.
_VALUE_ENDS: Final = re.compile(
    r"[,;:()]|(?<!\w)(?:and|or|with|since|for|from|until|near|because|where|which|who|when|after|before"
    r"|by|to|on|at|in|as|during|every|und|oder|mit|seit|bis|für|weil|wo|in|im|bei|am|um|von|but|not)(?!\w)"
)


_THE: Final = frozenset({"the", "der", "die", "das"})
#: Kinds of places: one that is not known may be within one that is.
_PLACES: Final = frozenset({"country", "continent", "land"})


def attribute(pair: Pair) -> Found | None:
    """Both sentences give the value of one attribute of one subject, and the values differ."""
    one, other = pair.one, pair.other
    if one.negated or other.negated or not one_person(pair):
        return None
    for name, pattern in one.lists.predicates.items():
        here = pattern.search(one.lower, one.words)
        there = here and pattern.search(other.lower, other.words)
        if here and there:
            found = _compared(pair, name, (here.start(), here.end()), (there.start(), there.end()))
            if found:
                return found
    return _named(pair)


def _named(pair: Pair) -> Found | None:
    """Compare "the capital of X is A" with "the capital of X is B"."""
    one, other = pair.one, pair.other
    if one.copula < 1 or other.copula < 1 or one.scene or other.scene:
        return None
    ends = one.tokens[one.copula], other.tokens[other.copula]
    subject = [n for n in one.content if n < one.copula]
    if not subject:
        return None
    if found := _holder(pair, subject):
        return found
    known = any(one.tokens[n].word.stem in one.lists.attribute for n in subject)
    if not known and (not pair.dated or one.tokens[subject[-1]].word.stem in one.lists.roles):
        return None
    return _compared(pair, "attribute", (ends[0].start, ends[0].end), (ends[1].start, ends[1].end))


def _holder(pair: Pair, subject: list[int]) -> Found | None:
    """Compare "A is the head of X" with "B is the head of X"."""
    one, other = pair.one, pair.other
    theirs = [m for m in other.content if m < other.copula]
    names = all(one.tokens[n].name or n == 0 for n in subject) and all(
        other.tokens[m].name or m == 0 for m in theirs
    )
    if not names or pair.only_one != subject or pair.only_other != theirs or pair.shared < 2:
        return None
    if not all(_of_the_one(clause) for clause in (one, other)):
        return None
    if one.tokens[min(pair.matched)].word.stem not in one.lists.attribute:
        return None
    return Found(
        "exclusive attribute",
        0.8,
        tuple(subject),
        tuple(theirs),
        f"{quoted(one, subject)} and {quoted(other, theirs)} are each {quoted(one, pair.matched)}",
    )


def _of_the_one(clause: Clause) -> bool:
    """Whether "the" follows the verb: there is one of it."""
    after = clause.copula + 1
    return after < len(clause.tokens) and clause.tokens[after].word.text in _THE


def _compared(pair: Pair, name: str, here: tuple[int, int], there: tuple[int, int]) -> Found | None:
    one, other = pair.one, pair.other
    if not _one_subject(pair, here[0], there[0]):
        return None
    mine, theirs = _value(one, here[1]), _value(other, there[1])
    if not mine or not theirs:
        return None
    if name == "capital":
        return None
    words = [one.tokens[n].word for n in mine], [other.tokens[n].word for n in theirs]
    if any(same(a, b) for a in words[0] for b in words[1]):
        return None
    kinds = [{kind for word in side for kind in word.kinds} for side in words]
    alike = any(common_kind(a, b) for a in words[0] for b in words[1])
    # "Berlin" and "Germany" are of two kinds: both may be right.
    if kinds[0] and kinds[1] and not alike:
        return None
    if bool(kinds[0]) != bool(kinds[1]) and (kinds[0] | kinds[1]) & _PLACES:
        return None
    if name == "attribute" and not alike:
        names = all(
            clause.lists.lexicon.capitals and clause.tokens[place].name
            for clause, places in ((one, mine), (other, theirs))
            for place in places[:1]
        )
        if not names:
            return None
    score = 0.9 if alike else 0.75
    label = (
        name
        if name != "attribute"
        else quoted(one, [n for n in one.content if one.tokens[n].end <= here[0]])
    )
    return Found(
        "exclusive attribute",
        score,
        tuple(mine),
        tuple(theirs),
        f"{quoted(one, mine)} and {quoted(other, theirs)} are two values of one {label}",
    )


def _one_subject(pair: Pair, here: int, there: int) -> bool:
    """Whether what stands before the predicates is the same."""
    one, other = pair.one, pair.other
    mine = [n for n in one.content if one.tokens[n].end <= here]
    theirs = [n for n in other.content if other.tokens[n].end <= there]
    if any(n in pair.only_one for n in mine) or any(n in pair.only_other for n in theirs):
        return (
            pair.one_subject
            and not any(n in pair.only_one and not one.tokens[n].name for n in mine)
            and not any(n in pair.only_other and not other.tokens[n].name for n in theirs)
        )
    return bool(mine or theirs) or bool(one.person) or pair.one_subject


def _value(clause: Clause, start: int) -> list[int]:
    """Return the words of the value that begins at an offset."""
    ends = _VALUE_ENDS.search(clause.lower, start + 1)
    # A value may begin with an article or a preposition.
    while ends and not any(
        start <= token.start < ends.start() and place in clause.content
        for place, token in enumerate(clause.tokens)
    ):
        if ends.end() >= len(clause.lower):
            break
        ends = _VALUE_ENDS.search(clause.lower, ends.end())
    stop = ends.start() if ends else len(clause.lower)
    return [place for place in clause.content if start <= clause.tokens[place].start < stop][:5]
