"""Detectors: a statement and its negation; "never" against something that was."""

from collections.abc import Sequence
from typing import Final

from memos_assets.contradictions.alignment import Found, Pair, one_person, quoted
from memos_assets.contradictions.clause import Clause

#: Share of the words of an asserted sentence that its negation has.
_COVERED: Final = 0.5
_ALTERNATIVE: Final = frozenset({"or", "nor", "oder", "noch", "and", "und"})
_MINE: Final = frozenset({"i", "we"})


def negation(pair: Pair) -> Found | None:
    """One sentence negates all that it says, and the other one says all of that."""
    if pair.one.negated == pair.other.negated:
        return None
    if pair.other.negated:
        found = negation(pair.turned())
        return found and found.turned()
    negated, asserted = pair.one, pair.other
    if pair.only_one or not pair.matched or _values_differ(pair):
        return None
    if pair.shared < 2 and len(asserted.content) > 1:
        return None
    if pair.shared < _COVERED * len(asserted.content):
        return None
    at = negated.negations[0]
    about_all = negated.tokens[at].word.text in negated.lists.nobody
    determiner = _is_determiner(negated, at)
    if not (about_all or determiner) and not one_person(pair):
        return None
    if (about_all or determiner) and pair.one.people - pair.other.people:
        return None
    if not about_all and not (determiner and negated.scene) and _other_subject(pair, at):
        return None
    if _narrower(pair):
        return None
    certain = 0.95 if not pair.only_other else 0.85 if len(pair.only_other) == 1 else 0.75
    mine = (at, *[n for n in pair.matched if n > at][:3])
    theirs = tuple(pair.matched[n] for n in mine[1:]) or tuple(pair.matched.values())
    return Found(
        "never" if negated.never >= 0 else "negation",
        certain,
        mine,
        theirs,
        f"{quoted(negated, mine)} denies what {quoted(asserted, theirs)} says",
    )


def _is_determiner(clause: Clause, at: int) -> bool:
    return clause.tokens[at].word.text in clause.lists.lexicon.negates_things


def _values_differ(pair: Pair) -> bool:
    return any(
        not any(not mine.conflicts(theirs) and mine.kind == theirs.kind for theirs in pair.other.values)
        for mine in pair.one.values
    )


def _other_subject(pair: Pair, at: int) -> bool:
    """Whether the asserted sentence says of somebody else what the negation denies."""
    after = [n for n in pair.matched if n > at]
    if not after:
        return False
    verb = pair.matched[min(after)]
    return any(n < verb for n in pair.only_other if not pair.other.tokens[n].word.text.endswith("ly"))


def _narrower(pair: Pair) -> bool:
    """Whether the last word that is denied is part of another thing: "meat" in "meat substitute"."""
    last = pair.matched[max(pair.matched)]
    clause = pair.other
    following = last + 1
    return (
        following in pair.only_other
        and clause.tokens[following].start - clause.tokens[last].end == 1
        and not clause.tokens[following].word.text.endswith(("ly", "ing", "ed"))
        and clause.lists.lexicon.name == "en"
    )


def never(pair: Pair) -> Found | None:
    """One sentence says that something never was, the other that it is, was, or is being done."""
    if pair.one.never < 0 and pair.other.never >= 0:
        found = never(pair.turned())
        return found and found.turned()
    if pair.one.never < 0 or pair.other.negated:
        return None
    if not _one_speaker(pair):
        return None
    best: tuple[float, list[int]] = (0.0, [])
    for alternative in _alternatives(pair.one):
        best = max(best, _contained(pair, alternative))
    score, places = best
    if not score:
        return None
    mine = (pair.one.never, *places)
    theirs = tuple(sorted(pair.matched[n] for n in places if n in pair.matched))
    return Found(
        "never",
        score,
        mine,
        theirs,
        f"{quoted(pair.one, mine)} rules out any time, and {quoted(pair.other, theirs)} is said",
    )


def _one_speaker(pair: Pair) -> bool:
    mine, theirs = pair.one, pair.other
    if mine.speaker and theirs.speaker and mine.speaker != theirs.speaker:
        return False
    if mine.person in _MINE:
        if theirs.person and theirs.person not in _MINE and not pair.one_subject:
            return bool(theirs.people & _MINE) and theirs.person == "it"
        return bool(theirs.people & _MINE) or pair.one_subject
    return one_person(pair) and not any(
        mine.tokens[n].name and n < mine.never for n in pair.only_one
    )


def _alternatives(clause: Clause) -> list[list[int]]:
    """Return the things that never were: the words after "never", split at "or"."""
    found: list[list[int]] = [[]]
    for place in range(clause.never + 1, len(clause.tokens)):
        token = clause.tokens[place]
        if token.word.text in _ALTERNATIVE:
            found.append([])
        elif place in clause.content or (token.word.text in ("been", "done") and not found[-1]):
            found[-1].append(place)
    found = [words for words in found if words]
    if len(found) > 1:
        # "never written any Flask routes or handlers": the verb is of both.
        head = found[0][0]
        found += [[head, *words] for words in found[1:] if words[0] != head]
    return found


def _contained(pair: Pair, words: Sequence[int]) -> tuple[float, list[int]]:
    """Return how certainly the other sentence says an alternative, and its words."""
    mine, theirs = pair.one, pair.other
    verb, *objects = words
    if verb in mine.content and not objects and len(words) == 1:
        objects = []
    group = mine.lists.verbs.get(mine.tokens[verb].word.stem, frozenset())
    exact = verb in pair.matched
    near = exact or any(
        group & theirs.lists.verbs.get(token.word.stem, frozenset())
        for token in theirs.tokens
        if token.value < 0
    )
    told = [n for n in objects if mine.tokens[n].word.stem not in mine.lists.generic]
    here = [n for n in told if n in pair.matched]
    names = [n for n in here if mine.tokens[n].name]
    missing_names = [n for n in told if mine.tokens[n].name and n not in pair.matched]
    if missing_names:
        return 0.0, []
    if not told:
        # "I have never smoked": the verb has to be what the other sentence is about.
        if exact and not objects and _predicate(theirs, pair.matched[verb]):
            return 0.8, [verb]
        return 0.0, []
    cover = len(here) / len(told)
    shown = [verb, *here] if exact else here
    if exact and cover == 1.0:
        return 0.9, shown
    if exact and cover >= 0.6 and len(here) >= 2:
        return 0.75, shown
    if near and cover == 1.0 and (len(here) >= 2 or names):
        return 0.8, shown
    if near and cover >= 0.66 and len(here) >= 2:
        return 0.65, shown
    if cover == 1.0 and len(here) >= 2 and (len(here) >= 3 or names):
        return 0.65, shown
    return 0.0, []


def _predicate(clause: Clause, place: int) -> bool:
    """Whether a word is the verb of the first pronoun."""
    before = clause.tokens[place - 1].word.text if place else ""
    return before in clause.lists.person or before in clause.lists.auxiliary


