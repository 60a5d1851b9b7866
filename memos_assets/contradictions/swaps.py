"""Detectors: one word stands where its opposite, or another thing of its kind, stands; an order."""

from typing import Final

from memos_assets.contradictions.alignment import Found, Pair, one_person, quoted
from memos_assets.contradictions.clause import Clause, Token
from memos_assets.language.lexicon import Word
from memos_assets.language.relations import common_kind, opposite, prefixed, same

#: Words of a replaced run, on each side.
_LONGEST_RUN: Final = 4
_WITH: Final = frozenset({"with", "without", "mit", "ohne"})


def swap(pair: Pair) -> Found | None:
    """Two sentences are the same but for one run of words, and the runs exclude each other."""
    one, other = pair.one, pair.other
    if one.negated != other.negated or len(pair.only_one) > 3 or len(pair.only_other) > 3:
        return None
    mine, theirs = _runs(one.tokens, other.tokens, one, other)
    if mine and theirs and len(mine) <= _LONGEST_RUN and len(theirs) <= _LONGEST_RUN:
        return _exclusive(pair, mine, theirs)
    few = 1 <= len(pair.only_one) <= 2 and 1 <= len(pair.only_other) <= 2
    framed = pair.shared >= 2 or (pair.shared and one.copula >= 0 and other.copula >= 0)
    if few and framed and one_person(pair):
        return _exclusive(pair, pair.only_one, pair.only_other)
    return None


def _runs(
    mine: list[Token], theirs: list[Token], one: Clause, other: Clause
) -> tuple[list[int], list[int]]:
    """Return what is left of two sentences without their common beginning and end."""
    start, size = 0, min(len(mine), len(theirs))
    while start < size and _equal(mine[start], theirs[start], one, other):
        start += 1
    end = 0
    while end < size - start and _equal(mine[-1 - end], theirs[-1 - end], one, other):
        end += 1
    if not start and not end:
        return [], []
    return list(range(start, len(mine) - end)), list(range(start, len(theirs) - end))


def _equal(mine: Token, theirs: Token, one: Clause, other: Clause) -> bool:
    if mine.value >= 0 or theirs.value >= 0:
        return (
            mine.value >= 0
            and theirs.value >= 0
            and one.values[mine.value][3:7] == other.values[theirs.value][3:7]
        )
    return mine.word.stem == theirs.word.stem or (
        not mine.word.content
        and not theirs.word.content
        and mine.word.text in _ARTICLES
        and theirs.word.text in _ARTICLES
    )


_ARTICLES: Final = frozenset({"a", "an", "the", "is", "are", "was", "were"})


def _exclusive(pair: Pair, mine: list[int], theirs: list[int]) -> Found | None:
    one, other = pair.one, pair.other
    values_here = [n for n in mine if one.tokens[n].value >= 0]
    if values_here or any(other.tokens[n].value >= 0 for n in theirs):
        return None
    for n in mine:
        for m in theirs:
            word, its = one.tokens[n].word, other.tokens[m].word
            if same(word, its):
                continue
            kind = _excluded(pair, word, its, n, m)
            if kind and not _paired_elsewhere(pair, mine, theirs, n, m):
                score = 0.9 if len(mine) == len(theirs) == 1 else 0.75
                if kind == "antonym":
                    reason = f"{quoted(one, (n,))} is the opposite of {quoted(other, (m,))}"
                else:
                    thing = common_kind(word, its)
                    reason = f"{quoted(one, (n,))} and {quoted(other, (m,))} are each a {thing}"
                return Found(kind, score, (n,), (m,), reason)
    return None


def _paired_elsewhere(pair: Pair, mine: list[int], theirs: list[int], n: int, m: int) -> bool:
    """Whether the runs have other words without a partner: it may be another thing."""
    rest_mine = [k for k in mine if k != n and k in pair.only_one]
    rest_theirs = [k for k in theirs if k != m and k in pair.only_other]
    if pair.one.scene and pair.other.scene:
        return len(rest_mine) + len(rest_theirs) > 2
    return bool(rest_mine or rest_theirs)


def _excluded(pair: Pair, word: Word, its: Word, n: int, m: int) -> str:
    """Return why two words exclude each other here: "antonym", "exclusive kind", or ""."""
    one, other = pair.one, pair.other
    scene = one.scene and other.scene
    against = bool(word.sides and its.sides and opposite(word, its)) or (
        word.content
        and its.content
        and word.stem[-3:] == its.stem[-3:]
        and prefixed(word.stem, its.stem, one.lists.lexicon.prefixes)
    )
    if scene:
        if against:
            return "antonym"
        return "exclusive kind" if word.kinds and common_kind(word, its) else ""
    if not one_person(pair) or _is_subject(one, n) or _is_subject(other, m):
        return ""
    if against:
        return "antonym" if _states(pair, word, its) else ""
    if not word.kinds or not common_kind(word, its) or _listed(one, n) or _listed(other, m):
        return ""
    return "exclusive kind" if _one_at_a_time(pair, n) else ""


def _states(pair: Pair, word: Word, its: Word) -> bool:
    """Whether two opposites are states; of two acts, such as "open", one may follow the other."""
    acts = pair.one.lists.acts
    if word.stem in acts and its.stem in acts:
        return pair.one.copula >= 0 and pair.other.copula >= 0
    return word.content or word.text in _WITH


def _one_at_a_time(pair: Pair, n: int) -> bool:
    """Whether the words before a thing allow for one of its kind alone: not "I like"."""
    one = pair.one
    several = one.lists.several
    verbs = [one.tokens[k].word for k in range(n)]
    if pair.dated and any(verb.stem in one.lists.states for verb in verbs):
        return True
    return not any(verb.stem in several or verb.text in several for verb in verbs)


def _listed(clause: Clause, place: int) -> bool:
    """Whether a word is one of several: "and", "or" or "also" stands beside it."""
    near = {
        clause.tokens[k].word.text
        for k in range(max(place - 1, 0), min(place + 2, len(clause.tokens)))
    }
    return bool(near & {"and", "or", "also", "und", "oder", "auch", "another", "other", "e.g"})


def _is_subject(clause: Clause, place: int) -> bool:
    """Whether a word stands before the verb, as far as that can be seen."""
    if clause.person and clause.tokens[0].word.text in clause.lists.person:
        first = clause.tokens[0].word.text
        # "My brother lives here" and "my sister lives here" are about two.
        possessive = first in (
            "my",
            "our",
            "your",
            "his",
            "her",
            "their",
            "its",
        ) or first.startswith(("mein", "unser", "dein", "sein", "ihr"))
        if not possessive:
            return False
    if clause.verb > 0:
        return place < clause.verb
    if clause.copula > 0:
        return place < clause.copula
    return bool(clause.content) and place <= clause.content[0]


def order(pair: Pair) -> Found | None:
    """The two ends of a relation with a direction have changed places."""
    one, other = pair.one, pair.other
    if pair.only_one and pair.only_other and len(pair.only_one) + len(pair.only_other) > 2:
        return None
    if one.negated or other.negated or pair.shared < 2:
        return None
    here = one.lists.relation.search(one.lower, one.words)
    there = other.lists.relation.search(other.lower, other.words)
    if here is None or there is None:
        return None
    mine, theirs = _ends(one, here.start(), here.end()), _ends(other, there.start(), there.end())
    if not all((*mine, *theirs)):
        return None
    # A verb that both have on one side is of neither end: "runs before".
    if mine != theirs:
        common = mine[0] & theirs[0], mine[1] & theirs[1]
        if common != mine or common != theirs:
            rest = [
                tuple(end - both for end, both in zip(side, common, strict=True))
                for side in (mine, theirs)
            ]
            if all(rest[0]) and all(rest[1]):
                mine, theirs = (rest[0][0], rest[0][1]), (rest[1][0], rest[1][1])
    first, last = mine
    turned = first == theirs[1] and last == theirs[0] and first != last
    straight = first == theirs[0] and last == theirs[1]
    relations = _relation_word(one, here.start()), _relation_word(other, there.start())
    same_way = here[0] == there[0] and _degree(one, here.start()) == _degree(other, there.start())
    against = opposite(*relations) or _degrees_oppose(pair, here.start(), there.start())
    if (turned and same_way) or (straight and against and not same_way):
        places = tuple(one.content), tuple(other.content)
        return Found(
            "order",
            0.9,
            *places,
            f"{quoted(one, places[0])} and {quoted(other, places[1])} have the order reversed",
        )
    return None


def _relation_word(clause: Clause, start: int) -> Word:
    return next(
        (token.word for token in clause.tokens if token.start >= start), clause.tokens[-1].word
    )


def _degree(clause: Clause, start: int) -> str:
    """Return the word before "than": "faster" in "faster than"."""
    before = [token.word.text for token in clause.tokens if token.end <= start]
    return before[-1] if before and clause.lower[start:].startswith(("than", "als")) else ""


def _degrees_oppose(pair: Pair, start: int, other_start: int) -> bool:
    mine, theirs = _degree(pair.one, start), _degree(pair.other, other_start)
    if not mine or not theirs:
        return False
    lexicon = pair.one.lists.lexicon
    forms = [
        (text, text.removesuffix("er"), text.removesuffix("r"), text.removesuffix("ier") + "y")
        for text in (mine, theirs)
    ]
    return any(opposite(lexicon.word(a), lexicon.word(b)) for a in forms[0] for b in forms[1])


def _ends(clause: Clause, start: int, end: int) -> tuple[frozenset[str], frozenset[str]]:
    """Return the stems before a relation and after it; the word of a comparison is of neither."""
    degree = _degree(clause, start)
    before, after = set(), set()
    for place, token in enumerate(clause.tokens):
        if token.value < 0 and (place not in clause.content or token.word.text == degree):
            continue
        stem = token.word.stem or str(clause.values[token.value][3:7])
        if token.end <= start:
            before.add(stem)
        elif token.start >= end:
            after.add(stem)
    return frozenset(before), frozenset(after)
